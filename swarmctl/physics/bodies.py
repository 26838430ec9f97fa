"""Rigid bodies: where their beads are, what colloids do to them, how they move."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from swarmctl.core.tree import pytree, static
from swarmctl.core.world import World
from swarmctl.physics.contacts import bead_contacts, sphere_forces
from swarmctl.physics.integrators import (
    Frame,
    Inertial,
    Integrator,
    Momentum,
    in_body,
    integrator,
)
from swarmctl.physics.rotation import cross, normalise, rotate

Array = jax.Array

HARDNESS = 1.5
"""Bodies are so much harder than colloids, which keeps what a pusher compresses below 1 %."""
CROWD = 3
"""Two bodies repel one another as if so many of the strongest swimmers pushed each of them."""


@pytree
class BodyParams:
    """Numbers of M bodies with B beads; components first, body axes.

    offset [D,B] µm in the body's frame; radius [B] µm; friction [D,M] pN s/µm; rotational_friction
    [1 or 3,M] pN s µm; free [M], 0 where pinned; force [D,M] pN; torque [1 or 3,M] pN µm; mass [M]
    pN s²/µm and inertia [1 or 3,M] pN s² µm; `owner`: the body of every bead.
    """

    offset: Array
    radius: Array
    friction: Array
    rotational_friction: Array
    free: Array
    force: Array
    torque: Array
    mass: Array
    inertia: Array
    owner: tuple[int, ...] = static()

    @property
    def count(self) -> int:
        """Number of bodies M."""
        return self.owner[-1] + 1


@pytree
class BodyState:
    """Centres [M,D] µm (wrapped), images i32 [M,D], rounding remainders [M,D] µm.

    orientation: the body's x axis [M,2] in 2D, a unit quaternion (w, x, y, z) [M,4] in 3D.
    momentum, spin: what inertia remembers, None in Brownian dynamics.
    """

    centre: Array
    image: Array
    remainder: Array
    orientation: Array
    momentum: Momentum | None = None
    spin: Momentum | None = None


def body_params(world: World, dtype: jnp.dtype) -> BodyParams | None:
    """Return the parameters of a world's bodies, or None if it has none."""
    if not world.bodies:
        return None
    dimension = world.dimension
    turns = 1 if dimension == 2 else 3
    offsets, radii, owner = [], [], []
    columns: dict[str, list[np.ndarray]] = {
        name: [] for name in ("friction", "rotation", "free", "force", "torque", "mass", "inertia")
    }
    for body in world.bodies:
        beads = body.shape.outline()[:, :dimension]
        translation, rotation = body.frictions(world.fluid.viscosity, dimension)
        mass, inertia = body.masses(dimension)
        for _ in range(body.count):
            owner += [len(columns["mass"])] * len(beads)
            offsets.append(beads)
            radii.append(np.full(len(beads), body.bead_radius))
            columns["friction"].append(translation)
            columns["rotation"].append(rotation)
            columns["free"].append(np.asarray(not body.pinned, float))
            columns["force"].append(np.asarray(body.force or (0.0,) * dimension))
            columns["torque"].append(np.asarray(body.torque or (0.0,) * turns))
            columns["mass"].append(np.asarray(mass))
            columns["inertia"].append(inertia)

    def last(rows: list[np.ndarray]) -> Array:
        return jnp.asarray(np.stack(rows, axis=-1), dtype)

    return BodyParams(
        offset=jnp.asarray(np.concatenate(offsets).T, dtype),
        radius=jnp.asarray(np.concatenate(radii), dtype),
        friction=last(columns["friction"]),
        rotational_friction=last(columns["rotation"]),
        free=last(columns["free"]),
        force=last(columns["force"]),
        torque=last(columns["torque"]),
        mass=last(columns["mass"]),
        inertia=last(columns["inertia"]),
        owner=tuple(owner),
    )


def body_axes(orientation: Array) -> Array:
    """Columns are the body's axes in the lab, [D,D,M,*batch] (lab, body)."""
    if orientation.shape[0] == 2:
        c, s = orientation
        return jnp.stack([jnp.stack([c, -s]), jnp.stack([s, c])])
    w, x, y, z = orientation
    return jnp.stack(
        [
            jnp.stack([1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)]),
            jnp.stack([2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)]),
            jnp.stack([2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)]),
        ]
    )


def turn_body(orientation: Array, turn: Array) -> Array:
    """Turn orientations by angles [1,M,*batch] or rotation vectors [3,M,*batch] rad of the lab."""
    if orientation.shape[0] == 2:
        return rotate(orientation, turn)
    half = 0.5 * turn
    square = jnp.sum(half**2, axis=0)
    # exp of half the turn to fifth order, brought to length 1 by the caller's normalisation.
    w, v = 1 - square * (0.5 - square / 24), half * (1 - square * (1 / 6 - square / 120))
    a, b = orientation[0], orientation[1:]
    return normalise(
        jnp.concatenate([(w * a - jnp.sum(v * b, axis=0))[None], w * b + a * v + cross(v, b)])
    )


def bead_arms(params: BodyParams, orientation: Array) -> Array:
    """Vectors [D,B,*batch] µm from every body's centre to its beads."""
    axes = body_axes(orientation)[:, :, np.asarray(params.owner)]
    return jnp.sum(axes * params.offset[None], axis=1)


def moment_of(arm: Array, force: Array) -> Array:
    """Torque r × F [1 or 3,...] of forces [D,...] at arms [D,...]."""
    if arm.shape[0] == 2:
        return (arm[0] * force[1] - arm[1] * force[0])[None]
    return cross(arm, force)


def sum_over_beads(params: BodyParams, values: Array) -> Array:
    """Add values [C,B,*batch] of the beads of every body: [C,M,*batch]."""
    if params.count == 1:
        return jnp.sum(values, axis=1, keepdims=True)
    owner = np.asarray(params.owner)
    member = jnp.asarray(owner == np.arange(params.count)[:, None], values.dtype)
    summed = jnp.tensordot(member, values, axes=(1, 1), precision=jax.lax.Precision.HIGHEST)
    return jnp.moveaxis(summed, 0, 1)


@pytree
class Push:
    """Contacts of colloids with bodies, in pN and pN µm; components first.

    on_colloid [D,N]; on_bead [D,B]; torque_by_colloid [1 or 3,N]: what every colloid does to the
    bodies about their centres, r × F; deepest [N] and deepest_bead [B]: largest (contact/r)².
    """

    on_colloid: Array
    on_bead: Array
    torque_by_colloid: Array
    deepest: Array
    deepest_bead: Array


def body_contacts(
    params: BodyParams,
    beads: Array,
    arms: Array,
    position: Array,
    radius: Array,
    push: Array,
    thermal: Array,
    given: Array | None,
    size: Array,
    periodic: tuple[bool, ...],
) -> Push:
    """Contacts of colloids [D,N] with beads [D,B] at arms [D,B] of their bodies' centres."""
    return Push(
        *bead_contacts(
            position,
            radius,
            HARDNESS * push,
            beads,
            params.radius,
            arms,
            thermal,
            given,
            size,
            periodic,
        )
    )


def mutual_contacts(
    params: BodyParams,
    beads: Array,
    push: Array,
    thermal: Array,
    given: Array | None,
    size: Array,
    periodic: tuple[bool, ...],
) -> tuple[Array, Array]:
    """Contacts of bodies with one another: forces [D,B] on beads, and largest (contact/r)² [B]."""
    crowd = CROWD * jnp.max(push, axis=0, keepdims=True) + 0 * params.radius
    return sphere_forces(beads, params.radius, crowd, thermal, given, size, periodic, params.owner)


def carried_by(
    params: BodyParams, arms: Array, orientation: Array, velocity: Array, spin: Array
) -> tuple[Array, Array]:
    """Velocity [D,M] and spin [1 or 3,M] of free bodies in a flow.

    velocity [D,B] and spin [1 or 3,B] are the fluid's at the beads, each of which drags on its own:
    Σ F = 0 and Σ (r × F + T) = 0 with F and T of Stokes' drag on a bead. A row of beads then turns
    as a slender rod does.
    """
    own = 4 / 3 * params.radius**2
    number = sum_over_beads(params, jnp.ones_like(velocity[:1]))
    mean = sum_over_beads(params, velocity) / number
    moment = sum_over_beads(params, moment_of(arms, velocity) + own * spin)
    square = params.offset**2
    if spin.shape[0] == 1:
        about = sum_over_beads(params, (square.sum(axis=0) + own)[None] + 0 * velocity[:1])
        return mean, moment / about
    about = sum_over_beads(params, square.sum(axis=0) - square + own + 0 * velocity)
    axes = body_axes(orientation)
    return mean, jnp.sum(axes * (_into_body(axes, moment) / about)[None], axis=1)


def body_integrators(
    params: BodyParams, thermal: Array, dt: Array, inertial: bool
) -> tuple[Integrator, Integrator]:
    """Coefficients of the bodies' translation and rotation."""
    mass, inertia = (params.mass, params.inertia) if inertial else (None, None)
    return (
        integrator(params.friction, thermal, dt, mass),
        integrator(params.rotational_friction, thermal, dt, inertia),
    )


def move_bodies(
    params: BodyParams,
    integrators: tuple[Integrator, Integrator],
    state: BodyState,
    bead_force: Array,
    arms: Array,
    flow: tuple[Array, Array],
    noise: tuple[Array, Array],
) -> tuple[Array, Array, BodyState]:
    """One step of all bodies under forces [D,B,*batch] pN on their beads.

    flow: velocity [D,M] and spin [1 or 3,M] of the fluid at the centres; noise: for translation
    [D,M] and rotation [1 or 3,M]. Returns displacement, turn, and the state with its orientation
    and momenta moved on; the caller moves the centres.
    """
    axes = body_axes(state.orientation)
    frame: Frame = in_body(axes)
    planar = axes.shape[0] == 2
    force = params.force + sum_over_beads(params, bead_force)
    torque = params.torque + sum_over_beads(params, moment_of(arms, bead_force))
    moved, momentum = integrators[0].move(frame, flow[0], force, noise[0], state.momentum)
    if planar:
        turn, spin = integrators[1].move(by_axis, flow[1], torque, noise[1], state.spin)
    else:
        # Spin is kept in the body's frame: what inertia remembers turns with the body.
        torque, rate = _into_body(axes, torque), _into_body(axes, flow[1])
        if state.spin is not None and isinstance(integrators[1], Inertial):
            own = state.spin.velocity
            # Only where steps resolve the spin: beyond, its components' signs mean nothing.
            resolved = jnp.maximum(integrators[1].keep.min(axis=0), 0)
            torque = torque - resolved * cross(own, params.inertia * own)
        turn, spin = integrators[1].move(by_axis, rate, torque, noise[1], state.spin)
        turn = jnp.sum(axes * turn[None], axis=1)
    orientation = turn_body(state.orientation, turn)
    new = BodyState(state.centre, state.image, state.remainder, orientation, momentum, spin)
    return params.free * moved, turn, new


def by_axis(values: Array, vector: Array) -> Array:
    """Scale by values [C,M,*batch], one a component."""
    return values * vector


def _into_body(axes: Array, vector: Array) -> Array:
    return jnp.sum(axes * vector[:, None], axis=0)
