"""Multilayer perceptrons as pytrees."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from swarmctl.core.tree import pytree

Array = jax.Array


@pytree
class MLP:
    """Layers of tanh units and a linear last layer.

    `weights` [in,out] and `biases` [out] per layer.
    """

    weights: tuple[Array, ...]
    biases: tuple[Array, ...]

    def __call__(self, x: Array) -> Array:
        """Apply to inputs [..., in]; returns [..., out]."""
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            x = jnp.tanh(x @ weight + bias)
        return x @ self.weights[-1] + self.biases[-1]

    @property
    def sizes(self) -> tuple[int, ...]:
        """Width of the input and of every layer."""
        return (self.weights[0].shape[0], *(w.shape[1] for w in self.weights))


def init_mlp(key: Array, sizes: Sequence[int], last_scale: float, dtype: jnp.dtype) -> MLP:
    """Orthogonal weights with gain √2, `last_scale` for the last layer, and zero biases."""
    keys = jax.random.split(key, len(sizes) - 1)
    gains = [2**0.5] * (len(sizes) - 2) + [last_scale]
    weights = tuple(
        jax.nn.initializers.orthogonal(gain)(k, (n_in, n_out), dtype)
        for k, gain, n_in, n_out in zip(keys, gains, sizes[:-1], sizes[1:], strict=True)
    )
    return MLP(weights, tuple(jnp.zeros(n, dtype) for n in sizes[1:]))
