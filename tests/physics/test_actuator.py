"""The actuator's laws against their formulae."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from swarmctl.core.actuator import Actuator
from swarmctl.core.command import Command
from swarmctl.core.state import Space
from swarmctl.core.world import Box, Species, World
from swarmctl.physics.actuator import (
    ActuatorParams,
    ActuatorState,
    actuator_params,
    draw_gain,
    duty,
    illuminate,
    received,
    relax,
    speed_law,
    turn_law,
)

SIZE = 40.0
INTERVAL = 0.1
SPACE = Space(jnp.asarray([SIZE, SIZE]), (True, True))


def params_of(count: int, **options: Any) -> ActuatorParams:
    species = Species(count=count, actuator=Actuator(**options))
    params = actuator_params(World(Box((SIZE, SIZE)), species=(species,), contacts=False))
    assert params is not None
    return params


def lit(
    power: Any, offset: Any, position: Any, space: Space = SPACE, **options: Any
) -> tuple[np.ndarray, np.ndarray]:
    """(received power, its centre) as numpy."""
    params = params_of(len(power), **options)
    result = received(jnp.asarray(power), jnp.asarray(offset), jnp.asarray(position), space, params)
    return np.asarray(result[0]), np.asarray(result[1])


# Speed


def test_speed_rises_linearly_above_the_threshold_and_saturates() -> None:
    power = jnp.asarray([0.0, 1.0, 2.0, 3.0, 10.0])
    ones = jnp.ones(5)
    sharp = speed_law(power, 1.5 * ones, 1.0 * ones, 4.0 * ones, jnp.zeros(5, bool))
    np.testing.assert_allclose(sharp, [0, 0, 1.5, 3, 4], rtol=1e-6)
    smooth = speed_law(power, 1.5 * ones, 1.0 * ones, 4.0 * ones, jnp.ones(5, bool))
    wanted = 4 * (1 - np.exp(-np.asarray([0, 0, 1.5, 3, 13.5]) / 4))
    np.testing.assert_allclose(smooth, wanted, rtol=1e-6)
    np.testing.assert_array_equal(
        speed_law(power, ones, 0 * ones, 0 * ones, jnp.ones(5, bool)), 0
    )  # what cannot swim does not


def test_gains_are_lognormal_with_mean_one_and_the_given_spread() -> None:
    """Standard errors at 2·10⁵ draws: 0.0007 of the mean; 0.0015 of the spread; 4 of them."""
    spread = 0.3
    gain = np.asarray(draw_gain(jax.random.key(1), jnp.full(200_000, spread)), float)
    assert gain.min() > 0
    assert gain.mean() == pytest.approx(1, abs=0.003)
    assert gain.std() == pytest.approx(spread, abs=0.006)
    skewness = np.mean(np.log(gain) ** 3) - 3 * np.mean(np.log(gain)) * np.var(np.log(gain))
    skewness -= np.mean(np.log(gain)) ** 3
    assert skewness == pytest.approx(0, abs=0.003)
    np.testing.assert_array_equal(draw_gain(jax.random.key(1), jnp.zeros(5)), 1)


# Response in time


@pytest.mark.parametrize(("start", "target", "time"), [(0.2, 1.0, 0.05), (1.0, 0.2, 0.4)])
def test_power_relaxes_exponentially_with_its_exact_mean(
    start: float, target: float, time: float
) -> None:
    """One interval equals a thousand short ones, and both the closed form."""
    rise, fall = jnp.asarray([0.05]), jnp.asarray([0.4])
    end, mean = relax(jnp.asarray([start]), jnp.asarray([target]), rise, fall, INTERVAL)
    left = math.exp(-INTERVAL / time)
    assert float(end[0]) == pytest.approx(target + (start - target) * left, rel=1e-5)
    wanted = target + (start - target) * (1 - left) * time / INTERVAL
    assert float(mean[0]) == pytest.approx(wanted, rel=1e-5)

    def short(power: jax.Array, _: Any) -> tuple[jax.Array, jax.Array]:
        return relax(power, jnp.asarray([target]), rise, fall, INTERVAL / 1000)

    last, means = jax.lax.scan(short, jnp.asarray([start]), None, 1000)
    assert float(last[0]) == pytest.approx(float(end[0]), rel=1e-4)
    assert float(means.mean()) == pytest.approx(float(mean[0]), rel=1e-4)


def test_without_time_constants_power_acts_at_once() -> None:
    zero = jnp.zeros(1)
    end, mean = relax(jnp.asarray([3.0]), jnp.asarray([1.0]), zero, zero, INTERVAL)
    assert (float(end[0]), float(mean[0])) == (1.0, 1.0)


# Where the light goes


def test_a_shared_beam_gives_each_its_share_of_the_time() -> None:
    power = jnp.asarray([2.0, 0.0, 1.0, 5.0, 4.0])
    shared = jnp.asarray([True, True, True, True, False])
    np.testing.assert_allclose(duty(power, shared), [1 / 3, 1 / 3, 1 / 3, 1 / 3, 1], rtol=1e-6)
    np.testing.assert_array_equal(duty(0 * power, shared), 1)
    got, _ = lit([2.0, 0.0, 4.0], np.zeros((3, 2)), np.zeros((3, 2)), sharing="time")
    np.testing.assert_allclose(got, [1, 0, 2], rtol=1e-6)


@pytest.mark.parametrize("spot", ["gaussian", "top-hat"])
def test_spots_spill_on_neighbours_by_their_profile_across_periodic_faces(spot: str) -> None:
    rng = np.random.default_rng(0)
    count, radius = 12, 6.0
    position = rng.uniform(0, SIZE, (count, 2)).astype(np.float32)
    offset = rng.normal(0, 1, (count, 2)).astype(np.float32)
    power = rng.uniform(0, 3, count).astype(np.float32)
    got, centre = lit(power, offset, position, spot=spot, spot_radius=radius)
    to_spot = position[None] - position[:, None]
    to_spot -= SIZE * np.round(to_spot / SIZE)
    to_spot += offset[None]
    distance = np.sqrt((to_spot**2).sum(-1))
    profile = np.exp(-2 * distance**2 / radius**2) if spot == "gaussian" else distance <= radius
    weight = profile * power
    np.testing.assert_allclose(got, weight.sum(1), rtol=2e-5)
    wanted = (weight[..., None] * to_spot).sum(1) / weight.sum(1)[:, None]
    np.testing.assert_allclose(centre, wanted, atol=2e-5)


def test_a_spot_without_a_radius_lights_its_own_colloid_alone() -> None:
    position = np.zeros((3, 2), np.float32)
    offset = np.asarray([[1.0, 0.0], [0.0, 2.0], [0.0, 0.0]], np.float32)
    power = [1.0, 0.0, 2.0]
    got, centre = lit(power, offset, position)
    np.testing.assert_array_equal(got, power)
    np.testing.assert_array_equal(centre, [[1, 0], [0, 0], [0, 0]])
    # the same beside a species whose spots do spill
    own = Species(count=2, actuator=Actuator())
    wide = Species("wide", 1, actuator=Actuator(spot_radius=1.0))
    params = actuator_params(World(Box((SIZE, SIZE)), species=(own, wide)))
    assert params is not None
    got, centre = received(jnp.asarray(power), offset, jnp.asarray(position), SPACE, params)
    np.testing.assert_allclose(got, [1 + 2, 0 + 2, 2], rtol=1e-6)
    np.testing.assert_allclose(centre[0], [1 / 3, 0], rtol=1e-6)


def test_many_colloids_are_summed_in_blocks() -> None:
    """More rows than one block has give the same as the same rows in one block."""
    rng = np.random.default_rng(1)
    position = rng.uniform(0, SIZE, (600, 2)).astype(np.float32)
    power = np.zeros(600, np.float32)
    power[:10] = 1.0
    many, _ = lit(power, np.zeros((600, 2), np.float32), position, spot_radius=5.0)
    few, _ = lit(power[:20], np.zeros((20, 2), np.float32), position[:20], spot_radius=5.0)
    np.testing.assert_allclose(many[:20], few, rtol=1e-5)


# Turning


def test_turning_follows_the_offset_across_the_director() -> None:
    director = jnp.asarray([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    offset = jnp.asarray([[0.7, 0.5], [0.5, 0.7], [1.0, 0.0]])
    speed, radius = jnp.full(3, 2.0), jnp.full(3, 0.5)
    wide = jnp.full(3, 100.0)
    turn = turn_law(speed, director, offset, radius, jnp.full(3, 0.3), wide)
    rate = 0.3 * 2.0 / 0.5**2
    np.testing.assert_allclose(turn[:, 0], [rate * 0.5, -rate * 0.5, 0], rtol=1e-6)
    away = turn_law(speed, director, offset, radius, jnp.full(3, -0.3), wide)
    np.testing.assert_array_equal(away, -turn)
    held = turn_law(speed, director, offset, radius, jnp.full(3, 0.3), jnp.full(3, 0.1))
    np.testing.assert_allclose(held[:, 0], [0.1, -0.1, 0], rtol=1e-6)


def test_in_3d_the_director_turns_towards_the_spot() -> None:
    rng = np.random.default_rng(2)
    director = rng.normal(size=(5, 3))
    director /= np.linalg.norm(director, axis=1, keepdims=True)
    offset = rng.normal(size=(5, 2))
    flat = np.concatenate([offset, np.zeros((5, 1))], axis=1)
    ones = jnp.ones(5)
    turn = turn_law(
        2 * ones, jnp.asarray(director), jnp.asarray(offset), ones, 0.5 * ones, 100 * ones
    )
    np.testing.assert_allclose(turn, np.cross(director, flat), atol=1e-6)


# Together


def run(position: Any, director: Any, power: Any, offset: Any) -> tuple[Any, Any, Any]:
    params = params_of(
        len(power), spot_radius=4.0, steering=0.4, threshold=0.2, rise_time=0.05, gain_spread=0.2
    )
    state = ActuatorState(jnp.linspace(0.8, 1.2, len(power)), jnp.full(len(power), 0.3))
    ones = jnp.ones(len(power))
    limits = (ones, 4 * ones, 3 * ones)
    open_space = Space(jnp.asarray([SIZE, SIZE]), (False, False))
    command = Command(power=jnp.asarray(power), spot_offset=jnp.asarray(offset))
    return illuminate(
        state,
        command,
        jnp.asarray(position),
        jnp.asarray(director),
        limits,
        params,
        open_space,
        INTERVAL,
    )


def test_the_response_does_not_depend_on_the_axes() -> None:
    """Turning everything turns nothing of the result; a mirror image turns the other way."""
    rng = np.random.default_rng(3)
    position, offset = rng.uniform(0, 8, (9, 2)), rng.normal(size=(9, 2))
    angle = rng.uniform(0, 2 * np.pi, 9)
    director = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    power = rng.uniform(0, 3, 9)
    state, speed, turn = run(position, director, power, offset)
    c, s = math.cos(0.7), math.sin(0.7)
    rotation = np.asarray([[c, -s], [s, c]])
    again = run(position @ rotation.T, director @ rotation.T, power, offset @ rotation.T)
    mirror = np.asarray([1.0, -1.0])
    mirrored = run(position * mirror, director * mirror, power, offset * mirror)
    assert np.abs(np.asarray(turn)).max() > 0.1
    for found, sign in ((again, 1), (mirrored, -1)):
        np.testing.assert_allclose(found[0].power, state.power, rtol=1e-4)
        np.testing.assert_allclose(found[1], speed, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(found[2], sign * np.asarray(turn), rtol=1e-3, atol=1e-4)


def test_the_dark_do_nothing_and_species_without_an_actuator_are_not_moved() -> None:
    driven = Species(count=2, actuator=Actuator(spot_radius=3.0, steering=1.0))
    other = Species("other", 2)
    world = World(Box((SIZE, SIZE)), species=(driven, other))
    params = actuator_params(world)
    assert params is not None
    assert actuator_params(dataclasses.replace(world, species=(other,))) is None
    state = ActuatorState(jnp.ones(4), jnp.zeros(4))
    ones, place = jnp.ones(4), jnp.zeros((4, 2))
    director = jnp.asarray([[1.0, 0.0]] * 4)
    limits = (ones, 4 * ones, 3 * ones)
    power, offset = jnp.asarray([1.0, 0.0, 0.0, 0.0]), jnp.asarray([[0.0, 1.0]] * 4)
    command = Command(power=power, spot_offset=offset)
    _, speed, turn = illuminate(state, command, place, director, limits, params, SPACE, INTERVAL)
    assert (np.asarray(speed) > 0).tolist() == [True, True, False, False]
    assert (np.asarray(turn)[:, 0] > 0).tolist() == [True, True, False, False]
    dark = illuminate(state, Command(), place, director, limits, params, SPACE, INTERVAL)
    np.testing.assert_array_equal(dark[1], 0)
    np.testing.assert_array_equal(dark[2], 0)
