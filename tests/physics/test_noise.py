"""The noise: exact moments, independence, and a battery of classical tests on the raw bits.

Streams are fixed, so nothing here is left to chance. A family of tests fails if a p-value is
below ALPHA divided by the number of its p-values (Bonferroni), ALPHA being fixed beforehand.
NIST: SP 800-22 revision 1a; Marsaglia: the Diehard battery, 1995.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats

from swarmctl.physics import noise

ALPHA = 1e-3
U32 = np.uint32
Words = tuple[np.ndarray, ...]


# An independent implementation, for the reference and for speed.


def reference_hash(*words: np.ndarray) -> Words:
    """lowbias32 on every word, then pcg4d with its last fold repeated."""

    def spread(x: np.ndarray) -> np.ndarray:
        x = (x ^ (x >> U32(16))) * U32(2146121005)
        x = (x ^ (x >> U32(15))) * U32(2221713035)
        return x ^ (x >> U32(16))

    with np.errstate(over="ignore"):
        a, b, c, d = (spread(np.asarray(w, U32)) * U32(1664525) + U32(1013904223) for w in words)
        for _ in range(2):
            a = a + b * d
            b = b + c * a
            c = c + a * b
            d = d + b * c
            a, b, c, d = (x ^ (x >> U32(16)) for x in (a, b, c, d))
    return a, b, c, d


def byte_sum(word: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(word).view(np.uint8).reshape(*word.shape, 4).sum(-1, dtype=np.int32)


def reference_noise(word: np.ndarray, dtype: type = np.float32) -> np.ndarray:
    return (byte_sum(word) - 510).astype(dtype) * dtype(21845**-0.5)


def random_words(count: int, seed: int = 0) -> Words:
    return tuple(np.random.default_rng(seed).integers(0, 1 << 32, (4, count), dtype=U32))


def test_hash_and_noise_equal_the_reference_bit_for_bit() -> None:
    words = random_words(1 << 14)
    for w in words:
        w[:3] = (0, 1, 0xFFFFFFFF)
    expected = reference_hash(*words)
    result = jax.jit(noise.hash_words)(*words)
    for found, wanted in zip(result, expected, strict=True):
        assert found.dtype == jnp.uint32
        np.testing.assert_array_equal(np.asarray(found), wanted)
    unit = jax.jit(noise.unit_noise, static_argnums=1)(expected[0], jnp.float32)
    np.testing.assert_array_equal(np.asarray(unit), reference_noise(expected[0]))


@pytest.mark.parametrize("components", [3, 6])
def test_particle_noise_counts_particle_lane_and_step(components: int) -> None:
    """Component c of particle i is word c % 4 of the hash of (i x hashes + c // 4, step, key)."""
    keys = random_words(5, seed=1)[:2]
    found = noise.particle_noise(tuple(map(jnp.asarray, keys)), 77, 7, components, jnp.float32)
    assert len(found) == components
    hashes = -(-components // 4)
    for c, values in enumerate(found):
        counter = np.arange(7, dtype=U32)[:, None] * U32(hashes) + U32(c // 4)
        word = np.broadcast_arrays(*reference_hash(counter, U32(77), *keys))[c % 4]
        np.testing.assert_array_equal(np.asarray(values), reference_noise(word))


def test_hash_is_one_to_one() -> None:
    """Every step can be undone, so that different counters never give the same four words."""
    half, inverse = U32(16), U32(pow(1664525, -1, 1 << 32))
    words = random_words(1000, seed=2)
    a, b, c, d = (np.asarray(x) for x in noise.hash_words(*words))
    for _ in range(2):
        a, b, c, d = (x ^ (x >> half) for x in (a, b, c, d))
        d = d - b * c
        c = c - a * b
        b = b - c * a
        a = a - b * d
    for x, wanted in zip((a, b, c, d), words, strict=True):
        x = (x - U32(1013904223)) * inverse
        x = (x ^ (x >> half)) * U32(pow(2221713035, -1, 1 << 32))
        x = x ^ (x >> U32(15)) ^ (x >> U32(30))
        x = x * U32(pow(2146121005, -1, 1 << 32))
        np.testing.assert_array_equal(x ^ (x >> half), wanted)


# The distribution of one value


@functools.cache
def exact_distribution() -> np.ndarray:
    """Number of the 2^32 words whose bytes sum to s, for s = 0 … 1020."""
    byte = np.ones(256, np.int64)
    pair = np.convolve(byte, byte)
    return np.convolve(pair, pair)


def test_moments_are_exact() -> None:
    """Mean 0, variance 1, skewness 0; kurtosis of four uniforms on b = 256 values below."""
    counts = exact_distribution()
    assert counts.sum() == 1 << 32
    # unit_noise as the engine computes it, at every sum: a word whose bytes add up to s.
    sums = np.arange(1021)
    parts = [np.clip(sums - 255 * k, 0, 255) for k in range(4)]
    word = sum(part.astype(U32) << U32(8 * k) for k, part in enumerate(parts))
    value = np.asarray(noise.unit_noise(jnp.asarray(word), jnp.float32), np.float64)
    weight = counts / counts.sum()
    mean, variance, third, fourth = (float(weight @ value**k) for k in (1, 2, 3, 4))
    assert abs(mean) < 1e-12
    assert abs(third) < 1e-12
    assert variance == pytest.approx(1, abs=2e-7)  # float32 rounding of 21845^(-1/2)
    kurtosis = 3 - 6 * (256**2 + 1) / (20 * (256**2 - 1))
    assert kurtosis == pytest.approx(2.7, abs=1e-5)
    assert fourth == pytest.approx(kurtosis, abs=1e-6)
    assert np.abs(value).max() == pytest.approx(noise.BOUND, rel=1e-7)
    assert pytest.approx(510 / math.sqrt(21845)) == noise.BOUND


def test_any_word_gives_the_sum_of_its_bytes() -> None:
    """Exhaustive over each half of the word, with the other half all zeros and all ones."""
    half = np.arange(1 << 16, dtype=U32)
    for word in (half, half << U32(16), half | U32(0xFFFF0000), half << U32(16) | U32(0xFFFF)):
        found = np.asarray(noise.unit_noise(jnp.asarray(word), jnp.float32))
        np.testing.assert_array_equal(found, reference_noise(word))


def test_values_follow_the_exact_distribution() -> None:
    """Chi-squared of 2^22 values against four convolved uniform bytes, sums pooled by 8."""
    index = np.arange(1 << 20, dtype=U32)
    sums = byte_sum(np.stack(reference_hash(index % U32(64), index // U32(64), U32(0), U32(0))))
    weight = exact_distribution() / 2**32
    edges = np.arange(204, 820, 8)
    group = np.digitize(np.arange(1021), edges)
    expected = np.bincount(group, weights=weight) * sums.size
    observed = np.bincount(np.digitize(sums.ravel(), edges), minlength=expected.size)
    assert expected.min() > 20
    assert stats.chisquare(observed, expected * (observed.sum() / expected.sum())).pvalue > ALPHA


# Independence of the values that the engine draws


def judge(scores: np.ndarray, what: str) -> None:
    """Scores are N(0, 1) if independent: judge the largest (Bonferroni) and the sum of squares."""
    scores = np.asarray(scores).ravel()
    worst = float(np.abs(scores).max())
    p_worst = min(1.0, 2 * stats.norm.sf(worst) * scores.size)
    p_sum = stats.chi2.sf((scores**2).sum(), scores.size)
    message = (
        f"{what}: worst {worst:.2f} sigma of {scores.size}, p {p_worst:.2g}, sum p {p_sum:.2g}"
    )
    assert p_worst > ALPHA, message
    assert p_sum > ALPHA, message


def draw(k0: np.ndarray, k1: np.ndarray, steps: int, count: int, components: int) -> np.ndarray:
    """Noise [key, step, particle, component] from the engine's own function."""
    keys = (jnp.asarray(k0, jnp.uint32), jnp.asarray(k1, jnp.uint32))

    def one(step: jax.Array) -> jax.Array:
        return jnp.stack(noise.particle_noise(keys, step, count, components, jnp.float32))

    values = jax.jit(jax.vmap(one))(jnp.arange(steps))
    return np.asarray(values).transpose(3, 0, 2, 1)


def special_keys() -> tuple[np.ndarray, np.ndarray]:
    """Zero, adjacent and all-ones keys, and every key with one bit set."""
    bits = [1 << k for k in range(64)]
    keys = [0, *bits, 3, 5, 6, 7, (1 << 32) - 1, (1 << 64) - 1, 3 << 30, 3 << 62, 1 << 32 | 1]
    return np.array([k & 0xFFFFFFFF for k in keys], U32), np.array([k >> 32 for k in keys], U32)


POWERS = {
    "values": lambda x: x,
    # mean 1 and variance 1.7 = kurtosis - 1
    "squares": lambda x: (x**2 - 1) / math.sqrt(1.7),
}


@pytest.fixture(scope="module")
def keyed() -> np.ndarray:
    return draw(*special_keys(), steps=64, count=32, components=6)


@pytest.mark.parametrize("power", POWERS)
def test_keys_that_differ_by_one_bit_give_independent_noise(power: str, keyed: np.ndarray) -> None:
    flat = POWERS[power](keyed.astype(np.float64)).reshape(len(keyed), -1)
    scores = flat @ flat.T / math.sqrt(flat.shape[1])
    judge(scores[np.triu_indices(len(flat), 1)], f"pairs of keys, {power}")


@pytest.mark.parametrize("power", POWERS)
def test_components_and_particles_are_independent(power: str, keyed: np.ndarray) -> None:
    x = POWERS[power](keyed.astype(np.float64))
    x = x.transpose(2, 3, 0, 1).reshape(32 * 6, -1)
    scores = x @ x.T / math.sqrt(x.shape[1])
    judge(scores[np.triu_indices(len(x), 1)], f"particle components, {power}")


@pytest.mark.parametrize("power", POWERS)
def test_noise_is_white_in_time(power: str) -> None:
    """Autocorrelation of each component up to lag 64 and at powers of two, for the zero key."""
    zero = np.zeros(1, U32)
    x = POWERS[power](draw(zero, zero, steps=1 << 13, count=16, components=3)[0].astype(np.float64))
    lags = [*range(1, 65), 128, 256, 512, 1024, 2048, 4096]
    scores = [(x[:-lag] * x[lag:]).sum((0, 1)) / math.sqrt(16 * (len(x) - lag)) for lag in lags]
    judge(np.array(scores), f"time lags, {power}")
    judge(x.sum(0) / math.sqrt(len(x)), f"means, {power}")


def test_variance_does_not_add_up_wrongly_over_time() -> None:
    """The sum over many steps is a random walk: its variance is the number of steps (2 % here)."""
    rng = np.random.default_rng(3)
    keys = rng.integers(0, 1 << 32, (2, 512), dtype=U32)
    walk = draw(*keys, steps=128, count=16, components=3).sum(1)
    # standard error sqrt(2/24576) = 0.9 %; a correlation of 1e-4 between all steps would give 1.3 %
    assert walk.var() / 128 == pytest.approx(1, abs=4 * math.sqrt(2 / walk.size))
    assert abs(walk.mean()) < 4 * math.sqrt(128 / walk.size)


# Avalanche


@pytest.mark.parametrize("inputs", ["random", "counters"])
def test_every_input_bit_flips_every_output_bit_with_probability_one_half(inputs: str) -> None:
    count = 1 << 14
    words = random_words(count, seed=4)
    if inputs == "counters":
        words = (words[0] % U32(64), words[1] % U32(1024), words[2] % U32(256), words[3] * U32(0))
    before = reference_hash(*words)
    scores = []
    for which in range(4):
        for bit in range(32):
            flipped = list(words)
            flipped[which] = words[which] ^ U32(1 << bit)
            after = reference_hash(*flipped)
            for x, y in zip(before, after, strict=True):
                changed = np.unpackbits((x ^ y).view(np.uint8).reshape(count, 4), axis=1)
                scores.append((changed.sum(0, dtype=np.int64) - count / 2) / math.sqrt(count / 4))
    scores = np.stack(scores)
    assert scores.shape == (4 * 32 * 4, 32)
    judge(scores, f"avalanche, {inputs}")


# A battery on the raw bits. Every test takes u32 words and returns p-values.


def to_bits(words: np.ndarray) -> np.ndarray:
    return np.unpackbits(words.view(np.uint8))


def monobit(words: np.ndarray) -> list[float]:
    bits = to_bits(words)
    return [
        math.erfc(abs(2 * int(bits.sum(dtype=np.int64)) - bits.size) / math.sqrt(2 * bits.size))
    ]


def block_frequency(words: np.ndarray) -> list[float]:
    ones = to_bits(words).reshape(-1, 128).sum(1)
    return [stats.chi2.sf(4 / 128 * ((ones - 64.0) ** 2).sum(), ones.size)]


def runs(words: np.ndarray) -> list[float]:
    bits = to_bits(words)
    n, share = bits.size, float(bits.mean())
    number = 1 + np.count_nonzero(bits[1:] != bits[:-1])
    wanted = 2 * n * share * (1 - share)
    return [math.erfc(abs(number - wanted) / (2 * math.sqrt(2 * n) * share * (1 - share)))]


@functools.cache
def longest_run_distribution(length: int, low: int, high: int) -> tuple[float, ...]:
    """P(longest run of ones <= low), = low+1, …, >= high among `length` fair bits."""

    def at_most(k: int) -> float:
        # a[m]: no run longer than k among m bits; the first zero comes after j <= k ones.
        a = [1.0] * (k + 1)
        while len(a) <= length:
            m = len(a)
            a.append(sum(a[m - 1 - j] / 2 ** (j + 1) for j in range(k + 1)))
        return a[length]

    below = [at_most(k) for k in range(low, high)]
    return (below[0], *np.diff(below), 1 - below[-1])


def longest_run(words: np.ndarray) -> list[float]:
    length, low, high = 4096, 9, 15
    blocks = to_bits(words).reshape(-1, length)
    run = blocks
    reached = np.zeros(len(blocks), int)
    for size in range(2, high + 1):
        run = run[:, :-1] & blocks[:, size - 1 :]
        if size > low:
            reached += run.any(axis=1)
    expected = np.array(longest_run_distribution(length, low, high)) * len(blocks)
    return [stats.chisquare(np.bincount(reached, minlength=expected.size), expected).pvalue]


def poker(words: np.ndarray) -> list[float]:
    """Non-overlapping patterns of 4, 8 and 16 bits."""
    octets = words.view(np.uint8)
    nibbles = np.concatenate([octets & 15, octets >> 4])
    return [
        stats.chisquare(np.bincount(x, minlength=1 << m)).pvalue
        for m, x in ((4, nibbles), (8, octets), (16, words.view(np.uint16)))
    ]


def pattern_counts(bits: np.ndarray, m: int) -> np.ndarray:
    ring = np.concatenate([bits, bits[: m - 1]]).astype(np.uint16)
    code = np.zeros(bits.size, np.uint16)
    for k in range(m):
        code = code << np.uint16(1) | ring[k : k + bits.size]
    return np.bincount(code, minlength=1 << m)


def serial_and_entropy(words: np.ndarray) -> list[float]:
    """Serial test (two p-values) and approximate entropy, with overlapping patterns."""
    bits, m = to_bits(words[: 1 << 15]), 9
    n = bits.size
    counts = [pattern_counts(bits, k) for k in (m - 1, m, m + 1)]
    psi = [
        2.0**k / n * (c.astype(float) ** 2).sum() - n
        for k, c in zip((m - 1, m, m + 1), counts, strict=True)
    ]
    phi = [special.xlogy(c / n, c / n).sum() for c in counts[:2]]
    entropy = phi[0] - phi[1]
    return [
        stats.chi2.sf(psi[2] - psi[1], 2**m),
        stats.chi2.sf(psi[2] - 2 * psi[1] + psi[0], 2 ** (m - 1)),
        stats.chi2.sf(2 * n * (math.log(2) - entropy), 2 ** (m - 1)),
    ]


def cumulative_sums(words: np.ndarray) -> list[float]:
    """Largest excursion of the walk, forward and backward."""
    walk = np.cumsum(2 * to_bits(words).astype(np.int8) - 1, dtype=np.int32)
    n, root = walk.size, math.sqrt(walk.size)
    p_values = []
    for z in (int(np.abs(walk).max()), int(np.abs(walk[-1] - np.append(walk[:-1], 0)).max())):
        k = np.arange(int((-n / z + 1) // 4), int((n / z - 1) // 4) + 1)
        j = np.arange(int((-n / z - 3) // 4), int((n / z - 1) // 4) + 1)
        cdf = special.ndtr
        first = (cdf((4 * k + 1) * z / root) - cdf((4 * k - 1) * z / root)).sum()
        second = (cdf((4 * j + 3) * z / root) - cdf((4 * j + 1) * z / root)).sum()
        p_values.append(min(1.0, max(0.0, 1 - first + second)))
    return p_values


def spectral(words: np.ndarray) -> list[float]:
    """Peaks of the Fourier transform below the 95 % threshold; sigma² = n 0.95 0.05/4 (NIST)."""
    blocks = 2 * to_bits(words[: 1 << 16]).reshape(-1, 1 << 16).astype(np.float32) - 1
    n = blocks.shape[1]
    magnitude = np.abs(np.fft.rfft(blocks, axis=1))[:, : n // 2]
    below = (magnitude < math.sqrt(n * math.log(20))).sum(1)
    scores = (below - 0.95 * n / 2) / math.sqrt(n * 0.95 * 0.05 / 4)
    return [
        stats.chi2.sf((scores**2).sum(), scores.size),
        2 * stats.norm.sf(abs(scores.sum()) / math.sqrt(scores.size)),
    ]


def birthday_spacings(words: np.ndarray) -> list[float]:
    """512 birthdays in 2^24 days: repeated spacings are Poisson with mean 512³/2^26 = 2."""
    p_values = []
    for shift in (0, 8):
        days = ((words >> U32(shift)) & U32(0xFFFFFF)).reshape(-1, 512).astype(np.int64)
        spacing = np.sort(np.diff(np.sort(days, axis=1), axis=1), axis=1)
        repeats = (spacing[:, 1:] == spacing[:, :-1]).sum(1)
        weight = stats.poisson.pmf(np.arange(6), 2.0)
        expected = np.append(weight, 1 - weight.sum()) * len(days)
        observed = np.bincount(np.minimum(repeats, 6), minlength=7)
        p_values.append(stats.chisquare(observed, expected).pvalue)
    return p_values


def matrix_rank(words: np.ndarray) -> list[float]:
    """Ranks over GF(2) of 32 x 32 matrices, one word a row; P(32 - r) = product formula."""
    rows = words[: 1 << 17].reshape(-1, 32).T.copy()
    count = rows.shape[1]
    rank = np.zeros(count, int)
    every = np.arange(count)
    for bit in range(32):
        has = (rows >> U32(bit)) & U32(1)
        has = has.astype(bool) & (np.arange(32)[:, None] >= rank)
        found = has.any(0)
        pivot = np.where(found, has.argmax(0), 0)
        target = np.minimum(rank, 31)
        chosen, displaced = rows[pivot, every], rows[target, every]
        rows[pivot, every] = np.where(found, displaced, rows[pivot, every])
        rows[target, every] = np.where(found, chosen, rows[target, every])
        clear = ((rows >> U32(bit)) & U32(1)).astype(bool) & found
        clear &= np.arange(32)[:, None] > rank
        rows ^= np.where(clear, chosen, U32(0))
        rank += found

    def probability(r: int) -> float:
        i = np.arange(r)
        factor = (1 - 2.0 ** (i - 32)) ** 2 / (1 - 2.0 ** (i - r))
        return float(2.0 ** (r * (64 - r) - 1024) * factor.prod())

    full, one = probability(32), probability(31)
    expected = np.array([1 - full - one, one, full]) * count
    return [stats.chisquare(np.bincount(np.maximum(rank, 30) - 30, minlength=3), expected).pvalue]


def bit_positions(words: np.ndarray) -> list[float]:
    """Each of the 32 bits is set half of the time, and equals its neighbour half of the time."""
    n = words.size
    p_values = []
    for k in range(32):
        bit = (words >> U32(k)) & U32(1)
        other = (words >> U32((k + 1) % 32)) & U32(1)
        for ones in (int(bit.sum()), int((bit ^ other).sum()), int((bit[1:] ^ bit[:-1]).sum())):
            p_values.append(2 * stats.norm.sf(abs(ones - n / 2) / math.sqrt(n / 4)))
    return p_values


BATTERY: tuple[Callable[[np.ndarray], list[float]], ...] = (
    monobit,
    block_frequency,
    runs,
    longest_run,
    poker,
    serial_and_entropy,
    cumulative_sums,
    spectral,
    birthday_spacings,
    matrix_rank,
    bit_positions,
)


SIZE = 1 << 19
"""Words in a stream: 16.8 million bits."""


def stream(order: str, word: int | None) -> np.ndarray:
    """SIZE words by the fastest counter; all four words of a hash or one. Keys are 0, 1, …."""
    index = np.arange(SIZE // 4 if word is None else SIZE, dtype=U32)
    if order == "particle":
        particle, step, key = index % U32(64), index // U32(64) % U32(256), index // U32(1 << 14)
    elif order == "step":
        step, particle, key = index % U32(256), index // U32(256) % U32(64), index // U32(1 << 14)
    else:
        key, particle, step = index % U32(1024), index // U32(1024) % U32(16), index // U32(1 << 14)
    words = reference_hash(particle, step, key, index * U32(0))
    return np.stack(words, axis=1).ravel() if word is None else words[word]


def battery(words: np.ndarray) -> tuple[float, str, int]:
    """Smallest p-value, the test it came from, and how many there were."""
    results = [(float(p), test.__name__) for test in BATTERY for p in test(words)]
    smallest = min(results)
    return smallest[0], smallest[1], len(results)


@pytest.mark.parametrize("order", ["particle", "step", "key"])
@pytest.mark.parametrize("word", [None, 0, 1, 2, 3])
def test_raw_bits_pass_the_battery(order: str, word: int | None) -> None:
    streams = 15
    smallest, test, number = battery(stream(order, word))
    assert smallest > ALPHA / (number * streams), f"{test}: p = {smallest:.3g} of {number} p-values"


def counter(count: int) -> np.ndarray:
    return np.arange(count, dtype=U32)


def congruence(count: int) -> np.ndarray:
    with np.errstate(over="ignore"):
        return np.cumprod(np.full(count, 1664525, U32), dtype=U32)


def one_biased_bit(count: int) -> np.ndarray:
    """Good words of which bit 6 is set with probability 17/32."""
    words = random_words(count, seed=5)
    return words[0] | (words[1] & words[2] & words[3] & words[0] >> U32(1) & U32(64))


@pytest.mark.parametrize("words", [counter, congruence, one_biased_bit])
def test_battery_can_fail(words: Callable[[int], np.ndarray]) -> None:
    """Generators that are known to be bad do not pass."""
    smallest, _, number = battery(words(SIZE))
    assert smallest < ALPHA / (number * 15)


def test_battery_does_not_fail_a_good_generator() -> None:
    smallest, test, number = battery(random_words(SIZE, seed=8)[0])
    assert smallest > ALPHA / number, test
