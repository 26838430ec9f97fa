"""The verb `calibrate`: what a rig's light does, measured and written down."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from swarmctl.bridge.calibration import (
    Calibration,
    Delays,
    calibration_faults,
    read_calibration,
    read_flattening,
    save_flattening,
    timestamp,
    write_calibration,
)
from swarmctl.bridge.microscope.engine import MicroscopeEngine
from swarmctl.bridge.microscope.eyes import FrameRecord
from swarmctl.bridge.microscope.light_law import SpotReach
from swarmctl.bridge.microscope.parts import Parts, make_gatekeeper
from swarmctl.bridge.microscope.probing import Bench
from swarmctl.bridge.rig import Rig, read_rig
from swarmctl.core.errors import CalibrationError, ConfigError
from swarmctl.core.world import Box, Species, World
from swarmctl.lab.calibrate_bench import (
    highest_power,
    light_of,
    measure_light_delay,
    measure_pattern,
    measure_view,
)
from swarmctl.lab.calibrate_config import CalibrateConfig
from swarmctl.lab.calibrate_field import measure_field
from swarmctl.lab.calibrate_frames import check_lamp, read_frames, take_frames
from swarmctl.lab.calibrate_motion import fit_speed, fit_turn, speeds, turn_drive, without_stuck
from swarmctl.lab.calibrate_report import Findings, draw_report, report_text
from swarmctl.lab.calibrate_runs import Runner, drawn_pulses, measure_response
from swarmctl.lab.keys import terminal_keys

_STEP = 0.05
"""s between moments of a pulse, at least."""


@dataclass(frozen=True)
class Calibrated:
    """What `calibrate` returns: the calibration, its file, the report's text and picture."""

    calibration: Calibration
    path: Path
    text: str
    picture: Path


def calibrate(
    config: CalibrateConfig,
    parts: Parts | None = None,
    say: Callable[[str], None] = print,
) -> Calibrated:
    """Calibrate parts of a rig, keep the rest of its calibration, and write file and report.

    Spots are projected and pulses of light are given within the limits of the rig, and within the
    narrower ones of probing until the pattern has been found. The key q, space or escape is an
    emergency stop. The report lies beside the calibration file, as .txt and .png. `parts` stand in
    for what the rig file names. Raises CalibrationError, saying which part failed and why; nothing
    is written then. Also ArmingError, DeviceError, ConfigError.
    """
    if not config.operator.strip():
        raise ConfigError("calibrate: say who stands beside the microscope: operator=NAME.")
    if "flattening" in config.parts:
        check_lamp(config)
    rig = (parts.rig if parts else None) or read_rig(config.rig)
    path = config.out or rig.calibration
    rig = replace(rig, calibration=path)
    with terminal_keys() as keys:
        parts = replace(parts or Parts(), observer=None)
        parts = replace(parts, stopped=parts.stopped or keys.emergency)
        calibration, findings = _measure(config, rig, path, parts, say)
    write_calibration(calibration, path)
    text = report_text(calibration, findings.notes)
    path.with_suffix(".txt").write_text(text, encoding="utf-8")
    picture = path.with_suffix(".png")
    draw_report(picture, calibration, findings)
    say(f"{text}\nreport: {picture}")
    return Calibrated(calibration, path, text, picture)


def _measure(
    config: CalibrateConfig, rig: Rig, path: Path, parts: Parts, say: Callable[[str], None]
) -> tuple[Calibration, Findings]:
    """Measure the wanted parts, one after the other."""
    findings = Findings(say)
    calibration = _begin(config, rig, path, findings)
    if "flattening" in config.parts:
        calibration = _flatten(config, rig, parts, calibration, findings)
    if {"view", "pattern", "delay"} & set(config.parts):
        calibration = _look(config, rig, parts, calibration, findings)
    if "field" in config.parts:
        findings.say("calibrate: how the coils lie")
        with _bench(config, rig, parts, probing=True) as bench:
            field, findings.polarity, notes = measure_field(
                config, rig, bench, calibration.view.map, calibration.field
            )
        calibration = replace(calibration, field=field)
        findings.notes += notes
    if {"speed", "turn", "delay"} & set(config.parts):
        calibration = _move(config, rig, parts, calibration, findings)
    return calibration, findings


def _begin(config: CalibrateConfig, rig: Rig, path: Path, findings: Findings) -> Calibration:
    """The calibration so far: what is kept of the old one, which decides when it expires."""
    now = time.time()
    fresh = Calibration(
        made=timestamp(now),
        expires=timestamp(now + config.validity),
        operator=config.operator,
        rig=rig.hardware_digest,
    )
    if not path.exists():
        if "view" not in config.parts:
            raise CalibrationError(
                f"{path}: there is no calibration yet; begin with the part view."
            )
        return fresh
    old = read_calibration(path)
    if "field" in config.parts:
        # The strength of coils is not measured: it stays whatever else becomes of the file.
        fresh = replace(fresh, field=old.field)
    kept = _kept(old, config.parts)
    if not kept:
        return fresh
    faults = calibration_faults(old, rig, now)
    if faults:
        raise CalibrationError(
            f"{path}: {', '.join(kept)} would be kept, but {'; '.join(faults)}. Calibrate these "
            f"parts as well, or move the file away."
        )
    findings.notes.append(f"kept from {old.made}: {', '.join(kept)}")
    expires = min(old.expires_at, fresh.expires_at)
    return replace(
        old,
        made=fresh.made,
        expires=timestamp(expires),
        operator=config.operator,
    )


def _kept(old: Calibration, parts: tuple[str, ...]) -> list[str]:
    """Measured parts of an old calibration that are not measured anew."""
    there = {
        "view": True,
        "flattening": old.flattening is not None,
        "pattern": old.pattern is not None,
        "speed": old.speed is not None,
        "turn": old.turn is not None,
        "field": old.field is not None,
        "delay": old.delay.frame is not None,
    }
    return [name for name, is_there in there.items() if is_there and name not in parts]


@contextmanager
def _bench(config: CalibrateConfig, rig: Rig, parts: Parts, probing: bool) -> Iterator[Bench]:
    """A camera that runs, and outputs that are armed for probing if `probing`."""
    camera = parts.camera or rig.camera.build()
    gatekeeper = parts.gatekeeper or make_gatekeeper(config.rig)
    camera.connect(rig.mock_camera)
    try:
        gatekeeper.open()
        camera.start()
        bench = Bench(
            camera, gatekeeper, rig, parts.clock,
            frame_timeout=config.frame_timeout, stopped=parts.stopped,
        )  # fmt: skip
        if probing:
            bench.probe(config.operator)
        yield bench
    finally:
        try:
            gatekeeper.close()
        finally:
            camera.stop()
            camera.disconnect()


def _flatten(
    config: CalibrateConfig, rig: Rig, parts: Parts, calibration: Calibration, findings: Findings
) -> Calibration:
    """Dark and flat frames, with outputs at their safe values."""
    if config.take == "files":
        flattening = read_frames(config, rig.camera.build())
    else:
        old = read_flattening(calibration, rig.calibration.parent)
        with _bench(config, rig, parts, probing=False) as bench:
            flattening, notes = take_frames(config, rig, bench, old)
        findings.notes += notes
    # A name of its own: an earlier calibration stays whole if this one fails.
    stem = f"{rig.calibration.stem}-flattening-{int(calibration.made_at)}"
    file = rig.calibration.with_name(f"{stem}.npz")
    count = 1
    while file.exists():
        count += 1
        file = file.with_name(f"{stem}-{count}.npz")
    save_flattening(flattening, file)
    return replace(calibration, flattening=file.name)


def _look(
    config: CalibrateConfig, rig: Rig, parts: Parts, calibration: Calibration, findings: Findings
) -> Calibration:
    """View, pattern and the light's delay: what frames show of outputs."""
    stage = "view" in config.parts and config.view_from == "stage"
    with _bench(config, rig, parts, probing=stage) as bench:
        if "view" in config.parts:
            findings.say("calibrate: the view")
            calibration = replace(calibration, view=measure_view(config, rig, bench))
        view = calibration.view.map
        if "pattern" in config.parts:
            findings.say("calibrate: the pattern, by projected spots")
            bench.probe(config.operator)
            pattern, projected = measure_pattern(config, rig, bench, view)
            calibration = replace(calibration, pattern=pattern)
            findings.projected = projected
        if "delay" in config.parts:
            if calibration.pattern is None:
                raise CalibrationError("delay: calibrate the part pattern first.")
            findings.say("calibrate: the delay of the light")
            bench.probe(config.operator)
            exposure = rig.camera.build().spec.exposure
            light = measure_light_delay(config, rig, bench, calibration.pattern, view, exposure)
            delay = Delays(light=light, light_from="camera" if light else "receipts")
            calibration = replace(calibration, delay=delay)
            if light is None:
                findings.notes.append("the light does not show in the image; its delay is told "
                                      "by the output's own receipts")  # fmt: skip
    return calibration


def _move(
    config: CalibrateConfig, rig: Rig, parts: Parts, calibration: Calibration, findings: Findings
) -> Calibration:
    """Speed, turning and the delays of a running loop: what colloids do under light."""
    if calibration.pattern is None:
        raise CalibrationError("speed, turn and delay need the part pattern first.")
    _, limits, _ = light_of(rig)
    power = highest_power(config, limits)
    direct = replace(rig.steering, channels=("power", "spot_offset"), turning="offset")
    seen = replace(rig, steering=direct)
    camera = rig.camera.build().spec
    pixel = calibration.view.map.pixel_size
    size = (camera.width * pixel, camera.height * pixel)
    world = World(
        Box(size, "open"), species=(Species("colloid", config.colloids, config.radius),),
        contacts=False,
    )  # fmt: skip
    orders: list[FrameRecord] = []
    engine = MicroscopeEngine(
        world,
        max(camera.period, _STEP),
        parts=replace(parts, rig=seen, calibration=calibration, observer=orders.append),
        rig=str(config.rig),
        operator=config.operator,
        frame_timeout=config.frame_timeout,
    )
    reach = SpotReach.of(
        rig.steering.spot_radius,
        rig.steering.profile,
        config.radius if rig.steering.feels == "disc" else None,
        max(rig.steering.offset_max, config.offset),
    )
    try:
        pulsed = f"{config.pulses} pulses of {config.pulse:g} s"
        if "speed" in config.parts:
            findings.say(f"calibrate: speed against power, by {pulsed}")
            pulses = drawn_pulses(config, Runner(engine, orders), power, beside=False)
            pulses, stuck = without_stuck(pulses)
            measured = speeds(pulses)
            calibration = replace(calibration, speed=fit_speed(*measured))
            findings.speed = measured[:2]
            if stuck:
                findings.notes.append(f"{stuck} colloids hardly moved and were left out")
        if "turn" in config.parts:
            if calibration.speed is None:
                raise CalibrationError("turn: calibrate the part speed first.")
            findings.say(f"calibrate: turning, by {pulsed}")
            pulses = drawn_pulses(config, Runner(engine, orders), power, beside=True)
            pulses, _ = without_stuck(pulses)
            drive, rate = turn_drive(pulses, calibration.speed, reach, config.radius)
            law = fit_turn(pulses, calibration.speed, reach, config.radius)
            calibration = replace(calibration, turn=law)
            findings.turn = drive, rate
        if "delay" in config.parts:
            findings.say(f"calibrate: the delay of motion, by {config.switches} switches")
            before = calibration.delay
            response = measure_response(config, Runner(engine, orders), power, before.to_light)
            running = engine.latencies.delays()
            delay = dataclasses.replace(
                running,
                light=before.light or running.light,
                light_from=before.light_from,
                motion=response.lag,
                rise_time=response.rise_time,
            )
            calibration = replace(calibration, delay=delay)
            findings.response = response
    finally:
        engine.close()
    return calibration
