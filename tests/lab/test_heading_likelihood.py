"""Headings that turn by where they point: the likelihood is that of their Gaussian process."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.optimize import minimize_scalar
from scipy.stats import multivariate_normal

from swarmctl.lab.heading_likelihood import (
    Turns,
    fit_turn_noise,
    heading_errors,
    innovations,
)
from swarmctl.lab.programme import Programme
from swarmctl.lab.quasi_likelihood import Noise
from swarmctl.lab.response import Response
from swarmctl.lab.stretches import Stretches

NOISE = Noise(0.05, 0.01)


@pytest.fixture
def turns() -> Turns:
    """Two stretches, uneven intervals, slopes other than 1; residuals drawn from their law."""
    rng = np.random.default_rng(2)
    found = Turns(
        np.zeros(12),
        rng.uniform(0.9, 1.1, 12),
        2 * rng.uniform(0.05, 0.3, 12),
        np.array([0, 5, 12]),
    )
    return dataclasses.replace(
        found, residual=np.linalg.cholesky(covariance(found, NOISE)) @ rng.normal(size=12)
    )


def errors_to_residuals(turns: Turns) -> np.ndarray:
    """r = w + C η, C [K,K+S]."""
    result = np.zeros((12, 14))
    node = np.arange(12) + (np.arange(12) >= 5)
    result[np.arange(12), node + 1] = 1
    result[np.arange(12), node] = -turns.kept
    return result


def covariance(turns: Turns, noise: Noise) -> np.ndarray:
    """Ψ, dense."""
    errors = errors_to_residuals(turns)
    return np.diag(noise.diffusion * turns.time * turns.kept) + noise.error * errors @ errors.T


def test_innovations_have_the_likelihood_of_the_gaussian(turns: Turns) -> None:
    """And they are independent: e = U r with U unit triangular and U Ψ Uᵀ = diag S."""
    psi = covariance(turns, NOISE)
    truth = multivariate_normal(np.zeros(12), psi).logpdf(turns.residual)
    found = innovations(turns, NOISE)
    assert found.score - 6 * np.log(2 * np.pi) == pytest.approx(truth, rel=1e-12)
    columns = [
        innovations(dataclasses.replace(turns, residual=unit), NOISE).value for unit in np.eye(12)
    ]
    whiten = np.stack(columns, axis=1)
    np.testing.assert_allclose(whiten @ psi @ whiten.T, np.diag(found.variance), atol=1e-14)
    np.testing.assert_allclose(np.diagonal(whiten), 1)


def test_errors_are_those_expected_from_all_headings(turns: Turns) -> None:
    """E[η | r] = σ² Cᵀ Ψ⁻¹ r."""
    psi = covariance(turns, NOISE)
    expected = NOISE.error * errors_to_residuals(turns).T @ np.linalg.solve(psi, turns.residual)
    np.testing.assert_allclose(heading_errors(turns, NOISE), expected, rtol=1e-10)


def test_noise_is_at_the_maximum(turns: Turns) -> None:
    """No noise nearby has a higher likelihood; without errors σ² comes out at its edge, 0."""
    found = fit_turn_noise(turns)
    best = innovations(turns, found).score
    for factor in (0.99, 1.01):
        for name in ("diffusion", "error"):
            near = dataclasses.replace(found, **{name: factor * getattr(found, name)})
            assert innovations(turns, near).score <= best + 1e-9
    # Turns that go on the same way are the opposite of errors of observation.
    steady = dataclasses.replace(turns, residual=np.full(12, 0.1), kept=np.ones(12))
    found = fit_turn_noise(steady)
    assert found.error == 0
    assert found.diffusion == pytest.approx(np.mean(0.1**2 / steady.time))


# Turning by a spot

COUNT, FRAMES, STEP, RADIUS_OF_SPOT = 100, 500, 0.1, 1.5


def spots(rng: np.random.Generator) -> tuple[Programme, Programme]:
    """Power and place of everyone's spot, new every second."""
    edge = STEP * np.arange(FRAMES + 1)
    power = np.repeat(rng.uniform(0, 2, (FRAMES // 10, COUNT)), 10, axis=0)
    around = np.repeat(rng.uniform(-np.pi, np.pi, power[::10].shape), 10, axis=0)
    spot = RADIUS_OF_SPOT * np.stack([np.cos(around), np.sin(around)], axis=-1)
    return Programme(edge, power), Programme(edge, spot)


def response(heading: np.ndarray, power: Programme, spot: Programme) -> Response:
    """Headings [COUNT,FRAMES+1] that light turns."""
    who = np.repeat(np.arange(COUNT), FRAMES)
    start = np.tile(STEP * np.arange(FRAMES), COUNT)
    first = FRAMES * np.arange(COUNT + 1)
    place = np.zeros((heading.size, 2))
    stretches = Stretches(first, who, who, start, start + STEP, place, heading.ravel())
    return Response(stretches, None, None, power, spot, smooth=False)


def law(steering: float) -> dict[str, float]:
    return {
        "slope": 1.0,
        "threshold": 0.0,
        "speed_max": np.inf,
        "steering": steering,
        "delay": 0.0,
    }


@pytest.mark.parametrize("steering", [2.0, -2.0, 0.0])
def test_turning_solves_the_equation_of_motion(steering: float) -> None:
    """θ' = κ f(P) (n̂ × d) over an interval, a turn of up to 0.6 rad; its slope is ∂θ(Δ)/∂θ(0)."""
    rng = np.random.default_rng(3)
    power, spot = spots(rng)
    lit = response(rng.uniform(-np.pi, np.pi, (COUNT, FRAMES + 1)), power, spot)
    begin = lit.stretches.heading[lit.stretches.node]
    turn, kept = lit.turning(law(steering), begin, 1.0)
    for k in (0, 777, 31_000):
        who, frame = divmod(k, FRAMES)
        pull = steering * power.value[frame, who] * spot.value[frame, who]

        def motion(_: float, angle: np.ndarray, pull: np.ndarray = pull) -> np.ndarray:
            return np.cos(angle) * pull[1] - np.sin(angle) * pull[0]

        start = begin[k] + np.array([-1e-4, 0, 1e-4])
        end = solve_ivp(motion, (0, STEP), start, rtol=1e-10, atol=1e-12).y[:, -1]
        assert turn[k] == pytest.approx(end[1] - begin[k], abs=1e-9)
        assert kept[k] == pytest.approx((end[2] - end[0]) / 2e-4, abs=1e-6)


def left(lit: Response, about: np.ndarray, sharpness: float, steering: float) -> Turns:
    """What steering leaves of the turns, linear about a path."""
    s = lit.stretches
    turn, kept = lit.turning(law(steering), about[s.node], sharpness)
    turned = s.heading[s.node + 1] - s.heading[s.node] - (kept - 1) * (s.heading - about)[s.node]
    return Turns(turned - turn, kept, 2 * s.interval, s.first)


def fitted(lit: Response, noise: Noise, truth: np.ndarray) -> float:
    """Steering of the highest likelihood, about a path that is smoothed twice."""
    about, sharpness, value = lit.stretches.heading, 1.0, 0.0
    for _ in range(3):

        def miss(trial: float, about: np.ndarray = about, sharpness: float = sharpness) -> float:
            return -innovations(left(lit, about, sharpness, trial), noise).score

        value = minimize_scalar(miss, bounds=(0, 0.3), method="bounded").x
        errors = heading_errors(left(lit, about, sharpness, value), noise)
        about = lit.stretches.heading - errors
        sharpness = float(np.exp(-np.var(about - truth) / 2))
    return value


def test_errors_of_headings_do_not_bias_steering() -> None:
    """Steering from headings with errors of 0.15 rad is that from the true ones within 1 %; by a
    regression of turns on n̂ × d with measured headings it is off by more than 4 %.
    """
    rng, diffusion, error, fine = np.random.default_rng(4), 0.05, 0.15, 5
    power, spot = spots(rng)
    heading = np.empty((COUNT, FRAMES + 1))
    heading[:, 0] = angle = rng.uniform(-np.pi, np.pi, COUNT)
    for frame in range(FRAMES):
        pull = 0.12 * power.value[frame][:, None] * spot.value[frame]
        for _ in range(fine):
            across = np.cos(angle) * pull[:, 1] - np.sin(angle) * pull[:, 0]
            kick = (2 * diffusion * STEP / fine) ** 0.5 * rng.normal(size=COUNT)
            angle = angle + across * STEP / fine + kick
        heading[:, frame + 1] = angle
    seen = heading + error * rng.normal(size=heading.shape)
    truth = heading.ravel()
    exact = fitted(response(heading, power, spot), Noise(diffusion, 0.0), truth)
    lit = response(seen, power, spot)
    found = fitted(lit, Noise(diffusion, error**2), truth)
    assert found == pytest.approx(exact, rel=0.01)

    ahead = np.stack([np.cos(seen), np.sin(seen)], axis=-1)[:, :-1].reshape(-1, 1, 2)
    sine = lit.steered(law(1.0), np.repeat(ahead, 4, axis=1))
    regressed = np.sum(sine * np.diff(seen, axis=1).ravel()) / np.sum(sine**2)
    assert abs(regressed / exact - 1) > 0.04
