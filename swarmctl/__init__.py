"""Control swarms of microscopic colloids, in simulation and on real microscopes, behind one interface.

Public names are resolved when they are first used, so that `import swarmctl` is quick and needs no JAX.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_PUBLIC = {
    "make": "swarmctl.envs.make",
    "make_env": "swarmctl.envs.make",
    "load_agent": "swarmctl.agents.saving",
}

__all__ = ["__version__", *_PUBLIC]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(importlib.import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'swarmctl' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
