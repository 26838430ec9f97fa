"""Whether light falls where the calibration says: what has to be shown before arming."""

from __future__ import annotations

import math
from contextlib import suppress

import numpy as np

from swarmctl.bridge.calibration import Calibration, PatternMap, calibration_faults
from swarmctl.bridge.gatekeeper import Evidence, Gatekeeper
from swarmctl.bridge.microscope.probing import Bench, Floats, find_spot, one_spot
from swarmctl.bridge.rig import Rig
from swarmctl.bridge.supervisor.limits import PatternLimits
from swarmctl.core.errors import ArmingError, SwarmctlError

FRAMES = 4
SPOTS = 3
HIDDEN = 2.0
"""Radii of a colloid around it in which no spot is looked for."""


def arm(
    bench: Bench,
    gatekeeper: Gatekeeper,
    rig: Rig,
    calibration: Calibration,
    operator: str,
    colloid_radius: float,
) -> None:
    """Show the gatekeeper what it wants to see, and arm it for a person.

    Spots are looked for first, within the narrow limits of probing, beside colloids of a radius
    (µm). Raises ArmingError with the reasons against it; nothing is armed then.
    """
    faults = calibration_faults(calibration, rig)
    if faults:
        raise ArmingError("; ".join(faults) + ".")

    def evidence(error: float | None) -> Evidence:
        return Evidence(
            calibration=calibration.digest,
            calibrated=calibration.made_at,
            expires=calibration.expires_at,
            spot_error=error,
            spot_error_max=rig.steering.spot_error_max,
            rig=rig.digest,
        )

    error = None
    if calibration.pattern is not None:
        gatekeeper.arm(operator, None)
        try:
            error = _spot_error(bench, rig, calibration, calibration.pattern, colloid_radius)
            bench.rest("the spots have been looked for")
        except BaseException:
            # Nobody may go on with what was armed for probing only.
            with suppress(SwarmctlError):
                bench.rest("the spots could not be looked for")
                gatekeeper.arm(operator, evidence(math.inf))
            raise
    gatekeeper.arm(operator, evidence(error))


def _spot_error(
    bench: Bench, rig: Rig, calibration: Calibration, pattern: PatternMap, colloid_radius: float
) -> float:
    entry = rig.output(pattern.output)
    assert isinstance(entry.limits, PatternLimits)  # its pattern has been calibrated
    shape = entry.driver.build().spec.shape
    radius = rig.steering.spot_radius * pattern.map.pixel_size / calibration.view.map.pixel_size
    hidden = HIDDEN * colloid_radius / calibration.view.map.pixel_size
    return spot_error(bench, pattern, shape, radius, entry.limits.power_max, hidden)


def spot_error(
    bench: Bench,
    pattern: PatternMap,
    shape: tuple[int, int],
    radius: float,
    power: float,
    hidden: float,
) -> float:
    """Project three spots where nobody is, and return the largest distance, px of the image.

    `shape` are rows and columns of the pattern; `radius` px and `power` of the spots are those of
    the pattern; `hidden` px around colloids are not looked at. A spot that is not seen around its
    place counts as inf. Raises ArmingError, DeviceError.
    """
    width = radius / pattern.map.pixel_size
    places = empty_places(bench, pattern, shape, hidden + width)[:SPOTS]
    if not places:
        raise ArmingError(
            f"the spot check: no place is {hidden + width:.0f} px away from the edges of image and "
            "pattern; let the pattern cover more of the field of view, or take smaller spots."
        )
    seen = [
        bench.difference(
            pattern.output, one_spot(pattern.map.to_sample(place), radius, power), FRAMES, hidden
        )
        for place in places
    ]
    return max(
        _error(difference, place, width) for place, difference in zip(places, seen, strict=True)
    )


def _error(difference: Floats, place: Floats, width: float) -> float:
    """How far [px] a spot of radius `width` px lies from a place; inf if none is seen around it."""
    half = math.ceil(6 * width)
    corner = np.maximum(np.rint(place).astype(int) - half, 0)
    part = difference[corner[1] :, corner[0] :][: 2 * half + 1, : 2 * half + 1]
    found = find_spot(part, width)
    return math.inf if found is None else float(np.linalg.norm(found[0] + corner - place))


def empty_places(
    bench: Bench, pattern: PatternMap, shape: tuple[int, int], margin: float
) -> list[Floats]:
    """Points [2] px of the image that are on the pattern, those furthest from anybody first.

    They are chosen from 7 x 7, `margin` px from the edges of the image and of the pattern, which
    would cut a spot off; `shape` is that of the pattern.
    """
    height, width = bench.frame_shape
    x = np.linspace(margin, width - 1 - margin, 7)
    y = np.linspace(margin, height - 1 - margin, 7)
    places = np.stack(np.meshgrid(x, y), -1).reshape(-1, 2)
    on = pattern.map.to_sample(places)
    inner = margin * pattern.map.pixel_size
    farthest = np.array([shape[1], shape[0]]) - 1 - inner
    places = places[(on >= inner).all(axis=1) & (on <= farthest).all(axis=1)]
    found = bench.colloids()
    away = np.full(len(places), np.inf)
    if len(found):
        away = np.linalg.norm(places[:, None] - found, axis=-1).min(axis=1)
    return [np.asarray(places[k], np.float64) for k in np.argsort(-away, kind="stable")]
