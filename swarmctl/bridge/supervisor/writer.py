"""One thread for each output, so that an instrument that hangs delays no other."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, final

from swarmctl.bridge.devices.contract import Output, PatternOutput, ValueOutput
from swarmctl.bridge.orders import Spots, Values
from swarmctl.bridge.supervisor.pattern_image import render_spots
from swarmctl.core.errors import DeviceError

Job = Literal["connect", "write", "safe", "rescue", "disconnect"]


@dataclass(frozen=True)
class Done:
    """What became of a job; times are s of time.monotonic().

    Attributes:
        job: what was to be done.
        number: of the order of a write, or of the call for a safe state.
        issued: when the device was told.
        confirmed: when it returned.
        error: what it raised, "" if it did what it was told.
    """

    job: Job
    number: int
    issued: float
    confirmed: float
    error: str


@final
class OutputWriter:
    """Makes all calls of one device, from one thread, the newest job only.

    A job that is not begun is replaced by the next one. `rescue` alone calls from another thread:
    it makes the device safe while a call hangs.

    Args:
        name: of the output.
        device: not connected.
        mock: whether its mock is connected.
        notify: called from the thread when something is done.
    """

    def __init__(self, name: str, device: Output, mock: bool, notify: Callable[[], None]) -> None:
        self.device = device
        self._mock = mock
        self._notify = notify
        self._done: deque[Done] = deque()
        self._condition = threading.Condition()
        self._next: tuple[Job, int, Spots | Values | None] | None = None
        self._current: tuple[Job, int, float] | None = None
        self._rescuing = False
        self._thread = threading.Thread(target=self._run, name=f"output {name}", daemon=True)
        self._thread.start()

    @property
    def idle(self) -> bool:
        """Whether nothing is to be done and nothing is being done, by no thread."""
        with self._condition:
            return self._next is None and self._current is None and not self._rescuing

    def current(self) -> tuple[Job, int, float] | None:
        """Return the job that is being done, its number, and since when; None without one."""
        with self._condition:
            return self._current

    def submit(self, job: Job, number: int = 0, payload: Spots | Values | None = None) -> None:
        """Have a job done next, instead of one that waits."""
        with self._condition:
            self._next = (job, number, payload)
            self._condition.notify()

    def rescue(self, number: int) -> None:
        """Make the device safe from another thread, since its own hangs; one at a time."""
        with self._condition:
            if self._rescuing:
                return
            self._rescuing = True
        threading.Thread(target=self._rescue, args=(number,), daemon=True).start()

    def collect(self) -> list[Done]:
        """Return what has been done since the last call."""
        found = []
        while self._done:
            found.append(self._done.popleft())
        return found

    def _run(self) -> None:
        while True:
            with self._condition:
                self._current = None
                while self._next is None:
                    self._condition.wait()
                job, number, payload = self._next
                self._next = None
                self._current = job, number, time.monotonic()
            self._do(job, number, payload)
            if job == "disconnect":
                with self._condition:
                    self._current = None
                return

    def _rescue(self, number: int) -> None:
        self._do("rescue", number, None)
        with self._condition:
            self._rescuing = False
        self._notify()

    def _do(self, job: Job, number: int, payload: Spots | Values | None) -> None:
        issued, error = time.monotonic(), ""
        try:
            if job == "connect":
                self.device.connect(self._mock)
            elif job == "disconnect":
                self.device.disconnect()
            elif job == "write":
                issued = self._write(payload)
            else:
                self.device.safe()
        except BaseException as raised:  # even SystemExit: this thread has to go on
            error = str(raised) if isinstance(raised, DeviceError) else repr(raised)
            error = error or type(raised).__name__
        self._done.append(Done(job, number, issued, time.monotonic(), error))
        self._notify()

    def _write(self, payload: Spots | Values | None) -> float:
        spec = self.device.spec
        if isinstance(payload, Spots) and isinstance(self.device, PatternOutput):
            assert spec.shape is not None
            pattern = render_spots(payload, spec.shape, spec.channels[0].high)
            issued = time.monotonic()
            self.device.show(pattern)
        elif isinstance(payload, Values) and isinstance(self.device, ValueOutput):
            issued = time.monotonic()
            self.device.write(payload.value)
        else:
            raise DeviceError(f"{spec.name} does not take {type(payload).__name__}.")
        return issued
