"""How far two commands are apart, channel by channel."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from swarmctl.core.command import Command
from swarmctl.core.spec import EngineSpec
from swarmctl.records.commands import FIELD_CHANNELS, command_arrays

Floats = npt.NDArray[np.float64]


def command_difference(asked: Command, recorded: Command) -> dict[str, Floats]:
    """Return by channel of `asked` how far it is from `recorded`, [N] per colloid, [] for a field.

    Numbers by their absolute difference, vectors by the length of theirs, in the channel's unit;
    headings and phases by the angle between them in rad, and headings that only one of the two
    takes by π. NaN where the record has no such channel.
    """
    ours, theirs = command_arrays(asked), command_arrays(recorded)
    found = {}
    for name, values in ours.items():
        if name == "has_heading":
            continue
        if name not in theirs:
            found[name] = np.full(() if name in FIELD_CHANNELS else values.shape[:1], np.nan)
        elif name == "heading":
            both = ours["has_heading"] & theirs["has_heading"]
            one = ours["has_heading"] ^ theirs["has_heading"]
            angle = _angle(values, theirs[name])
            found[name] = np.where(both, angle, np.where(one, math.pi, 0.0))
        else:
            apart = np.asarray(values, float) - theirs[name]
            if name == "field.phase":
                apart = np.angle(np.exp(1j * apart))
            inner = () if name in FIELD_CHANNELS else apart.shape[:1]
            found[name] = np.linalg.norm(apart.reshape(*inner, -1), axis=-1)
    return found


def _angle(a: npt.NDArray[np.floating], b: npt.NDArray[np.floating]) -> Floats:
    """Angles [N] rad between vectors [N,D]; 0 where one has no length."""
    a, b = (
        x / np.where(length > 0, length, 1)
        for x in (np.asarray(a, float), np.asarray(b, float))
        for length in [np.linalg.norm(x, axis=-1, keepdims=True)]
    )
    # The arc cosine would lose small angles.
    return 2 * np.arctan2(np.linalg.norm(a - b, axis=-1), np.linalg.norm(a + b, axis=-1))


def channel_ranges(spec: EngineSpec) -> dict[str, Floats]:
    """What a channel reaches at most, [N] or [], to judge differences by; 1 without limit."""
    low, high, turn = (
        np.asarray(spec.per_slot(table), float)
        for table in (spec.speed_min, spec.speed_max, spec.turn_rate_max)
    )
    ones = np.ones(spec.capacity)
    light = {
        name: np.asarray(spec.per_slot(table), float) if table else ones
        for name, table in (("power", spec.power_max), ("spot_offset", spec.offset_max))
    }
    strength, gradient, frequency = spec.field_max or (1.0, 1.0, 1.0)
    ranges = {
        "speed": high - low,
        "turn_rate": turn,
        "velocity": high,
        "heading": math.pi * ones,
        **light,
        "field.bias": np.asarray(strength),
        "field.amplitude": np.asarray(strength),
        "field.axis": np.asarray(1.0),
        "field.frequency": np.asarray(frequency),
        "field.phase": np.asarray(math.pi),
        "field.gradient": np.asarray(gradient),
    }
    return {
        name: np.where(np.isfinite(value) & (value > 0), value, 1.0)
        for name, value in ranges.items()
    }
