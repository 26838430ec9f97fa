"""Which port of a device is open: the hardware's, the mock's, or none."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Generic, TypeVar

from swarmctl.bridge.devices.failures import device_errors
from swarmctl.bridge.devices.ports import Port
from swarmctl.core.errors import DeviceError

P = TypeVar("P", bound=Port)


class Connection(Generic[P]):
    """A device's way to its hardware, or to the memory that stands in for it."""

    def __init__(self, name: str, hardware: P, mock: P) -> None:
        self.name = name
        self._hardware, self._mock = hardware, mock
        self._open: P | None = None

    @property
    def is_open(self) -> bool:
        """Whether it is connected."""
        return self._open is not None

    @property
    def port(self) -> P:
        """The port that is open. Raises DeviceError without one."""
        if self._open is None:
            raise DeviceError(f"{self.name} is not connected; call connect() first.")
        return self._open

    @contextmanager
    def use(self, doing: str) -> Iterator[P]:
        """Lend the open port to a block; what it raises becomes a DeviceError."""
        port = self.port
        with device_errors(self.name, doing):
            yield port

    def open(self, mock: bool) -> None:
        """Open the hardware or the mock. Raises DeviceError, MissingExtraError."""
        if self._open is not None:
            raise DeviceError(f"{self.name} is connected already; call disconnect() first.")
        port = self._mock if mock else self._hardware
        try:
            with device_errors(self.name, "connecting"):
                port.open()
        except BaseException:
            with suppress(Exception):  # the first failure says more
                port.close()
            raise
        self._open = port

    def close(self) -> None:
        """Let go of the open port, if there is one. Raises DeviceError."""
        port, self._open = self._open, None
        if port is not None:
            with device_errors(self.name, "disconnecting"):
                port.close()
