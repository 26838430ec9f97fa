"""Rewards for following a scalar field."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from swarmctl.core.contracts import Task
from swarmctl.core.state import Space, SwarmState
from swarmctl.core.tree import pytree, static
from swarmctl.observe.fields import ScalarField

Array = jax.Array


@pytree
class GradientSensing(Task):
    """Pays k [f(r_t) - f(r_{t-1})], how much the field grew during the interval; `rectified` pays
    max(0, ...) of it.

    Unrectified rewards telescope to k [f(r_T) - f(r_0)], so that only the climb pays. Rectified
    ones also pay for going to and fro (decision 0004). `scale` k [].
    """

    field: ScalarField
    scale: Array
    rectified: bool = static(default=False)

    def init(self, state: SwarmState, space: Space) -> Any:
        """Last field value [N]."""
        return self.field.value(state.position, space)

    def evaluate(self, state: SwarmState, memory: Any, space: Space) -> tuple[Array, Array, Any]:
        """Return (reward [N], never terminated, field value [N])."""
        value = self.field.value(state.position, space)
        reward = self.scale * (value - memory)
        if self.rectified:
            reward = jnp.maximum(reward, 0)
        reward = jnp.where(state.present, reward, 0)
        return reward, jnp.zeros(reward.shape, bool), value
