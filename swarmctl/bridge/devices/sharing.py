"""Hardware that several devices of a process use together: opened once, closed by the last."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from contextlib import suppress
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


class Shared(Generic[K, T]):
    """Things by key that are opened when the first user takes them and closed after the last."""

    def __init__(self, open_: Callable[[K], T], close: Callable[[T], None]) -> None:
        self._open, self._close = open_, close
        self._things: dict[K, tuple[T, int]] = {}
        self._lock = threading.RLock()

    def take(self, key: K) -> T:
        """Return the thing of a key; it is opened if nobody has it. Raises what opening raises."""
        with self._lock:
            if key in self._things:
                thing, users = self._things[key]
            else:
                thing, users = self._open(key), 0
            self._things[key] = (thing, users + 1)
            return thing

    def leave(self, key: K) -> None:
        """Say that one user has done with it. Raises what closing raises."""
        with self._lock:
            thing, users = self._things.pop(key)
            if users > 1:
                self._things[key] = (thing, users - 1)
            else:
                self._close(thing)

    def close_all(self) -> None:
        """Close everything, whoever has it; what cannot be closed does not keep the rest open."""
        with self._lock:
            while self._things:
                _, (thing, _) = self._things.popitem()
                with suppress(Exception):
                    self._close(thing)
