"""Multilinear interpolation on regular grids, and sharing out amounts to the points around.

Both use the same weights, which sum to 1. Arrays have their batch axes last.
"""

from __future__ import annotations

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np

from swarmctl.core.grids import Grid
from swarmctl.core.tree import pytree, static

Array = jax.Array


@pytree
class GridParams:
    """Values [C,*points] on a grid with `origin` [D] µm and `spacing` [D] µm.

    An axis of `wraps` repeats after its points; beyond the ends of another one, values stay as
    they are there.
    """

    values: Array
    origin: Array
    spacing: Array
    wraps: tuple[bool, ...] = static()


def grid_params(grid: Grid, dimension: int, components: bool) -> GridParams:
    """Arrays of a grid that was checked against a box of this dimension.

    `components`: whether its last axis counts components; C is 1 otherwise.
    """
    dtype = jax.dtypes.canonicalize_dtype(jnp.float64)
    values = np.moveaxis(grid.array, -1, 0) if components else grid.array[None]
    return GridParams(
        jnp.asarray(values, dtype),
        jnp.asarray(grid.origins(dimension), dtype),
        jnp.asarray(grid.spacings(dimension), dtype),
        tuple(edge == "periodic" for edge in grid.edges(dimension)),
    )


def _cell(
    position: Array,
    origin: Array,
    spacing: Array,
    points: tuple[int, ...],
    wraps: tuple[bool, ...],
    size: Array,
    periodic: tuple[bool, ...],
) -> tuple[list[tuple[Array, Array]], list[Array], list[Array]]:
    """Per axis: lower and upper point [N,*b], fraction between them, and 1/spacing or 0 outside."""
    nodes, fractions, slopes = [], [], []
    for axis, (count, wrap) in enumerate(zip(points, wraps, strict=True)):
        inverse = 1 / spacing[axis]
        place = position[axis] - origin[axis]
        if not wrap and periodic[axis]:
            middle = 0.5 * (count - 1) * spacing[axis]
            length = size[axis]
            place = place - middle
            place = place - length * jnp.round(place / length) + middle
        place = place * inverse
        if wrap:
            place = place - count * jnp.floor(place * (1 / count))
            lower = jnp.clip(jnp.floor(place), 0, count - 1)
            inside = jnp.ones_like(place)
        else:
            inside = ((place >= 0) & (place <= count - 1)).astype(place.dtype)
            place = jnp.clip(place, 0, count - 1)
            lower = jnp.clip(jnp.floor(place), 0, max(count - 2, 0))
        low = lower.astype(jnp.int32)
        high = low + 1
        high = jnp.where(high == count, 0, high) if wrap else jnp.minimum(high, count - 1)
        nodes.append((low, high))
        fractions.append(place - lower)
        slopes.append(inside * inverse)
    return nodes, fractions, slopes


def interpolate(
    grid: GridParams, position: Array, size: Array, periodic: tuple[bool, ...]
) -> tuple[Array, Array]:
    """Values [C,N,*b] and their gradient [C,D,N,*b] at positions [D,N,*b] µm.

    The values are continuous and exact for linear functions; the gradient is exactly theirs, so it
    steps where cells meet. size [D,*b or 1s] µm is the box, `periodic` says along which of its
    axes positions repeat.
    """
    dimension, depth = position.shape[0], position.ndim - 2
    components, points = grid.values.shape[0], grid.values.shape[1 : 1 + dimension]
    nodes, fractions, slopes = _cell(
        position, grid.origin, grid.spacing, points, grid.wraps, size, periodic
    )
    table = grid.values.reshape(components, math.prod(points), *grid.values.shape[1 + dimension :])
    shared = all(length == 1 for length in table.shape[2:])
    if shared:
        table = table.reshape(components, -1)

    def look_up(corner: tuple[int, ...]) -> Array:
        index = nodes[0][corner[0]]
        for axis in range(1, dimension):
            index = index * points[axis] + nodes[axis][corner[axis]]
        if shared:
            return jnp.take(table, index, axis=1, mode="clip")
        batch = jnp.broadcast_shapes(index.shape[1:], table.shape[2:])
        index = jnp.broadcast_to(index, (index.shape[0], *batch))
        full = jnp.broadcast_to(table, (*table.shape[:2], *batch))
        return jnp.take_along_axis(full, index[None], axis=1, mode="clip")

    # contract the corners axis by axis: (value, slopes along the axes done so far)
    level = {corner: [look_up(corner)] for corner in itertools.product((0, 1), repeat=dimension)}
    for axis in range(dimension):
        fraction, slope = fractions[axis], slopes[axis]
        level = {
            rest: [a + fraction * (b - a) for a, b in zip(low, level[(1, *rest)], strict=True)]
            + [slope * (level[(1, *rest)][0] - low[0])]
            for (first, *tail), low in level.items()
            if first == 0
            for rest in [tuple(tail)]
        }
    value, *gradient = level[()]
    assert value.ndim == 2 + depth
    return value, jnp.stack(jnp.broadcast_arrays(*gradient), axis=1)


def deposit(
    amount: Array,
    position: Array,
    origin: Array,
    spacing: Array,
    points: tuple[int, ...],
    wraps: tuple[bool, ...],
) -> Array:
    """Share amounts [N,*b] at positions [D,N,*b] µm out to the points around; sums [*points,*b].

    Cloud in cell (Hockney & Eastwood 1988): the sum over all points is the sum of the amounts.
    """
    dimension = position.shape[0]
    size = spacing * jnp.asarray(points, spacing.dtype).reshape(-1, *(1,) * (spacing.ndim - 1))
    nodes, fractions, _ = _cell(
        position, origin, spacing, points, wraps, size, (False,) * dimension
    )
    shape = jnp.broadcast_shapes(amount.shape, *(fraction.shape for fraction in fractions))
    indices, weights = [], []
    for corner in itertools.product((0, 1), repeat=dimension):
        index: Array | int = 0
        weight = amount
        for axis, side in enumerate(corner):
            index = index * points[axis] + nodes[axis][side]
            weight = weight * (fractions[axis] if side else 1 - fractions[axis])
        indices.append(jnp.broadcast_to(index, shape))
        weights.append(jnp.broadcast_to(weight, shape))
    width = math.prod(shape[1:])
    flat_index = jnp.stack(indices).reshape(-1, width)
    flat_weight = jnp.stack(weights).reshape(-1, width)
    sums = jnp.zeros((math.prod(points), width), flat_weight.dtype)
    sums = sums.at[flat_index, jnp.arange(width)[None]].add(flat_weight, mode="drop")
    return sums.reshape(*points, *shape[1:])
