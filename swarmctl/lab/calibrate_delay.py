"""How late light and colloids are: estimators of delays. Pure functions."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from swarmctl.core.errors import CalibrationError

Floats = npt.NDArray[np.float64]


def switch_time(time: Floats, brightness: Floats, exposure: float) -> float:
    """Return when a light went on or off, s, from K frames that saw it before and after.

    time [K] s is the middle of the exposures, brightness [K] that of the spot. A frame that is
    exposed while the light changes is bright by the share of its exposure that was lit. Between two
    exposures the middle of the gap is returned. Raises CalibrationError unless it changes clearly.
    """
    if len(time) < 4:
        raise CalibrationError("delay: at least 4 frames have to show the light before and after.")
    before, after = float(brightness[0]), float(brightness[-1])
    change = after - before
    share = (brightness - before) / (change if change else 1.0)
    early, late = share < 0.1, share > 0.9
    if not (early[0] and late[-1]) or np.diff(share).min() < -0.3:
        raise CalibrationError("delay: the light is not seen to go on, or not to stay on.")
    last = int(np.flatnonzero(early)[-1])
    first = int(np.flatnonzero(late)[late.nonzero()[0] > last][0])
    partial = share[last + 1 : first]
    if len(partial) == 1:
        return float(time[last + 1] + exposure * (0.5 - partial[0]))
    if len(partial) > 1:
        # A slow light: where it is half as bright.
        return float(np.interp(0.5, share[last : first + 1], time[last : first + 1]))
    return float((time[last] + time[first]) / 2)


def response_lag(time: Floats, way: Floats, settled: float) -> float:
    """Return how long after 0 s colloids began to swim, from their mean way [K] µm at times [K] s.

    After `settled` s the way is V (t - lag): a line, whose lag is the dead time and the time
    constant of the response together. Raises CalibrationError if they do not swim.
    """
    before, late = time <= 0, time >= settled
    if before.sum() < 1 or late.sum() < 3:
        raise CalibrationError("delay: too few frames before and after the light.")
    rest = float(way[before].mean())
    speed, offset = np.polyfit(time[late], way[late] - rest, 1)
    if not speed > 0:
        raise CalibrationError("delay: colloids do not swim when there is light.")
    return float(-offset / speed)


def fit_response(time: Floats, way: Floats) -> tuple[float, float, float]:
    """Fit (dead time s, time constant s, speed µm/s) to mean ways [K] µm at times [K] s.

    Before the dead time nothing moves; then the speed rises as V (1 - exp(-t/τ)), and the way is
    V (t - τ (1 - exp(-t/τ))). Least squares, both times within the record.
    """
    from scipy.optimize import least_squares

    longest = float(time.max())

    def model(values: Floats) -> Floats:
        dead, tau, speed, rest = values
        passed = np.maximum(time - dead, 0.0)
        return np.asarray(rest + speed * (passed - tau * -np.expm1(-passed / tau)))

    rough = max(float((way[-1] - way[0]) / longest), 1e-6)
    best = None
    for dead in (0.02 * longest, 0.2 * longest):
        solved = least_squares(
            lambda values: model(values) - way,
            [dead, 0.1 * longest, rough, float(way[0])],
            bounds=([0.0, 1e-4, 0.0, -np.inf], [longest, longest, np.inf, np.inf]),
        )
        if best is None or solved.cost < best.cost:
            best = solved
    assert best is not None
    return float(best.x[0]), float(best.x[1]), float(best.x[2])
