"""How late everything is in a running loop."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from itertools import islice

import numpy as np

from swarmctl.bridge.calibration import Delays, Figure
from swarmctl.bridge.orders import Receipt

_KEPT = 4096


@dataclass(frozen=True)
class Timing:
    """Times of one frame, s of time.monotonic().

    Attributes:
        exposed: middle of the exposure.
        received: when the frame was here.
        tracked: when colloids were found and tracked.
        issued: when the order that rests on it was sent; nan if there was none.
    """

    exposed: float
    received: float
    tracked: float
    issued: float = math.nan

    def figures(self) -> dict[str, float]:
        """Seconds of exposure → frame, frame → tracks, and frame → order."""
        return {
            "frame": self.received - self.exposed,
            "tracking": self.tracked - self.received,
            "command": self.issued - self.received,
        }


class Latencies:
    """Figures of the last 4096 frames and orders."""

    def __init__(self) -> None:
        self._values: dict[str, deque[float]] = {
            name: deque(maxlen=_KEPT) for name in ("frame", "tracking", "command", "light")
        }

    def add(self, timing: Timing) -> None:
        """Take a frame with its order."""
        for name, value in timing.figures().items():
            self._put(name, value)

    def confirm(self, receipt: Receipt, issued: float) -> None:
        """Take the receipt of an order that was issued then."""
        self._put("light", receipt.confirmed - issued)

    def _put(self, name: str, value: float) -> None:
        if math.isfinite(value):
            self._values[name].append(value)

    def figure(self, name: str, last: int | None = None) -> Figure | None:
        """Median and 99th percentile of "frame", "tracking", "command" or "light".

        Of all that is kept, or of the `last` so many.
        """
        values = self._values[name]
        count = len(values) if last is None else min(last, len(values))
        return figure_of(np.array(list(islice(reversed(values), count))))

    def delays(self) -> Delays:
        """Return what is known as the delays of a calibration."""
        return Delays(self.figure("frame"), self.figure("command"), self.figure("light"))


def figure_of(values: np.ndarray) -> Figure | None:
    """Median and 99th percentile of seconds [K]; None without any."""
    if not len(values):
        return None
    median, p99 = np.quantile(values, [0.5, 0.99])
    return Figure(float(median), float(p99), len(values))
