"""Interlocks that a device of Micro-Manager reports, such as a digital input."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from swarmctl.bridge.devices.micromanager_core import SharedCore, leave_core, take_core
from swarmctl.bridge.devices.ported_outputs import PortedInterlock
from swarmctl.bridge.devices.ports import InterlockPort
from swarmctl.core.config import required


@dataclass(frozen=True)
class MicroManagerInterlockConfig:
    """A property of a device of Micro-Manager that says whether the circuit is closed."""

    role: ClassVar[str] = "interlock"
    package: ClassVar[str] = "pymmcore_plus"

    cfg: Path = required("Micro-Manager's configuration file")
    device: str = required("label of the device")
    property: str = required("its property")
    closed: str = required("value of the property that means closed; any other means open")

    def build(self) -> PortedInterlock:
        """Return the interlock, not connected."""
        return PortedInterlock(f"{self.device} of {self.cfg.name}", CoreInterlock(self))


class CoreInterlock(InterlockPort):
    """A property of a device of a core."""

    def __init__(self, config: MicroManagerInterlockConfig) -> None:
        self._config = config
        self._shared: SharedCore | None = None

    def open(self) -> None:
        """Look for the property."""
        self._shared = take_core(self._config.cfg)
        self._shared.require_property(self._config.device, self._config.property)

    def close(self) -> None:
        """Give the core back."""
        if self._shared is not None:
            self._shared = None
            leave_core(self._config.cfg)

    def closed(self) -> bool:
        """Read the property from the device."""
        assert self._shared is not None, "the port is not open"
        value = self._shared.core.getProperty(self._config.device, self._config.property)
        return str(value) == self._config.closed
