"""The contract of devices: what cameras, outputs and interlocks promise.

A device is made from a frozen configuration that `swarmctl.bridge.devices.drivers` knows by name.
Its `spec` can be read with nothing connected. `connect` opens the hardware, or the device's own
mock, which takes the same calls and needs no hardware; `disconnect` may be called twice. Devices
raise DeviceError, or DeviceTimeoutError where an answer was late, and nothing else. No device needs
JAX.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Frame = npt.NDArray[np.uint8 | np.uint16]
Pattern = npt.NDArray[np.uint8]

OutputKind = Literal["pattern", "analogue", "coils", "stage", "shutter"]


@dataclass(frozen=True)
class CameraSpec:
    """A camera's frames.

    Attributes:
        name: of the device, for people.
        height, width: px.
        bits: of a pixel; up to 8 give bytes, up to 16 words.
        exposure: s.
        period: s between frames while it runs.
    """

    name: str
    height: int
    width: int
    bits: int
    exposure: float
    period: float


@dataclass(frozen=True)
class Channel:
    """One number that an output takes: its range as the hardware has it, and its safe value."""

    name: str
    unit: str
    low: float
    high: float
    safe: float


@dataclass(frozen=True)
class OutputSpec:
    """What an output takes.

    Attributes:
        name: of the device, for people.
        kind: what it is.
        channels: C numbers; of a pattern one, the light of a full pixel, with its unit.
        shape: rows and columns of a pattern; None for others.
        own_timeout: s after the last write when the device itself goes to its safe values; None if
            it never does.
        latency: s that a write usually takes until it is done.
    """

    name: str
    kind: OutputKind
    channels: tuple[Channel, ...]
    shape: tuple[int, int] | None = None
    own_timeout: float | None = None
    latency: float = 0.0


@dataclass(frozen=True)
class Shot:
    """A frame [H,W] with its circumstances.

    Attributes:
        frame: the picture; nobody writes to it any more.
        number: rises with every exposure; a gap means frames that never came.
        exposed: s of time.monotonic(), middle of the exposure, as well as it is known.
        received: s of time.monotonic(), when it was here.
    """

    frame: Frame
    number: int
    exposed: float
    received: float


class Device(ABC):
    """Something that is connected and disconnected."""

    @abstractmethod
    def connect(self, mock: bool = False) -> None:
        """Open the hardware and configure it, or the mock.

        Raises DeviceError, MissingExtraError.
        """

    @abstractmethod
    def disconnect(self) -> None:
        """Let go of the hardware; outputs are made safe first. May be called twice."""


class Camera(Device):
    """Takes frames by itself once it is started."""

    spec: CameraSpec

    @abstractmethod
    def start(self) -> None:
        """Begin to take frames. Raises DeviceError."""

    @abstractmethod
    def newest(self, timeout: float) -> Shot:
        """Wait up to `timeout` s for a frame that was not returned yet; older ones are left out.

        Raises DeviceTimeoutError if none comes.
        """

    @abstractmethod
    def stop(self) -> None:
        """Take no more frames; may be called twice."""


class Output(Device):
    """Something that acts on the sample. Connected, it is at its safe values."""

    spec: OutputSpec

    @abstractmethod
    def safe(self) -> None:
        """Bring every channel to its safe value; return once the device has said that it is.

        May be called from another thread while a write hangs. Raises DeviceError.
        """


class ValueOutput(Output):
    """Voltages, currents, positions, a shutter: C numbers."""

    @abstractmethod
    def write(self, values: Floats) -> None:
        """Set all channels to values [C] in their units; return once the device has them.

        Raises DeviceError, also for values that are not finite or out of the channels' ranges.
        """

    @abstractmethod
    def read(self) -> Floats:
        """Return what the device says that its channels are, [C]. Raises DeviceError."""


class PatternOutput(Output):
    """A light modulator, a mirror array, or beams that draw: an image that is projected."""

    @abstractmethod
    def show(self, pattern: Pattern) -> None:
        """Project a pattern u8 [H,W], 255 being full light; return once it is shown.

        Raises DeviceError.
        """


class Interlock(Device):
    """Reads whether it is safe to have light and fields at all. Software is never the interlock."""

    name: str

    @abstractmethod
    def closed(self) -> bool:
        """Whether the circuit is closed, which permits outputs. Raises DeviceError."""
