"""One output with its gate, its ledger and its writer: the only way to a device."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, final

from swarmctl.bridge.devices.contract import Output
from swarmctl.bridge.orders import Spots, Values
from swarmctl.bridge.rig import OutputEntry
from swarmctl.bridge.supervisor.gates import (
    Payload,
    faded,
    is_safe,
    make_gate,
    probing_limits,
)
from swarmctl.bridge.supervisor.watch import WatchConfig
from swarmctl.bridge.supervisor.windows import Window
from swarmctl.bridge.supervisor.writer import Done, OutputWriter
from swarmctl.core.errors import CommandError

REACTION = 0.15
"""s from a criterion until the last output is told to be safe: what this package promises."""
RESCUE_AFTER = 0.1
"""s that another call may last once the device should be safe, before a second thread calls it."""
RETRY = 0.1
"""s between calls of a device that says that it could not be made safe."""


@dataclass(frozen=True)
class Passed:
    """What went through the gate: for which order, what was asked and sent, and what was cut."""

    number: int
    asked: Payload
    sent: Payload
    words: str


@final
class GuardedOutput:
    """An output of a rig. Not thread-safe: the supervisor's main loop owns it.

    Attributes:
        window: s, over which doses are counted.
        connected: whether the device has said that it is.
        safe_issued, safe_confirmed: s of time.monotonic(), when the device was told to be safe, and
            said that it is, since `make_safe`; inf if not.
        error: the last error of the device, "" if its last call went well.

    Args:
        entry: the output's entry in the rig.
        device: its device, not connected.
        watch: criteria of the supervisor.
        notify: called from another thread when the device has done something.
        now: s of time.monotonic().

    Raises ConfigError if limits and device do not fit together.
    """

    def __init__(
        self,
        entry: OutputEntry,
        device: Output,
        watch: WatchConfig,
        notify: Callable[[], None],
        now: float,
    ) -> None:
        self.name, self.spec = entry.name, device.spec
        self.unguarded, self.window = entry.unguarded, entry.limits.window
        self._hold = hold = watch.expiry + REACTION
        self._dry_until = now
        where = f"outputs.{entry.name}.limits"
        self._gate = make_gate(entry.limits, self.spec, hold, where)
        scale = watch.probing.scale
        narrow = probing_limits(entry.limits, self.spec, scale)
        self._narrow = make_gate(narrow, self.spec, hold, where)
        self._ledger: Any = self._gate.open(now)
        self._dry_ledger: Any = self._gate.open(now)
        self._writer = OutputWriter(entry.name, device, entry.mock, notify)
        self._asked: Payload | None = None
        self._number = -1
        self._waiting = False
        self._sent: Payload | None = None
        self._safe_call = 0
        self._safe_wanted = self._safe_said = math.inf
        self._retry_at = math.inf
        self.connected = False
        self.safe_issued = self.safe_confirmed = math.inf
        self.error = ""

    @property
    def safe(self) -> bool:
        """Whether the device has said that it is safe, and nothing was sent since."""
        return math.isfinite(self.safe_confirmed)

    @property
    def idle(self) -> bool:
        """Whether the device has nothing to do."""
        return self._writer.idle

    @property
    def asked(self) -> Payload | None:
        """What was asked last, None if nothing is to be done."""
        return self._asked

    @property
    def resting(self) -> bool:
        """Whether what was sent last is the safe state."""
        return self._sent is None or is_safe(self._sent, self.spec)

    def doses(self) -> dict[str, Window]:
        """Return what was done within the window, by name."""
        return self._gate.doses(self._ledger)

    def resume(self, windows: Mapping[str, Window], now: float) -> None:
        """Go on with what an earlier supervisor has done; the output is safe now."""
        self._ledger = self._gate.settle(self._gate.resume(self._ledger, windows), now)

    def connect(self) -> None:
        """Begin to connect the device."""
        self._writer.submit("connect")

    def disconnect(self) -> None:
        """Begin to let go of the device; its writer ends."""
        self._writer.submit("disconnect")
        self.connected = False

    def check(self, asked: Payload) -> None:
        """Raise CommandError unless this output takes what is asked, in shape and in number."""
        self._gate.check(asked)

    def offer(self, asked: Payload, number: int) -> int:
        """Have something sent as soon as the device is free; return the number it replaces, or -1.

        Only the newest is kept, and it passes the gate when it is sent.
        """
        replaced = self._number if self._waiting and self._number != number else -1
        self._asked, self._number, self._waiting = asked, number, True
        return replaced

    def pump(self, now: float, narrow: bool) -> Passed | None:
        """Send what waits if the device is free; return what passed.

        `narrow` takes the limits for probing.
        """
        if not (self._waiting and self._asked is not None and self._writer.idle):
            return None
        gate = self._narrow if narrow else self._gate
        sent, words, self._ledger = gate.send(self._asked, self._ledger, now)
        self._waiting, self._sent = False, sent
        self._safe_wanted = self._safe_said = math.inf
        self.safe_issued = self.safe_confirmed = math.inf
        self._writer.submit("write", self._number, sent)
        return Passed(self._number, self._asked, sent, words)

    def try_dry(self, asked: Payload, number: int, now: float) -> Passed:
        """Pass something through the gate that is not sent; the words say if it is no order."""
        if now > self._dry_until:  # nothing would have been done since
            self._dry_ledger = self._gate.settle(self._dry_ledger, self._dry_until)
        self._dry_until = now + self._hold
        try:
            self._gate.check(asked)
            sent, words, self._dry_ledger = self._gate.send(asked, self._dry_ledger, now)
        except CommandError as error:
            safe = Spots.none() if isinstance(asked, Spots) else Values(asked.value[:0])
            return Passed(number, asked, safe, f"refused: {error}")
        return Passed(number, asked, sent, words)

    def ask_safe_state(self) -> None:
        """Ask for the safe values within the slew limits. Light may fall at once."""
        if self._sent is not None:
            self.offer(faded(self._sent, self.spec, 0.0), self._number)

    def fade(self, share: float) -> None:
        """Send a share of what was sent last, less each time."""
        if self._sent is not None and not self.resting and self._writer.idle:
            self._writer.submit("write", -1, faded(self._sent, self.spec, share))

    def forget(self) -> None:
        """Drop what waits to be sent."""
        self._asked, self._waiting = None, False

    def make_safe(self, now: float) -> None:
        """Have the device brought to its safe values, before anything else."""
        self.forget()
        self._safe_call += 1
        self._safe_wanted, self._safe_said = now, math.inf
        self._retry_at = math.inf
        self.safe_issued = self.safe_confirmed = math.inf
        self._writer.submit("safe", self._safe_call)

    def tick(self, now: float) -> list[Done]:
        """Take note of what the device has done, and go on making it safe; return what was done."""
        found = self._writer.collect()
        for done in found:
            self._note(done)
        if math.isfinite(self._safe_wanted) and not self.safe:
            current = self._writer.current()
            if current is not None and current[:2] == ("safe", self._safe_call):
                self.safe_issued = min(self.safe_issued, current[2])
            elif current is not None and now - self._safe_wanted > RESCUE_AFTER:
                if not math.isfinite(self.safe_issued):
                    self.safe_issued = now
                    self._writer.rescue(self._safe_call)
            elif now >= self._retry_at:
                self._retry_at = math.inf
                self._writer.submit("safe", self._safe_call)
            if math.isfinite(self._safe_said) and self._writer.idle:
                self.safe_confirmed = self._safe_said
                self._sent = None
                self._ledger = self._gate.settle(self._ledger, self._safe_said)
        return found

    def _note(self, done: Done) -> None:
        self.error = done.error
        if done.job == "connect":
            self.connected = not done.error
        if done.job not in ("safe", "rescue") or done.number != self._safe_call:
            return
        self.safe_issued = min(self.safe_issued, done.issued)
        if done.error:
            self._retry_at = done.confirmed + RETRY
        elif done.job == "safe":
            # What a second thread achieves does not count: the call that hung may still act.
            self._safe_said = done.confirmed

    def stuck(self, now: float) -> float:
        """Return for how many s the device's present call has lasted, 0 without one."""
        current = self._writer.current()
        return 0.0 if current is None else max(now - current[2], 0.0)
