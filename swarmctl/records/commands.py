"""Commands as the arrays of a record."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from swarmctl.core.command import Command, FieldCommand
from swarmctl.core.spec import EngineSpec
from swarmctl.records.layout import CHANNEL_UNITS, Channel

FIELD_CHANNELS = tuple(f"field.{f.name}" for f in dataclasses.fields(FieldCommand))
"""Names under which the numbers of a global field are recorded."""


def command_arrays(command: Command) -> dict[str, np.ndarray]:
    """Channels of a command that are in use, any batch shape; those of a field as `field.bias`, ...

    >>> command_arrays(Command(speed=np.ones(2)))
    {'speed': array([1., 1.])}
    """
    named = {name: getattr(command, name) for name in sorted(command.channels - {"field"})}
    if command.has_heading is not None:
        named["has_heading"] = command.has_heading
    if command.field is not None:
        for field in dataclasses.fields(FieldCommand):
            named[f"field.{field.name}"] = getattr(command.field, field.name)
    return {name: np.asarray(value) for name, value in named.items()}


def command_of_arrays(arrays: Mapping[str, np.ndarray]) -> Command:
    """Return the command of one frame: the channels that are all finite there.

    A record fills channels without a command with NaN, and `has_heading` with False.

    >>> command_of_arrays({"speed": np.ones(2), "power": np.full(2, np.nan)}).channels
    frozenset({'speed'})
    """
    single = {
        k: v for k, v in arrays.items() if k not in (*FIELD_CHANNELS, "heading", "has_heading")
    }
    given: dict[str, Any] = {k: v for k, v in single.items() if np.isfinite(v).all()}
    if "heading" in arrays:
        heading = arrays["heading"]
        finite = np.isfinite(heading).all(axis=-1)
        # Where no heading is taken its numbers mean nothing.
        taken = np.asarray(arrays.get("has_heading", finite), bool) & finite
        if finite.any():
            given["has_heading"] = taken
            given["heading"] = np.where(taken[:, None], heading, 1)
    field = {name: arrays[name] for name in FIELD_CHANNELS if name in arrays}
    if field and all(np.isfinite(values).all() for values in field.values()):
        named: dict[str, Any] = {k.removeprefix("field."): v for k, v in field.items()}
        given["field"] = FieldCommand(**named)
    return Command(**given)


def command_channels(spec: EngineSpec) -> dict[str, Channel]:
    """Arrays of all channels that an engine takes, used or not."""
    n, d = spec.capacity, spec.dimension
    shapes: dict[str, tuple[int, ...]] = {
        "speed": (n,),
        "turn_rate": (n,) if d == 2 else (n, 3),
        "heading": (n, d),
        "velocity": (n, d),
        "power": (n,),
        "spot_offset": (n, 2),
    }
    chosen = {name: shape for name, shape in shapes.items() if name in spec.capabilities}
    if "field" in spec.capabilities:
        inner = {"bias": (d,), "amplitude": (d,), "axis": (3,), "gradient": (d, d)}
        chosen.update({name: inner.get(name.removeprefix("field."), ()) for name in FIELD_CHANNELS})
    channels = {
        name: Channel(shape, spec.dtype, CHANNEL_UNITS.get(name, ""))
        for name, shape in chosen.items()
    }
    if "heading" in channels:
        channels["has_heading"] = Channel((n,), "bool")
    return channels
