"""Contacts of spheres with walls: forces, crossings, clearance.

A wall pushes as a hard face of the box does: WCA with the sphere's radius as contact distance,
measured from the wall's surface, so a wall has the stiffness of a hard face (72 ε/radius²) however
thick it is. The energy of a sphere is that of every face, each with round ends, less that of shared
points where faces end together (swarmctl.core.wall_geometry): it is continuous with its slope, a
face acts where the perpendicular's foot lies inside it and a shared point once and only where no
face does. In a solid the nearest surface pushes outwards with the largest force there is.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from swarmctl.core.tree import pytree, static
from swarmctl.core.wall_geometry import WallGeometry
from swarmctl.physics.contacts import DEEPEST, pair_energy, wca_factor
from swarmctl.physics.wall_grid import cell_table, items_near

Array = jax.Array
Carry = tuple[Array, ...]
Item = Array | list[Array]

UNROLLED = 2
"""Items per turn of a loop over walls. Many more, and XLA recomputes instead of storing: with 12
items of a solid written out, a step took 40 times as long.
"""
FEW = 64
"""Up to this many items every particle is tested against all; beyond, against those of its cell."""
_LENGTH, _HALF, _WEIGHT, _COLUMNS = 6, 7, 8, 9


@pytree
class WallParams:
    """Walls as arrays, which one may map over; trailing axes are batches.

    items [9,S]: faces and shared points: middle, unit vector along, unit normal towards the free
    side (0 if both are), half length, half thickness, weight. lines [4,F] µm: start and end of
    every centre line. rings [4,C] µm: centre, radius, half thickness of circles with colloids
    inside or on both sides; ring_solid [C]: 1 where the outside is solid. discs [3,E] µm: centre
    and radius of every circle's centre line. table [cells,K,9]: the items near every cell, or None.
    grid [2]: cell sides in µm. reach [] µm: the largest radius that is safe.
    """

    items: Array
    lines: Array
    rings: Array
    ring_solid: Array
    discs: Array
    table: Array | None
    grid: Array
    reach: Array
    columns: int = static()
    thick: bool = static()
    solid: bool = static()


def wall_params(geometry: WallGeometry) -> WallParams:
    """Spread compiled walls over arrays.

    `geometry` must be compiled with the reach of the largest sphere: its radius plus the largest
    half thickness. More than a few walls are listed per cell of a grid.
    """
    dtype = jax.dtypes.canonicalize_dtype(np.float64)
    along = geometry.end - geometry.start
    length = np.hypot(*along.T)[:, None]
    unit = along / np.where(length > 0, length, 1)
    normal = np.stack([-unit[:, 1], unit[:, 0]], axis=1) * geometry.one_sided[:, None]
    middle = (geometry.start + geometry.end) / 2
    solid = bool(geometry.one_sided.any())
    pillar = geometry.side == 1
    items = np.concatenate(
        [
            _rows(middle, unit, normal, length / 2, geometry.half, np.ones(len(unit))),
            _rows(
                geometry.point,
                np.zeros_like(geometry.point),
                geometry.normal,
                np.zeros(len(geometry.point)),
                geometry.point_half,
                geometry.weight,
            ),
            # A disc is a point as thick as the disc.
            _rows(
                geometry.centre[pillar],
                np.zeros((int(pillar.sum()), 2)),
                np.zeros((int(pillar.sum()), 2)),
                np.zeros(int(pillar.sum())),
                (geometry.radius + geometry.circle_half)[pillar],
                np.ones(int(pillar.sum())),
            ),
        ]
    )
    if not solid:  # points without weight only tell the inside of solids
        items = items[items[:, _WEIGHT] != 0]
    rings = np.column_stack([geometry.centre, geometry.radius, geometry.circle_half])[~pillar]
    thick = bool((items[:, _HALF] > 0).any())
    thickest = max([0.0, *geometry.half, *geometry.circle_half])
    images = any(geometry.periodic) and len(geometry.start) + len(geometry.radius) > 0
    table, grid, columns = None, np.ones(2), 0
    if len(items) > FEW:
        table, grid, columns = cell_table(items, geometry.size, geometry.reach - thickest)
    limited = images or table is not None
    return WallParams(
        items=jnp.asarray(items.T, dtype),
        lines=jnp.asarray(np.concatenate([geometry.start, geometry.end], axis=1).T, dtype),
        rings=jnp.asarray(rings.T, dtype),
        ring_solid=jnp.asarray(geometry.side[~pillar] == -1, dtype),
        discs=jnp.asarray(np.column_stack([geometry.centre, geometry.radius]).T, dtype),
        table=None if table is None else jnp.asarray(table, dtype),
        grid=jnp.asarray(grid, dtype),
        reach=jnp.asarray(geometry.reach - thickest if limited else np.inf, dtype),
        columns=columns,
        thick=thick,
        solid=solid,
    )


def _rows(*columns: np.ndarray) -> np.ndarray:
    return np.column_stack(columns).reshape(-1, _COLUMNS)


def wall_forces(
    position: Array,
    radius: Array,
    push: Array,
    thermal: Array,
    given: Array | None,
    walls: WallParams,
    size: Array,
    periodic: tuple[bool, ...],
) -> tuple[Array, Array]:
    """Forces [D,N,*batch] in pN of the walls, and the largest (radius/distance)² of every sphere
    [N,*batch], centre to surface; both as for the hard faces of a box.

    position [D,N,*batch] µm, wrapped or not; radius and push [N,*batch or 1s]; thermal [*batch or
    1s]; size [D,*batch or 1s]. A sphere larger than the walls' reach counts as overlapping without
    limit (infinite).
    """
    energy = pair_energy(push, push, radius, thermal, given)
    x, y = _in_box(position, size, periodic)
    batch = (1, *walls.items.shape[2:])
    zero = jnp.zeros(jnp.broadcast_shapes(x.shape, energy.shape, batch), position.dtype)
    far = jnp.full_like(zero, jnp.inf)

    def add(carry: Carry, item: Item) -> Carry:
        fx, fy, nearest, *inner = carry
        dx, dy, foot, square, gap = _measure(x, y, item, walls.thick)
        distance = jnp.maximum(gap, DEEPEST * radius) if walls.thick else gap
        factor, _ = wca_factor(distance**2 if walls.thick else square, radius, energy)
        factor = item[_WEIGHT] * factor
        if walls.thick:
            factor = factor * distance / jnp.maximum(jnp.sqrt(square), DEEPEST * radius)
        nearest = jnp.minimum(nearest, gap if walls.thick else square)
        fx, fy = fx + factor * dx, fy + factor * dy
        return fx, fy, nearest, *_track(inner, dx, dy, foot, square, item)

    # The nearest face or point of a solid: square distance, displacement, side.
    inner = (far, zero, zero, zero) if walls.solid else ()
    fx, fy, nearest, *found = _over_items(add, (zero, zero, far, *inner), x, y, walls)
    smallest = DEEPEST * radius
    distance = jnp.maximum(nearest if walls.thick else jnp.sqrt(nearest), smallest)
    if walls.solid:
        square, dx, dy, side = found
        factor, _ = wca_factor(smallest**2, radius, energy)
        outwards = side * factor * smallest * jax.lax.rsqrt(jnp.maximum(square, 1e-30))
        lost = (side < 0) | ((side > 0) & (square < smallest**2))
        fx = jnp.where(lost, outwards * dx, fx)
        fy = jnp.where(lost, outwards * dy, fy)
        distance = jnp.where(lost, smallest, distance)

    for i in range(walls.rings.shape[1]):
        ring, solid = walls.rings[:, i], walls.ring_solid[i]
        dx, dy, rho, out = _from_ring(x, y, ring)
        gap = jnp.where(solid > 0, -out, jnp.abs(out)) - ring[3]
        close = jnp.maximum(gap, smallest)
        factor, _ = wca_factor(close**2, radius, energy)
        both = out / jnp.maximum(jnp.abs(out), smallest)
        factor = factor * close * jnp.where(solid > 0, -1, both) / rho
        fx, fy = fx + factor * dx, fy + factor * dy
        distance = jnp.minimum(distance, close)

    deepest = jnp.where(radius <= walls.reach, (radius / distance) ** 2, jnp.inf)
    rest = [jnp.zeros_like(fx)] * (position.shape[0] - 2)
    return jnp.stack([fx, fy, *rest]), deepest


def wall_crossings(
    start: Array,
    end: Array,
    walls: WallParams,
    size: Array,
    periodic: tuple[bool, ...],
    radius: Array | None = None,
    deepest: Array | None = None,
) -> Array:
    """Whether the straight way from `start` to `end` [D,N,*batch] µm meets a centre line, bool
    [N,*batch].

    A way that comes within rounding of a centre line has met it, so none slips through a corner.
    Where the walls' reach is limited (many walls, or a periodic box), a step longer than it counts
    as a crossing: it cannot be followed. With radius and `deepest`, as `wall_forces` returned it at
    `start`, steps shorter than the distance from the wall are known to be free, and the test is
    left out if all are.
    """
    x, y = _in_box(start, size, periodic)
    sx, sy = end[0] - start[0], end[1] - start[1]

    def test() -> Array:
        return _crossings(x, y, sx, sy, walls)

    if radius is None or deepest is None:
        return test()
    # Walls farther than the reach are not in `deepest`.
    known = jnp.maximum(deepest, (radius / walls.reach) ** 2)
    safe = ((sx**2 + sy**2) * known < 0.99 * radius**2) & (deepest < 0.99 * DEEPEST**-2)
    return jax.lax.cond(
        safe.all(),
        lambda: jnp.zeros(safe.shape, bool),
        lambda: jnp.broadcast_to(test(), safe.shape),
    )


def _crossings(x: Array, y: Array, sx: Array, sy: Array, walls: WallParams) -> Array:
    dtype = x.dtype
    length = jnp.abs(sx) + jnp.abs(sy)
    extent = jnp.max(jnp.abs(walls.lines), axis=(0, 1), initial=0)
    extent = jnp.maximum(extent, jnp.max(jnp.abs(walls.discs), axis=(0, 1), initial=0))
    slack = 4 * jnp.finfo(dtype).eps * (jnp.abs(x) + jnp.abs(y) + length + extent)
    low_x, high_x = jnp.minimum(0, sx) - slack, jnp.maximum(0, sx) + slack
    low_y, high_y = jnp.minimum(0, sy) - slack, jnp.maximum(0, sy) + slack

    def add(carry: Carry, line: Item) -> Carry:
        ax, ay, bx, by = line[0] - x, line[1] - y, line[2] - x, line[3] - y
        ex, ey = line[2] - line[0], line[3] - line[1]
        start_side, end_side = sx * ay - sy * ax, sx * by - sy * bx
        margin = length * slack
        apart = (jnp.minimum(start_side, end_side) > margin) | (
            jnp.maximum(start_side, end_side) < -margin
        )
        here = ex * ay - ey * ax
        there = ex * (ay - sy) - ey * (ax - sx)
        margin = (jnp.abs(ex) + jnp.abs(ey)) * slack
        apart |= (jnp.minimum(here, there) > margin) | (jnp.maximum(here, there) < -margin)
        apart |= (jnp.minimum(ax, bx) > high_x) | (jnp.maximum(ax, bx) < low_x)
        apart |= (jnp.minimum(ay, by) > high_y) | (jnp.maximum(ay, by) < low_y)
        return (carry[0] | ~apart,)

    def add_disc(carry: Carry, disc: Item) -> Carry:
        dx, dy, _, out = _from_ring(x, y, disc)
        new = jnp.sqrt((dx + sx) ** 2 + (dy + sy) ** 2) - disc[2]
        square = jnp.maximum(sx**2 + sy**2, jnp.finfo(dtype).tiny)
        share = jnp.clip(-(dx * sx + dy * sy) / square, 0, 1)
        middle = jnp.sqrt((dx + share * sx) ** 2 + (dy + share * sy) ** 2) - disc[2]
        low, high = jnp.minimum(middle, jnp.minimum(out, new)), jnp.maximum(out, new)
        return (carry[0] | ((low <= slack) & (high >= -slack)),)

    batch = (1, *walls.items.shape[2:])
    crossed = jnp.zeros(jnp.broadcast_shapes(x.shape, sx.shape, batch), bool)
    (crossed,) = _over(add, (crossed,), walls.lines)
    (crossed,) = _over(add_disc, (crossed,), walls.discs)
    if walls.lines.shape[1] + walls.discs.shape[1] == 0:
        return crossed
    square = sx**2 + sy**2
    return (crossed | (square > walls.reach**2)) & ~jnp.isnan(square)


def wall_clearance(
    position: Array, walls: WallParams, size: Array, periodic: tuple[bool, ...]
) -> tuple[Array, Array]:
    """Distance [N,*batch] µm of points [D,N,*batch] from the nearest surface, negative in the
    material, and the unit vector [D,N,*batch] that leads away from it.

    Every wall is looked at, near or far; in a periodic box, exact within the walls' reach of it.
    """
    x, y = _in_box(position, size, periodic)
    zero = jnp.zeros(jnp.broadcast_shapes(x.shape, (1, *walls.items.shape[2:])), x.dtype)
    far = jnp.full_like(zero, jnp.inf)

    def add(carry: Carry, item: Item) -> Carry:
        gap, ux, uy, *inner = carry
        dx, dy, foot, square, new = _measure(x, y, item, True)
        closer = new < gap
        gap, ux, uy = (jnp.where(closer, a, b) for a, b in ((new, gap), (dx, ux), (dy, uy)))
        return gap, ux, uy, *_track(inner, dx, dy, foot, square, item)

    inner = (far, zero, zero, zero) if walls.solid else ()
    gap, ux, uy, *found = _over(add, (far, zero, zero, *inner), walls.items)
    if walls.solid:
        square, dx, dy, side = found
        within = side < 0
        gap = jnp.where(within, -jnp.sqrt(square), gap)
        ux, uy = jnp.where(within, -dx, ux), jnp.where(within, -dy, uy)
    for i in range(walls.rings.shape[1]):
        ring, solid = walls.rings[:, i], walls.ring_solid[i]
        dx, dy, _, out = _from_ring(x, y, ring)
        sign = jnp.where(solid > 0, -1, jnp.where(out < 0, -1, 1))
        new = sign * out - ring[3]
        closer = new < gap
        gap = jnp.where(closer, new, gap)
        ux, uy = jnp.where(closer, sign * dx, ux), jnp.where(closer, sign * dy, uy)
    square = ux**2 + uy**2
    inverse = jax.lax.rsqrt(jnp.where(square > 0, square, 1))
    rest = [zero] * (position.shape[0] - 2)
    return gap, jnp.stack([ux * inverse, uy * inverse, *rest])


def free_of_walls(
    position: Array, radius: Array, walls: WallParams, size: Array, periodic: tuple[bool, ...]
) -> Array:
    """Whether spheres at [D,N,*batch] µm touch no wall and are in no solid, bool [N,*batch]."""
    return wall_clearance(position, walls, size, periodic)[0] >= radius


def push_off(
    position: Array,
    radius: Array,
    walls: WallParams,
    size: Array,
    periodic: tuple[bool, ...],
    gap: float = 1e-4,
) -> Array:
    """Positions [D,N,*batch] µm, moved off the nearest wall until they clear it by `gap` x radius.

    In a corner one call clears one wall: call it again until `free_of_walls`.
    """
    distance, away = wall_clearance(position, walls, size, periodic)
    depth = radius * (1 + gap) - distance
    return position + jnp.where(depth > 0, depth, 0) * away


def _in_box(position: Array, size: Array, periodic: tuple[bool, ...]) -> list[Array]:
    """x and y in the box, where walls and their images are."""
    return [
        x - size[axis] * jnp.floor(x / size[axis]) if periodic[axis] else x
        for axis, x in enumerate(position[:2])
    ]


def _measure(x: Array, y: Array, item: Item, thick: bool) -> tuple[Array, ...]:
    """Displacement from the nearest point of an item, how far along the foot lies, its square, and
    the distance from the surface (thick walls only).
    """
    rx, ry = x - item[0], y - item[1]
    foot = rx * item[2] + ry * item[3]
    share = jnp.clip(foot, -item[_LENGTH], item[_LENGTH])
    dx, dy = rx - share * item[2], ry - share * item[3]
    square = dx * dx + dy * dy
    gap = jnp.sqrt(square) - item[_HALF] if thick else square
    return dx, dy, foot, square, gap


def _track(
    found: list[Array], dx: Array, dy: Array, foot: Array, square: Array, item: Item
) -> Carry:
    """Keep the nearest face or point and on which side of it the sphere is: 1 free, -1 solid, 0 of
    no solid (Bærentzen and Aanæs, IEEE TVCG 11, 243 (2005): summed normals at points).

    The end of a face is left to its point.
    """
    if not found:
        return ()
    best, bx, by, side = found
    closer = (square < best) & (jnp.abs(foot) <= item[_LENGTH])
    sign = jnp.sign(dx * item[4] + dy * item[5])
    old, new = (best, bx, by, side), (square, dx, dy, sign)
    return tuple(jnp.where(closer, n, o) for n, o in zip(new, old, strict=True))


def _from_ring(x: Array, y: Array, ring: Item) -> tuple[Array, Array, Array, Array]:
    """Displacement from the centre, its length, and the distance outside the centre line."""
    dx, dy = x - ring[0], y - ring[1]
    rho = jnp.maximum(jnp.sqrt(dx * dx + dy * dy), jnp.finfo(x.dtype).tiny)
    return dx, dy, rho, rho - ring[2]


def _over(add: Callable[[Carry, Item], Carry], carry: Carry, table: Array) -> Carry:
    """Fold `add` over the columns of a table [columns,S,*batch], some at a time."""
    count = table.shape[1]
    whole = count // UNROLLED if count > UNROLLED else 0

    def block(index: Array, carry: Carry) -> Carry:
        part = jax.lax.dynamic_slice_in_dim(table, index * UNROLLED, UNROLLED, axis=1)
        for i in range(UNROLLED):
            carry = add(carry, part[:, i])
        return carry

    if whole:
        carry = jax.lax.fori_loop(0, whole, block, carry)
    for i in range(whole * UNROLLED, count):
        carry = add(carry, table[:, i])
    return carry


def _over_items(
    add: Callable[[Carry, Item], Carry], carry: Carry, x: Array, y: Array, walls: WallParams
) -> Carry:
    """Fold `add` over all items, or over those near each particle."""
    if walls.table is None:
        return _over(add, carry, walls.items)
    near = items_near(x, y, walls.table, walls.grid, walls.columns)
    return jax.lax.fori_loop(0, walls.table.shape[1], lambda k, c: add(c, near(k)), carry)
