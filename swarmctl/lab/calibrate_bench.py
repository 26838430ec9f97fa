"""What calibration makes a rig do, by its camera and its gatekeeper: thin acquisition."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from swarmctl.bridge.calibration import Figure, PatternMap, ViewMap
from swarmctl.bridge.microscope.probing import Bench, find_spot, mean_frame, one_spot
from swarmctl.bridge.microscope.spot_check import HIDDEN, empty_places
from swarmctl.bridge.microscope.timing import figure_of
from swarmctl.bridge.orders import Spots, Values
from swarmctl.bridge.rig import Rig
from swarmctl.bridge.supervisor.limits import PatternLimits
from swarmctl.bridge.vision.spots import SpotDetectorConfig
from swarmctl.core.errors import CalibrationError
from swarmctl.lab.calibrate_config import CalibrateConfig
from swarmctl.lab.calibrate_delay import switch_time
from swarmctl.lab.calibrate_places import RobustFit, fit_grid, fit_pattern, fit_stage, image_shift
from swarmctl.optics.affine import Affine, ViewConfig

Floats = npt.NDArray[np.float64]

_STAGE_ROUNDS = 2
_STAGE_FRAMES = 4
"""Frames that are averaged before and after a move of the stage."""


@dataclass(frozen=True)
class Projected:
    """Spots [K,2] px of a pattern, where they were seen [K,2] px, nan if not; and the fit."""

    asked: Floats
    seen: Floats
    fit: RobustFit


def measure_view(config: CalibrateConfig, rig: Rig, bench: Bench) -> ViewMap:
    """Find the map from the sample to the image. Raises CalibrationError, DeviceError."""
    height, width = bench.frame_shape
    if config.view_from == "given":
        if config.pixel_size is None:
            raise CalibrationError(
                "view: give pixel_size, or take it from a grid or the stage: view_from=grid."
            )
        given = ViewConfig(config.pixel_size, config.rotation, config.mirror)
        return ViewMap(given.affine(width, height), "given", 0.0)
    if config.view_from == "grid":
        detect = SpotDetectorConfig(
            sigma=config.grid_sigma, separation=3 * config.grid_sigma
        ).build()
        frame = mean_frame(bench.shots(8))
        marks = detect(np.asarray(frame, np.float32)).position
        fit = fit_grid(marks, config.grid_pitch, config.mirror)
        return ViewMap(fit.map, "grid", fit.residual)
    moves, shifts = _move_stage(config, rig, bench)
    matrix, residual = fit_stage(moves, shifts)
    (a, b), (c, d) = matrix.tolist()
    offset = ((width - 1) / 2, (height - 1) / 2)
    return ViewMap(Affine(((a, b), (c, d)), offset), "stage", residual)


def _move_stage(config: CalibrateConfig, rig: Rig, bench: Bench) -> tuple[Floats, Floats]:
    """Move the sample to and fro: ways [K,2] µm, as they were sent, and shifts [K,2] px.

    Raises CalibrationError if limits leave nothing of a way.
    """
    channels = rig.output(config.stage).driver.build().spec.channels
    if len(channels) < 2:
        raise CalibrationError(f"view: output {config.stage!r} has no x and y.")
    home = np.array([channel.safe for channel in channels])
    frames = round(config.stage_settle / rig.camera.build().spec.period) + 1
    ways, pairs = [], []
    sides = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]])
    for way in config.stage_step * np.tile(sides, (_STAGE_ROUNDS, 1)):
        before = bench.hold({config.stage: Values(home)}, frames + _STAGE_FRAMES)
        there = home.copy()
        there[:2] += way
        after = bench.hold({config.stage: Values(there)}, frames + _STAGE_FRAMES)
        bench.rest("the stage goes home")
        sent = [receipt.sent.get(config.stage) for receipt in after.receipts]
        reached = [values.value[:2] - home[:2] for values in sent if isinstance(values, Values)]
        if not reached or np.linalg.norm(reached[-1]) < 0.05 * config.stage_step:
            raise CalibrationError(
                f"view: output {config.stage!r} was not moved; what limits of probing let through "
                f"is {reached[-1] if reached else 'nothing'}. Look at its limits and its slew."
            )
        if np.linalg.norm(reached[-1] - reached[len(reached) // 2]) > 1e-6:
            raise CalibrationError(
                f"view: output {config.stage!r} was still on its way by its slew limit; give a "
                "smaller stage_step or a longer stage_settle."
            )
        ways.append(reached[-1])
        pairs.append([np.asarray(mean_frame(p.shots[frames:]), float) for p in (before, after)])
    return np.array(ways), np.array([image_shift(*pair) for pair in pairs])


def measure_pattern(
    config: CalibrateConfig, rig: Rig, bench: Bench, view: Affine
) -> tuple[PatternMap, Projected]:
    """Project spots on a grid of the pattern, one after the other, and find them in the image.

    Spots that fall beside the image, or are too weak, are not seen; that is no error as long as
    enough are. Raises CalibrationError.
    """
    name, limits, shape = light_of(rig)
    power = highest_power(config, limits)
    rows, columns = shape
    share = (np.arange(config.grid) + 0.5) / config.grid
    asked = np.stack(np.meshgrid(share * columns, share * rows), -1).reshape(-1, 2) - 0.5
    # How large a pixel of the pattern is in the image is not known yet; this finds spots all the
    # same if it is wrong by a factor of two.
    height, width = bench.frame_shape
    scale = math.sqrt(width * height / (rows * columns))
    radius = min(rig.steering.spot_radius / view.pixel_size / scale, limits.radius_max)
    hidden = HIDDEN * config.radius / view.pixel_size
    differences = [
        bench.difference(name, one_spot(place, radius, power), config.spot_frames, hidden)
        for place in asked
    ]
    seen = np.full(asked.shape, np.nan)
    for k, difference in enumerate(differences):
        found = find_spot(difference, radius * scale)
        if found is not None:
            seen[k] = found[0]
    visible = np.isfinite(seen[:, 0])
    fit = fit_pattern(asked[visible], seen[visible])
    used = np.zeros(len(asked), bool)
    used[visible] = fit.used
    found_map = PatternMap(
        name, fit.map, fit.residual, int(used.sum()), int(visible.sum() - used.sum())
    )
    return found_map, Projected(asked, seen, RobustFit(fit.map, fit.residual, used))


def measure_light_delay(
    config: CalibrateConfig,
    rig: Rig,
    bench: Bench,
    pattern: PatternMap,
    view: Affine,
    exposure: float,
) -> Figure | None:
    """Time from an order to the light that the camera sees; None if it sees none.

    Every spot is drawn where nobody is.
    """
    name, limits, shape = light_of(rig)
    power = highest_power(config, limits)
    radius = rig.steering.spot_radius * pattern.map.pixel_size / view.pixel_size
    around = rig.steering.spot_radius / view.pixel_size
    half = max(1, round(around / 3))
    delays = []
    for _ in range(config.switches):
        bench.rest("the light has been timed")
        places = empty_places(bench, pattern, shape, 2 * around)
        if not places:
            raise CalibrationError("delay: the pattern does not reach the field of view.")
        target = places[0]
        spot = one_spot(pattern.map.to_sample(target), radius, power)
        off = bench.hold({name: Spots.none()}, 4)
        on = bench.hold({name: spot}, 8)
        bench.rest("the light has been timed")
        shots = off.shots[-2:] + on.shots
        time = np.array([shot.exposed for shot in shots])
        (left, top), size = np.rint(target).astype(int) - half, 2 * half + 1
        inside = (slice(top, top + size), slice(left, left + size))
        bright = np.array([float(shot.frame[inside].mean()) for shot in shots])
        try:
            delays.append(switch_time(time, bright, exposure) - on.issued)
        except CalibrationError:
            continue
    return figure_of(np.array(delays)) if len(delays) >= config.switches / 2 else None


def light_of(rig: Rig) -> tuple[str, PatternLimits, tuple[int, int]]:
    """Name, limits and shape of the pattern by which a rig steers. Raises CalibrationError."""
    entry = rig.output(rig.steering.output)
    shape = entry.driver.build().spec.shape
    if not isinstance(entry.limits, PatternLimits) or shape is None:
        raise CalibrationError(
            f"rig {rig.name!r} steers by {entry.name!r}, which is no pattern of light; for coils "
            "write [field] into the calibration file by hand."
        )
    return entry.name, entry.limits, shape


def highest_power(config: CalibrateConfig, limits: PatternLimits) -> float:
    """The power that is asked for at most; the gatekeeper cuts it where it has to."""
    return limits.power_max if config.power is None else min(config.power, limits.power_max)
