"""The verb `lab stop`: emergency stop of a rig that is running, from another terminal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from swarmctl.bridge.orders import Report, Standing
from swarmctl.bridge.supervisor.ownership import stop_rig
from swarmctl.core.errors import ConfigError
from swarmctl.lab.configs import StopConfig


@dataclass(frozen=True)
class Stopped:
    """What the supervisor said, and whether every output said that it is safe."""

    report: Report
    passed: bool


def stop(config: StopConfig, say: Callable[[str], None] = print) -> Stopped:
    """Bring every output of a running rig to its safe value, and wait for the confirmation.

    Raises ConfigError for a rig file that cannot be read, SupervisorLostError if no supervisor owns
    the rig.
    """
    if not config.rig.is_file():
        raise ConfigError(f"{config.rig}: no such rig file. If light is on, cut its power by hand.")
    report = stop_rig(config.rig)
    safe = report.standing is Standing.FAULT and report.safe_confirmed < float("inf")
    say(
        f"{config.rig}: {report.standing.name}, {report.fault}; outputs told after "
        f"{1e3 * report.safe_issued:.0f} ms, safe after {1e3 * report.safe_confirmed:.0f} ms"
        if safe
        else f"{config.rig}: NOT KNOWN TO BE SAFE ({report.standing.name}); cut the power"
    )
    return Stopped(report, safe)
