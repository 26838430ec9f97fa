"""Places of spots to a part of a pixel, as machine code."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from swarmctl.core.machine_code import compiled

SECTORS = 8


@compiled("f8(f4[:,::1], f8, f8, f8, f8)")
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


@compiled("void(f4[:,::1], f8, i8, f8[:,::1], f8[::1])")
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
    across = np.empty(size)
    for _ in range(rounds):
        for k in range(count):
            x, y = position[k, 0], position[k, 1]
            if not (-0.5 <= x < columns - 0.5 and -0.5 <= y < rows - 0.5):
                position[k, 0] = position[k, 1] = height[k] = np.nan
                continue
            left, top = int(x + 0.5) - half, int(y + 0.5) - half
            for b in range(size):
                for a in range(size):
                    inside = 0 <= top + b < rows and 0 <= left + a < columns
                    patch[b, a] = image[top + b, left + a] - ground[k] if inside else 0.0
            for m in range(count):
                if m == k or math.isnan(height[m]):
                    continue
                dx, dy = position[m, 0] - x, position[m, 1] - y
                if abs(dx) > near or abs(dy) > near:
                    continue
                for a in range(size):
                    across[a] = math.exp(-((left + a - position[m, 0]) ** 2) * scale)
                for b in range(size):
                    share = height[m] * math.exp(-((top + b - position[m, 1]) ** 2) * scale)
                    for a in range(size):
                        patch[b, a] -= share * across[a]
            for a in range(size):
                across[a] = math.exp(-((left + a - x) ** 2) * scale)
            total = total_x = total_y = weights = 0.0
            for b in range(size):
                if not 0 <= top + b < rows:
                    continue
                down = math.exp(-((top + b - y) ** 2) * scale)
                for a in range(size):
                    if 0 <= left + a < columns:
                        weight = down * across[a]
                        share = weight * patch[b, a]
                        total += share
                        total_x += share * (left + a - x)
                        total_y += share * (top + b - y)
                        weights += weight * weight
            if total <= 0.0:
                position[k, 0] = position[k, 1] = height[k] = np.nan
                continue
            height[k] = total / weights
            limit = 0.5 * sigma
            position[k, 0] = x + min(max(2 * total_x / total, -limit), limit)
            position[k, 1] = y + min(max(2 * total_y / total, -limit), limit)
