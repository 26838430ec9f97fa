"""Global fields that move or align every colloid at once."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from swarmctl.core.command import FieldCommand

Array = jax.Array


def rolling_field(direction: Array, strength: Array, frequency: Array) -> FieldCommand:
    """Field that rolls all rollers on the floor of a 2D world along `direction` [2].

    It turns in the plane of the direction and the vertical, about the axis ẑ × d̂, as rollers move
    with v = α a Ω × ẑ. Its `strength` [] mT is constant; its frequency is `frequency` [] Hz times
    the length of `direction`, at most 1, so that the speed follows the length as long as the
    moments follow the field. Without a direction there is no field.
    """
    length = jnp.sqrt(jnp.sum(direction**2))
    along = direction / jnp.where(length > 0, length, 1)
    dtype = direction.dtype
    return FieldCommand(
        bias=jnp.zeros(2, dtype),
        amplitude=(strength * along).astype(dtype),
        axis=jnp.stack([-along[1], along[0], jnp.zeros_like(length)]),
        frequency=(frequency * jnp.minimum(length, 1)).astype(dtype),
        phase=jnp.zeros((), dtype),
        gradient=jnp.zeros((2, 2), dtype),
    )


def aligning_field(direction: Array, strength: Array) -> FieldCommand:
    """Steady field of `strength` [] mT times `direction` [D], of a length of at most 1, to which
    moments turn.
    """
    axes, dtype = direction.shape[0], direction.dtype
    length = jnp.maximum(jnp.sqrt(jnp.sum(direction**2)), 1)
    return FieldCommand(
        bias=(strength * direction / length).astype(dtype),
        amplitude=jnp.zeros(axes, dtype),
        axis=jnp.zeros(3, dtype),
        frequency=jnp.zeros((), dtype),
        phase=jnp.zeros((), dtype),
        gradient=jnp.zeros((axes, axes), dtype),
    )
