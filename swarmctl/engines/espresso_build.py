"""The ESPResSo that is installed: whether there is one, what was built into it, and who uses it.

A process has one ESPResSo System for as long as it lives. `lease` lends it to one engine at a time,
empty; `release` takes it back.
"""

from __future__ import annotations

import importlib
import importlib.util
import warnings
import weakref
from collections.abc import Iterable
from typing import Any

from swarmctl.core.errors import CapabilityError, EngineMissingError, SwarmctlError

FEATURES = (
    "EXTERNAL_FORCES",
    "MASS",
    "ROTATION",
    "ROTATIONAL_INERTIA",
    "PARTICLE_ANISOTROPY",
    "THERMOSTAT_PER_PARTICLE",
    "ENGINE",
    "WCA",
)
"""What every world needs."""
TESTED = (4, 3)
"""The version on which the engine was run: the development line of 4.3."""
HOW_TO_GET = (
    "load the module of ESPResSo where there is one (EESSI: module load ESPResSo), or build it "
    "from source (https://espressomd.github.io/doc/installation.html), version "
    f"{TESTED[0]}.{TESTED[1]} or later, with a myconfig.hpp that defines "
    f"{', '.join(FEATURES)}, and VIRTUAL_SITES_RELATIVE for rigid bodies, GAY_BERNE for spheroids; "
    "then put its src/python folder on PYTHONPATH"
)

_system: Any = None
_holder: weakref.ref[object] | None = None


def is_installed() -> bool:
    """Whether the module espressomd can be imported."""
    return importlib.util.find_spec("espressomd") is not None


def check_build(needs: Iterable[str] = ()) -> None:
    """Raise EngineMissingError without ESPResSo, and CapabilityError for a version before 4.3 or a
    build that lacks any of FEATURES and `needs`, naming all it lacks. Warn of a version later than
    the one tested.
    """
    if not is_installed():
        raise EngineMissingError(
            "engine 'espresso' needs ESPResSo, whose Python module 'espressomd' is not installed: "
            f"{HOW_TO_GET}."
        )
    version = tuple(importlib.import_module("espressomd.version").version()[:2])
    shown = ".".join(map(str, version))
    if version < TESTED:
        raise CapabilityError(
            f"engine 'espresso' needs ESPResSo {TESTED[0]}.{TESTED[1]} or later, this is {shown}, "
            "where thermostats and virtual sites are called otherwise. Install a later one."
        )
    if version > TESTED:
        warnings.warn(
            f"engine 'espresso' was run on ESPResSo {TESTED[0]}.{TESTED[1]}, this is {shown}: "
            "check it with `swarmctl check espresso`.",
            stacklevel=2,
        )
    built = set(importlib.import_module("espressomd.code_info").features())
    missing = [name for name in (*FEATURES, *needs) if name not in built]
    if missing:
        lines = " ".join(f"#define {name}" for name in missing)
        raise CapabilityError(
            f"this build of ESPResSo lacks {', '.join(missing)}, which the world needs. Add "
            f"'{lines}' to its myconfig.hpp and build it again."
        )


def lease(holder: object, needs: Iterable[str] = ()) -> Any:
    """Lend the System of this process, emptied, to `holder`, who may have it already.

    Raises SwarmctlError while another engine has it, and what `check_build` raises.
    """
    global _system, _holder
    check_build(needs)
    if _holder is not None and _holder() not in (None, holder):
        raise SwarmctlError(
            "ESPResSo allows one System per process, and another engine 'espresso' has it. Close "
            "that engine first, or run the second one in a process of its own "
            "(swarmctl.make_workers does so)."
        )
    if _system is None:
        _system = importlib.import_module("espressomd.system").System(box_l=[1.0, 1.0, 1.0])
    _holder = weakref.ref(holder)
    _clear(_system)
    return _system


def lent(holder: object) -> Any:
    """Return the System that `holder` has. Raises SwarmctlError if it has none."""
    if _holder is None or _holder() is not holder:
        raise SwarmctlError("engine 'espresso': it has no System; reset it first.")
    return _system


def release(holder: object) -> None:
    """Take the System back from `holder`; nothing happens if it does not have it."""
    global _holder
    if _holder is not None and _holder() is holder:
        _clear(_system)
        _holder = None


def _clear(system: Any) -> None:
    system.auto_update_accumulators.clear()
    system.constraints.clear()
    system.part.clear()
    system.non_bonded_inter.reset()
    system.thermostat.turn_off()
