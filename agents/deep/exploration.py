"""Exploration beyond the policy's own chance, counted in the loss.

Discrete actions: with probability ε an action is drawn uniformly. What acts is then the mixture
(1 - ε) π + ε/n, and its probabilities are those of the loss. Continuous actions: the noise of an
action remembers that of the decision before (Ornstein and Uhlenbeck; Lillicrap et al.,
arXiv:1509.02971), x_t = ρ x_{t-1} + σ √(1 - ρ²) ξ, so that its variance stays σ². Given x_{t-1},
which the rollout keeps, the action is Gaussian around μ + ρ x_{t-1} with deviation σ √(1 - ρ²).
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp

from swarmctl.agents.deep.policy import Policy
from swarmctl.core.spec import Discrete
from swarmctl.core.tree import pytree, static

Array = jax.Array


@pytree
class Exploration:
    """`epsilon` ε [] in (0, 1) for discrete actions, `correlation` ρ in [0, 1) for others."""

    epsilon: Array | None = None
    correlation: float = static(default=0.0)

    def start(self, policy: Policy, *lead: int) -> Any:
        """The noise [*lead,A] of no decision yet, or nothing."""
        if isinstance(policy.space, Discrete) or not self.correlation:
            return ()
        return jnp.zeros((*lead, policy.space.size), policy.mean.dtype)

    def apply(self, policy: Policy, head: Array, noise: Any) -> tuple[Policy, Array]:
        """Return the policy and its head [...,K] that act while exploring after `noise`."""
        if isinstance(policy.space, Discrete):
            if self.epsilon is None:
                return policy, head
            kept = jnp.log1p(-self.epsilon) + jax.nn.log_softmax(head)
            return policy, jnp.logaddexp(kept, jnp.log(self.epsilon / policy.space.n))
        if not self.correlation:
            return policy, head
        assert policy.log_std is not None
        narrower = policy.log_std + 0.5 * math.log(1 - self.correlation**2)
        return dataclasses.replace(policy, log_std=narrower), head + self.correlation * noise

    def follow(self, head: Array, raw: Array, noise: Any) -> Any:
        """The noise of the decision that took the raw action."""
        return noise if isinstance(noise, tuple) else raw - head
