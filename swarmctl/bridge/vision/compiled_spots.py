"""Places of spots to a part of a pixel, as machine code."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from swarmctl.core.machine_code import compiled

SECTORS = 8
CLOSE = 0.01  # px: no more rounds for a spot without neighbours
_KINDS = ("u1", "u2", "f4")
_READ = "Array({}, 2, 'C', readonly=True)"


@compiled(*(f"f8({_READ.format(kind)}, f8, f8, f8, f8)" for kind in _KINDS))
def ground_beside(image: Any, x: float, y: float, inner: float, outer: float) -> float:
    """Lowest mean of eight sectors of the ring around (x, y): the level without neighbours."""
    height, width = image.shape
    total = np.zeros(SECTORS)
    number = np.zeros(SECTORS)
    for j in range(max(0, int(y - outer)), min(height, int(y + outer) + 2)):
        for i in range(max(0, int(x - outer)), min(width, int(x + outer) + 2)):
            dx, dy = i - x, j - y
            square = dx * dx + dy * dy
            if inner * inner <= square <= outer * outer:
                sector = 4 * (dx > 0) + 2 * (dy > 0) + 1 * (abs(dx) > abs(dy))
                total[sector] += image[j, i]
                number[sector] += 1
    lowest = np.inf
    for s in range(SECTORS):
        if number[s] > 0:
            lowest = min(lowest, total[s] / number[s])
    return lowest if lowest < np.inf else 0.0


@compiled(*(f"void({_READ.format(kind)}, f8, i8, f8[:,::1], f8[::1])" for kind in _KINDS))
def refine_spots(image: Any, sigma: float, rounds: int, position: Any, height: Any) -> None:
    """Move K positions [K,2] px onto Gaussian spots of an image [H,W]; write their heights [K].

    The centroid under a Gaussian window of the spots' own width lies half way to the spot, so
    each round moves twice as far. Neighbours are subtracted with the heights found so far. What
    is no spot or leaves the image gets NaN.
    """
    rows, columns = image.shape
    count = len(height)
    half = int(np.ceil(2.5 * sigma))
    size = 2 * half + 1
    scale = 0.5 / (sigma * sigma)
    near = 2.5 * sigma + 3.5 * sigma
    ground = np.empty(count)
    for k in range(count):
        x, y = position[k, 0], position[k, 1]
        ground[k] = ground_beside(image, x, y, 3 * sigma, 4.5 * sigma)
        i = min(max(int(x + 0.5), 0), columns - 1)
        j = min(max(int(y + 0.5), 0), rows - 1)
        height[k] = max(image[j, i] - ground[k], 0.0)
    patch = np.empty((size, size))
    across, beside = np.empty(size), np.empty(size)
    still = np.zeros(count, np.bool_)
    for _ in range(rounds):
        for k in range(count):
            x, y = position[k, 0], position[k, 1]
            if still[k]:
                continue
            if not (-0.5 <= x < columns - 0.5 and -0.5 <= y < rows - 0.5):
                position[k, 0] = position[k, 1] = height[k] = np.nan
                still[k] = True
                continue
            left, top = int(x + 0.5) - half, int(y + 0.5) - half
            first, last = max(0, -left), min(size, columns - left)
            for b in range(max(0, -top), min(size, rows - top)):
                line, part = image[top + b, left + first : left + last], patch[b, first:last]
                for a in range(len(part)):
                    part[a] = line[a] - ground[k]
            alone = True
            for m in range(count):
                dx, dy = position[m, 0] - x, position[m, 1] - y
                if m == k or not (abs(dx) <= near and abs(dy) <= near):
                    continue
                alone = False
                for a in range(size):
                    beside[a] = math.exp(-((left + a - position[m, 0]) ** 2) * scale)
                for b in range(size):
                    share = height[m] * math.exp(-((top + b - position[m, 1]) ** 2) * scale)
                    for a in range(size):
                        patch[b, a] -= share * beside[a]
            for a in range(size):
                across[a] = math.exp(-((left + a - x) ** 2) * scale)
            total = total_x = total_y = weights = 0.0
            for b in range(max(0, -top), min(size, rows - top)):
                down = math.exp(-((top + b - y) ** 2) * scale)
                sum_0 = sum_x = squares = 0.0
                for a in range(first, last):
                    share = across[a] * patch[b, a]
                    sum_0 += share
                    sum_x += share * (left + a - x)
                    squares += across[a] * across[a]
                total += down * sum_0
                total_x += down * sum_x
                total_y += down * sum_0 * (top + b - y)
                weights += down * down * squares
            if total <= 0.0:
                position[k, 0] = position[k, 1] = height[k] = np.nan
                still[k] = True
                continue
            height[k] = total / weights
            limit = 0.5 * sigma
            step_x = min(max(2 * total_x / total, -limit), limit)
            step_y = min(max(2 * total_y / total, -limit), limit)
            position[k, 0], position[k, 1] = x + step_x, y + step_y
            still[k] = alone and max(abs(step_x), abs(step_y)) < CLOSE
