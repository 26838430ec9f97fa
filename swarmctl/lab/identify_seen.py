"""Fit of a species whose heading is seen: gains, drift, diffusion, errors and delay together.

Turns and displacements are increments of the kind in `swarmctl.lab.quasi_likelihood`, with the
means of `swarmctl.lab.response`. Since a heading is seen with an error of variance σ_θ², it is
first smoothed: given all headings of a stretch, the errors are expected to be

    η̂ = σ_θ² Dᵀ Ψ⁻¹ ε,

ε being the residuals of the turns, Ψ their covariance and D the operator of differences. The
regressor of a displacement is then the expectation of ∫ v n̂ dt given the measured headings,
exp(-P/2) ∫ v n̂(θ̂) dt with P the variance of what smoothing leaves (an error of Berkson's kind,
which leaves gains unbiased: Carroll et al., Measurement Error in Nonlinear Models, chapter 1); what
that error adds to the displacements' variance is the known part h of ψ.

Turning by the offset of a spot depends on the heading itself, whose noise is that of the turns: the
regressor is not exogenous, and steering comes out a little low.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.optimize import least_squares

from swarmctl.core.errors import ConfigError
from swarmctl.lab.programme import Programme
from swarmctl.lab.quasi_likelihood import (
    Noise,
    Spectrum,
    by_colloid,
    eigenvalues,
    fit_noise,
    jackknife_covariance,
    log_likelihood,
    modes,
    noise_scores,
)
from swarmctl.lab.response import Response, Values, light_speed
from swarmctl.lab.stretches import wrapped

ROUNDS = 25
TOLERANCE = 1e-2
"""The fit has converged when no value changes by more than so many of its standard errors."""
HALVINGS = 6
BINS = 8
SATURATES = 4.0
"""Twice the gain in likelihood from which on a saturation counts as seen (two standard errors)."""
NOISE = ("diffusion", "position_variance", "rotational_diffusion", "heading_variance")
"""Parameters of the noise, behind the others."""


@dataclass(frozen=True)
class Fit:
    """A fit: values, their covariance over colloids, and what is left over.

    Attributes:
        names: of the P parameters.
        value: [P]. covariance: [P,P]. colloids: how many there are.
        residual: normalised residuals by mode, of displacements [K,2] and turns [K,1].
        eigenvalue: λ [K] of these modes.
        left: residual displacements [K,2] µm in time.
        unidentified: name -> why, of parameters that the recording cannot tell.
    """

    names: tuple[str, ...]
    value: np.ndarray
    covariance: np.ndarray
    colloids: int
    residual: tuple[np.ndarray, np.ndarray]
    eigenvalue: np.ndarray
    left: np.ndarray
    unidentified: Mapping[str, str]


@dataclass(frozen=True)
class _Increments:
    """One kind of increments at given values: residual modes, their spectrum, the noise fitted."""

    residual: np.ndarray
    spectrum: Spectrum
    noise: Noise

    @property
    def variance(self) -> np.ndarray:
        return self.spectrum.variance(self.noise)

    @property
    def score(self) -> float:
        return log_likelihood(self.residual, self.variance)


@dataclass(frozen=True)
class _State:
    """Everything at given values: headings smoothed, both kinds of increments, the likelihood."""

    values: dict[str, float]
    begin: np.ndarray
    turn: np.ndarray
    shrink: float
    turns: _Increments
    ways: _Increments
    left: np.ndarray

    @property
    def score(self) -> float:
        return self.turns.score + self.ways.score


def fit_seen(response: Response, longest_delay: float) -> Fit:
    """Fit a species whose heading is seen; delays are looked for up to `longest_delay` s.

    Raises ConfigError if no heading is seen.
    """
    if response.stretches.heading is None:
        raise ConfigError("identify: this fit needs headings that are seen.")
    values, unidentified = _start(response, longest_delay)
    if response.power is None:
        state = _maximise(response, values, longest_delay)
    else:
        state, unidentified = _saturated(response, values, longest_delay)
    return _result(response, state, unidentified)


# Where to begin


def _start(response: Response, longest: float) -> tuple[dict[str, float], dict[str, str]]:
    """Values to begin with, and why some parameters cannot be told."""
    values = {"drift_x": 0.0, "drift_y": 0.0, "turn_bias": 0.0, "delay": 0.0}
    if response.speed is not None:
        values["speed_gain"] = 1.0
    if response.turn_rate is not None:
        values["turn_gain"] = 1.0
    if response.power is not None:
        values |= {"slope": 1.0, "threshold": 0.0, "speed_max": np.inf}
    if response.steers:
        values["steering"] = 0.0
    if not (response.swims or response.turns):
        del values["delay"]
        return values, {"delay": "nothing was commanded"}
    step = float(np.median(response.stretches.interval))
    grid = np.arange(0.0, longest + step / 2, step)
    tried = [_least_squares(response, values | {"delay": float(delay)}) for delay in grid]
    values = max(tried, key=lambda found: found[0])[1]
    if response.power is not None:
        values |= _light_law(response, values)
    return values, {}


def _least_squares(response: Response, values: Values) -> tuple[float, dict[str, float]]:
    """Likelihood in white noise, and values with gains by least squares at the given delay."""
    s, found, score = response.stretches, dict(values), 0.0
    assert s.heading is not None
    director = response.directors(values, s.heading[s.node], s.turn)
    ways = {
        name: response.swim({**values, "speed_gain": 0.0, "slope": 0.0, name: 1.0}, director)
        for name in ("speed_gain", "slope")
        if name in values
    }
    turns = {}
    if "turn_gain" in values:
        turns["turn_gain"] = response.commanded_turn(values["delay"])[:, None]
    if "steering" in values:
        turns["steering"] = response.steered(values, director)[:, None]
    for target, columns in ((s.displacement, ways), (s.turn[:, None], turns)):
        if columns:
            design = np.stack([column.ravel() for column in columns.values()], axis=1)
            gains, *_ = np.linalg.lstsq(design, target.ravel(), rcond=None)
            left = target.ravel() - design @ gains
            score -= 0.5 * len(left) * float(np.log(np.mean(left**2)))
            found |= dict(zip(columns, gains.tolist(), strict=True))
    return score, found


def _light_law(response: Response, values: Values) -> dict[str, float]:
    """Slope, threshold and saturation from speeds in bins of the power."""
    assert response.power is not None
    s, power = response.stretches, response.power
    assert s.heading is not None
    director = response.directors(values, s.heading[s.node], s.turn)
    lit = power.value[power.value > 0]
    if not lit.size:
        raise ConfigError("identify: power was commanded, but never above 0; record with light.")
    edges = np.unique(np.quantile(lit, np.linspace(0, 1, BINS + 1)))
    which = np.clip(np.searchsorted(edges, power.value, side="right") - 1, 0, len(edges) - 2)
    which = np.where(power.value > 0, which, -1)
    columns, centres = [], []
    for number in range(max(len(edges) - 1, 1)):
        own = Response(s, Programme(power.edge, 1.0 * (which == number)), None, None, None, False)
        columns.append(own.swim({"speed_gain": 1.0, "delay": values["delay"]}, director).ravel())
        centres.append(float(power.value[which == number].mean()))
    speed, *_ = np.linalg.lstsq(np.stack(columns, axis=1), s.displacement.ravel(), rcond=None)
    most = float(power.value.max())

    top = max(float(np.max(speed)), 1e-9)

    def miss(law: np.ndarray) -> np.ndarray:
        trial = dict(zip(("slope", "threshold", "speed_max"), law.tolist(), strict=True))
        return light_speed(np.asarray(centres), trial, response.smooth) - speed

    guess = np.array([1.5 * top / most, 0.05 * most, 1.02 * top])
    bounds = ([0.0, -np.inf, 0.0], np.inf)
    slope, threshold, speed_max = least_squares(miss, guess, bounds=bounds, x_scale=guess).x
    return {"slope": float(slope), "threshold": float(threshold), "speed_max": float(speed_max)}


# The maximum


def _evaluate(response: Response, values: dict[str, float]) -> _State:
    """Residuals and fitted noise at given values."""
    s = response.stretches
    assert s.heading is not None
    begin, interval = s.heading[s.node], s.interval
    lengths = np.diff(s.first)
    mean = np.repeat(np.add.reduceat(interval, s.first[:-1]) / lengths, lengths)
    eigenvalue = eigenvalues(s.first)
    director = response.directors(values, begin, s.turn)
    expected = response.turning(values, director) + values["turn_bias"] * interval
    turned = modes(wrapped(s.turn - expected)[:, None], s.first)
    spectrum = Spectrum(2 * mean, eigenvalue, np.zeros(len(s)))
    noise = fit_noise(turned, spectrum)
    turns = _Increments(turned, spectrum, noise)

    # What is known of the errors of the headings, with none before the first and after the last.
    pull = modes(turned / turns.variance[:, None], s.first)[:, 0]
    error = np.zeros(len(s) + len(lengths))
    error[s.node + 1] += noise.error * pull
    error[s.node] -= noise.error * pull
    begin = begin - error[s.node]
    turn = s.turn - (error[s.node + 1] - error[s.node])
    spread = 2 * noise.diffusion * mean
    kept = np.sum(eigenvalue * noise.error / turns.variance) / len(error)
    shrink = float(np.exp(-noise.error * (1 - kept) / 2 - np.mean(spread) / 12))
    director = response.directors(values, begin, turn)
    swum = shrink * response.swim(values, director)
    left = s.displacement - swum
    left -= interval[:, None] * np.array([values["drift_x"], values["drift_y"]])
    # By how much the heading's error turns a displacement, averaged over both ends of an interval.
    loose = spread * noise.error / turns.variance * (1 - eigenvalue / 4) + spread / 12
    square = np.add.reduceat(np.sum(swum**2, axis=1), s.first[:-1]) / lengths
    known = 0.5 * np.repeat(square, lengths) * loose
    residual, spectrum = modes(left, s.first), Spectrum(2 * mean, eigenvalue, known)
    ways = _Increments(residual, spectrum, fit_noise(residual, spectrum))
    return _State(dict(values), begin, turn, shrink, turns, ways, left)


def _jacobians(
    response: Response, state: _State, names: tuple[str, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """Derivatives of the means of modes: of displacements [K,2,P] and turns [K,1,P]."""
    s, values = response.stretches, state.values
    ways, turns = np.zeros((len(s), 2, len(names))), np.zeros((len(s), 1, len(names)))

    def means(trial: Values) -> tuple[np.ndarray, np.ndarray]:
        director = response.directors(trial, state.begin, state.turn)
        return state.shrink * response.swim(trial, director), response.turning(trial, director)

    for index, name in enumerate(names):
        if name in ("drift_x", "drift_y"):
            ways[:, int(name == "drift_y"), index] = s.interval
        elif name == "turn_bias":
            turns[:, 0, index] = s.interval
        else:
            step = _difference(response, values, name)
            (up, left), (down, right) = (
                means(values | {name: values[name] + sign * step}) for sign in (1, -1)
            )
            ways[:, :, index] = (up - down) / (2 * step)
            turns[:, 0, index] = (left - right) / (2 * step)
    return modes(ways, s.first), modes(turns, s.first)


def _difference(response: Response, values: Values, name: str) -> float:
    """How far a value is moved to see what it does."""
    if name == "delay":
        return 0.05 * float(np.median(response.stretches.interval))
    if name == "threshold":
        assert response.power is not None
        return 1e-3 * float(response.power.value.max())
    return 1e-4 * max(abs(values[name]), 1e-3)


def _maximise(response: Response, values: dict[str, float], longest: float) -> _State:
    """Gauss-Newton with the noise fitted anew in every step."""
    names = _free(values)
    state = _evaluate(response, values)
    for _ in range(ROUNDS):
        ways, turns = _jacobians(response, state, names)
        information, score = np.zeros((len(names),) * 2), np.zeros(len(names))
        for jacobian, part in ((ways, state.ways), (turns, state.turns)):
            weighted = jacobian / part.variance[:, None, None]
            information += np.einsum("kcp,kcq->pq", weighted, jacobian)
            score += np.einsum("kcp,kc->p", weighted, part.residual)
        scale = 1 / np.sqrt(np.maximum(np.diagonal(information), 1e-300))
        inverse = np.linalg.pinv(information * np.outer(scale, scale), hermitian=True, rcond=1e-9)
        step = scale * (inverse @ (scale * score))
        new = state
        for halving in range(HALVINGS):
            moved = np.array([values[n] for n in names]) + step / 2**halving
            trial = values | dict(zip(names, moved.tolist(), strict=True))
            if "delay" in trial:
                trial["delay"] = float(np.clip(trial["delay"], -0.1 * longest, longest))
            new = _evaluate(response, trial)
            if new.score >= state.score - 1e-9:
                break
        else:
            return state
        small = np.abs(step) <= TOLERANCE * scale * np.sqrt(np.maximum(np.diagonal(inverse), 0))
        values, state = new.values, new
        if small.all():
            break
    return state


def _free(values: Values) -> tuple[str, ...]:
    return tuple(name for name, value in values.items() if np.isfinite(value))


def _saturated(
    response: Response, values: dict[str, float], longest: float
) -> tuple[_State, dict[str, str]]:
    """Fit the law of light with a saturation, if the recording shows one, and without it."""
    assert response.power is not None
    most = float(response.power.value.max())
    linear = _maximise(response, values | {"speed_max": np.inf}, longest)
    bent = _maximise(response, values, longest)
    unbent = float(light_speed(np.asarray(most), bent.values | {"speed_max": np.inf}, False))
    reached = bent.values["speed_max"] < (2 if response.smooth else 1) * unbent
    if reached and 2 * (bent.score - linear.score) > SATURATES:
        return bent, {}
    return linear, {"speed_max": f"no saturation of the speed is seen up to the power {most:.4g}"}


# The result


def _result(response: Response, state: _State, unidentified: Mapping[str, str]) -> Fit:
    s = response.stretches
    names = _free(state.values)
    count = int(s.colloid.max()) + 1
    size = len(names) + len(NOISE)
    score, information = np.zeros((count, size)), np.zeros((count, size, size))
    own = slice(0, len(names))
    jacobians = _jacobians(response, state, names)
    noise = []
    for number, part in enumerate((state.ways, state.turns)):
        jacobian = jacobians[number]
        weighted = jacobian / part.variance[:, None, None]
        score[:, own] += by_colloid(
            np.einsum("kcp,kc->kp", weighted, part.residual), s.colloid, count
        )
        information[:, own, own] += by_colloid(
            np.einsum("kcp,kcq->kpq", weighted, jacobian), s.colloid, count
        )
        place = slice(len(names) + 2 * number, len(names) + 2 * number + 2)
        found, expected = noise_scores(part.residual, part.spectrum, part.noise)
        score[:, place] = by_colloid(found, s.colloid, count)
        information[:, place, place] = by_colloid(expected, s.colloid, count)
        noise += [part.noise.diffusion, part.noise.error]
    covariance, _ = jackknife_covariance(score, information)
    return Fit(
        names=(*names, *NOISE),
        value=np.array([*(state.values[name] for name in names), *noise]),
        covariance=covariance,
        colloids=count,
        residual=(
            state.ways.residual / np.sqrt(state.ways.variance)[:, None],
            state.turns.residual / np.sqrt(state.turns.variance)[:, None],
        ),
        eigenvalue=state.ways.spectrum.eigenvalue,
        left=state.left,
        unidentified=unidentified,
    )
