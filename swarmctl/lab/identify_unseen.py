"""Fit of a species whose heading is not seen: what its motion alone can tell.

Displacements y_k, less the drift, of a swimmer with rotational diffusion D_r have for the commanded
ways S_k = ∫ c_v(t-τ) dt and angles Φ_k = ∫ c_ω(t-τ) dt up to the middle of an interval, in 2D,

    E y_k·y_l = g_v² s_k s_l S_k S_l cos(g_ω (Φ_l - Φ_k)) e^(-D_r (t_l - t_k)),   l > k + 1
    E y_k×y_l = g_v² s_k s_l S_k S_l sin(g_ω (Φ_l - Φ_k)) e^(-D_r (t_l - t_k)),

to which localisation adds -2 σ² for l = k + 1, and diffusion and localisation add 4 D Δ + 4 σ² for
l = k, where the first factor is g_v² s_k² S_k² (1 - D_r Δ/3). s = sin(x)/x of half the turn in the
interval. The first line without commands is the velocity autocorrelation of an active Brownian
particle (Howse et al., Phys. Rev. Lett. 99, 048102 (2007)); that of l = k and l = k + 1 without
swimming is the covariance estimator of Vestergaard, Blainey and Flyvbjerg, Phys. Rev. E 89, 022726
(2014). Parameters solve the weighted least squares over all pairs at chosen lags, whose weights
depend on the commands alone, so that the estimating equations are unbiased. Drift is the mean
displacement in intervals in which no swimming was commanded: of swimmers whose headings turn slowly
a mean would take minutes to settle. Covariances are those over colloids, as where headings are
seen.

Swimming backwards cannot be told from swimming forwards: the gain of the speed is its magnitude.
Turning without a command (`turn_bias`) is taken to be none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from swarmctl.core.errors import ConfigError
from swarmctl.lab.quasi_likelihood import by_colloid, jackknife_covariance
from swarmctl.lab.response import Response, Values

LAGS = 18
LONGEST_LAG = 60.0
"""s, of the pairs of intervals that are compared."""
THINNED = 2
"""Of pairs so many intervals or more apart every third is used: the next ones say much the same."""
ROUNDS = 30
TOLERANCE = 1e-2
RESTING = 100
"""Intervals without a command that a drift is worth."""


@dataclass(frozen=True)
class MotionFit:
    """A fit from motion alone: as `swarmctl.lab.identify_seen.Fit`, without residuals by mode."""

    names: tuple[str, ...]
    value: np.ndarray
    covariance: np.ndarray
    colloids: int
    unidentified: Mapping[str, str]


@dataclass(frozen=True)
class _Pairs:
    """Pairs of intervals [P] of a stretch, early and late or the same one, by number."""

    early: np.ndarray
    late: np.ndarray

    def every(self, step: int) -> _Pairs:
        """Every `step`-th pair."""
        return _Pairs(self.early[::step], self.late[::step])


def fit_unseen(response: Response, longest_delay: float) -> MotionFit:
    """Fit a species whose heading is not seen.

    Raises ConfigError where light was commanded: its law needs headings.
    """
    if response.power is not None:
        raise ConfigError(
            "identify: the law of light can be fitted only where headings are seen; record "
            "orientations, or command speeds."
        )
    s = response.stretches
    count = int(s.colloid.max()) + 1
    values, unidentified = _start(response, longest_delay)
    drift, drift_covariance, rests = _drift(response, values)
    if rests < RESTING:
        reason = f"only {rests} intervals without a command, {RESTING} are needed"
        unidentified |= {"drift_x": reason, "drift_y": reason}
    pairs = _pairs(response)
    seen = _seen(s.displacement - s.interval[:, None] * drift, pairs)
    if "turn_gain" in values:
        values |= _sense(response, values, pairs.every(7), seen[:, ::7])
    names = tuple(values)
    weight = _weight(response, values, pairs)
    score = information = np.zeros(0)
    for _ in range(ROUNDS):
        jacobian = _jacobian(response, values, pairs)
        weighted = jacobian * weight[:, None]
        miss = seen - _products(response, values, pairs)
        owner = s.colloid[pairs.early]
        score = by_colloid(np.einsum("cnp,cn->np", weighted, miss), owner, count)
        information = by_colloid(np.einsum("cnp,cnq->npq", weighted, jacobian), owner, count)
        total = information.sum(axis=0)
        scale = 1 / np.sqrt(np.maximum(np.diagonal(total), 1e-300))
        inverse = np.linalg.pinv(total * np.outer(scale, scale), hermitian=True, rcond=1e-10)
        step = scale * (inverse @ (scale * score.sum(axis=0)))
        each = (score * scale) @ inverse * scale
        moved = np.array(list(values.values())) + step
        values = dict(zip(names, moved.tolist(), strict=True))
        for name in ("diffusion", "rotational_diffusion", "speed_gain"):
            if name in values:
                values[name] = max(values[name], 1e-6)
        if "delay" in values:
            values["delay"] = float(np.clip(values["delay"], -0.1 * longest_delay, longest_delay))
        if (np.abs(step) <= TOLERANCE * np.sqrt(np.sum(each**2, axis=0))).all():
            break
    own, _ = jackknife_covariance(score, information)
    covariance = np.zeros((len(names) + 2,) * 2)
    covariance[:-2, :-2], covariance[-2:, -2:] = own, drift_covariance
    return MotionFit(
        (*names, "drift_x", "drift_y"),
        np.array([*values.values(), *drift]),
        covariance,
        count,
        unidentified,
    )


# Where to begin


def _start(response: Response, longest: float) -> tuple[dict[str, float], dict[str, str]]:
    """Values to begin with, from squared displacements, and why some cannot be told."""
    s = response.stretches
    unidentified = dict.fromkeys(("heading_variance", "turn_bias"), "no heading is seen")
    mean = s.displacement.sum(axis=0) / s.interval.sum()
    square = np.sum((s.displacement - s.interval[:, None] * mean) ** 2, axis=1)
    interval = float(np.mean(s.interval))
    if response.speed is None:
        reason = "swimming was not commanded, and no heading is seen"
        told = ("speed_gain", "turn_gain", "rotational_diffusion", "delay")
        level = float(np.mean(square)) / 8
        return {"diffusion": level / interval, "position_variance": level}, unidentified | (
            dict.fromkeys(told, reason)
        )
    best = (np.inf, 0.0, 0.0, 0.0)
    step = float(np.median(s.interval)) / 2
    for delay in np.arange(0.0, longest + step / 2, step):
        design = np.stack([response.commanded_way(float(delay)) ** 2, np.ones(len(s))], axis=1)
        found, *_ = np.linalg.lstsq(design, square, rcond=None)
        miss = float(np.mean((square - design @ found) ** 2))
        best = min(best, (miss, float(delay), float(found[0]), float(found[1])))
    _, delay, gain, level = best
    level = max(level, 1e-3 * float(np.mean(square))) / 8
    values = {
        "speed_gain": max(gain, 1e-6) ** 0.5,
        "rotational_diffusion": 0.02,
        "delay": delay,
        "diffusion": level / interval,
        "position_variance": level,
    }
    if response.turn_rate is None:
        return values, unidentified | {"turn_gain": "turning was not commanded"}
    return values | {"turn_gain": 1.0}, unidentified


def _sense(response: Response, values: Values, pairs: _Pairs, seen: np.ndarray) -> dict[str, float]:
    """Turn gain and D_r, to begin with, from a grid: the least squares have other minima."""
    weight = _weight(response, values, pairs)

    def miss(trial: dict[str, float]) -> float:
        left = seen - _products(response, dict(values) | trial, pairs)
        return float(np.sum(weight * np.sum(left**2, axis=0)))

    grid = [
        {"turn_gain": float(gain), "rotational_diffusion": rate}
        for gain in np.linspace(-1.6, 1.6, 33)
        for rate in (0.003, 0.02, 0.1)
    ]
    return min(grid, key=miss)


def _drift(response: Response, values: Values) -> tuple[np.ndarray, np.ndarray, int]:
    """Drift [2], its covariance over colloids, and the number of intervals that it is from: those
    in which nobody swims, or all if there are too few.
    """
    s = response.stretches
    resting = np.ones(len(s), bool)
    if response.speed is not None:
        around = [
            values["delay"] + shift * np.median(s.interval) for shift in (-1, -0.5, 0, 0.5, 1)
        ]
        ways = [np.abs(response.commanded_way(float(delay))) for delay in around]
        resting = np.max(ways, axis=0) == 0
    rests = int(resting.sum())
    used = resting if rests >= RESTING else np.ones(len(s), bool)
    count = int(s.colloid.max()) + 1
    moved = by_colloid(s.displacement * used[:, None], s.colloid, count)
    time = by_colloid((s.interval * used)[:, None], s.colloid, count)
    drift = moved.sum(axis=0) / time.sum()
    information = time[:, :, None] * np.eye(2)
    covariance, _ = jackknife_covariance(moved - time * drift, information)
    return drift, covariance, rests


# Products of displacements


def _pairs(response: Response) -> _Pairs:
    """Pairs at lags that grow in proportion, thinned where they are long."""
    s = response.stretches
    typical = float(np.median(s.interval))
    stretch, every = s.stretch, np.arange(len(s))
    most = max(min(LONGEST_LAG / typical, np.diff(s.first).max() / 2), 2)
    lags = np.unique(np.round(np.geomspace(1, most, LAGS)).astype(int))
    early, late = [every], [every]
    for lag in lags:
        first = every[: len(s) - lag : 1 if lag < THINNED else 3]
        first = first[stretch[first] == stretch[first + lag]]
        early.append(first)
        late.append(first + lag)
    return _Pairs(np.concatenate(early), np.concatenate(late))


def _seen(way: np.ndarray, pairs: _Pairs) -> np.ndarray:
    """y_k·y_l and y_k×y_l, [2,P]."""
    early, late = way[pairs.early], way[pairs.late]
    cross = early[:, 0] * late[:, 1] - early[:, 1] * late[:, 0]
    return np.stack([np.sum(early * late, axis=1), cross])


def _products(response: Response, values: Values, pairs: _Pairs) -> np.ndarray:
    """What is expected of them, [2,P]."""
    s, a, b = response.stretches, pairs.early, pairs.late
    same, neighbours = a == b, b == a + 1
    noise = np.where(same, 4 * values["diffusion"] * s.interval[a], 0.0)
    noise += values["position_variance"] * (4.0 * same - 2.0 * neighbours)
    if response.speed is None:
        return np.stack([noise, np.zeros(len(a))])
    delay, rate = values["delay"], values["rotational_diffusion"]
    gain = values.get("turn_gain", 0.0)
    way = values["speed_gain"] * response.commanded_way(delay)
    if response.turn_rate is not None:
        # sin(x)/x of half the turn, NumPy's sinc being that of π x.
        way = way * np.sinc(gain * response.commanded_turn(delay) / (2 * np.pi))
    angle = gain * response.commanded_angle(delay)
    middle = (s.start + s.end) / 2
    kept = np.where(same, 1 - rate * s.interval[a] / 3, np.exp(-rate * (middle[b] - middle[a])))
    size, turned = way[a] * way[b] * kept, angle[b] - angle[a]
    return np.stack([size * np.cos(turned) + noise, size * np.sin(turned)])


def _jacobian(response: Response, values: dict[str, float], pairs: _Pairs) -> np.ndarray:
    """Derivatives of the expected products by the parameters, [2,P,Q]."""
    columns = []
    for name, value in values.items():
        step = 1e-4 * max(abs(value), 1e-3)
        if name == "delay":
            step = 0.05 * float(np.median(response.stretches.interval))
        up, down = (
            _products(response, values | {name: value + sign * step}, pairs) for sign in (1, -1)
        )
        columns.append((up - down) / (2 * step))
    return np.stack(columns, axis=-1)


def _weight(response: Response, values: Values, pairs: _Pairs) -> np.ndarray:
    """Weights [P]: products of noisy displacements of fast swimmers vary most."""
    s = response.stretches
    level = 2 * values["diffusion"] * s.interval + 2 * values["position_variance"]
    if response.speed is not None:
        level = level + (values["speed_gain"] * response.commanded_way(values["delay"])) ** 2 / 2
    return 1 / (level[pairs.early] * level[pairs.late])
