"""Where rods and dimers may be, bright bodies with an axis, as machine code."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from swarmctl.core.machine_code import compiled

_RIDGE = 0.9  # of a pixel's height: what is lower is beside the ridge
_SIMILAR = 0.75  # cosine between two axes


@compiled("b1(f4[:,::1], i8, i8, i8)")
def on_a_ridge(image: Any, i: int, j: int, flank: int) -> bool:
    """Whether both opposite neighbours at a distance are lower than pixel (i, j), in a direction.

    Neighbours beyond the edges are.
    """
    height, width = image.shape
    top = np.float32(_RIDGE) * image[j, i]
    slant = (7 * flank + 5) // 10
    for k in range(4):
        dx, dy = (flank, 0) if k == 0 else (0, flank) if k == 1 else (slant, slant)
        dy = -dy if k == 3 else dy
        lower = True
        for sign in (-1, 1):
            a, b = i + sign * dx, j + sign * dy
            if 0 <= a < width and 0 <= b < height and image[b, a] > top:
                lower = False
        if lower:
            return True
    return False


@compiled("void(f4[:,::1], f4, i8, i8[:,:,::1], f4[:,::1], i2[:,::1])")
def line_means(image: Any, least: Any, flank: int, line: Any, mean: Any, which: Any) -> None:
    """Write the highest mean of image [h,w] along lines, and which of them has it, per pixel.

    line [K,n,2] holds offsets (x, y) in px. Pixels get 0 that are not above `least`, or on no ridge
    as narrow as twice the `flank`. Lines are dark beyond the edges.
    """
    height, width = image.shape
    share = np.float32(1 / line.shape[1])
    reach = np.abs(line).max()
    flat, way = image.ravel(), line[:, :, 1] * width + line[:, :, 0]
    for j in range(height):
        for i in range(width):
            mean[j, i] = 0
            if image[j, i] <= least or not on_a_ridge(image, i, j, flank):
                continue
            inside = reach <= i < width - reach and reach <= j < height - reach
            for k in range(line.shape[0]):
                total = np.float32(0)
                if inside:
                    for n in range(line.shape[1]):
                        total += flat[np.uint64(j * width + i + way[k, n])]
                else:
                    for n in range(line.shape[1]):
                        a, b = i + line[k, n, 0], j + line[k, n, 1]
                        if 0 <= a < width and 0 <= b < height:
                            total += image[b, a]
                if total * share > mean[j, i]:
                    mean[j, i] = total * share
                    which[j, i] = k


@compiled("void(f8[:,::1], f8, f8, f8, b1[::1])")
def mark_apart(start: Any, along: float, across: float, faint: float, apart: Any) -> None:
    """Mark those of M starts that lie on no earlier one with a similar angle.

    start [M,5] holds height, size, place and angle; `along` and `across` the axis of the earlier
    one is what lies on it. What is not marked, either, is closer to it than 2·along, and lower than
    `faint` of its height.
    """
    for k in range(len(start)):
        apart[k] = True
        for m in range(k):
            dx, dy = start[k, 2] - start[m, 2], start[k, 3] - start[m, 3]
            if not apart[m] or dx * dx + dy * dy > 4 * along * along:
                continue
            c, s = math.cos(start[m, 4]), math.sin(start[m, 4])
            near = abs(c * dx + s * dy) < along and abs(c * dy - s * dx) < across
            same = abs(math.cos(start[k, 4] - start[m, 4])) > _SIMILAR
            if (near and same) or start[k, 0] < faint * start[m, 0]:
                apart[k] = False
