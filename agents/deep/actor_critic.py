"""Keys that PPO and REINFORCE share: the policy, the rollout, exploration and species."""

from __future__ import annotations

import dataclasses
import math
from abc import abstractmethod
from typing import ClassVar

import jax
import jax.numpy as jnp

from swarmctl.agents.deep.batch import Batch
from swarmctl.agents.deep.exploration import Exploration
from swarmctl.agents.deep.policy import Policy, init_policy
from swarmctl.agents.options import AgentConfig
from swarmctl.core.config import key as config_key
from swarmctl.core.errors import ConfigError
from swarmctl.core.spec import AgentSpec, Continuous

Array = jax.Array


@dataclasses.dataclass(frozen=True)
class ActorCriticConfig(AgentConfig):
    """Keys of agents that learn an actor and a critic from rollouts."""

    learner: ClassVar[str] = "swarmctl.training.learner:Learner"
    engine_learner: ClassVar[str] = "swarmctl.training.engine_learner:EngineLearner"

    hidden: tuple[int, ...] = config_key(
        (32, 32), "widths of the hidden layers of actor and critic"
    )
    memory: int = config_key(0, "width of a recurrent cell in front of both; 0 for none")
    central: bool = config_key(
        False, "the critic also sees the mean over the swarm, which the actor does not"
    )
    swarms: int = config_key(256, "swarms simulated side by side")
    rollout: int = config_key(
        16, "decisions between updates; must divide the horizon or be its multiple"
    )
    epochs: int = config_key(3, "passes over a rollout")
    minibatches: int = config_key(8, "minibatches per pass; must divide swarms")
    learning_rate: float = config_key(3e-3, "Adam's step size at the start")
    final_learning_rate: float = config_key(3e-4, "Adam's step size at the end, reached linearly")
    discount: float = config_key(0.97, "discount per decision")
    gae_lambda: float = config_key(0.95, "decay of the generalised advantage estimate")
    entropy: float = config_key(0.003, "weight of the entropy bonus")
    value: float = config_key(0.5, "weight of the value loss")
    gradient_norm: float = config_key(0.5, "largest norm of the gradient")
    log_std: float = config_key(-0.5, "log standard deviation of continuous actions at the start")
    normalise: bool = config_key(True, "scale observations by their running mean and deviation")
    epsilon: float = config_key(
        0.0, "share of discrete actions that are drawn uniformly, at the start; 0 at the end"
    )
    correlation: float = config_key(
        0.0, "how much of its noise a continuous action inherits from the one before, 0 to 1"
    )
    curiosity: float = config_key(
        0.0, "weight of the bonus for unfamiliar observations (random network distillation)"
    )
    species: tuple[str, ...] = config_key(
        (),
        "agents by species, such as prey=random or prey=<policy folder>; 'name=' learns a policy "
        "of its own; species that are not named share one learned policy",
    )

    def __post_init__(self) -> None:
        name = self.name
        for field in ("swarms", "rollout", "epochs", "minibatches"):
            if getattr(self, field) < 1:
                raise ConfigError(
                    f"{name}: {field} must be at least 1, got {getattr(self, field)}."
                )
        if self.swarms % self.minibatches:
            raise ConfigError(
                f"{name}: {self.minibatches} minibatches do not divide {self.swarms} swarms; "
                f"use a divisor of {self.swarms}."
            )
        for field in ("discount", "gae_lambda"):
            if not 0 <= getattr(self, field) <= 1:
                raise ConfigError(
                    f"{name}: {field} must lie in [0, 1], got {getattr(self, field)}."
                )
        for field in ("epsilon", "correlation"):
            if not 0 <= getattr(self, field) < 1:
                raise ConfigError(
                    f"{name}: {field} must lie in [0, 1), got {getattr(self, field)}."
                )
        for field in ("learning_rate", "final_learning_rate", "gradient_norm"):
            self._require_positive(field)
        for field in ("entropy", "value", "curiosity"):
            if not 0 <= getattr(self, field) < math.inf:
                raise ConfigError(
                    f"{name}: {field} must be at least 0 and finite, got {getattr(self, field)}."
                )
        if not math.isfinite(self.log_std):
            raise ConfigError(f"{name}: log_std must be finite, got {self.log_std}.")
        if not self.hidden or min(self.hidden) < 1:
            raise ConfigError(
                f"{name}: hidden needs at least one positive width, got {self.hidden}."
            )
        if self.memory < 0:
            raise ConfigError(f"{name}: memory must be at least 0, got {self.memory}.")
        self.by_species()

    def _require_positive(self, field: str) -> None:
        if not 0 < getattr(self, field) < math.inf:
            raise ConfigError(
                f"{self.name}: {field} must be positive and finite, got {getattr(self, field)}."
            )

    def by_species(self) -> dict[str, str]:
        """The key `species` as a table. Raises ConfigError for what is not name=agent."""
        table: dict[str, str] = {}
        for text in self.species:
            name, sign, source = text.partition("=")
            if not sign or not name or name in table:
                raise ConfigError(
                    f"{self.name}: species {text!r} must be name=agent, each name once, such as "
                    "prey=random; 'prey=' learns a policy of its own."
                )
            table[name] = source
        return table

    def fresh(self, key: Array, spec: AgentSpec) -> Policy:
        """Return an untrained policy. Raises ConfigError if a key does not fit the actions."""
        continuous = isinstance(spec.action_space, Continuous)
        if self.epsilon and continuous:
            raise ConfigError(
                f"{self.name}: epsilon is for discrete actions, {spec.scenario} has continuous "
                "ones; use correlation, or log_std."
            )
        if self.correlation and not continuous:
            raise ConfigError(
                f"{self.name}: correlation is for continuous actions, {spec.scenario} has discrete "
                "ones; use epsilon."
            )
        return init_policy(key, spec, self.hidden, self.log_std, self.memory, self.central)

    def build(self, spec: AgentSpec) -> Policy:
        """Return an untrained policy (from key 0); training starts from its own seeds."""
        return self.fresh(jax.random.key(0), spec)

    def exploration(self, progress: Array) -> Exploration:
        """Return how to explore when a share `progress` [] of the training is done."""
        epsilon = self.epsilon * (1 - progress) if self.epsilon else None
        return Exploration(epsilon, self.correlation)

    @abstractmethod
    def loss(
        self, policy: Policy, batch: Batch, exploration: Exploration
    ) -> tuple[Array, dict[str, Array]]:
        """Return (loss [], figures to watch) of a policy on a batch."""


def value_loss(batch: Batch, value: Array) -> Array:
    """Half the mean squared difference between values and their targets."""
    return jnp.asarray(0.5 * batch.mean((value - batch.target) ** 2))
