"""What must be true before outputs may be armed: every reason why they may not."""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import datetime

from swarmctl.bridge.gatekeeper import Evidence
from swarmctl.bridge.supervisor.guarded import GuardedOutput
from swarmctl.bridge.supervisor.interlock_reader import Reading


def arming_reasons(
    operator: str,
    evidence: Evidence | None,
    outputs: Iterable[GuardedOutput],
    interlock: Reading | None,
    interlock_age: float,
    rig_digest: str,
    now: float,
    wall: float,
) -> list[str]:
    """Return why outputs may not be armed, [] if they may.

    `now` is s of time.monotonic(), `wall` s since the epoch. Without evidence, what it would have
    to say is not asked for: outputs are armed for probing.
    """
    outputs = tuple(outputs)
    reasons = []
    if not operator.strip():
        reasons.append("nobody is named who arms it")
    for output in outputs:
        if not output.connected:
            reasons.append(f"{output.name} is not connected")
        elif not output.safe:
            why = f": {output.error}" if output.error else ""
            reasons.append(f"{output.name} has not said that it is safe{why}")
        if output.spec.own_timeout is None and not output.unguarded.strip():
            reasons.append(
                f"{output.name} stays as it is if the supervisor dies: name the device's own "
                f"time-out, or say in the rig why that does no harm "
                f"(outputs.{output.name}.unguarded = '...')"
            )
        elif (output.spec.own_timeout or 0.0) > output.window and not output.unguarded.strip():
            reasons.append(
                f"{output.name} stays as it is for {output.spec.own_timeout:g} s if the supervisor "
                f"dies, longer than the window of {output.window:g} s over which its doses are "
                f"counted: shorten its own time-out, or say in the rig why that does no harm "
                f"(outputs.{output.name}.unguarded = '...')"
            )
    reasons += interlock_reasons(interlock, interlock_age, now)
    if evidence is not None:
        pattern = any(output.spec.kind == "pattern" for output in outputs)
        reasons += _evidence_reasons(evidence, pattern, rig_digest, wall)
    return reasons


def interlock_reasons(interlock: Reading | None, oldest: float, now: float) -> list[str]:
    """Return what is wrong with the interlock, [] if nothing is or there is none."""
    if interlock is None:
        return []
    if interlock.error:
        return [f"the interlock cannot be read: {interlock.error}"]
    if now - interlock.time > oldest:
        return ["the interlock does not answer"]
    return [] if interlock.closed else ["the interlock is open"]


def _evidence_reasons(evidence: Evidence, pattern: bool, rig_digest: str, wall: float) -> list[str]:
    reasons = []
    if not evidence.calibration:
        reasons.append("there is no calibration")
    if not evidence.rig:
        reasons.append("the calibration does not say of which rig it is")
    elif evidence.rig != rig_digest:
        reasons.append(
            f"the calibration is of another rig, or the rig file was changed since "
            f"({evidence.rig}, here {rig_digest})"
        )
    if not wall < evidence.expires:
        reasons.append(f"the calibration expired {_date(evidence.expires)}")
    if not evidence.calibrated <= wall:
        reasons.append(f"the calibration is dated in the future, {_date(evidence.calibrated)}")
    error = evidence.spot_error
    if pattern and error is None:
        reasons.append("no spot was projected to check the calibration")
    if error is not None and not error <= evidence.spot_error_max:
        reasons.append(
            f"the spot check failed: a spot lay {error:g} px from where it should, "
            f"{evidence.spot_error_max:g} px are allowed"
        )
    return reasons


def _date(time: float) -> str:
    if not math.isfinite(time):
        return f"at {time}"
    return f"on {datetime.fromtimestamp(time):%Y-%m-%d at %H:%M}"
