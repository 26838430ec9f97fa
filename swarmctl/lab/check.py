"""The verb `check` of a rig: everything that can be looked at without light."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from swarmctl.bridge.calibration import Calibration, calibration_faults, read_calibration
from swarmctl.bridge.devices.contract import Camera, OutputSpec
from swarmctl.bridge.microscope.config import MicroscopeConfig, microscope_spec, rig_channels
from swarmctl.bridge.microscope.eyes import Look
from swarmctl.bridge.microscope.parts import (
    Parts,
    box_view,
    make_eyes,
    make_gatekeeper,
    make_steering,
)
from swarmctl.bridge.orders import Standing
from swarmctl.bridge.rig import OutputEntry, Rig, read_rig
from swarmctl.bridge.supervisor.limits import PatternLimits
from swarmctl.bridge.vision.frames import saturated_share
from swarmctl.core.errors import SwarmctlError
from swarmctl.core.spec import EngineSpec
from swarmctl.core.world import Box, GlobalField, Species, World
from swarmctl.lab.configs import CheckRigConfig

__all__ = ["CheckRigConfig", "Finding", "RigReport", "check_rig"]

T = TypeVar("T")

_SATURATED = 0.001
_SLOW = 0.8  # of a period


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: whether it is well, and what was seen or what to do."""

    name: str
    passed: bool
    why: str


@dataclass(frozen=True)
class RigReport:
    """All findings, in the order in which they were made."""

    findings: tuple[Finding, ...]

    @property
    def passed(self) -> bool:
        """Whether everything is well."""
        return all(finding.passed for finding in self.findings)

    def __str__(self) -> str:
        rows = [f"{'pass' if f.passed else 'FAIL'}  {f.name:<12} {f.why}" for f in self.findings]
        good = sum(f.passed for f in self.findings)
        return "\n".join([*rows, f"{good} of {len(self.findings)} passed"])


def check_rig(
    config: CheckRigConfig,
    parts: Parts | None = None,
    say: Callable[[str], None] = print,
) -> RigReport:
    """Look at a rig and say of everything whether it is well, and why not.

    Outputs are connected, which brings them to their safe values, and let go of again; nothing
    shines and nothing is armed. What cannot be looked at because something before it failed is
    left out. `parts` stand in for what the rig file names. Raises nothing of a rig that is wrong:
    it is in the report.
    """
    report = RigReport(tuple(_findings(config, parts or Parts())))
    say(str(report))
    return report


def _findings(config: CheckRigConfig, parts: Parts) -> list[Finding]:
    findings: list[Finding] = []
    rig = _try(findings, "file", lambda: _file(config, parts))
    if rig is None:
        return findings
    findings += _outputs(rig)
    findings += _timing(rig)
    calibration = _try(findings, "calibration", lambda: _calibration(rig, parts))
    if calibration is not None:
        _try(findings, "steering", lambda: _steering(rig, calibration, config))
    _try(findings, "room", lambda: _room(rig, config))
    _try(findings, "interlock", lambda: _interlock(rig))
    _try(findings, "supervisor", lambda: _supervisor(config, parts))
    camera = parts.camera or rig.camera.build()
    try:
        if _try(findings, "camera", lambda: _connect(camera, rig)) is not None:
            findings += _frames(camera, rig, calibration or Calibration(), config, parts)
    finally:
        camera.stop()
        camera.disconnect()
    return findings


class _Fault(SwarmctlError):
    """Something is not as it has to be."""


def _try(findings: list[Finding], name: str, look: Callable[[], tuple[T, str]]) -> T | None:
    """Note what a look finds; return None where it fails."""
    try:
        found, why = look()
    except SwarmctlError as error:
        findings.append(Finding(name, False, str(error)))
        return None
    findings.append(Finding(name, True, why))
    return found


def _file(config: CheckRigConfig, parts: Parts) -> tuple[Rig, str]:
    rig = parts.rig or read_rig(config.rig)
    channels = ", ".join(sorted(rig_channels(rig)))
    rig.camera.build()
    rig.detector.build()
    return rig, f"{rig.name!r} takes {channels} by the output {rig.steering.output!r}"


def _outputs(rig: Rig) -> Iterator[Finding]:
    """Limits against ranges, and what happens when the supervisor dies."""
    for entry in rig.outputs:
        try:
            spec: OutputSpec = entry.driver.build().spec
        except SwarmctlError as error:
            yield Finding("limits", False, f"{entry.name}: {error}")
            continue
        wrong = _limit_faults(entry, spec)
        yield Finding(
            "limits",
            not wrong,
            f"{entry.name}: {'; '.join(wrong) or 'within what the device can do'}",
        )
        alone = spec.own_timeout is not None
        if alone:
            why = f"is safe by itself {spec.own_timeout:g} s after the last write"
        elif entry.unguarded:
            why = f"has no time-out of its own: {entry.unguarded}"
        else:
            why = (
                "has no time-out of its own; say in the rig why it does no harm that it stays as "
                f"it is when the supervisor dies: outputs.{entry.name}.unguarded = '...'"
            )
        yield Finding("time-out", alone or bool(entry.unguarded), f"{entry.name} {why}")


def _limit_faults(entry: OutputEntry, spec: OutputSpec) -> list[str]:
    limits, faults = entry.limits, []
    if isinstance(limits, PatternLimits):
        top = spec.channels[0].high
        if limits.power_max > top:
            faults.append(f"power_max {limits.power_max:g} exceeds the device's {top:g}")
        return faults
    if len(limits.low) != len(spec.channels):
        return [f"{len(limits.low)} limits for {len(spec.channels)} channels"]
    for channel, low, high in zip(spec.channels, limits.low, limits.high, strict=True):
        if low < channel.low or high > channel.high:
            faults.append(
                f"{channel.name}: {low:g} to {high:g} exceeds the device's {channel.low:g} to "
                f"{channel.high:g}"
            )
        if not low <= channel.safe <= high:
            faults.append(f"{channel.name}: the safe value {channel.safe:g} is not allowed")
    return faults


def _timing(rig: Rig) -> Iterator[Finding]:
    """Whether orders live from frame to frame."""
    period, watch = rig.camera.build().spec.period, rig.supervisor
    yield Finding(
        "expiry",
        watch.expiry > 1.2 * period,
        f"orders end after {watch.expiry:g} s, the camera's period is {period:g} s"
        + ("" if watch.expiry > 1.2 * period else "; give supervisor.expiry more time"),
    )


def _calibration(rig: Rig, parts: Parts) -> tuple[Calibration, str]:
    calibration = parts.calibration or read_calibration(rig.calibration)
    faults = calibration_faults(calibration, rig)
    if faults:
        raise _Fault("; ".join(faults))
    return calibration, f"made {calibration.made}, counts until {calibration.expires}"


def _world(rig: Rig, calibration: Calibration, config: CheckRigConfig) -> EngineSpec:
    """A world of the size of the field of view."""
    camera, pixel = rig.camera.build().spec, calibration.view.map.pixel_size
    world = World(
        Box((camera.width * pixel, camera.height * pixel), "open"),
        species=(Species("colloid", rig.tracker.capacity, config.radius),),
        contacts=False,
        field=GlobalField(),
    )
    return microscope_spec(world, rig, max(1.0, camera.period))


def _steering(rig: Rig, calibration: Calibration, config: CheckRigConfig) -> tuple[bool, str]:
    spec = _world(rig, calibration, config)
    make_steering(rig, calibration, spec, box_view(calibration, rig, spec, None))
    return True, f"the calibration serves {', '.join(sorted(spec.capabilities))}"


def _room(rig: Rig, config: CheckRigConfig) -> tuple[bool, str]:
    camera = rig.camera.build().spec
    size = camera.width * camera.height * (1 if camera.bits <= 8 else 2)
    needed = size / camera.period * 3600 * config.hours
    try:
        free = shutil.disk_usage(rig.folder).free
    except OSError as error:
        raise _Fault(f"{rig.folder}: {error}") from None
    text = f"{free / 1e9:.1f} GB are free, {config.hours:g} h of frames need {needed / 1e9:.1f} GB"
    if free < needed:
        raise _Fault(f"{text}; record elsewhere, or no images")
    return True, text


def _interlock(rig: Rig) -> tuple[bool, str]:
    if rig.interlock is None:
        return True, f"there is none: {rig.unguarded}"
    device = rig.interlock.build()
    try:
        device.connect()
        if not device.closed():
            raise _Fault(f"{device.name} is open; close it before arming")
    finally:
        device.disconnect()
    return True, f"{device.name} is closed"


def _supervisor(config: CheckRigConfig, parts: Parts) -> tuple[bool, str]:
    gatekeeper = parts.gatekeeper or make_gatekeeper(config.rig)
    try:
        gatekeeper.open()
        report = gatekeeper.report()
        if report.standing is not Standing.CONFIGURED:
            raise _Fault(f"the outputs are {report.standing.name}: {report.fault}")
        names = ", ".join(gatekeeper.outputs)
    finally:
        gatekeeper.close()
    return True, f"connected and safe: {names}"


def _connect(camera: Camera, rig: Rig) -> tuple[bool, str]:
    camera.connect(rig.mock_camera)
    camera.start()
    spec = camera.spec
    return True, f"{spec.name}: {spec.width} x {spec.height} px, {spec.bits} bits"


def _frames(
    camera: Camera, rig: Rig, calibration: Calibration, config: CheckRigConfig, parts: Parts
) -> Iterator[Finding]:
    """What frames show: their pace, their brightness, colloids, and the time that they take."""
    try:
        looks = _watch(camera, rig, calibration, config, parts)
    except SwarmctlError as error:
        yield Finding("frames", False, str(error))
        return
    period = camera.spec.period
    exposed = np.array([look.shot.exposed for look in looks])
    dropped = sum(look.dropped for look in looks[1:])
    pace = float(np.median(np.diff(exposed)))
    yield Finding(
        "period",
        abs(pace / period - 1) < 0.1 and dropped <= 0.02 * len(looks),
        f"a frame every {1e3 * pace:.1f} ms, the rig says {1e3 * period:.1f} ms; {dropped} of "
        f"{len(looks) + dropped} frames never came",
    )
    full = max(saturated_share(look.shot.frame, camera.spec.bits) for look in looks[::10])
    yield Finding(
        "exposure",
        full < _SATURATED,
        f"{100 * full:.2g} % of the pixels are saturated"
        + ("" if full < _SATURATED else "; expose less"),
    )
    found = int(np.median([len(look.detections) for look in looks]))
    least = max(rig.supervisor.least_found, 1)
    yield Finding(
        "detector",
        found >= least,
        f"{found} colloids in a frame"
        + ("" if found >= least else f", {least} are needed; look at focus and detector keys"),
    )
    spent = [look.timing.tracked - look.timing.received for look in looks[5:]]
    slow = float(np.quantile(spent, 0.99))
    yield Finding(
        "tracking",
        slow < _SLOW * period,
        f"{1e3 * float(np.median(spent)):.1f} ms a frame, 99th percentile {1e3 * slow:.1f} ms of "
        f"{1e3 * period:.0f} ms",
    )


def _watch(
    camera: Camera, rig: Rig, calibration: Calibration, config: CheckRigConfig, parts: Parts
) -> list[Look]:
    spec = _world(rig, calibration, config)
    view = box_view(calibration, rig, spec, None)
    seen = replace(calibration, flattening=None)
    eyes = make_eyes(camera, rig, seen, spec, view, MicroscopeConfig(), parts.clock)
    return [eyes.look(lambda _: None) for _ in range(config.frames)]
