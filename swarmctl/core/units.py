"""Units at the edges: configuration files and the command line say "2.14 um", arrays are plain.

Internal units: µm, s, rad, K, pN, pN µm and Pa s (numerically equal to pN s/µm²).
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

from swarmctl.core.errors import UnitError

BOLTZMANN = 1.380649e-5
"""Boltzmann's constant in pN µm/K (exact in the SI)."""


@lru_cache(maxsize=1)
def _registry() -> Any:
    import pint

    return pint.UnitRegistry(cache_folder=None)


def parse_quantity(value: object, unit: str, name: str = "value") -> float:
    """Turn a number or a text with a unit into a float in ``unit``.

    A bare number is taken to be in ``unit`` already. A text must carry a unit of the same
    dimension, unless ``unit`` is empty (a pure number). Raises UnitError.

    >>> parse_quantity("2140 nm", "um", "radius")
    2.14
    >>> parse_quantity(0.5, "s")
    0.5
    """
    expected = f"a number in {unit}, or a text such as '1 {unit}'" if unit else "a number"
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise UnitError(f"{name}: {value!r} is not a quantity; expected {expected}.")
    result = _convert(value, unit, name, expected) if isinstance(value, str) else float(value)
    if math.isnan(result):
        raise UnitError(f"{name}: not a number (NaN); expected {expected}.")
    return result


def _convert(text: str, unit: str, name: str, expected: str) -> float:
    import pint

    registry = _registry()
    try:
        quantity = registry.Quantity(text.replace("µ", "u"))
    except Exception as error:  # pint raises many kinds for unreadable text
        raise UnitError(f"{name}: cannot read {text!r} ({error}); expected {expected}.") from None
    if quantity.dimensionless and unit and quantity.units == registry.dimensionless:
        raise UnitError(f"{name}: {text!r} has no unit; expected {expected}.")
    target = registry.Unit(unit or "dimensionless")
    if quantity.units == target:
        return float(quantity.magnitude)
    try:
        converted = quantity.to(target).magnitude
    except pint.DimensionalityError:
        raise UnitError(
            f"{name}: {text!r} is a {quantity.dimensionality}; expected {expected}."
        ) from None
    return float(f"{float(converted):.15g}")
