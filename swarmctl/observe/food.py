"""Food that is found, eaten up, and found again elsewhere."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from swarmctl.core.contracts import Observable
from swarmctl.core.errors import ConfigError
from swarmctl.core.spec import EngineSpec
from swarmctl.core.state import Space, SwarmState
from swarmctl.core.tree import pytree
from swarmctl.observe.pairs import length, own_frame, require_plane, unit

Array = jax.Array


@pytree
class Food:
    """Sites that open one after another, each once the one before is empty; then from the first on.

    In every interval each colloid within the open site takes one bite, or an equal share of what is
    left. What has been eaten in all is remembered in a row per colloid [N], the largest of which
    counts, so that newcomers do not bring back what is gone.

    Attributes:
        sites: [K,D] µm, middles. radius: [] µm. supply: [] bites at a site.
    """

    sites: Array
    radius: Array
    supply: Array

    def check(self, spec: EngineSpec, reader: str) -> None:
        """Raise ConfigError unless sites are points of the engine's space."""
        shape = jnp.shape(self.sites)
        if len(shape) != 2 or shape[1] != spec.dimension or not shape[0]:
            raise ConfigError(
                f"{reader}: sites of shape {shape} do not fit engine {spec.name!r}; give one row "
                f"of {spec.dimension} coordinates per site."
            )

    def site(self, eaten: Array) -> tuple[Array, Array]:
        """Middle [D] µm of the open site, and bites [] left there, after bites `eaten` [N]."""
        total = jnp.max(eaten)
        # Shares of a bite do not add up to it exactly.
        emptied = jnp.floor(total / self.supply + 1e-4)
        index = jnp.mod(emptied, self.sites.shape[0]).astype(jnp.int32)
        return self.sites[index], (emptied + 1) * self.supply - total

    def eat(self, state: SwarmState, eaten: Array, space: Space) -> tuple[Array, Array]:
        """Return (bites [N] of this interval, eaten in all [N])."""
        site, left = self.site(eaten)
        inside = state.present & (space.distance(state.position, site) <= self.radius)
        share = jnp.minimum(1, left / jnp.maximum(jnp.sum(inside), 1))
        bites = jnp.where(inside, share, 0).astype(eaten.dtype)
        return bites, jnp.full_like(eaten, jnp.max(eaten) + jnp.sum(bites))

    def none(self, state: SwarmState) -> Array:
        """Nothing eaten yet [N]."""
        return jnp.zeros(state.capacity, state.position.dtype)


@pytree
class FoodDirection(Observable):
    """Bearing of the open site's middle and d/(d + λ), as in `GoalDirection` (2D).

    All 0 beyond `reach` [] µm from it. `length` λ [] µm.
    """

    food: Food
    reach: Array
    length: Array

    def check(self, spec: EngineSpec) -> None:
        """Raise CapabilityError in 3D and ConfigError for sites elsewhere."""
        require_plane(spec, "FoodDirection")
        self.food.check(spec, "FoodDirection")

    def names(self, spec: EngineSpec) -> tuple[str, ...]:
        """Three values."""
        return ("goal forward", "goal left", "goal distance")

    def init(self, state: SwarmState, space: Space) -> Any:
        """What has been eaten [N]."""
        return self.food.none(state)

    def observe(self, state: SwarmState, memory: Any, space: Space) -> tuple[Array, Any]:
        """Return ([N,3], eaten [N])."""
        _, memory = self.food.eat(state, memory, space)
        towards = space.displacement(state.position, self.food.site(memory)[0])
        away = length(towards)[:, None]
        bearing = own_frame(unit(towards), state.director)
        values = jnp.concatenate([bearing, away / (away + self.length)], axis=-1)
        near = state.present[:, None] & (away <= self.reach)
        return jnp.where(near, values, 0), memory
