"""Rods and dimers, bright bodies with an axis: where they may be, and fits, as machine code."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from swarmctl.bridge.vision.compiled_solving import solve_positive
from swarmctl.core.machine_code import compiled

KNOWNS = 6
"""Ground, height of a rod and its length or heights of both spots, centre x and y, angle."""
ROW = 8  # behind the knowns come the residual, and a row of other sums
CLOSE = 0.03  # px and rad: no more rounds
REACH = 2.5  # a body ends so many standard deviations beside its line
_RIDGE = 0.9  # of a pixel's height: what is lower is beside the ridge
_SIMILAR = 0.75  # cosine between two axes
_WIDE = 1.88  # half width, in standard deviations, of a cubic step as steep as the error function


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


@compiled("void(f4[:,::1], f4, i8, i8[:,:,::1], f4[:,::1], i8[:,::1])")
def line_means(image: Any, least: Any, flank: int, line: Any, mean: Any, which: Any) -> None:
    """Write the highest mean of image [h,w] along lines, and which of them has it, per pixel.

    line [K,n,2] holds offsets (x, y) in px. Pixels get 0 that are not above `least`, or on no ridge
    as narrow as twice the `flank`. Lines are dark beyond the edges.
    """
    height, width = image.shape
    share = np.float32(1 / line.shape[1])
    for j in range(height):
        for i in range(width):
            mean[j, i] = 0
            if image[j, i] <= least or not on_a_ridge(image, i, j, flank):
                continue
            for k in range(line.shape[0]):
                total = np.float32(0)
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


@compiled("UniTuple(f8, 5)(b1, f8, f8, f8, f8, f8, f8)")
def light_of_body(
    dimer: bool, first: float, second: float, size: float, sigma: float, along: float, across: float
) -> Any:
    """Light at a place on and beside the axis, and its derivatives.

    Derivatives are by `first`, `second`, `along` and `across`. A rod has the height `first` and the
    length `second`; a dimer's spots have those heights, ahead and behind, `size` apart.
    """
    narrow = 1.0 / (sigma * sigma)
    wide = math.exp(-0.5 * across * across * narrow)
    if dimer:
        ahead, behind = along - 0.5 * size, along + 0.5 * size
        one = wide * math.exp(-0.5 * ahead * ahead * narrow)
        other = wide * math.exp(-0.5 * behind * behind * narrow)
        light = first * one + second * other
        slope = -(ahead * first * one + behind * second * other) * narrow
        return light, one, other, slope, -across * light * narrow
    step = 1.0 / (_WIDE * sigma)
    ahead = min(max((0.5 * second - along) * step, -1.0), 1.0)
    behind = min(max((0.5 * second + along) * step, -1.0), 1.0)
    shape = ahead * (0.75 - 0.25 * ahead * ahead) + behind * (0.75 - 0.25 * behind * behind)
    front = 0.75 * (1.0 - ahead * ahead) * step
    back = 0.75 * (1.0 - behind * behind) * step
    light = first * wide * shape
    stretch = 0.5 * first * wide * (front + back)
    return light, wide * shape, stretch, first * wide * (back - front), -across * light * narrow


@compiled("f8(f4[:,::1], b1, f8, f8, f8[::1], b1, f8[:,::1])")
def visit_body(
    residual: Any, dimer: bool, size: float, sigma: float, known: Any, take: bool, sums: Any
) -> float:
    """Take the light of a body out of an image [H,W], or sum up what improves `known` [KNOWNS].

    sums [ROW,ROW] gets the products of derivatives and residual; its last row the sum and the sum
    of squares of the image with this body and without others. Returns the number of pixels.
    """
    rows, columns = residual.shape
    x, y = known[3], known[4]
    c, s = math.cos(known[5]), math.sin(known[5])
    half = 0.5 * (size if dimer else known[2]) + REACH * sigma
    beside = REACH * sigma
    reach_x, reach_y = abs(c) * half + abs(s) * beside, abs(s) * half + abs(c) * beside
    row = np.zeros(ROW)
    if not take:
        sums[:] = 0.0
    number = total = square = 0.0
    for j in range(max(0, int(y - reach_y)), min(rows, int(y + reach_y) + 2)):
        for i in range(max(0, int(x - reach_x)), min(columns, int(x + reach_x) + 2)):
            dx, dy = i - x, j - y
            along, across = c * dx + s * dy, c * dy - s * dx
            if abs(along) > half or abs(across) > beside:
                continue
            light, one, two, slope, fall = light_of_body(
                dimer, known[1], known[2], size, sigma, along, across
            )
            if take:
                residual[j, i] -= light
                continue
            row[0], row[1], row[2] = 1.0, one, two
            row[3] = -c * slope + s * fall
            row[4] = -s * slope - c * fall
            row[5] = slope * across - fall * along
            row[KNOWNS] = residual[j, i] - known[0]
            number += 1.0
            whole = residual[j, i] + light
            total += whole
            square += whole * whole
            for a in range(ROW - 1):
                share = row[a]
                for b in range(a, ROW - 1):
                    sums[a, b] += share * row[b]
    for a in range(ROW - 1):
        for b in range(a):
            sums[a, b] = sums[b, a]
    sums[ROW - 1, 0], sums[ROW - 1, 1] = total, square
    return number


@compiled("void(f4[:,::1], f4[:,::1], b1, f8, f8, i8, f8[:,::1], f8[::1], f8[::1], f8[::1])")
def fit_bodies(
    image: Any,
    residual: Any,
    dimer: bool,
    size: float,
    sigma: float,
    rounds: int,
    known: Any,
    error: Any,
    unequal: Any,
    explained: Any,
) -> None:
    """Improve what is known [K,KNOWNS] of bodies in an image [H,W] by Gauss-Newton steps.

    Each round takes the light of all bodies out, `residual` [H,W] is what remains, and then moves
    every one. Written are the standard deviation of the angle [K] rad, by how many standard
    deviations the first spot of a dimer is brighter than the second [K], and the share of the
    variance that is explained [K]: what the last step, taken as linear, makes of it. What cannot
    be fitted gets NaN.
    """
    rows, columns = image.shape
    sums = np.empty((ROW, ROW))
    right, answer = np.empty(KNOWNS), np.empty((3, KNOWNS))
    for _ in range(rounds):
        step = 0.0
        for j in range(rows):
            for i in range(columns):
                residual[j, i] = image[j, i]
        for k in range(len(known)):
            if not math.isnan(known[k, 1]):
                visit_body(residual, dimer, size, sigma, known[k], True, sums)
        for k in range(len(known)):
            if math.isnan(known[k, 1]):
                continue
            number = visit_body(residual, dimer, size, sigma, known[k], False, sums)
            for a in range(KNOWNS):
                sums[a, a] *= 1.0 + 1e-9
            good = number > 2 * KNOWNS
            for q in range(3):
                # For the step, and the variances of the angle and of the difference of heights.
                right[:] = 0.0
                if q == 0:
                    right[:] = sums[:KNOWNS, KNOWNS]
                elif q == 1:
                    right[5] = 1.0
                else:
                    right[1], right[2] = 1.0, -1.0
                good = good and solve_positive(sums[:KNOWNS, :KNOWNS].copy(), right, answer[q])
            if good:
                left = 0.0
                for a in range(KNOWNS):
                    left += answer[0, a] * sums[a, KNOWNS]
                rest = max(sums[KNOWNS, KNOWNS] - left, 0.0)
                variance = rest / (number - KNOWNS)
                error[k] = math.sqrt(variance * answer[1, 5])
                difference = known[k, 1] + answer[0, 1] - known[k, 2] - answer[0, 2]
                spread = math.sqrt(max(variance * (answer[2, 1] - answer[2, 2]), 1e-30))
                unequal[k] = difference / spread
                total, square = sums[ROW - 1, 0], sums[ROW - 1, 1]
                explained[k] = 1.0 - rest / max(square - total * total / number, 1e-30)
                for a in range(KNOWNS):
                    limit = np.inf
                    if a == 2 and not dimer:
                        limit = 0.25 * size
                    elif a >= 3:
                        limit = sigma if a < 5 else 0.3
                        step = max(step, abs(answer[0, a]))
                    known[k, a] += min(max(answer[0, a], -limit), limit)
                good = (
                    known[k, 1] + (known[k, 2] if dimer else 0.0) > 0.0
                    and (dimer or sigma < known[k, 2] < 4 * size)
                    and -0.5 <= known[k, 3] < columns - 0.5
                    and -0.5 <= known[k, 4] < rows - 0.5
                )
            if not good:
                known[k] = np.nan
                error[k] = unequal[k] = explained[k] = np.nan
        if step < CLOSE:
            break
