"""Rewards for reaching a point."""

from __future__ import annotations

from dataclasses import field
from typing import Any

import jax
import jax.numpy as jnp

from swarmctl.core.contracts import Task
from swarmctl.core.spec import EngineSpec
from swarmctl.core.state import Space, SwarmState
from swarmctl.core.tree import pytree
from swarmctl.observe.goals import check_point

Array = jax.Array


@pytree
class ReachPoint(Task):
    """Pays `scale` per µm of approach and `bonus` on arrival, less `step_cost` per decision.

    A colloid has arrived, and is done, when it is within `radius` of the goal at the end of an
    interval. The approach telescopes to scale x (d_0 - d_T). A learner that discounts rewards by γ
    would rather approach first and pay later; with `discount` γ the approach pays
    scale x (d_{t-1} - γ d_t) instead, which leaves the best way as it is without that pay
    (potential-based shaping: Ng, Harada and Russell, ICML 1999).

    Attributes:
        goal: [D] µm, or [N,D] with one for every colloid.
        radius: [] µm.
        scale: [] 1/µm.
        bonus, step_cost: [].
        discount: [], γ of the learner, or 1.
    """

    goal: Array
    radius: Array
    scale: Array
    bonus: Array
    step_cost: Array
    discount: Array = field(default_factory=lambda: jnp.asarray(1.0))

    def check(self, spec: EngineSpec) -> None:
        """Raise ConfigError unless the goal is a point of the engine's space."""
        check_point(self.goal, spec, "ReachPoint")

    def init(self, state: SwarmState, space: Space) -> Any:
        """Last distance [N] µm."""
        return space.distance(state.position, self.goal)

    def evaluate(self, state: SwarmState, memory: Any, space: Space) -> tuple[Array, Array, Any]:
        """Return (reward [N], arrived [N], distance [N] µm)."""
        distance = space.distance(state.position, self.goal)
        arrived = state.present & (distance <= self.radius)
        reward = self.scale * (memory - self.discount * distance) - self.step_cost
        reward = reward + jnp.where(arrived, self.bonus, 0)
        return jnp.where(state.present, reward, 0), arrived, distance
