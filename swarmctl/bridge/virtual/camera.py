"""The camera of a virtual laboratory as a device. No JAX."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, final

import numpy as np

from swarmctl.bridge.devices.contract import Camera, CameraSpec, Shot
from swarmctl.bridge.virtual.connection import Connection
from swarmctl.bridge.virtual.shared_memory import Entry, pixel_type
from swarmctl.core.config import key
from swarmctl.core.errors import ConfigError, DeviceError, DeviceTimeoutError, require_positive

PAUSE = 0.0005
"""s between two looks for a new frame."""


@dataclass(frozen=True)
class VirtualCameraConfig:
    """The camera of a virtual laboratory; the keys but `address` say what it must be."""

    role: ClassVar[str] = "camera"

    address: Path = key(Path("address.json"), "file that a running virtual laboratory wrote")
    width: int = key(512, "pixels in a row")
    height: int = key(512, "rows")
    bits: int = key(12, "of a pixel")
    exposure: float = key(0.01, "of a frame", "s")
    period: float = key(0.05, "from frame to frame", "s")

    def __post_init__(self) -> None:
        require_positive("virtual-camera", exposure=self.exposure, period=self.period)
        if min(self.width, self.height) < 8 or not 1 <= self.bits <= 16:
            raise ConfigError("virtual-camera: at least 8 x 8 px of 1 to 16 bits.")

    def build(self) -> VirtualCamera:
        """Return the camera, not yet connected."""
        return VirtualCamera(self)


@final
class VirtualCamera(Camera):
    """Gives the frames of a virtual laboratory, or as its mock frames of noise."""

    def __init__(self, config: VirtualCameraConfig) -> None:
        self.config = config
        self.spec = CameraSpec(
            "virtual camera",
            config.height,
            config.width,
            config.bits,
            config.exposure,
            config.period,
        )
        self._source: _Laboratory | _Noise | None = None
        self._running = False

    def connect(self, mock: bool = False) -> None:
        """Open the connection. Raises DeviceError if the laboratory's camera is another."""
        self.disconnect()
        self._source = _Noise(self.spec) if mock else _Laboratory(self.config)

    def disconnect(self) -> None:
        """Let go of it; may be called twice."""
        self.stop()
        if self._source is not None:
            self._source.close()
            self._source = None

    def start(self) -> None:
        """Begin to take frames. Raises DeviceError."""
        self._connected().start()
        self._running = True

    def newest(self, timeout: float) -> Shot:
        """Wait up to `timeout` s for a new frame; in lockstep ask for the next one.

        Raises DeviceTimeoutError if none comes, DeviceError if the laboratory has gone.
        """
        source = self._connected()
        if not self._running:
            raise DeviceError("virtual camera: start it before asking for frames.")
        return source.newest(timeout)

    def stop(self) -> None:
        """Take no more frames; may be called twice."""
        if self._running and self._source is not None:
            with contextlib.suppress(DeviceError):
                self._source.stop()
        self._running = False

    def _connected(self) -> _Laboratory | _Noise:
        if self._source is None:
            raise DeviceError("virtual camera: connect it first.")
        return self._source


@final
class _Laboratory:
    """Frames of a laboratory's process."""

    def __init__(self, config: VirtualCameraConfig) -> None:
        self._lab = Connection(config.address, VirtualCameraConfig.role)
        for name, found in self._lab.about["camera"].items():
            wanted = getattr(config, name)
            if abs(found - wanted) > 1e-9:
                self._lab.close()
                raise DeviceError(
                    f"virtual camera: the laboratory's has {name} {found:g}, the rig says "
                    f"{wanted:g}; correct the rig."
                )
        self._seen = self._lab.frames.newest

    def start(self) -> None:
        self._lab.ask("start")
        self._seen = self._lab.frames.newest

    def stop(self) -> None:
        self._lab.ask("stop")

    def newest(self, timeout: float) -> Shot:
        if self._lab.lockstep and self._lab.frames.newest == self._seen:
            self._lab.ask("frame")
        found = self._wait(0.0 if self._lab.lockstep else timeout)
        self._seen = found.serial
        received = found.due if self._lab.lockstep else time.monotonic()
        found.image.flags.writeable = False
        return Shot(found.image, found.number, found.time, received)

    def _wait(self, timeout: float) -> Entry:
        end = time.monotonic() + timeout
        while (found := self._lab.frames.latest(self._seen)) is None:
            left = end - time.monotonic()
            if left <= 0:
                self._lab.check()
                raise DeviceTimeoutError(f"virtual camera: no new frame within {timeout:g} s.")
            time.sleep(min(PAUSE, left))
        return found

    def close(self) -> None:
        self._lab.close()


@final
class _Noise:
    """Frames of noise, at the period, for tests without a laboratory."""

    def __init__(self, spec: CameraSpec) -> None:
        self._spec = spec
        self._random = np.random.default_rng(0)
        self._begun = self._number = 0.0

    def start(self) -> None:
        self._begun, self._number = time.monotonic(), 0.0

    def stop(self) -> None:
        """Nothing has to be stopped."""

    def newest(self, timeout: float) -> Shot:
        period = self._spec.period
        came = (time.monotonic() - self._begun) // period
        if came <= self._number:
            wait = self._begun + (self._number + 1) * period - time.monotonic()
            time.sleep(max(0.0, min(wait, timeout)))
            if wait > timeout:
                raise DeviceTimeoutError(f"virtual camera: no new frame within {timeout:g} s.")
            came = self._number + 1
        self._number = came
        top = 2**self._spec.bits
        shape = (self._spec.height, self._spec.width)
        frame = self._random.integers(0, top, shape, pixel_type(self._spec.bits))
        exposed = self._begun + came * period - self._spec.exposure / 2
        return Shot(frame, int(came), exposed, time.monotonic())

    def close(self) -> None:
        """Nothing has to be closed."""
