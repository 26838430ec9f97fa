"""What an output was told, and when it acts: orders on their way to the sample. No JAX."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Told(Generic[T]):
    """What an output was told, its serial number from 1, and the time from which it acts, s."""

    serial: int
    what: T
    begins: float


class Delayed(Generic[T]):
    """An output that acts after a delay, and stops by itself when nothing new comes.

    Attributes:
        timeout: s after the beginning of the last order when it stops by itself.
    """

    def __init__(self) -> None:
        self.timeout = math.inf
        self._waiting: deque[Told[T]] = deque()
        self._acting: Told[T] | None = None

    def tell(self, serial: int, what: T, begins: float) -> None:
        """Take an order that acts from `begins` s on."""
        self._waiting.append(Told(serial, what, begins))

    def at(self, time: float) -> T | None:
        """Go on to `time` s and return what acts then; None before the first and once stopped."""
        while self._waiting and self._waiting[0].begins <= time + 1e-9:
            self._acting = self._waiting.popleft()
        return None if self._acting is None or self.stopped(time) else self._acting.what

    def stopped(self, time: float) -> bool:
        """Whether it has stopped by itself by `time` s."""
        return self._acting is not None and time - self._acting.begins > self.timeout

    def serial_at(self, time: float) -> int:
        """Serial number of what has begun by `time` s, 0 before the first; changes nothing."""
        serial = 0 if self._acting is None else self._acting.serial
        return max([serial, *(told.serial for told in self._waiting if told.begins <= time)])

    def next_after(self, time: float) -> float:
        """When the next order after `time` s begins to act; inf if none is on its way."""
        return min((t.begins for t in self._waiting if t.begins > time), default=math.inf)
