"""Cameras of Micro-Manager."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar

from swarmctl.bridge.devices.contract import Shot
from swarmctl.bridge.devices.keys import camera_spec
from swarmctl.bridge.devices.micromanager_core import POLL, SharedCore, leave_core, take_core
from swarmctl.bridge.devices.ported_camera import PortedCamera
from swarmctl.bridge.devices.ports import CameraPort
from swarmctl.core.config import key, required
from swarmctl.core.errors import ConfigError, DeviceError, DeviceTimeoutError

EXPOSED_TAG = "Exposed-monotonic-s"
"""Tag by which a camera written in Python may say when the middle of an exposure was, in s of
time.monotonic()."""
FRAME_TAG = "Frame-number"
"""Tag by which a camera written in Python may number its frames itself: the core's own numbers have
no gaps where the camera dropped frames. They rise as long as the camera is connected."""
NUMBER_TAG, RECEIVED_TAG = "ImageNumber", "TimeReceivedByCore"
BUFFER_MB, BUFFER_FRAMES = 64, 16
"""MB of a core's buffer, and frames that it holds at least. Only the newest is ever wanted, and a
large buffer takes seconds to be allocated."""


@dataclass(frozen=True)
class MicroManagerCameraConfig:
    """A camera of Micro-Manager, of any adapter or written in Python."""

    role: ClassVar[str] = "camera"
    package: ClassVar[str] = "pymmcore_plus"

    cfg: Path = required("Micro-Manager's configuration file")
    device: str = key("Camera", "label of the camera there")
    height: int = key(512, "rows of a frame, px, after binning and in the region")
    width: int = key(512, "columns of a frame, px")
    bits: int = key(8, "bits of a pixel")
    exposure: float = key(0.02, "exposure", "s")
    period: float | None = key(None, "time between frames; none: the exposure", "s")
    readout: float = key(0.0, "time from the end of an exposure until Micro-Manager has it", "s")
    region: tuple[int, int] | None = key(
        None, "column and row where a region of height and width begins; none: the whole sensor"
    )
    binning: int | None = key(None, "binning; none leaves it as it is")
    properties: tuple[str, ...] = key((), "properties to set first, such as 'Gain=2'")

    def __post_init__(self) -> None:
        if not 0 <= self.readout < 60:
            raise ConfigError(f"camera: readout is 0 to 60 s, got {self.readout}.")
        if any("=" not in text for text in self.properties):
            raise ConfigError(f"camera: properties are texts 'NAME=VALUE', got {self.properties}.")

    def build(self) -> PortedCamera:
        """Return the camera, not connected."""
        name = f"{self.device} of {self.cfg.name}"
        spec = camera_spec(name, self.height, self.width, self.bits, self.exposure, self.period)
        return PortedCamera(spec, CoreCamera(self))


class CoreCamera(CameraPort):
    """Frames from the buffer of a core."""

    def __init__(self, config: MicroManagerCameraConfig) -> None:
        self._config = config
        self._shared: SharedCore | None = None
        self._base = self._next = 0
        self._started = 0.0

    def open(self) -> None:
        """Configure the camera, and compare it with its keys."""
        self._shared = shared = take_core(self._config.cfg)
        config, core, label = self._config, shared.core, self._config.device
        shared.require(label)
        self._check_free(shared)
        core.setCameraDevice(label)
        if config.binning is not None:
            shared.require_property(label, "Binning")
            core.setProperty(label, "Binning", str(config.binning))
        for text in config.properties:
            name, _, value = text.partition("=")
            shared.require_property(label, name)
            core.setProperty(label, name, value)
        core.setExposure(label, 1000 * config.exposure)
        core.clearROI()
        if config.region is not None:
            core.setROI(label, *config.region, config.width, config.height)
        shared.settle(label, 5.0)
        self._compare(core)
        frames_mb = BUFFER_FRAMES * core.getImageBufferSize() / 2**20
        core.setCircularBufferMemoryFootprint(max(BUFFER_MB, math.ceil(frames_mb)))
        self._base = self._next = 0

    def close(self) -> None:
        """Give the core back."""
        if self._shared is not None:
            self._shared = None
            leave_core(self._config.cfg)

    def start(self) -> None:
        """Begin a continuous sequence, which overwrites old frames."""
        shared, label = self._opened, self._config.device
        self._check_free(shared)
        shared.core.setCameraDevice(label)
        self._base, self._started = self._next, time.monotonic()
        shared.core.startContinuousSequenceAcquisition(0)
        shared.streaming = label

    def stop(self) -> None:
        """End the sequence."""
        shared = self._opened
        shared.streaming = ""
        shared.core.stopSequenceAcquisition(self._config.device)

    def newest(self, timeout: float) -> Shot | None:
        """Wait for a frame, and leave out all but the newest."""
        core, end = self._opened.core, time.monotonic() + timeout
        while not core.getRemainingImageCount():
            if time.monotonic() >= end:
                self._check_running(core)
                return None
            time.sleep(POLL)
        frame, tags = core.popNextImageAndMD(fix=False)
        while core.getRemainingImageCount():
            frame, tags = core.popNextImageAndMD(fix=False)
        received = time.monotonic()
        number = self._number(tags)
        self._next = number + 1
        return Shot(frame, number, self._exposed(tags, received), received)

    def _check_free(self, shared: SharedCore) -> None:
        if shared.streaming:
            raise DeviceError(
                f"{shared.cfg}: {shared.streaming} takes frames, and a core streams one camera at "
                f"a time; put {self._config.device} into a cfg file of its own."
            )

    def _number(self, tags: Any) -> int:
        if FRAME_TAG in tags:
            return int(tags[FRAME_TAG])
        return self._base + int(tags[NUMBER_TAG]) if NUMBER_TAG in tags else self._next

    def _exposed(self, tags: Any, received: float) -> float:
        """Middle of the exposure, from what the frame's tags say, else from when it was here."""
        if EXPOSED_TAG in tags:
            return float(tags[EXPOSED_TAG])
        arrived = received
        if RECEIVED_TAG in tags:
            # Local time of the wall clock: it may have been set since, then it says nothing.
            age = (datetime.now() - datetime.fromisoformat(tags[RECEIVED_TAG])).total_seconds()
            if 0 <= age <= received - self._started:
                arrived = received - age
        return arrived - self._config.readout - self._config.exposure / 2

    def _compare(self, core: Any) -> None:
        config, label = self._config, self._config.device
        size = core.getImageHeight(), core.getImageWidth()
        if size != (config.height, config.width):
            raise DeviceError(
                f"{label}: takes frames of height {size[0]} and width {size[1]}, the keys say "
                f"{config.height} and {config.width}."
            )
        if core.getNumberOfComponents() != 1:
            raise DeviceError(f"{label}: takes frames in colour; set it to grey.")
        depth, size_of = core.getImageBitDepth(), core.getBytesPerPixel()
        if config.bits > depth or size_of != (1 if config.bits <= 8 else 2):
            raise DeviceError(
                f"{label}: its pixels have {depth} bits in {size_of} byte(s), the keys say "
                f"{config.bits} bits."
            )
        exposure = core.getExposure(label) / 1000
        if abs(exposure - config.exposure) > 0.02 * config.exposure:
            raise DeviceError(
                f"{label}: took an exposure of {exposure:.6g} s instead of {config.exposure:.6g} s."
            )

    def _check_running(self, core: Any) -> None:
        if not core.isSequenceRunning(self._config.device):
            raise DeviceTimeoutError(
                f"{self._config.device}: has stopped taking frames by itself; look at the camera, "
                "then disconnect and connect it."
            )

    @property
    def _opened(self) -> SharedCore:
        assert self._shared is not None, "the port is not open"
        return self._shared
