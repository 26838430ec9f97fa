"""What a navigator sees in the frame of the laboratory: the way to its goal, and the flow."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from swarmctl.core.contracts import Observable
from swarmctl.core.spec import EngineSpec
from swarmctl.core.state import Space, SwarmState
from swarmctl.core.tree import pytree
from swarmctl.observe.goals import check_point
from swarmctl.observe.motion import AXES
from swarmctl.observe.pairs import length, unit
from swarmctl.physics.flow import flow_at

Array = jax.Array


@pytree
class GoalVector(Observable):
    """Unit vector to a goal in the frame of the laboratory, and d/(d + λ) with its distance d.

    For those that take headings in that frame. By the minimum image. `goal` [D] µm, or [N,D] with
    one for every colloid; `length` λ [] µm.
    """

    goal: Array
    length: Array

    def check(self, spec: EngineSpec) -> None:
        """Raise ConfigError unless the goal is a point of the engine's space."""
        check_point(self.goal, spec, "GoalVector")

    def names(self, spec: EngineSpec) -> tuple[str, ...]:
        """One value per axis, and the distance."""
        return (*(f"goal {axis}" for axis in AXES[: spec.dimension]), "goal distance")

    def init(self, state: SwarmState, space: Space) -> Any:
        """No memory."""
        return ()

    def observe(self, state: SwarmState, memory: Any, space: Space) -> tuple[Array, Any]:
        """Return ([N,D+1], memory)."""
        towards = space.displacement(state.position, self.goal)
        away = length(towards)[:, None]
        values = jnp.concatenate([unit(towards), away / (away + self.length)], axis=-1)
        return jnp.where(state.present[:, None], values, 0), memory


@pytree
class FlowVelocity(Observable):
    """u(r, t) / scale, the velocity of the undisturbed fluid where the colloid is.

    `flows` are those of a world as arrays, `flow_params(world.flows, world.box)`; `scale` [] µm/s.
    """

    flows: tuple[Any, ...]
    scale: Array

    def names(self, spec: EngineSpec) -> tuple[str, ...]:
        """One value per axis."""
        return tuple(f"flow {axis}" for axis in AXES[: spec.dimension])

    def init(self, state: SwarmState, space: Space) -> Any:
        """No memory."""
        return ()

    def observe(self, state: SwarmState, memory: Any, space: Space) -> tuple[Array, Any]:
        """Return ([N,D], memory)."""
        position = jnp.where(state.present[:, None], state.position, 0)
        u, _ = flow_at(position.T, state.time, self.flows, space.size[:, None], space.periodic)
        return jnp.where(state.present[:, None], u.T / self.scale, 0), memory
