"""Motion over control intervals: float32 drifts, periodic faces, directors, turning, limits."""

from __future__ import annotations

import dataclasses
import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from swarmctl.core.command import Command
from swarmctl.core.errors import ConfigError
from swarmctl.core.state import SwarmState
from swarmctl.core.world import Box, Fluid, Placement, Species, World, steps_per_interval
from swarmctl.engines.jax_engine import JaxEngine
from swarmctl.physics.rotation import normalise, rotate

DIMENSIONS = pytest.mark.parametrize("dimension", [2, 3])
STILL = Fluid(temperature=0.0)


def at(*points: tuple[float, ...], directors: tuple[tuple[float, ...], ...] = ()) -> Placement:
    return Placement("points", positions=points, directors=directors)


def world_of(placement: Placement, box: Box, fluid: Fluid = STILL, **changes: float) -> World:
    species = Species(
        count=len(placement.positions), speed_max=10.0, turn_rate_max=7.0, placement=placement
    )
    return World(box, fluid, (dataclasses.replace(species, **changes),), 1e-3, contacts=False)


def roll(engine: JaxEngine, command: Command, intervals: int, seed: int = 0) -> SwarmState:
    """All observed states [intervals, …] under one command, starting with the first one."""
    params = engine.params()

    @jax.jit
    def run(key: jax.Array) -> SwarmState:
        init_key, key = jax.random.split(key)
        state = engine.init(init_key, params)
        first = engine.observe_state(state, params)

        def body(state: object, key: jax.Array) -> tuple:
            state, _, _ = engine.advance(key, state, command, params)
            return state, engine.observe_state(state, params)

        _, states = jax.lax.scan(body, state, jax.random.split(key, intervals))
        return jax.tree.map(lambda a, b: jnp.concatenate([a[None], b]), first, states)

    return run(jax.random.key(seed))


@pytest.mark.parametrize("interval", [0.001, 0.1])
def test_slow_drift_far_from_the_origin_survives_float32(interval: float) -> None:
    """0.44 µm/s in steps of 1 ms near 500 µm, where float32 resolves 3e-5 µm: 0.1 % in 3 min.

    At one step per control interval the remainder alone has to carry the rounding.
    """
    seconds = 180 if interval > 0.01 else 60
    world = world_of(at((499.7, 499.9)), Box((1000.0, 1000.0)))
    engine = JaxEngine(world, interval)
    velocity = jnp.asarray([[0.44, -0.11]])
    states = roll(engine, Command(velocity=velocity), round(seconds / interval))
    moved = np.asarray(states.position[-1] - states.position[0], float)
    np.testing.assert_allclose(moved, seconds * np.asarray(velocity), rtol=1e-3)
    np.testing.assert_allclose(
        states.velocity[1:], np.asarray(states.velocity[1:]) * 0 + velocity, rtol=1e-4
    )


@DIMENSIONS
def test_positions_are_wrapped_and_their_unwrapped_path_is_continuous(dimension: int) -> None:
    """Swimmers cross faces both ways many times: [0, L), and no jump beyond what they can move."""
    size = (7.0, 5.0, 6.0)[:dimension]
    species = Species(count=64, speed_max=10.0)
    world = World(Box(size), species=(species,), time_step=1e-3, contacts=False)
    engine = JaxEngine(world, 0.05)
    states = roll(engine, Command(speed=jnp.full(64, 10.0)), 400)
    position = np.asarray(states.position)
    assert (position >= 0).all()
    assert (position < np.asarray(size, np.float32)).all()
    assert np.abs(np.asarray(states.image)).max() > 3
    path = np.asarray(states.unwrapped(engine.space(engine.params())), float)
    step = np.diff(path, axis=0)
    # the path is the integral of the observed velocity, to float32 rounding of path and position
    np.testing.assert_allclose(step, np.asarray(states.velocity[1:]) * 0.05, atol=2e-5)
    # 0.5 µm by swimming and eight standard deviations of Brownian motion
    reach = 0.5 + 8 * math.sqrt(2 * world.diffusion(species) * 0.05)
    assert np.abs(step).max() < reach


def test_a_rounding_onto_the_upper_face_counts_as_the_next_box() -> None:
    """-1e-7 µm plus 10 µm is 10 µm in float32, which belongs to the next box."""
    world = world_of(at((0.0, 5.0)), Box((10.0, 10.0)))
    engine = JaxEngine(world, 1e-3)
    states = roll(engine, Command(velocity=jnp.asarray([[-1e-4, 0.0]])), 20)
    assert (np.asarray(states.position) < 10).all()
    path = np.asarray(states.unwrapped(engine.space(engine.params())))[:, 0, 0]
    assert np.abs(path).max() < 1e-5


@DIMENSIONS
def test_directors_keep_their_length(dimension: int) -> None:
    """After 1e5 noisy, turning steps, in intervals of 1000 steps."""
    placement = at(*[(50.0,) * dimension] * 8)
    world = world_of(placement, Box((100.0,) * dimension), Fluid())
    engine = JaxEngine(world, 1.0)
    rate = np.linspace(-7, 7, 8)
    turn = rate if dimension == 2 else np.stack([rate, 0.3 * rate, 0 * rate], -1)
    states = roll(engine, Command(turn_rate=jnp.asarray(turn, jnp.float32)), 100)
    length = np.linalg.norm(np.asarray(states.director, float), axis=-1)
    np.testing.assert_allclose(length, 1, atol=3e-7)


@DIMENSIONS
def test_rotation_keeps_length_without_help(dimension: int) -> None:
    """Cayley's form is orthogonal: 1000 turns without rescaling lose 1e-7 each at the very most."""
    rng = np.random.default_rng(11)
    director = normalise(jnp.asarray(rng.normal(size=(dimension, 500)), jnp.float32))
    turns = jnp.asarray(rng.normal(size=(1000, 1 if dimension == 2 else 3, 500)) * 0.1, jnp.float32)
    end = jax.jit(lambda n, t: jax.lax.scan(lambda n, x: (rotate(n, x), None), n, t)[0])(
        director, turns
    )
    length = np.linalg.norm(np.asarray(end, float), axis=0)
    assert np.abs(length - 1).max() < 2e-5
    assert abs(length.mean() - 1) < 1e-5


@pytest.mark.parametrize("angle", [1e-4, 0.01, 0.1, 0.3])
def test_rotation_angle(angle: float) -> None:
    """tan(angle/2) to fifth order: the error is about angle^5/120, under 1e-7 at 0.1."""
    end = np.asarray(rotate(jnp.asarray([1.0, 0.0]), jnp.asarray([angle])), float)
    error = math.atan2(end[1], end[0]) - angle
    assert abs(error) < angle**5 / 100 + 1e-7
    axis = np.array([1.0, 2.0, -2.0]) / 3
    start = np.array([0.6, -0.8, 0.0])
    # Rodrigues' formula
    cosine, sine = math.cos(angle), math.sin(angle)
    expected = start * cosine + np.cross(axis, start) * sine + axis * (axis @ start) * (1 - cosine)
    turned = rotate(jnp.asarray(start, jnp.float32), jnp.asarray(axis * angle, jnp.float32))
    np.testing.assert_allclose(turned, expected, atol=angle**5 / 100 + 3e-7)


def test_turn_rate_2d() -> None:
    """At 0 K a director turns by w t, anticlockwise; `angular_velocity` reports w."""
    placement = at(*[(50.0, 50.0)] * 3, directors=((1.0, 0.0), (1.0, 0.0), (0.0, 1.0)))
    engine = JaxEngine(world_of(placement, Box((100.0, 100.0))), 0.5)
    rate = np.array([0.0, 1.3, -6.0])
    states = roll(engine, Command(turn_rate=jnp.asarray(rate, jnp.float32)), 6)
    director = np.asarray(states.director, float)
    angle = np.arctan2(director[..., 1], director[..., 0])
    expected = np.array([0, 0, np.pi / 2]) + rate * (0.5 * np.arange(7))[:, None]
    error = np.angle(np.exp(1j * (angle - expected)))
    np.testing.assert_allclose(error, 0, atol=3e-5)
    np.testing.assert_allclose(states.angular_velocity[1:], np.tile(rate, (6, 1)), rtol=1e-5)


def test_turn_rate_3d() -> None:
    """A constant rotation vector turns the director about it by w t."""
    placement = at(*[(50.0, 50.0, 50.0)] * 2, directors=((1.0, 0.0, 0.0), (0.0, 0.6, 0.8)))
    engine = JaxEngine(world_of(placement, Box((100.0,) * 3)), 0.5)
    rate = jnp.asarray([[0.0, 0.0, 2.0], [1.5, 0.0, 0.0]])
    states = roll(engine, Command(turn_rate=rate), 4)
    c, s = math.cos(4.0), math.sin(4.0)
    np.testing.assert_allclose(states.director[-1, 0], [c, s, 0], atol=2e-5)
    c, s = math.cos(3.0), math.sin(3.0)
    np.testing.assert_allclose(
        states.director[-1, 1], [0, 0.6 * c - 0.8 * s, 0.6 * s + 0.8 * c], atol=2e-5
    )
    np.testing.assert_allclose(states.angular_velocity[-1], rate, rtol=1e-5, atol=1e-7)


def test_a_turning_swimmer_draws_a_circle() -> None:
    """Radius v/w; the mean of old and new director makes the polygon's error of second order."""
    placement = at((50.0, 50.0), directors=((1.0, 0.0),))
    engine = JaxEngine(world_of(placement, Box((100.0, 100.0))), 0.05)
    command = Command(speed=jnp.asarray([5.0]), turn_rate=jnp.asarray([2.0]))
    states = roll(engine, command, 62)
    distance = np.linalg.norm(np.asarray(states.position[:, 0]) - [50, 52.5], axis=-1)
    np.testing.assert_allclose(distance, 2.5, rtol=2e-5)


@DIMENSIONS
def test_heading_turns_by_180_degrees_at_once_and_only_where_asked(dimension: int) -> None:
    forward = (1.0, *(0.0,) * (dimension - 1))
    placement = at(*[(50.0,) * dimension] * 2, directors=(forward, forward))
    engine = JaxEngine(world_of(placement, Box((100.0,) * dimension)), 0.1)
    heading = -3.0 * np.array([forward, forward])  # any length
    command = Command(
        speed=np.array([4.0, 4.0]), heading=heading, has_heading=np.array([True, False])
    )
    engine.reset(0)
    state = engine.step(command).state
    sign = np.array([-1.0, 1.0])
    np.testing.assert_allclose(state.director, sign[:, None] * np.array(forward), atol=1e-6)
    np.testing.assert_allclose(state.velocity[:, 0], 4.0 * sign, rtol=1e-4)


@DIMENSIONS
def test_velocity_channel_moves_without_turning(dimension: int) -> None:
    placement = at(*[(50.0,) * dimension] * 2)
    engine = JaxEngine(world_of(placement, Box((100.0,) * dimension)), 0.1)
    velocity = np.arange(2.0 * dimension).reshape(2, dimension) - 2
    start = engine.reset(0)
    state = engine.step(Command(velocity=velocity)).state
    np.testing.assert_allclose(state.velocity, velocity, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(state.director, start.director, atol=1e-6)


@DIMENSIONS
def test_limits_are_reported_and_keep_directions(dimension: int) -> None:
    """What exceeds a limit is cut and shows in `applied` and `limited`; the rest is untouched."""
    placement = at(*[(50.0,) * dimension] * 3)
    world = world_of(placement, Box((100.0,) * dimension), speed_min=-2.0, turn_rate_max=3.0)
    engine = JaxEngine(world, 0.1)
    engine.reset(0)
    done = engine.step(Command(speed=np.array([11.0, -3.0, 9.0])))
    np.testing.assert_array_equal(done.applied.speed, [10, -2, 9])
    np.testing.assert_array_equal(done.status.flags.limited, [True, True, False])
    np.testing.assert_allclose(np.linalg.norm(done.state.velocity, axis=-1), [10, 2, 9], rtol=1e-4)

    turn = np.array([-4.0, 3.0, 0.0])
    if dimension == 3:
        turn = turn[:, None] * np.array([0.6, 0.0, 0.8])
    done = engine.step(Command(turn_rate=turn))
    np.testing.assert_allclose(done.applied.turn_rate[0], turn[0] * 0.75, rtol=1e-6)
    np.testing.assert_allclose(done.applied.turn_rate[1:], turn[1:], rtol=1e-6)
    assert bool(done.status.flags.limited[0])
    assert not bool(done.status.flags.limited[2])

    velocity = np.zeros((3, dimension))
    velocity[0, :2], velocity[1, :2] = (12, -16), (6, 8 - 1e-3)
    done = engine.step(Command(velocity=velocity))
    np.testing.assert_allclose(done.applied.velocity[0, :2], [6, -8], rtol=1e-6)
    np.testing.assert_array_equal(done.applied.velocity[1:], velocity[1:].astype(np.float32))
    np.testing.assert_array_equal(done.status.flags.limited, [True, False, False])


@pytest.mark.parametrize(("interval", "steps"), [(0.1, 100), (0.3, 300), (1e-3, 1), (60.0, 60_000)])
def test_control_intervals_that_divide(interval: float, steps: int) -> None:
    assert steps_per_interval(interval, 1e-3) == steps


@pytest.mark.parametrize("interval", [0.0015, 0.0005, 0.1001, 0.0, -0.1, math.nan, math.inf])
def test_control_intervals_that_do_not(interval: float) -> None:
    with pytest.raises(ConfigError):
        steps_per_interval(interval, 1e-3)


def test_remedies_in_the_message_do_divide() -> None:
    with pytest.raises(ConfigError, match="whole number") as raised:
        steps_per_interval(0.1, 0.003)
    found = re.search(r"Nearest time steps that fit: (\S+) s or (\S+) s\.", str(raised.value))
    assert found is not None
    for text, steps in zip(found.groups(), (34, 33), strict=True):
        # six digits are shown
        assert float(text) == pytest.approx(0.1 / steps, rel=1e-5)
        assert steps_per_interval(0.1, 0.1 / steps) == steps
