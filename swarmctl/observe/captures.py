"""Which prey predators have caught, and what is seen once caught prey is gone."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from swarmctl.core.contracts import Observable
from swarmctl.core.spec import EngineSpec
from swarmctl.core.state import Space, SwarmState
from swarmctl.core.tree import pytree, static
from swarmctl.observe.pairs import of_species, pairs

Array = jax.Array

CAPTURE_REACH = 1.4
"""Usual distance of a capture between centres, in units of the distance at which both touch."""


def captures(
    state: SwarmState, free: Array, space: Space, radius: Array, predator: int, prey: int
) -> tuple[Array, Array]:
    """Return (caught bool [N], share [N]) for prey that is `free` bool [N].

    Free prey is caught when a predator's centre is within `radius` µm of its own. Every capture is
    shared equally by the predators within reach: `share` is how many captures each makes.
    """
    pair = pairs(state, space)
    hunts = of_species(state, predator)[:, None] & (of_species(state, prey) & free)[None, :]
    held = pair.others & hunts & (pair.distance <= radius)
    holders = jnp.sum(held, axis=0)
    share = jnp.sum(jnp.where(held, 1 / jnp.maximum(holders, 1).astype(radius.dtype), 0), axis=1)
    return holders > 0, share.astype(state.position.dtype)


def still_free(state: SwarmState, space: Space, radius: Array, predator: int, prey: int) -> Array:
    """Who is free at the start, bool [N]: all but prey that starts within reach of a predator."""
    everyone = jnp.ones(state.capacity, bool)
    return ~captures(state, everyone, space, radius, predator, prey)[0]


@pytree
class FreeOnly(Observable):
    """Another observable, to which caught prey is gone; rows of caught prey are 0.

    The rule of capture is that of `swarmctl.tasks.search.Pursuit`. `radius` [] µm.
    """

    part: Observable
    radius: Array
    predator: int = static(default=0)
    prey: int = static(default=1)

    def check(self, spec: EngineSpec) -> None:
        """Check the part and that both species are there."""
        self.part.check(spec)
        for index in (self.predator, self.prey):
            spec.check_species(index, "FreeOnly")

    def names(self, spec: EngineSpec) -> tuple[str, ...]:
        """The part's names."""
        return self.part.names(spec)

    def _without(self, state: SwarmState, free: Array) -> SwarmState:
        return dataclasses.replace(state, present=state.present & free)

    def init(self, state: SwarmState, space: Space) -> Any:
        """Who is free [N], and the part's memory."""
        free = still_free(state, space, self.radius, self.predator, self.prey)
        return free, self.part.init(self._without(state, free), space)

    def observe(self, state: SwarmState, memory: Any, space: Space) -> tuple[Array, Any]:
        """Return ([N,F], memory)."""
        free, own = memory
        free &= ~captures(state, free, space, self.radius, self.predator, self.prey)[0]
        values, own = self.part.observe(self._without(state, free), own, space)
        return jnp.where((state.present & free)[:, None], values, 0), (free, own)
