"""The interlock of a virtual laboratory as a device. No JAX."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, final

from swarmctl.bridge.devices.contract import Interlock
from swarmctl.bridge.virtual.connection import Connection
from swarmctl.core.config import key
from swarmctl.core.errors import DeviceError


@dataclass(frozen=True)
class VirtualInterlockConfig:
    """The interlock of a virtual laboratory."""

    role: ClassVar[str] = "interlock"

    address: Path = key(Path("address.json"), "file that a running virtual laboratory wrote")

    def build(self) -> VirtualInterlock:
        """Return the interlock, not yet connected."""
        return VirtualInterlock(self)


@final
class VirtualInterlock(Interlock):
    """Says whether the laboratory's interlock is closed; that of the mock always is."""

    name = "virtual interlock"

    def __init__(self, config: VirtualInterlockConfig) -> None:
        self.config = config
        self._lab: Connection | None = None
        self._mock = False

    def connect(self, mock: bool = False) -> None:
        """Open the connection. Raises DeviceError."""
        self.disconnect()
        self._mock = mock
        if not mock:
            self._lab = Connection(self.config.address, VirtualInterlockConfig.role)

    def disconnect(self) -> None:
        """Let go of it; may be called twice."""
        if self._lab is not None:
            self._lab.close()
        self._lab, self._mock = None, False

    def closed(self) -> bool:
        """Whether the circuit is closed. Raises DeviceError."""
        if self._lab is None:
            if not self._mock:
                raise DeviceError("virtual interlock: connect it first.")
            return True
        self._lab.check()
        return self._lab.board.interlock
