"""Outputs and interlocks of the contract on top of a port."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np

from swarmctl.bridge.devices.connection import Connection
from swarmctl.bridge.devices.contract import (
    Floats,
    Interlock,
    OutputSpec,
    Pattern,
    PatternOutput,
    ValueOutput,
)
from swarmctl.bridge.devices.memory import MemoryInterlock, MemoryPattern, MemoryValues
from swarmctl.bridge.devices.ports import InterlockPort, PatternPort, ValuePort
from swarmctl.core.errors import DeviceError, DeviceTimeoutError

POLL = 0.002
"""s between two questions whether an output has arrived at its safe values."""


class PortedValues(ValueOutput):
    """Numbers that are checked, and written through a port.

    `safe` reads back what the device says, until every channel is within `tolerance`, a share of
    its range, of its safe value; if that takes more than `settle` s it fails.
    """

    def __init__(
        self, spec: OutputSpec, port: ValuePort, tolerance: float = 1e-3, settle: float = 1.0
    ) -> None:
        self.spec = spec
        self.settle = settle
        self._connection: Connection[ValuePort] = Connection(spec.name, port, MemoryValues(spec))
        self._low = np.array([c.low for c in spec.channels])
        self._high = np.array([c.high for c in spec.channels])
        self._safe = np.array([c.safe for c in spec.channels])
        self._near = tolerance * (self._high - self._low)

    @property
    def port(self) -> ValuePort:
        """The open port; of a mock a `MemoryValues`, which keeps what was written."""
        return self._connection.port

    def connect(self, mock: bool = False) -> None:
        """Open the hardware or the mock, and go to the safe values."""
        _open_safe(self._connection, mock, self.safe)

    def disconnect(self) -> None:
        """Go to the safe values and let go. If the first fails, the second is done all the same."""
        _close_safe(self._connection, self.safe)

    def write(self, values: Floats) -> None:
        """Set all channels to values [C]."""
        checked = self._checked(values)
        with self._connection.use("writing") as port:
            port.write(checked)

    def read(self) -> Floats:
        """Return what the device says that its channels are, [C]."""
        with self._connection.use("reading") as port:
            values = np.asarray(port.read(), float)
        if values.shape != self._safe.shape:
            raise DeviceError(
                f"{self.spec.name}: says {values.shape} numbers, there are {len(self._safe)} "
                "channels."
            )
        return values

    def safe(self) -> None:
        """Write the safe values and wait until the device says that it has them."""
        with self._connection.use("going to the safe values") as port:
            port.write(self._safe.copy())
        end = time.monotonic() + self.settle
        while True:
            far = ~(np.abs(self.read() - self._safe) <= self._near)
            if not far.any():
                return
            if time.monotonic() > end:
                names = ", ".join(
                    c.name for c, bad in zip(self.spec.channels, far, strict=True) if bad
                )
                raise DeviceTimeoutError(
                    f"{self.spec.name}: {names} did not reach the safe value within "
                    f"{self.settle} s; look at the device."
                )
            time.sleep(POLL)

    def _checked(self, values: Floats) -> Floats:
        name, channels = self.spec.name, self.spec.channels
        try:
            result = np.array(values, float)
        except (TypeError, ValueError):
            raise DeviceError(f"{name}: {values!r} are no numbers.") from None
        if result.shape != (len(channels),):
            raise DeviceError(
                f"{name}: takes {len(channels)} numbers, got an array of shape {result.shape}."
            )
        wrong = ~((result >= self._low) & (result <= self._high))
        for channel, value, bad in zip(channels, result, wrong, strict=True):
            if bad:
                raise DeviceError(
                    f"{name}: {channel.name} = {value} {channel.unit} is not within "
                    f"{channel.low} to {channel.high} {channel.unit}; nothing was written."
                )
        return result


class PortedPattern(PatternOutput):
    """Patterns that are checked, and shown through a port. Safe is darkness."""

    def __init__(self, spec: OutputSpec, port: PatternPort) -> None:
        if spec.shape is None:
            raise DeviceError(f"{spec.name}: the spec of a pattern output needs a shape.")
        self.spec = spec
        self._connection: Connection[PatternPort] = Connection(spec.name, port, MemoryPattern(spec))
        self._dark = np.zeros(spec.shape, np.uint8)

    @property
    def port(self) -> PatternPort:
        """The open port; of a mock a `MemoryPattern`, which keeps what was shown."""
        return self._connection.port

    def connect(self, mock: bool = False) -> None:
        """Open the hardware or the mock, and make it dark."""
        _open_safe(self._connection, mock, self.safe)

    def disconnect(self) -> None:
        """Make it dark and let go. If the first fails, the second is done all the same."""
        _close_safe(self._connection, self.safe)

    def show(self, pattern: Pattern) -> None:
        """Project a pattern u8 [H,W]."""
        if not isinstance(pattern, np.ndarray) or pattern.dtype != np.uint8:
            kind = getattr(pattern, "dtype", type(pattern).__name__)
            raise DeviceError(f"{self.spec.name}: a pattern is an array of uint8, got {kind}.")
        if pattern.shape != self.spec.shape:
            raise DeviceError(
                f"{self.spec.name}: takes a pattern of shape {self.spec.shape}, got "
                f"{pattern.shape}."
            )
        with self._connection.use("showing a pattern") as port:
            port.show(pattern)

    def safe(self) -> None:
        """Show darkness."""
        self.show(self._dark)


class PortedInterlock(Interlock):
    """An interlock that is asked through a port."""

    def __init__(self, name: str, port: InterlockPort) -> None:
        self.name = name
        self._connection: Connection[InterlockPort] = Connection(name, port, MemoryInterlock(True))

    @property
    def port(self) -> InterlockPort:
        """The open port; of a mock a `MemoryInterlock`, whose answer may be set."""
        return self._connection.port

    def connect(self, mock: bool = False) -> None:
        """Open the hardware or the mock."""
        self._connection.open(mock)

    def disconnect(self) -> None:
        """Let go."""
        self._connection.close()

    def closed(self) -> bool:
        """Whether the circuit is closed."""
        with self._connection.use("reading") as port:
            return port.closed() is True


def _open_safe(connection: Connection[Any], mock: bool, safe: Callable[[], None]) -> None:
    """Open a connection and make safe what is behind it; where that fails nothing stays open."""
    connection.open(mock)
    try:
        safe()
    except BaseException:
        with suppress(DeviceError):  # the first failure says more
            connection.close()
        raise


def _close_safe(connection: Connection[Any], safe: Callable[[], None]) -> None:
    """Make safe what is behind a connection, and close it even if that fails."""
    if connection.is_open:
        try:
            safe()
        finally:
            connection.close()
