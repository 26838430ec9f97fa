"""NavigateFlow-v0: Zermelo's problem in physical units, in three flows."""

from __future__ import annotations

import math
from typing import Any

import jax
import numpy as np
import pytest

from swarmctl.agents.classical.extremals import fastest_route
from swarmctl.agents.options import make_agent
from swarmctl.core.errors import ConfigError
from swarmctl.envs.make import make_env, make_scenario
from swarmctl.envs.navigate_flow import NavigateFlowConfig
from swarmctl.training.evaluate import evaluate_agent


def route(config: NavigateFlowConfig) -> Any:
    return fastest_route(
        (config.current(),), config.box(), config.start(), config.goal(), config.speed
    )


def test_shear_is_the_problem_of_bryson_and_ho() -> None:
    """In units of L and L/v: 5.45787, starting at 105.019°."""
    config = NavigateFlowConfig(length=15.0, speed=3.0)
    best = route(config)
    assert best.time * config.speed / config.length == pytest.approx(5.45787, abs=1e-4)
    assert math.degrees(best.departure) == pytest.approx(105.019, abs=1e-3)


@pytest.mark.parametrize(("flow", "time"), [("vortex", 2.6839), ("poiseuille", 5.5845)])
def test_fastest_ways_stay_inside_and_beat_still_water_or_not(flow: str, time: float) -> None:
    """The vortex carries the swimmer on (4 without it); up the channel it takes longer than 2.55,
    and goes where the flow is slow, but not into a wall.
    """
    config = NavigateFlowConfig(flow=flow)
    best = route(config)
    assert best.time * config.speed / config.length == pytest.approx(time, abs=2e-3)
    offset = (best.position - np.asarray(config.goal())) / config.length
    assert np.abs(offset[:, 1]).max() < 1.5
    direct = offset[0] * (1 - np.linspace(0, 1, len(offset)))[:, None]
    assert np.abs(offset - direct)[:, 1].max() > 0.8


def test_knowing_the_flow_beats_heading_for_the_goal() -> None:
    """In shear, with noise: the navigator is within 2 % of the deterministic optimum."""
    env = make_env("NavigateFlow-v0")
    flows = env.scenario.world.flows
    best = evaluate_agent(env, make_agent("zermelo", env.spec, flows=flows, rays=720), 64)
    naive = evaluate_agent(env, make_agent("steer-to-point", env.spec), 64)
    assert best.returns.mean() > naive.returns.mean() + 1
    arrived = best.measure <= 2.0
    assert arrived.any(axis=1).all()
    time = 0.2 * (arrived.argmax(axis=1) + 1).mean()
    assert time < 1.02 * route(NavigateFlowConfig()).time


def test_flow_and_goal_are_seen() -> None:
    env = make_env("NavigateFlow-v0", colloids=2)
    observation, _ = env.reset(jax.random.key(0), env.params())
    assert env.spec.observation_names == ("goal x", "goal y", "goal distance", "flow x", "flow y")
    # u = -y in units of v and L, at (3.66, -1.86) from the goal.
    assert np.asarray(observation[:, 3:]) == pytest.approx(np.array([[1.86, 0]] * 2), abs=1e-3)


def test_what_is_refused() -> None:
    with pytest.raises(ConfigError, match="less than length"):
        make_scenario("NavigateFlow-v0", arrival=30.0)
    with pytest.raises(ConfigError, match="flow"):
        make_scenario("NavigateFlow-v0", flow="tornado")
    for key in ("speed", "length", "arrival", "radius"):
        with pytest.raises(ConfigError, match=key):
            make_scenario("NavigateFlow-v0", **{key: 0.0})
