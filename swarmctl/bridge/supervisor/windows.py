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
        peaks: [BINS + 1, ...], the highest rate in each bin.
    """

    span: float
    newest: int
    bins: Floats
    peaks: Floats


def empty_window(span: float, shape: tuple[int, ...], now: float) -> Window:
    """Return a window in which nothing has happened."""
    rows = BINS + 1, *shape
    return Window(span, math.floor(now * BINS / span), np.zeros(rows), np.zeros(rows))


def add_interval(window: Window, start: float, stop: float, rate: Floats) -> Window:
    """Add a constant rate from `start` to `stop`, which becomes now; what is too old drops out."""
    width = window.span / BINS
    newest = max(window.newest, math.floor(stop / width))
    bins, peaks = window.bins.copy(), window.peaks.copy()
    for index in range(max(window.newest, newest - BINS - 1) + 1, newest + 1):
        bins[index % (BINS + 1)] = peaks[index % (BINS + 1)] = 0.0
    if np.any(rate):
        for index in range(max(math.floor(start / width), newest - BINS), newest + 1):
            overlap = min(stop, (index + 1) * width) - max(start, index * width)
            if overlap > 0:
                row = index % (BINS + 1)
                bins[row] += overlap * rate
                peaks[row] = np.maximum(peaks[row], rate)
    return replace(window, newest=newest, bins=bins, peaks=peaks)


def window_sum(window: Window) -> Floats:
    """Return the integrals [...] over the window that ends now."""
    total: Floats = np.asarray(window.bins.sum(0))
    return total


def allowed_rate(window: Window, most: float | Floats, hold: float) -> Floats:
    """Return the rate [...] that may last `hold` s from now without an integral beyond `most`.

    A rate that can last for ever is always allowed where none in the window was higher.
    """
    for_now = np.maximum(most - window_sum(window), 0.0) / hold
    for_ever = np.asarray(most / window.span)
    never_higher = window.peaks.max(0) <= for_ever
    allowed: Floats = np.where(never_higher, np.maximum(for_now, for_ever), for_now)
    return allowed
