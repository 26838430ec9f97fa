"""What is observed of the state of a simulated world."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from swarmctl.core.spec import EngineSpec
from swarmctl.core.state import Bodies, Chemicals, SwarmState
from swarmctl.engines.jax_state import JaxEngineState
from swarmctl.physics import chemistry
from swarmctl.physics.bodies import BodyParams, BodyState, bead_arms
from swarmctl.physics.motion import BodyMotion
from swarmctl.physics.parameters import MotionParams

Array = jax.Array


def observe(
    state: JaxEngineState,
    params: MotionParams,
    spec: EngineSpec,
    plans: Sequence[chemistry.ChemistryPlan],
) -> SwarmState:
    """Return what is observed: the truth, or what disturbances leave of it."""
    motion, disturbed = state.motion, state.disturbed
    view = None if disturbed is None else disturbed.view
    stuck = None if disturbed is None else disturbed.stuck
    interval = jnp.asarray(spec.control_interval, motion.position.dtype)
    present = jnp.ones(spec.capacity, bool) if view is None else view.present
    return SwarmState(
        position=motion.position if view is None else view.position,
        image=motion.image if view is None else view.image,
        director=motion.director if view is None else view.director,
        velocity=state.velocity if view is None else view.velocity,
        angular_velocity=state.angular_velocity if view is None else view.angular_velocity,
        species=jnp.asarray(spec.species_of_slot, jnp.int32),
        identity=jnp.arange(spec.capacity, dtype=jnp.int32) if view is None else view.identity,
        present=present,
        oriented=present,
        controllable=present if stuck is None else present & ~stuck,
        bodies=observe_bodies(motion.bodies, state.bodies, params.bodies, spec.control_interval)
        if view is None
        else view.bodies,
        step=state.step,
        time=state.step * interval,
        interval=interval,
        chemicals=observe_chemicals(state.chemicals, motion.position, params, plans),
    )


def observe_chemicals(
    fields: tuple[Array, ...],
    position: Array,
    params: MotionParams,
    plans: Sequence[chemistry.ChemistryPlan],
) -> Chemicals | None:
    """Substances at the true positions [N,D] µm, and everywhere; None if there are none."""
    if not fields:
        return None
    found = [
        chemistry.sample(field, position.T, plan, params.size)
        for field, plan in zip(fields, plans, strict=True)
    ]
    return Chemicals(
        value=jnp.stack([value for value, _ in found], axis=-1),
        gradient=jnp.stack([gradient.T for _, gradient in found], axis=1),
        fields=fields,
    )


def observe_bodies(
    motion: BodyState | None, moved: BodyMotion | None, about: BodyParams | None, interval: float
) -> Bodies | None:
    """Rigid bodies as they truly are, moved over the last `interval` s; None if there are none."""
    if motion is None or moved is None or about is None:
        return None
    planar = motion.centre.shape[1] == 2
    per_time = jnp.asarray(interval, motion.centre.dtype)
    rate, torque = moved.rotation / per_time, moved.push_torque
    owner = np.asarray(about.owner, np.int32)
    arms = bead_arms(about, motion.orientation.T).T
    return Bodies(
        centre=motion.centre,
        image=motion.image,
        angle=jnp.arctan2(motion.orientation[:, 1], motion.orientation[:, 0])
        if planar
        else motion.orientation,
        velocity=moved.displacement / per_time,
        angular_velocity=rate[:, 0] if planar else rate,
        bead=motion.centre[owner] + arms,
        bead_radius=about.radius,
        body_of_bead=jnp.asarray(owner),
        bead_force=moved.bead_force,
        push_force=moved.push_force,
        push_torque=torque[:, 0] if planar else torque,
    )
