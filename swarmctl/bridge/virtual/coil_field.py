"""The field that currents in coils make, as the engine takes it."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from swarmctl.bridge.virtual.sample_config import CoilsConfig
from swarmctl.core.command import FieldCommand

Floats = npt.NDArray[np.float64]

_NEGLIGIBLE = 1e-9  # mT²


def coil_field(coils: CoilsConfig, values: Floats | None) -> FieldCommand:
    """Return the field of values [3K+1] of K coils' supply; None for no currents.

    They are steady currents [K] A, amplitudes [K] A, phases p [K] rad and one frequency f in Hz:
    coil k has the current steady_k + amplitude_k cos(2π f t - p_k). With C and S the field of its
    cosine and sine, B = steady + C cos φ + S sin φ. A field that turns on an ellipse acts as one on
    the circle of equal area.
    """
    matrix, count = np.asarray(coils.matrix), coils.count
    if values is None:
        values = np.zeros(3 * count + 1)
    steady = matrix @ values[:count]
    amplitude, phase = values[count : 2 * count], values[2 * count : 3 * count]
    cosine, sine = matrix @ (amplitude * np.cos(phase)), matrix @ (amplitude * np.sin(phase))
    turning = np.cross(cosine, sine)
    area = float(np.linalg.norm(turning))
    if area > _NEGLIGIBLE:
        axis = turning / area
        # The direction in the plane of the sample from which the angle is counted.
        along = np.array([axis[1], -axis[0], 0.0])
        flat = float(np.linalg.norm(along))
        along = along / flat if flat > 1e-6 else np.array([1.0, 0.0, 0.0])
        start = math.atan2(float(axis @ np.cross(along, cosine)), float(along @ cosine))
        strength = math.sqrt(area) * along
    else:
        axis, longer = np.zeros(3), cosine if cosine @ cosine >= sine @ sine else sine
        length = float(np.linalg.norm(longer))
        along = longer / length if length > 0 else longer
        c, s = float(along @ cosine), float(along @ sine)
        start, strength = -math.atan2(s, c), math.hypot(c, s) * along
    return FieldCommand(
        bias=np.float32(steady[:2]),  # type: ignore[arg-type]
        amplitude=np.float32(strength[:2]),  # type: ignore[arg-type]
        axis=np.float32(axis),  # type: ignore[arg-type]
        frequency=np.float32(values[-1]),  # type: ignore[arg-type]
        phase=np.float32(start),  # type: ignore[arg-type]
        gradient=np.zeros((2, 2), np.float32),  # type: ignore[arg-type]
    )
