"""What is there: drivers and what they need, serial ports, instruments, Micro-Manager's adapters.

Nothing is asked over the network, and nothing is written to: instruments are named, not opened.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from swarmctl.bridge.devices.drivers import drivers
from swarmctl.bridge.devices.failures import device_errors
from swarmctl.bridge.devices.micromanager_core import leave_core, take_core
from swarmctl.core.config import describe
from swarmctl.core.errors import MissingExtraError, SwarmctlError, UnknownNameError, nearest
from swarmctl.core.extras import import_extra

T = TypeVar("T")
EXTRA = "lab"
"""The extra that brings what drivers of this package need."""
SERIAL, VISA = "Serial ports", "VISA resources on local buses"
ADAPTERS = "Micro-Manager's adapters"


@dataclass(frozen=True)
class DriverLine:
    """A driver: what it is for, what it needs, and whether that is installed.

    Attributes:
        keys: (key, type or unit, default, meaning) of every key.
        package: module that has to be there, "" if none.
        extra: of swarmctl that brings it, "" if none does.
    """

    name: str
    role: str
    summary: str
    package: str
    extra: str
    installed: bool
    keys: tuple[tuple[str, str, str, str], ...]


@dataclass(frozen=True)
class Found:
    """Something that is there: its name, and what it is in words."""

    name: str
    what: str


@dataclass(frozen=True)
class Listing:
    """What is there.

    Attributes:
        drivers: of this package and of others.
        serial_ports, visa_resources: that are plugged in.
        adapters: of Micro-Manager.
        adapter_devices: of the adapter that was asked for.
        cfg_devices: of the cfg file that was asked for, with their properties.
        notes: what could not be looked for, and why.
    """

    drivers: tuple[DriverLine, ...]
    serial_ports: tuple[Found, ...] = ()
    visa_resources: tuple[Found, ...] = ()
    adapters: tuple[Found, ...] = ()
    adapter_devices: tuple[Found, ...] = ()
    cfg_devices: tuple[Found, ...] = ()
    notes: tuple[str, ...] = ()

    def text(self) -> str:
        """Return it for people."""
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        yield "Drivers (driver = ... in a rig file)"
        width = max(len(line.name) for line in self.drivers)
        for line in self.drivers:
            missing = "" if line.installed else f"; needs {line.package}"
            if missing and line.extra:
                missing += f': pip install "swarmctl[{line.extra}]"'
            yield f"  {line.name:{width}}  {line.role:9}  {line.summary}{missing}"
        for title, rows in (
            (SERIAL, self.serial_ports),
            (VISA, self.visa_resources),
            (ADAPTERS, self.adapters),
        ):
            if rows:
                yield from _section(title, rows)
            elif not any(note.startswith(title) for note in self.notes):
                yield f"{title}: none found"
        if self.adapter_devices:
            yield from _section("Devices of the adapter", self.adapter_devices)
        if self.cfg_devices:
            yield from _section("Devices of the cfg file", self.cfg_devices)
        yield from self.notes


def _section(title: str, rows: tuple[Found, ...]) -> Iterator[str]:
    yield title
    width = max(len(row.name) for row in rows)
    yield from (f"  {row.name:{width}}  {row.what}".rstrip() for row in rows)


def list_devices(cfg: Path | None = None, adapter: str = "") -> Listing:
    """Look for what is there; for the devices of a Micro-Manager cfg file or adapter if asked to.

    Raises DeviceError if the file cannot be loaded, UnknownNameError for an adapter that is not
    there, MissingExtraError if either cannot be looked at. All else that fails becomes a note.
    """
    notes: list[str] = []
    return Listing(
        drivers=tuple(driver_lines()),
        serial_ports=_try(SERIAL, serial_ports, notes),
        visa_resources=_try(VISA, visa_resources, notes),
        adapters=_try(ADAPTERS, adapters, notes),
        adapter_devices=adapter_devices(adapter) if adapter else (),
        cfg_devices=() if cfg is None else cfg_devices(cfg),
        notes=tuple(notes),
    )


def driver_lines() -> Iterator[DriverLine]:
    """Yield every driver; one of another package that cannot be imported is not installed."""
    for entry in drivers():
        try:
            config = entry.load()
        except (ImportError, SwarmctlError) as error:
            yield DriverLine(entry.name, "?", f"{entry.summary} ({error})", "", "", False, ())
            continue
        package = getattr(config, "package", "")
        yield DriverLine(
            entry.name,
            config.role,
            entry.summary,
            package,
            EXTRA if package and config.__module__.startswith("swarmctl.") else "",
            not package or importlib.util.find_spec(package) is not None,
            tuple(describe(config)),
        )


def serial_ports() -> tuple[Found, ...]:
    """Return the serial ports. Raises MissingExtraError."""
    ports = import_extra(EXTRA, "serial.tools.list_ports").comports()
    return tuple(Found(port.device, _words(port)) for port in sorted(ports))


def _words(port: Any) -> str:
    said = [port.description, port.manufacturer, port.serial_number]
    return ", ".join(text for text in said if text and text != "n/a")


def visa_resources() -> tuple[Found, ...]:
    """Return the resources that PyVISA-py sees on local buses.

    Instruments on the network are left out: looking for them means asking every computer there.
    Raises MissingExtraError.
    """
    sessions = import_extra(EXTRA, "pyvisa_py.sessions").Session
    import_extra(EXTRA, "pyvisa_py.highlevel")  # registers the sessions
    found = []
    for (interface, kind), session in sessions.iter_valid_session_classes():
        if interface.name in ("asrl", "gpib", "usb"):
            found += [Found(name, f"{interface.name} {kind}") for name in session.list_resources()]
    return tuple(sorted(set(found), key=lambda one: one.name))


def adapters() -> tuple[Found, ...]:
    """Return Micro-Manager's adapters by name; none is loaded. Raises MissingExtraError."""
    core = _bare_core()
    return tuple(Found(name, "") for name in sorted(core.getDeviceAdapterNames()))


def adapter_devices(adapter: str) -> tuple[Found, ...]:
    """Load an adapter, and return its devices. Raises UnknownNameError, MissingExtraError."""
    core = _bare_core()
    names = core.getDeviceAdapterNames()
    if adapter not in names:
        raise UnknownNameError(f"Unknown adapter {adapter!r}. {nearest(adapter, names)}")
    with device_errors(adapter, "loading it"):
        devices = core.getAvailableDevices(adapter)
        rows = zip(devices, core.getAvailableDeviceDescriptions(adapter), strict=True)
        return tuple(Found(name, what) for name, what in rows)


def _bare_core() -> Any:
    core = import_extra(EXTRA, "pymmcore").CMMCore()
    folder = import_extra(EXTRA).find_micromanager()
    core.setDeviceAdapterSearchPaths([folder] if folder else [])
    return core


def cfg_devices(cfg: Path) -> tuple[Found, ...]:
    """Load the devices of a cfg file, and return them with their properties and limits.

    Raises DeviceError, MissingExtraError.
    """
    shared = take_core(cfg)
    try:
        core = shared.core
        return tuple(
            Found(label, f"{core.getDeviceType(label).name}: {', '.join(_properties(core, label))}")
            for label in core.getLoadedDevices()
            if label != "Core"
        )
    finally:
        leave_core(cfg)


def _properties(core: Any, label: str) -> Iterator[str]:
    for name in core.getDevicePropertyNames(label):
        if core.isPropertyReadOnly(label, name):
            continue
        limits = ""
        if core.hasPropertyLimits(label, name):
            low, high = (
                core.getPropertyLowerLimit(label, name),
                core.getPropertyUpperLimit(label, name),
            )
            limits = f" [{low:g}, {high:g}]"
        yield f"{name}{limits}"


def _try(what: str, look: Callable[[], tuple[T, ...]], notes: list[str]) -> tuple[T, ...]:
    try:
        return look()
    except MissingExtraError as error:
        notes.append(f"{what} were not looked for: {error}")
    except Exception as error:  # a broken driver of one bus must not hide the others
        notes.append(f"{what} cannot be listed ({type(error).__name__}: {error}).")
    return ()
