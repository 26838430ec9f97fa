"""How late light and colloids are: estimators of delays. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from swarmctl.core.errors import CalibrationError

Floats = npt.NDArray[np.float64]

_FREEDOM = 4.0
"""Degrees of freedom of the noise of a switch: a switch that went wrong weighs little."""
_LIKELY = 1.92
"""Fall of the log-likelihood at the ends of a 95 % interval: half of chi² with one degree."""
_SURE = 5.0
"""Standard errors by which colloids have to swim."""
_LAGS, _RISES, _FINE = 161, 20, 81


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


@dataclass(frozen=True)
class Switch:
    """Mean ways [K] µm of colloids along their directors at times [K] s; light is on from 0 s."""

    time: Floats
    way: Floats


@dataclass(frozen=True)
class ResponseFit:
    """How late colloids swim.

    Attributes:
        lag: s, dead time and rise time together: the way is V (t - lag) in the end.
        interval: s, of the lag, at 95 %.
        rise_time: s, time constant of the speed.
        lags: [S] s, of each switch, where the others say what the rise time is.
        speeds: [S] µm/s, of each switch.
    """

    lag: float
    interval: tuple[float, float]
    rise_time: float
    lags: Floats
    speeds: Floats


def fit_response(switches: Sequence[Switch]) -> ResponseFit:
    """Find when colloids begin to swim after S switches of light, from all in one likelihood.

    After a dead time the speed rises as V (1 - exp(-t/τ)); V is free for every switch. Steps of the
    way from frame to frame are noisy by diffusion, independent of one another, and by localisation,
    whose error in a step comes back in the next one with the other sign. Both variances are found
    with the rest. The noise of a switch is a multivariate t of 4 degrees of freedom (Lange, Little
    and Taylor, J. Am. Stat. Assoc. 84 (1989), 881), so that a switch that went wrong weighs little.
    The interval is that of the profile likelihood. Raises CalibrationError for fewer than 3
    switches, fewer than 6 frames of one, and where colloids do not swim.
    """
    if len(switches) < 3 or min(len(s.time) for s in switches) < 6:
        raise CalibrationError("delay: at least 3 switches with 6 frames each have to be seen.")
    period = float(np.median(np.concatenate([np.diff(s.time) for s in switches])))
    last = float(min(s.time[-1] for s in switches))
    lag = np.linspace(-2 * period, 0.7 * last, _LAGS)
    # Denser where a rise is hard to tell from none.
    rise = 0.5 * last * np.linspace(0.0, 1.0, _RISES) ** 2
    noise = _first_noise(switches, period)
    place = 0, 0
    for _ in range(3):
        likely = _likelihoods(switches, lag, rise, noise)
        total = likely.sum(axis=0)
        there = np.unravel_index(int(np.argmax(total)), total.shape)
        if place == (int(there[0]), int(there[1])):
            break
        place = int(there[0]), int(there[1])
        noise = _fit_noise(switches, float(lag[place[0]]), float(rise[place[1]]), noise)
    speeds = np.array([
        _speed(s, float(lag[place[0]]), float(rise[place[1]]), noise) for s in switches
    ])  # fmt: skip
    error = float(speeds.std(ddof=1)) / np.sqrt(len(speeds))
    if not np.median(speeds) > _SURE * error:
        raise CalibrationError(
            "delay: colloids are not seen to swim when the light goes on; is the power enough?"
        )
    # Finer around the best, so that the grid is not felt.
    fine, finer = (
        _around(axis, total.max(axis=1 - k) > total.max() - 3 * _LIKELY)
        for k, axis in enumerate((lag, rise))
    )
    total = _likelihoods(switches, fine, finer, noise).sum(axis=0)
    profile = total.max(axis=1)
    best = int(np.argmax(profile))
    near = np.flatnonzero(profile > profile.max() - _LIKELY)
    # Rounded outwards to points of the grid.
    low, high = fine[max(near[0] - 1, 0)], fine[min(near[-1] + 1, _FINE - 1)]
    slow = int(np.argmax(total[best]))
    alone = _likelihoods(switches, lag, finer[slow : slow + 1], noise)[:, :, 0]
    return ResponseFit(
        lag=float(fine[best]),
        interval=(float(low), float(high)),
        rise_time=float(finer[slow]),
        lags=lag[np.argmax(alone, axis=1)],
        speeds=speeds,
    )


def _around(axis: Floats, likely: npt.NDArray[np.bool_]) -> Floats:
    """Points of an axis, denser, where they are likely."""
    inside = np.flatnonzero(likely)
    low, high = axis[max(inside[0] - 1, 0)], axis[min(inside[-1] + 1, len(axis) - 1)]
    return np.linspace(low, high, _FINE)


def _steps(time: Floats, lag: Floats, rise: Floats) -> Floats:
    """Steps [L,R,K-1] s of the way at a speed of 1 µm/s, for lags [L] s and rise times [R] s."""
    dead = lag[:, None, None] - rise[None, :, None]
    passed = np.maximum(time - dead, 0.0)
    tau = np.maximum(rise, 1e-9)[None, :, None]
    return np.asarray(np.diff(passed + tau * np.expm1(-passed / tau), axis=-1))


def _covariance(time: Floats, noise: Floats) -> Floats:
    """Of steps [K-1]: noise is that of diffusion in µm²/s, and of localisation in µm²."""
    count = len(time) - 1
    found = np.diag(noise[0] * np.diff(time) + 2 * noise[1])
    found -= noise[1] * (np.eye(count, k=1) + np.eye(count, k=-1))
    return np.asarray(found)


def _likelihoods(
    switches: Sequence[Switch],
    lag: Floats,
    rise: Floats,
    noise: Floats,
    restricted: bool = False,
) -> Floats:
    """Log-likelihoods [S,L,R] of switches, each with its best speed.

    `restricted` to what does not depend on speeds (REML), by which noise is found without bias.
    """
    found = np.empty((len(switches), len(lag), len(rise)))
    for k, switch in enumerate(switches):
        covariance = _covariance(switch.time, noise)
        whiten = np.linalg.inv(np.linalg.cholesky(covariance))
        seen = whiten @ np.diff(switch.way)
        model = _steps(switch.time, lag, rise) @ whiten.T
        shown = np.maximum((model**2).sum(axis=-1), 1e-30)
        # Backwards nothing swims: then the model is rest.
        rest = float(seen @ seen) - np.maximum(model @ seen, 0.0) ** 2 / shown
        power = _FREEDOM + len(seen) - 1  # one of them went into the speed
        found[k] = -0.5 * np.linalg.slogdet(covariance)[1]
        found[k] -= 0.5 * power * np.log1p(rest / _FREEDOM)
        if restricted:
            found[k] -= 0.5 * np.log(shown)
    return found


def _first_noise(switches: Sequence[Switch], period: float) -> Floats:
    """A start: from second differences of ways, in which steady swimming does not show."""
    bends = np.concatenate([np.diff(s.way, 2) for s in switches])
    spread = max((1.4826 * float(np.median(np.abs(bends)))) ** 2, 1e-12)
    return np.array([spread / (4 * period), spread / 12])


def _fit_noise(switches: Sequence[Switch], lag: float, rise: float, start: Floats) -> Floats:
    """The likeliest noise for a lag and a rise time."""
    from scipy.optimize import minimize

    def miss(logs: Floats) -> float:
        some = _likelihoods(switches, np.array([lag]), np.array([rise]), np.exp(logs), True)
        return -float(some.sum())

    found = minimize(
        miss, np.log(start), method="Nelder-Mead", options={"xatol": 0.05, "fatol": 0.05}
    )
    return np.exp(np.clip(found.x, np.log(start) - 12, np.log(start) + 12))


def _speed(switch: Switch, lag: float, rise: float, noise: Floats) -> float:
    """Speed µm/s by generalised least squares."""
    inverse = np.linalg.inv(_covariance(switch.time, noise))
    model = _steps(switch.time, np.array([lag]), np.array([rise]))[0, 0]
    shown = float(model @ inverse @ model)
    return float(model @ inverse @ np.diff(switch.way)) / shown if shown > 0 else 0.0
