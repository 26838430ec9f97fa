"""Whom a common reward is due to: equal shares, and counterfactual differences."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

import jax
import jax.numpy as jnp

from swarmctl.core.contracts import Task
from swarmctl.core.errors import ConfigError
from swarmctl.core.spec import EngineSpec
from swarmctl.core.state import Space, SwarmState, mean_present
from swarmctl.core.tree import pytree, static

Array = jax.Array


@pytree
class TeamMean(Task):
    """Everyone gets the mean reward of the colloids that are present; done where the part says."""

    part: Task

    def check(self, spec: EngineSpec) -> None:
        """Check the part."""
        self.part.check(spec)

    def init(self, state: SwarmState, space: Space) -> Any:
        """The part's memory."""
        return self.part.init(state, space)

    def evaluate(self, state: SwarmState, memory: Any, space: Space) -> tuple[Array, Array, Any]:
        """Return (reward [N], terminated [N], memory)."""
        reward, terminated, memory = self.part.evaluate(state, memory, space)
        return jnp.where(state.present, mean_present(reward, state.present), 0), terminated, memory


@pytree
class Difference(Task):
    """Difference reward D_i = G(s) - G(s without i), for the common reward G of a part.

    What the swarm gains by colloid i being there (Wolpert and Tumer, Advances in Complex Systems 4,
    265, 2001). G is the sum or the mean of the part's rewards. "Without i" means that i is absent
    from the observed states from the start on; what it did to others is not undone. Of a part that
    pays everyone for itself alone the sum gives back that reward. It costs N + 1
    evaluations of the part. `total`: "sum" or "mean".
    """

    part: Task
    total: Literal["sum", "mean"] = static(default="sum")

    def __post_init__(self) -> None:
        if self.total not in ("sum", "mean"):
            raise ConfigError(f"difference: total {self.total!r}; allowed: sum, mean.")

    def check(self, spec: EngineSpec) -> None:
        """Check the part."""
        self.part.check(spec)

    def init(self, state: SwarmState, space: Space) -> Any:
        """The part's memory with everyone, and in all worlds without one [N rows, N worlds,...]."""
        others = jax.vmap(lambda i: self.part.init(_without(state, i), space), out_axes=1)
        return self.part.init(state, space), others(jnp.arange(state.capacity))

    def evaluate(self, state: SwarmState, memory: Any, space: Space) -> tuple[Array, Array, Any]:
        """Return (reward [N], terminated [N], memories)."""
        reward, terminated, own = self.part.evaluate(state, memory[0], space)

        def without(index: Array, other: Any) -> tuple[Array, Any]:
            absent = _without(state, index)
            paid, _, other = self.part.evaluate(absent, other, space)
            return self._total(paid, absent.present), other

        # Rows lead, worlds follow, so that a slot taken over anew is renewed in every world.
        rest, others = jax.vmap(without, (0, 1), (0, 1))(jnp.arange(state.capacity), memory[1])
        gain = self._total(reward, state.present) - rest
        return jnp.where(state.present, gain, 0), terminated, (own, others)

    def _total(self, reward: Array, present: Array) -> Array:
        if self.total == "mean":
            return mean_present(reward, present)
        return jnp.sum(jnp.where(present, reward, 0))


def _without(state: SwarmState, index: Array) -> SwarmState:
    """The swarm with colloid `index` absent."""
    return dataclasses.replace(state, present=state.present.at[index].set(False))
