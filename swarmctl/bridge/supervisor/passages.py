"""Passages between states that wait for devices: opening, clearing a fault, closing.

Each is asked again and again by `tick`, which returns None until it is over, then what went wrong,
"" if nothing did. None of them waits.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import final

from swarmctl.bridge.supervisor.arming import interlock_reasons
from swarmctl.bridge.supervisor.audit import AuditLog
from swarmctl.bridge.supervisor.guarded import GuardedOutput
from swarmctl.bridge.supervisor.interlock_reader import InterlockReader
from swarmctl.bridge.supervisor.latch import FaultLatch
from swarmctl.bridge.supervisor.watch import WatchConfig


class Passage(ABC):
    """A passage between two states.

    Attributes:
        verb: what it does.
    """

    verb: str

    @abstractmethod
    def tick(self, now: float) -> str | None:
        """Go on; return None until it is over, then what went wrong, "" if nothing did."""


@final
class Opening(Passage):
    """Connects all outputs and makes them safe."""

    verb = "open"

    def __init__(
        self,
        outputs: Mapping[str, GuardedOutput],
        latch: FaultLatch,
        interlock: InterlockReader | None,
        patience: float,
        now: float,
    ) -> None:
        self._outputs, self._latch, self._interlock = outputs, latch, interlock
        self._until = now + patience
        self._told = False
        for output in outputs.values():
            output.connect()

    def tick(self, now: float) -> str | None:
        """Connect, then make safe, then hear the interlock."""
        outputs = self._outputs.values()
        wrong = [f"{name}: {o.error}" for name, o in self._outputs.items() if o.error]
        if wrong:
            return "; ".join(wrong)
        if not all(output.connected for output in outputs):
            return None
        if not self._told:
            self._told = True
            self._latch.make_safe(now)
        # An interlock that does not answer is a reason not to arm, not one not to open.
        silent = self._interlock is not None and not math.isfinite(self._interlock.reading.time)
        if (silent and now < self._until) or not all(output.safe for output in outputs):
            return None
        return ""


@final
class Clearing(Passage):
    """Makes all outputs safe once more and sees whether what was wrong still is."""

    verb = "clear"

    def __init__(
        self,
        outputs: Mapping[str, GuardedOutput],
        latch: FaultLatch,
        interlock: InterlockReader | None,
        audit: AuditLog,
        watch: WatchConfig,
        now: float,
    ) -> None:
        self._outputs, self._interlock, self._audit = outputs, interlock, audit
        self._watch = watch
        self._until = now + watch.confirm
        latch.make_safe(now)

    def tick(self, now: float) -> str | None:
        """Look at everything that may have been the cause."""
        reading = self._interlock.reading if self._interlock else None
        wrong = interlock_reasons(reading, self._watch.interlock_age, now)
        wrong += [f"{name}: {o.error}" for name, o in self._outputs.items() if o.error]
        wrong += [self._audit.error] if self._audit.error else []
        waiting = [name for name, output in self._outputs.items() if not output.safe]
        waiting += [] if self._audit.idle else ["the audit log"]
        if waiting and now < self._until:
            return None
        return "; ".join(wrong + [f"{name} does not answer" for name in waiting])


@final
class Closing(Passage):
    """Makes all outputs safe and lets go of them; nobody waits longer than devices may take."""

    verb = "close"

    def __init__(
        self,
        outputs: Mapping[str, GuardedOutput],
        latch: FaultLatch,
        audit: AuditLog,
        patience: float,
        now: float,
    ) -> None:
        self._outputs, self._audit, self._patience = outputs, audit, patience
        self._until = now + patience
        self._unsafe: list[str] | None = None
        if not latch.reason:
            latch.make_safe(now)

    def tick(self, now: float) -> str | None:
        """Make safe, then let go."""
        outputs = self._outputs.values()
        late = now > self._until
        if self._unsafe is None:
            if late or all(output.safe or not output.connected for output in outputs):
                self._unsafe = [n for n, o in self._outputs.items() if o.connected and not o.safe]
                self._until = now + self._patience
                for output in outputs:
                    output.disconnect()
            return None
        if not late and not all(output.idle for output in outputs):
            return None
        self._audit.record("close", unsafe=self._unsafe)
        unsafe = ", ".join(self._unsafe)
        return f"not known to be safe: {unsafe}" if unsafe else ""
