"""Figures of episodes: of an evaluation, and those that are logged while a policy learns."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from swarmctl.agents.deep.batch import Batch
from swarmctl.core.spec import EngineSpec

Array = jax.Array


@dataclass(frozen=True)
class Evaluation:
    """What an agent earned, over E swarms and T decisions.

    Attributes:
        returns: [E], reward summed over the episode and averaged over the colloids.
        species_returns: [E,S], the same for the colloids of every species.
        measure: [E,T], mean of the scenario's measure after every decision over the colloids that
            took it; when all have left the episode, the last one.
    """

    returns: np.ndarray
    species_returns: np.ndarray
    measure: np.ndarray

    @property
    def final_measure(self) -> np.ndarray:
        """Mean of the measure over the last quarter of the episode, [E]."""
        length = self.measure.shape[1]
        return self.measure[:, -max(length // 4, 1) :].mean(axis=1)


def mean_rewards(reward: Array, weight: Array, engine: EngineSpec) -> Array:
    """Mean reward [B,1+S] of all colloids in the episode, and of every species.

    `reward` [B,N], `weight` [B,N] is 1 for those in the episode.
    """
    of_slot = jnp.asarray(engine.species_of_slot)
    masks = [jnp.ones_like(of_slot, bool)] + [of_slot == s for s in range(len(engine.species))]
    return jnp.stack(
        [jnp.sum(reward * m, -1) / jnp.maximum(jnp.sum(weight * m, -1), 1) for m in masks],
        axis=-1,
    )


def episode_figures(log: dict[str, Array], species: tuple[str, ...]) -> dict[str, Array]:
    """Figures of the episodes that ended during a rollout."""
    count = jnp.sum(log["episodes"])
    returned = jnp.sum(log["returned"], axis=0) / count
    figures = {
        "episode_return": returned[0],
        "episodes": count,
        "final_measure": jnp.sum(log["measured"]) / jnp.sum(log["ended"]),
        "reward": jnp.sum(log["reward"]) / jnp.maximum(jnp.sum(log["weight"]), 1),
        "failed": jnp.any(log["failed"]),
    }
    if len(species) > 1:
        figures |= {f"{name}/episode_return": returned[i + 1] for i, name in enumerate(species)}
    return figures


def explained_variance(batch: Batch) -> Array:
    """1 - Var(target - value)/Var(target) over the weighted samples."""

    def variance(x: Array) -> Array:
        return batch.mean((x - batch.mean(x)) ** 2)

    return 1 - variance(batch.advantage) / jnp.maximum(variance(batch.target), 1e-12)
