"""Action maps of swimmers that head anywhere at once, turn in flight, or swim and rest."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from swarmctl.core.command import Command
from swarmctl.core.contracts import ActionMap
from swarmctl.core.errors import CapabilityError, ConfigError
from swarmctl.core.spec import ActionSpace, Continuous, Discrete, EngineSpec
from swarmctl.core.tree import pytree, static
from swarmctl.observe.pairs import unit

Array = jax.Array


@pytree
class Compass(ActionMap):
    """One of K headings in the frame of the laboratory, K = `directions`, taken at once (2D).

    Action k heads 2πk/K anticlockwise from the x axis, at `speed` [] or [N] µm/s.
    """

    speed: Array
    directions: int = static(default=8)

    def __post_init__(self) -> None:
        if self.directions < 2:
            raise ConfigError(f"compass: directions must be at least 2, got {self.directions}.")

    @property
    def space(self) -> ActionSpace:
        """K actions."""
        return Discrete(self.directions)

    @property
    def names(self) -> tuple[str, ...]:
        """The angle of every heading in degrees."""
        return tuple(f"head {360 * k / self.directions:g}°" for k in range(self.directions))

    @property
    def channels(self) -> frozenset[str]:
        """Speed and heading."""
        return frozenset({"speed", "heading"})

    def check(self, spec: EngineSpec) -> None:
        """Raise CapabilityError in 3D."""
        _plane(spec)

    def to_command(self, action: Array, spec: EngineSpec) -> Command:
        """Turn actions i32 [N] into a command."""
        angle = action * (2 * math.pi / self.directions)
        dtype = jnp.result_type(self.speed)
        heading = jnp.stack([jnp.cos(angle), jnp.sin(angle)], axis=-1).astype(dtype)
        speed = jnp.broadcast_to(self.speed, action.shape)
        return Command(speed=speed, heading=heading, has_heading=jnp.ones(action.shape, bool))


@pytree
class HeadAlong(ActionMap):
    """A vector of `axes` numbers in [-1, 1]: the heading, in the frame of the laboratory.

    Only its direction counts, and it is taken at once; the speed is always `speed` [] or [N] µm/s.
    A vector without length keeps the heading.
    """

    speed: Array
    axes: int = static(default=2)

    @property
    def space(self) -> ActionSpace:
        """One number per axis."""
        return Continuous(self.axes)

    @property
    def names(self) -> tuple[str, ...]:
        """What the numbers are called."""
        return tuple(f"heading {axis}" for axis in "xyz"[: self.axes])

    @property
    def channels(self) -> frozenset[str]:
        """Speed and heading."""
        return frozenset({"speed", "heading"})

    def check(self, spec: EngineSpec) -> None:
        """Raise CapabilityError for another dimension."""
        if spec.dimension != self.axes:
            raise CapabilityError(
                f"this action map heads along {self.axes} axes, engine {spec.name!r} is "
                f"{spec.dimension}D; give it axes={spec.dimension}."
            )

    def to_command(self, action: Array, spec: EngineSpec) -> Command:
        """Turn actions f [N,D] in [-1, 1] into a command."""
        # Squares of anything shorter would underflow.
        given = jnp.max(jnp.abs(action), axis=-1) > 1e-12
        east = jnp.zeros_like(action).at[:, 0].set(1)
        heading = unit(jnp.where(given[:, None], action, east))
        speed = jnp.broadcast_to(self.speed, given.shape).astype(action.dtype)
        return Command(speed=speed, heading=heading, has_heading=given)


@pytree
class TurnInFlight(ActionMap):
    """Three actions of a swimmer that never rests: 0 turn left, 1 straight on, 2 turn right (2D).

    `speed` [] or [N] µm/s, `turn_rate` [] or [N] rad/s.
    """

    speed: Array
    turn_rate: Array

    @property
    def space(self) -> ActionSpace:
        """Three actions."""
        return Discrete(3)

    @property
    def names(self) -> tuple[str, ...]:
        """What the actions are called."""
        return ("turn left", "straight", "turn right")

    @property
    def channels(self) -> frozenset[str]:
        """Speed and turn rate."""
        return frozenset({"speed", "turn_rate"})

    def check(self, spec: EngineSpec) -> None:
        """Raise CapabilityError in 3D."""
        _plane(spec)

    def to_command(self, action: Array, spec: EngineSpec) -> Command:
        """Turn actions i32 [N] into a command."""
        speed = jnp.broadcast_to(self.speed, action.shape)
        return Command(speed=speed, turn_rate=self.turn_rate * (1 - action).astype(speed.dtype))


@pytree
class SwimOrRest(ActionMap):
    """Two actions: 0 swim at `speed` [] or [N] µm/s, 1 rest. Nothing steers; 2D and 3D."""

    speed: Array

    @property
    def space(self) -> ActionSpace:
        """Two actions."""
        return Discrete(2)

    @property
    def names(self) -> tuple[str, ...]:
        """What the actions are called."""
        return ("swim", "rest")

    @property
    def channels(self) -> frozenset[str]:
        """Speed."""
        return frozenset({"speed"})

    def to_command(self, action: Array, spec: EngineSpec) -> Command:
        """Turn actions i32 [N] into a command."""
        return Command(speed=jnp.where(action == 0, self.speed, jnp.zeros_like(self.speed)))


def _plane(spec: EngineSpec) -> None:
    if spec.dimension != 2:
        raise CapabilityError(
            f"this action map works in the plane; engine {spec.name!r} is {spec.dimension}D. Give "
            "the world two box lengths, or use another action map."
        )
