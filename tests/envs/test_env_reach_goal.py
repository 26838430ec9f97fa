"""ReachGoal-v0: arrival times of perfect steering, and what the headings mean."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from swarmctl.agents.options import make_agent
from swarmctl.core.errors import ConfigError
from swarmctl.envs.headings import Compass, HeadAlong
from swarmctl.envs.make import make_env, make_scenario
from swarmctl.envs.reach_goal import ReachGoalConfig, arrival_time
from swarmctl.training.evaluate import evaluate_agent


def test_perfect_steering_takes_the_time_of_the_formula() -> None:
    """Decisions every 0.1 s: the mean of 1024 arrivals is within 2 % of `optimum`, and the return
    is what approach, arrival and time add up to.
    """
    env = make_env("ReachGoal-v0")
    result = evaluate_agent(env, make_agent("steer-to-point", env.spec), episodes=1024)
    there = result.measure <= 2.0
    assert there.any(axis=1).all()
    decisions = there.argmax(axis=1) + 1
    time = 0.1 * decisions.mean()
    assert time == pytest.approx(ReachGoalConfig().optimum(), rel=0.02)
    assert arrival_time(20, 2, 2, 1) < time, "seen once a decision, the goal seems smaller"
    last = np.take_along_axis(result.measure, decisions[:, None] - 1, axis=1)[:, 0]
    wanted = 0.1 * (20 - last) + 1 - 0.005 * decisions
    assert result.returns == pytest.approx(wanted, abs=3e-3)


def test_headings_in_the_frame_of_the_laboratory() -> None:
    spec = make_env("ReachGoal-v0", colloids=3).engine.spec
    command = Compass(jnp.asarray(2.0), 8).to_command(jnp.asarray([0, 1, 6]), spec)
    half = math.sqrt(0.5)
    assert np.asarray(command.heading) == pytest.approx(
        np.array([[1, 0], [half, half], [0, -1]]), abs=1e-6
    )
    assert command.speed.tolist() == [2.0, 2.0, 2.0]
    actions = jnp.asarray([[0.0, -0.5], [0.3, 0.3], [0.0, 0.0]])
    command = HeadAlong(jnp.asarray(2.0)).to_command(actions, spec)
    assert np.asarray(command.heading)[:2] == pytest.approx(
        np.array([[0, -1], [half, half]]), abs=1e-6
    )
    assert command.has_heading.tolist() == [True, True, False], "no length keeps the heading"


def test_it_starts_on_the_ring_and_sees_where_the_goal_is() -> None:
    env = make_env("ReachGoal-v0", colloids=50)
    observation, state = env.reset(jax.random.key(0), env.params())
    swarm = env.swarm(state, env.params())
    towards = 40 - np.asarray(swarm.position)
    distance = np.linalg.norm(towards, axis=1)
    assert distance == pytest.approx(np.full(50, 20.0), rel=2e-3)
    assert np.asarray(observation[:, :2]) == pytest.approx(towards / distance[:, None], abs=1e-5)
    assert np.asarray(observation[:, 2]) == pytest.approx(distance / (distance + 10), rel=1e-5)


def test_what_is_refused() -> None:
    with pytest.raises(ConfigError, match="must be less than start_distance"):
        make_scenario("ReachGoal-v0", arrival=30.0)
    with pytest.raises(ConfigError, match="directions"):
        make_scenario("ReachGoal-v0", directions=1)
    for key in ("speed", "diffusion", "rotational_diffusion", "arrival"):
        with pytest.raises(ConfigError, match=key):
            make_scenario("ReachGoal-v0", **{key: 0.0})
