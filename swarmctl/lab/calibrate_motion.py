"""What light does: estimators of the laws of swimming and turning. Pure functions.

Colloids differ from one another, so that standard errors take all samples of a colloid as one
observation (the sandwich estimator: Liang and Zeger, Biometrika 73 (1986), 13).
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from swarmctl.bridge.calibration import SpeedLaw, TurnLaw
from swarmctl.bridge.microscope.light_law import SpotReach, speed_by_power
from swarmctl.core.errors import CalibrationError

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

_STUCK = 0.2  # of the median speed at high power
_SIGNIFICANT = 3.0  # standard errors
_SURE = 5.0


@dataclass(frozen=True)
class Pulses:
    """M pulses of light on single colloids.

    Attributes:
        colloid: [M] identity.
        power: [M] of the spot, as it was sent.
        across: [M] µm, offset of the spot to the left of the director.
        duration: [M] s, of what was watched.
        along: [M] µm, way along the director; nan where no orientation was seen.
        square: [M] µm², squared distance from beginning to end.
        turned: [M] rad, by which the director turned; nan where no orientation was seen.
    """

    colloid: Ints
    power: Floats
    across: Floats
    duration: Floats
    along: Floats
    square: Floats
    turned: Floats

    def take(self, index: Bools) -> Pulses:
        """Return some of them."""
        return Pulses(*(getattr(self, f.name)[index] for f in dataclasses.fields(self)))


def without_stuck(pulses: Pulses) -> tuple[Pulses, int]:
    """Leave out colloids that hardly move at high power; return also how many these were."""
    way = np.where(np.isfinite(pulses.along), pulses.along, np.sqrt(pulses.square))
    speed = way / pulses.duration
    bright = pulses.power >= np.quantile(pulses.power, 0.6)
    usual = float(np.median(speed[bright]))
    names = np.unique(pulses.colloid)
    stuck = [
        name
        for name in names
        if (bright & (pulses.colloid == name)).sum() >= 2
        and np.median(speed[bright & (pulses.colloid == name)]) < _STUCK * usual
    ]
    return pulses.take(~np.isin(pulses.colloid, stuck)), len(stuck)


def speeds(pulses: Pulses) -> tuple[Floats, Floats, Ints]:
    """Return (power, speed µm/s, colloid) of what pulses say about swimming.

    Where orientations are seen, a speed is the way along the director over the time, one per pulse.
    Where they are not, pulses of about equal power are put together: the square of the speed is the
    mean squared distance less that in the dark, over the squared time; turning by noise within a
    pulse makes it too low by a share of D_r t/6. Raises CalibrationError without pulses in the dark
    then.
    """
    seen = np.isfinite(pulses.along)
    if seen.sum() >= 0.5 * len(seen):
        some = pulses.take(seen)
        return some.power, some.along / some.duration, some.colloid
    dark = pulses.power <= 0
    if dark.sum() < 5:
        raise CalibrationError(
            "speed: where no orientation is seen, the motion in the dark has to be known; let some "
            "pulses have no power."
        )
    drift = float(np.mean(pulses.square[dark] / pulses.duration[dark]))
    edges = np.unique(np.quantile(pulses.power[~dark], np.linspace(0, 1, 9)))
    group = np.clip(np.searchsorted(edges, pulses.power, "right") - 1, 0, len(edges) - 2)
    power, speed = [0.0], [0.0]
    for k in np.unique(group[~dark]):
        some = pulses.take((group == k) & ~dark)
        excess = float(np.mean((some.square - drift * some.duration) / some.duration**2))
        power.append(float(np.mean(some.power)))
        speed.append(float(np.sqrt(max(excess, 0.0))))
    return np.array(power), np.array(speed), np.arange(len(power))


def fit_speed(power: Floats, speed: Floats, colloid: Ints) -> SpeedLaw:
    """Fit the law of speed to M pulses by least squares.

    Sharp or smooth saturation is taken by the smaller residual. Where saturating does not lower the
    residual significantly, none was seen: speed_max is the law's speed at the highest power, and
    its error is None. Raises CalibrationError if nothing swims, or fewer than 4 powers were used.
    """
    if len(np.unique(power.round(6))) < 4:
        raise CalibrationError("speed: at least 4 different powers are needed.")
    if not (np.isfinite(power).all() and np.isfinite(speed).all()):
        raise CalibrationError("speed: a power or speed is not finite.")
    top = float(np.quantile(speed, 0.95))
    line = _fit(power, speed, None, top)
    laws: list[tuple[float, Any, Literal["sharp", "smooth"] | None]] = [(*line, None)]
    for saturation in ("sharp", "smooth"):
        laws.append((*_fit(power, speed, saturation, top), saturation))
    rest, values, kind = min(laws[1:], key=lambda law: float(law[0]))
    noise = laws[0][0] / max(len(power) - 2, 1)
    if laws[0][0] - rest < _SIGNIFICANT**2 * noise:
        rest, values, kind = laws[0]
    error = _sandwich(power, speed, colloid, values, kind)
    slope, threshold = float(values[0]), float(values[1])
    # Against the same speed at all powers; the threshold was chosen to fit, hence the higher level.
    gained = len(power) * float(np.var(speed)) - rest
    sure = gained > _SURE**2 * rest / max(len(power) - 3, 1)
    if not (sure and slope > _SIGNIFICANT * error[0]):
        raise CalibrationError(
            f"speed: no swimming by light is seen (slope {slope:.3g} ± {error[0]:.2g}); is the "
            "light on the colloids, and strong enough?"
        )
    if kind is None:
        fastest = slope * max(float(power.max()) - threshold, 0.0)
        return SpeedLaw(slope, threshold, fastest, "sharp", float(error[0]), float(error[1]), None)
    return SpeedLaw(
        slope, threshold, float(values[2]), kind, float(error[0]), float(error[1]), float(error[2])
    )


def _model(values: Any, power: Floats, saturation: Literal["sharp", "smooth"] | None) -> Floats:
    if saturation is None:
        return np.asarray(values[0] * np.maximum(power - values[1], 0.0))
    slope, threshold, fastest = (max(float(x), 1e-9) for x in values)
    return speed_by_power(power, SpeedLaw(slope, threshold, fastest, saturation))


def _fit(
    power: Floats, speed: Floats, saturation: Literal["sharp", "smooth"] | None, top: float
) -> tuple[float, Any]:
    """Sum of squared residuals and the parameters of the best fit, from several starts."""
    from scipy.optimize import least_squares

    highest = float(power.max())
    best: tuple[float, Any] = (np.inf, None)
    for share in (0.0, 0.1, 0.25, 0.5):
        start = [max(top, 1e-3) / (highest * (1 - share)) * 1.2, share * highest, top]
        count = 2 if saturation is None else 3
        upper = [np.inf, 0.95 * highest, 10 * max(top, 1e-3)]
        solved = least_squares(
            lambda values: _model(values, power, saturation) - speed,
            np.clip(start[:count], 1e-6, [0.99 * u for u in upper[:count]]),
            bounds=([0.0, 0.0, 1e-6][:count], upper[:count]),
            x_scale=np.maximum(np.abs(start[:count]), 1e-3),
        )
        if 2 * solved.cost < best[0]:
            best = (2 * solved.cost, solved.x)
    return best


def _sandwich(
    power: Floats,
    speed: Floats,
    colloid: Ints,
    values: Any,
    saturation: Literal["sharp", "smooth"] | None,
) -> Floats:
    """Standard errors of the parameters, all samples of a colloid being one observation."""
    columns = []
    for k in range(len(values)):
        step = 1e-4 * max(abs(values[k]), 1e-3)
        up, down = np.array(values, float), np.array(values, float)
        up[k] += step
        down[k] -= step
        columns.append(
            (_model(up, power, saturation) - _model(down, power, saturation)) / (2 * step)
        )
    return cluster_errors(
        np.column_stack(columns), speed - _model(values, power, saturation), colloid
    )


def cluster_errors(design: Floats, residual: Floats, cluster: Ints) -> Floats:
    """Standard errors [P] of least squares with the design [M,P], robust within clusters [M]."""
    names, index = np.unique(cluster, return_inverse=True)
    scores = np.zeros((len(names), design.shape[1]))
    np.add.at(scores, index, design * residual[:, None])
    bread = np.linalg.pinv(design.T @ design)
    few = len(names) / max(len(names) - 1, 1)
    return np.asarray(np.sqrt(np.diag(bread @ (few * scores.T @ scores) @ bread)), np.float64)


def fit_turn(pulses: Pulses, law: SpeedLaw, reach: SpotReach, radius: float) -> TurnLaw:
    """Fit the gain of turning to pulses whose spots lay beside their colloids.

    A regression through the origin of the turn rate on v c/a², with the speed v by the law and the
    light's centre c by the reach of a spot. Raises CalibrationError if no orientation is seen, or
    if the sign of the gain is not sure.
    """
    some = _turning(pulses)
    if len(np.unique(some.colloid)) < 2:
        raise CalibrationError(
            "turn: the orientation of too few colloids is seen; light cannot turn what has no "
            "direction that the camera shows."
        )
    drive, rate = turn_drive(some, law, reach, radius)
    gain = float((drive * rate).sum() / (drive**2).sum())
    error = float(cluster_errors(drive[:, None], rate - gain * drive, some.colloid)[0])
    if not abs(gain) > _SIGNIFICANT * error:
        raise CalibrationError(
            f"turn: it is not sure which way light turns colloids (gain {gain:.3g} ± {error:.2g}); "
            "use longer or more pulses, or a larger offset."
        )
    fastest = float(np.quantile(np.abs(rate), 0.99))
    return TurnLaw(gain, radius, error, max(fastest, abs(gain) * float(np.abs(drive).max())))


def turn_drive(
    pulses: Pulses, law: SpeedLaw, reach: SpotReach, radius: float
) -> tuple[Floats, Floats]:
    """Return (v c/a² in 1/s, turn rate in rad/s) of the pulses beside their colloids."""
    some = _turning(pulses)
    distance = np.abs(some.across)
    speed = speed_by_power(some.power * reach.share(distance), law)
    centre = np.sign(some.across) * reach.centre_of(distance)
    return speed * centre / radius**2, some.turned / some.duration


def _turning(pulses: Pulses) -> Pulses:
    return pulses.take(np.isfinite(pulses.turned) & (pulses.across != 0))
