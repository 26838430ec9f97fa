"""The camera of a virtual laboratory as a device. No JAX."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, final

from swarmctl.bridge.devices.contract import Shot
from swarmctl.bridge.devices.keys import camera_spec
from swarmctl.bridge.devices.ported_camera import PortedCamera
from swarmctl.bridge.devices.ports import CameraPort
from swarmctl.bridge.virtual.connection import Connection
from swarmctl.bridge.virtual.shared_memory import Entry
from swarmctl.core.config import key
from swarmctl.core.errors import DeviceError

PAUSE = 0.0005
"""s between two looks for a new frame."""


@dataclass(frozen=True)
class VirtualCameraConfig:
    """The camera of a virtual laboratory; the keys but `address` say what it has to be."""

    role: ClassVar[str] = "camera"
    package: ClassVar[str] = ""

    address: Path = key(Path("address.json"), "file that a running virtual laboratory wrote")
    width: int = key(512, "pixels in a row")
    height: int = key(512, "rows")
    bits: int = key(12, "of a pixel")
    exposure: float = key(0.01, "of a frame", "s")
    period: float = key(0.05, "from frame to frame", "s")

    def build(self) -> PortedCamera:
        """Return the camera, not connected."""
        spec = camera_spec(
            "virtual camera", self.height, self.width, self.bits, self.exposure, self.period
        )
        return PortedCamera(spec, LaboratoryFrames(self))


@final
class LaboratoryFrames(CameraPort):
    """Frames out of the shared memory of a virtual laboratory.

    In lockstep, asking for the next frame is what lets the time go on.
    """

    def __init__(self, config: VirtualCameraConfig) -> None:
        self._config = config
        self._lab: Connection | None = None
        self._seen = 0

    def open(self) -> None:
        """Connect, and compare the laboratory's camera with the keys."""
        self._lab = Connection(self._config.address, "camera")
        self._lab.compare("camera", self._config)

    def close(self) -> None:
        """Hang up."""
        if self._lab is not None:
            self._lab.close()
            self._lab = None

    def start(self) -> None:
        """Begin to take frames."""
        lab = self._opened
        self._seen = lab.frames.newest
        lab.ask("start")

    def stop(self) -> None:
        """Take no more frames."""
        with contextlib.suppress(DeviceError):  # where no laboratory is left, there are none
            self._opened.ask("stop")

    def newest(self, timeout: float) -> Shot | None:
        """Wait for a frame; in lockstep make the time go on until one comes."""
        lab = self._opened
        if lab.lockstep and lab.frames.newest == self._seen:
            lab.ask("frame")
        found = self._wait(lab, 0.0 if lab.lockstep else timeout)
        if found is None:
            return None
        self._seen = found.serial
        received = found.due if lab.lockstep else time.monotonic()
        return Shot(found.image, found.number, found.time, received)

    def _wait(self, lab: Connection, timeout: float) -> Entry | None:
        end = time.monotonic() + timeout
        while (found := lab.frames.latest(self._seen)) is None:
            left = end - time.monotonic()
            if left <= 0:
                lab.check()
                return None
            time.sleep(min(PAUSE, left))
        return found

    @property
    def _opened(self) -> Connection:
        assert self._lab is not None, "the port is not open"
        return self._lab
