"""What acts on colloids and beads during an interval: contacts, faces, walls, fields and flows."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from swarmctl.core.command import FieldCommand
from swarmctl.core.tree import pytree
from swarmctl.physics import magnetics
from swarmctl.physics.bodies import body_contacts, mutual_contacts
from swarmctl.physics.contacts import face_forces, sphere_forces
from swarmctl.physics.fields import force_at
from swarmctl.physics.flow import flow_at, jeffery_spin, spin
from swarmctl.physics.gay_berne import spheroid_face_forces, spheroid_forces
from swarmctl.physics.hydrodynamics import dipole_flow, force_flow
from swarmctl.physics.mobility import (
    mobility_divergence,
    mobility_matrix,
    rpy_noise,
    rpy_velocities,
)
from swarmctl.physics.neighbours import NeighbourList, build, update
from swarmctl.physics.neighbours import sphere_forces as listed_sphere_forces
from swarmctl.physics.parameters import MotionConfig, MotionParams
from swarmctl.physics.spheroids import spheroid_bead_contacts, spheroid_wall_forces
from swarmctl.physics.walls import wall_crossings, wall_forces

Array = jax.Array

ROLLING_HEIGHT = 2.0
"""Rollers roll while their centre is below so many radii over the floor z = 0."""


@pytree
class Action:
    """Force [D,N,*batch] pN and torque [1 or 3,N,*batch] pN µm, None where there is none, and the
    largest (contact/r)² [N,*batch].
    """

    force: Array | None
    torque: Array | None
    deepest: Array

    def __add__(self, other: Action) -> Action:
        return Action(
            _add(self.force, other.force),
            _add(self.torque, other.torque),
            jnp.maximum(self.deepest, other.deepest),
        )


@pytree
class BeadAction:
    """What acts on beads: force [D,B,*batch] pN, largest (contact/r)² [B,*batch] of all contacts
    and of walls alone; what bodies do to colloids; and force [D,N,*batch] pN and torque
    [1 or 3,N,*batch] pN µm that every colloid exerts on the bodies.
    """

    force: Array
    deepest: Array
    walls: Array
    on_colloids: Action
    push_force: Array
    push_torque: Array


def _add(total: Array | None, more: Array | None) -> Array | None:
    if total is None or more is None:
        return more if total is None else total
    return total + more


class Surroundings:
    """The forces of one world; methods take positions [D,N,*batch] µm and directors."""

    def __init__(self, config: MotionConfig, params: MotionParams, nothing: Array) -> None:
        self.config, self.params = config, params
        self.nothing = nothing  # zeros [N,*batch]
        self.surfaces = (params.thermal_energy, params.contact_energy, params.size)

    # Colloids

    def neighbours(self, position: Array, old: NeighbourList | None) -> NeighbourList | None:
        """Lists that hold at `position`; None where all pairs are tested."""
        config, params = self.config.neighbours, self.params
        if config is None:
            return None
        if old is None:
            return build(config, position, params.radius, params.size)
        return update(config, old, position, params.radius, params.size)

    def on_colloids(
        self, position: Array, director: Array, time: Array, near: NeighbourList | None
    ) -> Action:
        """Contacts with one another and with faces, constant forces and potentials."""
        params, periodic = self.params, self.config.periodic
        action = Action(None, None, self.nothing)
        if params.aspect is not None:
            action += self._spheroid_contacts(position, director)
        else:
            action += self._sphere_contacts(position, near)
        force: Array | None = None
        if params.force is not None:
            force = params.force + 0 * position
        if params.potentials:
            pull = force_at(position, time, params.potentials, params.size, periodic)
            force = _add(force, pull)
        return action + Action(force, None, self.nothing)

    def _sphere_contacts(self, position: Array, near: NeighbourList | None) -> Action:
        params, config = self.params, self.config
        action = Action(None, None, self.nothing)
        if config.contacts:
            about = (position, params.radius, params.push, *self.surfaces, config.periodic)
            force, close = (
                sphere_forces(*about) if near is None else listed_sphere_forces(near, *about)
            )
            action += Action(force, None, close)
        if any(config.hard):
            force, close = face_forces(
                position, params.radius, params.push, *self.surfaces, config.hard
            )
            action += Action(force, None, close)
        return action

    def _spheroid_contacts(self, position: Array, director: Array) -> Action:
        params, config = self.params, self.config
        assert params.aspect is not None
        action = Action(None, None, self.nothing)
        shape = (position, director, params.radius, params.aspect, params.push)
        if config.contacts:
            action += Action(*spheroid_forces(*shape, *self.surfaces, config.periodic))
        if any(config.hard):
            action += Action(*spheroid_face_forces(*shape, *self.surfaces, config.hard))
        return action

    def of_walls(self, position: Array, director: Array) -> Action:
        """Walls; `deepest` is (radius/distance)², 0 without walls."""
        params = self.params
        if params.walls is None:
            return Action(None, None, self.nothing)
        if params.aspect is None:
            force, close = self._sphere_walls(position, params.radius, params.push)
            return Action(force, None, close)
        return Action(
            *spheroid_wall_forces(
                position,
                director,
                params.radius,
                params.aspect,
                params.push,
                *self.surfaces[:2],
                params.walls,
                params.size,
                self.config.periodic,
            )
        )

    def _sphere_walls(self, position: Array, radius: Array, push: Array) -> tuple[Array, Array]:
        params = self.params
        assert params.walls is not None
        thermal, given, size = self.surfaces
        return wall_forces(
            position, radius, push, thermal, given, params.walls, size, self.config.periodic
        )

    def crossed(self, start: Array, end: Array, close: Array) -> Array:
        """Which colloids went through a wall; `close` is the walls' `deepest` at the start."""
        if self.params.walls is None:
            return jnp.asarray(False)
        # The deepest contact of a sphere says how far the walls are; a spheroid's does not.
        known = (self.params.radius, close) if self.params.aspect is None else (None, None)
        return self._through(start, end, *known)

    def beads_crossed(self, start: Array, end: Array, close: Array) -> Array:
        """The same for beads [D,B,*batch]."""
        assert self.params.bodies is not None
        return self._through(start, end, self.params.bodies.radius, close)

    def _through(
        self, start: Array, end: Array, radius: Array | None, close: Array | None
    ) -> Array:
        params = self.params
        assert params.walls is not None
        return wall_crossings(
            start, end, params.walls, params.size, self.config.periodic, radius, close
        )

    # A global field

    def of_field(
        self, command: FieldCommand | None, phase: Array | None, time: Array, director: Array
    ) -> Action:
        """Torque and pull of a global field, `time` s after its waveform had the phase `phase`."""
        moment = self.params.moment
        if command is None or phase is None or moment is None:
            return Action(None, None, self.nothing)
        now = magnetics.field_at(command, phase, time)
        return Action(
            magnetics.gradient_force(moment, director, command.gradient),
            magnetics.torque(moment, director, now),
            self.nothing,
        )

    def rolled(
        self,
        command: FieldCommand | None,
        position: Array,
        turn_rate: Array,
        torque: Array | None,
    ) -> Array:
        """Velocity [D,N,*batch] µm/s of rollers on the floor; 0 without."""
        params = self.params
        if params.rolling is None or params.moment is None or command is None:
            return jnp.zeros((), position.dtype)
        if len(position) == 2:
            return magnetics.planar_rolling(
                params.rolling, params.radius, params.moment, params.rotational_friction, command
            )
        turning = turn_rate if torque is None else turn_rate + torque / params.rotational_friction
        rolled = magnetics.rolling_velocity(params.rolling, params.radius, turning)
        near = position[2] < ROLLING_HEIGHT * params.radius
        return jnp.concatenate([jnp.where(near, rolled, 0), jnp.zeros_like(position[2:])])

    # Flows

    def carried(self, position: Array, director: Array, time: Array) -> tuple[Array, Array] | None:
        """Velocity [D,N] and turn rate [1 or 3,N] of colloids in the flows, None without."""
        if not self.params.flows:
            return None
        velocity, gradient = self._flow(position, time)
        shape = self.params.shape
        return velocity, (
            spin(gradient) if shape is None else jeffery_spin(gradient, director, shape)
        )

    def at_beads(self, beads: Array, time: Array) -> tuple[Array, Array] | None:
        """Velocity [D,B] and spin [1 or 3,B] of the flows at beads, None without."""
        if not self.params.flows:
            return None
        velocity, gradient = self._flow(beads, time)
        return velocity, spin(gradient)

    def _flow(self, position: Array, time: Array) -> tuple[Array, Array]:
        params = self.params
        return flow_at(position, time, params.flows, params.size, self.config.periodic)

    # Hydrodynamics

    def height(self, position: Array) -> Array | None:
        """Heights over the no-slip wall, None without one."""
        if not self.config.over_wall:
            return None
        return position[2] if len(position) == 3 else self.params.height

    def stirred(
        self, position: Array, director: Array, speed: Array, force: Array | None
    ) -> tuple[Array, Array] | None:
        """Velocity [D,N] and turn rate [1 or 3,N] by which swimmers and forces drag the others."""
        params = self.params
        if params.viscosity is None:
            return None
        fluid = (params.radius, params.viscosity, self.height(position), params.size)
        flows = []
        if params.dipole is not None:
            strength = params.dipole * speed
            flows.append(dipole_flow(position, director, strength, *fluid, self.config.periodic))
        if force is not None and self.config.stirring == "flow":
            flows.append(force_flow(position, force, *fluid, self.config.periodic))
        if not flows:
            return None
        velocity = jnp.stack([u for u, _ in flows]).sum(axis=0)
        return velocity, spin(jnp.stack([g for _, g in flows]).sum(axis=0))

    def mobile_step(
        self, position: Array, velocity: Array, force: Array | None, noise: Array, dt: Array
    ) -> Array:
        """Displacement [D,N] of a step by the mobility matrix, with noise and thermal drift."""
        params = self.params
        assert params.viscosity is not None
        about = (position, params.radius, params.viscosity, self.height(position))
        matrix, thermal = mobility_matrix(*about), params.thermal_energy
        drift = velocity + thermal * mobility_divergence(*about)
        if force is not None:
            drift = drift + rpy_velocities(matrix, force)
        return drift * dt + jnp.sqrt(2 * thermal * dt) * rpy_noise(matrix, noise)

    # Bodies

    def on_bodies(self, beads: Array, arms: Array, position: Array, director: Array) -> BeadAction:
        """Contacts of beads [D,B] at arms [D,B] with colloids, other bodies, faces and walls."""
        params, config = self.params, self.config
        bodies = params.bodies
        assert bodies is not None
        nowhere = jnp.zeros_like(beads[0])
        turns = 1 if config.dimension == 2 else 3
        idle = jnp.zeros_like(position)
        total = BeadAction(
            jnp.zeros_like(beads),
            nowhere,
            nowhere,
            Action(None, None, self.nothing),
            idle,
            jnp.zeros((turns, *idle.shape[1:]), idle.dtype),
        )
        force, deepest = total.force, nowhere
        if config.touching:
            total = self._touching(beads, arms, position, director)
            force, deepest = total.force, total.deepest
            if bodies.count > 1:
                added, close = mutual_contacts(
                    bodies, beads, params.push, *self.surfaces, config.periodic
                )
                force, deepest = force + added, jnp.maximum(deepest, close)
        strongest = jnp.max(params.push, axis=0, keepdims=True) + 0 * bodies.radius
        if any(config.hard):
            added, close = face_forces(beads, bodies.radius, strongest, *self.surfaces, config.hard)
            force, deepest = force + added, jnp.maximum(deepest, close)
        walls = nowhere
        if params.walls is not None:
            added, walls = self._sphere_walls(beads, bodies.radius, strongest)
            force, deepest = force + added, jnp.maximum(deepest, walls)
        return BeadAction(
            force, deepest, walls, total.on_colloids, total.push_force, total.push_torque
        )

    def _touching(self, beads: Array, arms: Array, position: Array, director: Array) -> BeadAction:
        params, periodic = self.params, self.config.periodic
        bodies = params.bodies
        assert bodies is not None
        thermal, given, size = self.surfaces
        turned: Array | None = None
        if params.aspect is None:
            push = body_contacts(
                bodies,
                beads,
                arms,
                position,
                params.radius,
                params.push,
                thermal,
                given,
                size,
                periodic,
            )
        else:
            push, turned = spheroid_bead_contacts(
                bodies,
                beads,
                arms,
                position,
                director,
                params.radius,
                params.aspect,
                params.push,
                thermal,
                given,
                size,
                periodic,
            )
        return BeadAction(
            push.on_bead,
            push.deepest_bead,
            jnp.zeros_like(push.deepest_bead),
            Action(push.on_colloid, turned, push.deepest),
            -push.on_colloid,
            push.torque_by_colloid,
        )
