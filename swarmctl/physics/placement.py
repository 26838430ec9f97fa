"""Where colloids are before time 0.

At points, or at random without overlap in a box, disc or ball.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from swarmctl.core.errors import PlacementError
from swarmctl.core.world import Placement, Species, World
from swarmctl.physics.parameters import MotionParams

Array = jax.Array

MOST_SWEEPS = 2000
"""Relaxation sweeps before placement gives up."""
_GAP = 1e-4  # relative gap that is aimed at, so that rounding leaves no contact


def place(key: Array, world: World, params: MotionParams) -> tuple[Array, Array, Array]:
    """Return (position [N,D] µm, director [N,D], overlap bool []) for a world.

    Random centres are drawn uniformly in their region and moved apart until no two spheres overlap;
    `overlap` is true if that failed. Can be jitted and vmapped.
    """
    dtype = params.size.dtype
    position_key, director_key = jax.random.split(key)
    position = _draw_positions(position_key, world, params, dtype)
    director = _draw_directors(director_key, world, dtype)
    if not world.contacts or world.capacity == 1:
        return position, director, jnp.asarray(False)
    position, overlap = _separate(position, world, params)
    return position, director, overlap


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
    if not world.contacts:
        return
    delta = position[:, None] - position[None]
    delta -= np.where(world.box.periodic, size * np.round(delta / size), 0)
    distance = np.sqrt((delta**2).sum(-1))
    np.fill_diagonal(distance, np.inf)
    gap = distance - (radius[:, None] + radius[None])
    if (gap < -1e-9).any():
        i, j = np.unravel_index(gap.argmin(), gap.shape)
        raise PlacementError(
            f"colloids placed at {position[i]} and {position[j]} µm overlap by {-gap[i, j]:.3g} "
            "µm; "
            "move the points apart."
        )


def _region(species: Species, world: World) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper corner [D] of where centres may be, for region box."""
    margin = np.asarray([species.radius if kind == "hard" else 0 for kind in world.box.boundaries])
    return margin, np.asarray(world.box.size) - margin


def _centre(placement: Placement, world: World) -> np.ndarray:
    if placement.centre is not None:
        return np.asarray(placement.centre)
    return np.asarray(world.box.size) / 2


def _draw_positions(key: Array, world: World, params: MotionParams, dtype: jnp.dtype) -> Array:
    parts = []
    keys = jax.random.split(key, len(world.species))
    dimension = world.dimension
    for species_key, species in zip(keys, world.species, strict=True):
        placement = species.placement
        if placement.region == "points":
            parts.append(jnp.asarray(placement.positions, dtype))
        elif placement.region == "box":
            low, high = (jnp.asarray(x, dtype) for x in _region(species, world))
            shape = (species.count, dimension)
            parts.append(jax.random.uniform(species_key, shape, dtype, low, high))
        else:
            radius_key, angle_key = jax.random.split(species_key)
            outer, inner = placement.radius or 0.0, placement.inner_radius
            power = jax.random.uniform(
                radius_key,
                (species.count, 1),
                dtype,
                inner**dimension,
                outer**dimension,
            )
            direction = _isotropic(angle_key, species.count, dimension, dtype)
            centre = jnp.asarray(_centre(placement, world), dtype)
            parts.append(centre + power ** (1 / dimension) * direction)
    return jnp.concatenate(parts)


def _isotropic(key: Array, count: int, dimension: int, dtype: jnp.dtype) -> Array:
    vector = jax.random.normal(key, (count, dimension), dtype)
    return vector / jnp.linalg.norm(vector, axis=-1, keepdims=True)


def _draw_directors(key: Array, world: World, dtype: jnp.dtype) -> Array:
    parts = []
    for species_key, species in zip(
        jax.random.split(key, len(world.species)), world.species, strict=True
    ):
        given = np.asarray(species.placement.directors, np.float64)
        if given.size:
            unit = given / np.linalg.norm(given, axis=1, keepdims=True)
            parts.append(jnp.asarray(unit, dtype))
        else:
            parts.append(_isotropic(species_key, species.count, world.dimension, dtype))
    return jnp.concatenate(parts)


def _separate(position: Array, world: World, params: MotionParams) -> tuple[Array, Array]:
    count = world.capacity
    fixed = np.asarray([s.placement.region == "points" for s in world.species])
    movable = jnp.asarray(~fixed[np.asarray(world.species_of_slot)], position.dtype)[:, None]
    periodic = jnp.asarray(world.box.periodic)
    index = jnp.arange(count)

    def push_apart(position: Array) -> tuple[Array, Array]:
        """Half of every overlap, summed, and whether any overlap is left."""

        def row(j: Array, carry: tuple[Array, Array]) -> tuple[Array, Array]:
            shift, any_left = carry
            delta = position - position[j]
            delta = delta - jnp.where(periodic, params.size * jnp.round(delta / params.size), 0)
            distance = jnp.sqrt(jnp.sum(delta**2, -1))
            contact = params.radius + params.radius[j]
            depth = jnp.where(index != j, contact * (1 + _GAP) - distance, 0)
            left = jnp.any((contact > distance) & (index != j))
            unit = delta / jnp.maximum(distance, 1e-6 * contact)[:, None]
            shift = shift + 0.5 * jnp.maximum(depth, 0)[:, None] * unit
            return shift, any_left | left

        return jax.lax.fori_loop(0, count, row, (jnp.zeros_like(position), jnp.asarray(False)))

    def body(carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        position, _, sweep = carry
        shift, _ = push_apart(position)
        moved = _confine(position + movable * shift, world, params)
        return moved, push_apart(moved)[1], sweep + 1

    def unfinished(carry: tuple[Array, Array, Array]) -> Array:
        _, left, sweep = carry
        return left & (sweep < MOST_SWEEPS)

    position, left, _ = jax.lax.while_loop(
        unfinished, body, (position, push_apart(position)[1], jnp.asarray(0))
    )
    return position, left


def _confine(position: Array, world: World, params: MotionParams) -> Array:
    """Put centres back into the regions of their species."""
    parts, start = [], 0
    for species in world.species:
        part = position[start : start + species.count]
        start += species.count
        placement = species.placement
        if placement.region == "box":
            low, high = (jnp.asarray(x, position.dtype) for x in _region(species, world))
            clamped = jnp.clip(part, low, high)
            part = jnp.where(jnp.asarray(world.box.periodic), part, clamped)
        elif placement.region == "ball":
            centre = jnp.asarray(_centre(placement, world), position.dtype)
            out = part - centre
            distance = jnp.linalg.norm(out, axis=-1, keepdims=True)
            wanted = jnp.clip(distance, placement.inner_radius, placement.radius)
            part = centre + out * wanted / jnp.where(distance > 0, distance, 1)
        parts.append(part)
    return jnp.concatenate(parts)
