"""Swarms made by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from swarmctl.core.state import Bodies, SwarmState


def swarm_at(position: Any, heading: Any = 0.0, **changes: Any) -> SwarmState:
    """Colloids at positions [N,2] µm with headings [] or [N] rad, at rest, all present."""
    place = jnp.asarray(position, jnp.float32)
    count = len(place)
    angle = np.broadcast_to(np.asarray(heading, float), (count,))
    every = jnp.ones(count, bool)
    fields: dict[str, Any] = {
        "position": place,
        "image": jnp.zeros(place.shape, jnp.int32),
        "director": jnp.asarray(np.stack([np.cos(angle), np.sin(angle)], -1), jnp.float32),
        "velocity": jnp.zeros(place.shape, jnp.float32),
        "angular_velocity": jnp.zeros(count, jnp.float32),
        "species": jnp.zeros(count, jnp.int32),
        "identity": jnp.arange(count, dtype=jnp.int32),
        "present": every,
        "oriented": every,
        "controllable": every,
        "bodies": None,
        "step": jnp.asarray(0, jnp.int32),
        "time": jnp.asarray(0.0, jnp.float32),
        "interval": jnp.asarray(0.5, jnp.float32),
    }
    return SwarmState(**{**fields, **changes})


def rod_at(centre: Any, angle: float, offsets: Any, count: int, **changes: Any) -> Bodies:
    """One body with beads of radius 2.5 µm at `offsets` µm along its axis, seen by N colloids."""
    axis, along = np.asarray([np.cos(angle), np.sin(angle)]), np.asarray(offsets, float)
    fields: dict[str, Any] = {
        "centre": jnp.asarray([centre], jnp.float32),
        "image": jnp.zeros((1, 2), jnp.int32),
        "angle": jnp.asarray([angle], jnp.float32),
        "velocity": jnp.zeros((1, 2), jnp.float32),
        "angular_velocity": jnp.zeros(1, jnp.float32),
        "bead": jnp.asarray(np.asarray(centre) + along[:, None] * axis, jnp.float32),
        "bead_radius": jnp.full(len(along), 2.5, jnp.float32),
        "body_of_bead": jnp.zeros(len(along), jnp.int32),
        "bead_force": jnp.zeros((len(along), 2), jnp.float32),
        "push_force": jnp.zeros((count, 2), jnp.float32),
        "push_torque": jnp.zeros(count, jnp.float32),
    }
    return Bodies(**{**fields, **changes})


@pytest.fixture
def rod() -> Callable[..., Bodies]:
    return rod_at


@pytest.fixture
def swarm() -> Callable[..., SwarmState]:
    return swarm_at
