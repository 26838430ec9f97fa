"""What colloids do to rigid bodies during an interval, from places within it.

ESPResSo knows the force on every bead, but not by whom, and at one instant only. The contacts are
therefore computed again, as the JAX engine does, at places that were kept during the interval.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from swarmctl.core.world import World
from swarmctl.physics.motion import BodyMotion
from swarmctl.physics.parameters import MotionConfig, MotionParams
from swarmctl.physics.surroundings import Surroundings

SAMPLES = 10
"""Places that are looked at in an interval, at most."""


def pushes_function(
    world: World, config: MotionConfig, params: MotionParams
) -> Callable[..., tuple[Any, Any, Any]]:
    """Return the compiled mean of (bead force [B,D] pN, push force [N,D] pN, push torque [N,1 or 3]
    pN µm) over places [K,N,D], [K,M,D], [K,B,D] µm of colloids, centres and beads.
    """
    about = params.bodies
    assert about is not None
    owner = np.asarray(about.owner)
    around = Surroundings(config, params, jnp.zeros(world.capacity, params.size.dtype))

    def once(position: Any, centre: Any, beads: Any) -> tuple[Any, Any, Any]:
        arms = (beads - centre[owner]).T
        found = around.on_bodies(beads.T, arms, position.T, jnp.zeros_like(position.T))
        return found.force.T, found.push_force.T, found.push_torque.T

    def mean(*places: Any) -> tuple[Any, Any, Any]:
        return jax.tree.map(lambda x: x.mean(axis=0), jax.vmap(once)(*places))

    return jax.jit(mean)


def body_motion(
    displacement: Any, rotation: Any, pushes: tuple[Any, Any, Any], dtype: str
) -> BodyMotion:
    """Return what an interval brought to bodies, in arrays of `dtype`."""
    return BodyMotion(*(jnp.asarray(x, dtype) for x in (displacement, rotation, *pushes)))
