"""Observables: what every colloid sees, computed for all colloids at once, on any engine.

Each is a frozen pytree with explicit memory whose leaves have N rows.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from swarmctl.core.contracts import Observable
from swarmctl.core.errors import ConfigError
from swarmctl.core.spec import EngineSpec
from swarmctl.core.state import Space, SwarmState
from swarmctl.core.tree import pytree, static
from swarmctl.observe.fields import ScalarField

Array = jax.Array


@pytree
class FieldValue(Observable):
    """scale x f(r_t): the field where the colloid is."""

    field: ScalarField
    scale: Array

    def names(self, spec: EngineSpec) -> tuple[str, ...]:
        """One value."""
        return ("field",)

    def init(self, state: SwarmState, space: Space) -> Any:
        """No memory."""
        return ()

    def observe(self, state: SwarmState, memory: Any, space: Space) -> tuple[Array, Any]:
        """Return ([N,1], memory)."""
        value = self.scale * self.field.value(state.position, space)
        return jnp.where(state.present, value, 0)[:, None], memory


@pytree
class FieldChange(Observable):
    """scale x [f(r_t) - f(r_{t-1})].

    How the field changed during the last control interval; 0 at the start.
    """

    field: ScalarField
    scale: Array

    def names(self, spec: EngineSpec) -> tuple[str, ...]:
        """One value."""
        return ("field change",)

    def init(self, state: SwarmState, space: Space) -> Any:
        """Last field value [N]."""
        return self.field.value(state.position, space)

    def observe(self, state: SwarmState, memory: Any, space: Space) -> tuple[Array, Any]:
        """Return ([N,1], field value [N])."""
        value = self.field.value(state.position, space)
        change = jnp.where(state.present, self.scale * (value - memory), 0)
        return change[:, None], value


@pytree
class OwnMotion(Observable):
    """What the colloid did during the last interval: velocity along its director and turn rate,
    each over its scale.

    `speed` [] µm/s and `turn_rate` [] rad/s are the scales. In 3D the turn rate is the length of
    the rotation vector.
    """

    speed: Array
    turn_rate: Array

    def names(self, spec: EngineSpec) -> tuple[str, ...]:
        """Two values."""
        return ("forward speed", "turn rate")

    def init(self, state: SwarmState, space: Space) -> Any:
        """No memory."""
        return ()

    def observe(self, state: SwarmState, memory: Any, space: Space) -> tuple[Array, Any]:
        """Return ([N,2], memory)."""
        forward = jnp.sum(state.velocity * state.director, axis=-1) / self.speed
        turn = state.angular_velocity
        if turn.ndim == 2:
            turn = jnp.sqrt(jnp.sum(turn**2, axis=-1))
        values = jnp.stack([forward, turn / self.turn_rate], axis=-1)
        return jnp.where(state.present[:, None], values, 0), memory


@pytree
class Joined(Observable):
    """Several observables side by side."""

    parts: tuple[Observable, ...]

    def check(self, spec: EngineSpec) -> None:
        """Check every part."""
        for part in self.parts:
            part.check(spec)

    def names(self, spec: EngineSpec) -> tuple[str, ...]:
        """All names in order."""
        return tuple(name for part in self.parts for name in part.names(spec))

    def init(self, state: SwarmState, space: Space) -> Any:
        """One memory per part."""
        return tuple(part.init(state, space) for part in self.parts)

    def observe(self, state: SwarmState, memory: Any, space: Space) -> tuple[Array, Any]:
        """Return ([N, sum of sizes], memories)."""
        results = [
            part.observe(state, own, space) for part, own in zip(self.parts, memory, strict=True)
        ]
        return jnp.concatenate([value for value, _ in results], axis=-1), tuple(
            own for _, own in results
        )


@pytree
class History(Observable):
    """The last `length` values of an observable, newest first; zeros before the episode began."""

    part: Observable
    length: int = static()

    def __post_init__(self) -> None:
        if self.length < 1:
            raise ConfigError(f"history: length must be at least 1, got {self.length}.")

    def check(self, spec: EngineSpec) -> None:
        """Check the part."""
        self.part.check(spec)

    def names(self, spec: EngineSpec) -> tuple[str, ...]:
        """Names with their age in intervals behind them."""
        inner = self.part.names(spec)
        return tuple(
            name if age == 0 else f"{name} -{age}" for age in range(self.length) for name in inner
        )

    def init(self, state: SwarmState, space: Space) -> Any:
        """The part's memory and the older values [N, (length - 1) F]."""
        inner = self.part.init(state, space)
        shape = jax.eval_shape(self.part.observe, state, inner, space)[0]
        count, size = shape.shape
        return inner, jnp.zeros((count, (self.length - 1) * size), shape.dtype)

    def observe(self, state: SwarmState, memory: Any, space: Space) -> tuple[Array, Any]:
        """Return ([N, length F], memory)."""
        inner, older = memory
        value, inner = self.part.observe(state, inner, space)
        stacked = jnp.concatenate([value, older], axis=-1)
        stacked = jnp.where(state.present[:, None], stacked, 0)
        return stacked, (inner, stacked[:, : older.shape[1]])


@pytree
class Renamed(Observable):
    """Another observable under other names, such as those that a controller looks for."""

    part: Observable
    labels: tuple[str, ...] = static()

    def check(self, spec: EngineSpec) -> None:
        """Check the part, and that there is a name for each of its numbers."""
        self.part.check(spec)
        if self.part.size(spec) != len(self.labels):
            raise ConfigError(
                f"renamed: {len(self.labels)} names for the {self.part.size(spec)} numbers of "
                f"{type(self.part).__name__}; give one each."
            )

    def names(self, spec: EngineSpec) -> tuple[str, ...]:
        """The other names."""
        return self.labels

    def init(self, state: SwarmState, space: Space) -> Any:
        """The part's memory."""
        return self.part.init(state, space)

    def observe(self, state: SwarmState, memory: Any, space: Space) -> tuple[Array, Any]:
        """Return ([N,F], memory)."""
        return self.part.observe(state, memory, space)
