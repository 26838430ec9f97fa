"""Evolution strategies (Salimans et al., arXiv:1703.03864): keys, and the search direction."""

from __future__ import annotations

import dataclasses
import math
from typing import ClassVar

import jax
import jax.numpy as jnp

from swarmctl.agents.deep.policy import Policy, init_policy
from swarmctl.agents.options import AgentConfig
from swarmctl.core.config import key as config_key
from swarmctl.core.errors import ConfigError
from swarmctl.core.spec import AgentSpec

Array = jax.Array


@dataclasses.dataclass(frozen=True)
class EvolutionConfig(AgentConfig):
    """Keys of evolution strategies. The fitness is the return of whole episodes; no critic."""

    name: ClassVar[str] = "evolution"
    learner: ClassVar[str] = "swarmctl.training.evolution:EvolutionLearner"

    hidden: tuple[int, ...] = config_key((16,), "widths of the hidden layers")
    memory: int = config_key(0, "width of a recurrent cell; 0 for none")
    population: int = config_key(64, "candidates per update, in mirrored pairs; even")
    swarms: int = config_key(4, "swarms per candidate; all candidates meet equal starts and noise")
    deviation: float = config_key(0.1, "standard deviation of the candidates' weights")
    learning_rate: float = config_key(3e-2, "Adam's step size at the start")
    final_learning_rate: float = config_key(3e-3, "Adam's step size at the end, reached linearly")
    decay: float = config_key(1e-3, "weight decay per update")

    def __post_init__(self) -> None:
        if self.population < 2 or self.population % 2:
            raise ConfigError(
                f"{self.name}: population must be even and at least 2, got {self.population}."
            )
        if self.swarms < 1 or self.memory < 0:
            raise ConfigError(f"{self.name}: swarms must be at least 1 and memory at least 0.")
        for field in ("deviation", "learning_rate", "final_learning_rate"):
            if not 0 < getattr(self, field) < math.inf:
                raise ConfigError(
                    f"{self.name}: {field} must be positive and finite, got {getattr(self, field)}."
                )
        if not 0 <= self.decay < 1:
            raise ConfigError(f"{self.name}: decay must lie in [0, 1), got {self.decay}.")
        if not self.hidden or min(self.hidden) < 1:
            raise ConfigError(
                f"{self.name}: hidden needs at least one positive width, got {self.hidden}."
            )

    def fresh(self, key: Array, spec: AgentSpec) -> Policy:
        """Return an untrained policy without a critic; continuous actions are deterministic."""
        policy = init_policy(key, spec, self.hidden, 0.0, self.memory)
        return dataclasses.replace(policy, critic=None, log_std=None)

    def build(self, spec: AgentSpec) -> Policy:
        """Return an untrained policy (from key 0); training starts from its own seeds."""
        return self.fresh(jax.random.key(0), spec)


def centred_ranks(fitness: Array) -> Array:
    """Ranks of fitness [P] from -½ to ½, equal values sharing theirs: only the order counts."""
    below = jnp.sum(fitness[:, None] > fitness[None, :], axis=1)
    above = jnp.sum(fitness[:, None] < fitness[None, :], axis=1)
    return (below - above).astype(fitness.dtype) / (2 * (fitness.shape[0] - 1))


def search_direction(noise: Array, fitness: Array, deviation: float) -> Array:
    """Estimate [W] of the fitness' gradient by mirrored pairs.

    `noise` [P/2,W] is that of the candidates θ + σ ε; `fitness` [P] is first theirs, then that of
    θ - σ ε.
    """
    pairs = noise.shape[0]
    shaped = centred_ranks(fitness)
    return (shaped[:pairs] - shaped[pairs:]) @ noise / (2 * pairs * deviation)
