"""Overdamped motion of active colloids over one control interval.

    dr = (v n̂ + u + F/γ) dt + √(2 k_B T dt/γ) ξ        dn̂ = (ω dt + √(2 k_B T dt/γ_r) ξ_r) × n̂

The scheme is of weak order one: Euler for contacts, the mean of old and new director for the
swimming, rotations that keep the director's length. Displacements are summed within the interval
and the rounding remainder is carried to the next, so that slow drifts survive float32.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp

from swarmctl.core.tree import pytree
from swarmctl.physics.batching import batch_last
from swarmctl.physics.contacts import OVERLAP, face_forces, sphere_forces
from swarmctl.physics.noise import particle_noise
from swarmctl.physics.parameters import MotionConfig, MotionParams
from swarmctl.physics.rotation import normalise, rotate

Array = jax.Array


@pytree
class MotionState:
    """Positions [N,D] µm (wrapped), image counts i32 [N,D], rounding remainders [N,D] µm, directors
    [N,D].
    """

    position: Array
    image: Array
    remainder: Array
    director: Array


@pytree
class Drive:
    """What moves the colloids during an interval.

    Speed [N] µm/s, velocity [N,D] µm/s, turn_rate [N,1] or [N,3] rad/s.
    """

    speed: Array
    velocity: Array
    turn_rate: Array


@pytree
class Motion:
    """What an interval brought.

    Displacement [N,D] µm, rotation [N,1] or [N,3] rad, overlap and diverged bool [].
    """

    displacement: Array
    rotation: Array
    overlap: Array
    diverged: Array


@lru_cache(maxsize=128)
def interval_motion(
    config: MotionConfig,
) -> Callable[[Array, MotionState, Drive, MotionParams], tuple[MotionState, Motion]]:
    """Return the function (key words u32 [2], state, drive, params) -> (state, motion) of one
    control interval.

    It can be jitted, scanned and vmapped over every argument; mapped axes are laid out last.
    """
    run = batch_last(_interval_function(config))

    def motion(
        key_words: Array, state: MotionState, drive: Drive, params: MotionParams
    ) -> tuple[MotionState, Motion]:
        def components_first(x: Array) -> Array:
            return jnp.moveaxis(x, 0, 1)

        first = jax.tree.map(components_first, (state, drive.velocity, drive.turn_rate))
        (new_state, displacement, rotation), (overlap, diverged) = run(
            key_words, first[0], (drive.speed, first[1], first[2]), params
        )
        new_state, displacement, rotation = jax.tree.map(
            components_first, (new_state, displacement, rotation)
        )
        return new_state, Motion(displacement, rotation, overlap, diverged)

    return motion


def _interval_function(config: MotionConfig) -> Callable[..., Any]:
    dimension, turns = config.dimension, 1 if config.dimension == 2 else 3

    def run(
        key_words: Array, state: MotionState, drive: tuple[Array, ...], params: MotionParams
    ) -> tuple[tuple[MotionState, Array, Array], tuple[Array, Array]]:
        """All arrays here are [components, N, *batch] or [N, *batch]."""
        speed, velocity, turn_rate = drive
        dtype = state.position.dtype
        dt = jnp.asarray(config.time_step, dtype)
        mobility = 1 / params.friction
        shake = jnp.sqrt(2 * params.thermal_energy * mobility * dt)
        twist = jnp.sqrt(2 * params.thermal_energy / params.rotational_friction * dt)
        surfaces = (
            params.radius,
            params.push,
            params.thermal_energy,
            params.contact_energy,
            params.size,
        )
        start = state.position

        def step(index: Array, carry: tuple[Array, ...]) -> tuple[Array, ...]:
            moved, director, turned, deepest = carry
            position = start + moved
            noise = particle_noise(
                (key_words[0], key_words[1]), index, config.count, dimension + turns, dtype
            )
            turn = turn_rate * dt + twist * jnp.stack(noise[dimension:])
            new_director = rotate(director, turn)
            drift = velocity + 0.5 * speed * (director + new_director)
            if config.contacts:
                force, close = sphere_forces(position, *surfaces, config.periodic)
                drift = drift + mobility * force
                deepest = jnp.maximum(deepest, close)
            if any(config.hard):
                force, close = face_forces(position, *surfaces, config.hard)
                drift = drift + mobility * force
                deepest = jnp.maximum(deepest, close)
            moved = moved + drift * dt + shake * jnp.stack(noise[:dimension])
            return moved, new_director, turned + turn, deepest

        shape = jnp.broadcast_shapes(
            start.shape[1:], speed.shape, params.radius.shape, (1, *key_words.shape[1:])
        )
        zero = jnp.zeros((dimension, *shape), dtype)
        initial = (
            zero + state.remainder,
            jnp.broadcast_to(state.director, zero.shape),
            jnp.zeros((turns, *shape), dtype),
            jnp.zeros(shape, dtype),
        )
        moved, director, turned, deepest = jax.lax.fori_loop(0, config.steps, step, initial)
        end = start + moved
        remainder = moved - (end - start)
        position, image = _wrap(end, state.image, params.size, config.periodic)
        finite = jnp.isfinite(moved).all(axis=(0, 1)) & jnp.isfinite(turned).all(axis=(0, 1))
        overlap = (deepest > OVERLAP**-2).any(axis=0)
        new_state = MotionState(position, image, remainder, normalise(director))
        return (new_state, moved - state.remainder, turned), (overlap, ~finite)

    return run


def _wrap(
    position: Array, image: Array, size: Array, periodic: tuple[bool, ...]
) -> tuple[Array, Array]:
    if not any(periodic):
        return position, jnp.broadcast_to(image, position.shape)
    lengths = size.reshape(size.shape[0], 1, *size.shape[1:])
    along = jnp.asarray(periodic).reshape(-1, *(1,) * (position.ndim - 1))
    boxes = jnp.where(along, jnp.floor(position / lengths), 0)
    wrapped = position - boxes * lengths
    # A tiny negative number plus L rounds to L, which belongs to the next box.
    edge = along & (wrapped >= lengths)
    return jnp.where(edge, 0, wrapped), image + boxes.astype(jnp.int32) + edge.astype(jnp.int32)
