"""Walls listed per cell of a grid, for worlds with many of them."""

from __future__ import annotations

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

Array = jax.Array

MOST_CELLS = 16384
"""Cells of a grid at most; more would not stay in the cache."""
_FAR = 1e6  # in box lengths: where the empty places of a cell's list are


def cell_table(
    items: np.ndarray, size: np.ndarray, radius: float
) -> tuple[np.ndarray, np.ndarray, int]:
    """Return (table [cells,K,9], grid [4], columns): per cell the items [S,9] whose surface is
    within `radius` µm of it.

    Points outside the grid belong to the nearest cell, which is right as long as all walls lie
    inside the box. Row-major: cell = row * columns + column.
    """
    side = max(radius / 2, float(np.sqrt(np.prod(size) / MOST_CELLS)))
    columns, rows = (max(1, int(np.ceil(length / side))) for length in size)
    step = size / (columns, rows)
    lists: list[list[int]] = [[] for _ in range(columns * rows)]
    for index, item in enumerate(items):
        middle, along, length, half = item[0:2], item[2:4], item[6], item[7]
        far = half + radius + float(np.hypot(*step)) / 2
        span = np.abs(along) * length + far
        first = np.clip(np.floor((middle - span) / step), 0, (columns - 1, rows - 1)).astype(int)
        last = np.clip(np.floor((middle + span) / step), 0, (columns - 1, rows - 1)).astype(int)
        x, y = (np.arange(first[a], last[a] + 1) for a in (0, 1))
        dx = (x + 0.5)[None, :] * step[0] - middle[0]
        dy = (y + 0.5)[:, None] * step[1] - middle[1]
        foot = np.clip(dx * along[0] + dy * along[1], -length, length)
        near = np.hypot(dx - foot * along[0], dy - foot * along[1]) <= far
        for row, column in zip(*np.nonzero(near), strict=True):
            lists[y[row] * columns + x[column]].append(index)
    longest = max(map(len, lists))
    empty = np.zeros(items.shape[1])
    empty[:2] = _FAR * size.max()
    table = np.tile(empty, (len(lists), longest, 1))
    for cell, indices in enumerate(lists):
        table[cell, : len(indices)] = items[indices]
    return table, step, columns


def items_near(
    x: Array, y: Array, table: Array, step: Array, columns: int
) -> Callable[[Array], list[Array]]:
    """Return k -> the nine numbers [N,*batch] of the k-th item near points at x, y [N,*batch] µm.

    table [cells,K,9,*batch or 1s], step [2,*batch or 1s] µm.
    """
    rows = table.shape[0] // columns
    column = jnp.clip(jnp.floor(x / step[0]), 0, columns - 1)
    row = jnp.clip(jnp.floor(y / step[1]), 0, rows - 1)
    cell = (row * columns + column).astype(jnp.int32)
    width = table.shape[2]
    if math.prod(table.shape[3:]) == 1:
        flat = table.reshape(table.shape[:3])

        def item(k: Array) -> list[Array]:
            return [flat.at[cell, k, i].get(mode="promise_in_bounds") for i in range(width)]

        return item

    batch = table.shape[3:]
    shape = jnp.broadcast_shapes(cell.shape, (1, *batch))
    cell = jnp.broadcast_to(cell, shape)
    along = tuple(np.indices(batch, sparse=True))

    def batched(k: Array) -> list[Array]:
        return [table.at[(cell, k, i, *along)].get(mode="promise_in_bounds") for i in range(width)]

    return batched
