"""Names of device drivers, for rig files and third parties.

Every name leads to a frozen configuration class, made of `swarmctl.core.config.key` fields, with a
class variable `role` ("camera", "pattern", "values" or "interlock") and a method `build()` that
returns a `Device` of the contract, not yet connected. Packages add their own by entry points of the
group `swarmctl.devices`, whose names are the drivers' and whose values are such classes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from swarmctl.core.config import build
from swarmctl.core.errors import ConfigError
from swarmctl.core.registry import Registry, is_file_target

ENTRY_POINTS = "swarmctl.devices"

_drivers = Registry("device driver")
_drivers.register(
    "memory-camera",
    "swarmctl.bridge.devices.memory_drivers:MemoryCameraConfig",
    "frames of a function or a file; no hardware",
)
_drivers.register(
    "memory-pattern",
    "swarmctl.bridge.devices.memory_drivers:MemoryPatternConfig",
    "patterns kept in memory; no hardware",
)
_drivers.register(
    "memory-values",
    "swarmctl.bridge.devices.memory_drivers:MemoryValuesConfig",
    "numbers kept in memory; no hardware",
)
_drivers.register(
    "memory-interlock",
    "swarmctl.bridge.devices.memory_drivers:MemoryInterlockConfig",
    "an interlock that a key or a file closes; no hardware",
)
_drivers.register(
    "micromanager-camera",
    "swarmctl.bridge.devices.micromanager_camera:MicroManagerCameraConfig",
    "a camera of Micro-Manager",
)
_drivers.register(
    "micromanager-slm",
    "swarmctl.bridge.devices.micromanager_slm:MicroManagerSlmConfig",
    "a light modulator of Micro-Manager: SLM, DMD, projector",
)
_drivers.register(
    "micromanager-values",
    "swarmctl.bridge.devices.micromanager_values:MicroManagerValuesConfig",
    "numeric properties of Micro-Manager: analogue outputs, lasers",
)
_drivers.register(
    "micromanager-galvo",
    "swarmctl.bridge.devices.micromanager_values:MicroManagerGalvoConfig",
    "the two angles of a galvo of Micro-Manager",
)
_drivers.register(
    "micromanager-stage",
    "swarmctl.bridge.devices.micromanager_values:MicroManagerStageConfig",
    "a stage of Micro-Manager: x and y, or the focus",
)
_drivers.register(
    "micromanager-shutter",
    "swarmctl.bridge.devices.micromanager_values:MicroManagerShutterConfig",
    "a shutter of Micro-Manager",
)
_drivers.register(
    "micromanager-interlock",
    "swarmctl.bridge.devices.micromanager_interlock:MicroManagerInterlockConfig",
    "an interlock that a property of Micro-Manager reports",
)
_drivers.register(
    "scpi",
    "swarmctl.bridge.devices.scpi:ScpiConfig",
    "numbers of an instrument through VISA, by SCPI or other lines",
)
_drivers.register(
    "scpi-interlock",
    "swarmctl.bridge.devices.scpi:ScpiInterlockConfig",
    "an interlock that an instrument reports through VISA",
)
_drivers.register(
    "serial",
    "swarmctl.bridge.devices.serial_line:SerialConfig",
    "numbers of a board on a serial port, by lines",
)
_drivers.register(
    "serial-interlock",
    "swarmctl.bridge.devices.serial_line:SerialInterlockConfig",
    "an interlock that a board on a serial port reports",
)
_drivers.register(
    "virtual-camera",
    "swarmctl.bridge.virtual.camera:VirtualCameraConfig",
    "the camera of a virtual laboratory",
)
_drivers.register(
    "virtual-light",
    "swarmctl.bridge.virtual.light:VirtualLightConfig",
    "the light pattern of a virtual laboratory",
)
_drivers.register(
    "virtual-coils",
    "swarmctl.bridge.virtual.coils:VirtualCoilsConfig",
    "the coils of a virtual laboratory",
)
_drivers.register(
    "virtual-stage",
    "swarmctl.bridge.virtual.stage:VirtualStageConfig",
    "the motors of a virtual laboratory's stage",
)
_drivers.register(
    "virtual-interlock",
    "swarmctl.bridge.virtual.interlock:VirtualInterlockConfig",
    "the interlock of a virtual laboratory",
)


@cache
def drivers() -> Registry:
    """Return the registry of drivers, those of installed packages included.

    Raises DuplicateNameError if a package takes a name that is there.
    """
    found = Registry("device driver")
    for entry in _drivers:
        found.register(entry.name, entry.target, entry.summary)
    for point in entry_points(group=ENTRY_POINTS):
        package = point.dist.name if point.dist is not None else "unknown"
        found.register(point.name, point.value, f"from the package {package}")
    return found


def driver_config(
    table: Mapping[str, Any], role: str | tuple[str, ...], where: str, folder: Path | None = None
) -> Any:
    """Build the configuration that a table of a rig file describes by `driver` and its keys.

    With a folder, relative paths among the keys, and of a driver in a file, are meant from there.

    Raises ConfigError if no driver is named or the driver plays another role, UnknownNameError.
    """
    if not isinstance(table, Mapping):
        raise ConfigError(f"{where}: expected a table with the key driver, got {table!r}.")
    keys = dict(table)
    name = keys.pop("driver", None)
    if not isinstance(name, str):
        raise ConfigError(f"{where}: say which driver; allowed: {', '.join(drivers().names())}.")
    if folder is not None and is_file_target(name):
        name = str(folder / Path(name).expanduser())
    found = drivers()[name].load()
    roles = (role,) if isinstance(role, str) else role
    if getattr(found, "role", None) not in roles:
        raise ConfigError(
            f"{where}: the driver {name!r} is for the role {getattr(found, 'role', None)!r}, here "
            f"{' or '.join(roles)} is needed."
        )
    config = build(found, keys, where)
    if folder is None:
        return config
    paths = {
        field.name: folder / value.expanduser()
        for field in dataclasses.fields(config)
        if isinstance(value := getattr(config, field.name), Path)
    }
    return dataclasses.replace(config, **paths)
