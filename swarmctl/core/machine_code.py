"""Machine code: loops over pixels through numba (extra `vision`), and where it is kept."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from swarmctl.core.extras import import_extra

F = TypeVar("F", bound=Callable[..., Any])


def cache_folder(name: str) -> Path | None:
    """Return a folder of the user's for machine code of this name; None if none can be written."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(home) / "swarmctl" / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return folder if os.access(folder, os.W_OK) else None


def compiled(*signatures: str) -> Callable[[F], F]:
    """Compile a function when its module is imported, for numba signatures such as "f4(f4[:])".

    So nothing is compiled later, in a running loop. The machine code is kept beside the module, or
    where numba keeps it, if one of the two can be written. Other threads run meanwhile. A module
    that uses this is imported in functions only. Raises MissingExtraError without numba.
    """
    numba = import_extra("vision", "numba")
    options = {
        "nogil": True,
        "error_model": "numpy",
        "fastmath": {"contract", "reassoc", "nsz", "arcp"},
    }

    def compile_it(function: F) -> F:
        try:
            return numba.njit(list(signatures), cache=True, **options)(function)
        except RuntimeError:  # no folder can be written
            return numba.njit(list(signatures), **options)(function)

    return compile_it
