"""REINFORCE (Williams, Machine Learning 8, 229, 1992) with a learned baseline."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import jax

from swarmctl.agents.deep.actor_critic import ActorCriticConfig, value_loss
from swarmctl.agents.deep.batch import Batch, review, standardised
from swarmctl.agents.deep.exploration import Exploration
from swarmctl.agents.deep.policy import Policy
from swarmctl.core.config import key as config_key
from swarmctl.core.errors import ConfigError

Array = jax.Array


@dataclasses.dataclass(frozen=True)
class ReinforceConfig(ActorCriticConfig):
    """Keys of REINFORCE: PPO's without the clip range.

    One pass over every rollout, since its gradient holds for the policy that acted only. The
    advantage is the discounted return less the baseline; at the end of a rollout that does not end
    the episode, the baseline stands for what is still to come.
    """

    name: ClassVar[str] = "reinforce"

    epochs: int = config_key(1, "passes over a rollout: 1")
    minibatches: int = config_key(1, "minibatches per pass: 1")
    gae_lambda: float = config_key(1.0, "1 for returns; less trusts the baseline more")
    rollout: int = config_key(
        64, "decisions between updates; must divide the horizon or be its multiple"
    )
    learning_rate: float = config_key(1e-2, "Adam's step size at the start")
    final_learning_rate: float = config_key(1e-3, "Adam's step size at the end, reached linearly")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.epochs != 1 or self.minibatches != 1:
            raise ConfigError(
                f"{self.name}: epochs and minibatches must be 1, got {self.epochs} and "
                f"{self.minibatches}; use ppo to pass over a rollout several times."
            )

    def loss(
        self, policy: Policy, batch: Batch, exploration: Exploration | None = None
    ) -> tuple[Array, dict[str, Array]]:
        """Minus log probability times advantage, with value and entropy loss."""
        log_prob, entropy, value = review(policy, batch, exploration or Exploration())
        policy_loss = -batch.mean(log_prob * standardised(batch))
        critic_loss = value_loss(batch, value)
        bonus = batch.mean(entropy)
        figures = {"policy_loss": policy_loss, "value_loss": critic_loss, "entropy": bonus}
        return policy_loss + self.value * critic_loss - self.entropy * bonus, figures
