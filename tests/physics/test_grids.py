"""Interpolation on grids and sharing out to them."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from swarmctl.core.grids import Grid
from swarmctl.physics import grids
from swarmctl.physics.batching import batch_last
from swarmctl.physics.grids import GridParams, grid_params

DIMENSIONS = pytest.mark.parametrize("dimension", [2, 3])
SIZE = np.array([14.0, 9.0, 11.0])
COUNT = np.array([7, 6, 5])
interpolate = jax.jit(grids.interpolate, static_argnames="periodic")
deposit = jax.jit(grids.deposit, static_argnames=("points", "wraps"))
EPS = float(jnp.finfo(jnp.zeros(()).dtype).eps)


def example(dimension: int, edge: Any, components: int = 1) -> tuple[GridParams, np.ndarray]:
    """Random values on a grid that fills the box, periodic, or a part of it, clamped."""
    points = tuple(COUNT[:dimension])
    values = np.random.default_rng(0).normal(size=(*points, components))
    spacing = SIZE[:dimension] / COUNT[:dimension] * (1.0 if edge == "periodic" else 0.7)
    origin = tuple(np.array([-1.0, 2.0, 0.5])[:dimension])
    grid = Grid(values, tuple(spacing), origin, edge)
    return grid_params(grid, dimension, components=True), values


def box_of(dimension: int) -> jax.Array:
    return jnp.asarray(SIZE[:dimension])


@DIMENSIONS
def test_linear_functions_are_interpolated_exactly(dimension: int) -> None:
    """Value and gradient to 1e-6 of a + b·r inside the grid."""
    axes = [2.0 + 0.5 * np.arange(n) for n in (9, 8, 7)[:dimension]]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), -1)
    slope = np.array([[0.7, -0.3, 0.2], [-0.1, 0.5, 1.0]])[:, :dimension]
    grid = Grid(points @ slope.T + [1.0, -2.0], 0.5, (2.0,) * dimension)
    params = grid_params(grid, dimension, components=True)
    position = np.random.default_rng(1).uniform(2.0, 4.9, (dimension, 300))
    value, gradient = interpolate(
        params, jnp.asarray(position), box_of(dimension), (False,) * dimension
    )
    wanted = slope @ position + np.array([1.0, -2.0])[:, None]
    np.testing.assert_allclose(value, wanted, atol=20 * EPS)
    full = np.broadcast_to(slope[:, :, None], gradient.shape)
    np.testing.assert_allclose(gradient, full, atol=100 * EPS)


@DIMENSIONS
@pytest.mark.parametrize("edge", ["periodic", "clamp"])
@pytest.mark.parametrize("boxed", [False, True])
def test_points_have_their_own_values(dimension: int, edge: Any, boxed: bool) -> None:
    """Also when a point is seen from the next box, or a periodic grid from its next period."""
    params, values = example(dimension, edge)
    index = np.stack(np.meshgrid(*map(np.arange, COUNT[:dimension]), indexing="ij"))
    index = index.reshape(dimension, -1)
    position = np.asarray(params.origin)[:, None] + index * np.asarray(params.spacing)[:, None]
    if boxed or edge == "periodic":
        position = position + SIZE[:dimension, None] * np.array([3, -2, 1])[:dimension, None]
    value, _ = interpolate(params, jnp.asarray(position), box_of(dimension), (boxed,) * dimension)
    # the place is known to about 50 µm x EPS, the slopes are about 3/µm
    np.testing.assert_allclose(value[0], values.reshape(-1), atol=300 * EPS)


@DIMENSIONS
@pytest.mark.parametrize("edge", ["periodic", "clamp"])
def test_values_are_continuous_and_the_gradient_is_theirs(dimension: int, edge: Any) -> None:
    """Along lines through everything, box faces too: jumps shrink with the step, and the integral
    of the gradient along the line is the difference of the values.
    """
    params, _ = example(dimension, edge, 2)
    box, periodic = box_of(dimension), (edge == "periodic",) * dimension
    start = np.array([-20.0, -15.0, -18.0])[:dimension, None]
    along = np.array([40.0, 37.0, 39.0])[:dimension, None]
    steps = 40_000
    middle = (np.arange(steps) + 0.5) / steps
    value, _ = interpolate(
        params, jnp.asarray(start + along * np.arange(steps + 1) / steps), box, periodic
    )
    _, gradient = interpolate(params, jnp.asarray(start + along * middle), box, periodic)
    value, gradient = np.asarray(value, float), np.asarray(gradient, float)
    # slopes are below 10/µm, steps are 0.0017 µm
    assert np.abs(np.diff(value)).max() < 0.04
    integral = np.cumsum(np.einsum("cdn,di->cn", gradient, along / steps), axis=-1)
    np.testing.assert_allclose(integral, value[:, 1:] - value[:, :1], atol=0.02)


def test_a_clamped_grid_is_constant_outside() -> None:
    params, values = example(2, "clamp")
    far = jnp.asarray([[-9.0, 50.0], [-9.0, 50.0]])
    value, gradient = interpolate(params, far, box_of(2), (False, False))
    np.testing.assert_allclose(value[0], [values[0, 0, 0], values[-1, -1, 0]], rtol=1e-6)
    np.testing.assert_array_equal(gradient, 0)


def test_mapping_changes_nothing() -> None:
    """vmap over values, or over positions only, with the batch last, as one by one."""
    dimension = 2
    params, _ = example(dimension, "periodic", 2)
    rng = np.random.default_rng(3)
    position = jnp.asarray(rng.uniform(0, 9, (4, dimension, 5)))
    tables = params.values * jnp.arange(1.0, 5.0).reshape(4, *(1,) * params.values.ndim)
    box, periodic = box_of(dimension), (True,) * dimension

    @batch_last
    def run(values: jax.Array, position: jax.Array, *rest: jax.Array) -> tuple[jax.Array, ...]:
        origin, spacing, size = rest
        grid = GridParams(values, origin, spacing, params.wraps)
        return interpolate(grid, position, size, periodic)

    rest = (params.origin, params.spacing, box)
    shared = jax.jit(jax.vmap(lambda p: run(params.values, p, *rest)))(position)
    own = jax.jit(jax.vmap(lambda v, p: run(v, p, *rest)))(tables, position)
    for i in range(4):
        alone = interpolate(params, position[i], box, periodic)
        for part, one in zip(shared, alone, strict=True):
            np.testing.assert_allclose(part[i], one, rtol=1e-5, atol=1e-6)
        for part, one in zip(own, alone, strict=True):
            np.testing.assert_allclose(part[i], (i + 1) * one, rtol=1e-5, atol=1e-5)


@DIMENSIONS
@pytest.mark.parametrize("wraps", [True, False])
def test_sharing_out_keeps_sum_and_centre(dimension: int, wraps: bool) -> None:
    """The sum over points is the sum of the amounts anywhere; the first moment is that of the
    places inside the grid.
    """
    rng = np.random.default_rng(4)
    points = tuple(int(n) for n in COUNT[:dimension])
    position = jnp.asarray(rng.uniform(-9, 20, (dimension, 50, 3)))
    amount = jnp.asarray(rng.uniform(0, 1, (50, 3)))
    origin, spacing = jnp.full((dimension, 1), 0.3), jnp.full((dimension, 1), 1.3)
    flags = (wraps,) * dimension
    shared = deposit(amount, position, origin, spacing, points, flags)
    assert shared.shape == (*points, 3)
    axes = tuple(range(dimension))
    np.testing.assert_allclose(shared.sum(axes), amount.sum(0), rtol=50 * EPS)
    inside = jnp.asarray(rng.uniform(0.3, 0.3 + 1.3 * 3.9, (dimension, 50, 3)))
    shared = deposit(amount, inside, origin, spacing, points, flags)
    for axis in axes:
        places = 0.3 + 1.3 * np.arange(points[axis])
        line = np.asarray(shared).sum(tuple(a for a in axes if a != axis))
        wanted = np.sum(np.asarray(amount) * np.asarray(inside[axis]), axis=0)
        np.testing.assert_allclose(places @ line, wanted, rtol=100 * EPS)
