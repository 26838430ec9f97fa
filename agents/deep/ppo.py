"""Proximal policy optimisation (Schulman et al., arXiv:1707.06347)."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp

from swarmctl.agents.deep.actor_critic import ActorCriticConfig, value_loss
from swarmctl.agents.deep.batch import Batch, review, standardised
from swarmctl.agents.deep.exploration import Exploration
from swarmctl.agents.deep.policy import Policy
from swarmctl.core.config import key as config_key

Array = jax.Array


@dataclasses.dataclass(frozen=True)
class PPOConfig(ActorCriticConfig):
    """Keys of PPO."""

    name: ClassVar[str] = "ppo"

    clip: float = config_key(0.2, "clip range of the probability ratio")

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require_positive("clip")

    def loss(
        self, policy: Policy, batch: Batch, exploration: Exploration | None = None
    ) -> tuple[Array, dict[str, Array]]:
        """Clipped surrogate, value and entropy loss, averaged over the weighted samples."""
        log_prob, entropy, value = review(policy, batch, exploration or Exploration())
        advantage = standardised(batch)
        log_ratio = log_prob - batch.log_prob
        ratio = jnp.exp(log_ratio)
        clipped = jnp.clip(ratio, 1 - self.clip, 1 + self.clip)
        policy_loss = -batch.mean(jnp.minimum(ratio * advantage, clipped * advantage))
        critic_loss = value_loss(batch, value)
        bonus = batch.mean(entropy)
        figures = {
            "policy_loss": policy_loss,
            "value_loss": critic_loss,
            "entropy": bonus,
            "kl": batch.mean(ratio - 1 - log_ratio),
            "clipped": batch.mean((jnp.abs(ratio - 1) > self.clip).astype(ratio.dtype)),
        }
        return policy_loss + self.value * critic_loss - self.entropy * bonus, figures


@dataclasses.dataclass(frozen=True)
class RecurrentPPOConfig(PPOConfig):
    """Keys of PPO with a recurrent cell, which learns what to remember of the past."""

    name: ClassVar[str] = "recurrent-ppo"

    memory: int = config_key(32, "width of a recurrent cell in front of both; 0 for none")
