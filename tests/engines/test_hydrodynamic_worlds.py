"""Hydrodynamics in the engine: flows of forces and swimmers, the mobility, what is refused."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from swarmctl.core.bodies import Body
from swarmctl.core.command import Command
from swarmctl.core.errors import ConfigError
from swarmctl.core.hydrodynamics import Hydrodynamics
from swarmctl.core.world import Box, Fluid, Placement, Species, World
from swarmctl.engines.jax_engine import JaxEngine

ETA = 1e-3


def pair(distance: float, hydrodynamics: Hydrodynamics, **species: Any) -> World:
    positions = ((50.0, 50.0, 50.0), (50.0 + distance, 50.0, 50.0))
    directors = ((1.0, 0.0, 0.0), (1.0, 0.0, 0.0))
    return World(
        box=Box((100.0,) * 3, "open"),
        fluid=Fluid(ETA, species.pop("temperature", 0.0)),
        species=(
            Species(
                count=2,
                radius=1.0,
                placement=Placement("points", positions=positions, directors=directors),
                **species,
            ),
        ),
        hydrodynamics=hydrodynamics,
    )


def velocities(world: World, command: Command) -> np.ndarray:
    engine = JaxEngine(world, 1e-3)
    engine.reset(0)
    return np.asarray(engine.step(command).state.velocity, float)


REST = Command(speed=jnp.zeros(2))


@pytest.mark.parametrize("mode", ["flow", "mobility"])
def test_two_falling_spheres_fall_faster_together(mode):
    # Oseen: μ (1 + 3a/4r) across; Rotne-Prager adds a³/2r³.
    distance, force = 8.0, 0.02
    world = pair(distance, Hydrodynamics(mode), force=(0.0, 0.0, -force))
    alone = force / (6 * math.pi * ETA)
    factor = 1 + 0.75 / distance + (0.5 / distance**3 if mode == "mobility" else 0.0)
    found = velocities(world, REST)
    np.testing.assert_allclose(found[:, 2], -alone * factor, rtol=1e-4)


def test_a_pusher_drives_off_what_is_before_it():
    # u = κ/(8πη r²) (3cos² - 1): 2 on its axis.
    distance, strength = 10.0, 0.05
    world = pair(distance, Hydrodynamics("flow"), dipole=strength, speed_max=4.0)
    found = velocities(world, Command(speed=jnp.asarray([4.0, 0.0])))
    expected = 2 * strength / (8 * math.pi * ETA * distance**2)
    assert found[1, 0] == pytest.approx(expected, rel=1e-3)
    half = velocities(world, Command(speed=jnp.asarray([2.0, 0.0])))
    assert half[1, 0] == pytest.approx(expected / 2, rel=1e-3)
    puller = dataclasses.replace(
        world, species=(dataclasses.replace(world.species[0], dipole=-strength),)
    )
    pulled = velocities(puller, Command(speed=jnp.asarray([4.0, 0.0])))
    assert pulled[1, 0] == pytest.approx(-expected, rel=1e-3)


def test_noise_is_correlated_as_the_mobility_says():
    # ⟨Δx₁Δx₂⟩/⟨Δx₁²⟩ of neighbours along their line: 3a/2r - a³/r³; 20,000 pairs give 0.7 %.
    distance, swarms = 3.0, 20_000
    world = pair(distance, Hydrodynamics("mobility"), temperature=300.0)
    engine = JaxEngine(world, 1e-3)
    params = engine.params()

    @jax.jit
    def run(key: jax.Array) -> jax.Array:
        state = engine.init(jax.random.key(0), params)
        after, _, _ = jax.vmap(engine.advance, (0, None, None, None))(
            jax.random.split(key, swarms), state, REST, params
        )
        return after.velocity * 1e-3

    moved = np.asarray(run(jax.random.key(1)), float)
    thermal = world.fluid.thermal_energy / (6 * math.pi * ETA) * 2e-3
    assert np.mean(moved[:, 0, 0] ** 2) == pytest.approx(thermal, rel=0.03)
    ratio = np.mean(moved[:, 0, 0] * moved[:, 1, 0]) / thermal
    assert ratio == pytest.approx(1.5 / distance - 1 / distance**3, abs=0.03)
    across = np.mean(moved[:, 0, 1] * moved[:, 1, 1]) / thermal
    assert across == pytest.approx(0.75 / distance + 0.5 / distance**3, abs=0.03)


def test_a_wall_slows_what_falls_towards_it():
    # μ⊥/μ₀ = 1 - 9a/8h + a³/2h³ - a⁵/8h⁵ of a sphere by itself.
    height, force = 4.0, 0.02
    world = World(
        box=Box((100.0,) * 3, ("open", "open", "hard")),
        fluid=Fluid(ETA, 0.0),
        species=(
            Species(
                count=1,
                radius=1.0,
                force=(0.0, 0.0, -force),
                speed_max=1.0,
                placement=Placement("points", positions=((50.0, 50.0, height),)),
            ),
        ),
        hydrodynamics=Hydrodynamics("mobility", wall=True),
    )
    engine = JaxEngine(world, 1e-3)
    engine.reset(0)
    state = engine.step(Command(speed=jnp.zeros(1))).state
    slowed = 1 - 9 / 8 / height + 0.5 / height**3 - 1 / 8 / height**5
    expected = -force / (6 * math.pi * ETA) * slowed
    assert float(state.velocity[0, 2]) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: World(hydrodynamics=Hydrodynamics("mobility")), "no periodic images"),
        (lambda: World(hydrodynamics=Hydrodynamics(wall=True)), "at which height"),
        (lambda: World(hydrodynamics=Hydrodynamics(height=2.0)), "leave it out"),
        (lambda: World(hydrodynamics=Hydrodynamics(wall=True, height=0.5)), "at least one radius"),
        (
            lambda: World(
                box=Box((1000.0,) * 2, "open"),
                species=(Species(count=65),),
                hydrodynamics=Hydrodynamics("mobility"),
            ),
            "at most 64",
        ),
        (
            lambda: World(
                box=Box((1000.0,) * 2, "open"),
                dynamics="langevin",
                hydrodynamics=Hydrodynamics("mobility"),
            ),
            "overdamped",
        ),
        (lambda: World(bodies=(Body(),), hydrodynamics=Hydrodynamics()), "do not take part"),
    ],
)
def test_out_of_range_is_refused_before_the_first_step(make, words):
    with pytest.raises(ConfigError, match=words):
        JaxEngine(make(), 0.1)
