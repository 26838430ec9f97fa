"""Contacts of spheroids with what is not a spheroid: walls, and the beads of rigid bodies."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from swarmctl.physics.bodies import HARDNESS, BodyParams, Push, moment_of
from swarmctl.physics.contacts import nearest_image, pair_energy
from swarmctl.physics.gay_berne import TANGENT_STEPS, pair_contact
from swarmctl.physics.walls import WallParams, wall_forces

Array = jax.Array

INSCRIBED = np.sin(np.linspace(-np.pi / 2, np.pi / 2, 9))
"""Where inscribed spheres sit on the long axis, 1 being the one that touches the tip. So spaced,
they reach within 2 % as far as a spheroid of aspect 3 in any direction.
"""


def inscribed_spheres(
    position: Array, director: Array, radius: Array, aspect: Array
) -> tuple[Array, Array, Array]:
    """Centres [D,K,N,*batch], arms [D,K,N,*batch] and radii [K,N,*batch] µm of inscribed spheres.

    A spheroid of semi-axes a < b is the envelope of the spheres at s on its long axis with the
    radius a √(1 - s²/(b² - a²)), |s| ≤ (b² - a²)/b, of which K are taken. The long axis is the
    director, or at right angles to it in the plane where the aspect is below 1.
    """
    if director.shape[0] == 2:
        across = jnp.stack([-director[1], director[0]])
        axis = jnp.where(aspect >= 1, director, across)
    else:
        axis = director
    long, short = radius * jnp.maximum(aspect, 1), radius * jnp.minimum(aspect, 1)
    places = jnp.asarray(INSCRIBED, position.dtype).reshape((-1,) + (1,) * (position.ndim - 1))
    excess = long**2 - short**2
    s = places * excess / long
    sphere = short * jnp.sqrt(1 - s**2 / jnp.where(excess > 0, excess, 1))
    arms = axis[:, None] * s
    return position[:, None] + arms, arms, jnp.broadcast_to(sphere, arms.shape[1:])


def spheroid_wall_forces(
    position: Array,
    director: Array,
    radius: Array,
    aspect: Array,
    push: Array,
    thermal: Array,
    given: Array | None,
    walls: WallParams,
    size: Array,
    periodic: tuple[bool, ...],
) -> tuple[Array, Array, Array]:
    """Forces [D,N,*batch] pN and torques [1 or 3,N,*batch] pN µm of walls, and the largest
    (radius/distance)² of an inscribed sphere [N,*batch].
    """
    dimension, count, batch = position.shape[0], position.shape[1], position.shape[2:]
    centres, arms, spheres = inscribed_spheres(position, director, radius, aspect)
    number = len(INSCRIBED)

    def flat(x: Array) -> Array:
        shape = (*x.shape[: -2 - len(batch)], number * count, *batch)
        return jnp.broadcast_to(x, (*x.shape[: -1 - len(batch)], count, *batch)).reshape(shape)

    pushes = jnp.broadcast_to(push, spheres.shape)
    force, deepest = wall_forces(
        flat(centres), flat(spheres), flat(pushes), thermal, given, walls, size, periodic
    )
    force = force.reshape((dimension, number, count, *batch))
    torque = moment_of(jnp.broadcast_to(arms, force.shape), force)
    return (
        force.sum(axis=1),
        torque.sum(axis=1),
        deepest.reshape((number, count, *batch)).max(axis=0),
    )


def spheroid_bead_contacts(
    params: BodyParams,
    beads: Array,
    arms: Array,
    position: Array,
    director: Array,
    radius: Array,
    aspect: Array,
    push: Array,
    thermal: Array,
    given: Array | None,
    size: Array,
    periodic: tuple[bool, ...],
) -> tuple[Push, Array]:
    """Contacts of spheroids [D,N] with beads [D,B] of bodies, all pairs; also the torques
    [1 or 3,N,*batch] pN µm on the spheroids.
    """
    delta = nearest_image(position[:, :, None], beads[:, None], size, periodic)
    contact = radius[:, None] + params.radius[None]
    hard = HARDNESS * push[:, None]
    energy = pair_energy(hard, hard, contact, thermal, given)
    own = [x[:, None] for x in director]
    round_director = [jnp.ones_like(own[0]), *(jnp.zeros_like(own[0]) for _ in own[1:])]
    force, couple, u = pair_contact(
        delta,
        (own, round_director),
        (radius[:, None], params.radius[None]),
        (aspect[:, None], jnp.ones_like(aspect[:, None])),
        energy,
        TANGENT_STEPS,
    )
    total = jnp.stack(jnp.broadcast_arrays(*force))
    # The potential does not depend on the bead's director: it feels no torque of its own.
    torque = -moment_of(jnp.broadcast_to(arms[:, None], total.shape), total)
    turned = moment_of(
        jnp.stack(jnp.broadcast_arrays(*own, *force)[: len(own)]),
        jnp.stack(jnp.broadcast_arrays(*couple)),
    )
    on = Push(
        on_colloid=total.sum(axis=2),
        on_bead=-total.sum(axis=1),
        torque_by_colloid=torque.sum(axis=2),
        deepest=u.max(axis=1),
        deepest_bead=u.max(axis=0),
    )
    return on, turned.sum(axis=2)
