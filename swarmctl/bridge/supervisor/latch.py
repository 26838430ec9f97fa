"""The fault that is latched, and how outputs come down after it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import final

from swarmctl.bridge.supervisor.audit import AuditLog
from swarmctl.bridge.supervisor.criteria import Trip
from swarmctl.bridge.supervisor.guarded import GuardedOutput

STEP = 0.01
"""s between two steps on the way down."""


@final
class FaultLatch:
    """Brings all outputs to their safe values after a fault and keeps what is known of it.

    Attributes:
        reason: of the fault, "" without one.
        issued, confirmed: s between its criterion and all outputs being told, and saying, that
            they are safe; nan without a fault, inf if they have not.

    Args:
        outputs: by name.
        audit: the audit log.
        ramp: s that outputs may take to come down after a soft fault.
    """

    def __init__(self, outputs: Mapping[str, GuardedOutput], audit: AuditLog, ramp: float) -> None:
        self._outputs, self._audit, self._ramp = outputs, audit, ramp
        self.reset()

    def reset(self) -> None:
        """Forget the fault."""
        self.reason = self._also = ""
        self._criterion = self.issued = self.confirmed = math.nan
        self._settled = True
        self._ramp_began, self._next_step = math.nan, 0.0

    def trip(self, trip: Trip, now: float, operator: str, active: bool) -> None:
        """Latch a fault; `active` says whether outputs may be away from their safe values."""
        self.reset()
        self.reason, self._criterion = trip.reason, trip.criterion
        self.issued = self.confirmed = math.inf
        self._settled = False
        if trip.soft and self._ramp > 0 and active:
            self._ramp_began = now
            for output in self._outputs.values():
                output.forget()
        else:
            self.make_safe(now)
        self._audit.record("fault", reason=trip.reason, criterion=trip.criterion, operator=operator)

    def also(self, trip: Trip, now: float) -> None:
        """Write down what else went wrong, once; it may leave no time for a ramp."""
        if math.isfinite(self._ramp_began) and not trip.soft:
            self._ramp_began = math.nan
            self.make_safe(now)
        if trip.reason not in (self.reason, self._also):
            self._audit.record("also", reason=trip.reason, criterion=trip.criterion)
        self._also = trip.reason

    def make_safe(self, now: float) -> None:
        """Have all outputs that are connected brought to their safe values."""
        for output in self._outputs.values():
            if output.connected:
                output.make_safe(now)

    def tick(self, now: float) -> None:
        """Go on with the ramp, and take note of what devices have said."""
        if math.isfinite(self._ramp_began):
            share = 1 - (now - self._ramp_began) / self._ramp
            if share <= 0:
                self._ramp_began = math.nan
                self.make_safe(now)
            elif now >= self._next_step:
                self._next_step = now + STEP
                for output in self._outputs.values():
                    output.fade(share)
        elif not self._settled:
            outputs = self._outputs.values()
            issued = max((output.safe_issued for output in outputs), default=now)
            confirmed = max((output.safe_confirmed for output in outputs), default=now)
            self.issued, self.confirmed = issued - self._criterion, confirmed - self._criterion
            if math.isfinite(confirmed):
                self._settled = True
                self._audit.record("all safe", issued=self.issued, confirmed=self.confirmed)

    def words(self, now: float, patience: float) -> str:
        """Return the reason, and who has not said that it is safe within `patience` s."""
        late = [name for name, output in self._outputs.items() if not output.safe]
        if not self.reason or not late or now < self._criterion + patience:
            return self.reason
        return f"{self.reason}; not known to be safe: {', '.join(late)}"
