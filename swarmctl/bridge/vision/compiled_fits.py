"""Fits of rods and dimers, bright bodies with an axis, as machine code."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from swarmctl.bridge.vision.compiled_solving import add_products, solve_positive, substitute
from swarmctl.core.machine_code import compiled

KNOWNS = 6
"""Ground, height of a rod and its length or heights of both spots, centre x and y, angle."""
ROW = 8  # behind the knowns come the residual, and with it the body's own light
CLOSE = 0.03  # px and rad: no more rounds
REACH = 2.5  # a body ends so many standard deviations beside its line
_WIDE = 1.88  # half width, in standard deviations, of a cubic step as steep as the error function


@compiled("f4(f4)")
def gauss(square: Any) -> Any:
    """exp(-square / 2) for squares from 0 on, to 10⁻⁴ of it or 10⁻⁹.

    A polynomial to the power of 32, so that many are computed at once.
    """
    t = min(square, np.float32(80)) * np.float32(-1 / 64)
    one = np.float32(1)
    p = one + t * np.float32(1 / 4) * (one + t * np.float32(1 / 5))
    p = one + t * (one + t * np.float32(1 / 2) * (one + t * np.float32(1 / 3) * p))
    p *= p
    p *= p
    p *= p
    p *= p
    return p * p


@compiled("UniTuple(i8, 2)(f8, f8, f8, i8, i8)")
def cut(slope: float, low: float, high: float, first: int, last: int) -> Any:
    """Those whole numbers from first to last of which slope times them lies in [low, high]."""
    if abs(slope) < 1e-9:
        return first, (last if low <= 0.0 <= high else first - 1)
    one, other = low / slope, high / slope
    lowest, highest = min(one, other), max(one, other)
    return max(first, math.ceil(max(lowest, -1e9))), min(last, math.floor(min(highest, 1e9)))


@compiled("i8(f4[:,::1], b1, f8, f8, f8[::1], i8[:,::1])")
def runs_of_body(image: Any, dimer: bool, size: float, sigma: float, known: Any, run: Any) -> int:
    """Write row, first column and length of the runs of pixels of a body into run [R,3].

    Returns their number.
    """
    rows, columns = image.shape
    x, y = known[3], known[4]
    c, s = math.cos(known[5]), math.sin(known[5])
    half = 0.5 * (size if dimer else known[2]) + REACH * sigma
    beside = REACH * sigma
    reach = abs(s) * half + abs(c) * beside
    count = 0
    for j in range(max(0, int(y - reach)), min(rows, int(y + reach) + 2)):
        dy = j - y
        ahead, aside = s * dy - c * x, c * dy + s * x
        first, last = cut(c, -half - ahead, half - ahead, 0, columns - 1)
        first, last = cut(s, aside - beside, aside + beside, first, last)
        if first <= last:
            run[count, 0], run[count, 1], run[count, 2] = j, first, last + 1 - first
            count += 1
    return count


@compiled("i8(f4[:,::1], f8[::1], i8[:,::1], f4[:,::1])")
def pixels_of_runs(image: Any, known: Any, run: Any, pixel: Any) -> int:
    """Write places along and across the axis, and values, of runs [R,3] into pixel [3,C].

    Returns the number of pixels.
    """
    c, s = math.cos(known[5]), math.sin(known[5])
    count = 0
    for r in range(len(run)):
        j, first, number = run[r, 0], run[r, 1], run[r, 2]
        dx, dy = first - known[3], j - known[4]
        begin, aside = np.float32(c * dx + s * dy), np.float32(c * dy - s * dx)
        right, down = np.float32(c), np.float32(-s)
        line = image[j, first : first + number]
        along, across = pixel[0, count : count + number], pixel[1, count : count + number]
        value = pixel[2, count : count + number]
        for n in range(number):
            along[n] = begin + right * np.float32(n)
            across[n] = aside + down * np.float32(n)
            value[n] = line[n]
        count += number
    return count


@compiled("void(b1, f8, f8, f8[::1], f4[:,::1], i8, f4[:,::1])")
def light_of_body(
    dimer: bool, size: float, sigma: float, known: Any, pixel: Any, count: int, row: Any
) -> None:
    """Write a body's light at pixels [3,C] to row [ROW,C], behind its derivatives by the knowns.

    A rod has the height known[1] and the length known[2]; a dimer's spots have those heights, ahead
    and behind, `size` apart. Before the light comes the residual: the pixels less the ground.
    """
    c, s = np.float32(math.cos(known[5])), np.float32(math.sin(known[5]))
    base, first, second = np.float32(known[0]), np.float32(known[1]), np.float32(known[2])
    narrow, one = np.float32(1.0 / (sigma * sigma)), np.float32(1)
    step, bit = np.float32(1.0 / (_WIDE * sigma)), np.float32(0.75)
    half = np.float32(0.5 * size) if dimer else np.float32(0.5) * second
    quarter, middle = np.float32(0.25), np.float32(0.5)
    for k in range(count):
        along, across = pixel[0, k], pixel[1, k]
        wide = gauss(across * across * narrow)
        if dimer:
            ahead, behind = along - half, along + half
            by_first = wide * gauss(ahead * ahead * narrow)
            by_second = wide * gauss(behind * behind * narrow)
            light = first * by_first + second * by_second
            slope = -(ahead * first * by_first + behind * second * by_second) * narrow
        else:
            ahead = min(max((half - along) * step, -one), one)
            behind = min(max((half + along) * step, -one), one)
            front, back = one - ahead * ahead, one - behind * behind
            # 0.75 u - 0.25 u³
            shape = quarter * (ahead * (front + one + one) + behind * (back + one + one))
            by_first = wide * shape
            light = first * by_first
            by_second = middle * bit * step * first * wide * (front + back)
            slope = bit * step * first * wide * (back - front)
        fall = -across * light * narrow
        row[0, k], row[1, k], row[2, k] = one, by_first, by_second
        row[3, k] = s * fall - c * slope
        row[4, k] = -s * slope - c * fall
        row[5, k] = slope * across - fall * along
        row[6, k] = pixel[2, k] - base
        row[7, k] = light


@compiled("void(f4[:,::1], i8[:,::1], f4[::1], f4)")
def add_runs(image: Any, run: Any, light: Any, factor: Any) -> None:
    """Add `factor` times the light [C] of runs [R,3] of pixels to an image [H,W]."""
    count = 0
    for r in range(len(run)):
        number = run[r, 2]
        line = image[run[r, 0], run[r, 1] : run[r, 1] + number]
        part = light[count : count + number]
        for n in range(number):
            line[n] += factor * part[n]
        count += number


@compiled("b1(b1, f8, f8, i8, i8, f8[::1], f8[::1])")
def possible(
    dimer: bool, size: float, sigma: float, rows: int, columns: int, known: Any, answer: Any
) -> bool:
    """Move what is known by an answer [KNOWNS], within limits; say whether that may be a body."""
    for a in range(KNOWNS):
        limit = np.inf
        if a == 2 and not dimer:
            limit = 0.25 * size
        elif a >= 3:
            limit = sigma if a < 5 else 0.3
        known[a] += min(max(answer[a], -limit), limit)
    return (
        known[1] + (known[2] if dimer else 0.0) > 0.0
        and (dimer or sigma < known[2] < 4 * size)
        and -0.5 <= known[3] < columns - 0.5
        and -0.5 <= known[4] < rows - 0.5
    )


@compiled("b1(f8[:,::1], f8[::1], f8[:,::1], f8[::1])")
def solve_body(sums: Any, known: Any, answer: Any, figure: Any) -> bool:
    """Solve for the step, answer[0], of what is known; False if it cannot be.

    figure [3] gets the standard deviation of the angle, by how many standard deviations the first
    spot will be brighter than the second, and which share of the variance is explained: what the
    step, taken as linear, makes of it.
    """
    right, number = np.zeros(KNOWNS), sums[0, 0]
    for a in range(KNOWNS):
        sums[a, a] *= 1.0 + 1e-9
    matrix = sums[:KNOWNS, :KNOWNS].copy()
    if number <= 2 * KNOWNS or not solve_positive(matrix, sums[:KNOWNS, KNOWNS].copy(), answer[0]):
        return False
    right[5] = 1.0
    substitute(matrix, right, answer[1])
    right[5], right[1], right[2] = 0.0, 1.0, -1.0
    substitute(matrix, right, answer[2])
    left = 0.0
    for a in range(KNOWNS):
        left += answer[0, a] * sums[a, KNOWNS]
    rest = max(sums[KNOWNS, KNOWNS] - left, 0.0)
    variance = rest / (number - KNOWNS)
    figure[0] = math.sqrt(variance * answer[1, 5])
    difference = known[1] + answer[0, 1] - known[2] - answer[0, 2]
    figure[1] = difference / math.sqrt(max(variance * (answer[2, 1] - answer[2, 2]), 1e-30))
    total = sums[0, KNOWNS] + sums[0, ROW - 1]
    square = sums[KNOWNS, KNOWNS] + 2.0 * sums[KNOWNS, ROW - 1] + sums[ROW - 1, ROW - 1]
    figure[2] = 1.0 - rest / max(square - total * total / number, 1e-30)
    return True


@compiled("void(f4[:,::1], f4[:,::1], b1, f8, f8, i8, f8[:,::1], f8[:,::1])")
def fit_bodies(
    image: Any,
    residual: Any,
    dimer: bool,
    size: float,
    sigma: float,
    rounds: int,
    known: Any,
    figure: Any,
) -> None:
    """Improve what is known [K,KNOWNS] of bodies in an image [H,W] by Gauss-Newton steps.

    The light of all is taken out; `residual` [H,W] is what remains. Each round moves one after the
    other, except those that stand still with all their neighbours. Written is figure [K,3], see
    `solve_body`. What cannot be fitted gets NaN.
    """
    rows, columns = image.shape
    sums, answer = np.empty((ROW, ROW)), np.empty((3, KNOWNS))
    most = int(4 * size + 2 * REACH * sigma + 3)
    pixel = np.empty((3, most * (int(2 * REACH * sigma) + 3) * 2), np.float32)
    row, run = np.empty((ROW, pixel.shape[1]), np.float32), np.empty((most + 3, 3), np.int64)
    moved, near = np.full(len(known), np.inf), 2 * (size + REACH * sigma)
    place = known[:, 3:5].copy()  # of those that are gone, too: its neighbours get its light
    residual[:] = image
    for k in range(len(known)):
        if not math.isnan(known[k, 1]):
            number = runs_of_body(residual, dimer, size, sigma, known[k], run)
            count = pixels_of_runs(residual, known[k], run[:number], pixel)
            light_of_body(dimer, size, sigma, known[k], pixel, count, row)
            add_runs(residual, run[:number], row[ROW - 1], np.float32(-1))
    for _ in range(rounds):
        step = 0.0
        for k in range(len(known)):
            if math.isnan(known[k, 1]):
                continue
            still = moved[k] < CLOSE
            for m in range(len(known)):
                dx, dy = place[k, 0] - place[m, 0], place[k, 1] - place[m, 1]
                if still and moved[m] >= CLOSE and dx * dx + dy * dy < near * near:
                    still = False
            if still:
                continue
            number = runs_of_body(residual, dimer, size, sigma, known[k], run)
            count = pixels_of_runs(residual, known[k], run[:number], pixel)
            light_of_body(dimer, size, sigma, known[k], pixel, count, row)
            add_products(row, count, sums)
            add_runs(residual, run[:number], row[ROW - 1], np.float32(1))
            good = solve_body(sums, known[k], answer, figure[k])
            if good and possible(dimer, size, sigma, rows, columns, known[k], answer[0]):
                place[k] = known[k, 3:5]
                moved[k] = np.abs(answer[0, 3:]).max()
                step = max(step, moved[k])
                number = runs_of_body(residual, dimer, size, sigma, known[k], run)
                count = pixels_of_runs(residual, known[k], run[:number], pixel)
                light_of_body(dimer, size, sigma, known[k], pixel, count, row)
                add_runs(residual, run[:number], row[ROW - 1], np.float32(-1))
            else:
                known[k] = figure[k] = np.nan
                moved[k] = step = np.inf
        if step < CLOSE:
            break
