"""The states of the hardware, and everything that leads from one to another.

DISCONNECTED → CONFIGURED → ARMED → ACTIVE, and FAULT, which only a person leaves. It never waits:
`tick` is called every few milliseconds, `handle` for every message of the loop.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, final

from swarmctl.bridge.orders import Order, Receipt, Report, Spots, Standing
from swarmctl.bridge.rig import Rig
from swarmctl.bridge.supervisor.arming import arming_reasons, interlock_reasons
from swarmctl.bridge.supervisor.audit import AuditLog
from swarmctl.bridge.supervisor.criteria import (
    Pace,
    Seen,
    Trip,
    begin_watch,
    jumped,
    overdue,
    saw_beat,
    saw_order,
    too_old,
)
from swarmctl.bridge.supervisor.doses import DoseMemory
from swarmctl.bridge.supervisor.guarded import REACTION, GuardedOutput
from swarmctl.bridge.supervisor.interlock_reader import InterlockReader
from swarmctl.bridge.supervisor.latch import STEP, FaultLatch
from swarmctl.bridge.supervisor.messages import (
    read_evidence,
    read_order,
    receipt_message,
    report_message,
    specs_fields,
)
from swarmctl.bridge.supervisor.order_book import OrderBook
from swarmctl.bridge.supervisor.passages import Clearing, Closing, Opening, Passage
from swarmctl.bridge.supervisor.wire import Message
from swarmctl.core.errors import CommandError, LinkError, RecordError


@final
class StateMachine:
    """The supervisor's decisions. One thread owns it.

    Attributes:
        standing: state of the hardware.
        finished: whether everything is let go of.

    Args:
        rig: the set-up.
        outputs: by name, not connected.
        interlock: reads the interlock; None if there is none.
        doses: of the supervisor before, and for the next one.
        pace: of the camera.
        audit: the audit log.
        say: sends a message to the loop; never waits.
    """

    def __init__(
        self,
        rig: Rig,
        outputs: Mapping[str, GuardedOutput],
        interlock: InterlockReader | None,
        doses: DoseMemory,
        pace: Pace,
        audit: AuditLog,
        say: Callable[[Message], None],
    ) -> None:
        now = time.monotonic()
        self.standing = Standing.DISCONNECTED
        self.finished = False
        self._rig, self._watch, self._outputs = rig, rig.supervisor, outputs
        self._interlock, self._doses, self._pace = interlock, doses, pace
        self._audit, self._say = audit, say
        self._book = OrderBook(audit, self._give)
        self._seen = Seen(now, now)
        self._operator = ""
        self._narrow = False
        self._armed_at = math.inf
        self._latch = FaultLatch(outputs, audit, rig.supervisor.ramp)
        self._passage: Passage | None = None
        self._passage_id = -1
        self._stopped = ""
        self._awake = math.inf
        self._resting = self._rested = False
        self._next_step = 0.0

    def handle(self, message: Message, now: float) -> None:
        """Act on a message of the loop. Raises LinkError for what is none."""
        self._wake(now)
        fields = message.fields
        try:
            if message.kind == "order":
                self._obey(read_order(message), now)
            elif message.kind == "beat":
                self._hear(int(fields["frame"]), float(fields["exposed"]), now)
            elif message.kind == "rest":
                self._rest(str(fields["reason"]))
            elif message.kind == "stop":
                self.trip(Trip(f"emergency stop: {fields['reason']}", now, stop=True), now)
            elif message.kind == "request":
                self._ask(fields, now)
            else:
                raise LinkError(f"a message of the kind {message.kind!r} is not known.")
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise LinkError(f"a message {message.kind!r} cannot be read: {error!r}.") from None

    def tick(self, now: float) -> None:
        """Do what is due."""
        self._wake(now)
        for name, output in self._outputs.items():
            for done in output.tick(now):
                if done.job == "write":
                    self._book.done(name, done, self._operator)
                elif done.job != "connect":
                    self._audit.record(done.job, output=name, told=done.issued, **_answer(done))
                if done.error and done.job not in ("connect", "disconnect"):
                    self.trip(Trip(f"{name}: {done.error}", done.confirmed), now)
        if self.standing in (Standing.ARMED, Standing.ACTIVE):
            self._look(now)
        if self.standing is Standing.ACTIVE:
            if self._resting:
                self._rest_on(now)
            self._pump(now)
        if self.standing is Standing.FAULT:
            self._latch.tick(now)
        if self._passage is not None:
            self._pass(self._passage, now)

    def trip(self, trip: Trip, now: float) -> None:
        """Go to FAULT, every output to its safe values."""
        if trip.stop and (self._passage is not None or self.standing is Standing.DISCONNECTED):
            self._stopped = trip.reason
        if self.standing in (Standing.DISCONNECTED, Standing.FAULT):
            self._latch.also(trip, now)
            return
        active = self.standing is Standing.ACTIVE
        self.standing, self._resting = Standing.FAULT, False
        self._latch.trip(trip, now, self._operator, active)
        self._book.abandon(f"not known to be done: {trip.reason}", self._operator)

    def lost(self, now: float) -> None:
        """Act on the end of the loop: safe, and then the end."""
        if self.standing in (Standing.ARMED, Standing.ACTIVE):
            self.trip(Trip("the loop has gone", now), now)
        self._begin("close", -1, "", now)

    def fail(self, what: str, now: float) -> None:
        """Act on a failure of this program itself: safe, and then the end."""
        self._latch.make_safe(now)
        self._audit.record("failure", traceback=what)
        self.trip(Trip(f"the supervisor failed: {what.strip().splitlines()[-1]}", now), now)
        self.lost(now)

    def report(self, now: float) -> Report:
        """Return how things stand."""
        reading = self._interlock.reading if self._interlock else None
        return Report(
            self.standing,
            self._latch.words(now, self._watch.confirm),
            now,
            self._latch.issued,
            self._latch.confirmed,
            None if reading is None else reading.closed,
            self._operator,
        )

    def _give(self, receipt: Receipt) -> None:
        self._say(receipt_message(receipt))

    def _hear(self, frame: int, exposed: float, now: float) -> None:
        if self.standing is not Standing.ACTIVE or self._resting:
            # Frames may begin anew between two times of action.
            self._seen = replace(self._seen, beat=now, frame=frame, exposed=min(exposed, now))
            return
        self._take(saw_beat(self._seen, frame, exposed, now), now)

    def _take(self, seen: Seen | Trip, now: float) -> bool:
        if isinstance(seen, Trip):
            self.trip(seen, now)
            return False
        self._seen = seen
        return True

    def _obey(self, order: Order, now: float) -> None:
        unknown = set(order.outputs) - set(self._outputs)
        if unknown:
            raise LinkError(f"order {order.number} names unknown outputs: {sorted(unknown)}.")
        # An order may rest on a frame before the newest one, which a heartbeat has told of.
        newest = order.frame >= self._seen.frame or self.standing is not Standing.ACTIVE
        seen = (order.frame, order.exposed) if newest else (self._seen.frame, self._seen.exposed)
        self._hear(*seen, now)
        if order.dry:
            tried = {
                name: self._outputs[name].try_dry(asked, order.number, now)
                for name, asked in order.outputs.items()
            }
            self._book.dry(order, tried, self._operator)
            return
        if self.standing is not Standing.ACTIVE or self._resting:
            state = "is coming to rest" if self._resting else f"is {self.standing.name}"
            self._book.refuse(order, f"the hardware {state}", self._operator)
            return
        late = too_old(order, self._watch, self._pace, now)
        if late:
            self._book.refuse(order, f"the order {late}", self._operator)
            return
        # Probing may begin on an empty glass.
        least = 0 if self._narrow else self._watch.least_found
        watch = replace(self._watch, least_found=least)
        taken = self._take(saw_order(self._seen, order, watch, now), now)
        wrong = self._wrong(order) if taken else ""
        if wrong:
            self.trip(Trip(wrong, now), now)
        if wrong or not taken:
            self._book.refuse(order, self._latch.reason, self._operator)
            return
        self._book.begin(order)
        for name, output in self._outputs.items():
            again = order.outputs.get(name, output.asked)
            if again is not None:
                replaced = output.offer(again, order.number)
                self._book.replaced(name, replaced, self._operator)
        self._pump(now)

    def _wrong(self, order: Order) -> str:
        """Say what is wrong with what an order asks for, "" if nothing is."""
        for name, asked in order.outputs.items():
            output = self._outputs[name]
            try:
                output.check(asked)
            except CommandError as error:
                return f"{name}: {error}"
            if isinstance(asked, Spots) and isinstance(output.asked, Spots):
                words = jumped(output.asked, asked, self._watch.jump)
                if words:
                    return f"{name}: {words}"
        return ""

    def _pump(self, now: float) -> None:
        for name, output in self._outputs.items():
            passed = output.pump(now, self._narrow)
            if passed is not None:
                self._book.passed(name, passed)

    def _wake(self, now: float) -> None:
        """Trip if this program itself stood still: limits count on orders ending in time."""
        late = self._awake + REACTION
        if self.standing is Standing.ACTIVE and now > late:
            still = now - self._awake
            self.trip(Trip(f"the supervisor itself stood still for {still:.2f} s", late), now)
        self._awake = now

    def _look(self, now: float) -> None:
        """Look at everything that may trip."""
        reading = self._interlock.reading if self._interlock else None
        wrong = interlock_reasons(reading, self._watch.interlock_age, now)
        if wrong and reading is not None:
            silent = reading.time + self._watch.interlock_age
            self.trip(Trip(wrong[0], silent if now > silent else reading.time), now)
        self._audit.look(now)
        if self._audit.error:
            self.trip(Trip(self._audit.error, now), now)
        for name, output in self._outputs.items():
            stuck = output.stuck(now)
            if stuck > self._watch.confirm:
                since = now - stuck + self._watch.confirm
                self.trip(Trip(f"{name}: the device does not return from a call", since), now)
        if self._narrow and now > self._armed_at + self._watch.probing.duration:
            over = self._armed_at + self._watch.probing.duration
            self.trip(Trip("the time for probing is over", over, True), now)
        if self.standing is Standing.ACTIVE and not self._resting:
            found = overdue(self._seen, self._watch, self._pace, now)
            if found is not None:
                self.trip(found, now)

    def _rest(self, reason: str) -> None:
        if self.standing is Standing.ACTIVE and not self._resting:
            self._resting, self._rested = True, False
            self._next_step = 0.0
            self._audit.record("rest", reason=reason, operator=self._operator)
            self._book.abandon(f"coming to rest: {reason}", self._operator)

    def _rest_on(self, now: float) -> None:
        """Come down within the slew limits; then the safe values once more, from the device."""
        if now < self._next_step:
            return
        self._next_step = now + STEP
        moving = [o for o in self._outputs.values() if not o.resting]
        for output in moving:
            output.ask_safe_state()
        if moving:
            return
        if all(output.safe for output in self._outputs.values()):
            self._resting = False
            self.standing = Standing.ARMED
        elif not self._rested:
            self._rested = True
            self._latch.make_safe(now)

    def _ask(self, fields: Mapping[str, Any], now: float) -> None:
        """Begin what the loop requests."""
        verb, number = str(fields["verb"]), int(fields["id"])
        operator = str(fields.get("operator", ""))
        if verb == "close":
            self._begin(verb, number, operator, now)
            return
        if self._passage is not None:
            self._reply(number, f"{self._passage.verb} is not done yet")
            return
        expected = {
            "open": (Standing.DISCONNECTED,),
            # Armed for probing, it is armed again with what the probe has shown.
            "arm": (Standing.CONFIGURED, Standing.ARMED),
            "activate": (Standing.ARMED,),
            "clear": (Standing.FAULT,),
        }
        if verb not in expected:
            raise LinkError(f"the request {verb!r} is not known.")
        if self.standing not in expected[verb]:
            fault = f" ({self._latch.reason})" if self._latch.reason else ""
            self._reply(
                number,
                f"the hardware is {self.standing.name}{fault}; to {verb} it has to be "
                f"{' or '.join(standing.name for standing in expected[verb])}",
            )
        elif verb == "arm":
            self._arm(number, operator, fields, now)
        elif verb == "activate":
            self._activate(number, now)
        elif verb == "clear" and not operator.strip():
            self._reply(number, "nobody is named who clears it")
        else:
            self._begin(verb, number, operator, now)

    def _keep_doses(self) -> str:
        try:
            self._doses.end()
        except RecordError as error:
            return str(error)
        return ""

    def _reply(self, number: int, error: str = "", **fields: Any) -> None:
        # The loop must not find an older state after the answer.
        self._say(report_message(self.report(time.monotonic())))
        self._say(Message("answer", {"id": number, "error": error, **fields}))

    def _arm(self, number: int, operator: str, fields: Mapping[str, Any], now: float) -> None:
        evidence = read_evidence(fields["evidence"])
        reasons = arming_reasons(
            operator,
            evidence,
            self._outputs.values(),
            self._interlock.reading if self._interlock else None,
            self._watch.interlock_age,
            self._rig.digest,
            now,
            time.time(),
        )
        if self._audit.error:
            reasons.append(self._audit.error)
        if now < self._doses.unknown_until:
            reasons.append(
                "nobody knows what the outputs did before, since the last supervisor was killed "
                "or the rig's limits were changed; wait until the window of the limits has passed, "
                f"{self._doses.unknown_until - now:.0f} s"
            )
        if not reasons:
            try:
                self._doses.begin()
            except RecordError as error:
                reasons.append(str(error))
        self._audit.record(
            "arm", operator=operator, evidence=fields["evidence"], refused=list(reasons)
        )
        if reasons:
            # What was armed before, such as for probing, must not outlive a refusal.
            self.standing, self._operator = Standing.CONFIGURED, ""
            self._reply(number, "; ".join(reasons))
            return
        self.standing, self._operator = Standing.ARMED, operator
        self._narrow, self._armed_at = evidence is None, now
        self._reply(number)

    def _activate(self, number: int, now: float) -> None:
        late = [name for name, output in self._outputs.items() if not output.safe]
        if late:
            self._reply(number, f"not known to be safe: {', '.join(late)}")
            return
        self._audit.record("activate", operator=self._operator, probing=self._narrow)
        self.standing = Standing.ACTIVE
        self._seen = begin_watch(self._seen, now)
        self._reply(number)

    def _begin(self, verb: str, number: int, operator: str, now: float) -> None:
        """Begin a passage that waits for devices."""
        self._passage_id = number
        common = self._outputs, self._latch
        if verb == "open":
            self._passage = Opening(*common, self._interlock, self._watch.confirm, now)
        elif verb == "clear":
            self._stopped = ""
            self._audit.retry()
            self._audit.record("clear", operator=operator, fault=self._latch.reason)
            self._passage = Clearing(*common, self._interlock, self._audit, self._watch, now)
        else:
            if self.standing is Standing.ACTIVE:  # from now on no order is obeyed
                self.standing, self._resting = Standing.ARMED, False
                self._book.abandon("not known to be done: the supervisor is closed", operator)
            self._passage = Closing(*common, self._audit, self._watch.confirm, now)

    def _pass(self, passage: Passage, now: float) -> None:
        """Go on with a passage, and change the state at its end."""
        error = passage.tick(now)
        if error is None:
            return
        self._passage = None
        if passage.verb != "close":  # neither opened nor cleared if a stop came meanwhile
            error = error or self._stopped
        fields: dict[str, Any] = {}
        if passage.verb == "close":
            if not error:
                error = self._keep_doses()
            self.standing, self.finished = Standing.DISCONNECTED, True
        elif not error:
            self.standing, self._operator = Standing.CONFIGURED, ""
            self._latch.reset()
            specs = {name: output.spec for name, output in self._outputs.items()}
            fields = {"outputs": specs_fields(specs)}
        self._reply(self._passage_id, error, **fields)


def _answer(done: Any) -> dict[str, Any]:
    return {"confirmed": done.confirmed, "error": done.error}
