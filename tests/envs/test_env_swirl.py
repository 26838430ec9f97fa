"""Swirl-v0: the colloids of Bäuerle et al. 2020, and what a swirl is paid."""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from swarmctl.agents.options import make_agent
from swarmctl.core.errors import ConfigError
from swarmctl.engines.jax_engine import JaxEngine
from swarmctl.envs.make import make_env, make_scenario
from swarmctl.training.evaluate import evaluate_agent


@functools.cache
def six() -> Any:
    """A state of six colloids, and the space."""
    scenario = make_scenario("Swirl-v0", colloids=6)
    engine = JaxEngine(scenario.world, scenario.control_interval)
    return engine.reset(0), engine.space(engine.params())


def ring(angle: float) -> Any:
    """A state of six on a ring that head at `angle` rad from outwards, and the space."""
    state, space = six()
    place = 2 * np.pi * np.arange(6) / 6
    where = 200 + 30 * np.stack([np.cos(place), np.sin(place)], -1)
    heading = np.stack([np.cos(place + angle), np.sin(place + angle)], -1)
    dtype = state.position.dtype
    changed = {"position": jnp.asarray(where, dtype), "director": jnp.asarray(heading, dtype)}
    return dataclasses.replace(state, **changed), space


def test_diffusion_is_as_given() -> None:
    scenario = make_scenario("Swirl-v0")
    (species,) = scenario.world.species
    assert scenario.world.diffusion(species) == pytest.approx(0.014)
    assert scenario.world.rotational_diffusion(species) == pytest.approx(0.0028)
    assert math.degrees(species.turn_rate_max) == pytest.approx(4.01, abs=0.01)


@pytest.mark.parametrize("team", [False, True])
def test_both_ways_round_are_paid_and_swarms_are_not(team: bool) -> None:
    """Everyone on a ring heads at ψ from outwards: paid scale x |sin ψ|, and |O_R| = |sin ψ|."""
    scenario = make_scenario("Swirl-v0", colloids=6, reward_scale=1.0, team=team)
    for angle in (np.pi / 2, -np.pi / 2, 0.0, 0.5):
        state, space = ring(angle)
        reward, done, _ = scenario.task.evaluate(state, scenario.task.init(state, space), space)
        assert np.asarray(reward) == pytest.approx(np.full(6, abs(math.sin(angle))), abs=1e-5)
        assert not done.any()
        measured = scenario.measure(state, space)
        assert np.asarray(measured) == pytest.approx(np.full(6, abs(math.sin(angle))), abs=1e-5)


def test_the_rule_of_the_paper_makes_a_swirl_and_chance_does_not() -> None:
    env = make_env("Swirl-v0", horizon=250)
    order = {
        name: evaluate_agent(env, make_agent(name, env.spec), episodes=2).final_measure
        for name in env.scenario.baselines.values()
    }
    assert order["baeuerle"].min() > 0.85
    assert order["random"].max() < 0.4


@pytest.mark.parametrize("key", ["speed", "turn_rate", "diffusion", "reach", "temperature"])
def test_what_must_be_positive(key: str) -> None:
    with pytest.raises(ConfigError, match=key):
        make_scenario("Swirl-v0", **{key: -1.0})
