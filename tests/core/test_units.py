"""Quantities at the edges: read in any unit of the right dimension, refused otherwise."""

from __future__ import annotations

import math
import random

import pytest

from swarmctl.core.errors import ConfigError, UnitError
from swarmctl.core.units import BOLTZMANN, parse_quantity


@pytest.mark.parametrize(
    ("text", "unit", "value"),
    [
        ("2.14 um", "um", 2.14),
        ("2.14 µm", "um", 2.14),
        ("2140 nm", "um", 2.14),
        ("1 mPa*s", "Pa*s", 1e-3),
        ("0.89 cP", "Pa*s", 0.89e-3),
        ("500 ms", "s", 0.5),
        ("4 pN*nm", "pN*um", 4e-3),
        ("1 fJ", "pN*um", 1000.0),
        ("180 deg/s", "rad/s", math.pi),
        ("3", "", 3.0),
        ("300 K", "K", 300.0),
        (7, "um", 7.0),
        (0.25, "s", 0.25),
        ("-2 um/s", "um/s", -2.0),
        ("3.6 mm/hour", "um/s", 1.0),
    ],
)
def test_quantities_are_read(text: str | float, unit: str, value: float) -> None:
    assert parse_quantity(text, unit) == pytest.approx(value, rel=1e-12)


def test_round_trip_keeps_every_digit() -> None:
    draw = random.Random(0)
    for unit in ("um", "s", "Pa*s", "pN*um", "um/s", "rad/s", "K"):
        for _ in range(20):
            value = draw.uniform(-1, 1) * 10 ** draw.randint(-9, 9)
            assert parse_quantity(f"{value!r} {unit}", unit) == value


@pytest.mark.parametrize(
    ("value", "unit", "message"),
    [
        ("2.14", "um", "no unit"),
        ("2 s", "um", r"\[time\]"),
        ("2 um", "s", r"\[length\]"),
        ("2 um", "", r"\[length\]"),
        ("2 smoots", "um", "cannot read"),
        ("", "um", "radius"),
        ("two um", "um", "radius"),
        (math.nan, "um", "NaN"),
        ("nan um", "um", "radius"),
        (True, "um", "not a quantity"),
        (None, "um", "not a quantity"),
        ([1.0], "um", "not a quantity"),
    ],
)
def test_what_is_no_such_quantity_is_refused(value: object, unit: str, message: str) -> None:
    """Every message names the key and what was expected."""
    with pytest.raises(UnitError, match=message) as raised:
        parse_quantity(value, unit, "radius")
    assert str(raised.value).startswith("radius: ")
    assert "expected" in str(raised.value)
    assert isinstance(raised.value, ConfigError)


def test_boltzmann_constant() -> None:
    """1.380649e-23 J/K exactly (SI 2019); 1 J = 1e18 pN µm."""
    assert pytest.approx(1.380649e-23 * 1e18, rel=1e-15) == BOLTZMANN
    assert parse_quantity("1.380649e-23 J", "pN*um") == pytest.approx(BOLTZMANN, rel=1e-12)
