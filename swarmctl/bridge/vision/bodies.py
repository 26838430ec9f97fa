"""Rods and dimers in a frame: bright bodies of which the axis is seen, fitted together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from swarmctl.bridge.vision.detections import Bools, Detections, Floats
from swarmctl.bridge.vision.search import Search, from_half, to_half

_LARGEST_ERROR = 1.0  # rad


@dataclass(frozen=True)
class Fits:
    """What was fitted to M bodies, in pixels of the frame.

    known [M,5] is the height in counts, the length of a rod in px or the height of a dimer's second
    spot, the place (x, y) in px, and the angle of the axis in rad; error [M] rad that of the angle.
    unequal [M] says by how many standard deviations the spot ahead is brighter than the one behind,
    explained [M] which share of the variance the fit explains.
    """

    known: Floats
    error: Floats
    unequal: Floats
    explained: Floats


def fit(search: Search, dimer: bool, size: float, sigma: float, start: Floats, rounds: int) -> Fits:
    """Fit M bodies from what is about known of them, in at most so many rounds.

    `size` px is the length of a rod or the distance of two spots, `sigma` px their width; `start`
    [M,5] holds the height, the length of a rod in px or the height of a dimer's second spot, the
    place (x, y) in px and the angle in rad. The fits are at half the resolution of the frame that
    the search has taken. `half` of the search becomes what they leave over. What cannot be fitted
    is NaN.
    """
    from swarmctl.bridge.vision import compiled_fits

    # The means over 2 x 2 px are wider by the variance of two points one pixel apart, and lower.
    width = float(np.sqrt(sigma**2 + 0.25))
    lower = (sigma / width) ** (2 if dimer else 1)
    scale = np.array([lower, lower if dimer else 0.5, 0.5, 0.5, 1.0])
    known = np.column_stack([np.zeros(len(start)), start * scale])
    known[:, 3:5] = to_half(start[:, 2:4])
    figure = np.full((len(start), 3), np.nan)
    compiled_fits.fit_bodies(
        search.fine_half,
        search.half,
        dimer,
        size / 2,
        width / 2,
        rounds,
        known,
        figure,
    )
    found = known[:, 1:] / scale
    found[:, 2:4] = from_half(known[:, 3:5])
    return Fits(found, *figure.T)


def detections(fits: Fits, signal: Floats, turn: Bools, axial: Bools, length: Floats) -> Detections:
    """Make detections of fits; those to `turn` [M] point the other way."""
    seen = fits.error < _LARGEST_ERROR
    angle = fits.known[:, 4] + np.where(turn, np.pi, 0.0)
    direction = np.column_stack([np.cos(angle), np.sin(angle)])
    return Detections(
        np.ascontiguousarray(fits.known[:, 2:4]),
        signal,
        np.where(seen[:, None], direction, 0.0),
        np.where(seen, fits.error, np.inf),
        fits.explained,
        axial,
        length,
    )
