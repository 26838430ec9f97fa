"""The likelihood of increments seen with errors, and covariances over independent units."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from swarmctl.lab.quasi_likelihood import (
    Noise,
    Spectrum,
    by_colloid,
    eigenvalues,
    fit_noise,
    jackknife_covariance,
    modes,
    noise_scores,
)


def test_modes_diagonalise_the_covariance() -> None:
    """S C Sᵀ = diag(2 D Δ + λ_j σ²) for C of diffusion and errors of position; S is orthogonal."""
    first = np.array([0, 7, 19])
    for a, b in pairwise(first):
        n = b - a
        covariance = (0.3 + 2 * 0.05) * np.eye(n) - 0.05 * (np.eye(n, k=1) + np.eye(n, k=-1))
        transform = modes(np.eye(n), np.array([0, n]))
        assert transform @ transform.T == pytest.approx(np.eye(n))
        expected = np.diag(0.3 + eigenvalues(np.array([0, n])) * 0.05)
        assert transform @ covariance @ transform.T == pytest.approx(expected, abs=1e-12)
    values = np.random.default_rng(0).normal(size=(19, 2))
    assert modes(modes(values, first), first) == pytest.approx(values)


def test_diffusion_and_error_are_estimated_without_bias() -> None:
    """200 tracks of 60 steps; both within 4 standard errors, by the information of the scores."""
    rng = np.random.default_rng(1)
    count, length = 200, 60
    first = np.arange(count + 1) * length
    steps = rng.normal(size=(count, length, 2)) * (2 * 0.1 * 0.1) ** 0.5
    errors = rng.normal(size=(count, length + 1, 2)) * 0.15
    increments = (steps + np.diff(errors, axis=1)).reshape(-1, 2)
    spectrum = Spectrum(np.full(first[-1], 0.2), eigenvalues(first), np.zeros(first[-1]))
    residual = modes(increments, first)
    noise = fit_noise(residual, spectrum)
    score, information = noise_scores(residual, spectrum, noise)
    deviation = np.sqrt(np.diag(np.linalg.inv(information.sum(axis=0))))
    assert abs(noise.diffusion - 0.1) < 4 * deviation[0]
    assert abs(noise.error - 0.15**2) < 4 * deviation[1]
    assert deviation[0] < 0.01
    assert score.sum(axis=0) * deviation == pytest.approx([0, 0], abs=1e-3)


def test_no_error_is_none() -> None:
    steps = np.random.default_rng(2).normal(size=(5000, 1))
    first = np.array([0, 5000])
    spectrum = Spectrum(np.ones(5000), eigenvalues(first), np.zeros(5000))
    noise = fit_noise(modes(steps, first), spectrum)
    assert noise.diffusion == pytest.approx(1, rel=0.1)
    assert 0 <= noise.error < 0.05
    assert isinstance(noise, Noise)


def test_covariance_of_a_mean_is_that_of_the_jackknife() -> None:
    """For a mean of I numbers CR3 is Σ (x - x̄)²/(I (I - 1)), the usual variance of a mean."""
    values = np.random.default_rng(3).normal(size=12)
    score = (values - values.mean())[:, None]
    covariance, steps = jackknife_covariance(score, np.ones((12, 1, 1)))
    assert covariance[0, 0] == pytest.approx(values.var(ddof=1) / 12)
    without = np.array([np.delete(values, i).mean() for i in range(12)])
    assert steps[:, 0] == pytest.approx(without - values.mean())


def test_sums_over_colloids() -> None:
    values = np.arange(12.0).reshape(6, 2)
    owner = np.array([0, 0, 2, 2, 2, 0])
    assert by_colloid(values, owner, 3).tolist() == [[12, 15], [0, 0], [18, 21]]
