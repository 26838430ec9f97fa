"""What was learned with ten colloids holds for fifty and for two hundred, without new numbers."""

import numpy as np
import pytest

from swarmctl.agents.deep.ppo import PPOConfig
from swarmctl.agents.options import make_agent
from swarmctl.envs.make import make_env
from swarmctl.training.evaluate import evaluate_agent, record_episode
from swarmctl.training.learner import Learner

KEYS = {"time_step": 2.5e-3}  # two hundred press hard on one another


@pytest.fixture(scope="module")
def policy():
    learner = Learner(make_env("Chemotaxis-v0"), PPOConfig(swarms=128), 40)
    state = learner.init(0)
    for _ in range(40):
        state, _ = learner.update(state, 0)
    return learner.agent(state)


def share_of_ceiling(policy, count):
    """What the policy earns over what all-seeing control earns in a crowd of the same size."""
    env = make_env("Chemotaxis-v0", colloids=count, **KEYS)
    ceiling = evaluate_agent(env, make_agent("steer-to-source", env.spec), 8, 7).returns.mean()
    return evaluate_agent(env, policy, 8, 7).returns.mean() / ceiling


def test_a_policy_of_ten_steers_fifty_and_two_hundred(policy):
    """Larger crowds cost it no larger share than ten colloids, within the noise of 5 %."""
    ten, *more = (share_of_ceiling(policy, count) for count in (10, 50, 200))
    assert ten > 0.9
    assert min(more) > ten - 0.05


def test_colloids_of_one_swarm_earn_alike(policy):
    """No colloid is favoured by its slot: means over swarms differ by chance alone."""
    env = make_env("Chemotaxis-v0", **KEYS)
    returns = np.stack([record_episode(env, policy, seed).reward.sum(axis=0) for seed in range(16)])
    spread = returns.std(axis=0, ddof=1) / np.sqrt(len(returns))
    z = (returns.mean(axis=0) - returns.mean()) / spread
    assert np.abs(z).max() < 4
