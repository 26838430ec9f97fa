"""A camera of the contract on top of a port."""

from __future__ import annotations

import math

import numpy as np

from swarmctl.bridge.devices.connection import Connection
from swarmctl.bridge.devices.contract import Camera, CameraSpec, Shot
from swarmctl.bridge.devices.memory import MemoryFrames, wandering_spot
from swarmctl.bridge.devices.ports import CameraPort
from swarmctl.core.errors import DeviceError, DeviceTimeoutError


class PortedCamera(Camera):
    """A camera whose frames are checked against its spec. Its mock shows a spot that wanders."""

    def __init__(self, spec: CameraSpec, port: CameraPort) -> None:
        self.spec = spec
        mock = MemoryFrames(spec, lambda: wandering_spot(spec))
        self._connection: Connection[CameraPort] = Connection(spec.name, port, mock)
        self._running = False
        self._last = -1

    @property
    def port(self) -> CameraPort:
        """The open port; of a mock a `MemoryFrames`."""
        return self._connection.port

    def connect(self, mock: bool = False) -> None:
        """Open the hardware or the mock."""
        self._connection.open(mock)
        self._last = -1

    def disconnect(self) -> None:
        """Stop and let go."""
        if self._connection.is_open:
            try:
                self.stop()
            finally:
                self._connection.close()

    def start(self) -> None:
        """Begin to take frames, if that has not begun."""
        with self._connection.use("starting") as port:
            if not self._running:
                port.start()
                self._running = True

    def stop(self) -> None:
        """Take no more frames."""
        if self._running:
            self._running = False
            with self._connection.use("stopping") as port:
                port.stop()

    def newest(self, timeout: float) -> Shot:
        """Wait up to `timeout` s for a frame that was not returned yet."""
        if not (math.isfinite(timeout) and timeout >= 0):
            raise DeviceError(f"{self.spec.name}: a timeout is at least 0 s, got {timeout}.")
        with self._connection.use("waiting for a frame") as port:
            if not self._running:
                raise DeviceError(f"{self.spec.name} takes no frames; call start() first.")
            shot = port.newest(timeout)
        if shot is None:
            raise DeviceTimeoutError(
                f"{self.spec.name}: no frame came within {timeout:.3g} s; it should take one "
                f"every {self.spec.period:.3g} s."
            )
        return self._checked(shot)

    def _checked(self, shot: Shot) -> Shot:
        spec, frame = self.spec, shot.frame
        wanted = np.dtype(np.uint8 if spec.bits <= 8 else np.uint16)
        if frame.shape != (spec.height, spec.width) or frame.dtype != wanted:
            raise DeviceError(
                f"{spec.name}: gave a frame {frame.dtype} {frame.shape}, its keys say {wanted} "
                f"{(spec.height, spec.width)}; correct height, width and bits in the rig file."
            )
        if shot.number <= self._last:
            raise DeviceError(
                f"{spec.name}: frame number {shot.number} came after {self._last}; numbers rise."
            )
        self._last = shot.number
        frame.flags.writeable = False
        return shot
