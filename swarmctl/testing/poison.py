"""Colloids that are not there: what is unknown of them must not reach the others."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from swarmctl.core.state import Space, SwarmState
from swarmctl.envs.functional import begin_episode, continue_episode, make_rules
from swarmctl.envs.scenario import Scenario
from swarmctl.testing.trees import host


def without(swarm: SwarmState, index: int, number: float = float("nan")) -> SwarmState:
    """The swarm without colloid `index`, whose rows hold `number` instead of values."""
    count = swarm.capacity

    def spoil(leaf: Any) -> Any:
        leaf = jnp.asarray(leaf)
        if leaf.ndim == 0 or leaf.shape[0] != count:
            return leaf
        if leaf.dtype == bool:
            return leaf.at[index].set(False)
        return leaf.at[index].set(number) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf

    return dataclasses.replace(jax.tree.map(spoil, swarm), bodies=swarm.bodies)


def absent_rows(scenario: Scenario, swarms: Sequence[SwarmState], space: Space) -> Iterator[str]:
    """Yield breaches when the first colloid is missing from the last of three consecutive
    swarms.
    """
    rules = make_rules(scenario, space.size)

    def run(first: SwarmState, second: SwarmState, last: SwarmState) -> Any:
        _, episode = begin_episode(first, rules, space)
        for swarm in (second, last):
            observation, episode, reward, _, _ = continue_episode(
                swarm, episode, rules, space, scenario.horizon
            )
        return observation, reward

    compiled = jax.jit(run)
    first, second, last = swarms
    unknown = host(compiled(first, second, without(last, 0)))
    placed = host(compiled(first, second, without(last, 0, 1.0)))
    for name, bad, plain in zip(("observation", "reward"), unknown, placed, strict=True):
        if np.any(bad[0] != 0):
            yield f"{name} of an absent colloid is {np.ravel(bad[0])[:4]}, not zero"
        if not np.isfinite(bad[1:]).all():
            yield f"{name} of the others is not finite when a colloid is unknown (NaN)"
        elif not np.array_equal(bad[1:], plain[1:]):
            yield f"{name} of the others depends on where an absent colloid is"
