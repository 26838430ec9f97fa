"""Disturbances against their formulae. Statistical tests have fixed seeds and allow 4 standard
errors.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from swarmctl.core.command import Command
from swarmctl.core.disturbances import (
    Delay,
    Disturbances,
    DroppedFrames,
    Localisation,
    Losses,
    StageDrift,
)
from swarmctl.core.state import Space
from swarmctl.core.world import Box, Species, World
from swarmctl.physics.camera import TrueMotion, View, first_view, look, tilted
from swarmctl.physics.disturbance_parameters import (
    DisturbanceParams,
    Rates,
    disturbance_params,
    switch,
)
from swarmctl.physics.disturbances import Queue, delayed, ornstein_uhlenbeck, withheld

SIZE, INTERVAL = 50.0, 0.1
SPACE = Space(jnp.asarray([SIZE, SIZE]), (True, True))


def close(found: float, wanted: float, error: float) -> None:
    assert abs(found - wanted) < 4 * error, f"{found} is not {wanted} within 4 x {error}"


# Drift


@pytest.mark.parametrize("ratio", [0.02, 0.4, 0.6, 3.0])
def test_drift_is_an_ornstein_uhlenbeck_process_with_its_exact_interval_means(ratio: float) -> None:
    """40 000 processes; a variance has the relative standard error √(2/n), a correlation 1/√n."""
    count, steps, amplitude, time = 40_000, 5, 1.5, 2.0

    def step(value: jax.Array, key: jax.Array) -> Any:
        noise = jax.random.normal(key, (2, count))
        end, mean = ornstein_uhlenbeck(
            noise, value, jnp.asarray(amplitude), jnp.asarray(time), ratio * time
        )
        return end, (end, mean)

    first, *keys = jax.random.split(jax.random.key(0), steps + 1)
    start = amplitude * jax.random.normal(first, (count,))
    _, (ends, means) = jax.lax.scan(step, start, jnp.stack(keys))
    ends, means, start = (np.asarray(x, float) for x in (ends, means, start))
    variance, error = amplitude**2, amplitude**2 * math.sqrt(2 / count)
    close(ends[-1].var(), variance, error)
    close(np.mean(start * ends[2]), variance * math.exp(-3 * ratio), error)

    def of_mean(span: float) -> float:
        return 2 * variance * (span - 1 + math.exp(-span)) / span**2

    close(means[0].var(), of_mean(ratio), error)
    # the mean over all intervals is that of one long interval
    close(means.mean(axis=0).var(), of_mean(ratio * steps), error)
    left = variance * -math.expm1(-ratio) / ratio
    close(np.mean(start * means[0]), left, error)
    close(np.mean(ends[0] * means[0]), left, error)


def test_short_and_long_intervals_join_smoothly() -> None:
    """The two forms of the variance of the mean agree where one takes over from the other."""
    noise, zero, one = jnp.ones((2, 1)), jnp.zeros(1), jnp.asarray(1.0)
    means = [
        float(ornstein_uhlenbeck(noise, zero, one, one, a)[1][0]) for a in (0.49999, 0.5, 0.50001)
    ]
    assert max(means) - min(means) < 1e-4


# Sticking and tracking


@pytest.mark.parametrize("steps", [1, 20])
def test_the_share_of_the_stuck_follows_the_rate_equation_at_any_interval(steps: int) -> None:
    count, time = 40_000, 2.0
    rates = Rates(jnp.asarray(0.3), jnp.asarray(0.2))

    def step(stuck: jax.Array, key: jax.Array) -> Any:
        return switch(jax.random.uniform(key, (count,)), stuck, rates, time / steps), None

    keys = jax.random.split(jax.random.key(1), steps)
    stuck, _ = jax.lax.scan(step, jnp.zeros(count, bool), keys)
    share = 0.6 * (1 - math.exp(-0.5 * time))
    close(float(stuck.mean()), share, math.sqrt(share * (1 - share) / count))
    released, _ = jax.lax.scan(step, jnp.ones(count, bool), keys)
    share = 0.6 + 0.4 * math.exp(-0.5 * time)
    close(float(released.mean()), share, math.sqrt(share * (1 - share) / count))
    settled = switch(jax.random.uniform(jax.random.key(2), (count,)), stuck, rates, 1e3)
    close(float(settled.mean()), 0.6, math.sqrt(0.24 / count))


def test_without_rates_nothing_switches() -> None:
    zero = Rates(jnp.asarray(0.0), jnp.asarray(0.0))
    on = jnp.asarray([True, False])
    for draw in (0.0, 0.5):
        np.testing.assert_array_equal(switch(jnp.full(2, draw), on, zero, 1.0), on)


# Delay


def ages(probabilities: Any, steps: int) -> np.ndarray:
    """How old the command is that acts, in every interval; -1 before any has arrived."""
    probabilities = jnp.asarray(probabilities)
    length = probabilities.shape[0] - 1
    queue = Queue(Command(speed=jnp.full((length, 1), -1.0)), jnp.zeros(length, jnp.int32))

    def step(queue: Queue, given: Any) -> Any:
        draw, now = given
        applied, queue = delayed(draw, Command(speed=now[None]), queue, probabilities)
        assert applied.speed is not None
        return queue, applied.speed[0]

    draws = jax.random.uniform(jax.random.key(4), (steps,))
    now = jnp.arange(steps, dtype=probabilities.dtype)
    applied = np.asarray(jax.lax.scan(step, queue, (draws, now))[1])
    return np.where(applied < 0, -1, np.arange(steps) - applied).astype(int)


@pytest.mark.parametrize("delay", [0, 1, 4])
def test_a_fixed_delay_is_exact(delay: int) -> None:
    found = ages([*[0.0] * delay, 1.0], 12) if delay else ages([1.0, 0.0], 12)
    np.testing.assert_array_equal(found[:delay], -1)
    np.testing.assert_array_equal(found[delay:], delay)


def test_of_distributed_delays_the_newest_command_that_has_arrived_acts() -> None:
    """Age k: this one has arrived and no newer one has, F_k Π_{j<k} (1 - F_j); time never runs
    back. The ages are correlated over 3 intervals, so errors are taken twice as large.
    """
    steps, p = 20_000, np.asarray([0.2, 0.3, 0.4, 0.1])
    found = ages(p, steps)[10:]
    assert np.diff(np.arange(len(found)) - found).min() >= 0
    arrived = np.cumsum(p)
    wanted = arrived * np.cumprod(np.concatenate([[1], 1 - arrived[:-1]]))
    assert wanted.sum() == pytest.approx(1)
    for age, share in enumerate(wanted):
        close(np.mean(found == age), share, 2 * math.sqrt(share * (1 - share) / steps))


def test_who_is_not_seen_gets_no_command() -> None:
    command = Command(
        speed=jnp.asarray([2.0, 2.0]),
        turn_rate=jnp.ones((2, 3)),
        heading=jnp.ones((2, 3)),
        has_heading=jnp.asarray([True, True]),
        power=jnp.ones(2),
    )
    applied, cut = withheld(command, jnp.asarray([False, True]), jnp.full(2, 0.5))
    np.testing.assert_array_equal(applied.speed, [2, 0.5])
    np.testing.assert_array_equal(applied.turn_rate, [[1, 1, 1], [0, 0, 0]])
    np.testing.assert_array_equal(applied.has_heading, [True, False])
    np.testing.assert_array_equal(applied.power, [1, 0])
    np.testing.assert_array_equal(cut, [False, True])
    assert applied.velocity is None


# What is seen


def watch(
    given: Disturbances,
    count: int,
    steps: int,
    speed: float = 0.0,
    rate: float = 0.0,
    dimension: int = 2,
) -> tuple[View, TrueMotion]:
    """Views and true motions [T+1,...] of colloids that move along x and turn about z."""
    box = (SIZE,) * dimension
    world = World(Box(box), species=(Species(count=count),), contacts=False, disturbances=given)
    params = disturbance_params(world)
    assert params is not None
    space = Space(jnp.asarray(box), (True,) * dimension)
    turns = 1 if dimension == 2 else 3
    position = jax.random.uniform(jax.random.key(7), (count, dimension)) * SIZE
    moved = jnp.zeros_like(position).at[:, 0].set(speed * INTERVAL)
    turn = jnp.zeros((count, turns), position.dtype).at[:, -1].set(rate * INTERVAL)

    def true(position: Any, image: Any, director: Any, moved: Any, turn: Any) -> TrueMotion:
        return TrueMotion(position, image, director, moved, turn)

    director = jnp.zeros_like(position).at[:, 0].set(1.0)
    start = true(position, jnp.zeros(position.shape, jnp.int32), director, 0 * moved, 0 * turn)

    def run(keys: Any, params: DisturbanceParams) -> Any:
        noise = jax.random.normal(keys[0, 0], (count + 1, dimension + turns))
        view = first_view(noise, start, params, space)

        def step(carry: Any, key: Any) -> Any:
            view, motion = carry
            place, boxes = space.wrap(motion.position + moved)
            motion = true(place, motion.image + boxes, tilted(motion.director, turn), moved, turn)
            view = look(key, view, motion, None, params, space, INTERVAL)
            return (view, motion), (view, motion)

        _, rest = jax.lax.scan(step, (view, start), keys[1:])
        return jax.tree.map(lambda a, b: jnp.concatenate([a[None], b]), (view, start), rest)

    keys = jax.random.split(jax.random.key(8), (steps + 1, 2))
    return jax.tree.map(np.asarray, jax.jit(run)(keys, params))


def unwrapped(view: View) -> np.ndarray:
    return np.asarray(view.position, float) + np.asarray(view.image) * SIZE


@pytest.mark.parametrize("dimension", [2, 3])
def test_localisation_noise_adds_2d_sigma_squared_to_the_squared_displacement(
    dimension: int,
) -> None:
    """4σ² in 2D, at any lag; the error of a frame is independent of all others'."""
    sigma, tilt, count, steps = 0.2, 0.1, 5000, 6
    view, motion = watch(
        Disturbances(localisation=Localisation(sigma, tilt)), count, steps, dimension=dimension
    )
    place = unwrapped(view)
    for lag in (1, 5):
        square = ((place[lag:] - place[:-lag]) ** 2).sum(-1)
        wanted = 2 * dimension * sigma**2
        close(square[0].mean(), wanted, square[0].std() / math.sqrt(count))
    bend = np.arccos(np.clip((np.asarray(view.director[3], float)[:, 0]), -1, 1))
    turns = 1 if dimension == 2 else 2  # a turn about the director itself is not seen
    close(np.mean(bend**2), turns * tilt**2, 2 * tilt**2 / math.sqrt(count))
    assert view.present.all()
    np.testing.assert_array_equal(motion.position[0], motion.position[-1])


@pytest.mark.parametrize("frames", [None, DroppedFrames(0.5)])
def test_velocities_are_those_of_what_is_seen(frames: DroppedFrames | None) -> None:
    """Over the time since the frame before, also where frames are dropped and stages drift."""
    given = Disturbances(
        localisation=Localisation(0.05, 0.02),
        stage=StageDrift((0.5, -0.2), 0.01),
        frames=frames,
    )
    view, _ = watch(given, 20, 40, speed=3.0, rate=2.0)
    place, angle = unwrapped(view), np.unwrap(np.arctan2(*view.director.T[::-1]).T, axis=0)
    last = 0
    for t in range(1, 41):
        if np.array_equal(place[t], place[t - 1]):
            assert frames is not None
            np.testing.assert_array_equal(view.velocity[t], view.velocity[t - 1])
            continue
        elapsed = (t - last) * INTERVAL
        wanted = (place[t] - place[last]) / elapsed
        np.testing.assert_allclose(view.velocity[t], wanted, atol=2e-3)
        turned = (angle[t] - angle[last]) / elapsed
        np.testing.assert_allclose(view.angular_velocity[t], turned, atol=2e-3)
        last = t
    assert last > 30


def test_the_dropped_share_of_frames_is_the_given_one() -> None:
    view, _ = watch(Disturbances(frames=DroppedFrames(0.3)), 1, 4000, speed=1.0)
    dropped = np.all(view.position[1:] == view.position[:-1], axis=(1, 2))
    close(dropped.mean(), 0.3, math.sqrt(0.21 / 4000))


def test_the_stage_drifts_and_shakes_all_colloids_alike() -> None:
    """Offset v t with the variance 2 D t along an axis, here over 4000 intervals."""
    velocity, diffusion, steps = (0.5, -0.25), 0.3, 4000
    view, motion = watch(Disturbances(stage=StageDrift(velocity, diffusion)), 3, steps)
    offset = unwrapped(view) - np.asarray(motion.position)
    np.testing.assert_allclose(offset[:, 0], offset[:, 1], atol=1e-3)
    steps_made = np.diff(np.asarray(view.stage, float), axis=0)
    for axis in range(2):
        spread = 2 * diffusion * INTERVAL
        mean_error = math.sqrt(spread / steps)
        close(steps_made[:, axis].mean(), velocity[axis] * INTERVAL, mean_error)
        close(steps_made[:, axis].var(), spread, spread * math.sqrt(2 / steps))
        close(np.mean(steps_made[1:, axis] * steps_made[:-1, axis]), 0.0, spread / math.sqrt(steps))


def test_who_is_found_again_is_somebody_new() -> None:
    """Identities are used once; the lost stay where they were seen last, at rest."""
    rates = Losses(lose_rate=1.0, find_rate=3.0)
    view, _ = watch(Disturbances(losses=rates), 50, 200, speed=3.0, rate=1.0)
    present, identity = view.present, view.identity
    share = present[100:].mean()
    # 50 x 100 values with a correlation time of 2.5 intervals
    close(share, 0.75, math.sqrt(0.75 * 0.25 * 5 / 5000))
    was = {(slot, slot) for slot in range(50)}
    for t in range(1, 201):
        found, kept = present[t] & ~present[t - 1], present[t] & present[t - 1]
        lost = ~present[t]
        np.testing.assert_array_equal(identity[t][kept], identity[t - 1][kept])
        assert found.sum() == len(set(identity[t][found].tolist()))
        new = {
            (int(i), int(s)) for i, s in zip(identity[t][found], np.flatnonzero(found), strict=True)
        }
        assert not {i for i, _ in new} & {i for i, _ in was}
        was |= new
        np.testing.assert_array_equal(view.position[t][lost], view.position[t - 1][lost])
        np.testing.assert_array_equal(view.velocity[t][lost | found], 0)
        np.testing.assert_allclose(view.velocity[t][kept, 0], 3.0, rtol=1e-4)
        np.testing.assert_array_equal(view.angular_velocity[t][lost | found], 0)
    assert len(was) > 500
    assert sorted(i for i, _ in was) == list(range(len(was)))


def test_tilts_turn_by_their_angle_and_keep_the_length() -> None:
    rng = np.random.default_rng(5)
    for dimension in (2, 3):
        director = rng.normal(size=(30, dimension))
        director /= np.linalg.norm(director, axis=1, keepdims=True)
        tilt = rng.normal(0, 2, (30, 1 if dimension == 2 else 3))
        if dimension == 3:  # across the director, so that the angle is seen in full
            tilt -= (tilt * director).sum(1, keepdims=True) * director
        turned = np.asarray(tilted(jnp.asarray(director), jnp.asarray(tilt)))
        np.testing.assert_allclose(np.linalg.norm(turned, axis=1), 1, atol=1e-6)
        angle = np.linalg.norm(tilt, axis=1)
        np.testing.assert_allclose((turned * director).sum(1), np.cos(angle), atol=1e-5)


def test_what_is_off_leaves_nothing_behind() -> None:
    world = World()
    assert disturbance_params(world) is None
    for given in (Disturbances(), Disturbances(delay=Delay(0))):
        assert disturbance_params(dataclasses.replace(world, disturbances=given)) is None
