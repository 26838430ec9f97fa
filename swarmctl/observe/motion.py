"""Where a colloid is, where it points and how it moves, in the frame of the laboratory."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from swarmctl.core.contracts import Observable
from swarmctl.core.errors import ConfigError
from swarmctl.core.spec import EngineSpec
from swarmctl.core.state import Space, SwarmState
from swarmctl.core.tree import pytree, static

Array = jax.Array

AXES = ("x", "y", "z")


@pytree
class Position(Observable):
    """r / scale; one `scale` [] µm for all axes, such as a side of the box."""

    scale: Array

    def names(self, spec: EngineSpec) -> tuple[str, ...]:
        """One value per axis."""
        return AXES[: spec.dimension]

    def init(self, state: SwarmState, space: Space) -> Any:
        """No memory."""
        return ()

    def observe(self, state: SwarmState, memory: Any, space: Space) -> tuple[Array, Any]:
        """Return ([N,D], memory)."""
        return jnp.where(state.present[:, None], state.position / self.scale, 0), memory


@pytree
class Director(Observable):
    """The director n̂; 0 where it is not seen."""

    def names(self, spec: EngineSpec) -> tuple[str, ...]:
        """One value per axis."""
        return tuple(f"director {axis}" for axis in AXES[: spec.dimension])

    def init(self, state: SwarmState, space: Space) -> Any:
        """No memory."""
        return ()

    def observe(self, state: SwarmState, memory: Any, space: Space) -> tuple[Array, Any]:
        """Return ([N,D], memory)."""
        seen = state.present & state.oriented
        return jnp.where(seen[:, None], state.director, 0), memory


@pytree
class Velocity(Observable):
    """v / scale, the mean velocity over the last control interval; `scale` [] µm/s."""

    scale: Array

    def names(self, spec: EngineSpec) -> tuple[str, ...]:
        """One value per axis."""
        return tuple(f"velocity {axis}" for axis in AXES[: spec.dimension])

    def init(self, state: SwarmState, space: Space) -> Any:
        """No memory."""
        return ()

    def observe(self, state: SwarmState, memory: Any, space: Space) -> tuple[Array, Any]:
        """Return ([N,D], memory)."""
        return jnp.where(state.present[:, None], state.velocity / self.scale, 0), memory


@pytree
class OwnSpecies(Observable):
    """1 for the species that the colloid is of, 0 for the others; `count` species in all.

    It lets one policy act for several species.
    """

    count: int = static()

    def check(self, spec: EngineSpec) -> None:
        """Raise ConfigError unless the engine has `count` species."""
        if len(spec.species) != self.count:
            raise ConfigError(
                f"OwnSpecies tells {self.count} species apart, engine {spec.name!r} has "
                f"{len(spec.species)}; set count to that."
            )

    def names(self, spec: EngineSpec) -> tuple[str, ...]:
        """One value per species."""
        return tuple(f"is {name}" for name in spec.species)

    def init(self, state: SwarmState, space: Space) -> Any:
        """No memory."""
        return ()

    def observe(self, state: SwarmState, memory: Any, space: Space) -> tuple[Array, Any]:
        """Return ([N,count], memory)."""
        own = jax.nn.one_hot(state.species, self.count, dtype=state.position.dtype)
        return jnp.where(state.present[:, None], own, 0), memory
