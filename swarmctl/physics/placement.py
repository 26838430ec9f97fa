"""Where colloids are before time 0.

At points, or at random without overlap in a box, disc or ball.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from swarmctl.core.errors import PlacementError
from swarmctl.core.state import Space
from swarmctl.core.tree import pytree
from swarmctl.core.wall_geometry import clearance
from swarmctl.core.world import Body, Species, World
from swarmctl.physics import neighbours
from swarmctl.physics.bodies import BodyParams, bead_arms
from swarmctl.physics.neighbours import NeighbourList, smallest_gap
from swarmctl.physics.parameters import MotionParams
from swarmctl.physics.regions import confine, draw_directors, draw_positions, isotropic
from swarmctl.physics.walls import free_of_walls, push_off

Array = jax.Array

MOST_SWEEPS = 2000
"""Relaxation sweeps before placement gives up."""
LISTED_FROM = 400
"""With more spheres, neighbour lists are faster than testing all pairs."""
MOST_DRAWS = 200
"""Redraws of what touches a wall before placement gives up."""
MOST_ESCAPES = 20
"""Redraws of what is wedged between bodies or walls before placement gives up."""
_GAP = 1e-4  # relative gap that is aimed at, so that rounding leaves no contact


@pytree
class Placed:
    """What was placed: colloids [N,D] µm with directors; centres [M,D] µm of bodies and their
    orientations (the x axis [M,2] in 2D, quaternions [M,4] in 3D) or None; whether any overlap.
    """

    position: Array
    director: Array
    overlap: Array
    centre: Array | None = None
    orientation: Array | None = None


def place(key: Array, world: World, params: MotionParams) -> Placed:
    """Place the bodies, then the colloids of a world. Can be jitted and vmapped.

    Random centres are drawn uniformly in their region and moved apart until no two spheres overlap;
    `overlap` is true if that failed. Bodies keep the orientation that was drawn.
    """
    dtype = params.size.dtype
    position_key, director_key = jax.random.split(key)
    overlap = jnp.asarray(False)
    centre, orientation, beads = None, None, None
    if params.bodies is not None:
        body_key, turn_key = jax.random.split(jax.random.fold_in(key, 1))
        orientation = _draw_orientations(turn_key, world, dtype)
        blocked = _bodies_blocked(world, params, orientation)
        centre = _draw_free(body_key, world.bodies, world, dtype, blocked)
        centre, overlap = _separate_bodies(centre, orientation, world, params)
        beads = _beads(centre, orientation, params.bodies)
    blocked = _colloids_blocked(world, params, centre)
    position = _draw_free(position_key, world.species, world, dtype, blocked)
    director = draw_directors(director_key, world.species, world, dtype)
    if world.contacts and (world.capacity > 1 or beads is not None):
        relaxed = _separate(position, world, params, beads)
        if params.bodies is not None or params.walls is not None:
            relaxed = _free_the_wedged(position_key, relaxed, world, params, beads, blocked)
        position = relaxed.position
        overlap |= relaxed.left
    if params.walls is not None:
        overlap |= ~_clear(position, _extent(params), world, params).all()
        if beads is not None and params.bodies is not None:
            overlap |= ~_clear(beads, params.bodies.radius, world, params).all()
    return Placed(position, director, overlap, centre, orientation)


def check_points(world: World) -> None:
    """Raise PlacementError if colloids that are placed at points overlap or leave a hard box."""
    points = [
        (np.asarray(species.placement.positions), species)
        for species in world.species
        if species.placement.region == "points"
    ]
    if not points:
        return
    size = np.asarray(world.box.size)
    position = np.concatenate([p for p, _ in points])
    radius = np.concatenate([np.full(len(p), species.radius) for p, species in points])
    for axis, kind in enumerate(world.box.boundaries):
        x = position[:, axis]
        outside = (x < radius) | (x > size[axis] - radius)
        if kind == "hard" and outside.any():
            raise PlacementError(
                f"colloid at {position[outside.argmax()]} µm sticks out of the hard box of "
                f"{tuple(size)} µm."
            )
    geometry = world.wall_geometry
    if geometry is not None:
        near = clearance(position, geometry) < radius * (1 - 1e-9)
        if near.any():
            raise PlacementError(
                f"colloid at {position[near.argmax()]} µm lies in a wall; move the point away."
            )
    if not world.contacts:
        return
    found = smallest_gap(position, radius, size, world.box.periodic)
    if found is not None and found[0] < -1e-9:
        gap, i, j = found
        raise PlacementError(
            f"colloids placed at {position[i]} and {position[j]} µm overlap by {-gap:.3g} "
            "µm; "
            "move the points apart."
        )


def _extent(params: MotionParams) -> Array:
    """Radius [N] µm of the sphere that holds every colloid."""
    return params.radius if params.aspect is None else params.radius * jnp.maximum(params.aspect, 1)


def _clear(position: Array, radius: Array, world: World, params: MotionParams) -> Array:
    """Which spheres at [N,D] µm touch no wall, bool [N]."""
    assert params.walls is not None
    # Rounding where a sphere just touches must not count.
    within = radius * (1 - 1e-5)
    return free_of_walls(position.T, within, params.walls, params.size, world.box.periodic)


def _draw_free(
    key: Array,
    things: Sequence[Species | Body],
    world: World,
    dtype: jnp.dtype,
    blocked: Callable[[Array], Array] | None,
) -> Array:
    """Draw positions [N,D] µm; those that are `blocked`, bool [N], are drawn again, a limited
    number of times.
    """
    position = draw_positions(key, things, world, dtype)
    if blocked is None:
        return position

    def body(carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        position, bad, draw = carry
        again = draw_positions(jax.random.fold_in(key, draw), things, world, dtype)
        position = jnp.where(bad[:, None], again, position)
        return position, blocked(position), draw + 1

    position, _, _ = jax.lax.while_loop(
        lambda carry: carry[1].any() & (carry[2] < MOST_DRAWS),
        body,
        (position, blocked(position), jnp.asarray(1)),
    )
    return position


def _bodies_blocked(
    world: World, params: MotionParams, orientation: Array
) -> Callable[[Array], Array] | None:
    """Whether bodies with these centres [M,D] touch a wall, bool [M]; None without walls."""
    about = params.bodies
    if params.walls is None or about is None:
        return None
    member = jnp.asarray(np.asarray(about.owner) == np.arange(about.count)[:, None])

    def blocked(centre: Array) -> Array:
        beads = _beads(centre, orientation, about)
        return (member & ~_clear(beads, about.radius, world, params)).any(axis=1)

    return blocked


def _colloids_blocked(
    world: World, params: MotionParams, centre: Array | None
) -> Callable[[Array], Array] | None:
    """Whether colloids touch a wall or lie within a flat body, bool [N]; None where nothing is."""
    holes = np.asarray([b.shape.hole for b in world.bodies for _ in range(b.count)])
    hollow = world.dimension == 2 and world.contacts and bool(np.any(holes > 0))
    if params.walls is None and not hollow:
        return None
    space = Space(params.size, world.box.periodic)

    def blocked(position: Array) -> Array:
        bad = jnp.zeros(len(position), bool)
        if params.walls is not None:
            bad |= ~_clear(position, _extent(params), world, params)
        if hollow and centre is not None:
            distance = space.distance(centre[None], position[:, None])
            bad |= (distance < jnp.asarray(holes, position.dtype)).any(axis=1)
        return bad

    return blocked


def _draw_orientations(key: Array, world: World, dtype: jnp.dtype) -> Array:
    """Orientations of the bodies: the x axis [M,2] in 2D, quaternions [M,4] in 3D."""
    director_key, spin_key = jax.random.split(key)
    director = draw_directors(director_key, world.bodies, world, dtype)
    if world.dimension == 2:
        return director
    given = [bool(body.placement.directors) for body in world.bodies for _ in range(body.count)]
    random = isotropic(spin_key, len(given), 4, dtype)
    # The shortest turn from the x axis to the director; from its opposite, half a turn about z.
    turn = jnp.stack(
        [1 + director[:, 0], 0 * director[:, 0], -director[:, 2], director[:, 1]], axis=-1
    )
    length = jnp.linalg.norm(turn, axis=-1, keepdims=True)
    half_turn = jnp.asarray([0, 0, 0, 1], dtype)
    turn = jnp.where(length > 1e-6, turn / jnp.where(length > 1e-6, length, 1), half_turn)
    return jnp.where(jnp.asarray(given)[:, None], turn, random)


def _beads(centre: Array, orientation: Array, about: BodyParams) -> Array:
    """Bead centres [B,D] µm."""
    return centre[np.asarray(about.owner)] + bead_arms(about, orientation.T).T


def _separate_bodies(
    centre: Array, orientation: Array, world: World, params: MotionParams
) -> tuple[Array, Array]:
    """Move bodies apart, without turning them, until no beads of two of them overlap."""
    about = params.bodies
    assert about is not None
    if about.count == 1 or not world.contacts:
        return centre, jnp.asarray(False)
    owner = np.asarray(about.owner)
    different = jnp.asarray(owner[:, None] != owner)
    member = jnp.asarray(owner == np.arange(about.count)[:, None], centre.dtype)
    fixed = np.asarray(
        [b.placement.region == "points" for b in world.bodies for _ in range(b.count)]
    )
    movable = jnp.asarray(~fixed, centre.dtype)[:, None]
    space = Space(params.size, world.box.periodic)
    contact = about.radius[:, None] + about.radius

    stride = 0.5 * jnp.min(about.radius)

    def overlaps(centre: Array) -> tuple[Array, Array]:
        """A stride away from every body that is in the way, and whether any two overlap."""
        beads = _beads(centre, orientation, about)
        distance = space.distance(beads[None], beads[:, None])
        touching = (different & (distance < contact * (1 + _GAP))).astype(centre.dtype)
        met = jnp.minimum(member @ touching @ member.T, 1)
        # Along the line of centres: pushes of single beads cancel where two rods cross.
        apart = space.displacement(centre[None], centre[:, None])
        length = space.distance(centre[None], centre[:, None])[..., None]
        unit = apart / jnp.where(length > 0, length, 1)
        shift = stride * jnp.sum(met[..., None] * unit, axis=1)
        return shift, jnp.any(different & (distance < contact))

    def body(carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        centre, _, sweep = carry
        moved = centre + movable * overlaps(centre)[0]
        moved = confine(moved, world.bodies, world)
        return moved, overlaps(moved)[1], sweep + 1

    centre, left, _ = jax.lax.while_loop(
        lambda carry: carry[1] & (carry[2] < MOST_SWEEPS),
        body,
        (centre, overlaps(centre)[1], jnp.asarray(0)),
    )
    return centre, left


def _free_the_wedged(
    key: Array,
    relaxed: _Sweep,
    world: World,
    params: MotionParams,
    beads: Array | None,
    blocked: Callable[[Array], Array] | None,
) -> _Sweep:
    """Draw colloids again that are wedged between bodies or walls, where none can push them out."""

    def again(carry: tuple[_Sweep, Array]) -> tuple[_Sweep, Array]:
        stuck, draw = carry
        wedged = jnp.sum(stuck.shift**2, axis=-1) > 0
        fresh_key = jax.random.fold_in(key, MOST_DRAWS + draw)
        fresh = _draw_free(fresh_key, world.species, world, stuck.position.dtype, blocked)
        position = jnp.where(wedged[:, None], fresh, stuck.position)
        return _separate(position, world, params, beads), draw + 1

    relaxed, _ = jax.lax.while_loop(
        lambda carry: carry[0].left & (carry[1] < MOST_ESCAPES), again, (relaxed, jnp.asarray(0))
    )
    return relaxed


def _separate(position: Array, world: World, params: MotionParams, beads: Array | None) -> _Sweep:
    """Move colloids apart, and off the beads of bodies, which stay."""
    count = world.capacity
    fixed = np.asarray([s.placement.region == "points" for s in world.species])
    movable = jnp.asarray(~fixed[np.asarray(world.species_of_slot)], position.dtype)[:, None]
    extent = _extent(params)
    radii = np.asarray([s.largest_radius for s in world.species])[np.asarray(world.species_of_slot)]
    reach, group = extent, np.arange(count)
    if params.bodies is not None:
        reach = jnp.concatenate([extent, params.bodies.radius])
        radii = np.concatenate([radii, _bead_radii(world)])
        # All beads form one group: they need no room between them here.
        group = np.concatenate([group, np.full(len(params.bodies.owner), count)])
    look, push_apart = _pusher(world, params, radii, reach, group)

    def sites(position: Array) -> Array:
        return position if beads is None else jnp.concatenate([position, beads])

    def body(carry: _Sweep) -> _Sweep:
        moved = carry.position + movable * carry.shift
        moved = confine(moved, world.species, world)
        if params.walls is not None:
            off = push_off(moved.T, extent, params.walls, params.size, world.box.periodic).T
            moved = moved + movable * (off - moved)
        return swept(moved, look(sites(moved), carry.near), carry.number + 1)

    def swept(position: Array, near: NeighbourList | None, number: Array) -> _Sweep:
        shift, left = push_apart(sites(position), near)
        return _Sweep(position, shift[:count], left, near, number)

    return jax.lax.while_loop(
        lambda carry: carry.left & (carry.number < MOST_SWEEPS),
        body,
        swept(position, look(sites(position), None), jnp.asarray(0)),
    )


@pytree
class _Sweep:
    """Where a sweep of relaxation stands: positions, how to go on, and whether any overlap."""

    position: Array
    shift: Array
    left: Array
    near: NeighbourList | None
    number: Array


def _bead_radii(world: World) -> np.ndarray:
    return np.concatenate(
        [np.full(len(b.shape.outline()) * b.count, b.bead_radius) for b in world.bodies]
    )


def _pusher(
    world: World, params: MotionParams, radii: np.ndarray, reach: Array, group: np.ndarray
) -> tuple[Callable[..., NeighbourList | None], Callable[..., tuple[Array, Array]]]:
    """Return how to list neighbours of spheres at [S,D] µm, of the radii `reach`, and the function
    of positions and lists that gives half of every overlap, summed, and whether any is left.
    """
    periodic = world.box.periodic
    if len(radii) > LISTED_FROM:
        layout = neighbours.neighbour_config(radii, world.box.size, periodic, spare=6)

        def look(sites: Array, near: NeighbourList | None) -> NeighbourList | None:
            about = (sites.T, reach, params.size, group)
            if near is None:
                return neighbours.build(layout, *about)
            return neighbours.update(layout, near, *about)

        def listed(sites: Array, near: NeighbourList) -> tuple[Array, Array]:
            shift, left = neighbours.push_apart(
                near, sites.T, reach, params.size, periodic, gap=_GAP
            )
            return shift.T, left

        return look, listed
    space = Space(params.size, periodic)
    label = jnp.asarray(group)

    def by_rows(sites: Array, _: None) -> tuple[Array, Array]:
        def row(j: Array, carry: tuple[Array, Array]) -> tuple[Array, Array]:
            shift, any_left = carry
            delta = space.displacement(sites[j], sites)
            distance = jnp.sqrt(jnp.sum(delta**2, -1))
            contact = reach + reach[j]
            other = label != label[j]
            depth = jnp.where(other, contact * (1 + _GAP) - distance, 0)
            left = jnp.any((contact > distance) & other)
            unit = delta / jnp.maximum(distance, 1e-6 * contact)[:, None]
            shift = shift + 0.5 * jnp.maximum(depth, 0)[:, None] * unit
            return shift, any_left | left

        return jax.lax.fori_loop(0, len(radii), row, (jnp.zeros_like(sites), jnp.asarray(False)))

    return lambda sites, near: None, by_rows
