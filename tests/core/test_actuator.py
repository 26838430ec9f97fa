"""What an actuator may be, and the limits of light."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from swarmctl.core.actuator import Actuator
from swarmctl.core.command import Command, LightLimits, Limits, apply_limits
from swarmctl.core.config import build, to_dict
from swarmctl.core.errors import ConfigError
from swarmctl.core.species import Species


def test_it_is_hashable_and_goes_through_tables() -> None:
    actuator = Actuator(slope=2.0, spot_radius=1.5, sharing="time", dwell=0.01)
    assert hash(actuator) == hash(dataclasses.replace(actuator))
    assert build(Actuator, to_dict(actuator)) == actuator
    species = Species(actuator=actuator)
    assert build(Species, to_dict(species)) == species


def test_quantities_carry_units() -> None:
    table = {"slope": "2 um^3/uW/s", "threshold": "1 uW/um^2", "rise_time": "20 ms"}
    actuator = build(Actuator, table)
    assert actuator.slope == pytest.approx(2e6)
    assert actuator.threshold == pytest.approx(1e-6)
    assert actuator.rise_time == pytest.approx(0.02)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"slope": 0.0}, "slope must be positive"),
        ({"slope": float("nan")}, "slope must be positive"),
        ({"power_max": -1.0}, "power_max must be positive"),
        ({"power_total": 0.0}, "power_total must be positive"),
        ({"spot_radius": 0.0}, "spot_radius must be positive"),
        ({"threshold": -1.0}, "threshold must be at least 0"),
        ({"gain_spread": -0.1}, "gain_spread must be at least 0"),
        ({"rise_time": float("inf")}, "rise_time must be at least 0 and finite"),
        ({"fall_time": -1.0}, "fall_time must be at least 0"),
        ({"offset_max": -1.0}, "offset_max must be at least 0"),
        ({"steering": float("inf")}, "steering must be finite"),
        ({"saturation": "soft"}, "saturation 'soft'; allowed: sharp, smooth"),
        ({"spot": "round"}, "spot 'round'; allowed: gaussian, top-hat"),
        ({"sharing": "space"}, "sharing 'space'; allowed: none, time"),
        ({"threshold": 10.0}, "threshold 10 is not below power_max 10.*raise power_max"),
        ({"dwell": 0.1}, "dwell of 0.1 s belongs to a shared beam; set sharing to time"),
    ],
)
def test_what_cannot_be_is_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Actuator(**options)


def limits(count: int = 4, **light: Any) -> Limits:
    given: dict[str, Any] = {
        "power_max": jnp.full(count, 3.0),
        "offset_max": jnp.full(count, 2.0),
        "power_total": jnp.asarray([jnp.inf]),
        "group": jnp.zeros(count, jnp.int32),
        "dwell": None,
        "needs_light": jnp.zeros(count, bool),
        **light,
    }
    ones = jnp.ones(count)
    return Limits(0 * ones, 5 * ones, 2 * ones, light=LightLimits(**given))


def test_power_is_held_per_colloid() -> None:
    command = Command(power=jnp.asarray([-1.0, 0.0, 2.0, 9.0]))
    applied, cut = apply_limits(command, limits())
    np.testing.assert_array_equal(applied.power, [0, 0, 2, 3])
    np.testing.assert_array_equal(cut, [True, False, False, True])


def test_a_sum_that_is_too_high_is_lowered_in_proportion_within_its_group() -> None:
    command = Command(power=jnp.asarray([1.0, 3.0, 2.0, 2.0]))
    grouped = limits(group=jnp.asarray([0, 0, 1, 1]), power_total=jnp.asarray([2.0, 4.0]))
    applied, cut = apply_limits(command, grouped)
    np.testing.assert_allclose(applied.power, [0.5, 1.5, 2, 2], rtol=1e-6)
    np.testing.assert_array_equal(cut, [True, True, False, False])


def test_a_shared_beam_serves_the_brightest_it_has_time_for() -> None:
    command = Command(power=jnp.asarray([1.0, 3.0, 0.0, 2.0]))
    applied, cut = apply_limits(command, limits(dwell=jnp.full(4, 0.5)))
    np.testing.assert_array_equal(applied.power, [0, 3, 0, 2])
    np.testing.assert_array_equal(cut, [True, False, False, False])
    tenths = limits(10, dwell=jnp.full(10, 0.1))
    applied, cut = apply_limits(Command(power=jnp.ones(10)), tenths)
    np.testing.assert_array_equal(applied.power, 1)
    beside = limits(dwell=jnp.asarray([1.0, 1.0, 0.0, 0.0]))  # two have a light of their own
    applied, _ = apply_limits(Command(power=jnp.ones(4)), beside)
    np.testing.assert_array_equal(applied.power, [1, 0, 1, 1])


def test_offsets_are_shortened_and_need_light() -> None:
    command = Command(
        power=jnp.asarray([1.0, 1.0, 0.0, 0.0]),
        spot_offset=jnp.asarray([[3.0, 4.0], [0.0, 1.0], [1.0, 0.0], [0.0, 0.0]]),
    )
    applied, cut = apply_limits(command, limits())
    wanted = [[1.2, 1.6], [0, 1], [0, 0], [0, 0]]
    np.testing.assert_allclose(applied.spot_offset, wanted, rtol=1e-6)
    np.testing.assert_array_equal(cut, [True, False, True, False])


@pytest.mark.parametrize("turns", [(4,), (4, 3)])
def test_turning_needs_light_or_speed_where_it_is_said(turns: tuple[int, ...]) -> None:
    needing = limits(needs_light=jnp.asarray([True, True, True, False]))
    command = Command(
        turn_rate=jnp.full(turns, 0.5),
        power=jnp.asarray([1.0, 0.0, 0.0, 0.0]),
        speed=jnp.asarray([0.0, 1.0, 0.0, 0.0]),
    )
    applied, cut = apply_limits(command, needing)
    done = np.asarray(applied.turn_rate).reshape(4, -1)[:, 0]
    np.testing.assert_array_equal(done, [0.5, 0.5, 0, 0.5])
    np.testing.assert_array_equal(cut, [False, False, True, False])
