"""Motion of active colloids and rigid bodies over one control interval.

    dr = (v n̂ + u + F/γ) dt + √(2 k_B T dt/γ) ξ        dn̂ = (ω dt + √(2 k_B T dt/γ_r) ξ_r) × n̂

or the same with inertia; see `swarmctl.physics.integrators`. The scheme is of weak order one:
forces of the step's start, the mean of old and new director for the swimming, rotations that keep
the director's length. Displacements are summed within the interval and the rounding remainder is
carried to the next, so that slow drifts survive float32.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from swarmctl.core.command import FieldCommand
from swarmctl.core.tree import pytree
from swarmctl.physics import magnetics
from swarmctl.physics.batching import batch_last
from swarmctl.physics.bodies import (
    BodyState,
    bead_arms,
    body_contacts,
    body_integrators,
    carried_by,
    move_bodies,
)
from swarmctl.physics.contacts import OVERLAP, face_forces, sphere_forces
from swarmctl.physics.fields import force_at
from swarmctl.physics.flow import flow_at, jeffery_spin, spin
from swarmctl.physics.integrators import Frame, Momentum, along_director, integrator, isotropic
from swarmctl.physics.noise import particle_noise
from swarmctl.physics.parameters import MotionConfig, MotionParams
from swarmctl.physics.rotation import normalise, rotate
from swarmctl.physics.walls import wall_crossings, wall_forces

Array = jax.Array


@pytree
class MotionState:
    """Positions [N,D] µm (wrapped), image counts i32 [N,D], rounding remainders [N,D] µm, directors
    [N,D]; with inertia the momenta of translation and rotation; the bodies, if there are any.
    """

    position: Array
    image: Array
    remainder: Array
    director: Array
    momentum: Momentum | None = None
    spin: Momentum | None = None
    bodies: BodyState | None = None


@pytree
class Drive:
    """What moves the colloids during an interval.

    Speed [N] µm/s, velocity [N,D] µm/s, turn_rate [N,1] or [N,3] rad/s; a global field with the
    phase [] rad that its waveform has reached; the time [] s at which the interval begins.
    """

    speed: Array
    velocity: Array
    turn_rate: Array
    field: FieldCommand | None = None
    phase: Array | None = None
    time: Array | None = None


@pytree
class BodyMotion:
    """What an interval brought to M bodies with B beads.

    Displacement [M,D] µm, rotation [M,1] or [M,3] rad; means over the interval of the force
    [B,D] pN on every bead, of the force [N,D] pN that every colloid exerts on the bodies, and of
    its torque [N,1] or [N,3] pN µm about their centres.
    """

    displacement: Array
    rotation: Array
    bead_force: Array
    push_force: Array
    push_torque: Array


@pytree
class Motion:
    """What an interval brought.

    Displacement [N,D] µm, rotation [N,1] or [N,3] rad; overlap, diverged and crossed (a wall)
    bool []; the bodies'.
    """

    displacement: Array
    rotation: Array
    overlap: Array
    diverged: Array
    crossed: Array
    bodies: BodyMotion | None = None


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
        def swap(x: Array) -> Array:
            return jnp.moveaxis(x, 0, 1)

        inside = dataclasses.replace(
            drive, velocity=swap(drive.velocity), turn_rate=swap(drive.turn_rate)
        )
        moved, (overlap, diverged, crossed) = run(
            key_words, jax.tree.map(swap, state), inside, params
        )
        new_state, displacement, rotation, bodies = jax.tree.map(swap, moved)
        return new_state, Motion(displacement, rotation, overlap, diverged, crossed, bodies)

    return motion


def _interval_function(config: MotionConfig) -> Callable[..., Any]:
    """The motion on arrays [components, N, *batch]; speeds are [N, *batch]."""

    def run(
        key_words: Array, state: MotionState, drive: Drive, params: MotionParams
    ) -> tuple[Any, tuple[Array, Array, Array]]:
        return _Interval(config, key_words, state, drive, params).run()

    return run


@pytree
class _Colloids:
    """What changes from step to step: displacement since the start, director, rotation, ..."""

    moved: Array
    director: Array
    turned: Array
    momentum: Momentum | None
    spin: Momentum | None


@pytree
class _Bodies:
    moved: Array
    turned: Array
    state: BodyState
    bead_force: Array
    push_force: Array
    push_torque: Array


@pytree
class _Trouble:
    """Largest (contact/r)² of every colloid, and whether it crossed a wall, [N,*batch]."""

    deepest: Array
    crossed: Array

    def touched(self, close: Array) -> _Trouble:
        """Remember contacts [N,*batch] or [*batch]."""
        return _Trouble(jnp.maximum(self.deepest, close), self.crossed)

    def through(self, crossed: Array) -> _Trouble:
        """Remember crossings bool [N,*batch] or [*batch]."""
        return _Trouble(self.deepest, self.crossed | crossed)


class _Interval:
    """One control interval: everything that stays the same during it, and the step."""

    def __init__(
        self,
        config: MotionConfig,
        key_words: Array,
        state: MotionState,
        drive: Drive,
        params: MotionParams,
    ) -> None:
        self.config, self.key_words, self.state = config, key_words, state
        self.drive, self.params = drive, params
        self.dimension = config.dimension
        self.turns = 1 if config.dimension == 2 else 3
        self.dtype = state.position.dtype
        self.dt = jnp.asarray(config.time_step, self.dtype)
        thermal, inertial = params.thermal_energy, config.inertial
        friction = params.friction
        if params.friction_along is not None:
            friction = jnp.stack(jnp.broadcast_arrays(friction, params.friction_along))
        self.translation = integrator(friction, thermal, self.dt, params.mass if inertial else None)
        self.rotation = integrator(
            params.rotational_friction, thermal, self.dt, params.inertia if inertial else None
        )
        self.surfaces = (thermal, params.contact_energy, params.size)
        if params.bodies is not None:
            self.body_integrators = body_integrators(params.bodies, thermal, self.dt, inertial)
        self.shape = jnp.broadcast_shapes(
            state.position.shape[1:],
            drive.speed.shape,
            params.radius.shape,
            (1, *key_words.shape[1:]),
        )
        self.batch = self.shape[1:]

    def run(self) -> tuple[Any, tuple[Array, Array, Array]]:
        colloids, bodies, trouble = jax.lax.fori_loop(
            0, self.config.steps, self._step, self._begin()
        )
        state = self.state
        position, image, remainder = self._arrive(state.position, state.image, colloids.moved)
        finite = jnp.isfinite(colloids.moved).all(axis=(0, 1))
        finite &= jnp.isfinite(colloids.turned).all(axis=(0, 1))
        overlap = (trouble.deepest > OVERLAP**-2).any(axis=0)
        body_state, body_motion = None, None
        if bodies is not None:
            body_state, body_motion = self._end_bodies(bodies)
            finite &= jnp.isfinite(bodies.moved).all(axis=(0, 1))
            finite &= jnp.isfinite(bodies.turned).all(axis=(0, 1))
        new_state = MotionState(
            position,
            image,
            remainder,
            normalise(colloids.director),
            colloids.momentum,
            colloids.spin,
            body_state,
        )
        moved = colloids.moved - state.remainder
        return (new_state, moved, colloids.turned, body_motion), (
            overlap,
            ~finite,
            trouble.crossed.any(axis=0),
        )

    # Beginning and end

    def _begin(self) -> tuple[_Colloids, _Bodies | None, _Trouble]:
        state = self.state

        def full(x: Array) -> Array:
            return jnp.broadcast_to(x, (x.shape[0], x.shape[1], *self.batch))

        zero = jnp.zeros((self.dimension, *self.shape), self.dtype)
        turned = jnp.zeros((self.turns, *self.shape), self.dtype)
        momentum, spin = jax.tree.map(full, (state.momentum, state.spin))
        colloids = _Colloids(zero + state.remainder, full(state.director), turned, momentum, spin)
        trouble = _Trouble(zero[0], jnp.zeros(self.shape, bool))
        if state.bodies is None or self.params.bodies is None:
            return colloids, None, trouble
        body = jax.tree.map(full, state.bodies)
        beads = len(self.params.bodies.owner)
        bodies = _Bodies(
            moved=body.remainder,
            turned=jnp.zeros((self.turns, *body.centre.shape[1:]), self.dtype),
            state=body,
            bead_force=jnp.zeros((self.dimension, beads, *self.batch), self.dtype),
            push_force=zero,
            push_torque=turned,
        )
        return colloids, bodies, trouble

    def _arrive(self, start: Array, image: Array, moved: Array) -> tuple[Array, Array, Array]:
        end = start + moved
        remainder = moved - (end - start)
        position, image = _wrap(end, image, self.params.size, self.config.periodic)
        return position, image, remainder

    def _end_bodies(self, bodies: _Bodies) -> tuple[BodyState, BodyMotion]:
        assert self.state.bodies is not None
        begun = self.state.bodies
        centre, image, remainder = self._arrive(begun.centre, begun.image, bodies.moved)
        orientation = normalise(bodies.state.orientation)
        new = BodyState(
            centre, image, remainder, orientation, bodies.state.momentum, bodies.state.spin
        )
        mean = 1 / jnp.asarray(self.config.steps, self.dtype)
        return new, BodyMotion(
            bodies.moved - begun.remainder,
            bodies.turned,
            bodies.bead_force * mean,
            bodies.push_force * mean,
            bodies.push_torque * mean,
        )

    # One step

    def _noise(self, index: Array, first: int, count: int) -> tuple[Array, Array]:
        noise = particle_noise(
            (self.key_words[0], self.key_words[1]),
            index,
            count,
            self.dimension + self.turns,
            self.dtype,
            first,
        )
        return jnp.stack(noise[: self.dimension]), jnp.stack(noise[self.dimension :])

    def _step(
        self, index: Array, carry: tuple[_Colloids, _Bodies | None, _Trouble]
    ) -> tuple[_Colloids, _Bodies | None, _Trouble]:
        colloids, bodies, trouble = carry
        params = self.params
        position = self.state.position + colloids.moved
        force, torque, trouble = self._own_forces(index, position, colloids.director, trouble)
        wall, close = self._wall_forces(position, params.radius, params.push)
        force, trouble = _add(force, wall), trouble.touched(close)
        if bodies is not None:
            on_colloids, bodies, trouble = self._step_bodies(index, position, bodies, trouble)
            force = _add(force, on_colloids)
        noise, noise_turn = self._noise(index, 0, self.config.count)
        carried, turn_rate = self._carried(index, position, colloids.director)
        turn, momentum_of_spin = self.rotation.move(
            isotropic, turn_rate, torque, noise_turn, colloids.spin
        )
        director = rotate(colloids.director, turn)
        velocity = carried + 0.5 * self.drive.speed * (colloids.director + director)
        velocity = self._rolled(velocity, position, torque)
        frame: Frame = isotropic
        if params.friction_along is not None:
            frame = along_director(colloids.director)
        step, momentum = self.translation.move(frame, velocity, force, noise, colloids.momentum)
        moved = colloids.moved + step
        trouble = trouble.through(
            self._crossings(position, self.state.position + moved, params.radius, close)
        )
        colloids = _Colloids(moved, director, colloids.turned + turn, momentum, momentum_of_spin)
        return colloids, bodies, trouble

    def _wall_forces(
        self, position: Array, radius: Array, push: Array
    ) -> tuple[Array | None, Array]:
        """Forces of the walls and the largest (radius/distance)²; None and 0 without walls."""
        params = self.params
        if params.walls is None:
            return None, jnp.zeros((), self.dtype)
        return wall_forces(
            position,
            radius,
            push,
            *self.surfaces[:2],
            params.walls,
            params.size,
            self.config.periodic,
        )

    def _crossings(self, start: Array, end: Array, radius: Array, close: Array) -> Array:
        params = self.params
        if params.walls is None:
            return jnp.asarray(False)
        return wall_crossings(
            start, end, params.walls, params.size, self.config.periodic, radius, close
        )

    def _own_forces(
        self, index: Array, position: Array, director: Array, trouble: _Trouble
    ) -> tuple[Array | None, Array | None, _Trouble]:
        """Force and torque on the colloids from one another, the box and the fields."""
        params, config = self.params, self.config
        force: Array | None = None
        torque: Array | None = None
        if config.contacts:
            added, close = sphere_forces(
                position, params.radius, params.push, *self.surfaces, config.periodic
            )
            force, trouble = added, trouble.touched(close)
        if any(config.hard):
            added, close = face_forces(
                position, params.radius, params.push, *self.surfaces, config.hard
            )
            force, trouble = _add(force, added), trouble.touched(close)
        if params.force is not None:
            force = _add(force, params.force + 0 * position)
        if params.potentials:
            added = force_at(
                position, self._time(index), params.potentials, params.size, config.periodic
            )
            force = _add(force, added)
        command = self.drive.field
        if command is not None and params.moment is not None:
            assert self.drive.phase is not None
            now = magnetics.field_at(command, self.drive.phase, index * self.dt)
            torque = _add(torque, magnetics.torque(params.moment, director, now))
            pull = magnetics.gradient_force(params.moment, director, command.gradient)
            force = _add(force, pull)
        return force, torque, trouble

    def _time(self, index: Array) -> Array:
        assert self.drive.time is not None
        return self.drive.time + index * self.dt

    def _flow(self, index: Array, position: Array) -> tuple[Array, Array]:
        return flow_at(
            position,
            self._time(index),
            self.params.flows,
            self.params.size,
            self.config.periodic,
        )

    def _carried(self, index: Array, position: Array, director: Array) -> tuple[Array, Array]:
        """Velocity and turn rate that command and flow impose."""
        velocity, turn_rate, shape = self.drive.velocity, self.drive.turn_rate, self.params.shape
        if not self.params.flows:
            return velocity, turn_rate
        flow, gradient = self._flow(index, position)
        turning = spin(gradient) if shape is None else jeffery_spin(gradient, director, shape)
        return velocity + flow, turn_rate + turning

    def _rolled(self, velocity: Array, position: Array, torque: Array | None) -> Array:
        """Add the velocity of rollers on the floor."""
        params, command = self.params, self.drive.field
        if params.rolling is None or command is None or params.moment is None:
            return velocity
        if self.dimension == 2:
            return velocity + magnetics.planar_rolling(
                params.rolling, params.radius, params.moment, params.rotational_friction, command
            )
        assert torque is not None
        spin = self.drive.turn_rate + torque / params.rotational_friction
        rolled = magnetics.rolling_velocity(params.rolling, params.radius, spin)
        near = position[2] < ROLLING_HEIGHT * params.radius
        return velocity + jnp.concatenate([jnp.where(near, rolled, 0), 0 * velocity[2:]])

    def _step_bodies(
        self, index: Array, position: Array, bodies: _Bodies, trouble: _Trouble
    ) -> tuple[Array | None, _Bodies, _Trouble]:
        params, config = self.params, self.config
        assert params.bodies is not None
        state = bodies.state
        centre = state.centre + bodies.moved
        arms = bead_arms(params.bodies, state.orientation)
        beads = centre[:, np.asarray(params.bodies.owner)] + arms
        on_beads = jnp.zeros_like(beads)
        on_colloids: Array | None = None
        push_force, push_torque = bodies.push_force, bodies.push_torque
        if config.touching:
            push = body_contacts(
                params.bodies,
                beads,
                arms,
                position,
                params.radius,
                params.push,
                *self.surfaces,
                config.periodic,
            )
            on_colloids, on_beads = push.on_colloid, push.on_bead
            push_force = push_force - push.on_colloid
            push_torque = push_torque + push.torque_by_colloid
            trouble = trouble.touched(push.deepest).touched(push.deepest_bead.max(axis=0))
        strongest = jnp.max(params.push, axis=0, keepdims=True) + 0 * params.bodies.radius
        if any(config.hard):
            added, close = face_forces(
                beads, params.bodies.radius, strongest, *self.surfaces, config.hard
            )
            on_beads, trouble = on_beads + added, trouble.touched(close.max(axis=0))
        wall, close = self._wall_forces(beads, params.bodies.radius, strongest)
        if wall is not None:
            on_beads, trouble = on_beads + wall, trouble.touched(close.max(axis=0))
        noise = self._noise(index, config.count, params.bodies.count)
        flow = (jnp.zeros_like(centre), jnp.zeros_like(bodies.turned))
        if params.flows:
            velocity, gradient = self._flow(index, beads)
            flow = carried_by(params.bodies, arms, state.orientation, velocity, spin(gradient))
        moved, turn, state = move_bodies(
            params.bodies, self.body_integrators, state, on_beads, arms, flow, noise
        )
        bodies = _Bodies(
            bodies.moved + moved,
            bodies.turned + turn,
            state,
            bodies.bead_force + on_beads,
            push_force,
            push_torque,
        )
        if wall is not None:
            moved_beads = state.centre + bodies.moved
            moved_beads = moved_beads[:, np.asarray(params.bodies.owner)] + bead_arms(
                params.bodies, state.orientation
            )
            crossed = self._crossings(beads, moved_beads, params.bodies.radius, close)
            trouble = trouble.through(crossed.any(axis=0))
        return on_colloids, bodies, trouble


ROLLING_HEIGHT = 2.0
"""Rollers roll while their centre is below so many radii over the floor z = 0."""


def _add(total: Array | None, more: Array | None) -> Array | None:
    if total is None or more is None:
        return more if total is None else total
    return total + more


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
