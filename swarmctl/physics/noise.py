"""Counter-based noise in 32-bit integer arithmetic: bounded, mean 0, variance 1. See decision 0002.

A weak-order-one scheme needs noise whose first three moments match those of a Gaussian (Kloeden and
Platen, Numerical Solution of Stochastic Differential Equations, section 14.1). Here a value is the
centred sum of the four bytes of a hash of (particle, step, key): mean 0, variance 1, skewness 0,
excess kurtosis -0.30, bounded by 3.45.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp

Array = jax.Array

WORDS_PER_HASH = 4
BOUND = 510 / 21845**0.5
"""Largest absolute value of `unit_noise`."""

_MULTIPLIER = 1664525
_INCREMENT = 1013904223
_SPREAD = (0x7FEB352D, 0x846CA68B)


def _spread(x: Array) -> Array:
    """Mix the bits of every u32 word.

    Lowbias32 of C. Wellons, Hash Prospector, 2018; one to one.
    """
    first, second = (jnp.uint32(v) for v in _SPREAD)
    x = (x ^ (x >> jnp.uint32(16))) * first
    x = (x ^ (x >> jnp.uint32(15))) * second
    return x ^ (x >> jnp.uint32(16))


def hash_words(a: Array, b: Array, c: Array, d: Array) -> tuple[Array, Array, Array, Array]:
    """Hash four u32 arrays (broadcast together) into four u32 arrays, each bit depending on all
    inputs; one to one.

    The pcg4d construction of Jarzynski and Olano, Hash Functions for GPU Rendering, JCGT 9(3),
    2020, between two
    additions: every input word is spread first, without which its highest bits reach too few
    others, and the high halves are folded onto the low ones once more at the end. The inputs are
    spread before they are broadcast, which costs next to nothing.
    """
    multiplier, increment, half = (jnp.uint32(v) for v in (_MULTIPLIER, _INCREMENT, 16))
    a, b, c, d = (_spread(x) * multiplier + increment for x in (a, b, c, d))
    for _ in range(2):
        a = a + b * d
        b = b + c * a
        c = c + a * b
        d = d + b * c
        a, b, c, d = (x ^ (x >> half) for x in (a, b, c, d))
    return a, b, c, d


def unit_noise(word: Array, dtype: jnp.dtype) -> Array:
    """Turn u32 words into noise of mean 0 and variance 1, symmetric and bounded.

    The sum of four bytes.
    """
    low = jnp.uint32(0x00FF00FF)
    pairs = (word & low) + ((word >> jnp.uint32(8)) & low)
    total = (pairs & jnp.uint32(0xFFFF)) + (pairs >> jnp.uint32(16))
    # Four independent bytes: mean 4 * 127.5 = 510, variance 4 * (256**2 - 1) / 12 = 21845.
    return (total.astype(jnp.int32) - 510).astype(dtype) * jnp.asarray(21845**-0.5, dtype)


def particle_noise(
    key_words: Sequence[Array],
    step: Array,
    count: int,
    components: int,
    dtype: jnp.dtype,
    first: int = 0,
) -> list[Array]:
    """Noise of one time step: `components` arrays [count, *batch] of mean 0 and variance 1.

    `key_words` are two u32 arrays [*batch]; (particle, component, step) count from there, so that
    no two calls with different keys or steps share a value. Particles are numbered from `first` on.
    """
    k0, k1 = key_words
    hashes = -(-components // WORDS_PER_HASH)
    index = jnp.arange(first, first + count, dtype=jnp.uint32).reshape((count,) + (1,) * k0.ndim)
    result: list[Array] = []
    for lane in range(hashes):
        counter = index * jnp.uint32(hashes) + jnp.uint32(lane)
        words = hash_words(counter, jnp.asarray(step, jnp.uint32), k0[None], k1[None])
        result.extend(unit_noise(word, dtype) for word in words)
    return result[:components]
