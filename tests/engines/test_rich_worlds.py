"""Worlds with everything in them at once, in space, and batches of different worlds."""

from __future__ import annotations

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from swarmctl.core.bodies import Body, Rod
from swarmctl.core.command import Command
from swarmctl.core.errors import ConfigError, WallCrossedError
from swarmctl.core.fields import HarmonicTrap, ShearFlow, UniformFlow
from swarmctl.core.grids import Chemical
from swarmctl.core.hydrodynamics import Hydrodynamics
from swarmctl.core.walls import Circle, Polygon, Segment
from swarmctl.core.world import Box, Fluid, GlobalField, Placement, Species, World
from swarmctl.engines.jax_engine import JaxEngine
from swarmctl.physics.parameters import motion_params, stack_params
from swarmctl.testing.motion import random_command, state_faults


def test_everything_at_once_in_space():
    world = World(
        Box((60.0,) * 3, "hard"),
        species=(
            Species("sphere", 4, speed_max=3, magnetic_moment=0.01, dipole=0.01),
            Species("spheroid", 3, aspect_ratio=2.0, speed_max=3, rolling=0.1),
        ),
        walls=(Segment((10.0, 20.0), (25.0, 20.0), 1.0), Circle((45.0, 20.0), 5.0)),
        flows=(UniformFlow((0.5, 0.0, 0.0)),),
        potentials=(HarmonicTrap(0.01, species=("sphere",)),),
        chemicals=(Chemical("food", 10.0, 0.1, (1.0, 0.0), 4.0),),
        field=GlobalField(strength_max=5.0, gradient_max=0.1, frequency_max=5.0),
        hydrodynamics=Hydrodynamics("flow", wall=True),
        time_step=1e-4,
    )
    engine = JaxEngine(world, 0.01)
    state = engine.reset(0)
    for i in range(3):
        state = engine.step(random_command(jax.random.key(i), engine.spec)).state
    assert not list(state_faults(state, engine.spec))
    assert float(state.chemicals.value[:, 0].max()) > 0


def test_a_batch_may_hold_a_thousand_different_worlds():
    # One call simulates worlds of different viscosity, radius, speed and shear; each diffuses and
    # drifts by its own numbers. 400 colloids a world: 5 % on D at three standard errors is checked
    # in the mean over the thousand, 0.5 %.
    rng = np.random.default_rng(0)
    count, worlds = 20, 1000
    viscosity, radius = rng.uniform(0.5e-3, 3e-3, worlds), rng.uniform(0.5, 2.0, worlds)
    rate = rng.uniform(0.1, 1.0, worlds)

    def world(i: int) -> World:
        start = Placement("points", positions=((500.0, 500.0),) * count)
        return World(
            Box((1000.0, 1000.0), "open"),
            Fluid(float(viscosity[i])),
            (Species(count=count, radius=float(radius[i]), speed_max=3.0, placement=start),),
            contacts=False,
            flows=(ShearFlow(float(rate[i]), centre=(500.0, 490.0)),),
            time_step=1e-2,
        )

    params = stack_params([motion_params(world(i)) for i in range(worlds)])
    engine = JaxEngine(world(0), 0.2)

    @jax.jit
    def run(key: jax.Array) -> jax.Array:
        keys = jax.random.split(key, (2, worlds))
        state = jax.vmap(engine.init)(keys[0], params)
        command = Command(speed=jnp.zeros(count))
        state, _, _ = jax.vmap(engine.advance, (0, 0, None, 0))(keys[1], state, command, params)
        return state.velocity

    moved = np.asarray(run(jax.random.key(0)), float) * 0.2
    thermal = world(0).fluid.thermal_energy
    diffusion = thermal / (6 * math.pi * viscosity * radius)
    ratio = np.mean(moved[:, :, 1] ** 2, axis=1) / (2 * diffusion * 0.2)
    assert np.mean(ratio) == pytest.approx(1.0, abs=0.03)
    np.testing.assert_allclose(ratio, 1.0, atol=6 * math.sqrt(2 / count))
    drift = moved[:, :, 0].mean(1) / (rate * 10.0 * 0.2)
    assert np.mean(drift) == pytest.approx(1.0, abs=0.01)


def test_worlds_that_are_built_differently_cannot_be_stacked():
    plain = motion_params(World())
    forced = motion_params(World(species=(Species(force=(0.1, 0.0)),)))
    with pytest.raises(ConfigError, match="force"):
        stack_params([plain, forced])
    larger = motion_params(World(species=(Species(count=11),)))
    with pytest.raises(ConfigError, match="friction"):
        stack_params([plain, larger])


def arena(time_step: float) -> World:
    """Swimmers in a closed square with a corner to be caught in."""
    corners = ((20.0, 20.0), (60.0, 20.0), (60.0, 60.0), (20.0, 60.0))
    return World(
        Box((80.0, 80.0), "open"),
        species=(
            Species(
                count=200,
                radius=1.0,
                speed_max=5.0,
                placement=Placement("ball", radius=15.0, centre=(40.0, 40.0)),
            ),
        ),
        walls=(Polygon(corners, side="inside"),),
        contacts=False,
        time_step=time_step,
    )


def test_nobody_leaves_a_closed_room():
    world = arena(5e-4)
    engine = JaxEngine(world, 0.1)
    state = engine.reset(0)
    command = Command(speed=jnp.full(200, 5.0))
    for _ in range(100):
        state = engine.step(command).state
    position = np.asarray(state.position)
    assert position.min() > 20.0 + 0.9
    assert position.max() < 60.0 - 0.9


def test_a_crossing_is_an_error():
    world = arena(5e-4)
    engine = JaxEngine(world, 0.1)
    engine.reset(0)
    hasty = dataclasses.replace(engine.config, time_step=0.5, steps=1)
    from swarmctl.physics.motion import interval_motion

    engine._motion = interval_motion(hasty)
    command = Command(speed=jnp.full(200, 5.0))

    def run() -> None:
        for _ in range(200):
            engine.step(command)

    with pytest.raises(WallCrossedError, match="went through a wall"):
        run()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (lambda: {"walls": (Segment((10.0, 10.0), (2000.0, 10.0)),)}, "box"),
        (lambda: {"walls": (Polygon(((0, 0), (9, 9), (9, 0), (0, 9))),)}, "crosses"),
        (lambda: {"species": (Species(force=(1.0, 0.0, 0.0)),)}, "force has 3 numbers"),
        (lambda: {"flows": (UniformFlow((1.0, 0.0, 0.0)),)}, "3"),
    ],
)
def test_bad_worlds_are_refused_when_they_are_made(changes, words):
    with pytest.raises(ConfigError, match=words):
        World(**changes())


def test_negative_friction_is_refused():
    with pytest.raises(ConfigError, match="friction must be positive"):
        Species(friction=-1.0)


def test_a_stiff_trap_is_refused_before_the_first_step():
    world = World(potentials=(HarmonicTrap(50.0),))
    with pytest.raises(ConfigError, match="harmonic potential"):
        JaxEngine(world, 0.1)


def test_bodies_appear_in_the_spec():
    world = World(bodies=(Body(shape=Rod(50.0, 5.0), count=2),), time_step=1e-4)
    spec = JaxEngine(world, 0.1).spec
    assert spec.bodies == ("rod", "rod")
    assert spec.beads == (10, 10)
