"""Proximal policy optimisation (Schulman et al., arXiv:1707.06347): keys, advantages and loss.

The loss is a mean over colloids and time, so that the learning rate does not depend on the number
of colloids.
"""

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
from swarmctl.core.tree import pytree

Array = jax.Array


@dataclasses.dataclass(frozen=True)
class PPOConfig(AgentConfig):
    """Keys of PPO."""

    name: ClassVar[str] = "ppo"
    learns: ClassVar[bool] = True

    hidden: tuple[int, ...] = config_key(
        (32, 32), "widths of the hidden layers of actor and critic"
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
    clip: float = config_key(0.2, "clip range of the probability ratio")
    entropy: float = config_key(0.003, "weight of the entropy bonus")
    value: float = config_key(0.5, "weight of the value loss")
    gradient_norm: float = config_key(0.5, "largest norm of the gradient")
    log_std: float = config_key(-0.5, "log standard deviation of continuous actions at the start")
    normalise: bool = config_key(True, "scale observations by their running mean and deviation")

    def __post_init__(self) -> None:
        for name in ("swarms", "rollout", "epochs", "minibatches"):
            if getattr(self, name) < 1:
                raise ConfigError(f"ppo: {name} must be at least 1, got {getattr(self, name)}.")
        if self.swarms % self.minibatches:
            raise ConfigError(
                f"ppo: {self.minibatches} minibatches do not divide {self.swarms} swarms; "
                f"use a divisor of {self.swarms}."
            )
        for name in ("discount", "gae_lambda"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"ppo: {name} must lie in [0, 1], got {getattr(self, name)}.")
        for name in ("learning_rate", "final_learning_rate", "clip", "gradient_norm"):
            if not 0 < getattr(self, name) < math.inf:
                raise ConfigError(
                    f"ppo: {name} must be positive and finite, got {getattr(self, name)}."
                )
        for name in ("entropy", "value"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ConfigError(
                    f"ppo: {name} must be at least 0 and finite, got {getattr(self, name)}."
                )
        if not math.isfinite(self.log_std):
            raise ConfigError(f"ppo: log_std must be finite, got {self.log_std}.")
        if not self.hidden or min(self.hidden) < 1:
            raise ConfigError(f"ppo: hidden needs at least one positive width, got {self.hidden}.")

    def build(self, spec: AgentSpec) -> Policy:
        """Return an untrained policy (from key 0); training starts from its own seeds."""
        return init_policy(jax.random.key(0), spec, self.hidden, self.log_std)


@pytree
class Batch:
    """A rollout or a part of it; leading axes [T,B,N] or fewer.

    observation [...,F], raw action [...] or [...,A], log_prob, advantage, target value, weight (1
    where the colloid was in the episode, else 0).
    """

    observation: Array
    action: Array
    log_prob: Array
    advantage: Array
    target: Array
    weight: Array


def advantages(
    reward: Array, value: Array, bootstrap: Array, ends: Array, discount: float, decay: float
) -> Array:
    """Generalised advantage estimates [T,...] (Schulman et al., arXiv:1506.02438).

    `value` [T,...] is that of the observation acted on, `bootstrap` [T,...] that of the observation
    the action led to, which must be 0 after a termination and the value of the *final* observation
    at a truncation; `ends` bool [T,...] marks both, and cuts the sum there.
    """

    def backward(next_advantage: Array, step: tuple[Array, ...]) -> tuple[Array, Array]:
        r, v, v_next, end = step
        surprise = r + discount * v_next - v
        advantage = surprise + discount * decay * jnp.where(end, 0, next_advantage)
        return advantage, advantage

    _, result = jax.lax.scan(
        backward, jnp.zeros_like(reward[0]), (reward, value, bootstrap, ends), reverse=True
    )
    return result


def loss(policy: Policy, batch: Batch, config: PPOConfig) -> tuple[Array, dict[str, Array]]:
    """Clipped surrogate, value and entropy loss, averaged over the weighted samples.

    And figures to watch.
    """
    total = jnp.maximum(jnp.sum(batch.weight), 1)

    def mean(x: Array) -> Array:
        return jnp.sum(x * batch.weight) / total

    scaled = policy.scale(batch.observation)
    log_prob, entropy = policy.log_prob(policy.actor(scaled), batch.action)
    value = policy.critic(scaled)[..., 0]
    centre = mean(batch.advantage)
    spread = jnp.sqrt(mean((batch.advantage - centre) ** 2) + 1e-12)
    advantage = (batch.advantage - centre) / (spread + 1e-8)
    log_ratio = log_prob - batch.log_prob
    ratio = jnp.exp(log_ratio)
    clipped = jnp.clip(ratio, 1 - config.clip, 1 + config.clip)
    policy_loss = -mean(jnp.minimum(ratio * advantage, clipped * advantage))
    value_loss = 0.5 * mean((value - batch.target) ** 2)
    bonus = mean(entropy)
    total_loss = policy_loss + config.value * value_loss - config.entropy * bonus
    figures = {
        "policy_loss": policy_loss,
        "value_loss": value_loss,
        "entropy": bonus,
        "kl": mean(ratio - 1 - log_ratio),
        "clipped": mean((jnp.abs(ratio - 1) > config.clip).astype(ratio.dtype)),
    }
    return total_loss, figures
