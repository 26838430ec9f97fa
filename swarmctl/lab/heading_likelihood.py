"""Likelihood of headings that are seen with errors and turn, also by where they point.

About a path θ̄ the heading at frame k+1, given that at frame k, is taken as linear,

    θ_{k+1} = θ̄_k + g_k + a_k (θ_k - θ̄_k) + w_k,   var w_k = 2 D a_k Δ_k,

and seen as φ_k = θ_k + η_k with errors of variance σ². Without steering a = 1. What is left of the
measured turns,

    r_k = φ_{k+1} - θ̄_k - g_k - a_k (φ_k - θ̄_k) = w_k + η_{k+1} - a_k η_k,

has a covariance Ψ of three diagonals. The likelihood of r is that of all headings given the first
one: a heading that turns towards a spot carries its own noise into where it turns to, and here that
noise is part of the model, so that steering is not biased, as a regression on headings is. It is
evaluated by the Cholesky factor of Ψ, as a Kalman filter would, as independent innovations e_k of
variance S_k (Durbin and Koopman, Time Series Analysis by State Space Methods, 2nd ed. (2012),
chapters 4 and 7; linear about a smoothed path: section 10.6).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_solve_banded, cholesky_banded
from scipy.linalg.lapack import dtbtrs
from scipy.optimize import minimize_scalar

from swarmctl.lab.quasi_likelihood import Noise

PRECISION = 1e-7
"""Of the share that errors have in the variance of a turn."""


@dataclass(frozen=True)
class Turns:
    """What is left of K measured turns of stretches, and what makes up its covariance.

    Attributes:
        residual: r [K] rad. kept: a [K]. time: 2 Δ [K] s, the factor of D.
        first: i64 [S+1], the first interval of every stretch, and K.
    """

    residual: np.ndarray
    kept: np.ndarray
    time: np.ndarray
    first: np.ndarray

    def factor(self, noise: Noise) -> np.ndarray:
        """Cholesky factor of Ψ, its two diagonals [2,K]."""
        diagonal = noise.diffusion * self.time * self.kept + noise.error * (1 + self.kept**2)
        band = np.stack([diagonal, np.zeros_like(diagonal)])
        band[1, :-1] = -noise.error * self.kept[1:]
        band[1, self.first[1:] - 1] = 0
        return cholesky_banded(band, lower=True, check_finite=False)


@dataclass(frozen=True)
class Innovations:
    """Innovations e [K] rad and their variances S [K]."""

    value: np.ndarray
    variance: np.ndarray

    @property
    def normalised(self) -> np.ndarray:
        """e/√S, white of variance 1 if the model holds."""
        return self.value / np.sqrt(self.variance)

    @property
    def score(self) -> float:
        """Log-likelihood, a constant apart."""
        return -0.5 * float(np.sum(np.log(self.variance)) + np.sum(self.normalised**2))


def innovations(turns: Turns, noise: Noise) -> Innovations:
    """Innovations of turns with the given noise."""
    factor = turns.factor(noise)
    white, _ = dtbtrs(factor, turns.residual, uplo="L")
    return Innovations(white * factor[0], factor[0] ** 2)


def fit_turn_noise(turns: Turns) -> Noise:
    """Maximise the likelihood over D and σ², σ² ≥ 0: over their ratio, their scale being known."""
    mean = float(np.mean(turns.time * turns.kept))

    def shared(share: float) -> Noise:
        return Noise((1 - share) / mean, share)

    def miss(share: float) -> float:
        found = innovations(turns, shared(share))
        return float(
            np.mean(np.log(found.variance)) + np.log(np.mean(found.value**2 / found.variance))
        )

    best = minimize_scalar(miss, bounds=(0, 1), method="bounded", options={"xatol": PRECISION})
    # The search stays inside; without errors of observation the end itself is best.
    share = 0.0 if miss(0.0) <= best.fun else float(best.x)
    unit = shared(share)
    scale = float(np.mean(innovations(turns, unit).normalised ** 2))
    return Noise(scale * unit.diffusion, scale * unit.error)


def heading_errors(turns: Turns, noise: Noise) -> np.ndarray:
    """Errors [K+S] rad of the headings at all frames that are expected given all of them."""
    pull = cho_solve_banded((turns.factor(noise), True), turns.residual, check_finite=False)
    stretches = len(turns.first) - 1
    node = np.arange(len(pull)) + np.repeat(np.arange(stretches), np.diff(turns.first))
    error = np.zeros(len(pull) + stretches)
    error[node + 1] += noise.error * pull
    error[node] -= noise.error * turns.kept * pull
    return error
