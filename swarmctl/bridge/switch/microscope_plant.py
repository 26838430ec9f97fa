"""A microscope as the plant of the bridge."""

from __future__ import annotations

import time
from collections.abc import Sequence

from swarmctl.bridge.calibration import Figure, calibration_faults
from swarmctl.bridge.microscope.engine import MicroscopeEngine
from swarmctl.bridge.orders import Standing
from swarmctl.bridge.switch.plant import Plant
from swarmctl.core.command import Command
from swarmctl.core.contracts import Transition
from swarmctl.core.state import SwarmState

REST_TIME = 2.0
"""Longest time in s until outputs have gone to their safe values within their slew limits."""
ENOUGH = 50
"""So many last measurements of a run count instead of the calibration's, once there are as many."""
PARTS = ("frame", "command", "light")


class MicroscopePlant(Plant):
    """Outputs are live only while the bridge says so; all else is written to the audit log.

    Args:
        engine: a microscope; it is dry from now on.
    """

    engine: MicroscopeEngine

    def __init__(self, engine: MicroscopeEngine) -> None:
        self.engine = engine
        engine.dry = True

    @property
    def delay(self) -> float:
        """Sum of the medians: exposure → frame → command → light, as measured of late or, before
        there is enough, in the calibration; and light → motion, from the calibration.
        """
        known = self.engine.calibration.delay
        measured = self.engine.latencies
        parts: list[Figure | None] = [known.motion]
        for name in PARTS:
            figure = measured.figure(name, ENOUGH)
            enough = figure is not None and figure.count >= ENOUGH
            parts.append(figure if enough else getattr(known, name))
        return _sum(parts)

    @property
    def known_delay(self) -> float:
        """Sum of the medians of the calibration."""
        known = self.engine.calibration.delay
        return _sum([known.motion, *(getattr(known, name) for name in PARTS)])

    def reasons(self) -> list[str]:
        """Calibration, interlock, and what the supervisor says."""
        engine = self.engine
        found = list(calibration_faults(engine.calibration, engine.rig))
        if engine.calibration.delay.motion is None:
            found.append("the calibration does not say how late colloids respond: part 'delay'")
        report = engine.gatekeeper.report()
        if report.standing is Standing.FAULT:
            found.append(f"the outputs are in FAULT: {report.fault}")
        if report.interlock is False:
            found.append("the interlock is open")
        return found

    def arm(self, operator: str) -> None:
        """Arm the outputs, anew if they are; a spot is looked for in the image before."""
        self.engine.arm(operator)
        self.engine.dry = False

    def reset(self, seed: int) -> SwarmState:
        """Watch colloids for a while, with outputs at rest, and begin."""
        live = not self.engine.dry
        self.rest("an episode begins")
        self.engine.dry = not live
        return self.engine.reset(seed)

    def rest(self, reason: str) -> None:
        """Let the outputs rest; returns when the supervisor says that they do."""
        self.engine.dry = True
        gatekeeper = self.engine.gatekeeper
        if gatekeeper.report().standing is not Standing.ACTIVE:
            return
        gatekeeper.rest(reason)
        end = self.engine.clock() + REST_TIME
        while gatekeeper.report().standing is Standing.ACTIVE and self.engine.clock() < end:
            time.sleep(0.005)

    def stop(self, reason: str) -> None:
        """Emergency stop."""
        self.engine.dry = True
        self.engine.gatekeeper.stop(reason)

    def clear(self, operator: str) -> None:
        """Clear the fault of the outputs, if there is one."""
        if self.engine.gatekeeper.report().standing is Standing.FAULT:
            self.engine.gatekeeper.clear(operator)

    def step(self, command: Command, live: bool) -> Transition:
        """One control interval at the microscope."""
        self.engine.dry = not live
        return self.engine.step(command)


def _sum(parts: Sequence[Figure | None]) -> float:
    return sum(part.median for part in parts if part is not None)
