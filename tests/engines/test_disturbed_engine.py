"""The embedded engine with light and disturbances."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from swarmctl.core.actuator import Actuator
from swarmctl.core.bodies import Body, Rod
from swarmctl.core.command import Command
from swarmctl.core.disturbances import (
    Delay,
    Disturbances,
    Drift,
    DroppedFrames,
    Localisation,
    Losses,
    StageDrift,
    Sticking,
)
from swarmctl.core.errors import CapabilityError, CommandError
from swarmctl.core.world import Box, Fluid, GlobalField, Placement, Species, World
from swarmctl.engines.jax_engine import JaxEngine
from swarmctl.testing.engine_suite import check_engine
from swarmctl.testing.motion import state_faults

COLD = Fluid(temperature=0.0)
INTERVAL = 0.02
ALL = Disturbances(
    drift=Drift((1.0, 0.0), 0.5, 0.3),
    sticking=Sticking(2.0, 5.0),
    delay=Delay(probabilities=(0.5, 0.3, 0.2)),
    stage=StageDrift((0.3, 0.1), 0.05),
    localisation=Localisation(0.05, 0.05),
    losses=Losses(5.0, 20.0),
    frames=DroppedFrames(0.2),
)
LIT = Actuator(slope=2.0, spot_radius=3.0, steering=0.5, rise_time=0.05, gain_spread=0.2)


def line(count: int, distance: float = 4.0, dimension: int = 2) -> Placement:
    """Colloids along x that look along y."""
    rest = (10.0,) * (dimension - 1)
    points = tuple((3.0 + distance * i, *rest) for i in range(count))
    look = (0.0, 1.0, 0.0)[:dimension]
    return Placement("points", positions=points, directors=(look,) * count)


def cold(count: int, given: Disturbances | None, actuator: Actuator | None = None) -> JaxEngine:
    """An engine without thermal noise whose colloids are far from one another."""
    species = Species(count=count, placement=line(count), actuator=actuator)
    box = Box((max(60.0, 4.0 * count + 10),) * 2)
    return JaxEngine(World(box, COLD, (species,), disturbances=given), INTERVAL)


def unwrapped(state: Any, engine: JaxEngine) -> np.ndarray:
    return np.asarray(state.position) + np.asarray(state.image) * np.asarray(engine.spec.box)


# Contracts


def disturbed(dimension: int) -> JaxEngine:
    """An engine with everything at once."""
    drift = Drift((1.0, 0.0, 0.5)[:dimension], 0.5, 0.3)
    stage = StageDrift((0.3, 0.1, 0.0)[:dimension], 0.05)
    given = dataclasses.replace(ALL, drift=drift, stage=stage)
    lit = Species("lit", 4, placement=Placement("ball", radius=8.0), actuator=LIT)
    world = World(
        Box((30.0,) * dimension),
        species=(lit, Species("dark", 2, magnetic_moment=0.1)),
        field=GlobalField(),
        disturbances=given,
    )
    return JaxEngine(world, INTERVAL)


def test_a_disturbed_engine_keeps_the_contract_of_engines() -> None:
    report = check_engine(disturbed(2))
    assert report.ok, str(report)


def test_a_disturbed_engine_in_3d_shows_valid_states() -> None:
    engine = disturbed(3)
    states = [engine.reset(1)]
    command = Command(turn_rate=np.ones((6, 3)), power=np.ones(6), spot_offset=np.full((6, 2), 0.5))
    states += [engine.step(command).state for _ in range(6)]
    for state in states:
        assert not list(state_faults(state, engine.spec))
    assert not np.asarray([s.present for s in states]).all()


def test_what_is_off_changes_nothing() -> None:
    """Not even the random numbers."""
    world = World(Box((30.0, 30.0)), species=(Species(count=4),))
    plain = JaxEngine(world, INTERVAL)
    empty = JaxEngine(dataclasses.replace(world, disturbances=Disturbances()), INTERVAL)
    for engine in (plain, empty):
        engine.reset(3)
    command = Command(speed=np.full(4, 2.0))
    one, other = (engine.step(command).state for engine in (plain, empty))
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_array_equal(a, b)


# Motion


def test_drift_carries_everything_alike_and_the_stage_only_what_is_seen() -> None:
    drift, stage = np.asarray([3.0, -1.0]), np.asarray([-40.0, 5.0])
    given = Disturbances(drift=Drift((3.0, -1.0)), stage=StageDrift((-40.0, 5.0)))
    rod = Body(shape=Rod(5, 1.0), placement=Placement("points", positions=((2.0, 30.0),)))
    world = World(
        Box((60.0, 60.0)),
        COLD,
        (Species(count=4, placement=line(4)),),
        time_step=5e-4,
        bodies=(rod,),
        disturbances=given,
    )
    engine = JaxEngine(world, INTERVAL)
    start = engine.reset(0)
    for _ in range(3):
        end = engine.step(Command()).state
    assert engine._state is not None
    true = engine._state.motion
    np.testing.assert_allclose(
        true.position - start.position, [3 * INTERVAL * drift] * 4, atol=1e-5
    )
    np.testing.assert_array_equal(end.director, start.director)
    moved = unwrapped(end, engine) - unwrapped(start, engine)
    np.testing.assert_allclose(moved, [3 * INTERVAL * (drift + stage)] * 4, atol=1e-4)
    np.testing.assert_allclose(end.velocity, [drift + stage] * 4, rtol=1e-4)
    rods = [state.bodies for state in (start, end)]
    assert rods[0] is not None
    assert rods[1] is not None
    np.testing.assert_allclose(
        true.bodies.centre - rods[0].centre, [3 * INTERVAL * drift], atol=1e-5
    )
    moved = rods[1].centre + rods[1].image * 60 - rods[0].centre
    np.testing.assert_allclose(moved, [3 * INTERVAL * (drift + stage)], atol=1e-4)
    np.testing.assert_allclose(rods[1].velocity, [drift + stage], rtol=1e-4)
    arms = [rod.bead - rod.centre for rod in rods]
    np.testing.assert_allclose(arms[1], arms[0], atol=1e-4)
    assert int(rods[1].image[0, 0]) == -1


def test_fluctuating_drift_is_common_to_all_and_starts_in_equilibrium() -> None:
    """400 episodes: the standard error of a variance is 7 % of it; 4 of them."""
    engine = cold(2, Disturbances(drift=Drift((), 2.0, 1e3)))
    params = engine.params()

    def episode(key: jax.Array) -> jax.Array:
        first, second = jax.random.split(key)
        state = engine.init(first, params)
        state, _, _ = engine.advance(second, state, Command(), params)
        return engine.observe_state(state, params).velocity

    found = np.asarray(jax.jit(jax.vmap(episode))(jax.random.split(jax.random.key(0), 400)))
    np.testing.assert_allclose(found[:, 0], found[:, 1], atol=1e-4)
    for axis in range(2):
        assert found[:, 0, axis].var() == pytest.approx(4, rel=0.28)


def test_the_stuck_neither_move_nor_turn_and_cannot_be_controlled() -> None:
    species = Species(count=4, placement=line(4))
    world = World(
        Box((60.0, 60.0)),
        species=(species,),
        disturbances=Disturbances(sticking=Sticking(1e6, 0.0), drift=Drift((1.0, 1.0))),
    )
    engine = JaxEngine(world, INTERVAL)
    start = engine.reset(0)
    assert start.controllable.all()
    command = Command(
        speed=np.full(4, 4.0),
        turn_rate=np.full(4, 3.0),
        heading=np.asarray([[1.0, 0.0]] * 4),
        has_heading=np.ones(4, bool),
    )
    end = engine.step(command).state
    np.testing.assert_array_equal(end.position, start.position)
    np.testing.assert_allclose(end.director, start.director, atol=1e-7)
    np.testing.assert_array_equal(end.velocity, 0)
    assert not end.controllable.any()
    assert end.present.all()


def test_the_stuck_are_obstacles() -> None:
    """A swimmer that runs into stuck colloids stops before them."""
    look = ((0.0, 1.0),) * 2
    placement = Placement("points", positions=((10.0, 10.0), (10.0, 12.5)), directors=look)
    world = World(
        Box((30.0, 30.0)),
        COLD,
        (Species(count=2, placement=placement),),
        disturbances=Disturbances(sticking=Sticking(0.0, 0.0)),
    )
    engine = JaxEngine(world, 0.5)
    params = engine.params()
    state = jax.jit(engine.init)(jax.random.key(0), params)
    assert state.disturbed is not None
    held = dataclasses.replace(state.disturbed, stuck=jnp.asarray([False, True]))
    state = dataclasses.replace(state, disturbed=held)
    command = Command(speed=jnp.asarray([5.0, 5.0]))
    end, _, flags = jax.jit(engine.advance)(jax.random.key(1), state, command, params)
    assert not flags.overlap
    np.testing.assert_array_equal(end.motion.position[1], [10.0, 12.5])
    gap = float(end.motion.position[1, 1] - end.motion.position[0, 1])
    assert 1.9 < gap < 2.01


# Commands


def test_a_command_acts_so_many_intervals_later_and_is_cut_when_it_is_given() -> None:
    delay = 2
    engine = cold(2, Disturbances(delay=Delay(delay)))
    state = engine.reset(0)
    asked = np.random.default_rng(0).uniform(0, 8, (6, 2)).astype(np.float32)
    for t in range(6):
        before = state
        done = engine.step(Command(speed=asked[t]))
        state = done.state
        wanted = np.minimum(asked[t - delay], 5) if t >= delay else np.zeros(2)
        np.testing.assert_array_equal(done.applied.speed, wanted)
        np.testing.assert_array_equal(done.status.flags.limited, asked[t] > 5)
        moved = unwrapped(state, engine) - unwrapped(before, engine)
        np.testing.assert_allclose(moved[:, 1], wanted * INTERVAL, atol=1e-5)


def test_a_batch_may_hold_different_delays_and_rates() -> None:
    engine = cold(3, Disturbances(delay=Delay(2), sticking=Sticking(0.0, 0.0)))
    params = engine.params()
    assert params.disturbances is not None
    delays = jnp.eye(3)
    rates = jnp.asarray([0.0, 0.0, 0.0])
    sticking = dataclasses.replace(params.disturbances.sticking, on=rates, off=rates)
    given = dataclasses.replace(params.disturbances, delay=delays, sticking=sticking)
    inside = jax.tree.map(lambda _: None, params)
    axes = dataclasses.replace(
        inside,
        disturbances=jax.tree.map(lambda _: 0, given),
    )
    batch = dataclasses.replace(params, disturbances=given)

    def run(key: jax.Array, params: Any) -> jax.Array:
        state = engine.init(key, params)
        moved = []
        for _ in range(3):
            state, _, _ = engine.advance(key, state, Command(speed=jnp.full(3, 5.0)), params)
            moved.append(engine.observe_state(state, params).velocity[0, 1])
        return jnp.stack(moved)

    found = jax.jit(jax.vmap(run, (None, axes)))(jax.random.key(0), batch)
    np.testing.assert_allclose(found, [[5, 5, 5], [0, 5, 5], [0, 0, 5]], atol=1e-4)


# What is seen


def test_the_lost_are_absent_unlit_and_come_back_as_others() -> None:
    engine = cold(6, Disturbances(losses=Losses(10.0, 20.0)))
    state = engine.reset(1)
    command = Command(speed=np.full(6, 4.0))
    seen = set(np.asarray(state.identity).tolist())
    lost = found = 0
    for _ in range(40):
        before = state
        done = engine.step(command)
        state = done.state
        away = ~np.asarray(before.present)
        np.testing.assert_array_equal(np.asarray(done.applied.speed), np.where(away, 0, 4))
        np.testing.assert_array_equal(np.asarray(done.status.flags.limited), away)
        back = np.asarray(state.present) & away
        new = set(np.asarray(state.identity)[back].tolist())
        assert not new & seen
        seen |= new
        lost, found = lost + away.sum(), found + back.sum()
        assert not np.asarray(state.controllable)[~np.asarray(state.present)].any()
    assert lost > 20
    assert found > 10


def test_errors_of_the_camera_leave_the_motion_alone() -> None:
    engine = cold(4, Disturbances(localisation=ALL.localisation, stage=ALL.stage))
    params = engine.params()
    state = jax.jit(engine.init)(jax.random.key(0), params)
    command = Command(speed=jnp.full(4, 4.0))
    for t in range(1, 4):
        state, _, _ = jax.jit(engine.advance)(jax.random.key(t), state, command, params)
    wanted = [[3.0 + 4 * i, 10.0 + 4 * 3 * INTERVAL] for i in range(4)]
    np.testing.assert_allclose(state.motion.position, wanted, atol=1e-4)
    observed = engine.observe_state(state, params)
    assert np.abs(np.asarray(observed.position - state.motion.position)).max() > 0.01


# Light


def test_an_engine_with_light_says_so_and_refuses_it_otherwise() -> None:
    lit, dark = cold(2, None, LIT), cold(2, None)
    assert {"power", "spot_offset"} <= lit.spec.capabilities
    assert not {"power", "spot_offset"} & dark.spec.capabilities
    dark.reset(0)
    with pytest.raises(CapabilityError, match="does not take power"):
        dark.step(Command(power=np.ones(2)))
    lit.reset(0)
    with pytest.raises(CommandError, match="power has shape"):
        lit.step(Command(power=np.ones(3)))


def test_light_makes_colloids_swim_and_turn_by_the_laws() -> None:
    actuator = Actuator(slope=2.0, threshold=0.5, steering=0.5)
    engine = cold(5, None, actuator)
    start = engine.reset(0)
    power = np.asarray([0.0, 0.4, 1.0, 2.0, 20.0])
    offset = np.zeros((5, 2))
    offset[3] = (-1.0, 0.3)
    done = engine.step(Command(power=power, spot_offset=offset))
    np.testing.assert_allclose(done.applied.power, [0, 0.4, 1, 2, 10])
    assert np.asarray(done.status.flags.limited).tolist() == [False] * 4 + [True]
    speed = np.asarray([0, 0, 1, 3, 5.0])
    moved = unwrapped(done.state, engine) - unwrapped(start, engine)
    np.testing.assert_allclose(np.linalg.norm(moved, axis=1), speed * INTERVAL, atol=2e-5)
    turn = 0.5 * 3.0 * 1.0  # looking along y, the spot is to the left
    np.testing.assert_allclose(done.state.angular_velocity, [0, 0, 0, turn, 0], atol=1e-4)
    # light is added to what is commanded outright, up to the same limits
    more = engine.step(Command(power=power, speed=np.full(5, 3.0)))
    length = np.linalg.norm(np.asarray(more.state.velocity), axis=1)
    np.testing.assert_allclose(length, np.minimum(speed + 3, 5), atol=2e-3)


def test_gains_differ_between_colloids_and_episodes_but_not_within_one() -> None:
    engine = cold(3, None, Actuator(gain_spread=0.3))
    speeds = []
    for seed in (0, 1):
        engine.reset(seed)
        for _ in range(2):
            state = engine.step(Command(power=np.full(3, 2.0))).state
            speeds.append(np.linalg.norm(np.asarray(state.velocity), axis=1))
    first, again, other, _ = speeds
    np.testing.assert_allclose(first, again, rtol=1e-4)
    assert np.abs(first - other).min() > 1e-3
    assert np.abs(np.diff(first)).min() > 1e-3


def test_spots_miss_by_the_error_of_localisation() -> None:
    """A spot meant for the centre turns a colloid by the error with which it was seen."""
    actuator = Actuator(slope=2.0, steering=0.5)
    engine = cold(4, Disturbances(localisation=Localisation(0.3)), actuator)
    params = engine.params()
    state = jax.jit(engine.init)(jax.random.key(0), params)
    error = np.asarray(state.disturbed.view.error)
    command = Command(power=jnp.ones(4), spot_offset=jnp.zeros((4, 2)))
    end, _, _ = jax.jit(engine.advance)(jax.random.key(1), state, command, params)
    np.testing.assert_allclose(end.angular_velocity, -0.5 * 2.0 * error[:, 0], rtol=1e-3)
