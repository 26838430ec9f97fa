"""The contract of the embedded engine: pure functions, batching, reproducibility, errors."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from swarmctl.core.command import Command, FieldCommand
from swarmctl.core.errors import (
    CapabilityError,
    CommandError,
    ConfigError,
    DivergenceError,
    OverlapError,
    PlacementError,
    SwarmctlError,
)
from swarmctl.core.state import SwarmState
from swarmctl.core.world import Box, Placement, Species, World
from swarmctl.engines.jax_engine import JaxEngine
from swarmctl.physics.parameters import MotionParams

COUNT = 6
DIMENSIONS = pytest.mark.parametrize("dimension", [2, 3])


def crowd(dimension: int) -> World:
    """A crowded world, so that contacts matter in every step."""
    placement = Placement("ball", radius=4.0 if dimension == 2 else 3.0)
    species = Species(count=COUNT, radius=1.0, speed_max=5.0, placement=placement)
    return World(Box((30.0,) * dimension), species=(species,), time_step=1e-3)


ENGINES = {dimension: JaxEngine(crowd(dimension), 0.02) for dimension in (2, 3)}


def command_of(dimension: int, shape: tuple[int, ...] = (), seed: int = 0) -> Command:
    rng = np.random.default_rng(seed)
    turns = (COUNT,) if dimension == 2 else (COUNT, 3)

    def draw(*tail: int) -> jax.Array:
        return jnp.asarray(rng.uniform(-6, 6, (*shape, *tail)), jnp.float32)

    return Command(
        speed=jnp.abs(draw(COUNT)),
        turn_rate=draw(*turns),
        velocity=0.3 * draw(COUNT, dimension),
        heading=draw(COUNT, dimension),
        has_heading=jnp.asarray(rng.uniform(size=(*shape, COUNT)) < 0.3),
    )


def leaves(tree: Any) -> list[np.ndarray]:
    return [np.asarray(leaf) for leaf in jax.tree.leaves(tree)]


def assert_equal(one: Any, other: Any) -> None:
    assert jax.tree.structure(one) == jax.tree.structure(other)
    for a, b in zip(leaves(one), leaves(other), strict=True):
        np.testing.assert_array_equal(a, b)


def assert_close(one: Any, other: Any, atol: float) -> None:
    for a, b in zip(leaves(one), leaves(other), strict=True):
        np.testing.assert_allclose(a.astype(float), b.astype(float), atol=atol)


# Without running


@DIMENSIONS
def test_spec_is_hashable_and_says_what_the_engine_is(dimension: int) -> None:
    engine = ENGINES[dimension]
    spec = engine.spec
    assert hash(spec) == hash(JaxEngine(crowd(dimension), 0.02).spec)
    assert spec == JaxEngine(crowd(dimension), 0.02).spec
    assert (spec.capacity, spec.dimension) == (COUNT, dimension)
    assert spec.control_interval == pytest.approx(0.02)
    assert spec.capabilities == {"speed", "turn_rate", "heading", "velocity"}
    assert spec.per_slot(spec.radius) == (1.0,) * COUNT
    assert spec.box == (30.0,) * dimension
    state = engine.reset(0)
    assert state.position.shape == (spec.capacity, spec.dimension)
    assert state.position.dtype == spec.dtype


# Pure functions


def test_state_is_never_mutated_and_jit_changes_nothing() -> None:
    engine = ENGINES[2]
    params = engine.params()
    state = jax.jit(engine.init)(jax.random.key(0), params)
    before = [leaf.copy() for leaf in leaves((state, params))]
    key, command = jax.random.key(1), command_of(2)
    jitted = jax.jit(engine.advance)(key, state, command, params)
    plain = engine.advance(key, state, command, params)
    for old, now in zip(before, leaves((state, params)), strict=True):
        np.testing.assert_array_equal(old, now)
    assert_close(plain[0], jitted[0], atol=1e-4)
    with pytest.raises(dataclasses.FrozenInstanceError):
        state.step = 3
    observed = engine.observe_state(plain[0], params)
    assert int(observed.step) == 1
    assert float(observed.time) == pytest.approx(0.02)
    assert observed.angular_velocity.shape == (COUNT,)


@DIMENSIONS
def test_scan_equals_a_loop(dimension: int) -> None:
    engine = ENGINES[dimension]
    params = engine.params()
    command = command_of(dimension)
    keys = jax.random.split(jax.random.key(2), 5)
    start = jax.jit(engine.init)(jax.random.key(0), params)
    advance = jax.jit(engine.advance)
    state = start
    for key in keys:
        state, *_ = advance(key, state, command, params)
    scanned, _ = jax.jit(
        lambda s: jax.lax.scan(
            lambda s, key: (engine.advance(key, s, command, params)[0], None), s, keys
        )
    )(start)
    assert_close(scanned, state, atol=2e-5)
    assert int(scanned.step) == 5


@DIMENSIONS
def test_a_batch_and_a_batch_of_batches_equal_single_swarms(dimension: int) -> None:
    """Over keys, states and commands; contacts amplify rounding only little in a few intervals."""
    engine = ENGINES[dimension]
    params = engine.params()
    shape = (3, 4)
    keys = jax.random.split(jax.random.key(3), shape)
    init = jax.jit(lambda key: engine.init(key, params))
    step = jax.jit(lambda key, s, c: engine.advance(key, s, c, params))
    commands = command_of(dimension, shape)

    flat_keys = keys.reshape(12)
    flat_commands = jax.tree.map(lambda x: x.reshape(12, *x.shape[2:]), commands)
    starts = [init(key) for key in flat_keys]
    singles = [
        step(key, start, jax.tree.map(lambda x, i=i: x[i], flat_commands))
        for i, (key, start) in enumerate(zip(flat_keys, starts, strict=True))
    ]
    wanted = jax.tree.map(lambda *xs: jnp.stack(xs), *singles)
    flat_start = jax.tree.map(lambda *xs: jnp.stack(xs), *starts)
    once = jax.jit(jax.vmap(step))(flat_keys, flat_start, flat_commands)
    start = jax.tree.map(lambda x: x.reshape(*shape, *x.shape[1:]), flat_start)
    twice = jax.jit(jax.vmap(jax.vmap(step)))(keys, start, commands)
    assert_close(once, wanted, atol=2e-4)
    assert_close(jax.tree.map(lambda x: x.reshape(12, *x.shape[2:]), twice), wanted, atol=2e-4)
    # the flags and what was limited are the same, not merely close
    assert_equal(once[2], wanted[2])
    assert np.asarray(wanted[2].limited).any()


@jax.jit
def map_one_argument_at_a_time(key: jax.Array) -> tuple[dict[str, Any], Any]:
    """States after an interval, of two equal swarms each time, and of one swarm."""
    engine = ENGINES[2]
    params = engine.params()
    command = command_of(2)
    state = engine.init(key, params)
    single = engine.advance(key, state, command, params)[0]
    double = {
        "key": jnp.stack([key, key]),
        "state": jax.tree.map(lambda x: jnp.stack([x, x]), state),
        "command": jax.tree.map(lambda x: jnp.stack([x, x]), command),
    }
    plain = {"key": key, "state": state, "command": command}
    mapped = {
        name: jax.vmap(
            lambda k, s, c: engine.advance(k, s, c, params)[0],
            tuple(0 if name == other else None for other in plain),
        )(*(double[other] if name == other else plain[other] for other in plain))
        for name in plain
    }
    return mapped, single


def test_one_axis_may_be_mapped_and_another_not() -> None:
    """Keys alone, states alone or commands alone: the others are shared by all swarms."""
    mapped, single = map_one_argument_at_a_time(jax.random.key(4))
    assert set(mapped) == {"key", "state", "command"}
    for both in mapped.values():
        for row in range(2):
            assert_close(jax.tree.map(lambda x, r=row: x[r], both), single, atol=2e-5)


def test_every_swarm_of_a_batch_has_its_own_parameters() -> None:
    """Frictions, temperatures and speeds vary over a batch; D_t and v follow them.

    Per swarm 50 x 40 increments in 2 components: D is known to sqrt(2/4000) = 2.2 %; 5 sigma.
    """
    count = 50
    species = Species(count=count, radius=1.0, speed_max=20.0)
    engine = JaxEngine(World(species=(species,), time_step=1e-3, contacts=False), 0.01)
    base = engine.params()
    scale = jnp.asarray([0.5, 1.0, 2.0, 4.0])
    heat = jnp.asarray([1.0, 1.0, 3.0, 0.0])
    top = jnp.asarray([1.0, 5.0, 10.0, 15.0])

    def vary(scale: jax.Array, heat: jax.Array, top: jax.Array) -> MotionParams:
        return dataclasses.replace(
            base,
            friction=base.friction * scale,
            thermal_energy=base.thermal_energy * heat,
            speed_max=jnp.full(count, top),
        )

    params = jax.vmap(vary)(scale, heat, top)

    def run(key: jax.Array, params: MotionParams, speed: jax.Array) -> tuple[jax.Array, ...]:
        state = engine.init(key, params)
        command = Command(speed=jnp.full(count, speed))

        def body(state: Any, key: jax.Array) -> tuple:
            old = state.motion.director
            state, applied, flags = engine.advance(key, state, command, params)
            middle = (old + state.motion.director) / 2
            along = (state.velocity * middle).sum(-1).mean()
            return state, ((state.velocity**2).mean(), along, applied.speed[0], flags.limited[0])

        return jax.lax.scan(body, state, jax.random.split(key, 40))[1]

    keys = jax.random.split(jax.random.key(5), 4)
    passive, _, _, _ = jax.jit(jax.vmap(run))(keys, params, jnp.zeros(4))
    expected = np.asarray(heat) / np.asarray(scale) * engine.world.diffusion(species)
    measured = np.asarray(passive).mean(1) * 0.01 / 2
    np.testing.assert_allclose(measured, expected, rtol=0.11, atol=1e-9)

    _, along, applied, limited = jax.jit(jax.vmap(run))(keys, params, jnp.full(4, 12.0))
    np.testing.assert_array_equal(np.asarray(applied)[:, 0], [1, 5, 10, 12])
    np.testing.assert_array_equal(np.asarray(limited)[:, 0], [True, True, True, False])
    # velocity noise sqrt(2 D/0.01) <= 9.4 µm/s, over 2000 values: 0.21 µm/s
    np.testing.assert_allclose(np.asarray(along).mean(1), [1, 5, 10, 12], atol=0.85)
    np.testing.assert_allclose(np.asarray(along)[3], 12, rtol=1e-3)


def test_radii_may_vary_over_a_batch() -> None:
    """Two colloids 2.5 µm apart: those with radius 1 do not touch, those with radius 1.5 do."""
    placement = Placement("points", positions=((10.0, 10.0), (12.5, 10.0)))
    species = Species(count=2, radius=1.0, speed_max=2.0, placement=placement)
    engine = JaxEngine(World(Box((20.0, 20.0)), species=(species,), time_step=1e-3), 0.02)
    base = engine.params()
    cold = dataclasses.replace(base, thermal_energy=jnp.asarray(0.0))

    def step(radius: jax.Array) -> tuple[jax.Array, jax.Array]:
        params = dataclasses.replace(cold, radius=jnp.full(2, radius))
        state = engine.init(jax.random.key(0), base)
        state, _, flags = engine.advance(jax.random.key(1), state, Command(), params)
        return state.motion.position, flags.overlap

    position, overlap = jax.jit(jax.vmap(step))(jnp.asarray([1.0, 1.5, 2.0]))
    gap = np.asarray(position[:, 1, 0] - position[:, 0, 0])
    assert gap[0] == 2.5
    assert 2.5 < gap[1] <= 3.0
    np.testing.assert_array_equal(overlap, [False, False, True])


# Reproducibility


@DIMENSIONS
def test_equal_seeds_give_equal_bits_and_others_do_not(dimension: int) -> None:
    engine = ENGINES[dimension]
    command = command_of(dimension)

    def episode(engine: JaxEngine, seed: int) -> list[SwarmState]:
        return [engine.reset(seed), *(engine.step(command).state for _ in range(3))]

    first = episode(engine, 7)
    assert_equal(first, episode(engine, 7))
    assert_equal(first, episode(JaxEngine(crowd(dimension), 0.02), 7))
    other = episode(engine, 8)
    assert np.abs(np.asarray(first[0].position) - np.asarray(other[0].position)).max() > 0.01


def test_noise_differs_between_keys_and_between_swarms() -> None:
    engine = ENGINES[2]
    params = engine.params()
    state = jax.jit(engine.init)(jax.random.key(0), params)
    keys = jax.random.split(jax.random.key(6), 8)

    def end(key: jax.Array) -> jax.Array:
        return engine.advance(key, state, Command(), params)[0].velocity

    ends = jax.jit(jax.vmap(end))(keys)
    flat = np.asarray(ends).reshape(8, -1)
    distances = np.abs(flat[:, None] - flat[None]).max(-1)
    assert distances[~np.eye(8, dtype=bool)].min() > 1e-2


# Errors


def test_a_step_before_reset_and_after_stop_is_refused() -> None:
    engine = JaxEngine(crowd(2), 0.02)
    with pytest.raises(SwarmctlError, match="reset"):
        engine.step(Command())
    engine.reset(0)
    engine.step(Command())
    engine.stop("enough")
    with pytest.raises(SwarmctlError, match="reset"):
        engine.step(Command())
    engine.reset(0)
    engine.close()
    engine.close()


BAD: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "nan speed": ({"speed": [0, 1, np.nan, 0, 0, 0]}, CommandError, "first: 2"),
    "infinite turn rate": ({"turn_rate": [np.inf] * 6}, CommandError, "turn_rate is not finite"),
    "short speed": ({"speed": [1.0] * 5}, CommandError, r"\(5,\)"),
    "scalar speed": ({"speed": 1.0}, CommandError, "shape"),
    "3D velocity": ({"velocity": np.zeros((6, 3))}, CommandError, r"\(6, 3\)"),
    "heading alone": ({"heading": np.ones((6, 2))}, CommandError, "has_heading"),
    "heading of no length": (
        {"heading": np.zeros((6, 2)), "has_heading": [False, True, False, False, False, False]},
        CommandError,
        "colloid 1",
    ),
    "nan heading": (
        {"heading": np.full((6, 2), np.nan), "has_heading": [True] * 6},
        CommandError,
        "heading is not finite",
    ),
    "power": ({"power": [1.0] * 6}, CapabilityError, "power"),
    "spot": ({"spot_offset": np.zeros((6, 2))}, CapabilityError, "spot_offset"),
    "field": (
        {"field": FieldCommand(*np.zeros((6, 3)))},
        CapabilityError,
        "it takes heading, speed, turn_rate, velocity",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_commands_are_refused_and_leave_the_state_alone(case: str) -> None:
    values, error, message = BAD[case]
    engine = ENGINES[2]
    engine.reset(3)
    kept = engine._state
    ready = {k: v if isinstance(v, FieldCommand) else np.asarray(v) for k, v in values.items()}
    with pytest.raises(error, match=message):
        engine.step(Command(**ready))
    assert engine._state is kept


def test_a_heading_may_be_anything_where_it_is_not_wanted() -> None:
    engine = ENGINES[2]
    engine.reset(0)
    heading = np.full((COUNT, 2), np.nan)
    heading[0] = (0, 2)
    wanted = np.arange(COUNT) == 0
    state = engine.step(Command(heading=heading, has_heading=wanted)).state
    assert np.isfinite(np.asarray(state.director)).all()
    # an interval of 0.02 s turns a director by sqrt(2 D_r 0.02) = 0.08 rad
    assert np.asarray(state.director)[0, 1] > 0.9


def test_overlap_is_an_exception_at_the_boundary() -> None:
    """A shove of 200 µm/s each, which parameters that nobody checked let through."""
    placement = Placement("points", positions=((10.0, 10.0), (12.1, 10.0)))
    species = Species(count=2, radius=1.0, speed_max=2.0, placement=placement)
    engine = JaxEngine(World(Box((20.0, 20.0)), species=(species,), time_step=1e-3), 0.1)
    engine._params = dataclasses.replace(
        engine._params, speed_max=jnp.full(2, 1000.0), contact_energy=jnp.asarray(1e-4)
    )
    engine.reset(0)
    kept = engine._state
    with pytest.raises(OverlapError, match="shorter time step"):
        engine.step(Command(velocity=np.array([[200.0, 0.0], [-200.0, 0.0]])))
    assert engine._state is kept
    engine.step(Command())


def test_pressing_through_a_hard_face_is_an_overlap() -> None:
    placement = Placement("points", positions=((2.0, 10.0),))
    species = Species(count=1, radius=1.0, speed_max=2.0, placement=placement)
    world = World(Box((20.0, 20.0), "hard"), species=(species,), time_step=1e-3)
    engine = JaxEngine(world, 0.1)
    engine._params = dataclasses.replace(
        engine._params, speed_max=jnp.full(1, 1000.0), contact_energy=jnp.asarray(1e-4)
    )
    engine.reset(0)
    with pytest.raises(OverlapError):
        engine.step(Command(velocity=np.array([[-200.0, 0.0]])))


@pytest.mark.parametrize("name", ["friction", "rotational_friction", "thermal_energy"])
def test_divergence_is_an_exception_at_the_boundary(name: str) -> None:
    engine = JaxEngine(crowd(2), 0.02)
    engine.reset(0)
    value = getattr(engine._params, name)
    engine._params = dataclasses.replace(engine._params, **{name: value * jnp.nan})
    kept = engine._state
    with pytest.raises(DivergenceError):
        engine.step(Command())
    assert engine._state is kept


def test_one_diverging_swarm_does_not_touch_the_others() -> None:
    engine = ENGINES[2]
    base = engine.params()
    keys = jax.random.split(jax.random.key(9), 3)
    heat = jnp.asarray([1.0, jnp.nan, 1.0])

    def step(key: jax.Array, heat: jax.Array) -> tuple:
        state = engine.init(key, base)
        params = dataclasses.replace(base, thermal_energy=base.thermal_energy * heat)
        state, _, flags = engine.advance(key, state, Command(), params)
        return state.motion.position, flags.diverged

    position, diverged = jax.jit(jax.vmap(step))(keys, heat)
    np.testing.assert_array_equal(diverged, [False, True, False])
    finite = np.isfinite(np.asarray(position)).all((1, 2))
    np.testing.assert_array_equal(finite, [True, False, True])


def test_worlds_that_cannot_be_simulated_are_refused() -> None:
    with pytest.raises(PlacementError, match="do not fit"):
        World(Box((10.0, 10.0)), species=(Species(count=30),))
    with pytest.raises(ConfigError, match="time step"):
        JaxEngine(World(time_step=0.05), 0.1)
    with pytest.raises(ConfigError, match="whole number"):
        JaxEngine(crowd(2), 0.0205)


def test_a_single_colloid_works() -> None:
    engine = JaxEngine(World(species=(Species(count=1, radius=2.0),), time_step=5e-4), 0.01)
    state = engine.reset(0)
    after = engine.step(Command(speed=np.array([3.0]))).state
    assert after.position.shape == (1, 2)
    assert np.abs(np.asarray(after.position - state.position)).max() > 0


def test_float64_runs_without_warnings() -> None:
    """x64 is process-wide. Every floating array is float64; nothing is cast on the way."""
    program = """
import jax, numpy as np
from swarmctl.core.command import Command
from swarmctl.core.state import SwarmState
from swarmctl.core.world import Box, Placement, Species, World
from swarmctl.engines.jax_engine import JaxEngine
assert jax.config.jax_enable_x64
for d in (2, 3):
    world = World(Box((30.0,) * d, "hard"), species=(Species(count=5),), time_step=2e-4)
    engine = JaxEngine(world, 2e-3)
    engine.reset(0)
    turn = np.ones(5) if d == 2 else np.ones((5, 3))
    done = engine.step(Command(speed=np.ones(5), turn_rate=turn, velocity=np.ones((5, d))))
    assert engine.spec.dtype == "float64"
    seen = (done.state, done.applied, done.status.flags, engine._state, engine.params())
    for leaf in jax.tree.leaves(seen):
        assert leaf.dtype in ("float64", "int32", "bool"), leaf.dtype
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        env={**os.environ, "JAX_ENABLE_X64": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stderr == ""
