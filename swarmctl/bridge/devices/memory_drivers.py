"""Drivers without hardware: for tests, for trying out, and for people who have none."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, cast

import numpy as np

from swarmctl.bridge.devices.contract import CameraSpec, OutputKind
from swarmctl.bridge.devices.keys import ValuesConfig, camera_spec, pattern_spec
from swarmctl.bridge.devices.memory import (
    FrameSource,
    MemoryFrames,
    MemoryInterlock,
    MemoryPattern,
    MemoryValues,
    wandering_spot,
)
from swarmctl.bridge.devices.ported_camera import PortedCamera
from swarmctl.bridge.devices.ported_outputs import PortedInterlock, PortedPattern, PortedValues
from swarmctl.core.config import key
from swarmctl.core.errors import ConfigError
from swarmctl.core.extras import import_extra
from swarmctl.core.registry import load_target


@dataclass(frozen=True, kw_only=True)
class MemoryValuesConfig(ValuesConfig):
    """Numbers that are kept in memory."""

    kind: OutputKind = key("analogue", "what it stands for")
    log: Path | None = key(None, "file to which every write is appended: time and values")

    def build(self) -> PortedValues:
        """Return the output, not connected."""
        spec = self.spec("memory-values", self.kind)
        return PortedValues(spec, MemoryValues(spec, self.log), self.tolerance, self.settle)


@dataclass(frozen=True)
class MemoryPatternConfig:
    """Patterns that are kept in memory."""

    role: ClassVar[str] = "pattern"
    package: ClassVar[str] = ""

    height: int = key(512, "rows of the pattern, px")
    width: int = key(512, "columns of the pattern, px")
    unit: str = key("", "unit of the light")
    full: float = key(1.0, "light of a full pixel, in that unit")
    own_timeout: float | None = key(None, "time without a pattern after which it is dark", "s")
    latency: float = key(0.0, "time that a pattern is said to take", "s")
    log: Path | None = key(
        None, "file to which every pattern's time, sum and brightest pixel are appended"
    )

    def build(self) -> PortedPattern:
        """Return the output, not connected."""
        spec = pattern_spec(
            "memory-pattern",
            self.height,
            self.width,
            self.unit,
            self.full,
            self.own_timeout,
            self.latency,
        )
        return PortedPattern(spec, MemoryPattern(spec, self.log))


@dataclass(frozen=True)
class MemoryInterlockConfig:
    """A circuit that is closed by a key, or while a file is there."""

    role: ClassVar[str] = "interlock"
    package: ClassVar[str] = ""

    closed: bool = key(True, "whether it is closed at all")
    file: Path | None = key(None, "closed only while this file is there")

    def build(self) -> PortedInterlock:
        """Return the interlock, not connected."""
        return PortedInterlock("memory-interlock", MemoryInterlock(self.closed, self.file))


@dataclass(frozen=True)
class MemoryCameraConfig:
    """Frames from a function or a file, at the pace of a camera."""

    role: ClassVar[str] = "camera"
    package: ClassVar[str] = ""

    height: int = key(512, "rows of a frame, px")
    width: int = key(512, "columns of a frame, px")
    bits: int = key(8, "bits of a pixel")
    exposure: float = key(0.02, "exposure", "s")
    period: float | None = key(None, "time between frames; none: the exposure", "s")
    function: str = key(
        "", "'module:function' or 'file.py:function' that returns the frame of a number"
    )
    file: Path | None = key(None, "frames [H,W] or [N,H,W] of a .npy or TIFF file, in a loop")

    def __post_init__(self) -> None:
        if self.function and self.file is not None:
            raise ConfigError("camera: give a function or a file, not both.")

    def build(self) -> PortedCamera:
        """Return the camera, not connected."""
        spec = camera_spec(
            "memory-camera", self.height, self.width, self.bits, self.exposure, self.period
        )
        return PortedCamera(spec, MemoryFrames(spec, lambda: self.source(spec)))

    def source(self, spec: CameraSpec) -> FrameSource:
        """Return where the frames come from. Raises ConfigError, MissingExtraError."""
        if self.function:
            return cast(FrameSource, load_target(self.function))
        if self.file is not None:
            return frames_of(self.file)
        return wandering_spot(spec)


def frames_of(path: Path) -> FrameSource:
    """Return frames of a .npy or TIFF file, in a loop. Raises ConfigError, MissingExtraError."""
    try:
        if path.suffix == ".npy":
            stack = np.load(path, mmap_mode="r", allow_pickle=False)
        else:
            stack = import_extra("lab", "tifffile").imread(path)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be read as frames ({error}).") from None
    if stack.ndim == 2:
        stack = stack[None]
    if stack.ndim != 3 or not len(stack):
        raise ConfigError(f"{path}: frames are [H,W] or [N,H,W], this is {stack.shape}.")
    return lambda number: stack[number % len(stack)]
