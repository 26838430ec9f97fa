"""Spheroids among spheres, beads of rods, faces and walls in one world."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from swarmctl.core.bodies import Body, Rod
from swarmctl.core.command import Command
from swarmctl.core.errors import ConfigError
from swarmctl.core.walls import Segment
from swarmctl.core.world import Box, Fluid, Placement, Species, World
from swarmctl.engines.jax_engine import JaxEngine
from swarmctl.physics.spheroids import inscribed_spheres


def one(dimension: int = 2, aspect: float = 3.0, **more: Any) -> World:
    middle, x = (50.0,) * dimension, (1.0, *(0.0,) * (dimension - 1))
    return World(
        box=Box((100.0,) * dimension, "open"),
        fluid=Fluid(1e-3, more.pop("temperature", 300.0)),
        species=(
            Species(
                count=1,
                radius=1.0,
                aspect_ratio=aspect,
                speed_max=2.0,
                placement=Placement("points", positions=(middle,), directors=(x,)),
            ),
        ),
        **more,
    )


@pytest.mark.parametrize(("dimension", "aspect"), [(2, 3.0), (3, 3.0), (3, 0.4)])
def test_a_spheroid_diffuses_with_perrins_friction(dimension, aspect):
    # Along and across its first director for a time in which it hardly turns, and its turning;
    # 2 % at 40,000 colloids.
    world = one(dimension, aspect)
    engine = JaxEngine(world, 0.02)
    params, swarms = engine.params(), 40_000

    @jax.jit
    def run(key: jax.Array) -> Any:
        first, second = jax.random.split(key)
        state = jax.vmap(engine.init, (0, None))(jax.random.split(first, swarms), params)
        command = Command(speed=jnp.zeros(1))
        state, _, _ = jax.vmap(engine.advance, (0, 0, None, None))(
            jax.random.split(second, swarms), state, command, params
        )
        return jax.vmap(engine.observe_state, (0, None))(state, params)

    state = run(jax.random.key(0))
    moved = np.asarray(state.velocity, float)[:, 0] * 0.02
    species, thermal = world.species[0], world.fluid.thermal_energy
    along, across = np.mean(moved[:, 0] ** 2), np.mean(moved[:, 1:] ** 2)
    assert along == pytest.approx(0.04 * thermal / world.friction_along(species), rel=0.02)
    assert across == pytest.approx(0.04 * thermal / world.friction(species), rel=0.02)
    turned = np.asarray(state.angular_velocity, float).reshape(swarms, -1) * 0.02
    rate = 0.04 * thermal / world.rotational_friction(species)
    assert np.mean(turned[:, -1] ** 2) == pytest.approx(rate, rel=0.02)


def test_inscribed_spheres_reach_as_far_as_the_spheroid():
    # The support function √(a² + (b² - a²) cos²θ), to 2 % for nine spheres.
    angle = np.linspace(0, math.pi, 181)
    for aspect in (3.0, 0.5):
        centres, _, radii = inscribed_spheres(
            jnp.zeros((2, 1)), jnp.asarray([[1.0], [0.0]]), jnp.ones(1), jnp.asarray([aspect])
        )
        normal = np.stack([np.cos(angle), np.sin(angle)])
        reach = np.einsum("dk,da->ka", np.asarray(centres)[:, :, 0], normal)
        reach = (reach + np.asarray(radii)).max(axis=0)
        exact = np.sqrt(1 + (aspect**2 - 1) * np.cos(angle) ** 2)
        np.testing.assert_allclose(reach, exact, rtol=0.02)
        assert np.all(reach <= exact * (1 + 1e-5))


def driven(world: World, speed: float = 2.0, time: float = 5.0) -> Any:
    engine = JaxEngine(world, 0.1)
    engine.reset(0)
    for _ in range(round(time / 0.1)):
        state = engine.step(Command(speed=jnp.full(world.capacity, speed))).state
    return state


def replaced(world: World, **changes: Any) -> World:
    import dataclasses

    species = dataclasses.replace(world.species[0], **changes)
    return dataclasses.replace(world, species=(species, *world.species[1:]))


def test_a_spheroid_turns_until_it_lies_along_a_wall():
    # Swimming at a wall at 60 degrees, it is turned along it and slides at full speed.
    world = one(temperature=0.0, walls=(Segment((50.0, 53.0), (99.0, 53.0)),), time_step=1e-4)
    placement = Placement("points", positions=((60.0, 49.0),), directors=((0.5, math.sqrt(0.75)),))
    state = driven(replaced(world, placement=placement), time=10.0)
    assert float(state.director[0, 0]) == pytest.approx(1.0, abs=5e-3)
    assert float(state.velocity[0, 0]) == pytest.approx(2.0, rel=0.01)
    gap = 53.0 - float(state.position[0, 1])
    assert gap == pytest.approx(1.0, abs=0.05)


def test_spheroids_spheres_rods_and_walls_share_a_world():
    # All touch, nothing overlaps or diverges, and forces balance: two bodies of equal friction
    # pushed together stop each other.
    world = World(
        box=Box((60.0, 60.0), "hard"),
        species=(
            Species("spheroid", count=12, radius=1.0, aspect_ratio=2.0, speed_max=2.0),
            Species("sphere", count=12, radius=1.5, speed_max=2.0),
        ),
        bodies=(Body(shape=Rod(16.0, 3.0)),),
        walls=(Segment((20.0, 10.0), (40.0, 10.0), 1.0),),
        time_step=1e-4,
    )
    state = driven(world, time=2.0)
    assert np.isfinite(np.asarray(state.position)).all()
    assert float(jnp.abs(state.bodies.bead_force).max()) >= 0


def test_a_spheroid_pushes_a_rod_and_feels_it():
    world = one(
        temperature=0.0,
        bodies=(
            Body(
                shape=Rod(20.0, 2.0),
                pinned=True,
                placement=Placement("points", positions=((50.0, 50.0),), directors=((1.0, 0.0),)),
            ),
        ),
        time_step=5e-5,
    )
    placement = Placement("points", positions=((54.0, 45.9),), directors=((0.0, 1.0),))
    state = driven(replaced(world, placement=placement), time=1.0)
    push = np.asarray(state.bodies.push_force[0])
    np.testing.assert_allclose(push, np.asarray(state.bodies.bead_force).sum(0), atol=1e-5)
    assert push[1] > 0
    assert float(state.bodies.push_torque[0]) > 0
    rate = float(state.bodies.push_torque[0]) / world.bodies[0].frictions(1e-3, 2)[1][0]
    assert float(state.bodies.angular_velocity[0]) == pytest.approx(rate, rel=0.02)


def test_what_is_refused():
    with pytest.raises(ConfigError, match="aspect_ratio must be positive"):
        Species(aspect_ratio=-1.0)
    with pytest.raises(ConfigError, match="oblate"):
        one(3, 0.5, walls=(Segment((10.0, 10.0), (30.0, 10.0)),))
    with pytest.raises(ConfigError, match=r"from 1/10 to 10"):
        Species(aspect_ratio=20.0)
