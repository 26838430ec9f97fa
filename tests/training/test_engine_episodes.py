"""Agents on engines that are not made of pure functions: the same figures as on pure ones."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from swarmctl.agents.options import make_agent
from swarmctl.core.command import Command
from swarmctl.core.contracts import Engine, Transition
from swarmctl.core.state import SwarmState
from swarmctl.core.world import World
from swarmctl.engines.jax_engine import JaxEngine
from swarmctl.envs.make import make_env, make_scenario
from swarmctl.training.engine_episodes import Decision, EngineEnv
from swarmctl.training.evaluate import evaluate_agent, record_episode
from swarmctl.training.experiment import load_experiment, with_engine


class Impure(Engine):
    """The JAX engine behind nothing but the contract of engines."""

    def __init__(self, world: World, control_interval: float) -> None:
        self._inner = JaxEngine(world, control_interval)
        self.spec = self._inner.spec

    def reset(self, seed: int) -> SwarmState:
        return self._inner.reset(seed)

    def step(self, command: Command) -> Transition:
        return self._inner.step(command)

    def stop(self, reason: str) -> None:
        self._inner.stop(reason)

    def close(self) -> None:
        self._inner.close()


@pytest.fixture(scope="module")
def env() -> EngineEnv:
    scenario = make_scenario("Chemotaxis-v0", colloids=3, horizon=6)
    return EngineEnv(scenario, Impure(scenario.world, scenario.control_interval))


def test_figures_are_those_of_the_rewards_and_states_of_every_decision(env):
    agent = make_agent("gradient-climber", env.spec)
    found = evaluate_agent(env, agent, episodes=2, seed=4)
    assert found.returns.shape == (2,)
    assert found.measure.shape == (2, 6)
    decisions = [d for d in env.episode(agent, 5) if isinstance(d, Decision)]
    assert len(decisions) == 6
    paid = sum(float(d.reward.mean()) for d in decisions)
    assert found.returns[1] == pytest.approx(paid, rel=1e-5)
    last = env.scenario.measure(decisions[-1].swarm, env.space)
    assert found.measure[1, -1] == pytest.approx(float(jnp.mean(last)), rel=1e-5)


def test_a_recording_has_the_shapes_of_one_on_a_pure_engine(env):
    pure = make_env(env.scenario)
    ours, theirs = (
        record_episode(where, make_agent("gradient-climber", where.spec), 1)
        for where in (env, pure)
    )
    assert jax.tree.map(np.shape, ours) == jax.tree.map(np.shape, theirs)
    assert ours.states.step.tolist() == list(range(7))


def test_an_engine_is_chosen_by_name():
    experiment = load_experiment("Chemotaxis-v0", with_engine((), "espresso"))
    assert experiment.any_env().spec.engine.name == "espresso"
    assert load_experiment("Chemotaxis-v0", with_engine((), "")).engine == "jax"
