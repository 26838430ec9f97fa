"""The rig file: which devices a set-up has, what they may do, and how images become a swarm.

A TOML file with the sections [camera], [outputs.NAME] with its [outputs.NAME.limits], [interlock],
[supervisor], [detector], [tracker] and [steering]. It is read with nothing connected.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from swarmctl.bridge.devices.drivers import driver_config
from swarmctl.bridge.microscope.steering_config import SteeringConfig
from swarmctl.bridge.supervisor.limits import PatternLimits, ValueLimits
from swarmctl.bridge.supervisor.watch import WatchConfig
from swarmctl.bridge.vision.methods import detectors
from swarmctl.bridge.vision.tracker import TrackerConfig
from swarmctl.core.config import build
from swarmctl.core.errors import ConfigError, UnknownNameError, nearest

LIMITS = {"pattern": PatternLimits, "values": ValueLimits}


@dataclass(frozen=True)
class OutputEntry:
    """An output of a rig.

    Attributes:
        name: in the rig.
        driver: its driver's configuration.
        limits: what it may do.
        mock: whether it is the mock.
        unguarded: why it does no harm that the device stays as it is when the supervisor dies;
            required of a device that has no time-out of its own.
    """

    name: str
    driver: Any
    limits: PatternLimits | ValueLimits
    mock: bool = False
    unguarded: str = ""


@dataclass(frozen=True)
class Rig:
    """A set-up, as its file describes it.

    Attributes:
        name: for people and logs.
        folder: that of the file; relative paths in it are meant from there.
        camera: configuration of its driver.
        mock_camera: whether the camera is its mock.
        outputs: all outputs.
        interlock: configuration of its driver, or None.
        unguarded: why there is no interlock; required if there is none.
        supervisor: criteria of the watch.
        detector: configuration whose `build()` returns a detector.
        tracker: configuration of the tracker.
        steering: how commands become orders.
        calibration: path of the calibration file.
        digest: of the file's text.
        hardware_digest: of its camera, its outputs without their limits, and the shape of spots:
            what a calibration is of.
    """

    name: str
    folder: Path
    camera: Any
    mock_camera: bool
    outputs: tuple[OutputEntry, ...]
    interlock: Any
    unguarded: str
    supervisor: WatchConfig
    detector: Any
    tracker: TrackerConfig
    steering: SteeringConfig
    calibration: Path
    digest: str
    hardware_digest: str

    def output(self, name: str) -> OutputEntry:
        """Return an output by its name. Raises UnknownNameError."""
        for entry in self.outputs:
            if entry.name == name:
                return entry
        names = [entry.name for entry in self.outputs]
        raise UnknownNameError(f"The rig has no output {name!r}. {nearest(name, names)}")


SECTIONS = (
    "name",
    "calibration",
    "camera",
    "outputs",
    "interlock",
    "unguarded",
    "supervisor",
    "detector",
    "tracker",
    "steering",
)


def read_rig(path: str | Path) -> Rig:
    """Read a rig file. Raises ConfigError, UnknownNameError or UnitError, naming the key."""
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
        tables = tomllib.loads(text)
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such rig file.") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read as TOML ({error}).") from None
    try:
        return rig_from_tables(tables, path.resolve().parent)
    except (ConfigError, UnknownNameError) as error:
        raise type(error)(f"{path}: {error}") from None


def rig_from_tables(tables: Mapping[str, Any], folder: Path) -> Rig:
    """Build a rig from nested tables. Raises ConfigError, UnknownNameError or UnitError."""
    for section in tables:
        if section not in SECTIONS:
            raise UnknownNameError(f"Unknown section {section!r}. {nearest(section, SECTIONS)}")
    for section in ("camera", "outputs"):
        if not isinstance(tables.get(section), Mapping):
            raise ConfigError(f"a rig needs the section [{section}].")
    camera = dict(tables["camera"])
    mock_camera = _truth(camera.pop("mock", False), "camera.mock")
    unguarded = _words(tables.get("unguarded", ""), "unguarded")
    if "interlock" not in tables and not unguarded:
        raise ConfigError(
            "a rig needs an [interlock]; without one, say why it is safe: unguarded = '...'."
        )
    table = tables.get("detector", {})
    if not isinstance(table, Mapping):
        raise ConfigError(f"detector must be a table with the key name, got {table!r}.")
    detector = dict(table)
    detector.setdefault("name", "spots")
    method = detectors[_text(detector, "name", "detector.name")].load()
    del detector["name"]
    steering = build(SteeringConfig, tables.get("steering", {}), "steering")
    return Rig(
        name=_text(tables, "name") or folder.name,
        folder=folder,
        camera=driver_config(camera, "camera", "camera", folder),
        mock_camera=mock_camera,
        outputs=tuple(_output(name, table, folder) for name, table in tables["outputs"].items()),
        interlock=(
            driver_config(tables["interlock"], "interlock", "interlock", folder)
            if "interlock" in tables
            else None
        ),
        unguarded=unguarded,
        supervisor=build(WatchConfig, tables.get("supervisor", {}), "supervisor"),
        detector=build(method, detector, "detector"),
        tracker=build(TrackerConfig, tables.get("tracker", {}), "tracker"),
        steering=steering,
        calibration=folder / (_text(tables, "calibration") or "calibration.toml"),
        digest=_digest(tables),
        hardware_digest=_digest(
            {
                "camera": tables["camera"],
                "outputs": _devices(tables),
                "spots": [steering.spot_radius, steering.profile, steering.feels],
            }
        ),
    )


def _devices(tables: Mapping[str, Any]) -> dict[str, Any]:
    """The outputs without what may be changed without calibrating anew."""
    return {
        name: {k: v for k, v in table.items() if k not in ("limits", "unguarded")}
        for name, table in tables["outputs"].items()
    }


def _output(name: str, table: Any, folder: Path) -> OutputEntry:
    where = f"outputs.{name}"
    if not isinstance(table, Mapping):
        raise ConfigError(f"{where} must be a table, got {table!r}.")
    keys = dict(table)
    mock = _truth(keys.pop("mock", False), f"{where}.mock")
    limits = keys.pop("limits", None)
    unguarded = _words(keys.pop("unguarded", ""), f"{where}.unguarded")
    driver = driver_config(keys, ("pattern", "values"), where, folder)
    if not isinstance(limits, Mapping):
        raise ConfigError(f"{where}: limits are required; give [{where}.limits].")
    try:
        allowed: PatternLimits | ValueLimits = build(LIMITS[driver.role], limits, f"{where}.limits")
    except ConfigError as error:
        # Of several outputs, one has to know whose limits they are.
        text = str(error).removeprefix("limits: ")
        known = text.startswith(where)
        raise type(error)(text if known else f"{where}.limits: {text}") from None
    return OutputEntry(name, driver, allowed, mock, unguarded)


def _text(table: Mapping[str, Any], name: str, where: str = "") -> str:
    value = table.get(name, "")
    if not isinstance(value, str):
        raise ConfigError(f"{where or name}: expected a text, got {value!r}.")
    return value


def _truth(value: Any, where: str) -> bool:
    if not isinstance(value, bool):
        raise ConfigError(f"{where}: true or false, got {value!r}.")
    return value


def _words(value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise ConfigError(f"{where}: say why in words, got {value!r}.")
    return value.strip()


def _digest(tables: Mapping[str, Any]) -> str:
    text = json.dumps(tables, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
