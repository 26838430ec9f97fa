"""Neighbour lists for spheres in JAX: who is near whom, found through a grid of cells, and reused.

A list holds all pairs within the contact distance plus a skin, and serves until some sphere has
moved by half the skin (Verlet, Phys. Rev. 159, 98 (1967)). Cells along a periodic axis divide the
box; along the others they repeat for ever, so that spheres far outside the box find a cell too.
Cost and memory grow in proportion to the number of spheres.
"""

from __future__ import annotations

import dataclasses
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np

from swarmctl.core.tree import pytree
from swarmctl.physics.contacts import pair_energy, wca_factor

Array = jax.Array

SKIN = 0.6
"""Skin of a list in largest radii."""
PAIR_COST, STEP_COST, BUILD_COST, LIFE = 0.6, 20.0, 700.0, 25
"""ns for testing a pair; ns per sphere for forces from a list, and for building one; steps that a
list lasts. Measured on a CPU in 2D; there is a factor of two between machines and dimensions.
"""
_CLOSE_PACKING = {2: math.pi / math.sqrt(12), 3: math.pi / math.sqrt(18)}
_BALL = {2: math.pi, 3: 4 * math.pi / 3}


@dataclasses.dataclass(frozen=True)
class NeighbourConfig:
    """What is static about a list.

    Number of spheres, periodic axes, cells along every axis, spheres that a cell can hold,
    neighbours that a sphere can have, and the skin in µm.
    """

    count: int
    periodic: tuple[bool, ...]
    cells: tuple[int, ...]
    cell_room: int
    room: int
    skin: float


@pytree
class NeighbourList:
    """Neighbours i32 [K,N,*batch] (a sphere itself where there are no more), the positions
    [D,N,*batch] µm of which they are the neighbours, and whether they are all, bool [*batch].
    """

    index: Array
    built: Array
    overflow: Array


def choose(count: int, steps: int) -> bool:
    """Whether lists that serve for `steps` steps are faster than testing all pairs."""
    return PAIR_COST * count > STEP_COST + BUILD_COST / min(steps, LIFE)


def neighbour_config(
    radius: np.ndarray,
    size: tuple[float, ...],
    periodic: tuple[bool, ...],
    skin: float | None = None,
    spare: float = 1.5,
) -> NeighbourConfig:
    """Lay out lists for spheres of these radii [N] µm in a box of this size [D] µm.

    There is room for `spare` times as many neighbours as the smallest of the spheres, packed as
    closely as spheres can be. Where that is not enough lists overflow; take a larger `spare`.
    """
    count, dimension = len(radius), len(size)
    smallest, largest = float(np.min(radius)), float(np.max(radius))
    skin = SKIN * largest if skin is None else skin
    cutoff = 2 * largest + skin
    most = max(3, math.ceil((2 * count) ** (1 / dimension)))
    cells = []
    volume = 1.0
    for length, wraps in zip(size, periodic, strict=True):
        number = min(most, int(length / (1.001 * cutoff)))
        number = (number if number >= 3 else 1) if wraps else max(number, 3)
        cells.append(number)
        volume *= length / number if wraps else max(cutoff, length / number)
    packing = _CLOSE_PACKING[dimension]
    packed = packing / (_BALL[dimension] * smallest**dimension)
    mean = count / math.prod(cells)
    crowded = min(packed * volume, mean + 8 * math.sqrt(mean) + 8)
    cell_room = math.ceil(spare * crowded) + 2
    room = math.ceil(spare * packing * (cutoff / smallest) ** dimension)
    return NeighbourConfig(
        count,
        tuple(periodic),
        tuple(cells),
        cell_room=min(count, cell_room),
        room=max(1, min(count - 1, room)),
        skin=skin,
    )


def build(
    config: NeighbourConfig,
    position: Array,
    radius: Array,
    size: Array,
    group: np.ndarray | None = None,
) -> NeighbourList:
    """Find the neighbours of spheres at position [D,N,*batch] µm.

    radius [N,*batch or 1s], size [D,*batch or 1s] µm; spheres of equal `group` [N] (static) are no
    neighbours of one another.
    """
    batch = position.shape[2:]
    flat = [
        jnp.broadcast_to(x, (*x.shape[:own], *batch)).reshape(*x.shape[:own], -1)
        for x, own in ((position, 2), (radius, 1), (size, 1))
    ]
    owner = np.arange(config.count) if group is None else np.asarray(group)

    def single(position: Array, radius: Array, size: Array) -> tuple[Array, Array]:
        return _find(config, position, radius, size, jnp.asarray(owner, jnp.int32))

    index, overflow = jax.vmap(single, in_axes=-1, out_axes=-1)(*flat)
    shape = (config.room, config.count, *batch)
    return NeighbourList(index.reshape(shape), position, overflow.reshape(batch))


def update(
    config: NeighbourConfig,
    neighbours: NeighbourList,
    position: Array,
    radius: Array,
    size: Array,
    group: np.ndarray | None = None,
) -> NeighbourList:
    """Return lists that hold at `position`: the same, or new ones if any sphere moved too far.

    An overflow is not forgotten.
    """
    moved = position - neighbours.built
    far = jnp.any(jnp.sum(moved * moved, axis=0) > (0.499 * config.skin) ** 2)

    def renew(_: NeighbourList) -> NeighbourList:
        new = build(config, position, radius, size, group)
        overflow = neighbours.overflow | new.overflow
        return NeighbourList(new.index, new.built, overflow)

    return jax.lax.cond(far, renew, lambda old: old, neighbours)


def sphere_forces(
    neighbours: NeighbourList,
    position: Array,
    radius: Array,
    push: Array,
    thermal: Array,
    given: Array | None,
    size: Array,
    periodic: tuple[bool, ...],
) -> tuple[Array, Array]:
    """Return what `contacts.sphere_forces` returns, from lists that hold at `position`.

    Forces [D,N,*batch] pN, and the largest (contact/r)² of every sphere among its neighbours
    [N,*batch].
    """
    index = neighbours.index
    count = position.shape[1]
    delta, square = _separations(index, position, size, periodic)
    contact = radius + _gather(radius, index)
    energy = pair_energy(push, _gather(push, index), contact, thermal, given)
    factor, u = wca_factor(square, contact, energy)
    other = index != jnp.arange(count).reshape(-1, *(1,) * (index.ndim - 2))
    factor, u = jnp.where(other, factor, 0), jnp.where(other, u, 0)
    return jnp.stack([jnp.sum(factor * d, axis=0) for d in delta]), jnp.max(u, axis=0)


def push_apart(
    neighbours: NeighbourList,
    position: Array,
    radius: Array,
    size: Array,
    periodic: tuple[bool, ...],
    gap: float,
) -> tuple[Array, Array]:
    """Half of every overlap, summed [D,N,*batch] µm, and whether any overlap is left [*batch].

    Spheres are aimed at the relative distance `gap` beyond contact. Lists that are not complete
    count as an overlap.
    """
    index = neighbours.index
    delta, square = _separations(index, position, size, periodic)
    distance = jnp.sqrt(square)
    contact = radius + _gather(radius, index)
    other = index != jnp.arange(position.shape[1]).reshape(-1, *(1,) * (index.ndim - 2))
    depth = jnp.where(other, jnp.maximum(contact * (1 + gap) - distance, 0), 0)
    weight = 0.5 * depth / jnp.maximum(distance, 1e-6 * contact)
    shift = jnp.stack([jnp.sum(weight * d, axis=0) for d in delta])
    left = jnp.any(other & (contact > distance), axis=(0, 1))
    return shift, left | neighbours.overflow


def smallest_gap(
    position: np.ndarray, radius: np.ndarray, size: np.ndarray, periodic: tuple[bool, ...]
) -> tuple[float, int, int] | None:
    """The smallest distance between surfaces [µm] of spheres at position [N,D], and which two.

    None if no two are within a contact distance of the largest. In NumPy, at a cost of N log N.
    """
    dimension = len(size)
    reach = 2.0 * float(radius.max())
    wraps = np.asarray(periodic)
    fit = np.minimum(np.asarray(size) / reach, 1e6).astype(np.int64)
    number = np.where(wraps, np.where(fit >= 3, fit, 1), 2**20)
    edge = np.where(wraps, np.asarray(size) / number, reach)
    cell = np.mod(np.floor(position / edge).astype(np.int64), number)
    strides = np.cumprod(np.concatenate([[1], number[:-1]]))
    key = cell @ strides
    order = np.argsort(key, kind="stable")
    ordered = key[order]
    best: tuple[float, int, int] | None = None
    reaches = [(0,) if n == 1 else (-1, 0, 1) for n in number]
    for offset in itertools.product(*reaches):
        there = np.mod(cell + np.asarray(offset), number) @ strides
        first = np.searchsorted(ordered, there, "left")
        counts = np.searchsorted(ordered, there, "right") - first
        i = np.repeat(np.arange(len(position)), counts)
        slot = np.arange(len(i)) - np.repeat(np.cumsum(counts) - counts, counts)
        j = order[np.repeat(first, counts) + slot]
        i, j = i[i < j], j[i < j]
        delta = position[i] - position[j]
        delta -= np.where(wraps, size * np.round(delta / size), 0)
        gap = np.sqrt((delta**2).sum(-1)) - (radius[i] + radius[j])
        if len(gap):
            n = int(gap.argmin())
            if best is None or gap[n] < best[0]:
                best = float(gap[n]), int(i[n]), int(j[n])
    assert dimension == position.shape[1]
    return best


def _gather(x: Array, index: Array) -> Array:
    """Values x [N,*batch or 1s] of the neighbours [K,N,*batch]."""
    count, batch = index.shape[1], index.shape[2:]
    if math.prod(x.shape[1:]) == 1:
        return x.reshape(-1)[index]
    flat = jnp.take_along_axis(
        jnp.broadcast_to(x, (count, *batch)), index.reshape(-1, *batch), axis=0
    )
    return flat.reshape(index.shape)


def _separations(
    index: Array, position: Array, size: Array, periodic: tuple[bool, ...]
) -> tuple[list[Array], Array]:
    """Shortest ways [K,N,*batch] from all neighbours, component by component; their squares."""
    delta = []
    for axis, x in enumerate(position):
        d = x - _gather(x, index)
        if periodic[axis]:
            d = d - size[axis] * jnp.round(d / size[axis])
        delta.append(d)
    return delta, jnp.asarray(sum(d * d for d in delta))


def _find(
    config: NeighbourConfig, position: Array, radius: Array, size: Array, group: Array
) -> tuple[Array, Array]:
    """Neighbours [K,N] of one swarm, and whether a cell or a list has too little room."""
    count, number = config.count, np.asarray(config.cells)
    dtype = position.dtype
    skin = jnp.asarray(config.skin, dtype)
    cutoff = 2 * jnp.max(radius) + skin
    cells = jnp.asarray(number)[:, None]
    wraps = jnp.asarray(config.periodic)[:, None]
    edge = jnp.where(
        wraps, size[:, None] / cells, jnp.maximum(cutoff, size[:, None] / cells)
    ).astype(dtype)
    # A cell below the cutoff would miss pairs, unless it is the only one along its axis.
    thin = jnp.any((edge < cutoff) & (cells > 1))
    whole = jnp.floor(jnp.clip(jnp.nan_to_num(position / edge), -1e9, 1e9)).astype(jnp.int32)
    place = jnp.mod(whole, cells)
    strides = np.cumprod([1, *number[:-1]])
    key = jnp.sum(place * jnp.asarray(strides)[:, None], axis=0)
    order = jnp.argsort(key).astype(jnp.int32)
    held = jnp.zeros(int(number.prod()), jnp.int32).at[key].add(1)
    start = jnp.cumsum(held) - held
    offsets = np.asarray(list(itertools.product(*[(0,) if n == 1 else (-1, 0, 1) for n in number])))
    own = jnp.arange(count, dtype=jnp.int32)

    def look(turn: Array, carry: tuple[Array, Array]) -> tuple[Array, Array]:
        """One slot of one neighbouring cell of every sphere."""
        index, found = carry
        offset, slot = turn // config.cell_room, turn % config.cell_room
        there = jnp.mod(place + jnp.asarray(offsets, jnp.int32)[offset][:, None], cells)
        cell = jnp.sum(there * jnp.asarray(strides)[:, None], axis=0)
        j = order[jnp.minimum(start[cell] + slot, count - 1)]
        delta = position - position[:, j]
        delta = delta - jnp.where(wraps, size[:, None] * jnp.round(delta / size[:, None]), 0)
        near = jnp.sum(delta * delta, axis=0) < (radius + radius[j] + skin) ** 2
        near &= (slot < held[cell]) & (group != group[j]) & (own != j)
        row = jnp.where(near, found, config.room)
        return index.at[row, own].set(j, mode="drop"), found + near.astype(jnp.int32)

    index = jnp.broadcast_to(own, (config.room, count))
    turns = len(offsets) * config.cell_room
    index, found = jax.lax.fori_loop(0, turns, look, (index, jnp.zeros(count, jnp.int32)))
    full = jnp.any(held > config.cell_room) | jnp.any(found > config.room)
    return index, full | thin
