"""Numbers that devices of Micro-Manager take: properties, galvos, stages, shutters."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from swarmctl.bridge.devices.contract import Floats, OutputKind, OutputSpec
from swarmctl.bridge.devices.keys import ValuesConfig
from swarmctl.bridge.devices.micromanager_core import SharedCore, leave_core, take_core
from swarmctl.bridge.devices.ported_outputs import PortedValues
from swarmctl.bridge.devices.ports import ValuePort
from swarmctl.core.config import key, required
from swarmctl.core.errors import ConfigError, DeviceError, require_positive


class Knobs(ABC):
    """How numbers reach the devices of a core.

    `labels` are the devices to wait for after a write.
    """

    labels: Sequence[str]

    @abstractmethod
    def check(self, shared: SharedCore, low: Sequence[float], high: Sequence[float]) -> None:
        """Raise DeviceError if the cfg file has no such devices, or they have narrower ranges."""

    @abstractmethod
    def setters(self, core: Any, values: Floats) -> list[Callable[[], None]]:
        """Return the calls that set the values."""

    @abstractmethod
    def read(self, core: Any) -> Sequence[float]:
        """Ask the devices."""


class CoreValues(ValuePort):
    """Numbers of devices of a core."""

    def __init__(self, cfg: Path, knobs: Knobs, spec: OutputSpec, timeout: float) -> None:
        self._cfg, self._knobs, self._spec, self._timeout = cfg, knobs, spec, timeout
        self._shared: SharedCore | None = None

    def open(self) -> None:
        """Load the cfg file, and compare ranges."""
        self._shared = take_core(self._cfg)
        channels = self._spec.channels
        self._knobs.check(self._shared, [c.low for c in channels], [c.high for c in channels])

    def close(self) -> None:
        """Give the core back."""
        if self._shared is not None:
            self._shared = None
            leave_core(self._cfg)

    def write(self, values: Floats) -> None:
        """Set all, the others too if one is refused, and wait until no device is busy."""
        shared, refused = self._opened, []
        for set_one in self._knobs.setters(shared.core, values):
            try:
                set_one()
            except Exception as error:  # the core's RuntimeError, or any of a device in Python
                refused.append(str(error))
        for label in self._knobs.labels:
            shared.settle(label, self._timeout)
        if refused:
            raise DeviceError(f"{self._spec.name}: {' '.join(refused)}")

    def read(self) -> Floats:
        """Ask the devices."""
        return np.array(self._knobs.read(self._opened.core), float)

    @property
    def _opened(self) -> SharedCore:
        assert self._shared is not None, "the port is not open"
        return self._shared


class Properties(Knobs):
    """Numeric properties of devices. One of whole numbers takes the nearest."""

    def __init__(self, devices: Sequence[str], properties: Sequence[str]) -> None:
        self.labels = tuple(dict.fromkeys(devices))
        self._properties = tuple(zip(devices, properties, strict=True))
        self._whole: dict[tuple[str, str], bool] = {}

    def check(self, shared: SharedCore, low: Sequence[float], high: Sequence[float]) -> None:
        """Look at every property's type and limits."""
        core = shared.core
        for (label, name), bottom, top in zip(self._properties, low, high, strict=True):
            shared.require_property(label, name)
            kind = core.getPropertyType(label, name).to_python()
            if kind not in (int, float) or core.isPropertyReadOnly(label, name):
                raise DeviceError(f"{label}: {name} is no number that can be set.")
            self._whole[label, name] = kind is int
            if core.hasPropertyLimits(label, name):
                limits = (
                    core.getPropertyLowerLimit(label, name),
                    core.getPropertyUpperLimit(label, name),
                )
                _check_range(f"{label}: {name}", bottom, top, *limits)

    def setters(self, core: Any, values: Floats) -> list[Callable[[], None]]:
        """One call for each property."""
        return [
            _Call(core.setProperty, label, name, self._text(label, name, float(value)))
            for (label, name), value in zip(self._properties, values, strict=True)
        ]

    def read(self, core: Any) -> Sequence[float]:
        """Read the properties."""
        return [float(core.getProperty(label, name)) for label, name in self._properties]

    def _text(self, label: str, name: str, value: float) -> str:
        return str(round(value)) if self._whole[label, name] else repr(value)


class Galvo(Knobs):
    """The two angles of a galvo, in the unit of its adapter."""

    def __init__(self, device: str) -> None:
        self.labels = (device,)

    def check(self, shared: SharedCore, low: Sequence[float], high: Sequence[float]) -> None:
        """Compare with the range that the adapter gives."""
        [label], core = self.labels, shared.core
        shared.require(label)
        bottoms = core.getGalvoXMinimum(label), core.getGalvoYMinimum(label)
        ranges = core.getGalvoXRange(label), core.getGalvoYRange(label)
        for axis, bottom, top, least, span in zip("xy", low, high, bottoms, ranges, strict=True):
            _check_range(f"{label}: {axis}", bottom, top, least, least + span)

    def setters(self, core: Any, values: Floats) -> list[Callable[[], None]]:
        """Both angles at once."""
        return [_Call(core.setGalvoPosition, self.labels[0], *map(float, values))]

    def read(self, core: Any) -> Sequence[float]:
        """Read the angles."""
        return list(core.getGalvoPosition(self.labels[0]))


class Stage(Knobs):
    """A stage: x and y, or the focus alone, in µm."""

    def __init__(self, device: str, axes: int) -> None:
        self.labels = (device,)
        self._axes = axes

    def check(self, shared: SharedCore, low: Sequence[float], high: Sequence[float]) -> None:
        """See that it is a stage of so many axes; adapters do not tell how far it may go."""
        [label] = self.labels
        shared.require(label)
        kind = shared.core.getDeviceType(label).name
        if kind != {1: "StageDevice", 2: "XYStageDevice"}[self._axes]:
            raise DeviceError(f"{label} is a {kind}, not a stage of {self._axes} axes.")

    def setters(self, core: Any, values: Floats) -> list[Callable[[], None]]:
        """One motion."""
        move = core.setXYPosition if self._axes == 2 else core.setPosition
        return [_Call(move, self.labels[0], *map(float, values))]

    def read(self, core: Any) -> Sequence[float]:
        """Read the position."""
        if self._axes == 2:
            return list(core.getXYPosition(self.labels[0]))
        return [core.getPosition(self.labels[0])]


class Shutter(Knobs):
    """A shutter: 0 closed, 1 open."""

    def __init__(self, device: str) -> None:
        self.labels = (device,)

    def check(self, shared: SharedCore, low: Sequence[float], high: Sequence[float]) -> None:
        """See that it is there, and keep Micro-Manager from opening it by itself."""
        shared.require(self.labels[0])
        shared.core.setAutoShutter(False)

    def setters(self, core: Any, values: Floats) -> list[Callable[[], None]]:
        """Open or close it. Raises DeviceError for what is neither."""
        [value] = values
        if value not in (0, 1):
            raise DeviceError(f"{self.labels[0]}: a shutter takes 0 or 1, got {value}.")
        return [_Call(core.setShutterOpen, self.labels[0], bool(value))]

    def read(self, core: Any) -> Sequence[float]:
        """Read whether it is open."""
        return [float(core.getShutterOpen(self.labels[0]))]


class _Call:
    """A call that is made later."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self._function, self._arguments = function, arguments

    def __call__(self) -> None:
        self._function(*self._arguments)


def _check_range(what: str, low: float, high: float, least: float, most: float) -> None:
    if low < least or high > most:
        raise DeviceError(
            f"{what} takes {least:g} to {most:g}, the keys low and high say {low:g} to {high:g}."
        )


@dataclass(frozen=True, kw_only=True)
class MicroManagerValuesConfig(ValuesConfig):
    """Numeric properties of devices of Micro-Manager, such as the voltage of an analogue output."""

    package: ClassVar[str] = "pymmcore_plus"

    cfg: Path = required("Micro-Manager's configuration file")
    devices: tuple[str, ...] = required("label of the device of every channel")
    properties: tuple[str, ...] = required("property of every channel, such as 'Voltage'")
    kind: OutputKind = key("analogue", "what it is; 'coils' for a coil supply")
    timeout: float = key(0.5, "time in which a device has to be no longer busy", "s")

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_lists(devices=self.devices, properties=self.properties)

    def build(self) -> PortedValues:
        """Return the output, not connected."""
        knobs = Properties(self.devices, self.properties)
        return _output(self, self.cfg, ", ".join(knobs.labels), self.kind, knobs, self.timeout)


@dataclass(frozen=True, kw_only=True)
class MicroManagerGalvoConfig(ValuesConfig):
    """The two angles of a galvo of Micro-Manager, x first."""

    package: ClassVar[str] = "pymmcore_plus"

    cfg: Path = required("Micro-Manager's configuration file")
    device: str = required("label of the galvo")
    timeout: float = key(0.5, "time in which it has to be no longer busy", "s")

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.channels) != 2:
            raise ConfigError(f"output: a galvo has 2 channels, got {self.channels}.")

    def build(self) -> PortedValues:
        """Return the output, not connected."""
        knobs = Galvo(self.device)
        return _output(self, self.cfg, self.device, "analogue", knobs, self.timeout)


@dataclass(frozen=True, kw_only=True)
class MicroManagerStageConfig(ValuesConfig):
    """A stage of Micro-Manager: x and y, or the focus alone. Connecting moves it to `safe`."""

    package: ClassVar[str] = "pymmcore_plus"

    cfg: Path = required("Micro-Manager's configuration file")
    device: str = required("label of the stage")
    timeout: float = key(10.0, "time that a motion may take", "s")

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.channels) not in (1, 2) or set(self.units) != {"um"}:
            raise ConfigError("output: a stage has 2 channels, or 1 for the focus, in 'um'.")

    def build(self) -> PortedValues:
        """Return the output, not connected."""
        knobs = Stage(self.device, len(self.channels))
        return _output(self, self.cfg, self.device, "stage", knobs, self.timeout)


@dataclass(frozen=True, kw_only=True)
class MicroManagerShutterConfig(ValuesConfig):
    """A shutter of Micro-Manager: 0 closed, 1 open."""

    package: ClassVar[str] = "pymmcore_plus"

    channels: tuple[str, ...] = key(("open",), "name of its channel")
    units: tuple[str, ...] = key(("",), "it has no unit")
    low: tuple[float, ...] = key((0.0,), "closed")
    high: tuple[float, ...] = key((1.0,), "open")
    safe: tuple[float, ...] = key((0.0,), "closed, unless open is safe")
    cfg: Path = required("Micro-Manager's configuration file")
    device: str = required("label of the shutter")
    timeout: float = key(0.5, "time in which it has to open or close", "s")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.low != (0.0,) or self.high != (1.0,) or self.safe[0] not in (0.0, 1.0):
            raise ConfigError("output: a shutter has one channel, 0 closed and 1 open.")

    def build(self) -> PortedValues:
        """Return the output, not connected."""
        return _output(self, self.cfg, self.device, "shutter", Shutter(self.device), self.timeout)


def _output(
    config: ValuesConfig, cfg: Path, label: str, kind: OutputKind, knobs: Knobs, timeout: float
) -> PortedValues:
    require_positive("output", timeout=timeout)
    spec = config.spec(f"{label} of {cfg.name}", kind)
    return PortedValues(
        spec, CoreValues(cfg, knobs, spec, timeout), config.tolerance, config.settle
    )
