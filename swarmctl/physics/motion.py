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
from swarmctl.physics.batching import batch_last
from swarmctl.physics.bodies import (
    BodyState,
    bead_arms,
    body_integrators,
    carried_by,
    move_bodies,
)
from swarmctl.physics.contacts import OVERLAP
from swarmctl.physics.integrators import Frame, Momentum, along_director, integrator, isotropic
from swarmctl.physics.neighbours import NeighbourList
from swarmctl.physics.noise import particle_noise
from swarmctl.physics.parameters import MotionConfig, MotionParams
from swarmctl.physics.rotation import normalise, rotate
from swarmctl.physics.surroundings import Action, Surroundings

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
    phase [] rad that its waveform has reached; the time [] s at which the interval begins; mobile
    [N], 1, or 0 for colloids that are stuck and neither move nor turn.
    """

    speed: Array
    velocity: Array
    turn_rate: Array
    field: FieldCommand | None = None
    phase: Array | None = None
    time: Array | None = None
    mobile: Array | None = None


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
    and overflow (of a neighbour list) bool []; the bodies'.
    """

    displacement: Array
    rotation: Array
    overlap: Array
    diverged: Array
    crossed: Array
    overflow: Array
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
        moved, (overlap, diverged, crossed, overflow) = run(
            key_words, jax.tree.map(swap, state), inside, params
        )
        new_state, displacement, rotation, bodies = jax.tree.map(swap, moved)
        return new_state, Motion(
            displacement, rotation, overlap, diverged, crossed, overflow, bodies
        )

    return motion


def _interval_function(config: MotionConfig) -> Callable[..., Any]:
    """The motion on arrays [components, N, *batch]; speeds are [N, *batch]."""

    def run(
        key_words: Array, state: MotionState, drive: Drive, params: MotionParams
    ) -> tuple[Any, tuple[Array, ...]]:
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
        if params.bodies is not None:
            self.body_integrators = body_integrators(params.bodies, thermal, self.dt, inertial)
        self.shape = jnp.broadcast_shapes(
            state.position.shape[1:],
            drive.speed.shape,
            params.radius.shape,
            (1, *key_words.shape[1:]),
        )
        self.batch = self.shape[1:]
        self.around = Surroundings(config, params, jnp.zeros(self.shape, self.dtype))

    def run(self) -> tuple[Any, tuple[Array, ...]]:
        colloids, bodies, trouble, near = jax.lax.fori_loop(
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
            jnp.zeros_like(finite) if near is None else near.overflow | jnp.zeros_like(finite),
        )

    # Beginning and end

    def _begin(self) -> tuple[_Colloids, _Bodies | None, _Trouble, NeighbourList | None]:
        state = self.state

        def full(x: Array) -> Array:
            return jnp.broadcast_to(x, (x.shape[0], x.shape[1], *self.batch))

        zero = jnp.zeros((self.dimension, *self.shape), self.dtype)
        turned = jnp.zeros((self.turns, *self.shape), self.dtype)
        momentum, spin = jax.tree.map(full, (state.momentum, state.spin))
        colloids = _Colloids(zero + state.remainder, full(state.director), turned, momentum, spin)
        trouble = _Trouble(zero[0], jnp.zeros(self.shape, bool))
        near = self.around.neighbours(full(state.position) + colloids.moved, None)
        if state.bodies is None or self.params.bodies is None:
            return colloids, None, trouble, near
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
        return colloids, bodies, trouble, near

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

    def _of_mobile(self, change: Array) -> Array:
        return change if self.drive.mobile is None else self.drive.mobile * change

    def _time(self, index: Array) -> Array:
        within = index * self.dt
        return within if self.drive.time is None else self.drive.time + within

    def _step(
        self,
        index: Array,
        carry: tuple[_Colloids, _Bodies | None, _Trouble, NeighbourList | None],
    ) -> tuple[_Colloids, _Bodies | None, _Trouble, NeighbourList | None]:
        colloids, bodies, trouble, near = carry
        drive, around = self.drive, self.around
        position, old = self.state.position + colloids.moved, colloids.director
        walls = around.of_walls(position, old)
        near = around.neighbours(position, near)
        action = around.on_colloids(position, old, self._time(index), near) + walls
        action += around.of_field(drive.field, drive.phase, index * self.dt, old)
        if bodies is not None:
            pushed, bodies, trouble = self._step_bodies(index, position, old, bodies, trouble)
            action += pushed
        velocity, turn_rate = drive.velocity, drive.turn_rate
        carried = around.carried(position, old, self._time(index))
        if carried is not None:
            velocity, turn_rate = velocity + carried[0], turn_rate + carried[1]
        stirred = around.stirred(position, old, drive.speed, action.force)
        if stirred is not None:
            velocity, turn_rate = velocity + stirred[0], turn_rate + stirred[1]
        noise, noise_turn = self._noise(index, 0, self.config.count)
        turn, spinning = self.rotation.move(
            isotropic, turn_rate, action.torque, noise_turn, colloids.spin
        )
        turn = self._of_mobile(turn)
        director = rotate(old, turn)
        velocity = velocity + 0.5 * drive.speed * (old + director)
        velocity = velocity + around.rolled(drive.field, position, turn_rate, action.torque)
        frame: Frame = isotropic if self.params.friction_along is None else along_director(old)
        if self.config.stirring == "mobility":
            step = around.mobile_step(position, velocity, action.force, noise, self.dt)
            momentum = colloids.momentum
        else:
            step, momentum = self.translation.move(
                frame, velocity, action.force, noise, colloids.momentum
            )
        moved = colloids.moved + self._of_mobile(step)
        crossed = around.crossed(position, self.state.position + moved, walls.deepest)
        trouble = _Trouble(jnp.maximum(trouble.deepest, action.deepest), trouble.crossed | crossed)
        colloids = _Colloids(moved, director, colloids.turned + turn, momentum, spinning)
        return colloids, bodies, trouble, near

    def _step_bodies(
        self, index: Array, position: Array, director: Array, bodies: _Bodies, trouble: _Trouble
    ) -> tuple[Action, _Bodies, _Trouble]:
        params, around = self.params.bodies, self.around
        assert params is not None
        owner = np.asarray(params.owner)
        state = bodies.state
        centre = state.centre + bodies.moved
        arms = bead_arms(params, state.orientation)
        beads = centre[:, owner] + arms
        action = around.on_bodies(beads, arms, position, director)
        flow = (jnp.zeros_like(centre), jnp.zeros_like(bodies.turned))
        at_beads = around.at_beads(beads, self._time(index))
        if at_beads is not None:
            flow = carried_by(params, arms, state.orientation, *at_beads)
        noise = self._noise(index, self.config.count, params.count)
        moved, turn, state = move_bodies(
            params, self.body_integrators, state, action.force, arms, flow, noise
        )
        bodies = _Bodies(
            bodies.moved + moved,
            bodies.turned + turn,
            state,
            bodies.bead_force + action.force,
            bodies.push_force + action.push_force,
            bodies.push_torque + action.push_torque,
        )
        deepest, crossed = jnp.maximum(trouble.deepest, action.deepest.max(axis=0)), trouble.crossed
        if self.params.walls is not None:
            end = (state.centre + bodies.moved)[:, owner] + bead_arms(params, state.orientation)
            crossed |= around.beads_crossed(beads, end, action.walls).any(axis=0)
        trouble = _Trouble(deepest, crossed)
        return action.on_colloids, bodies, trouble


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
