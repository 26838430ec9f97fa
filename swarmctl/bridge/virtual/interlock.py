"""The interlock of a virtual laboratory as a device. No JAX."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, final

from swarmctl.bridge.devices.ported_outputs import PortedInterlock
from swarmctl.bridge.devices.ports import InterlockPort
from swarmctl.bridge.virtual.connection import Connection
from swarmctl.core.config import key


@dataclass(frozen=True)
class VirtualInterlockConfig:
    """The interlock of a virtual laboratory."""

    role: ClassVar[str] = "interlock"
    package: ClassVar[str] = ""

    address: Path = key(Path("address.json"), "file that a running virtual laboratory wrote")

    def build(self) -> PortedInterlock:
        """Return the interlock, not connected."""
        return PortedInterlock("virtual interlock", LaboratoryInterlock(self.address))


@final
class LaboratoryInterlock(InterlockPort):
    """A circuit that a fault of the laboratory opens."""

    def __init__(self, address: Path) -> None:
        self._address = address
        self._lab: Connection | None = None

    def open(self) -> None:
        """Connect."""
        self._lab = Connection(self._address, "interlock")

    def close(self) -> None:
        """Hang up."""
        if self._lab is not None:
            self._lab.close()
            self._lab = None

    def closed(self) -> bool:
        """Whether it is closed."""
        assert self._lab is not None, "the port is not open"
        self._lab.check()
        return self._lab.board.interlock
