"""The bridge: one engine that switches between a simulation and hardware."""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from swarmctl.bridge.switch.modes import GuardConfig, Mode
from swarmctl.bridge.switch.plant import Plant, tracked
from swarmctl.bridge.switch.prediction import FAULTS, doubts
from swarmctl.bridge.switch.probe import Probe, ProbeReport
from swarmctl.bridge.switch.twin import Twin
from swarmctl.bridge.switch.watch import Comparison, Watch
from swarmctl.core.command import Command, check_command
from swarmctl.core.contracts import Engine, Status, Transition
from swarmctl.core.disturbances import Delay, Disturbances
from swarmctl.core.errors import ArmingError, CapabilityError, SwarmctlError
from swarmctl.core.state import SwarmState
from swarmctl.core.world import World
from swarmctl.physics.disturbances import no_command

SETTLE = 0.5
"""Time in s for which colloids are tracked again between arming and a probe."""
REMEMBERED = 64
"""Commands that are remembered for the delay."""

Listener = Callable[[str, dict[str, Any]], None]


class Bridge(Engine):
    """Holds a twin and a plant and says who moves. Agents see it in `info["mode"]` only.

    It begins in SHADOW with a plant, else in SIMULATE. `engage` leads through the guards and a
    probe to DRIVE; `release` back to SHADOW; a fault to SAFE, which `clear` ends.

    Args:
        plant: the hardware, or None for a simulation only.
        world: the twin's, such as one that was identified from a recording.
        control_interval: s.
        guards: what has to hold.
        listener: called with the name of an event and its details, to be written down.
    Raises CapabilityError if the twin's world and the plant do not belong together.
    """

    def __init__(
        self,
        plant: Plant | None,
        world: World,
        control_interval: float,
        guards: GuardConfig | None = None,
        listener: Listener | None = None,
    ) -> None:
        self.plant = plant
        self.guards = guards or GuardConfig()
        self.world = world
        self._interval = control_interval
        self._twin = Twin(world, control_interval)
        self.spec = self._twin.spec if plant is None else plant.engine.spec
        _check_match(self)
        self._listener = listener or (lambda name, details: None)
        self.mode = Mode.SIMULATE if plant is None else Mode.SHADOW
        self._comparison = Comparison(world, control_interval, self.guards, FAULTS)
        self._watch = Watch(self.guards, control_interval)
        self._history: deque[Command] = deque(maxlen=REMEMBERED)
        self._state: SwarmState | None = None
        self._around: np.ndarray | None = None
        self._shadowed = 0.0
        self._simulated = False
        self.fault = ""

    # The contract of engines

    def reset(self, seed: int) -> SwarmState:
        """Start an episode from what is there; only a simulation without hardware is placed anew.

        Raises SwarmctlError in SAFE.
        """
        if self.mode is Mode.SAFE:
            raise SwarmctlError(
                f"the bridge is in SAFE: {self.fault}. Find the cause, then call clear(operator)."
            )
        if self.mode is Mode.SIMULATE:
            seen = self._state if self._state is not None and self.plant is not None else None
            if seen is None:
                seen = self._twin.engine.reset(seed)
            self._state = self._twin.start(_at_zero(seen), seed)
            self._simulated = True
            return self._state
        assert self.plant is not None
        self._state = self.plant.reset(seed)
        self._forget()
        return self._state

    def step(self, command: Command) -> Transition:
        """Move on by a control interval, in the mode that it is in.

        `status.info` says `mode`, and on hardware `twin_error` and `delay` s. What the guards find
        is the `fault` of the status and leads to SAFE. Raises SwarmctlError before `reset` and
        after a fault.
        """
        if self._state is None or self.mode is Mode.SAFE:
            raise SwarmctlError("the bridge: call reset(seed) before a step, and after a fault.")
        check_command(command, self.spec)
        if self.mode is Mode.SIMULATE:
            if not self._simulated:
                raise SwarmctlError("the bridge: call reset(seed) first; the mode has changed.")
            moved = self._twin.step(command)
            self._state = moved.state
            return _with_info(moved, {"mode": str(self.mode)})
        return self._on_plant(command)

    def stop(self, reason: str) -> None:
        """End the episode: outputs go to their safe values, DRIVE becomes SHADOW."""
        if self.mode is Mode.DRIVE:
            self.release(reason)
        elif self.plant is not None and self.mode is not Mode.SAFE:
            self.plant.rest(reason)
        self._state = None

    def close(self) -> None:
        """Make outputs safe and let go of the hardware; may be called twice."""
        self._state = None
        if self.plant is not None:
            if self.mode is Mode.DRIVE:
                self.plant.rest("the bridge is closed")
                self._enter(Mode.SHADOW, "closed")
            self.plant.engine.close()

    # The switch

    def engage(self, operator: str, channels: frozenset[str] | None = None) -> ProbeReport:
        """Let the agent drive: SHADOW → guards → probe → DRIVE. Call `reset` afterwards.

        Args:
            operator: who answers for it.
            channels: of commands that the agent uses; all of the engine's if left out.
        Raises ArmingError with every reason if a guard does not hold or the probe fails; outputs
        are safe then, and the mode is SHADOW.
        """
        reasons = self.reasons(operator)
        if reasons:
            raise ArmingError("the agent may not drive: " + "; ".join(reasons) + ".")
        assert self.plant is not None
        doubted = doubts(self.plant.delay, self._interval)
        comparison = Comparison(self.world, self._interval, self.guards, doubted)
        assert self._state is not None
        # Once outputs are live, nothing may take its time: programs are compiled before.
        comparison.look(self._state, self._state, list(self._history), self.plant.delay)
        self.plant.arm(operator)
        try:
            report = self._probe(comparison, channels or self.spec.capabilities)
        except BaseException as error:
            self.plant.stop(f"probe: {error}")
            self._enter(Mode.SAFE, f"probe: {error}")
            raise
        self._event("probe", {"report": str(report)})
        if self.mode is Mode.SAFE:
            raise ArmingError(f"the agent may not drive: {self.fault}.")
        if not report.passed:
            self.plant.rest("the probe failed")
            raise ArmingError(f"the agent may not drive: {report}.")
        self._enter(Mode.DRIVE, f"engaged by {operator}")
        self._forget()
        return report

    def release(self, reason: str = "released") -> None:
        """Hand back: DRIVE → SHADOW. Outputs go to their safe values within their slew limits."""
        if self.mode is not Mode.DRIVE:
            return
        assert self.plant is not None
        self.plant.rest(reason)
        self._enter(Mode.SHADOW, reason)
        self._forget()

    def simulate(self) -> None:
        """Go on in the simulation, from what is tracked, with the delay as measured. Then `reset`.

        Outputs are safe. DRIVE is released first.
        """
        self.release("a simulation takes over")
        if self.mode is Mode.SHADOW:
            assert self.plant is not None
            world = with_delay(self.world, self.plant.delay, self._interval)
            self._twin = Twin(world, self._interval)
            self._enter(Mode.SIMULATE, "")
            self._simulated = False

    def observe(self) -> None:
        """Look at the hardware again: SIMULATE → SHADOW. Then `reset`.

        Raises CapabilityError without hardware.
        """
        if self.plant is None:
            raise CapabilityError("this bridge has no hardware to look at.")
        if self.mode is Mode.SIMULATE:
            self._enter(Mode.SHADOW, "")
            self._state = None
            self._forget()

    def emergency(self, reason: str) -> None:
        """Bring every output to its safe value now: → SAFE."""
        if self.plant is not None:
            self.plant.stop(reason)
        self._enter(Mode.SAFE, reason)

    def clear(self, operator: str) -> None:
        """Let a person end SAFE: → SHADOW. Raises ArmingError if the cause is still there."""
        if self.mode is not Mode.SAFE:
            return
        if not operator.strip():
            raise ArmingError("say who clears the fault.")
        if self.plant is None:
            self._enter(Mode.SIMULATE, f"cleared by {operator}")
            return
        self.plant.clear(operator)
        self.fault = ""
        self._state = None
        self._enter(Mode.SHADOW, f"cleared by {operator}")
        self._forget()

    def reasons(self, operator: str) -> list[str]:
        """Say, each in words, why the agent may not drive now; empty if it may be tried."""
        if self.plant is None:
            return ["there is no hardware"]
        found = list(self.plant.reasons())
        if not operator.strip():
            found.append("nobody answers for it: name the operator")
        if self.mode is not Mode.SHADOW:
            found.append(f"the mode is {self.mode}, not shadow")
        if self._state is None:
            found.append("nothing was seen yet: call reset and step first")
        else:
            count = tracked(self._state)
            if count < self.guards.least_seen:
                found.append(f"{count} colloids are tracked, {self.guards.least_seen} are needed")
        if self._shadowed < self.guards.shadow:
            found.append(
                f"watched for {self._shadowed:.1f} s in SHADOW, {self.guards.shadow:g} s are needed"
            )
        elif not self._watch.error <= self.guards.error_max:
            found.append(
                f"the twin's error is {self._watch.error:.2f}, at most {self.guards.error_max:g} "
                "is allowed: check the identified parameters and the tracking"
            )
        late = self._late(self.plant.delay)
        return [*found, late] if late else found

    # Inside

    def _on_plant(self, command: Command) -> Transition:
        assert self.plant is not None
        assert self._state is not None
        live = self.mode is Mode.DRIVE
        before, delay = self._state, self.plant.delay
        moved = self.plant.step(command, live)
        applied = moved.applied if live else no_command(self.spec)
        self._history.appendleft(self._comparison.predictor.noted(applied))
        around_before, self._around = self._around, _around(moved)
        self._state = moved.state
        info: dict[str, Any] = {"mode": str(self.mode), "delay": delay}
        fault = moved.status.fault
        if fault is None:
            around = (around_before, self._around)
            finding = self._comparison.look(before, moved.state, list(self._history), delay, around)
            if not live:
                self._shadowed += float(moved.state.interval)
                finding = dataclasses.replace(finding, evidence={})
            found = self._watch.add(finding) or self._late(delay)
            info |= {"twin_error": self._watch.error, "evidence": dict(self._watch.sums)}
            fault = found if live else None
        if fault is not None:
            self._event("fault", {"reason": fault})
            self.plant.stop(fault)
            self._enter(Mode.SAFE, fault)
        status = dataclasses.replace(moved.status, info={**moved.status.info, **info}, fault=fault)
        return Transition(moved.state, applied, status)

    def _late(self, delay: float) -> str | None:
        """What is wrong with the measured delay, s, which the twin follows; None if nothing."""
        assert self.plant is not None
        return self.guards.late(delay, self.plant.known_delay, self._interval)

    def _probe(self, comparison: Comparison, channels: frozenset[str]) -> ProbeReport:
        assert self.plant is not None
        assert self._state is not None
        probe = Probe(self.spec, self.guards, channels, seed=0)
        for _ in range(1 + round(SETTLE / self._interval)):
            moved = self.plant.step(no_command(self.spec), live=False)
            self._state, self._around = moved.state, _around(moved)
        before: SwarmState = self._state
        history: deque[Command] = deque(maxlen=REMEMBERED)
        while not probe.over:
            moved = self.plant.step(jax.tree.map(jnp.asarray, probe.next()), live=True)
            if moved.status.fault is not None:
                self.plant.stop(moved.status.fault)
                self._enter(Mode.SAFE, moved.status.fault)
                break
            history.appendleft(comparison.predictor.noted(moved.applied))
            around = (self._around, _around(moved))
            finding = comparison.look(before, moved.state, list(history), self.plant.delay, around)
            self._around = around[1]
            probe.add(finding, float(moved.state.interval))
            before = moved.state
        self._state = before
        return probe.report()

    def _forget(self) -> None:
        """Begin a new watch; what was commanded before has no effect any more."""
        self._watch = Watch(self.guards, self._interval)
        self._history.clear()
        self._around = None
        self._shadowed = 0.0

    def _enter(self, mode: Mode, reason: str) -> None:
        before, self.mode = self.mode, mode
        if mode is Mode.SAFE:
            self.fault = reason
        self._event("mode", {"from": str(before), "to": str(mode), "reason": reason})

    def _event(self, name: str, details: dict[str, Any]) -> None:
        self._listener(name, details)


def with_delay(world: World, delay: float, interval: float) -> World:
    """Return the world with a delay of `delay` s, drawn from the two nearest whole intervals."""
    whole, share = divmod(delay / interval, 1.0)
    chances = (0.0,) * int(whole) + (1.0 - share, share)
    disturbances = world.disturbances or Disturbances()
    return dataclasses.replace(
        world, disturbances=dataclasses.replace(disturbances, delay=Delay(probabilities=chances))
    )


def _around(moved: Transition) -> np.ndarray | None:
    """All colloids that hardware has found, [M,2] µm, if it says so."""
    found = moved.status.info.get("detected")
    return None if found is None else np.asarray(found)


def _at_zero(seen: SwarmState) -> SwarmState:
    zero = jnp.zeros_like(seen.time)
    return dataclasses.replace(seen, step=jnp.zeros_like(seen.step), time=zero)


def _with_info(moved: Transition, info: dict[str, Any]) -> Transition:
    status: Status = moved.status
    return dataclasses.replace(
        moved, status=dataclasses.replace(status, info={**status.info, **info})
    )


def _check_match(bridge: Bridge) -> None:
    """Raise CapabilityError, naming both sides, if twin and plant do not belong together."""
    twin, plant = bridge._twin.spec, bridge.spec
    for name in ("capacity", "dimension", "species", "species_of_slot", "control_interval"):
        if getattr(twin, name) != getattr(plant, name):
            raise CapabilityError(
                f"the twin has {name} {getattr(twin, name)}, engine {plant.name!r} has "
                f"{getattr(plant, name)}; describe the same swarm in both."
            )
    missing = plant.capabilities - twin.capabilities
    if missing:
        raise CapabilityError(
            f"engine {plant.name!r} takes {', '.join(sorted(missing))}, which the twin's world "
            "does not have; give its species an actuator, or the world a field."
        )
