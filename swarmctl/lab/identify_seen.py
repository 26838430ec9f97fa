"""Fit of a species whose heading is seen: gains, drift, diffusion, errors and delay together.

Displacements are increments of the kind in `swarmctl.lab.quasi_likelihood`, turns those of
`swarmctl.lab.heading_likelihood`, with the means of `swarmctl.lab.response`. Since a heading is
seen with an error, it is first smoothed: the errors expected from all headings of a stretch are
taken off. The regressor of a displacement is then the expectation of ∫ v n̂ dt given the measured
headings, exp(-P/2) ∫ v n̂(θ̂) dt with P the variance of what smoothing leaves (an error of
Berkson's kind, which leaves gains unbiased: Carroll et al., Measurement Error in Nonlinear Models,
chapter 1); what that error adds to the displacements' variance is the known part h of ψ. Turning by
the offset of a spot is linear about the smoothed headings, and scaled down in the same way.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from swarmctl.core.errors import ConfigError
from swarmctl.core.wrapping import wrapped_angle
from swarmctl.lab.heading_likelihood import (
    Innovations,
    Turns,
    fit_turn_noise,
    heading_errors,
    innovations,
)
from swarmctl.lab.identify_start import starting_values
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

ROUNDS = 25
TOLERANCE = 1e-2
"""The fit has converged when no value changes by more than so many of its standard errors, or"""
GAIN = 1e-3
"""when the log-likelihood rises by less, as at the kink of a sharp saturation."""
HALVINGS = 6
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
class _Path:
    """Headings to be linear about: at all frames [K+S] rad, and E cos of their errors."""

    heading: np.ndarray
    sharpness: float


@dataclass(frozen=True)
class _Ways:
    """Displacements at given values: residual modes, their spectrum, the noise fitted."""

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
    """Everything at given values: both kinds of increments, smoothed headings, the likelihood.

    `about` is the path that turns are linear about, `smooth` the one that came out.
    """

    values: dict[str, float]
    about: _Path
    smooth: _Path
    shrink: float
    turn_noise: Noise
    turns: Innovations
    ways: _Ways
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
    values, unidentified = starting_values(response, longest_delay)
    if response.power is None:
        state = _maximise(response, values, longest_delay)
    else:
        state, unidentified = _saturated(response, values, longest_delay)
    return _result(response, state, unidentified)


# The maximum


def _turns(response: Response, values: Values, about: _Path) -> Turns:
    """What is left of the turns."""
    s = response.stretches
    assert s.heading is not None
    expected, kept = response.turning(values, about.heading[s.node], about.sharpness)
    expected = expected + values["turn_bias"] * s.interval
    off = (s.heading - about.heading)[s.node]
    return Turns(wrapped_angle(s.turn - expected - (kept - 1) * off), kept, 2 * s.interval, s.first)


def _evaluate(response: Response, values: dict[str, float], about: _Path) -> _State:
    """Residuals and fitted noise at given values."""
    s = response.stretches
    assert s.heading is not None
    interval, lengths = s.interval, np.diff(s.first)
    mean = np.repeat(np.add.reduceat(interval, s.first[:-1]) / lengths, lengths)
    eigenvalue = eigenvalues(s.first)
    turns = _turns(response, values, about)
    noise = fit_turn_noise(turns)

    heading = s.heading - heading_errors(turns, noise)
    # What smoothing leaves of the errors, on average, as if nothing steered.
    variance = Spectrum(2 * mean, eigenvalue, np.zeros(len(s))).variance(noise)
    unknown = noise.error * (1 - np.sum(eigenvalue * noise.error / variance) / len(heading))
    spread = 2 * noise.diffusion * mean
    shrink = float(np.exp(-unknown / 2 - np.mean(spread) / 12))
    smooth = _Path(heading, float(np.exp(-unknown / 2 - np.mean(spread) / 4)))
    swum = shrink * response.swim(values, _directors(response, values, smooth))
    left = s.displacement - swum
    left -= interval[:, None] * np.array([values["drift_x"], values["drift_y"]])
    # By how much the heading's error turns a displacement, averaged over both ends of an interval.
    loose = spread * noise.error / variance * (1 - eigenvalue / 4) + spread / 12
    square = np.add.reduceat(np.sum(swum**2, axis=1), s.first[:-1]) / lengths
    known = 0.5 * np.repeat(square, lengths) * loose
    residual, spectrum = modes(left, s.first), Spectrum(2 * mean, eigenvalue, known)
    ways = _Ways(residual, spectrum, fit_noise(residual, spectrum))
    return _State(dict(values), about, smooth, shrink, noise, innovations(turns, noise), ways, left)


def _directors(response: Response, values: Values, path: _Path) -> np.ndarray:
    """n̂ [K,PARTS,2] on a path."""
    node = response.stretches.node
    begin = path.heading[node]
    return response.directors(values, begin, wrapped_angle(path.heading[node + 1] - begin))


def _way_slopes(response: Response, state: _State, names: tuple[str, ...]) -> np.ndarray:
    """Derivatives [K,2,P] of the means of modes of displacements."""
    s = response.stretches
    slopes = np.zeros((len(s), 2, len(names)))
    for index, name in enumerate(names):
        if name in ("drift_x", "drift_y"):
            slopes[:, int(name == "drift_y"), index] = s.interval
        elif name not in ("turn_bias", "steering"):
            step = _difference(response, state.values, name)
            up, down = (
                response.swim(trial, _directors(response, trial, state.smooth))
                for trial in _both_sides(state.values, name, step)
            )
            slopes[:, :, index] = state.shrink * (up - down) / (2 * step)
    return modes(slopes, s.first)


def _turn_slopes(
    response: Response, state: _State, names: tuple[str, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """Derivatives [K,P] of the innovations of turns, and of the logarithms of their variances."""
    slopes = np.zeros((2, len(response.stretches), len(names)))
    for index, name in enumerate(names):
        if name in ("drift_x", "drift_y", "speed_gain"):
            continue
        step = _difference(response, state.values, name)
        up, down = (
            innovations(_turns(response, trial, state.about), state.turn_noise)
            for trial in _both_sides(state.values, name, step)
        )
        slopes[0, :, index] = (up.value - down.value) / (2 * step)
        slopes[1, :, index] = np.log(up.variance / down.variance) / (2 * step)
    return slopes[0], slopes[1]


def _turn_noise_slopes(response: Response, state: _State) -> tuple[np.ndarray, np.ndarray]:
    """The same by D_r and σ_θ², [K,2]."""
    turns = _turns(response, state.values, state.about)
    noise = state.turn_noise
    typical = noise.error + noise.diffusion * float(np.mean(turns.time))
    slopes = np.zeros((2, len(response.stretches), 2))
    for index, name in enumerate(("diffusion", "error")):
        step = 1e-4 * (noise.diffusion if name == "diffusion" else typical)
        up, down = (
            innovations(
                turns, dataclasses.replace(noise, **{name: getattr(noise, name) + sign * step})
            )
            for sign in (1, -1)
        )
        slopes[0, :, index] = (up.value - down.value) / (2 * step)
        slopes[1, :, index] = np.log(up.variance / down.variance) / (2 * step)
    return slopes[0], slopes[1]


def _both_sides(values: Values, name: str, step: float) -> tuple[dict[str, float], ...]:
    return tuple({**values, name: values[name] + sign * step} for sign in (1, -1))


def _turn_parts(
    turns: Innovations, slopes: tuple[np.ndarray, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Score [K,P] and expected information [K,P,P] of turns."""
    white = turns.normalised[:, None]
    value, variance = slopes[0] / np.sqrt(turns.variance)[:, None], slopes[1]
    score = 0.5 * variance * (white**2 - 1) - value * white
    information = np.einsum("kp,kq->kpq", value, value)
    return score, information + 0.5 * np.einsum("kp,kq->kpq", variance, variance)


def _way_parts(ways: _Ways, slopes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Score [K,P] and information [K,P,P] of displacements."""
    weighted = slopes / ways.variance[:, None, None]
    return (
        np.einsum("kcp,kc->kp", weighted, ways.residual),
        np.einsum("kcp,kcq->kpq", weighted, slopes),
    )


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
    assert response.stretches.heading is not None
    state = _evaluate(response, values, _Path(response.stretches.heading, 1.0))
    for _ in range(ROUNDS):
        if response.steers:
            state = _evaluate(response, state.values, state.smooth)
        turns = _turn_parts(state.turns, _turn_slopes(response, state, names))
        ways = _way_parts(state.ways, _way_slopes(response, state, names))
        score, information = (
            (one + other).sum(axis=0) for one, other in zip(turns, ways, strict=True)
        )
        scale = 1 / np.sqrt(np.maximum(np.diagonal(information), 1e-300))
        inverse = np.linalg.pinv(information * np.outer(scale, scale), hermitian=True, rcond=1e-9)
        step = scale * (inverse @ (scale * score))
        error = scale * np.sqrt(np.maximum(np.diagonal(inverse), 0))
        if np.all(np.abs(step) <= TOLERANCE * error):
            break
        new = state
        for halving in range(HALVINGS):
            moved = np.array([state.values[n] for n in names]) + step / 2**halving
            trial = state.values | dict(zip(names, moved.tolist(), strict=True))
            if "delay" in trial:
                trial["delay"] = float(np.clip(trial["delay"], -0.1 * longest, longest))
            new = _evaluate(response, trial, state.about)
            if new.score >= state.score - 1e-9:
                break
        else:
            return state
        gain, state = new.score - state.score, new
        if gain < GAIN:
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
    size, own = len(names) + len(NOISE), np.arange(len(names))
    found, expected = noise_scores(state.ways.residual, state.ways.spectrum, state.ways.noise)
    gains, noises = _turn_slopes(response, state, names), _turn_noise_slopes(response, state)
    value, variance = (np.concatenate(pair, 1) for pair in zip(gains, noises, strict=True))
    both = np.concatenate([own, len(names) + np.array([2, 3])])
    score, information = np.zeros((count, size)), np.zeros((count, size, size))
    for place, (part, known) in (
        (own, _way_parts(state.ways, _way_slopes(response, state, names))),
        (len(names) + np.array([0, 1]), (found, expected)),
        (both, _turn_parts(state.turns, (value, variance))),
    ):
        score[:, place] += by_colloid(part, s.colloid, count)
        information[:, place[:, None], place] += by_colloid(known, s.colloid, count)
    noise = [
        getattr(part, name)
        for part in (state.ways.noise, state.turn_noise)
        for name in ("diffusion", "error")
    ]
    covariance, _ = jackknife_covariance(score, information)
    return Fit(
        names=(*names, *NOISE),
        value=np.array([*(state.values[name] for name in names), *noise]),
        covariance=covariance,
        colloids=count,
        residual=(
            state.ways.residual / np.sqrt(state.ways.variance)[:, None],
            modes(state.turns.normalised[:, None], s.first),
        ),
        eigenvalue=state.ways.spectrum.eigenvalue,
        left=state.left,
        unidentified=unidentified,
    )
