"""Statistics of results over seeds: pure numpy, no JAX."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from swarmctl.core.errors import ConfigError

# Student's t for two-sided 95 %, by degrees of freedom from 1 on.
_T95 = np.fromstring(
    "12.706 4.303 3.182 2.776 2.571 2.447 2.365 2.306 2.262 2.228 2.201 2.179 2.160 2.145 2.131 "
    "2.120 2.110 2.101 2.093 2.086 2.080 2.074 2.069 2.064 2.060 2.056 2.052 2.048 2.045 2.042",
    sep=" ",
)


def t_interval(values: np.ndarray | Sequence[float]) -> tuple[float, float, float]:
    """Mean of `values` [S] with Student's 95 % interval: right for few, nearly Gaussian values.

    Returns (mean, low, high); NaN limits for a single value. Raises ConfigError for no values or
    values that are not finite.

    >>> [round(x, 3) for x in t_interval([1.0, 2.0, 3.0])]
    [2.0, -0.484, 4.484]
    """
    values = np.asarray(values, float)
    if values.ndim != 1 or not values.size or not np.isfinite(values).all():
        raise ConfigError(f"t_interval: expected finite values [S], got {values!r}.")
    mean, count = float(values.mean()), len(values)
    if count == 1:
        return mean, float("nan"), float("nan")
    factor = float(_T95[count - 2]) if count - 2 < len(_T95) else 1.96 + 2.4 / (count - 1)
    half = factor * float(values.std(ddof=1)) / count**0.5
    return mean, mean - half, mean + half


def interval_text(mean: float, low: float, high: float) -> str:
    """Text of a mean and its interval; the last decimal is at most a third of the half-width.

    The mean alone, if there is no interval: limits that are NaN.

    >>> interval_text(4.5823, 4.5624, 4.6021)
    '4.582 [4.562, 4.602]'
    >>> interval_text(61.3, 58.3, 64.29)
    '61.3 [58.3, 64.3]'
    """
    half = (high - low) / 2
    if not half > 0:
        return f"{mean:.4g}" if math.isnan(half) else f"{mean:.4g} [{low:.4g}, {high:.4g}]"
    digits = max(0, -math.floor(math.log10(half / 3)))
    return f"{mean:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def bootstrap_interval(
    values: np.ndarray | Sequence[float],
    level: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
) -> tuple[float, float, float]:
    """Mean of `values` [S] with its percentile bootstrap interval (Efron, 1979).

    Returns (mean, low, high). A single value has no spread to resample: low and high are NaN.
    With few values the interval is too narrow: of Gaussian values it covers the mean in 82 % of
    cases at S = 5 and in 90 % at S = 10, instead of 95 %.

    Raises ConfigError for no values, values that are not finite, or a level outside (0, 1).
    """
    values = np.asarray(values, float)
    if values.ndim != 1:
        raise ConfigError(f"bootstrap_interval: expected values [S], got {list(values.shape)}.")
    mean, low, high = bootstrap_band(values[:, None], level, resamples, seed)
    return float(mean[0]), float(low[0]), float(high[0])


def bootstrap_band(
    values: np.ndarray, level: float = 0.95, resamples: int = 10_000, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean over seeds of curves `values` [S,K] with a pointwise percentile bootstrap band.

    Whole curves are resampled, so that neighbouring points are treated alike. Returns (mean, low,
    high), each [K]; low and high are NaN for a single curve. Raises ConfigError as
    `bootstrap_interval`.
    """
    values = np.asarray(values, float)
    if values.ndim != 2 or not values.size:
        raise ConfigError(
            f"bootstrap: expected values [S, K], not empty, got {list(values.shape)}."
        )
    if not np.isfinite(values).all():
        raise ConfigError(f"bootstrap: {int((~np.isfinite(values)).sum())} values are not finite.")
    if not 0 < level < 1:
        raise ConfigError(f"bootstrap: level must lie in (0, 1), got {level}.")
    if resamples < 1:
        raise ConfigError(f"bootstrap: resamples must be at least 1, got {resamples}.")
    count = len(values)
    mean = values.mean(axis=0)
    if count == 1:
        return mean, np.full_like(mean, np.nan), np.full_like(mean, np.nan)
    drawn = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), resamples)
    weights = drawn / count
    tail = (1 - level) / 2
    low, high = np.empty_like(mean), np.empty_like(mean)
    # Columns in blocks: all resampled curves at once would need resamples x K numbers.
    for start in range(0, values.shape[1], 64):
        block = slice(start, start + 64)
        low[block], high[block] = np.quantile(weights @ values[:, block], [tail, 1 - tail], axis=0)
    return mean, low, high
