"""Repulsive contacts between spheres, and of spheres with the faces of a hard box (WCA).

With c = r_i + r_j and u = (c/r)², the WCA force is 12 ε u³ (u³ - 1)/r for u > 1: zero at contact,
so that the cutoff is the sum of the radii exactly, with σ = c 2^(-1/6) and stiffness 72 ε/c².
"""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

Array = jax.Array

DEEPEST = 0.3
"""Fraction of the contact distance below which the force no longer grows."""
OVERLAP = 0.7
"""Fraction of the contact distance below which spheres, or a sphere and a face, overlap."""
STIFFNESS = 72.0
"""Second derivative of the WCA potential at contact, in ε/c²."""

ALL_PAIRS_ELEMENTS = 20_000
"""Up to this many pairs over the batch, one [N,N] operation beats a loop over N rows."""


def wca_factor(square: Array, contact: Array, energy: Array) -> tuple[Array, Array]:
    """Return (f, u): force = f x displacement, and u = (contact/r)². All broadcast together.

    square: r² in µm²; contact: r_i + r_j in µm; energy: ε in pN µm.
    """
    contact_square = contact**2
    inverse = 1 / jnp.maximum(square, DEEPEST**2 * contact_square)
    u = contact_square * inverse
    u3 = u * u * u
    return jnp.where(u > 1, 12 * energy * u3 * (u3 - 1) * inverse, 0), u


def pair_energy(
    push_i: Array, push_j: Array, contact: Array, thermal: Array, given: Array | None
) -> Array:
    """ε of a pair: as given, or max(k_B T, γ v_max (r_i + r_j)) with the stronger swimmer's push γ
    v_max.
    """
    if given is not None:
        return given
    return jnp.maximum(thermal, jnp.maximum(push_i, push_j) * contact)


def sphere_forces(
    position: Array,
    radius: Array,
    push: Array,
    thermal: Array,
    given: Array | None,
    size: Array,
    periodic: tuple[bool, ...],
    group: tuple[int, ...] | None = None,
) -> tuple[Array, Array]:
    """Contact forces [D,N,*batch] in pN, and the largest (contact/r)² of every sphere [N,*batch].

    position [D,N,*batch] µm, radius and push [N,*batch or 1s], thermal [*batch or 1s], size
    [D,*batch or 1s]. Spheres of the same `group` (a rigid body) do not touch one another.
    """
    count, batch = position.shape[1], position.shape[2:]
    if count == 1:
        return jnp.zeros_like(position), jnp.zeros(position.shape[1:], position.dtype)
    members = np.arange(count) if group is None else np.asarray(group)

    def towards(
        other: Array, r_other: Array, p_other: Array, own: Array, r: Array, p: Array
    ) -> tuple[list[Array], Array, Array]:
        delta = nearest_image(own, other, size, periodic)
        square = jnp.asarray(sum(d * d for d in delta))
        contact = r + r_other
        factor, u = wca_factor(square, contact, pair_energy(p, p_other, contact, thermal, given))
        return delta, factor, u

    if count * count * math.prod(batch) <= ALL_PAIRS_ELEMENTS:
        delta, factor, u = towards(
            position[:, None],
            radius[None],
            push[None],
            position[:, :, None],
            radius[:, None],
            push[:, None],
        )
        itself = jnp.asarray(members[:, None] == members).reshape(
            (count, count) + (1,) * len(batch)
        )
        factor, u = jnp.where(itself, 0, factor), jnp.where(itself, 0, u)
        return jnp.stack([jnp.sum(factor * d, axis=1) for d in delta]), jnp.max(u, axis=1)

    index = jnp.asarray(members)
    label = index.reshape((count,) + (1,) * len(batch))

    def row(j: Array, carry: tuple[Array, ...]) -> tuple[Array, ...]:
        *force, deepest = carry
        delta, factor, u = towards(position[:, j], radius[j], push[j], position, radius, push)
        other = label != index[j]
        factor = jnp.where(other, factor, 0)
        force = [f + factor * d for f, d in zip(force, delta, strict=True)]
        return (*force, jnp.maximum(deepest, jnp.where(other, u, 0)))

    zero = jnp.zeros(position.shape[1:], position.dtype)
    *force, deepest = jax.lax.fori_loop(0, count, row, (zero,) * (position.shape[0] + 1))
    return jnp.stack(force), deepest


def nearest_image(own: Array, other: Array, size: Array, periodic: tuple[bool, ...]) -> list[Array]:
    """Components of own - other, the shortest across periodic faces."""
    difference = (own[axis] - other[axis] for axis in range(len(periodic)))
    return [
        d - size[axis] * jnp.round(d * (1 / size[axis])) if periodic[axis] else d
        for axis, d in enumerate(difference)
    ]


def bead_contacts(
    position: Array,
    radius: Array,
    push: Array,
    beads: Array,
    bead_radius: Array,
    arms: Array,
    thermal: Array,
    given: Array | None,
    size: Array,
    periodic: tuple[bool, ...],
) -> tuple[Array, Array, Array, Array, Array]:
    """Contacts of spheres [D,N,*batch] with beads [D,B,*batch] of bodies at arms [D,B,*batch].

    Returns the forces on the spheres [D,N] and on the beads [D,B], the torques [1 or 3,N] r × F
    that every sphere exerts on the bodies, and the largest (contact/r)² of spheres and of beads.
    """
    count, number, batch = position.shape[1], beads.shape[1], position.shape[2:]
    dimension = position.shape[0]

    def touch(
        own: Array, r: Array, p: Array, bead: Array, r_bead: Array, arm: Array
    ) -> tuple[list[Array], list[Array], Array]:
        delta = nearest_image(own, bead, size, periodic)
        square = jnp.asarray(sum(d * d for d in delta))
        contact = r + r_bead
        factor, u = wca_factor(square, contact, pair_energy(p, p, contact, thermal, given))
        force = [factor * d for d in delta]
        if dimension == 2:
            torque = [arm[1] * force[0] - arm[0] * force[1]]
        else:
            torque = [
                arm[(k + 2) % 3] * force[(k + 1) % 3] - arm[(k + 1) % 3] * force[(k + 2) % 3]
                for k in range(3)
            ]
        return force, torque, u

    if count * number * math.prod(batch) <= ALL_PAIRS_ELEMENTS:
        force, torque, u = touch(
            position[:, :, None],
            radius[:, None],
            push[:, None],
            beads[:, None],
            bead_radius[None],
            arms[:, None],
        )
        return (
            jnp.stack([f.sum(1) for f in force]),
            -jnp.stack([f.sum(0) for f in force]),
            jnp.stack([t.sum(1) for t in torque]),
            u.max(1),
            u.max(0),
        )

    def row(carry: tuple[Array, ...], bead: tuple[Array, ...]) -> tuple[Any, Any]:
        total, torques, deepest = carry
        at, r_bead, arm = bead
        force, torque, u = touch(position, radius, push, at[:, None], r_bead, arm[:, None])
        total, torques = total + jnp.stack(force), torques + jnp.stack(torque)
        on_bead = -jnp.stack([f.sum(0) for f in force])
        return (total, torques, jnp.maximum(deepest, u)), (on_bead, u.max(0))

    zero = jnp.zeros_like(position)
    turns = zero[:1] if dimension == 2 else zero
    (total, torques, deepest), (on_beads, bead_deepest) = jax.lax.scan(
        row,
        (zero, turns, zero[0]),
        (jnp.moveaxis(beads, 1, 0), bead_radius, jnp.moveaxis(arms, 1, 0)),
    )
    return total, jnp.moveaxis(on_beads, 0, 1), torques, deepest, bead_deepest


def face_forces(
    position: Array,
    radius: Array,
    push: Array,
    thermal: Array,
    given: Array | None,
    size: Array,
    hard: tuple[bool, ...],
) -> tuple[Array, Array]:
    """Forces [D,N,*batch] in pN of the hard faces at 0 and L, which act on a sphere's surface.

    Also returns the largest (radius/distance)² of every sphere [N,*batch], centre to face.
    """
    energy = pair_energy(push, push, radius, thermal, given)
    forces, deepest = [], jnp.zeros_like(position[0])
    for axis, x in enumerate(position):
        force = jnp.zeros_like(x)
        if hard[axis]:
            for sign, distance in ((1, x), (-1, size[axis] - x)):
                distance = jnp.maximum(distance, DEEPEST * radius)
                factor, u = wca_factor(distance**2, radius, energy)
                force = force + sign * factor * distance
                deepest = jnp.maximum(deepest, u)
        forces.append(force)
    return jnp.stack(forces), deepest
