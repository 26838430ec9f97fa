"""What controllers share: angles to a target, turn rates, commands, and checks of the engine."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from swarmctl.core.command import Command
from swarmctl.core.errors import CapabilityError
from swarmctl.core.spec import AgentSpec, EngineSpec
from swarmctl.core.state import SwarmState

Array = jax.Array


def needs(spec: AgentSpec, agent: str, *channels: str, plane: bool = False) -> None:
    """Raise CapabilityError unless the engine takes the channels and, if asked, is 2D."""
    engine = spec.engine
    missing = set(channels) - engine.capabilities
    if missing:
        raise CapabilityError(
            f"{agent} commands {', '.join(sorted(missing))}, which engine {engine.name!r} does not "
            f"take; it takes {', '.join(sorted(engine.capabilities))}."
        )
    if plane and engine.dimension != 2:
        raise CapabilityError(
            f"{agent} works in the plane; engine {engine.name!r} is {engine.dimension}D. Give the "
            "world two box lengths, or take another agent."
        )


def fastest(engine: EngineSpec, speed: float | None = None) -> Array:
    """Speed [N] µm/s: the given one, or the highest of every colloid's species."""
    if speed is not None:
        return jnp.full(engine.capacity, speed, engine.dtype)
    return jnp.asarray(engine.per_slot(engine.speed_max), engine.dtype)


def quickest(engine: EngineSpec, turn_rate: float | None = None) -> Array:
    """Turn rate [N] rad/s: the given one, or the highest of every colloid's species."""
    if turn_rate is not None:
        return jnp.full(engine.capacity, turn_rate, engine.dtype)
    return jnp.asarray(engine.per_slot(engine.turn_rate_max), engine.dtype)


def bearing(director: Array, towards: Array) -> Array:
    """Angle [...] rad from a director to a vector [...,2], anticlockwise, in (-π, π]; 0 for a
    vector without length.
    """
    cross = director[..., 0] * towards[..., 1] - director[..., 1] * towards[..., 0]
    return jnp.arctan2(cross, jnp.sum(director * towards, axis=-1))


def directors(state: SwarmState) -> Array:
    """Directors [N,D]; 0 for those that are absent or whose director is not seen."""
    return jnp.where((state.present & state.oriented)[:, None], state.director, 0)


def rotated(vector: Array, angle: Array) -> Array:
    """Vectors [...,2] turned anticlockwise by angles [...]."""
    c, s = jnp.cos(angle), jnp.sin(angle)
    x, y = vector[..., 0], vector[..., 1]
    return jnp.stack([c * x - s * y, s * x + c * y], axis=-1)


def swim(state: SwarmState, speed: Array, turn_rate: Array | None = None) -> Command:
    """Command of speeds [N] and turn rates ([N] in 2D, [N,3] in 3D); 0 for the absent."""
    dtype = state.position.dtype
    present = state.present
    if turn_rate is not None:
        rows = present.reshape(present.shape + (1,) * (turn_rate.ndim - 1))
        turn_rate = jnp.where(rows, turn_rate, 0).astype(dtype)
    return Command(speed=jnp.where(present, speed, 0).astype(dtype), turn_rate=turn_rate)


def head(state: SwarmState, speed: Array, heading: Array) -> Command:
    """Command of speeds [N] and headings [N,D]; the absent, and those whose heading has no length,
    keep their director.
    """
    dtype = state.position.dtype
    given = state.present & (jnp.sum(jnp.abs(heading), axis=-1) > 0)
    east = jnp.zeros(heading.shape, dtype).at[:, 0].set(1)
    return Command(
        speed=jnp.where(state.present, speed, 0).astype(dtype),
        heading=jnp.where(given[:, None], heading, east).astype(dtype),
        has_heading=given,
    )
