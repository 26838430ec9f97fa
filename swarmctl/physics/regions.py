"""Where colloids and bodies start: drawing positions and directors, and staying in a region."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from swarmctl.core.world import Body, Placement, Species, World

Array = jax.Array


def _range(thing: Species | Body, world: World) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper corner [D] of where centres may be, for region box."""
    reach = thing.largest_radius if isinstance(thing, Species) else thing.reach
    margin = np.asarray([reach if kind == "hard" else 0 for kind in world.box.boundaries])
    return margin, np.asarray(world.box.size) - margin


def _centre(placement: Placement, world: World) -> np.ndarray:
    if placement.centre is not None:
        return np.asarray(placement.centre)
    return np.asarray(world.box.size) / 2


def draw_positions(
    key: Array, things: Sequence[Species | Body], world: World, dtype: jnp.dtype
) -> Array:
    """Draw positions [N,D] µm of species or bodies, uniformly in their regions."""
    parts = []
    keys = jax.random.split(key, len(things))
    dimension = world.dimension
    for species_key, species in zip(keys, things, strict=True):
        placement = species.placement
        if placement.region == "points":
            parts.append(jnp.asarray(placement.positions, dtype))
        elif placement.region == "box":
            low, high = (jnp.asarray(x, dtype) for x in _range(species, world))
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
            direction = isotropic(angle_key, species.count, dimension, dtype)
            centre = jnp.asarray(_centre(placement, world), dtype)
            parts.append(centre + power ** (1 / dimension) * direction)
    return jnp.concatenate(parts)


def isotropic(key: Array, count: int, dimension: int, dtype: jnp.dtype) -> Array:
    """Draw unit vectors [N,D] without a preferred direction."""
    vector = jax.random.normal(key, (count, dimension), dtype)
    return vector / jnp.linalg.norm(vector, axis=-1, keepdims=True)


def draw_directors(
    key: Array, things: Sequence[Species | Body], world: World, dtype: jnp.dtype
) -> Array:
    """Directors [N,D] as given, or isotropic."""
    parts = []
    for species_key, species in zip(jax.random.split(key, len(things)), things, strict=True):
        given = np.asarray(species.placement.directors, np.float64)
        if given.size:
            unit = given / np.linalg.norm(given, axis=1, keepdims=True)
            parts.append(jnp.asarray(unit, dtype))
        else:
            parts.append(isotropic(species_key, species.count, world.dimension, dtype))
    return jnp.concatenate(parts)


def confine(position: Array, things: Sequence[Species | Body], world: World) -> Array:
    """Put centres back into the regions of their species or bodies."""
    parts, start = [], 0
    for species in things:
        part = position[start : start + species.count]
        start += species.count
        placement = species.placement
        if placement.region == "box":
            low, high = (jnp.asarray(x, position.dtype) for x in _range(species, world))
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
