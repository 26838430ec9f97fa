"""Secreted chemicals: mass balance, closed forms, walls, and what a colloid feels of itself."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import k0, k1

from swarmctl.core.grids import Chemical
from swarmctl.core.world import Box
from swarmctl.physics import chemistry
from swarmctl.physics.batching import batch_last
from swarmctl.physics.chemistry import (
    ChemicalParams,
    ChemistryPlan,
    chemical_params,
    chemistry_plan,
    initial_concentration,
    total,
)

METHODS = pytest.mark.parametrize("method", ["explicit", "spectral"])
advance = jax.jit(chemistry.advance, static_argnames="plan")
sample = jax.jit(chemistry.sample, static_argnames="plan")


def setting(
    chemical: Chemical, box: Box, step: float, count: int = 1
) -> tuple[jax.Array, ChemicalParams, ChemistryPlan, jax.Array]:
    chemical.check(box, 1)
    params = chemical_params(chemical, (0,) * count)
    plan = chemistry_plan(chemical, box, step)
    return initial_concentration(chemical, box), params, plan, jnp.asarray(box.size)


@METHODS
@pytest.mark.parametrize("decay", [0.0, 0.7])
@pytest.mark.parametrize("sides", [(12.0, 9.0), (6.0, 7.0, 8.0)])
def test_the_total_is_balanced(method: Any, decay: float, sides: tuple[float, ...]) -> None:
    """dM/dt = -kM + Σ secretion, whatever the faces, with colloids beyond an open one too."""
    kinds: tuple[Any, ...] = ("open", "periodic", "hard")
    box = Box(sides, kinds[: len(sides)])
    chemical = Chemical("a", 2.0, decay, 3.0, 1.0, 0.5, method)
    c, params, plan, size = setting(chemical, box, 0.9, 20)
    assert (plan.substeps == 0) == (method == "spectral")
    rng = np.random.default_rng(0)
    start, rate, time = float(total(c, plan, size)), 20 * 3.0, 0.0
    assert start == pytest.approx(0.5 * math.prod(sides), rel=1e-5)
    for _ in range(4):
        position = rng.uniform(0, 1, (len(sides), 20)) * np.array(sides)[:, None]
        position[0, :3] = -5.0
        c = advance(c, jnp.asarray(position), params, plan, size)
        time += 0.9
    gone = math.exp(-decay * time)
    wanted = start * gone + rate * ((1 - gone) / decay if decay else time)
    assert float(total(c, plan, size)) == pytest.approx(wanted, rel=1e-5)
    assert float(c.min()) > 0


def test_a_steady_source_in_2d() -> None:
    """c = S/(2πD) K₀(r/ℓ) with ℓ = √(D/k) within 1 % from five cells on, its gradient in 3 %."""
    box = Box((80.0, 80.0))
    chemical = Chemical("a", 25.0, 1.0, 7.0, 0.5, method="spectral")
    c, params, plan, size = setting(chemical, box, 40.0)
    source = jnp.asarray([[33.17], [41.61]])
    c = advance(c, source, params, plan, size)
    r, angle = np.linspace(2.5, 15, 30), np.linspace(0, 20, 30)
    away = np.stack([np.cos(angle), np.sin(angle)])
    value, gradient = sample(c, source + jnp.asarray(r * away), plan, size)
    scale = 7.0 / (2 * math.pi * 25.0)
    np.testing.assert_allclose(value, scale * k0(r / 5), rtol=0.01)
    along = np.sum(np.asarray(gradient) * away, axis=0)
    np.testing.assert_allclose(along, -scale / 5 * k1(r / 5), rtol=0.03)


def test_a_steady_source_in_3d() -> None:
    """c = S exp(-r/ℓ)/(4πDr) within 2 % from five cells on, its gradient within 2 (h/r)²."""
    box = Box((24.0, 24.0, 24.0))
    chemical = Chemical("a", 9.0, 1.0, 7.0, 0.5, method="spectral")
    c, params, plan, size = setting(chemical, box, 40.0)
    source = jnp.asarray([[11.9], [12.2], [12.33]])
    c = advance(c, source, params, plan, size)
    r = np.linspace(2.5, 4.5, 30)
    away = np.random.default_rng(0).normal(size=(3, 30))
    away /= np.linalg.norm(away, axis=0)
    value, gradient = sample(c, source + jnp.asarray(r * away), plan, size)
    wanted = 7.0 * np.exp(-r / 3) / (4 * math.pi * 9.0 * r)
    np.testing.assert_allclose(value, wanted, rtol=0.02)
    along = np.sum(np.asarray(gradient) * away, axis=0)
    error = np.abs(along / (-wanted * (1 / 3 + 1 / r)) - 1)
    # the images of the periodic box add less than 0.5 %
    assert (error < 2 * (0.5 / r) ** 2 + 0.005).all()


def test_both_methods_reach_the_same_steady_state() -> None:
    """Exponential Euler has no error of the time step there; float32 leaves 1e-4."""
    box = Box((12.0, 10.0), ("hard", "periodic"))
    explicit = Chemical("a", 3.0, 0.5, 7.0, 1.0, method="explicit")
    position = jnp.asarray([[3.3], [4.1]])
    results = []
    for chemical in (explicit, dataclasses.replace(explicit, method="spectral")):
        c, params, plan, size = setting(chemical, box, 40.0)
        results.append(advance(c, position, params, plan, size))
    np.testing.assert_allclose(results[0], results[1], rtol=1e-4)


@METHODS
def test_a_gaussian_spreads(method: Any) -> None:
    """Its variance grows by 2Dt, exactly on a grid; its profile stays Gaussian within 1 %."""
    box = Box((40.0, 40.0))
    chemical = Chemical("a", 2.0, 0.0, 0.0, 0.5, method=method)
    c, params, plan, size = setting(chemical, box, 2.0)
    place = 0.5 * (np.arange(80) + 0.5) - 20
    square = place[:, None] ** 2 + place**2

    def gaussian(variance: float) -> np.ndarray:
        return np.exp(-square / (2 * variance)) / (2 * math.pi * variance)

    start = gaussian(4.0)
    c = advance(jnp.asarray(start, c.dtype), jnp.zeros((2, 1)), params, plan, size)
    # the sums are over cells of 0.25 µm²
    grown = 0.25 * float(np.sum(np.asarray(c, float) * square)) - 0.25 * np.sum(start * square)
    assert grown == pytest.approx(2 * 2 * 2.0 * 2.0, rel=1e-4)
    np.testing.assert_allclose(c, gaussian(4.0 + 8.0), atol=0.01 * gaussian(12.0).max())


@METHODS
def test_a_closed_face_is_a_mirror(method: Any) -> None:
    """A box with closed faces is half of a periodic one in which every source has an image."""
    half = Box((6.0, 5.0), ("hard", "periodic"))
    double = Box((12.0, 5.0))
    chemical = Chemical("a", 2.0, 0.3, 5.0, 0.5, method=method)
    c, params, plan, size = setting(chemical, half, 0.7)
    one = advance(c, jnp.asarray([[0.1], [2.0]]), params, plan, size)
    c, params, plan, size = setting(chemical, double, 0.7, 2)
    # closer to a face than half a cell, the image's share lies in the same cells
    both = advance(c, jnp.asarray([[0.1, 11.9], [2.0, 2.0]]), params, plan, size)
    np.testing.assert_allclose(one, both[:12], rtol=2e-4, atol=1e-5)


@METHODS
def test_a_colloid_is_not_pushed_by_what_it_secretes_now(method: Any) -> None:
    """The gradient of its own field vanishes where it is, anywhere within a cell."""
    box = Box((20.0, 20.0))
    chemical = Chemical("a", 4.0, 1.0, 5.0, 1.0, method=method)
    c, params, plan, size = setting(chemical, box, 2.0)
    for place in np.random.default_rng(0).uniform(0, 20, (5, 2, 1)):
        field = advance(c, jnp.asarray(place), params, plan, size)
        _, own = sample(field, jnp.asarray(place), plan, size)
        _, beside = sample(field, jnp.asarray(place + 2.0), plan, size)
        assert np.abs(own).max() < 1e-4 * np.abs(beside).max()


def test_coefficients_can_be_mapped() -> None:
    """A batch of diffusion coefficients, batch last, as one by one."""
    box = Box((8.0, 8.0))
    chemical = Chemical("a", 2.0, 0.3, 5.0, 1.0, method="explicit")
    c, params, plan, size = setting(chemical, box, 0.5)
    position = jnp.asarray([[3.3], [4.1]])

    @batch_last
    def run(*args: Any) -> tuple[jax.Array, ...]:
        c, position, params, size = args
        field = chemistry.advance(c, position, params, plan, size)
        return field, *chemistry.sample(field, position, plan, size)

    def one(diffusion: jax.Array) -> tuple[jax.Array, ...]:
        return run(c, position, dataclasses.replace(params, diffusion=diffusion), size)

    values = jnp.asarray([0.5, 1.0, 2.0])
    batched = jax.jit(jax.vmap(one))(values)
    for i, value in enumerate(values):
        for part, alone in zip(batched, jax.jit(one)(value), strict=True):
            np.testing.assert_allclose(part[i], alone, rtol=1e-5, atol=1e-6)


def test_explicit_steps_are_short_enough() -> None:
    """Σ D dt/h² over the axes is at most 0.4, k dt at most 0.1; many steps make it spectral."""
    box = Box((40.0, 20.0))
    for diffusion, decay, step in [(1.0, 0.0, 1.0), (100.0, 5.0, 0.1), (1e-3, 30.0, 0.05)]:
        chemical = Chemical("a", diffusion, decay, 0.0, 1.0, method="explicit")
        plan = chemistry_plan(chemical, box, step)
        dt = step / plan.substeps
        assert plan.cells == (40, 20)
        assert 2 * diffusion * dt <= 0.4 * (1 + 1e-6)
        assert decay * dt <= 0.1 * (1 + 1e-6)
    quick = dataclasses.replace(chemical, diffusion=1.0, decay=1.0, method="auto")
    assert chemistry_plan(quick, box, 0.01).substeps == 1
    assert chemistry_plan(quick, box, 100.0).substeps == 0
