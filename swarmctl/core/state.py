"""What is observed of a swarm, and the space it lives in."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from swarmctl.core.tree import pytree, static

Array = jax.Array


@pytree
class Bodies:
    """Rigid objects besides the colloids: M bodies of B beads in all.

    Attributes:
        centre: [M,D] µm, wrapped into the box along periodic axes.
        image: i32 [M,D], how many boxes to add for the unwrapped centre.
        angle: [M] rad in 2D, in (-π, π]; quaternion (w, x, y, z) [M,4] in 3D.
        velocity: [M,D] µm/s, mean over the last control interval.
        angular_velocity: [M] or [M,3] rad/s, likewise.
        bead: [B,D] µm, where the beads are, unwrapped around their centre.
        bead_radius: [B] µm.
        body_of_bead: i32 [B].
        bead_force: [B,D] pN, mean force on every bead over the last interval.
        push_force: [N,D] pN, mean force that every colloid exerts on the bodies.
        push_torque: [N] or [N,3] pN µm, mean torque r × F of it about the bodies' centres.
    """

    centre: Array
    image: Array
    angle: Array
    velocity: Array
    angular_velocity: Array
    bead: Array
    bead_radius: Array
    body_of_bead: Array
    bead_force: Array
    push_force: Array
    push_torque: Array


@pytree
class Chemicals:
    """Substances that diffuse in the box, S of them.

    Attributes:
        value: [N,S] concentration at every colloid.
        gradient: [N,S,D] its gradient there, per µm.
        fields: S grids [*cells] of cell means.
    """

    value: Array
    gradient: Array
    fields: tuple[Array, ...]


@pytree
class SwarmState:
    """What is observed of N colloid slots in D dimensions.

    Attributes:
        position: [N,D] µm, wrapped into the box along periodic axes.
        image: i32 [N,D], how many boxes to add to `position` for the unwrapped one.
        director: [N,D] unit vectors n̂.
        velocity: [N,D] µm/s, mean over the last control interval.
        angular_velocity: rad/s, mean over the last interval; [N] in 2D, [N,3] in 3D.
        species: i32 [N], index into the species table.
        identity: i32 [N], stable while a colloid is tracked; a re-found colloid is a new identity.
        present: bool [N]; False means lost, gone, or padding.
        oriented: bool [N]; False where the director is not seen.
        controllable: bool [N]; False for stuck or excluded colloids.
        bodies: rigid objects, or None.
        step: i32 [], control intervals since the episode began.
        time: f [] s since the episode began; `step` times the interval in simulation.
        interval: f [] s, length of the last control interval.
        chemicals: substances that diffuse, or None.
    """

    position: Array
    image: Array
    director: Array
    velocity: Array
    angular_velocity: Array
    species: Array
    identity: Array
    present: Array
    oriented: Array
    controllable: Array
    bodies: Bodies | None
    step: Array
    time: Array
    interval: Array
    chemicals: Chemicals | None = None

    @property
    def capacity(self) -> int:
        """Number of slots N."""
        return self.position.shape[0]

    @property
    def dimension(self) -> int:
        """2 or 3."""
        return self.position.shape[1]

    def unwrapped(self, space: Space) -> Array:
        """Positions [N,D] µm without the jumps at periodic faces."""
        return self.position + self.image * space.size


@pytree
class Space:
    """Box lengths `size` [D] µm and which axes are periodic.

    The one place that knows the minimum image.
    """

    size: Array
    periodic: tuple[bool, ...] = static()

    def displacement(self, start: Array, end: Array) -> Array:
        """Shortest vector(s) [...,D] µm from `start` to `end`, across periodic faces where that is
        shorter.
        """
        delta = end - start
        if not any(self.periodic):
            return delta
        wrapped = delta - self.size * jnp.round(delta / self.size)
        return jnp.where(jnp.asarray(self.periodic), wrapped, delta)

    def distance(self, start: Array, end: Array) -> Array:
        """Shortest distance(s) [...] µm; its gradient is finite at zero."""
        square = jnp.sum(self.displacement(start, end) ** 2, axis=-1)
        positive = square > 0
        return jnp.where(positive, jnp.sqrt(jnp.where(positive, square, 1.0)), 0.0)

    def wrap(self, position: Array) -> tuple[Array, Array]:
        """Return (position inside the box along periodic axes, image count i32) for positions
        [...,D] µm.
        """
        periodic = jnp.asarray(self.periodic)
        boxes = jnp.where(periodic, jnp.floor(position / self.size), 0)
        wrapped = position - boxes * self.size
        # A tiny negative number plus L rounds to L, which belongs to the next box.
        edge = periodic & (wrapped >= self.size)
        image = boxes.astype(jnp.int32) + edge.astype(jnp.int32)
        return jnp.where(edge, 0, wrapped), image


def renew_rows(memory: Any, fresh: Any, renewed: Array) -> Any:
    """Take the rows of `fresh` where `renewed` bool [N] holds; leaves have N rows, others are kept.

    Used where the identity of a slot changed: the memory of the colloid that was there must not be
    inherited.
    """

    def choose(old: Array, new: Array) -> Array:
        if jnp.ndim(old) == 0 or old.shape[0] != renewed.shape[0]:
            return old
        return jnp.where(renewed.reshape((-1,) + (1,) * (old.ndim - 1)), new, old)

    return jax.tree.map(choose, memory, fresh)


def mean_present(values: Array, present: Array) -> Array:
    """Mean of `values` [N] over the colloids that are present; 0 if there are none."""
    weight = present.astype(values.dtype)
    return jnp.sum(values * weight) / jnp.maximum(jnp.sum(weight), 1.0)


def replace(tree: Any, **changes: Any) -> Any:
    """Return a copy of a frozen dataclass with some fields changed."""
    return dataclasses.replace(tree, **changes)
