"""Random network distillation (Burda et al., arXiv:1810.12894): a bonus for the unfamiliar.

A predictor learns the outputs of a fixed random network on what was seen. Where it still errs, the
observation is new. The bonus is the mean squared error over its running root mean square.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from swarmctl.agents.deep.networks import MLP, init_mlp
from swarmctl.core.tree import pytree

Array = jax.Array

FEATURES = 16
"""Outputs of the random network."""


@pytree
class Curiosity:
    """`target` is fixed, `predictor` learns it; `square` [] is the running mean of the squared
    error, `count` [] what it is the mean of.
    """

    target: MLP
    predictor: MLP
    square: Array
    count: Array

    def error(self, scaled: Array) -> Array:
        """Mean squared error [...] of the predictor on scaled observations [...,F]."""
        return jnp.mean((self.predictor(scaled) - self.target(scaled)) ** 2, axis=-1)

    def bonus(self, scaled: Array) -> Array:
        """The error [...] over its running root mean square; 0 before anything was seen."""
        usual = jnp.sqrt(self.square / jnp.maximum(self.count, 1))
        return jnp.where(self.count > 0, self.error(scaled) / jnp.maximum(usual, 1e-12), 0)


def init_curiosity(key: Array, size: int, hidden: tuple[int, ...], dtype: jnp.dtype) -> Curiosity:
    """Two different random networks."""
    keys = jax.random.split(key)
    target, predictor = (init_mlp(k, (size, *hidden, FEATURES), 1.0, dtype) for k in keys)
    return Curiosity(target, predictor, jnp.zeros((), dtype), jnp.zeros((), dtype))
