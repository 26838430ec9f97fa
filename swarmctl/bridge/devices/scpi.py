"""Instruments that speak SCPI, or any other lines of text, through VISA: PyVISA's resources."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any, ClassVar

from swarmctl.bridge.devices.failures import device_errors
from swarmctl.bridge.devices.lines import LineInterlock, Lines, LineValues, LineValuesConfig
from swarmctl.bridge.devices.ported_outputs import PortedInterlock, PortedValues
from swarmctl.bridge.devices.sharing import Shared
from swarmctl.core.config import key, required
from swarmctl.core.errors import DeviceError, DeviceTimeoutError, require_positive
from swarmctl.core.extras import import_extra

QUIET_MS, MOST_LEFT = 20, 100
"""ms without a line after which nothing is left to be read; lines that are thrown away at most."""


@dataclass(frozen=True)
class VisaLine:
    """Where an instrument is, and how it is spoken to."""

    resource: str = required(
        "VISA resource, such as 'GPIB0::12::INSTR' or 'TCPIP::10.0.0.5::INSTR'"
    )
    library: str = key("@py", "VISA library: '@py', '@ivi', or 'file.yaml@sim' for a simulated one")
    timeout: float = key(0.5, "time in which it has to answer", "s")
    end: str = key("\n", "what ends a line")

    def __post_init__(self) -> None:
        require_positive("line", timeout=self.timeout)

    def take(self) -> Lines:
        """Return the line, which devices of this process share."""
        return _lines.take(self)

    def leave(self) -> None:
        """Give the line back."""
        _lines.leave(self)


class VisaLines(Lines):
    """A line to an instrument through PyVISA. Raises DeviceError, MissingExtraError."""

    def __init__(self, where: VisaLine) -> None:
        visa = import_extra("lab", "pyvisa")
        self.name, self.lock = where.resource, threading.RLock()
        self._timeout = visa.constants.StatusCode.error_timeout
        self._io_error: type[Exception] = visa.errors.VisaIOError
        self._unread = False
        with device_errors(self.name, "opening"):
            self._resource: Any = visa.ResourceManager(where.library).open_resource(
                where.resource,
                read_termination=where.end,
                write_termination=where.end,
                timeout=1000 * where.timeout,
            )
            if not self._resource.session:  # PyVISA-sim says so and raises nothing
                raise DeviceError(f"{self.name}: opening failed: there is no such resource.")

    def tell(self, text: str) -> None:
        """Send a line; what was left of a failed exchange is thrown away first."""
        if self._unread:
            self.clear()
        with device_errors(self.name, f"sending {text!r}"):
            self._resource.write(text)

    def hear(self) -> str:
        """Return the next line."""
        with device_errors(self.name, "reading an answer"):
            try:
                answer: bytes = self._resource.read_raw()
            except Exception as error:
                self._unread = True
                if self._is_timeout(error):
                    raise DeviceTimeoutError(
                        f"{self.name}: no answer within {self._resource.timeout / 1000:g} s."
                    ) from None
                raise
        try:
            return answer.decode("ascii").strip()
        except UnicodeDecodeError:
            raise DeviceError(f"{self.name}: answered {answer[:40]!r}, which is no text.") from None

    def clear(self) -> None:
        """Read until nothing comes any more."""
        resource = self._resource
        before, resource.timeout = resource.timeout, QUIET_MS
        try:
            for _ in range(MOST_LEFT):
                resource.read_raw()
        except self._io_error as error:
            if not self._is_timeout(error):
                raise DeviceError(f"{self.name}: cannot be read ({error}).") from None
        else:
            raise DeviceError(f"{self.name}: does not stop sending.")
        finally:
            resource.timeout = before
        self._unread = False

    def close(self) -> None:
        """Close the resource."""
        with device_errors(self.name, "closing"):
            self._resource.close()

    def _is_timeout(self, error: Exception) -> bool:
        return getattr(error, "error_code", None) == self._timeout


_lines: Shared[VisaLine, Lines] = Shared(VisaLines, lambda line: line.close())


@dataclass(frozen=True, kw_only=True)
class ScpiConfig(LineValuesConfig):
    """Numbers of an instrument through VISA: a coil supply, a function generator, a laser."""

    package: ClassVar[str] = "pyvisa"

    line: VisaLine = required("where it is and how it is spoken to")

    def build(self) -> PortedValues:
        """Return the output, not connected."""
        port = LineValues(self, self.line.take, self.line.leave)
        spec = self.spec(self.line.resource, self.kind)
        return PortedValues(spec, port, self.tolerance, self.settle)


@dataclass(frozen=True, kw_only=True)
class ScpiInterlockConfig:
    """An interlock that an instrument reports through VISA."""

    role: ClassVar[str] = "interlock"
    package: ClassVar[str] = "pyvisa"

    line: VisaLine = required("where it is and how it is spoken to")
    query: str = required("line that asks, such as 'OUTP:PROT:STAT?'")
    closed: str = required("pattern of the answer that means closed; any other means open")

    def build(self) -> PortedInterlock:
        """Return the interlock, not connected."""
        port = LineInterlock(self.query, self.closed, self.line.take, self.line.leave)
        return PortedInterlock(self.line.resource, port)
