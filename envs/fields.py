"""Action maps of one global field for all: colloids vote, and the field follows their mean.

A field acts on every colloid alike, so a swarm under a field has one command. Each colloid's action
is its vote for a direction; those in the episode count equally. Votes that agree give the full
effect, votes that cancel give none. A swarm of one decides alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp

from swarmctl.core.command import Command
from swarmctl.core.contracts import ActionMap
from swarmctl.core.errors import CapabilityError, ConfigError
from swarmctl.core.spec import ActionSpace, Continuous, Discrete, EngineSpec
from swarmctl.core.tree import pytree, static
from swarmctl.core.waveforms import aligning_field, rolling_field

Array = jax.Array


@dataclass(frozen=True)
class Votes:
    """Votes for directions in the plane: one of K = `directions`, or any if that is None.

    Vote k of K is 2πk/K anticlockwise from the x axis. Any direction is two numbers, whose length
    counts up to 1.
    """

    directions: int | None = 8

    def __post_init__(self) -> None:
        if self.directions is not None and self.directions < 2:
            raise ConfigError(f"votes: directions must be at least 2, got {self.directions}.")

    @property
    def space(self) -> ActionSpace:
        """K actions, or two numbers."""
        return Continuous(2) if self.directions is None else Discrete(self.directions)

    @property
    def names(self) -> tuple[str, ...]:
        """The angle of every direction in degrees, or its two components."""
        if self.directions is None:
            return ("field x", "field y")
        return tuple(f"field {360 * k / self.directions:g}°" for k in range(self.directions))

    def mean(self, action: Array, active: Array, dtype: str) -> Array:
        """Mean vote [2], of a length of at most 1, of those for which `active` bool [N] holds."""
        if self.directions is None:
            length = jnp.sqrt(jnp.sum(action**2, axis=-1, keepdims=True))
            votes = action / jnp.maximum(length, 1)
        else:
            angle = action * (2 * math.pi / self.directions)
            votes = jnp.stack([jnp.cos(angle), jnp.sin(angle)], axis=-1)
        total = jnp.sum(jnp.where(active[:, None], votes, 0), axis=0)
        return (total / jnp.maximum(jnp.sum(active), 1)).astype(dtype)


class Voted(ActionMap):
    """An action map whose actions are votes; `swarm_command` says what their mean does."""

    votes: Votes

    @property
    def space(self) -> ActionSpace:
        """A vote."""
        return self.votes.space

    @property
    def names(self) -> tuple[str, ...]:
        """What the votes are called."""
        return self.votes.names

    def check(self, spec: EngineSpec) -> None:
        """Raise CapabilityError in 3D."""
        if spec.dimension != 2:
            raise CapabilityError(
                f"this action map votes in the plane; engine {spec.name!r} is {spec.dimension}D. "
                "Give the world two box lengths, or use another action map."
            )

    def to_command(self, action: Array, spec: EngineSpec) -> Command:
        """Turn votes i32 [N] or f [N,2] of all into a command."""
        return self.swarm_command(action, jnp.ones(spec.capacity, bool), spec)


@pytree
class RollBy(Voted):
    """Rollers on a floor, rolled by a field that turns: they go where the mean vote points.

    `strength` [] mT and `frequency` [] Hz of a unanimous vote; fewer turns a second for less
    (`waveforms.rolling_field`). For 2D.
    """

    strength: Array
    frequency: Array
    votes: Votes = static(default=Votes())

    @property
    def channels(self) -> frozenset[str]:
        """The global field."""
        return frozenset({"field"})

    def swarm_command(self, action: Array, active: Array, spec: EngineSpec) -> Command:
        """Turn the votes of those in the episode into a command."""
        direction = self.votes.mean(action, active, spec.dtype)
        return Command(field=rolling_field(direction, self.strength, self.frequency))


@pytree
class AlignBy(Voted):
    """Swimmers with moments, which a steady field turns towards the mean vote while they swim.

    `strength` [] mT of a unanimous vote; `speed` [] or [N] µm/s, always. A moment m turns at
    (m B/γ_r) sin of the angle to the field. For 2D.
    """

    strength: Array
    speed: Array
    votes: Votes = static(default=Votes())

    @property
    def channels(self) -> frozenset[str]:
        """Speed and the global field."""
        return frozenset({"speed", "field"})

    def swarm_command(self, action: Array, active: Array, spec: EngineSpec) -> Command:
        """Turn the votes of those in the episode into a command; the others do not swim."""
        direction = self.votes.mean(action, active, spec.dtype)
        speed = jnp.where(active, self.speed, 0).astype(spec.dtype)
        return Command(speed=speed, field=aligning_field(direction, self.strength))
