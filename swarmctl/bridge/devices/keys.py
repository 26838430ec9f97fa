"""Keys that the drivers of value outputs share, and the specs that follow from them."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from swarmctl.bridge.devices.contract import (
    CameraSpec,
    Channel,
    Device,
    OutputKind,
    OutputSpec,
)
from swarmctl.core.config import key, required
from swarmctl.core.errors import ConfigError, require_positive


@dataclass(frozen=True, kw_only=True)
class ValuesConfig(ABC):
    """What every driver of C numbers wants to know; lists have one entry per channel."""

    role: ClassVar[str] = "values"
    package: ClassVar[str] = ""

    channels: tuple[str, ...] = required("name of every channel")
    units: tuple[str, ...] = required("unit of every channel")
    low: tuple[float, ...] = required("lowest value of every channel, as the hardware has it")
    high: tuple[float, ...] = required("highest value of every channel")
    safe: tuple[float, ...] = required("safe value of every channel")
    own_timeout: float | None = key(
        None, "time without a write after which the device itself goes to its safe values", "s"
    )
    latency: float = key(0.0, "time that a write usually takes", "s")
    tolerance: float = key(
        1e-3, "how far from its safe value a channel may read, as a share of its range"
    )
    settle: float = key(1.0, "time in which the device has to read as safe", "s")

    def __post_init__(self) -> None:
        require_positive(
            "output", own_timeout=self.own_timeout, settle=self.settle, tolerance=self.tolerance
        )
        if not (math.isfinite(self.latency) and self.latency >= 0):
            raise ConfigError(f"output: latency is at least 0 s, got {self.latency}.")
        count = len(self.channels)
        if not count or len(set(self.channels)) != count:
            raise ConfigError(f"output: channels need names of their own, got {self.channels}.")
        self.check_lists(units=self.units, low=self.low, high=self.high, safe=self.safe)
        for name, low, high, safe in zip(
            self.channels, self.low, self.high, self.safe, strict=True
        ):
            if not (math.isfinite(low) and math.isfinite(high) and low < high):
                raise ConfigError(f"output: {name}: {low} to {high} is no range.")
            if not low <= safe <= high:
                raise ConfigError(f"output: {name}: safe = {safe} is not within {low} to {high}.")

    def check_lists(self, **lists: tuple[object, ...]) -> None:
        """Raise ConfigError unless every list has one entry per channel."""
        for name, entries in lists.items():
            if len(entries) != len(self.channels):
                raise ConfigError(
                    f"output: {name} has {len(entries)} entries for {len(self.channels)} channels."
                )

    def spec(self, name: str, kind: OutputKind) -> OutputSpec:
        """Return the spec of the output."""
        rows = zip(self.channels, self.units, self.low, self.high, self.safe, strict=True)
        channels = tuple(Channel(*row) for row in rows)
        return OutputSpec(name, kind, channels, own_timeout=self.own_timeout, latency=self.latency)

    @abstractmethod
    def build(self) -> Device:
        """Return the output, not connected."""


def pattern_spec(
    name: str,
    height: int,
    width: int,
    unit: str,
    full: float,
    own_timeout: float | None,
    latency: float,
) -> OutputSpec:
    """Return the spec of a pattern output, whose safe state is darkness. Raises ConfigError."""
    require_positive(name, height=height, width=width, full=full, own_timeout=own_timeout)
    if not (math.isfinite(latency) and latency >= 0):
        raise ConfigError(f"{name}: latency is at least 0 s, got {latency}.")
    light = Channel("light", unit, 0.0, full, 0.0)
    return OutputSpec(name, "pattern", (light,), (height, width), own_timeout, latency)


def camera_spec(
    name: str, height: int, width: int, bits: int, exposure: float, period: float | None
) -> CameraSpec:
    """Return the spec of a camera; without a period, frames follow each other at once.

    Raises ConfigError.
    """
    period = exposure if period is None else period
    require_positive(name, height=height, width=width, exposure=exposure, period=period)
    if not 1 <= bits <= 16:
        raise ConfigError(f"{name}: bits of a pixel are 1 to 16, got {bits}.")
    if period < exposure:
        raise ConfigError(f"{name}: a period of {period} s is shorter than the exposure.")
    return CameraSpec(name, height, width, bits, exposure, period)
