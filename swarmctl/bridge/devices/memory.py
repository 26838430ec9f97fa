"""Ports without hardware: they keep what they are told. Mocks and the in-process drivers are these.

Another process can watch them: what is written goes to a log file too, if one is named, and an
interlock may be closed by a file that is there.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt

from swarmctl.bridge.devices.contract import CameraSpec, Floats, Frame, OutputSpec, Pattern, Shot
from swarmctl.bridge.devices.ports import CameraPort, InterlockPort, PatternPort, ValuePort

FrameSource = Callable[[int], npt.NDArray[np.generic]]
"""Frame number -> frame [H,W]."""

VALUES_KEPT, PATTERNS_KEPT = 4096, 16
"""How many of the last writes are kept."""


class _Log:
    """A text file to which lines are appended, or nothing."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._file: IO[str] | None = None

    def open(self) -> None:
        if self.path is not None:
            self._file = self.path.open("a", encoding="utf-8", buffering=1)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def line(self, when: float, *numbers: float) -> None:
        if self._file is not None:
            self._file.write(" ".join(repr(float(n)) for n in (when, *numbers)) + "\n")


class MemoryValues(ValuePort):
    """Numbers in memory. After `own_timeout` of the spec without a write they are the safe ones.

    Attributes:
        written: (s of time.monotonic(), values [C]) of the last writes, oldest first.
    """

    def __init__(self, spec: OutputSpec, log: Path | None = None) -> None:
        self.written: deque[tuple[float, Floats]] = deque(maxlen=VALUES_KEPT)
        self._safe = np.array([c.safe for c in spec.channels])
        self._own_timeout = spec.own_timeout
        self._log = _Log(log)

    def open(self) -> None:
        """Forget what was written."""
        self.written.clear()
        self._log.open()

    def close(self) -> None:
        """Close the log."""
        self._log.close()

    def write(self, values: Floats) -> None:
        """Keep the values."""
        now = time.monotonic()
        self.written.append((now, values.copy()))
        self._log.line(now, *values)

    def read(self) -> Floats:
        """Return the last values, or the safe ones."""
        if not self.written or _expired(self.written[-1][0], self._own_timeout):
            return self._safe.copy()
        return self.written[-1][1].copy()


class MemoryPattern(PatternPort):
    """Patterns in memory.

    Attributes:
        shown: (s of time.monotonic(), pattern) of the last patterns, oldest first.
    """

    def __init__(self, spec: OutputSpec, log: Path | None = None) -> None:
        self.shown: deque[tuple[float, Pattern]] = deque(maxlen=PATTERNS_KEPT)
        self._dark = np.zeros(spec.shape or (0, 0), np.uint8)
        self._own_timeout = spec.own_timeout
        self._log = _Log(log)

    @property
    def light(self) -> Pattern:
        """What is projected now: the last pattern, or darkness after the spec's `own_timeout`."""
        if not self.shown or _expired(self.shown[-1][0], self._own_timeout):
            return self._dark
        return self.shown[-1][1]

    def open(self) -> None:
        """Forget what was shown."""
        self.shown.clear()
        self._log.open()

    def close(self) -> None:
        """Close the log."""
        self._log.close()

    def show(self, pattern: Pattern) -> None:
        """Keep the pattern; the log gets its sum and its brightest pixel."""
        now = time.monotonic()
        self.shown.append((now, pattern.copy()))
        if self._log.path is not None:
            self._log.line(now, float(pattern.sum(dtype=np.int64)), float(pattern.max(initial=0)))


class MemoryInterlock(InterlockPort):
    """A circuit in memory: closed while `is_closed`, and while its file is there if it has one."""

    def __init__(self, is_closed: bool, file: Path | None = None) -> None:
        self.is_closed = is_closed
        self._file = file

    def open(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""

    def closed(self) -> bool:
        """Whether it is closed."""
        return self.is_closed and (self._file is None or self._file.exists())


class MemoryFrames(CameraPort):
    """Frames from a function, one every period, as from a camera that runs by itself.

    Frame k is exposed from k periods after the start, for the exposure, and is there at its end.
    """

    def __init__(self, spec: CameraSpec, load: Callable[[], FrameSource]) -> None:
        self._spec, self._load = spec, load
        self._source: FrameSource | None = None
        self._start = math.nan
        self._base = self._next = 0

    def open(self) -> None:
        """Look for the source, and begin with frame 0."""
        self._source = self._load()
        self._base = self._next = 0

    def close(self) -> None:
        """Do nothing."""

    def start(self) -> None:
        """Begin the exposure of the next frame."""
        self._start, self._base = time.monotonic(), self._next

    def newest(self, timeout: float) -> Shot | None:
        """Return the newest frame, or wait for one."""
        spec, now = self._spec, time.monotonic()
        done = self._base + math.floor((now - self._start - spec.exposure) / spec.period)
        if done < self._next:
            wait = self._began(self._next) + spec.exposure - now
            time.sleep(max(min(wait, timeout), 0))
            if wait > timeout:
                return None
        number = max(done, self._next)
        self._next = number + 1
        assert self._source is not None, "newest before open"
        frame: Frame = np.array(self._source(number))
        exposed = self._began(number) + spec.exposure / 2
        return Shot(frame, number, exposed, time.monotonic())

    def stop(self) -> None:
        """Do nothing: no frame is made unless it is asked for."""

    def _began(self, number: int) -> float:
        return self._start + (number - self._base) * self._spec.period


def wandering_spot(spec: CameraSpec) -> FrameSource:
    """Return a source of dark frames with one bright spot that goes round, once in 100 frames."""
    dtype = np.dtype(np.uint8 if spec.bits <= 8 else np.uint16)
    bright, dark = 0.8 * (2**spec.bits - 1), 0.05 * (2**spec.bits - 1)
    y, x = np.arange(spec.height)[:, None], np.arange(spec.width)[None, :]
    reach = min(spec.height, spec.width) / 4

    def frame(number: int) -> Frame:
        angle = 2 * math.pi * number / 100
        at_x = spec.width / 2 + reach * math.cos(angle)
        at_y = spec.height / 2 + reach * math.sin(angle)
        spot = np.exp(-((x - at_x) ** 2) / 18) * np.exp(-((y - at_y) ** 2) / 18)
        return (dark + bright * spot).astype(dtype)

    return frame


def _expired(since: float, own_timeout: float | None) -> bool:
    return own_timeout is not None and time.monotonic() - since > own_timeout
