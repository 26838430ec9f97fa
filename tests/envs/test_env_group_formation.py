"""GroupFormation-v0: the colloids of Lavergne et al. 2019, and what company is paid."""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import Any

import numpy as np
import pytest

from swarmctl.core.errors import ConfigError
from swarmctl.engines.jax_engine import JaxEngine
from swarmctl.envs.make import make_scenario

NAME = "GroupFormation-v0"


@functools.cache
def start() -> Any:
    """A state at the start, and the space."""
    scenario = make_scenario(NAME)
    engine = JaxEngine(scenario.world, scenario.control_interval)
    return engine.reset(0), engine.space(engine.params())


def test_noise_and_the_loss_of_heading_are_as_given() -> None:
    scenario = make_scenario(NAME)
    (species,) = scenario.world.species
    assert scenario.world.diffusion(species) == pytest.approx(0.085)
    assert 1 / scenario.world.rotational_diffusion(species) == pytest.approx(107)
    assert species.turn_rate_max == 0, "nothing steers"


def test_cones_add_up_to_the_perception_in_units_of_the_middle_of_the_disc() -> None:
    """Σ_cones = Σ_j 1/(2πr_j) over N/(πR₀), what is perceived all around in the middle."""
    scenario = make_scenario(NAME)
    state, space = start()
    seen, _ = scenario.observable.observe(state, (), space)
    gaps = np.asarray(state.position[:, None] - state.position[None], float)
    distance = np.linalg.norm(gaps, axis=-1) + np.diag(np.full(75, np.inf))
    wanted = (1 / (2 * math.pi * distance)).sum(1) / (75 / (math.pi * 106))
    assert np.asarray(seen).sum(1) == pytest.approx(wanted, rel=1e-4)
    assert seen.shape == (75, 8)


def test_moving_together_pays_and_swimming_costs() -> None:
    """Contraction to half the size pays the growth of the mean of λ/(λ + r); a step of swimming
    costs what is said, whatever the diffusion did.
    """
    scenario = make_scenario(NAME, cost=0.25)
    state, space = start()
    memory = scenario.task.init(state, space)
    closer = dataclasses.replace(state, position=400 + 0.5 * (state.position - 400))
    paid, done, _ = scenario.task.evaluate(closer, memory, space)

    def company(s: Any) -> np.ndarray:
        gaps = np.asarray(s.position[:, None] - s.position[None], float)
        near = 50 / (50 + np.linalg.norm(gaps, axis=-1))
        return (near.sum(1) - 1) / 74

    assert np.asarray(paid) == pytest.approx(10 * (company(closer) - company(state)), abs=1e-4)
    assert not done.any()
    swam = dataclasses.replace(state, velocity=0.2 * state.director)
    paid, _, _ = scenario.task.evaluate(swam, memory, space)
    assert np.asarray(paid) == pytest.approx(np.full(75, -0.25), abs=1e-5)


def test_measure_is_the_rms_radius() -> None:
    """Uniform in a disc of radius R₀ it is R₀/√2, within three standard errors."""
    state, space = start()
    found = float(make_scenario(NAME).measure(state, space)[0])
    offset = np.asarray(state.position) - np.asarray(state.position).mean(0)
    assert found == pytest.approx(math.sqrt((offset**2).sum(1).mean()), rel=1e-5)
    # r²/R₀² is uniform in [0, 1].
    assert abs((found / 106) ** 2 - 0.5) < 3 / math.sqrt(12 * 75)


@pytest.mark.parametrize("key", ["speed", "diffusion", "rotational_diffusion", "cohesion_length"])
def test_what_must_be_positive(key: str) -> None:
    with pytest.raises(ConfigError, match=key):
        make_scenario(NAME, **{key: 0.0})
