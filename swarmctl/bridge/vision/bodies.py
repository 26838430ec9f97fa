"""Rods and dimers in a frame: bright bodies of which the axis is seen, fitted together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from swarmctl.bridge.vision.detections import Bools, Detections, Floats
from swarmctl.bridge.vision.search import Search, from_half, to_half

_ROUNDS = 5
_LARGEST_ERROR = 1.0  # rad


@dataclass(frozen=True)
class Fits:
    """What was fitted to M bodies, in pixels of the frame.

    position [M,2] px, angle [M] rad of the axis in the image, error [M] rad of that, height [M]
    counts, second [M] the length of a rod in px or the height of a dimer's second spot, unequal [M]
    by how many standard deviations the spot ahead is brighter than the one behind, explained [M]
    the share of the variance.
    """

    position: Floats
    angle: Floats
    error: Floats
    height: Floats
    second: Floats
    unequal: Floats
    explained: Floats


def fit(
    search: Search,
    dimer: bool,
    size: float,
    sigma: float,
    start: Floats,
    angle: Floats,
    height: Floats,
) -> Fits:
    """Fit bodies from about where they are [M,2] px, point [M] rad and how high they are [M].

    `size` px is the length of a rod or the distance of two spots, `sigma` px their width. The fits are
    at half the resolution of the frame that the search has taken; `half` of the search is
    overwritten. What cannot be fitted is NaN.
    """
    from swarmctl.bridge.vision import compiled_bodies

    count = len(start)
    # The means over 2 x 2 px are wider by the variance of two points one pixel apart.
    width, half = np.sqrt(sigma**2 + 0.25) / 2, size / 2
    second = height if dimer else np.full(count, half)
    known = np.column_stack([np.zeros(count), height, second, to_half(start), angle])
    error, unequal, explained = (np.full(count, np.nan) for _ in range(3))
    compiled_bodies.fit_bodies(
        search.fine_half,
        search.half,
        dimer,
        half,
        width,
        _ROUNDS,
        known,
        error,
        unequal,
        explained,
    )
    return Fits(
        from_half(np.ascontiguousarray(known[:, 3:5])),
        known[:, 5],
        error,
        known[:, 1],
        known[:, 2] if dimer else 2 * known[:, 2],
        unequal,
        explained,
    )


def detections(fits: Fits, signal: Floats, turn: Bools, axial: Bools, length: Floats) -> Detections:
    """Make detections of fits; those to `turn` [M] point the other way."""
    seen = fits.error < _LARGEST_ERROR
    angle = fits.angle + np.where(turn, np.pi, 0.0)
    direction = np.column_stack([np.cos(angle), np.sin(angle)])
    return Detections(
        fits.position,
        signal,
        np.where(seen[:, None], direction, 0.0),
        np.where(seen, fits.error, np.inf),
        fits.explained,
        axial,
        length,
    )
