"""Names of device drivers, for rig files and third parties.

Every name leads to a frozen configuration class, made of `swarmctl.core.config.key` fields, with a
class variable `role` ("camera", "pattern", "values" or "interlock") and a method `build()` that
returns a `Device` of the contract, not yet connected. Packages add their own by entry points of the
group `swarmctl.devices`, whose names are the drivers' and whose values are such classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.metadata import entry_points
from typing import Any

from swarmctl.core.config import build
from swarmctl.core.errors import ConfigError
from swarmctl.core.registry import Registry

ENTRY_POINTS = "swarmctl.devices"

_drivers = Registry("device driver")


@cache
def drivers() -> Registry:
    """Return the registry of drivers, those of installed packages included.

    Raises DuplicateNameError if a package takes a name that is there.
    """
    for point in entry_points(group=ENTRY_POINTS):
        _drivers.register(point.name, point.value, f"from the package {point.dist}")
    return _drivers


def driver_config(table: Mapping[str, Any], role: str | tuple[str, ...], where: str) -> Any:
    """Build the configuration that a table of a rig file describes by `driver` and its keys.

    Raises ConfigError if no driver is named or the driver plays another role, UnknownNameError.
    """
    keys = dict(table)
    name = keys.pop("driver", None)
    if not isinstance(name, str):
        raise ConfigError(f"{where}: say which driver; allowed: {', '.join(drivers().names())}.")
    found = drivers()[name].load()
    roles = (role,) if isinstance(role, str) else role
    if getattr(found, "role", None) not in roles:
        raise ConfigError(
            f"{where}: the driver {name!r} is for the role {getattr(found, 'role', None)!r}, here "
            f"{' or '.join(roles)} is needed."
        )
    return build(found, keys, where)
