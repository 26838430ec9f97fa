"""Rewards for eating."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from swarmctl.core.contracts import Task
from swarmctl.core.spec import EngineSpec
from swarmctl.core.state import Space, SwarmState
from swarmctl.core.tree import pytree
from swarmctl.observe.food import Food

Array = jax.Array


@pytree
class Eat(Task):
    """Pays `scale` [] per bite, see `Food`."""

    food: Food
    scale: Array

    def check(self, spec: EngineSpec) -> None:
        """Raise ConfigError unless sites are points of the engine's space."""
        self.food.check(spec, "Eat")

    def init(self, state: SwarmState, space: Space) -> Any:
        """What has been eaten [N], by those that start on food."""
        return self.food.eat(state, self.food.none(state), space)[1]

    def evaluate(self, state: SwarmState, memory: Any, space: Space) -> tuple[Array, Array, Any]:
        """Return (reward [N], never terminated, eaten [N])."""
        bites, memory = self.food.eat(state, memory, space)
        return self.scale * bites, jnp.zeros(bites.shape, bool), memory
