"""What outputs may do at most. Every limit has to be given: there are no defaults."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from swarmctl.core.config import required
from swarmctl.core.errors import ConfigError, require_positive


@dataclass(frozen=True)
class PatternLimits:
    """Limits of projected light. Power is in the unit of the output's channel, as is dose per s."""

    role: ClassVar[str] = "pattern"

    power_max: float = required("highest power of a spot")
    power_total: float = required("highest power summed over all spots")
    slew: float = required("fastest rise of a spot's power, per s")
    spots_max: int = required("most spots at once")
    radius_max: float = required("largest radius of a spot, px of the pattern")
    window: float = required("time over which duty and doses are counted", "s")
    duty_max: float = required("largest share of the window that a colloid is lit")
    dose_colloid: float = required("largest power times time on a colloid, per window")
    dose_area: float = required(
        "largest power times time on a cell of `cell` px of the pattern, per window"
    )
    cell: int = required("side of a cell over which the dose per area is counted, px")

    def __post_init__(self) -> None:
        values = dict(vars(self))
        require_positive("limits", **values)
        if not self.duty_max <= 1:
            raise ConfigError(f"limits: duty_max is a share, at most 1, got {self.duty_max}.")


@dataclass(frozen=True)
class ValueLimits:
    """Limits of C numbers: low, high, slew and square have one entry per channel."""

    role: ClassVar[str] = "values"

    low: tuple[float, ...] = required("lowest value of every channel, in its unit")
    high: tuple[float, ...] = required("highest value of every channel")
    slew: tuple[float, ...] = required("fastest change of every channel, per s")
    total: float = required("largest sum of the channels' distances from their safe values")
    window: float = required("time over which duty and squares are counted", "s")
    duty_max: float = required("largest share of the window away from the safe values")
    square: tuple[float, ...] = required(
        "largest integral of a channel's squared distance from its safe value, per window"
    )

    def __post_init__(self) -> None:
        lengths = {len(self.low), len(self.high), len(self.slew), len(self.square)}
        if len(lengths) != 1:
            raise ConfigError("limits: low, high, slew and square need one number per channel.")
        for low, high in zip(self.low, self.high, strict=True):
            if not (math.isfinite(low) and math.isfinite(high) and low <= high):
                raise ConfigError(f"limits: low {low} and high {high} are no range.")
        require_positive("limits", total=self.total, window=self.window, duty_max=self.duty_max)
        for name in ("slew", "square"):
            for value in getattr(self, name):
                require_positive("limits", **{name: value})
        if not self.duty_max <= 1:
            raise ConfigError(f"limits: duty_max is a share, at most 1, got {self.duty_max}.")
