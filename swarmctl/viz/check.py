"""Shape checks of what pictures are drawn from: an error instead of a picture of nonsense."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from swarmctl.core.errors import ConfigError


def array(
    where: str,
    value: Any,
    shape: Sequence[int | str],
    *,
    dtype: Any = float,
    finite: bool = True,
) -> np.ndarray:
    """Return `value` as an array of the given shape; a name in `shape` ("T") allows any length.

    Raises ConfigError that names what was given and what is expected.
    """
    try:
        result = np.asarray(value, dtype=dtype)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{where}: expected numbers, got {type(value).__name__}.") from error
    fits = result.ndim == len(shape) and all(
        isinstance(want, str) or have == want
        for have, want in zip(result.shape, shape, strict=True)
    )
    if not fits:
        expected = ", ".join(str(length) for length in shape)
        raise ConfigError(f"{where}: expected shape [{expected}], got {list(result.shape)}.")
    if finite and result.dtype.kind == "f" and not np.isfinite(result).all():
        count = int((~np.isfinite(result)).sum())
        raise ConfigError(f"{where}: {count} of {result.size} numbers are not finite.")
    return result


def image(where: str, value: Any) -> np.ndarray:
    """Return a picture uint8 [H,W,3], contiguous, or raise ConfigError."""
    result = np.asarray(value)
    if result.dtype != np.uint8 or result.ndim != 3 or result.shape[-1] != 3 or result.size == 0:
        raise ConfigError(
            f"{where}: expected a picture uint8 [H, W, 3], got {result.dtype} {list(result.shape)}."
        )
    return np.ascontiguousarray(result)
