"""Integrals over a sliding window of time, kept in bins; never less than the true integral."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

BINS = 32
"""Bins of a window. Its sum reaches back at most one bin too far."""


@dataclass(frozen=True)
class Window:
    """Integrals over the last `span` s of rates of any shape.

    Attributes:
        span: s.
        newest: number of the newest bin; bin i covers the times from i to i + 1 times span / BINS.
        bins: [BINS + 1, ...]; bin i lies in row i modulo BINS + 1.
    """

    span: float
    newest: int
    bins: Floats


def empty_window(span: float, shape: tuple[int, ...], now: float) -> Window:
    """Return a window in which nothing has happened."""
    return Window(span, math.floor(now * BINS / span), np.zeros((BINS + 1, *shape)))


def add_interval(window: Window, start: float, stop: float, rate: Floats) -> Window:
    """Add a constant rate from `start` to `stop`, which becomes now; what is too old drops out."""
    width = window.span / BINS
    newest = max(window.newest, math.floor(stop / width))
    bins = window.bins.copy()
    for index in range(max(window.newest, newest - BINS - 1) + 1, newest + 1):
        bins[index % (BINS + 1)] = 0.0
    if np.any(rate):
        for index in range(max(math.floor(start / width), newest - BINS), newest + 1):
            overlap = min(stop, (index + 1) * width) - max(start, index * width)
            if overlap > 0:
                bins[index % (BINS + 1)] += overlap * rate
    return replace(window, newest=newest, bins=bins)


def window_sum(window: Window) -> Floats:
    """Return the integrals [...] over the window that ends now."""
    total: Floats = np.asarray(window.bins.sum(0))
    return total
