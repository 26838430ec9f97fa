"""Rotations of directors by small angles that keep their length, in 2D and 3D."""

from __future__ import annotations

import jax
import jax.numpy as jnp

Array = jax.Array


def rotate(director: Array, turn: Array) -> Array:
    """Rotate directors [D,...] by `turn`: angles [1,...] in 2D, rotation vectors [3,...] in 3D, in
    rad.

    Cayley's form with g = tan(angle/2) to fifth order: exact orthogonality, no trigonometry.
    """
    square = jnp.sum(turn**2, axis=0)
    g = turn * (0.5 + square / 24)
    g2 = jnp.sum(g**2, axis=0)
    weight = 2 / (1 + g2)
    if director.shape[0] == 2:
        cosine, sine = 1 - weight * g2, weight * g[0]
        x, y = director[0], director[1]
        return jnp.stack([x * cosine - y * sine, x * sine + y * cosine])
    first = cross(g, director)
    return director + weight * (first + cross(g, first))


def cross(a: Array, b: Array) -> Array:
    """Cross product of vectors [3,...]."""
    return jnp.stack(
        [
            a[1] * b[2] - a[2] * b[1],
            a[2] * b[0] - a[0] * b[2],
            a[0] * b[1] - a[1] * b[0],
        ]
    )


def normalise(vector: Array) -> Array:
    """Scale vectors [D,...] to length 1; a zero vector stays zero."""
    length = jnp.sqrt(jnp.sum(vector**2, axis=0))
    return vector / jnp.where(length > 0, length, 1)
