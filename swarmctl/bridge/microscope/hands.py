"""The acting half of the loop: a command becomes an order, and receipts say what was done."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from swarmctl.bridge.gatekeeper import Gatekeeper
from swarmctl.bridge.microscope.eyes import FrameRecord, Look
from swarmctl.bridge.microscope.steering import Aim, Steering
from swarmctl.bridge.microscope.timing import Latencies
from swarmctl.bridge.orders import Order, Standing
from swarmctl.bridge.rig import Rig
from swarmctl.core.command import Command
from swarmctl.core.errors import ArmingError

_WAITED_FOR = 64
"""Orders for whose receipts one waits at most."""


@dataclass(frozen=True)
class _Sent:
    """An order with what it was aimed at."""

    order: Order
    aim: Aim


@dataclass(frozen=True)
class Done:
    """What became of orders.

    Attributes:
        applied: what those came to that were sent.
        unsent: how many were not sent to the output, as it was busy or not ACTIVE.
        cut: what the gatekeeper cut or refused, in its words.
    """

    applied: list[Command]
    unsent: int
    cut: set[str]

    def joined(self, other: Done) -> Done:
        """Return both."""
        return Done(self.applied + other.applied, self.unsent + other.unsent, self.cut | other.cut)


class Hands:
    """Aims commands at what was seen, sends them as orders, and reads what became of them.

    Attributes:
        number: of the last order.
        latencies: figures of all frames and orders.

    Args:
        gatekeeper: open.
        steering: makes orders of commands.
        hold: brings a command within its limits, for those who act.
        rig: with its expiry and its lead.
        light_delay: s from an order to the light.
        clock: s.
    """

    def __init__(
        self,
        gatekeeper: Gatekeeper,
        steering: Steering,
        hold: Callable[[Command, np.ndarray], Command],
        rig: Rig,
        light_delay: float,
        clock: Callable[[], float],
    ) -> None:
        self.number = 0
        self.latencies = Latencies()
        self._gatekeeper, self._steering, self._hold = gatekeeper, steering, hold
        self._rig, self._light_delay, self._clock = rig, light_delay, clock
        self._sent: dict[int, _Sent] = {}

    def forget(self) -> None:
        """Begin anew: receipts of earlier orders do not count."""
        self._sent.clear()
        self._gatekeeper.receipts()

    def act(
        self, command: Command, look: Look, dry: bool, excluded: frozenset[int]
    ) -> tuple[FrameRecord, Command]:
        """Send a command as an order that rests on a look; return it with what it comes to.

        Outputs that are ARMED become ACTIVE, or come to rest if it is dry. Raises ArmingError if
        they may not be used, CapabilityError for what an output cannot do at all.
        """
        tracks, config = look.tracks, self._rig.steering
        aim = Aim.at(tracks, self._lead(look), config.blind, excluded)
        held = self._hold(command, aim.acts)
        outputs = self._steering.order(held, aim)
        planned = self._steering.applied(outputs, held, aim)
        self._prepare(dry)
        self.number += 1
        now = self._clock()
        order = Order(
            number=self.number,
            frame=look.shot.number,
            exposed=look.shot.exposed,
            issued=now,
            expires=now + self._rig.supervisor.expiry,
            found=look.found,
            outputs=outputs,
            dry=dry,
        )
        self._gatekeeper.send(order)
        self._sent[self.number] = _Sent(order, aim)
        timing = dataclasses.replace(look.timing, issued=now)
        self.latencies.add(timing)
        return FrameRecord(dataclasses.replace(look, timing=timing), order), planned

    def done(self, first: int, command: Command) -> Done:
        """Return what receipts that have come say was done of orders from number `first` on."""
        found: list[Command] = []
        unsent, cut = 0, set[str]()
        for receipt in self._gatekeeper.receipts():
            sent = self._sent.pop(receipt.number, None)
            if sent is None:
                continue
            self.latencies.confirm(receipt, sent.order.issued)
            if receipt.number < first:
                continue
            cut |= {f"{name}: {words}" for name, words in receipt.limited.items()}
            if sent.order.outputs.keys() - receipt.sent.keys():
                unsent += 1
            else:
                found.append(self._steering.applied(receipt.sent, command, sent.aim))
        for number in [n for n in self._sent if n < self.number - _WAITED_FOR]:
            del self._sent[number]
        return Done(found, unsent, cut)

    def _prepare(self, dry: bool) -> None:
        """Make outputs ACTIVE for orders that count, and let them rest for those that are dry."""
        report = self._gatekeeper.report()
        if dry:
            if report.standing is Standing.ACTIVE:
                self._gatekeeper.rest("orders are dry from now on")
        elif report.standing is Standing.ARMED:
            self._gatekeeper.activate()
        elif report.standing is not Standing.ACTIVE:
            raise ArmingError(
                f"the outputs are {report.standing.name}{': ' * bool(report.fault)}{report.fault}."
            )

    def _lead(self, look: Look) -> float:
        """Seconds from the exposure to the light of an order that is sent now."""
        given = self._rig.steering.lead
        if given is not None:
            return given
        return self._clock() - look.shot.exposed + self._light_delay
