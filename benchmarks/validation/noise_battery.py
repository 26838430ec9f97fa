"""Write the raw bits of the engine's noise to stdout, for batteries of randomness tests.

    python benchmarks/validation/noise_battery.py --order step | dieharder -g 200 -d 0

`--order` says which of particle, step and key counts fastest; keys are 0, 1, 2, …, the hardest
choice, while the engine's are random. `--word` takes one of the four words of every hash instead of
all. The stream has no end of its own: it stops when its reader does. Results are in
docs/decisions/0002-noise.md.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np

from swarmctl.physics.noise import hash_words

CHUNK = 1 << 19
PARTICLES, STEPS, KEYS = 64, 1024, 1 << 16
"""Radices: how far particle and step count, and in order `key` the key."""
ORDERS = {
    "particle": (("particle", PARTICLES), ("step", STEPS)),
    "step": (("step", STEPS), ("particle", PARTICLES)),
    "key": (("key", KEYS), ("particle", PARTICLES)),
}
"""The two fastest counters and their radices; the third one counts on without end."""


def counters(order: str, start: int) -> dict[str, np.ndarray]:
    """Return particle, step and key [CHUNK] of the hashes from `start` on."""
    index = np.arange(start, start + CHUNK, dtype=np.uint64)
    result = {}
    for name, radix in ORDERS[order]:
        index, result[name] = np.divmod(index, np.uint64(radix))
    (last,) = {"particle", "step", "key"} - set(result)
    return {**result, last: index}


@jax.jit
def _hash(
    particle: jax.Array, step: jax.Array, low: jax.Array, high: jax.Array
) -> tuple[jax.Array, ...]:
    return hash_words(particle, step, low, high)


def chunks(order: str, word: int | None) -> Iterator[np.ndarray]:
    """Yield u32 arrays without end: all words of every hash, or only one."""
    start, half = 0, np.uint64(32)
    while True:
        at = counters(order, start)
        low, high = at["key"].astype(np.uint32), (at["key"] >> half).astype(np.uint32)
        parts = (at["particle"].astype(np.uint32), at["step"].astype(np.uint32), low, high)
        words = _hash(*(jnp.asarray(part) for part in parts))
        yield np.stack(words, axis=-1).ravel() if word is None else np.asarray(words[word])
        start += CHUNK


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--order", choices=sorted(ORDERS), default="particle")
    parser.add_argument("--word", type=int, choices=range(4), default=None)
    options = parser.parse_args()
    try:
        for words in chunks(options.order, options.word):
            sys.stdout.buffer.write(words.tobytes())
    except BrokenPipeError:
        # Python flushes stdout at exit; give it somewhere to flush to.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    main()
