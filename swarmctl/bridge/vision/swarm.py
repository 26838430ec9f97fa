"""Tracks as the state of a swarm, which agents, tasks and observables read."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from swarmctl.bridge.vision.tracker import NOBODY, Tracks
from swarmctl.core.errors import CapabilityError
from swarmctl.core.spec import EngineSpec
from swarmctl.core.state import SwarmState


def swarm_state(tracks: Tracks, spec: EngineSpec, start: float, step: int) -> SwarmState:
    """Return the state [N,2] of tracks, for an episode that began at `start` s, after `step` steps.

    Slots without a colloid are at 0. All colloids are controllable. The field of view is no
    periodic box, so that nothing is wrapped. Raises CapabilityError if the engine has other slots.
    """
    if (spec.capacity, spec.dimension) != (len(tracks.identity), 2):
        raise CapabilityError(
            f"the tracker has {len(tracks.identity)} slots in 2 dimensions, engine {spec.name!r} "
            f"{spec.capacity} in {spec.dimension}; give both the same capacity."
        )
    kind = jnp.dtype(spec.dtype)
    present = tracks.present
    here = present[:, None]
    return SwarmState(
        position=jnp.asarray(np.where(here, tracks.position, 0.0), kind),
        image=jnp.zeros(tracks.position.shape, jnp.int32),
        director=jnp.asarray(np.where(here, tracks.director, [1.0, 0.0]), kind),
        velocity=jnp.asarray(np.where(here, tracks.velocity, 0.0), kind),
        angular_velocity=jnp.asarray(np.where(present, tracks.angular_velocity, 0.0), kind),
        species=jnp.asarray(spec.species_of_slot, jnp.int32),
        identity=jnp.asarray(np.where(present, tracks.identity, NOBODY), jnp.int32),
        present=jnp.asarray(present),
        oriented=jnp.asarray(tracks.oriented),
        controllable=jnp.asarray(present),
        bodies=None,
        step=jnp.asarray(step, jnp.int32),
        time=jnp.asarray(tracks.time - start, kind),
        interval=jnp.asarray(tracks.interval, kind),
    )
