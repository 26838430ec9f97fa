"""From spots to the image that is projected."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from swarmctl.bridge.orders import Profile, Spots

Floats = npt.NDArray[np.float64]
Pattern = npt.NDArray[np.uint8]
GAUSSIAN_REACH = math.sqrt(math.log(255) / 2)
"""In radii: where a spot of full light falls below one of 255 levels."""


def reach(radius: Floats, profile: Profile) -> Floats:
    """Return how far from its middle a spot has light, px."""
    return radius * (GAUSSIAN_REACH if profile == "gaussian" else 1.0)


def render_spots(spots: Spots, shape: tuple[int, int], full: float) -> Pattern:
    """Draw spots into a pattern u8 [H,W]; `full` is the power of level 255.

    Light is P·exp(−2r²/w²) of a Gaussian spot with radius w, P within the radius of an even one.
    Where spots overlap the brighter one counts. Levels are rounded down, so that no pixel is
    brighter than what was asked; pixel (x, y) is at its middle.
    """
    pattern = np.zeros(shape, np.uint8)
    extent = reach(spots.radius, spots.profile)
    level = np.minimum(spots.power / full * 255, 255.0)
    low = np.clip(np.ceil(spots.position - extent[:, None]), 0, [shape[1], shape[0]])
    high = np.clip(np.floor(spots.position + extent[:, None]) + 1, 0, [shape[1], shape[0]])
    box = np.column_stack([low, high]).astype(np.int64)
    lit = (level >= 1) & np.all(high > low, axis=1)
    for index in np.flatnonzero(lit):
        left, top, right, bottom = box[index]
        across = np.arange(left, right) - spots.position[index, 0]
        down = np.arange(top, bottom)[:, None] - spots.position[index, 1]
        radius = spots.radius[index]
        if spots.profile == "gaussian":
            scale = -2 / radius**2
            light = np.exp(scale * down**2) * (level[index] * np.exp(scale * across**2))
        else:
            light = level[index] * (down**2 + across**2 <= radius**2)
        if spots.half is not None and math.isfinite(spots.half[index]):
            angle = spots.half[index]
            light = light * (math.cos(angle) * across + math.sin(angle) * down >= 0)
        patch = pattern[top:bottom, left:right]
        # A hair is added, so that a power that is a whole level stays it.
        np.maximum(patch, (light + 1e-9).astype(np.uint8), out=patch)
    return pattern
