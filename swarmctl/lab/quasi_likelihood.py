"""Increments of a diffusing quantity seen with errors: likelihood, fit, and honest covariance.

Seen at frames k, x_k = X_k + η_k with X a drifted Brownian motion, increments y_k = x_k - x_{k-1}
over an interval Δ_k have

    E y_k = m_k(p),   cov(y_k, y_l) = (2 D Δ_k + 2 σ²) δ_kl - σ² δ_|k-l|,1.

The errors' part is diagonal in the type-I sine transform of a stretch of n increments, and with it,
for equal intervals, all of the covariance (Vestergaard, Blainey and Flyvbjerg, Phys. Rev. E 89,
022726 (2014), section on the maximum-likelihood estimator; here without motion blur): mode j has
the variance

    ψ_j = 2 D Δ + λ_j σ² + h_j,   λ_j = 2 - 2 cos(π j/(n + 1)),

h_j being what is known to add to it. With unequal intervals Δ is the mean of the stretch, which
keeps the estimate consistent. The quasi-likelihood -½ Σ_j [ln ψ_j + (ŷ_j - m̂_j)²/ψ_j] is maximised
by turns in p (Gauss-Newton) and in (D, σ²) (Fisher scoring).

Colloids are the independent units: the covariance is the sandwich H⁻¹ (Σ_i s_i s_iᵀ) H⁻¹ of their
scores s_i, with every colloid left out of its own H as the jackknife has it (CR3; Bell and
McCaffrey, Survey Methodology 28, 169 (2002)). It holds whatever the noise within a colloid is, and
if colloids differ.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.fft import dst

SCORING_STEPS = 60
CONVERGED = 1e-7


def modes(values: np.ndarray, first: np.ndarray) -> np.ndarray:
    """Orthonormal type-I sine transform of every stretch of `values` [K,...] along time."""
    result = np.empty_like(values, dtype=float)
    for a, b in pairwise(first):
        result[a:b] = dst(values[a:b], type=1, axis=0, norm="ortho")
    return result


def eigenvalues(first: np.ndarray) -> np.ndarray:
    """λ_j [K] of all modes of stretches."""
    parts = []
    for length in np.diff(first):
        parts.append(2 - 2 * np.cos(np.pi * np.arange(1, length + 1) / (length + 1)))
    return np.concatenate(parts)


@dataclass(frozen=True)
class Noise:
    """D µm²/s or rad²/s, and σ², the variance of an error of observation."""

    diffusion: float
    error: float


@dataclass(frozen=True)
class Spectrum:
    """What the variance of modes is made of: K modes of C components.

    Attributes:
        time: 2 Δ [K], the factor of D. eigenvalue: λ [K], that of σ². known: h [K].
    """

    time: np.ndarray
    eigenvalue: np.ndarray
    known: np.ndarray

    def variance(self, noise: Noise) -> np.ndarray:
        """ψ [K]; where an estimate came out negative it is held just above 0."""
        found = noise.diffusion * self.time + noise.error * self.eigenvalue
        floor = 1e-9 * max(float(np.mean(np.abs(found))), 1e-300)
        return np.maximum(found, floor) + self.known


def fit_noise(residual: np.ndarray, spectrum: Spectrum) -> Noise:
    """Maximise the likelihood of modes of residuals [K,C] over D and σ², σ² ≥ 0."""
    square = np.mean(residual**2, axis=1)
    # The covariance estimator to start with: slope and offset over the eigenvalues.
    design = np.stack([spectrum.time, spectrum.eigenvalue], axis=1)
    start, *_ = np.linalg.lstsq(design, square - spectrum.known, rcond=None)
    scale = float(np.mean(square)) / float(np.mean(spectrum.time))
    values = np.array([max(start[0], 1e-3 * scale), max(start[1], 0.0)])
    for _ in range(SCORING_STEPS):
        variance = spectrum.variance(Noise(*values))
        weight = 1 / variance**2
        information = (design * weight[:, None]).T @ design
        target = (design * weight[:, None]).T @ (square - spectrum.known)
        new = np.linalg.solve(information, target)
        if new[1] < 0:
            # At the edge, where there are no errors, D alone is left.
            new = np.array([target[0] / information[0, 0], 0.0])
        new[0] = max(new[0], values[0] / 10)
        done = np.abs(new - values).max() <= CONVERGED * np.abs(values).max()
        values = new
        if done:
            break
    return Noise(float(values[0]), float(values[1]))


def noise_scores(
    residual: np.ndarray, spectrum: Spectrum, noise: Noise
) -> tuple[np.ndarray, np.ndarray]:
    """Per mode: scores of D and σ² [K,2] and their expected information [K,2,2], C components."""
    variance = spectrum.variance(noise)
    design = np.stack([spectrum.time, spectrum.eigenvalue], axis=1) / variance[:, None]
    count = residual.shape[1]
    excess = np.sum(residual**2, axis=1) / variance - count
    score = 0.5 * design * excess[:, None]
    return score, 0.5 * count * design[:, :, None] * design[:, None, :]


def log_likelihood(residual: np.ndarray, variance: np.ndarray) -> float:
    """Quasi-likelihood of modes of residuals [K,C] with variances [K], a constant apart."""
    count = residual.shape[1]
    return -0.5 * float(
        count * np.sum(np.log(variance)) + np.sum(np.sum(residual**2, axis=1) / variance)
    )


def jackknife_covariance(
    score: np.ndarray, information: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Covariance [P,P] of an estimate, and its one-step values [I,P] without each colloid.

    Args:
        score: of the I colloids, [I,P].
        information: of the colloids, [I,P,P].
    """
    total, count = information.sum(axis=0), len(score)
    # Parameters have units of their own.
    scale = 1 / np.sqrt(np.maximum(np.diagonal(total), 1e-300))
    left = (total[None] - information) * np.outer(scale, scale)
    steps = np.stack(
        [
            scale * (np.linalg.pinv(matrix, hermitian=True, rcond=1e-10) @ (scale * s))
            for matrix, s in zip(left, score, strict=True)
        ]
    )
    return (count - 1) / count * steps.T @ steps, -steps


def by_colloid(values: np.ndarray, colloid: np.ndarray, count: int) -> np.ndarray:
    """Sum `values` [K,...] over the intervals of every colloid, [I,...]."""
    flat = values.reshape(len(values), -1)
    result = np.stack(
        [np.bincount(colloid, weights=column, minlength=count) for column in flat.T], axis=1
    )
    return result.reshape(count, *values.shape[1:])
