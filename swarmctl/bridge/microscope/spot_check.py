"""Whether light falls where the calibration says: what has to be shown before arming."""

from __future__ import annotations

import math

import numpy as np

from swarmctl.bridge.calibration import Calibration, PatternMap, calibration_faults
from swarmctl.bridge.gatekeeper import Evidence, Gatekeeper
from swarmctl.bridge.microscope.probing import Bench, find_spot, one_spot
from swarmctl.bridge.rig import Rig
from swarmctl.bridge.supervisor.limits import PatternLimits
from swarmctl.core.errors import ArmingError

FRAMES = 4


def arm(
    bench: Bench, gatekeeper: Gatekeeper, rig: Rig, calibration: Calibration, operator: str
) -> None:
    """Show the gatekeeper what it wants to see, and arm it for a person.

    Spots are looked for first, within the narrow limits of probing. Raises ArmingError with the
    reasons against it.
    """
    faults = calibration_faults(calibration, rig)
    if faults:
        raise ArmingError("; ".join(faults) + ".")
    error = None
    if calibration.pattern is not None:
        gatekeeper.arm(operator, None)
        try:
            error = _spot_error(bench, rig, calibration, calibration.pattern)
        finally:
            bench.rest("the spots have been looked for")
    evidence = Evidence(
        calibration=calibration.digest,
        calibrated=calibration.made_at,
        expires=calibration.expires_at,
        spot_error=error,
        spot_error_max=rig.steering.spot_error_max,
        rig=rig.digest,
    )
    gatekeeper.arm(operator, evidence)


def _spot_error(bench: Bench, rig: Rig, calibration: Calibration, pattern: PatternMap) -> float:
    entry = rig.output(pattern.output)
    assert isinstance(entry.limits, PatternLimits)  # its pattern has been calibrated
    shape = entry.driver.build().spec.shape
    radius = rig.steering.spot_radius * pattern.map.pixel_size / calibration.view.map.pixel_size
    return spot_error(bench, pattern, shape, bench.frame_shape, radius, entry.limits.power_max)


def spot_error(
    bench: Bench,
    pattern: PatternMap,
    shape: tuple[int, int],
    image: tuple[int, int],
    radius: float,
    power: float,
) -> float:
    """Project three spots, one after the other, and return the largest distance, px of the image.

    `shape` are rows and columns of the pattern, `image` those of the frames; `radius` px and
    `power` of the spots are those of the pattern. A spot that is not seen counts as inf. Raises
    ArmingError, DeviceError.
    """
    places = _places(pattern, shape, image)
    if not places:
        return math.inf
    seen = [
        bench.difference(pattern.output, one_spot(place, radius, power), FRAMES) for place in places
    ]
    bench.rest("the spots have been looked for")
    worst = 0.0
    for place, difference in zip(places, seen, strict=True):
        found = find_spot(difference, radius / pattern.map.pixel_size)
        if found is None:
            return math.inf
        worst = max(worst, float(np.linalg.norm(found[0] - pattern.map.to_image(place))))
    return worst


def _places(
    pattern: PatternMap, shape: tuple[int, int], image: tuple[int, int]
) -> list[np.ndarray]:
    """Three points of the pattern, px, well inside of it and of the image."""
    height, width = image
    candidates = [(0.5, 0.5), (0.3, 0.35), (0.7, 0.65), (0.35, 0.7), (0.65, 0.3), (0.45, 0.6)]
    places = []
    for x, y in candidates:
        place = pattern.map.to_sample(np.array([x * (width - 1), y * (height - 1)]))
        if (place > 0).all() and (place < [shape[1] - 1, shape[0] - 1]).all():
            places.append(place)
    return places[:3]
