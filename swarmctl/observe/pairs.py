"""Who is where around whom: displacements of all pairs, and the frame of every colloid."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from swarmctl.core.errors import CapabilityError
from swarmctl.core.spec import EngineSpec
from swarmctl.core.state import Space, SwarmState
from swarmctl.core.tree import pytree

Array = jax.Array


@pytree
class Pairs:
    """All pairs of N colloids, as colloid i sees colloid j.

    Attributes:
        displacement: [N,N,D] µm from i to j by the minimum image; 0 where not `others`.
        distance: [N,N] µm, infinite where not `others`.
        others: bool [N,N], both present and i ≠ j.
    """

    displacement: Array
    distance: Array
    others: Array


def pairs(state: SwarmState, space: Space) -> Pairs:
    """Return all pairs of a swarm. What is unknown of absent colloids (NaN) is not in it."""
    position, present = state.position, state.present
    others = present[:, None] & present[None, :] & ~jnp.eye(state.capacity, dtype=bool)
    displacement = space.displacement(position[:, None], position[None])
    displacement = jnp.where(others[..., None], displacement, 0)
    return Pairs(displacement, jnp.where(others, length(displacement), jnp.inf), others)


def of_species(state: SwarmState, index: int | None) -> Array:
    """Which colloids are of a species, bool [N]; all of them for None."""
    if index is None:
        return jnp.ones(state.capacity, bool)
    return state.species == index


def length(vector: Array) -> Array:
    """Lengths [...] of vectors [...,D]; the gradient is finite at zero."""
    square = jnp.sum(vector**2, axis=-1)
    positive = square > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, square, 1)), 0)


def unit(vector: Array) -> Array:
    """Unit vectors [...,D] along vectors [...,D]; 0 for those without length."""
    size = length(vector)[..., None]
    return jnp.where(size > 0, vector / jnp.where(size > 0, size, 1), 0)


def own_frame(vector: Array, director: Array) -> Array:
    """Vectors [N,...,2] as seen along the directors [N,2]: (forward, left) components."""
    n = director.reshape(director.shape[0], *(1,) * (vector.ndim - 2), 2)
    forward = n[..., 0] * vector[..., 0] + n[..., 1] * vector[..., 1]
    left = n[..., 0] * vector[..., 1] - n[..., 1] * vector[..., 0]
    return jnp.stack([forward, left], axis=-1)


def require_plane(spec: EngineSpec, reader: str) -> None:
    """Raise CapabilityError, naming both sides, unless the engine is two-dimensional."""
    if spec.dimension != 2:
        raise CapabilityError(
            f"{reader} looks forward and left, which needs a plane; engine {spec.name!r} is "
            f"{spec.dimension}D. Give the world two box lengths, or use another observable."
        )
