"""Reads the interlock again and again from a thread of its own."""

from __future__ import annotations

import math
import threading
import time
from dataclasses import dataclass
from typing import final

from swarmctl.bridge.devices.contract import Interlock

PERIOD = 0.02
"""s between two questions."""


@dataclass(frozen=True)
class Reading:
    """What the interlock said.

    Attributes:
        closed: whether it was closed.
        time: s of time.monotonic(), when it said so; -inf if it never did.
        error: what it raised instead, "" if it answered.
    """

    closed: bool = False
    time: float = -math.inf
    error: str = ""


@final
class InterlockReader:
    """Reads an interlock from when it is made until `close`; the newest reading is `reading`.

    Args:
        device: not connected; it is connected in the thread.
    """

    def __init__(self, device: Interlock) -> None:
        self._device = device
        self.reading = Reading()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="interlock", daemon=True)
        self._thread.start()

    def close(self, timeout: float = 1.0) -> None:
        """End the thread and let go of the device; waits `timeout` s at most."""
        self._ending.set()
        self._thread.join(timeout)

    def _run(self) -> None:
        connected = False
        while not self._ending.wait(PERIOD):
            try:
                if not connected:
                    self._device.connect()
                    connected = True
                closed = self._device.closed()
                self.reading = Reading(closed is True, time.monotonic())
            except BaseException as error:  # whatever it is, it is no closed interlock
                self.reading = Reading(False, time.monotonic(), str(error) or repr(error))
        if connected:
            self._device.disconnect()
