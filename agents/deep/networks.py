"""Networks as pytrees: multilayer perceptrons, and a recurrent cell."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from swarmctl.core.tree import pytree, static

Array = jax.Array

ACTIVATIONS = {"tanh": jnp.tanh, "relu": jax.nn.relu}


@pytree
class MLP:
    """Layers of tanh or rectified linear units and a linear last layer.

    `weights` [in,out] and `biases` [out] per layer.
    """

    weights: tuple[Array, ...]
    biases: tuple[Array, ...]
    activation: str = static(default="tanh")

    def __call__(self, x: Array) -> Array:
        """Apply to inputs [..., in]; returns [..., out]."""
        bend = ACTIVATIONS[self.activation]
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            x = bend(x @ weight + bias)
        return x @ self.weights[-1] + self.biases[-1]

    @property
    def sizes(self) -> tuple[int, ...]:
        """Width of the input and of every layer."""
        return (self.weights[0].shape[0], *(w.shape[1] for w in self.weights))


@pytree
class GRU:
    """Gated recurrent unit (Cho et al., arXiv:1406.1078, in the form with one reset per gate).

    r, z = σ(x W + h U + b) for each, c = tanh(x W_c + b_c + r (h U_c)), h' = (1 - z) c + z h.
    `weights` W [in,3 H], `recurrent` U [H,3 H], `biases` [3 H], in the order r, z, c.
    """

    weights: Array
    recurrent: Array
    biases: Array

    def __call__(self, x: Array, h: Array) -> Array:
        """Return the new state [..., H] from inputs [..., in] and the state [..., H]."""
        driven = x @ self.weights + self.biases
        fed = h @ self.recurrent
        size = h.shape[-1]
        gates = jax.nn.sigmoid(driven[..., : 2 * size] + fed[..., : 2 * size])
        reset, keep = gates[..., :size], gates[..., size:]
        candidate = jnp.tanh(driven[..., 2 * size :] + reset * fed[..., 2 * size :])
        return (1 - keep) * candidate + keep * h

    @property
    def sizes(self) -> tuple[int, int]:
        """Width of the input and of the state."""
        return (self.weights.shape[0], self.recurrent.shape[0])


def init_mlp(key: Array, sizes: Sequence[int], last_scale: float, dtype: jnp.dtype) -> MLP:
    """Orthogonal weights with gain √2, `last_scale` for the last layer, and zero biases."""
    keys = jax.random.split(key, len(sizes) - 1)
    gains = [2**0.5] * (len(sizes) - 2) + [last_scale]
    weights = tuple(
        jax.nn.initializers.orthogonal(gain)(k, (n_in, n_out), dtype)
        for k, gain, n_in, n_out in zip(keys, gains, sizes[:-1], sizes[1:], strict=True)
    )
    return MLP(weights, tuple(jnp.zeros(n, dtype) for n in sizes[1:]))


def init_gru(key: Array, size: int, hidden: int, dtype: jnp.dtype) -> GRU:
    """Orthogonal weights for every gate, and zero biases."""
    keys = jax.random.split(key, 6)
    make = jax.nn.initializers.orthogonal()
    return GRU(
        jnp.concatenate([make(k, (size, hidden), dtype) for k in keys[:3]], axis=1),
        jnp.concatenate([make(k, (hidden, hidden), dtype) for k in keys[3:]], axis=1),
        jnp.zeros(3 * hidden, dtype),
    )
