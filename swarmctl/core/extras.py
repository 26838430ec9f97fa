"""Optional parts: which package an extra brings, and one clear error where it is missing."""

from __future__ import annotations

import importlib
import importlib.util
from types import ModuleType

from swarmctl.core.errors import MissingExtraError

EXTRAS = {
    "analysis": ("MDAnalysis", "opening trajectories in MDAnalysis"),
    "sb3": ("stable_baselines3", "agents of Stable-Baselines3"),
    "marl": ("pettingzoo", "the PettingZoo view"),
    "lab": ("pymmcore_plus", "instruments of a laboratory"),
    "link": ("zmq", "lab links over ZeroMQ"),
    "vision": ("numba", "making and reading images"),
    "tracking": ("trackpy", "tracking by other libraries"),
    "cluster": ("dask_jobqueue", "ensembles on a cluster"),
}
"""Extra -> (module that must be there, what it is for)."""


def import_extra(extra: str, module: str = "") -> ModuleType:
    """Import the module of an extra, or another of its modules such as "pettingzoo.utils".

    Raises MissingExtraError, which says how to install it.
    """
    package, purpose = EXTRAS[extra]
    try:
        return importlib.import_module(module or package)
    except ModuleNotFoundError as error:
        raise MissingExtraError(error.name or package, extra, purpose) from None


def has_extra(extra: str) -> bool:
    """Whether the module of an extra is installed."""
    return importlib.util.find_spec(EXTRAS[extra][0]) is not None
