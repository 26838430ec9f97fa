"""What a rollout leaves for learning, and how a policy sees it: shared by all losses.

Losses are means over colloids and time, so that the learning rate does not depend on the number of
colloids.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from swarmctl.agents.deep.exploration import Exploration
from swarmctl.agents.deep.policy import Policy
from swarmctl.core.tree import pytree

Array = jax.Array


@pytree
class Batch:
    """A rollout or a part of it; leading axes [T,B,N], or fewer without memory.

    Attributes:
        observation: [...,F].
        action: raw actions [...] or [...,A].
        log_prob: [...], of the policy that acted.
        advantage, target: [...], target of the value.
        weight: [...], 1 where the colloid was in the episode, else 0.
        noise: [...,A], what correlated exploration remembered, or nothing.
        memory: [1,B,N,H], the recurrent state before the rollout, or nothing.
        restart: bool [T,B,N], where the recurrent state was reset before the decision; None
            without memory.
    """

    observation: Array
    action: Array
    log_prob: Array
    advantage: Array
    target: Array
    weight: Array
    noise: Any = ()
    memory: Any = ()
    restart: Array | None = None

    def mean(self, x: Array) -> Array:
        """Mean of [...] over the weighted samples."""
        return jnp.sum(x * self.weight) / jnp.maximum(jnp.sum(self.weight), 1)


def review(policy: Policy, batch: Batch, exploration: Exploration) -> tuple[Array, Array, Array]:
    """Return (log probability, entropy, value) [...] of a batch under a policy as it is now."""
    scaled = policy.scale(batch.observation)
    features = scaled
    if batch.restart is not None:

        def step(memory: Array, seen: tuple[Array, Array]) -> tuple[Array, Array]:
            observation, restart = seen
            memory = jnp.where(restart[..., None], 0, memory)
            features, memory = policy.features(observation, memory)
            return memory, features

        _, features = jax.lax.scan(step, batch.memory[0], (scaled, batch.restart))
    acting, head = exploration.apply(policy, policy.actor(features), batch.noise)
    log_prob, entropy = acting.log_prob(head, batch.action)
    return log_prob, entropy, policy.judge(features, batch.weight > 0)


def advantages(
    reward: Array, value: Array, bootstrap: Array, ends: Array, discount: float, decay: float
) -> Array:
    """Generalised advantage estimates [T,...] (Schulman et al., arXiv:1506.02438).

    `value` [T,...] is that of the observation acted on, `bootstrap` [T,...] that of the observation
    the action led to, which must be 0 after a termination and the value of the *final* observation
    at a truncation; `ends` bool [T,...] marks both, and cuts the sum there. With `decay` 1 these
    are the discounted returns less the value.
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


def standardised(batch: Batch) -> Array:
    """Advantages [...] less their mean, over their standard deviation."""
    centre = batch.mean(batch.advantage)
    spread = jnp.sqrt(batch.mean((batch.advantage - centre) ** 2) + 1e-12)
    return (batch.advantage - centre) / (spread + 1e-8)
