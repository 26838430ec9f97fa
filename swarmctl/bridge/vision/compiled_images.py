"""Whole images as machine code: flattening, halving, smoothing, local maxima."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from swarmctl.core.machine_code import compiled

# Drivers lend frames that cannot be written to.
_READ = "Array({}, 2, 'C', readonly=True)"
_BLOCK = 32  # pixels that are passed over together where none is high
_LEVEL = f"void({_READ}, {_READ.format('f4')}, {_READ.format('f4')}, f4[:,::1])"


@compiled(_LEVEL.format("u1"), _LEVEL.format("u2"), _LEVEL.format("f4"))
def flatten(frame: Any, dark: Any, gain: Any, image: Any) -> None:
    """Write (frame - dark) · gain into image, all [H,W]."""
    for j in range(frame.shape[0]):
        for i in range(frame.shape[1]):
            image[j, i] = (np.float32(frame[j, i]) - dark[j, i]) * gain[j, i]


@compiled("void(f4[:,::1], f4[:,::1], f4)")
def follow_median(image: Any, median: Any, step: Any) -> None:
    """Move a running median [H,W] by `step` towards an image [H,W] (McFarlane, Schofield 1995)."""
    for j in range(image.shape[0]):
        for i in range(image.shape[1]):
            away = image[j, i] - median[j, i]
            median[j, i] += min(max(away, -step), step)


@compiled(*(f"void({_READ.format(kind)}, f4[:,::1])" for kind in ("u1", "u2", "f4")))
def halve(frame: Any, half: Any) -> None:
    """Write means of 2 x 2 pixels of a frame [H,W] into half [H//2,W//2]."""
    for j in range(half.shape[0]):
        upper, lower, line = frame[2 * j], frame[2 * j + 1], half[j]
        for i in range(len(line)):
            above = np.float32(upper[2 * i]) + np.float32(upper[2 * i + 1])
            below = np.float32(lower[2 * i]) + np.float32(lower[2 * i + 1])
            line[i] = np.float32(0.25) * (above + below)


@compiled("void(f4[:,::1], f4[::1], f4[:,::1], f4[:,::1])")
def smooth(image: Any, taps: Any, between: Any, result: Any) -> None:
    """Convolve image [h,w] along both axes with symmetric taps [2r+1]; edges are continued.

    `between` [h,w] is scratch; `result` may be `image`.
    """
    height, width = image.shape
    reach = len(taps) // 2
    for j in range(height):
        line, source, weight = between[j], image[j], taps[reach]
        for i in range(width):
            line[i] = weight * source[i]
        for t in range(1, reach + 1):
            above, below = image[max(j - t, 0)], image[min(j + t, height - 1)]
            weight = taps[reach + t]
            for i in range(width):
                line[i] += weight * (above[i] + below[i])
    row = np.empty(width + 2 * reach, np.float32)
    for j in range(height):
        row[:reach], row[reach + width :] = between[j, 0], between[j, width - 1]
        row[reach : reach + width] = between[j]
        line, source, weight = result[j], row[reach : reach + width], taps[reach]
        for i in range(width):
            line[i] = weight * source[i]
        for t in range(1, reach + 1):
            before, behind = row[reach - t : reach - t + width], row[reach + t : reach + t + width]
            weight = taps[reach + t]
            for i in range(width):
                line[i] += weight * (before[i] + behind[i])


@compiled("void(f4[:,::1], f4[:,::1], f8[::1])")
def subtract_coarse(image: Any, coarse: Any, bow: Any) -> None:
    """Subtract from image [h,w] a quadratic surface, and values [m,n] of m x n equal tiles.

    The surface is bow · (1, i, j, i², ij, j²) in column i and row j. Between the middles of tiles
    their values are interpolated, at the edges extrapolated.
    """
    rows, columns = coarse.shape
    tall, wide = image.shape[0] / rows, image.shape[1] / columns
    line = np.empty(columns + 1, np.float32)
    for j in range(image.shape[0]):
        v = (j + 0.5) / tall - 0.5
        top = min(int(max(v, 0.0)), max(rows - 2, 0))
        below = min(top + 1, rows - 1)
        for c in range(columns):
            line[c] = coarse[top, c] + (v - top) * (coarse[below, c] - coarse[top, c])
        line[columns] = line[columns - 1]
        end = 0
        for c in range(max(columns - 1, 1)):
            # Pixels that lie nearest between the middles of tiles c and c + 1.
            start = end
            end = image.shape[1] if c >= columns - 2 else int((c + 1.5) * wide)
            rise = np.float32((line[c + 1] - line[c]) / wide)
            base = line[c] - (c + 0.5) * wide * rise + 0.5 * rise
            first = np.float32(base + bow[0] + bow[2] * j + bow[5] * j * j)
            second = np.float32(rise + bow[1] + bow[4] * j)
            third = np.float32(bow[3])
            for i in range(start, end):
                x = np.float32(i)
                image[j, i] -= first + x * (second + x * third)


@compiled("b1(f4[:,::1], i8, i8, f8)")
def is_peak(image: Any, i: int, j: int, radius: float) -> bool:
    """Whether nothing within a radius of pixel (i, j), not on the edge, is higher.

    Of equal pixels the last one is the peak.
    """
    height, width = image.shape
    value = image[j, i]
    if (
        value < image[j, i - 1]
        or value < image[j - 1, i]
        or value <= image[j, i + 1]
        or value <= image[j + 1, i]
    ):
        return False
    reach = int(radius)
    for b in range(max(0, j - reach), min(height, j + reach + 1)):
        for a in range(max(0, i - reach), min(width, i + reach + 1)):
            if (a - i) ** 2 + (b - j) ** 2 <= radius * radius and (
                image[b, a] > value or (image[b, a] == value and (b, a) > (j, i))
            ):
                return False
    return True


@compiled("i8(f4[:,::1], f4, f8, f8[:,::1])")
def find_peaks(image: Any, threshold: Any, radius: float, found: Any) -> int:
    """Write the local maxima of image [h,w] above a threshold into found [K,2] (x, y).

    Nothing within `radius` is higher. A parabola through the neighbours gives a part of a pixel.
    Returns their number, which is cut at K.
    """
    height, width = image.shape
    count = 0
    for j in range(1, height - 1):
        for start in range(1, width - 1, _BLOCK):
            block = image[j, start : min(start + _BLOCK, width - 1)]
            high = 0
            for n in range(len(block)):
                high += block[n] > threshold
            if high == 0:
                continue
            for i in range(start, start + len(block)):
                if (
                    image[j, i] <= threshold
                    or not is_peak(image, i, j, radius)
                    or count == len(found)
                ):
                    continue
                value = image[j, i]
                before, behind, above, below = (
                    image[j, i - 1],
                    image[j, i + 1],
                    image[j - 1, i],
                    image[j + 1, i],
                )
                found[count, 0] = i + 0.5 * (behind - before) / max(
                    2 * value - before - behind, 1e-9
                )
                found[count, 1] = j + 0.5 * (below - above) / max(2 * value - above - below, 1e-9)
                count += 1
    return count


@compiled("i8(f4[:,::1], f4, i8, f8[:,::1])")
def find_high(image: Any, threshold: Any, reach: int, found: Any) -> int:
    """Write pixels of image [h,w] into found [K,2] (x, y) that are above a threshold.

    So are those `reach` to the left and right, above and below. Returns their number, cut at K.
    """
    height, width = image.shape
    count = 0
    for j in range(reach, height - reach):
        line, above, below = image[j], image[j - reach], image[j + reach]
        for i in range(reach, width - reach):
            if (
                line[i] > threshold
                and above[i] > threshold
                and below[i] > threshold
                and line[i - reach] > threshold
                and line[i + reach] > threshold
                and count < len(found)
            ):
                found[count, 0], found[count, 1] = i, j
                count += 1
    return count


@compiled("void(f4[:,::1], f8[:,::1], f8, f4)")
def clear_discs(image: Any, position: Any, radius: float, level: Any) -> None:
    """Set image [h,w] to a level within a radius of positions [K,2]."""
    height, _ = image.shape
    for k in range(len(position)):
        x, y = position[k, 0], position[k, 1]
        for j in range(max(0, math.ceil(y - radius)), min(height, int(y + radius) + 1)):
            half = math.sqrt(max(radius * radius - (j - y) ** 2, 0.0))
            image[j, max(0, math.ceil(x - half)) : max(0, math.floor(x + half) + 1)] = level


@compiled("void(f8[:,::1], f8, b1[::1])")
def mark_unique(position: Any, separation: float, unique: Any) -> None:
    """Mark the first of those positions [K,2] that are closer than `separation`."""
    for k in range(len(unique)):
        unique[k] = True
        for m in range(k):
            if unique[m]:
                dx, dy = position[k, 0] - position[m, 0], position[k, 1] - position[m, 1]
                if dx * dx + dy * dy < separation * separation:
                    unique[k] = False
                    break


@compiled("void(f4[:,::1], i8, f4[:,::1])")
def close_gaps(image: Any, reach: int, between: Any) -> None:
    """Close dark gaps of image [h,w] up to 2·reach wide: a maximum, then a minimum over squares.

    `between` [h,w] is scratch.
    """
    height, width = image.shape
    for turn in range(2):
        sign = np.float32(1 - 2 * turn)
        for j in range(height):
            line, source = between[j], image[j]
            for i in range(width):
                line[i] = sign * source[i]
            for b in range(max(0, j - reach), min(height, j + reach + 1)):
                source = image[b]
                for i in range(width):
                    value = sign * source[i]
                    line[i] = value if value > line[i] else line[i]
        for j in range(height):
            line = image[j]
            line[:] = between[j]
            for a in range(-reach, reach + 1):
                part, other = line[max(0, -a) :], between[j, max(0, a) :]
                for i in range(width - abs(a)):
                    part[i] = other[i] if other[i] > part[i] else part[i]
            for i in range(width):
                line[i] *= sign
