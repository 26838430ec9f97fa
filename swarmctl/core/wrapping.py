"""Angles on the circle and positions in a periodic box, in NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating[Any]]


def wrapped_angle(angle: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return angles, rad, in (-π, π]; nan remains nan."""
    return np.asarray(np.pi - (np.pi - np.asarray(angle, np.float64)) % (2 * np.pi), np.float64)


def wrapped_position(
    unwrapped: Floats, size: npt.ArrayLike, periodic: npt.ArrayLike, dtype: npt.DTypeLike
) -> tuple[npt.NDArray[Any], npt.NDArray[np.int32]]:
    """Put positions into the box along its periodic axes.

    Args:
        unwrapped: [...,D] µm, finite.
        size: [D] µm.
        periodic: [D].
        dtype: of the positions that are returned. What rounds up to the face of the box in it
            belongs to the next box.

    Returns:
        Positions [...,D] in [0, size) along periodic axes, and images i32 [...,D]: how many boxes
        to add.
    """
    length, around = np.asarray(size, np.float64), np.asarray(periodic, bool)
    image = np.where(around, np.floor(unwrapped / length), 0)
    position = (unwrapped - image * length).astype(dtype)
    edge = around & (position >= length.astype(dtype))
    return np.where(edge, 0, position).astype(dtype), (image + edge).astype(np.int32)
