"""Orders whose outputs have not all answered, and what becomes of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, final

from swarmctl.bridge.orders import Order, Receipt
from swarmctl.bridge.supervisor.audit import AuditLog
from swarmctl.bridge.supervisor.gates import Payload
from swarmctl.bridge.supervisor.guarded import Passed
from swarmctl.bridge.supervisor.writer import Done


@dataclass
class _Open:
    order: Order
    waiting: set[str]
    sent: dict[str, Payload] = field(default_factory=dict)
    limited: dict[str, str] = field(default_factory=dict)
    issued: float = math.nan
    confirmed: float = math.nan


@final
class OrderBook:
    """Collects what outputs did of every order; then gives a receipt and a line of the audit log.

    Args:
        audit: where orders are written.
        give: called with every receipt.
    """

    def __init__(self, audit: AuditLog, give: Callable[[Receipt], None]) -> None:
        self._audit = audit
        self._give = give
        self._open: dict[int, _Open] = {}

    def begin(self, order: Order) -> None:
        """Wait for all outputs that an order names."""
        self._open[order.number] = _Open(order, set(order.outputs))
        if not order.outputs:
            self._finish(order.number, "")

    def passed(self, name: str, passed: Passed) -> None:
        """Take note of what an output was told."""
        entry = self._open.get(passed.number)
        if entry is None or name not in entry.order.outputs:
            if passed.words:
                self._audit.record(
                    "held",
                    number=passed.number,
                    output=name,
                    limited=passed.words,
                    sent=passed.sent,
                )
            return
        entry.sent[name] = passed.sent
        if passed.words:
            entry.limited[name] = passed.words

    def done(self, name: str, done: Done, operator: str) -> None:
        """Take note that an output has done what it was told."""
        entry = self._open.get(done.number)
        if entry is None or name not in entry.waiting:
            return
        entry.waiting.discard(name)
        entry.issued = max(done.issued, _or_low(entry.issued))
        entry.confirmed = max(done.confirmed, _or_low(entry.confirmed))
        if not entry.waiting:
            self._finish(done.number, operator)

    def replaced(self, name: str, number: int, operator: str) -> None:
        """Take note that an order to an output was replaced before the output was free."""
        entry = self._open.get(number)
        if entry is not None and name in entry.waiting:
            entry.waiting.discard(name)
            entry.limited[name] = "not sent: replaced by a newer order before the device was free"
            if not entry.waiting:
                self._finish(number, operator)

    def refuse(self, order: Order, why: str, operator: str) -> None:
        """Answer an order that is not obeyed."""
        limited = dict.fromkeys(order.outputs, f"not sent: {why}")
        self._write(order, {}, limited, math.nan, math.inf, operator)

    def dry(self, order: Order, passed: Mapping[str, Passed], operator: str) -> None:
        """Answer an order that is only written down, with what would have been sent."""
        sent = {name: p.sent for name, p in passed.items() if not p.words.startswith("refused")}
        limited = {name: p.words for name, p in passed.items() if p.words}
        self._write(order, sent, limited, math.nan, math.inf, operator)

    def abandon(self, why: str, operator: str) -> None:
        """Answer all open orders: they are done no more."""
        for number in sorted(self._open):
            entry = self._open[number]
            for name in entry.waiting:
                words = entry.limited.get(name)
                entry.limited[name] = f"{words}; {why}" if words else why
            entry.confirmed = math.inf
            self._finish(number, operator)

    def _finish(self, number: int, operator: str) -> None:
        entry = self._open.pop(number)
        self._write(entry.order, entry.sent, entry.limited, entry.issued, entry.confirmed, operator)

    def _write(
        self,
        order: Order,
        sent: Mapping[str, Payload],
        limited: Mapping[str, str],
        issued: float,
        confirmed: float,
        operator: str,
    ) -> None:
        self._give(Receipt(order.number, sent, limited, issued, confirmed))
        same = {n: "as requested" if order.outputs.get(n) is p else p for n, p in sent.items()}
        about: dict[str, Any] = {n: v for n, v in vars(order).items() if n != "outputs"}
        self._audit.record(
            "order",
            **about,
            requested=dict(order.outputs),
            sent=same,
            limited=dict(limited),
            told=issued,
            confirmed=confirmed,
            operator=operator,
        )


def _or_low(value: float) -> float:
    return -math.inf if math.isnan(value) else value
