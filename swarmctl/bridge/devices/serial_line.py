"""Boards and instruments on a serial port that speak lines of text: pyserial."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import Any, ClassVar

from swarmctl.bridge.devices.failures import device_errors
from swarmctl.bridge.devices.lines import LineInterlock, Lines, LineValues, LineValuesConfig
from swarmctl.bridge.devices.ported_outputs import PortedInterlock, PortedValues
from swarmctl.bridge.devices.sharing import Shared
from swarmctl.core.config import key, required
from swarmctl.core.errors import ConfigError, DeviceError, DeviceTimeoutError, require_positive
from swarmctl.core.extras import import_extra

LONGEST = 4096
"""Bytes of an answer at most."""
QUIET = 0.02
"""s to wait for the rest of a late answer before it is thrown away."""


@dataclass(frozen=True)
class SerialLine:
    """Which port it is, and how it is spoken to."""

    port: str = required("such as '/dev/ttyACM0' or 'COM3', or a URL that pyserial knows")
    baud: int = key(115200, "bits per second")
    timeout: float = key(0.2, "time in which it has to answer", "s")
    end: str = key("\n", "what ends a line")
    boot: float = key(0.0, "time to wait after opening, for boards that restart then", "s")

    def __post_init__(self) -> None:
        require_positive("line", baud=self.baud, timeout=self.timeout)
        if not self.end or not self.end.isascii():
            raise ConfigError(f"line: end is one or more ASCII characters, got {self.end!r}.")
        if not 0 <= self.boot <= 60:
            raise ConfigError(f"line: boot is 0 to 60 s, got {self.boot}.")

    def take(self) -> Lines:
        """Return the line, which devices of this process share."""
        return _lines.take(self)

    def leave(self) -> None:
        """Give the line back."""
        _lines.leave(self)


class SerialLines(Lines):
    """A line over a serial port. Raises DeviceError, MissingExtraError."""

    def __init__(self, where: SerialLine) -> None:
        serial = import_extra("lab", "serial")
        self.name, self.lock = where.port, threading.RLock()
        self._end, self._timeout = where.end.encode("ascii"), where.timeout
        self._late = False
        options = {} if "://" in where.port else {"exclusive": True}
        with device_errors(self.name, "opening"):
            self._port: Any = serial.serial_for_url(
                where.port,
                baudrate=where.baud,
                timeout=where.timeout,
                write_timeout=where.timeout,
                **options,
            )
        time.sleep(where.boot)

    def tell(self, text: str) -> None:
        """Send a line; what came before it and was not read is thrown away."""
        self.clear()
        with device_errors(self.name, f"sending {text!r}"):
            self._port.write(text.encode("ascii") + self._end)

    def hear(self) -> str:
        """Return the next line."""
        with device_errors(self.name, "reading an answer"):
            answer: bytes = self._port.read_until(self._end, LONGEST)
        self._late = not answer.endswith(self._end)
        if self._late:
            if len(answer) >= LONGEST:
                raise DeviceError(f"{self.name}: sent {LONGEST} bytes and no end of a line.")
            raise DeviceTimeoutError(
                f"{self.name}: no line within {self._timeout:g} s, only {answer[:40]!r}."
            )
        try:
            return answer.removesuffix(self._end).decode("ascii").strip()
        except UnicodeDecodeError:
            raise DeviceError(f"{self.name}: answered {answer[:40]!r}, which is no text.") from None

    def clear(self) -> None:
        """Throw away what was not read."""
        if self._late:
            time.sleep(QUIET)
            self._late = False
        with device_errors(self.name, "clearing"):
            self._port.reset_input_buffer()

    def close(self) -> None:
        """Close the port."""
        with device_errors(self.name, "closing"):
            self._port.close()


_lines: Shared[SerialLine, Lines] = Shared(SerialLines, lambda line: line.close())


@dataclass(frozen=True, kw_only=True)
class SerialConfig(LineValuesConfig):
    """Numbers of a board or instrument on a serial port."""

    package: ClassVar[str] = "serial"

    line: SerialLine = required("which port it is and how it is spoken to")

    def build(self) -> PortedValues:
        """Return the output, not connected."""
        port = LineValues(self, self.line.take, self.line.leave)
        spec = self.spec(self.line.port, self.kind)
        return PortedValues(spec, port, self.tolerance, self.settle)


@dataclass(frozen=True, kw_only=True)
class SerialInterlockConfig:
    """An interlock that a board on a serial port reports."""

    role: ClassVar[str] = "interlock"
    package: ClassVar[str] = "serial"

    line: SerialLine = required("which port it is and how it is spoken to")
    query: str = required("line that asks, such as 'LOCK?'")
    closed: str = required("pattern of the answer that means closed; any other means open")

    def build(self) -> PortedInterlock:
        """Return the interlock, not connected."""
        port = LineInterlock(self.query, self.closed, self.line.take, self.line.leave)
        return PortedInterlock(self.line.port, port)
