"""The price of swimming."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from swarmctl.core.contracts import Task
from swarmctl.core.state import Space, SwarmState
from swarmctl.core.tree import pytree

Array = jax.Array


@pytree
class SwimCost(Task):
    """Pays -cost x (v·n̂)/speed: a cost for every interval of swimming at `speed` [] µm/s.

    The velocity v is the mean over the interval, so that thermal motion adds noise of mean zero,
    and a colloid that is held back pays less. `cost` [] per interval. Add it by `WeightedSum`.
    """

    cost: Array
    speed: Array

    def init(self, state: SwarmState, space: Space) -> Any:
        """No memory."""
        return ()

    def evaluate(self, state: SwarmState, memory: Any, space: Space) -> tuple[Array, Array, Any]:
        """Return (reward [N], never terminated, memory)."""
        forward = jnp.sum(state.velocity * state.director, axis=-1) / self.speed
        reward = jnp.where(state.present & state.oriented, -self.cost * forward, 0)
        return reward, jnp.zeros(reward.shape, bool), memory
