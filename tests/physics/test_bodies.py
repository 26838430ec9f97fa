"""Rigid bodies: diffusion of every shape, forces and torques from contacts, pinned and free."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from swarmctl.core.bodies import Body, Cross, Disc, Ngon, Rod
from swarmctl.core.command import Command
from swarmctl.core.errors import ConfigError, PlacementError
from swarmctl.core.world import Box, Fluid, Placement, Species, World
from swarmctl.engines.jax_engine import JaxEngine

SHAPES = {
    "rod": Rod(20.0, 4.0),
    "cross": Cross(20.0, 4.0),
    "disc": Disc(8.0, 4.0),
    "triangle": Ngon(3, 8.0, 4.0),
    "square": Ngon(4, 8.0, 4.0),
}


def advanced(engine: JaxEngine, swarms: int, command: Command, seed: int = 0) -> tuple[Any, Any]:
    """First and last observed state of a batch after one interval."""
    params = engine.params()

    @jax.jit
    def run(key: jax.Array) -> tuple[Any, Any, Any]:
        start_key, move_key = jax.random.split(key)
        keys = jax.random.split(start_key, swarms)
        state = jax.vmap(engine.init, (0, None))(keys, params)
        keys = jax.random.split(move_key, swarms)
        after, _, flags = jax.vmap(engine.advance, (0, 0, None, None))(keys, state, command, params)
        observe = jax.vmap(engine.observe_state, (0, None))
        return observe(state, params), observe(after, params), flags

    first, last, flags = run(jax.random.key(seed))
    assert not np.any(flags.diverged)
    assert not np.any(flags.overlap)
    return first, last


def lonely_world(shape: Any, dimension: int, dynamics: str, time_step: float) -> World:
    size = (200.0,) * dimension
    away = tuple(20.0 for _ in size)
    return World(
        box=Box(size, "open"),
        species=(Species(count=1, radius=1.0, placement=Placement("points", positions=(away,))),),
        bodies=(
            Body(
                name="body",
                shape=shape,
                placement=Placement("points", positions=(tuple(100.0 for _ in size),)),
            ),
        ),
        dynamics=dynamics,
        time_step=time_step,
        contacts=False,
    )


@pytest.mark.parametrize(
    ("name", "dimension", "dynamics"),
    [
        *((name, 2, "brownian") for name in SHAPES),
        ("rod", 2, "langevin"),
        ("triangle", 2, "langevin"),
        ("rod", 3, "brownian"),
        ("square", 3, "brownian"),
        ("rod", 3, "langevin"),
    ],
)
def test_every_shape_diffuses_as_its_friction_says(name, dimension, dynamics):
    # MSD = 2 k_B T t Σ 1/ξ and, in the plane, ⟨Δφ²⟩ = 2 k_B T t/ξ_r; in space the x axis forgets
    # itself as exp(-(D_y + D_z) t). 2 %: three standard errors at 40,000 bodies.
    world = lonely_world(SHAPES[name], dimension, dynamics, 0.05)
    engine = JaxEngine(world, 5.0)
    swarms = 40_000
    first, last = advanced(engine, swarms, Command(speed=jnp.zeros(1)))
    time, thermal = 5.0, world.fluid.thermal_energy
    translation, rotation = world.bodies[0].frictions(world.fluid.viscosity, dimension)
    unwrapped = np.asarray(last.bodies.centre + last.bodies.image * 200.0, float)
    moved = unwrapped[:, 0] - np.asarray(first.bodies.centre, float)[:, 0]
    expected = 2 * thermal * time * np.sum(1 / translation)
    assert np.mean(np.sum(moved**2, -1)) == pytest.approx(expected, rel=0.02)
    if dimension == 2:
        turned = np.asarray(last.bodies.angular_velocity, float)[:, 0] * time
        assert np.mean(turned**2) == pytest.approx(2 * thermal * time / rotation[0], rel=0.02)
    else:
        q0, q1 = (np.asarray(s.bodies.angle, float)[:, 0] for s in (first, last))
        kept = np.sum(x_axis(q0) * x_axis(q1), axis=-1)
        rate = thermal * (1 / rotation[1] + 1 / rotation[2])
        # The standard error of -ln⟨cos⟩ grows as 1/√n over the signal.
        error = np.std(kept) / math.sqrt(swarms) / np.mean(kept)
        measured = -math.log(np.mean(kept)) / time
        assert measured == pytest.approx(rate, rel=max(0.02, 3 * error / (rate * time)))


def x_axis(quaternion: np.ndarray) -> np.ndarray:
    w, x, y, z = quaternion.T
    return np.stack([1 - 2 * (y * y + z * z), 2 * (x * y + w * z), 2 * (x * z - w * y)], axis=-1)


def test_a_rod_diffuses_faster_along_itself():
    world = lonely_world(Rod(40.0, 2.0), 2, "brownian", 0.01)
    engine = JaxEngine(world, 0.1)
    first, last = advanced(engine, 40_000, Command(speed=jnp.zeros(1)))
    moved = np.asarray(last.bodies.velocity, float)[:, 0] * 0.1
    angle = np.asarray(first.bodies.angle, float)[:, 0]
    axis = np.stack([np.cos(angle), np.sin(angle)], -1)
    along = np.sum(moved * axis, -1)
    across = moved[:, 1] * axis[:, 0] - moved[:, 0] * axis[:, 1]
    translation, _ = world.bodies[0].frictions(world.fluid.viscosity, 2)
    expected = 2 * world.fluid.thermal_energy * 0.1 / translation
    np.testing.assert_allclose([np.mean(along**2), np.mean(across**2)], expected, rtol=0.02)
    assert translation[1] > 1.4 * translation[0]


def robot_and_rod(lever: float, factor: int, pinned: bool = False) -> World:
    """One robot that pushes a rod at right angles (Heuthe et al., Sci. Robot. 2024)."""
    viscosity, diameter, length = 5.027e-3, 6.8, 96.0
    log = math.log(length / diameter)
    scale = factor * math.pi * viscosity * length
    gap = diameter * 1.001
    return World(
        box=Box((400.0, 400.0), "open"),
        fluid=Fluid(viscosity, 0.0),
        species=(
            Species(
                count=1,
                radius=diameter / 2,
                speed_max=7.3,
                friction=6 * math.pi * viscosity * diameter / 2,
                placement=Placement(
                    "points", positions=((200.0 + lever, 200.0 - gap),), directors=((0.0, 1.0),)
                ),
            ),
        ),
        bodies=(
            Body(
                shape=Rod(length, diameter, 15),
                friction=(2 * scale / log, 4 * scale / (log + 1)),
                rotational_friction=(scale * length**2 / (3 * log),),
                pinned=pinned,
                placement=Placement("points", positions=((200.0, 200.0),), directors=((1.0, 0.0),)),
            ),
        ),
        time_step=1e-3,
    )


def pushed(world: World, time: float = 0.5) -> tuple[Any, World]:
    engine = JaxEngine(world, 0.05)
    engine.reset(0)
    for _ in range(round(time / 0.05)):
        transition = engine.step(Command(speed=jnp.asarray([7.3])))
    return transition.state, world


@pytest.mark.parametrize(("factor", "speed"), [(3, 0.44290), (4, 0.33729)])
def test_pushing_a_rod_at_its_middle(factor, speed):
    # Reference values of the closed form, which the authors' own code gives, too; 0.1 %.
    state, _ = pushed(robot_and_rod(0.0, factor))
    assert float(state.bodies.velocity[0, 1]) == pytest.approx(speed, rel=1e-3)
    assert abs(float(state.bodies.angular_velocity[0])) < 1e-5


def test_pushing_a_rod_off_centre():
    state, _ = pushed(robot_and_rod(44.6, 3), time=0.3)
    assert float(state.bodies.velocity[0, 1]) == pytest.approx(0.3976, rel=0.01)
    assert float(state.bodies.angular_velocity[0]) == pytest.approx(0.01676, rel=0.01)
    distance = np.linalg.norm(np.asarray(state.bodies.bead - state.position[0]), axis=-1).min()
    assert distance > 0.99 * 6.8  # compressed by less than 1 %


def test_force_and_torque_are_shared_by_who_pushes():
    state, world = pushed(robot_and_rod(44.6, 3), time=0.3)
    species = world.species[0]
    friction = species.friction
    body = world.bodies[0]
    slowed = 7.3 - float(state.velocity[0, 1])
    np.testing.assert_allclose(state.bodies.push_force[0, 1], friction * slowed, rtol=2e-3)
    spin = float(state.bodies.angular_velocity[0]) * body.rotational_friction[0]
    np.testing.assert_allclose(state.bodies.push_torque[0], spin, rtol=2e-3)
    total = np.asarray(state.bodies.bead_force).sum(0)
    np.testing.assert_allclose(total, np.asarray(state.bodies.push_force).sum(0), rtol=1e-4)


def test_torques_of_colloids_on_both_sides_have_opposite_signs():
    world = robot_and_rod(30.0, 3, pinned=True)
    species = world.species[0]
    placement = Placement(
        "points",
        positions=((230.0, 193.0), (170.0, 193.0), (230.0, 207.0)),
        directors=((0.0, 1.0), (0.0, 1.0), (0.0, -1.0)),
    )
    import dataclasses

    world = dataclasses.replace(
        world, species=(dataclasses.replace(species, count=3, placement=placement),)
    )
    engine = JaxEngine(world, 0.05)
    engine.reset(0)
    for _ in range(6):
        transition = engine.step(Command(speed=jnp.full(3, 7.3)))
    torque = np.asarray(transition.state.bodies.push_torque)
    assert torque[0] > 0
    assert torque[1] < 0
    assert torque[2] < 0
    np.testing.assert_allclose(transition.state.bodies.centre[0], (200.0, 200.0), atol=1e-4)


def test_three_dimensions_push_and_turn_alike():
    # A rod in space, pushed at its end by a swimmer, turns about z with the mobility of its axes.
    diameter, length = 4.0, 40.0
    world = World(
        box=Box((200.0,) * 3, "open"),
        fluid=Fluid(1e-3, 0.0),
        species=(
            Species(
                count=1,
                radius=2.0,
                speed_max=5.0,
                placement=Placement(
                    "points", positions=((118.0, 95.99, 100.0),), directors=((0.0, 1.0, 0.0),)
                ),
            ),
        ),
        bodies=(
            Body(
                shape=Rod(length, diameter),
                placement=Placement(
                    "points", positions=((100.0,) * 3,), directors=((1.0, 0.0, 0.0),)
                ),
            ),
        ),
    )
    engine = JaxEngine(world, 0.05)
    engine.reset(0)
    for _ in range(6):
        state = engine.step(Command(speed=jnp.asarray([5.0]))).state
    translation, rotation = world.bodies[0].frictions(1e-3, 3)
    force = float(state.bodies.push_force[0, 1])
    np.testing.assert_allclose(state.bodies.velocity[0, 1], force / translation[1], rtol=5e-3)
    torque = np.asarray(state.bodies.push_torque[0])
    np.testing.assert_allclose(
        state.bodies.angular_velocity[0, 2], torque[2] / rotation[2], rtol=5e-3
    )
    np.testing.assert_allclose(torque[:2], 0, atol=1e-4 * torque[2])


def test_bodies_and_colloids_are_placed_without_overlap():
    world = World(
        box=Box((120.0, 120.0)),
        species=(Species(count=60, radius=2.0),),
        bodies=(
            Body(name="rod", shape=Rod(30.0, 4.0), count=3),
            Body(name="disc", shape=Disc(12.0, 3.0), count=2),
        ),
        time_step=2e-4,
    )
    engine = JaxEngine(world, 0.02)
    for seed in range(5):
        state = engine.reset(seed)
        bodies = state.bodies
        space = engine.space(engine.params())
        gap = space.distance(state.position[:, None], bodies.bead[None]) - 2.0 - bodies.bead_radius
        assert float(gap.min()) > 0
        discs = space.distance(state.position[:, None], bodies.centre[None, 3:])
        assert float(discs.min()) > 12.0  # nobody is inside the rim
        owner = np.asarray(bodies.body_of_bead)
        between = space.distance(bodies.bead[:, None], bodies.bead[None])
        between = np.asarray(between - bodies.bead_radius[:, None] - bodies.bead_radius)
        assert between[owner[:, None] != owner].min() > 0


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Rod(2.0, 5.0), "below its diameter"),
        (lambda: Cross(5.0, 5.0), "three bead diameters"),
        (lambda: Disc(2.0, 5.0), "below the bead diameter"),
        (lambda: Ngon(2), "3 or more"),
        (lambda: Ngon(12, 5.0, 5.0), "shorter than the bead diameter"),
        (lambda: Body(count=0), "count must be at least 1"),
        (lambda: Body(friction=(-1.0, 1.0)), "friction must be positive"),
        (lambda: World(bodies=(Body(friction=(1.0,)),)), "friction has 1 numbers; 2 are needed"),
        (lambda: World(bodies=(Body(), Body())), "must be unique"),
        (lambda: World(box=Box((80.0, 80.0)), bodies=(Body(),)), "enlarge the box"),
    ],
)
def test_what_a_body_cannot_be(make, words):
    with pytest.raises(ConfigError, match=words):
        make()


def test_colloids_that_overlap_a_body_are_refused():
    world = robot_and_rod(0.0, 3)
    import dataclasses

    placement = Placement("points", positions=((200.0, 202.0),))
    species = dataclasses.replace(world.species[0], placement=placement)
    with pytest.raises(PlacementError, match="overlap"):
        JaxEngine(dataclasses.replace(world, species=(species,)), 0.05).reset(0)
