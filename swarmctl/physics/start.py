"""The state of motion before time 0: placed, at rest to the eye, and in thermal equilibrium."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from swarmctl.core.state import Space
from swarmctl.physics.bodies import BodyParams, BodyState
from swarmctl.physics.integrators import Momentum
from swarmctl.physics.motion import BodyMotion, MotionState
from swarmctl.physics.parameters import MotionConfig, MotionParams
from swarmctl.physics.placement import Placed

Array = jax.Array


def motion_at_rest(
    key: Array, placed: Placed, config: MotionConfig, params: MotionParams, space: Space
) -> tuple[MotionState, BodyMotion | None]:
    """Return the state of motion of what was placed, and what its bodies did so far: nothing.

    With inertia, momenta are drawn from Maxwell's distribution.
    """
    position, image = space.wrap(placed.position)
    count, dimension = position.shape
    turns = 1 if dimension == 2 else 3
    keys = jax.random.split(key, 4)
    momentum, spin, bodies, motion = None, None, None, None
    if params.mass is not None and params.inertia is not None:
        friction = params.friction
        momentum = _thermal(keys[0], friction, params.mass, config, params, dimension)
        spin = _thermal(keys[1], params.rotational_friction, params.inertia, config, params, turns)
    if params.bodies is not None:
        bodies, motion = _bodies(keys[2], placed, config, params, params.bodies, space, count)
    return (
        MotionState(
            position, image, jnp.zeros_like(position), placed.director, momentum, spin, bodies
        ),
        motion,
    )


def _thermal(
    key: Array,
    friction: Array,
    mass: Array,
    config: MotionConfig,
    params: MotionParams,
    components: int,
) -> Momentum:
    """Velocities and last impulses [N,components]; friction and mass [N] or [components,N]."""
    friction, mass = (jnp.broadcast_to(x, (components, x.shape[-1])).T for x in (friction, mass))
    first, second = jax.random.normal(key, (2, *friction.shape), friction.dtype)
    thermal = params.thermal_energy
    impulse = jnp.sqrt(2 * friction * thermal * config.time_step) * second
    b = 1 / (1 + friction * config.time_step / (2 * mass))
    # The half-step velocity and the impulse that led to it are correlated.
    velocity = jnp.sqrt(b) * (jnp.sqrt(thermal / mass) * first + impulse / (2 * mass))
    return Momentum(velocity, impulse)


def _bodies(
    key: Array,
    placed: Placed,
    config: MotionConfig,
    params: MotionParams,
    about: BodyParams,
    space: Space,
    count: int,
) -> tuple[BodyState, BodyMotion]:
    assert placed.centre is not None
    assert placed.orientation is not None
    centre, image = space.wrap(placed.centre)
    dtype, dimension = centre.dtype, centre.shape[1]
    turns = 1 if dimension == 2 else 3
    momentum, spin = None, None
    if config.inertial:
        first, second = jax.random.split(key)
        momentum = _thermal(first, about.friction, about.mass, config, params, dimension)
        spin = _thermal(second, about.rotational_friction, about.inertia, config, params, turns)
    beads = len(about.owner)
    return (
        BodyState(centre, image, jnp.zeros_like(centre), placed.orientation, momentum, spin),
        BodyMotion(
            displacement=jnp.zeros_like(centre),
            rotation=jnp.zeros((about.count, turns), dtype),
            bead_force=jnp.zeros((beads, dimension), dtype),
            push_force=jnp.zeros((count, dimension), dtype),
            push_torque=jnp.zeros((count, turns), dtype),
        ),
    )
