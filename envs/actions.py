"""Action maps: what an action of a scenario means as a command."""

from __future__ import annotations

from typing import Literal

import jax
import jax.numpy as jnp

from swarmctl.core.command import Command
from swarmctl.core.contracts import ActionMap
from swarmctl.core.errors import CapabilityError
from swarmctl.core.spec import ActionSpace, Continuous, Discrete, EngineSpec
from swarmctl.core.tree import pytree, static

Array = jax.Array

ActionKind = Literal["discrete", "continuous"]
TURNING = "discrete: turn left, swim, turn right, rest; continuous: speed and turn rate"


@pytree
class TurnSwimRest(ActionMap):
    """Four actions: 0 turn left, 1 swim, 2 turn right, 3 rest.

    `speed` [] or [N] µm/s and `turn_rate` [] or [N] rad/s. For 2D.
    """

    speed: Array
    turn_rate: Array

    @property
    def space(self) -> ActionSpace:
        """Four actions."""
        return Discrete(4)

    @property
    def names(self) -> tuple[str, ...]:
        """What the actions are called."""
        return ("turn left", "swim", "turn right", "rest")

    @property
    def channels(self) -> frozenset[str]:
        """Speed and turn rate."""
        return frozenset({"speed", "turn_rate"})

    def check(self, spec: EngineSpec) -> None:
        """Raise CapabilityError in 3D."""
        _planar(spec)

    def to_command(self, action: Array, spec: EngineSpec) -> Command:
        """Turn actions i32 [N] into a command."""
        _planar(spec)
        speed = jnp.where(action == 1, self.speed, 0)
        turn = jnp.where(action == 0, self.turn_rate, jnp.where(action == 2, -self.turn_rate, 0))
        return Command(speed=speed, turn_rate=turn)


@pytree
class SpeedAndTurn(ActionMap):
    """Two numbers in [-1, 1].

    Speed from 0 to `speed` µm/s (-1 is rest), turn rate from -`turn_rate` to it, rad/s. For 2D.
    """

    speed: Array
    turn_rate: Array
    size: int = static(default=2)

    @property
    def space(self) -> ActionSpace:
        """Two numbers."""
        return Continuous(self.size)

    @property
    def names(self) -> tuple[str, ...]:
        """What the numbers are called."""
        return ("speed", "turn rate")

    @property
    def channels(self) -> frozenset[str]:
        """Speed and turn rate."""
        return frozenset({"speed", "turn_rate"})

    def check(self, spec: EngineSpec) -> None:
        """Raise CapabilityError in 3D."""
        _planar(spec)

    def to_command(self, action: Array, spec: EngineSpec) -> Command:
        """Turn actions f [N,2] in [-1, 1] into a command."""
        _planar(spec)
        speed = self.speed * 0.5 * (action[:, 0] + 1)
        return Command(speed=speed, turn_rate=self.turn_rate * action[:, 1])


def turning(kind: ActionKind, speed: Array, turn_rate: Array) -> TurnSwimRest | SpeedAndTurn:
    """Action map of a swimmer that turns, `speed` [] or [N] µm/s and `turn_rate` [] or [N] rad/s.

    >>> turning("continuous", jnp.asarray(2.0), jnp.asarray(3.0)).names
    ('speed', 'turn rate')
    """
    maps = {"discrete": TurnSwimRest, "continuous": SpeedAndTurn}
    return maps[kind](speed, turn_rate)


def _planar(spec: EngineSpec) -> None:
    if spec.dimension != 2:
        raise CapabilityError(
            "turning left and right needs a plane; this action map works in 2D, the engine is "
            f"{spec.dimension}D. Give the world two box lengths, or use an action map of your own."
        )
