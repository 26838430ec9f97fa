"""Medians of parts of an image, as machine code."""

from __future__ import annotations

from typing import Any

import numpy as np

from swarmctl.core.machine_code import compiled


@compiled("f4(f4[::1], i8)")
def ranked(values: Any, rank: int) -> float:
    """Return the value [K] of a rank from 0 on, by Hoare's selection. Reorders the values.

    What is before the rank is then no higher, and what is behind it no lower.
    """
    first, last = 0, len(values) - 1
    while first < last:
        pivot = values[(first + last) // 2]
        i, j = first, last
        while i <= j:
            while values[i] < pivot:
                i += 1
            while values[j] > pivot:
                j -= 1
            if i <= j:
                values[i], values[j] = values[j], values[i]
                i += 1
                j -= 1
        if rank <= j:
            last = j
        elif rank >= i:
            first = i
        else:
            break
    return values[rank]


@compiled("f4(f4[::1])")
def median(values: Any) -> float:
    """Return the median of values [K]. Reorders them."""
    middle = len(values) // 2
    high = ranked(values, middle)
    if len(values) % 2:
        return high
    low = values[0]
    for k in range(1, middle):
        low = max(low, values[k])
    return np.float32(0.5) * (low + high)


@compiled("void(f4[:,::1], i8[:,::1], i8[:,::1], f4[:,::1])")
def tile_medians(image: Any, rows: Any, columns: Any, result: Any) -> None:
    """Write medians of image [h,w] in tiles into result [m,n].

    Tile (a, b) is sampled in rows [m,K][a] and columns [n,L][b].
    """
    values = np.empty(rows.shape[1] * columns.shape[1], np.float32)
    for a in range(result.shape[0]):
        for b in range(result.shape[1]):
            count = 0
            for p in range(rows.shape[1]):
                for q in range(columns.shape[1]):
                    values[count] = image[rows[a, p], columns[b, q]]
                    count += 1
            result[a, b] = median(values)


@compiled("UniTuple(f8, 2)(f4[:,::1], i8, f4[::1])")
def median_and_deviation(image: Any, every: int, values: Any) -> Any:
    """Return the median of every so many rows and columns of image [h,w], and of deviations.

    The second is the median of absolute deviations from the first. `values` is scratch for them.
    """
    count = 0
    for j in range(0, image.shape[0], every):
        for i in range(0, image.shape[1], every):
            values[count] = image[j, i]
            count += 1
    middle = median(values[:count])
    for k in range(count):
        values[k] = abs(values[k] - middle)
    return middle, median(values[:count])


@compiled("f8(f4[:,::1], f4, f8, f4[::1])")
def quantile_above(image: Any, least: Any, share: float, values: Any) -> float:
    """Return the quantile of what is above `least` in every second row and column of image [h,w].

    `values` is scratch for it. Infinity if nothing is.
    """
    count = 0
    for j in range(0, image.shape[0], 2):
        for i in range(0, image.shape[1], 2):
            if image[j, i] > least:
                values[count] = image[j, i]
                count += 1
    return ranked(values[:count], int(share * (count - 1))) if count else np.inf
