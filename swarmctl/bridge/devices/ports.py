"""Raw access to hardware: the little that a driver has to write.

A port checks nothing. The devices of `swarmctl.bridge.devices.ported` check what goes in and what
comes out, turn whatever a port raises into a DeviceError, keep outputs safe, and exchange the port
for one in memory where a mock is wanted.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from swarmctl.bridge.devices.contract import Floats, Pattern, Shot


class Port(ABC):
    """A way to one piece of hardware."""

    @abstractmethod
    def open(self) -> None:
        """Open and configure it, or fail."""

    @abstractmethod
    def close(self) -> None:
        """Let go of it; also called where `open` has failed half-way."""


class CameraPort(Port):
    """Frames as they come."""

    @abstractmethod
    def start(self) -> None:
        """Begin to take frames."""

    @abstractmethod
    def newest(self, timeout: float) -> Shot | None:
        """Wait up to `timeout` s for a frame newer than the last one returned; None without one."""

    @abstractmethod
    def stop(self) -> None:
        """Take no more frames."""


class ValuePort(Port):
    """Numbers [C]."""

    @abstractmethod
    def write(self, values: Floats) -> None:
        """Set all channels; return once the hardware has said that it has them.

        A channel that refuses its value does not keep the others from theirs.
        """

    @abstractmethod
    def read(self) -> Floats:
        """Ask the hardware what its channels are."""


class PatternPort(Port):
    """Images that are projected."""

    @abstractmethod
    def show(self, pattern: Pattern) -> None:
        """Project a pattern; return once it is shown."""


class InterlockPort(Port):
    """A safety circuit."""

    @abstractmethod
    def closed(self) -> bool:
        """Ask whether it is closed; anything but True counts as open."""
