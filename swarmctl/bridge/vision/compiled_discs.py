"""Places and orientations of Janus discs to a part of a pixel, as machine code."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from swarmctl.bridge.vision.compiled_solving import add_products, solve_positive
from swarmctl.core.machine_code import compiled

KNOWNS = 6
"""Ground, mean contrast, difference of the halves, centre x and y, angle."""
ROW = 8  # behind the knowns come the residual and the pixels over the ground
ROUNDS = 10
GOOD = 0.97  # share of the variance that needs no second attempt
CLOSE = 0.02  # px and rad: no more rounds


@compiled("f8(f4[:,::1], f8, f8, f8)")
def dipole_angle(image: Any, x: float, y: float, radius: float) -> float:
    """Angle of Σ (I - Ī) r over the disc around (x, y): where its brighter half is."""
    rows, columns = image.shape
    reach = int(np.ceil(radius))
    number = mean = mean_x = mean_y = along_x = along_y = 0.0
    for j in range(max(0, int(y) - reach), min(rows, int(y) + reach + 2)):
        for i in range(max(0, int(x) - reach), min(columns, int(x) + reach + 2)):
            dx, dy = i - x, j - y
            if dx * dx + dy * dy < radius * radius:
                number += 1.0
                mean += image[j, i]
                mean_x += dx
                mean_y += dy
                along_x += image[j, i] * dx
                along_y += image[j, i] * dy
    mean /= max(number, 1.0)
    return math.atan2(along_y - mean * mean_y, along_x - mean * mean_x)


@compiled("i8(f4[:,::1], f8, f8, f8, f8[:,::1], f4[:,::1])")
def own_pixels(image: Any, x: float, y: float, outer: float, near: Any, pixel: Any) -> int:
    """Write offsets from (x, y) and values of pixels within `outer` into pixel [3,C].

    Pixels closer to a centre of near [K,2] are left out. Returns their number.
    """
    rows, columns = image.shape
    count = 0
    for j in range(max(0, int(y - outer) + 1), min(rows, int(y + outer) + 1)):
        half = math.sqrt(max(outer * outer - (j - y) ** 2, 0.0))
        first = max(0, math.ceil(x - half))
        last = min(columns - 1, math.floor(x + half))
        for m in range(len(near)):
            # What is closer to (x, y) lies on one side of a line: 2i·(x - near) >= bound.
            side = 2.0 * (x - near[m, 0])
            bound = x * x - near[m, 0] ** 2 + (j - y) ** 2 - (j - near[m, 1]) ** 2
            if side > 0.0:
                first = max(first, math.ceil(min(bound / side, 1e9)))
            elif side < 0.0:
                last = min(last, math.floor(max(bound / side, -1e9)))
            elif bound > 0.0:
                last = -1
        if first > last:
            continue
        line, number = image[j, first : last + 1], last + 1 - first
        right, down, value = (
            pixel[0, count : count + number],
            pixel[1, count : count + number],
            pixel[2, count : count + number],
        )
        for n in range(number):
            right[n] = np.float32(first - x) + np.float32(n)
            down[n] = np.float32(j - y)
            value[n] = line[n]
        count += number
    return count


@compiled("void(f4[:,::1], i8, f8, f8, f8[::1], f4[:,::1], f8[:,::1])")
def add_up(
    pixel: Any, count: int, radius: float, edge: float, known: Any, row: Any, sums: Any
) -> None:
    """Write the products of derivatives and residual, summed over a disc's pixels [3,C].

    The model is b + S (m + d T): S falls from 1 to 0 at `radius`, T rises from -1 to 1 across the
    line through the centre, both over `edge` px to either side, as cubic steps. known is (b, m, d,
    x, y, angle), sums [ROW,ROW] has behind them the residual, and what is over the ground b. row
    [ROW,C] is scratch.
    """
    base, mean, split = np.float32(known[0]), np.float32(known[1]), np.float32(known[2])
    nx, ny = np.float32(math.cos(known[5])), np.float32(math.sin(known[5]))
    size, steep = np.float32(radius), np.float32(1.0 / edge)
    one, half, quarter = np.float32(1.0), np.float32(0.5), np.float32(0.25)
    tiny, bit = np.float32(1e-9), np.float32(0.75)
    right, down, value = pixel[0, :count], pixel[1, :count], pixel[2, :count]
    for k in range(count):
        dx, dy = right[k], down[k]
        away = np.sqrt(dx * dx + dy * dy)
        u = min(max((size - away) * steep, -one), one)
        s = half + u * (bit - quarter * u * u)
        v = min(max((dx * nx + dy * ny) * steep, -one), one)
        t = v * (one + half - half * v * v)
        level = mean + split * t
        outward = bit * (one - u * u) * steep * level / max(away, tiny)
        bend = s * split * (one + half) * (one - v * v) * steep
        row[0, k], row[1, k], row[2, k] = one, s, s * t
        row[3, k] = outward * dx - bend * nx
        row[4, k] = outward * dy - bend * ny
        row[5, k] = bend * (dy * nx - dx * ny)
        row[6, k] = value[k] - base - s * level
        row[7, k] = value[k] - base
    add_products(row, count, sums)


@compiled("f8(f4[:,::1], f8, f8, f8[:,::1], f8[::1], f8[::1], f4[:,::1], f4[:,::1])")
def fit_disc(
    image: Any,
    radius: float,
    edge: float,
    near: Any,
    known: Any,
    answer: Any,
    pixel: Any,
    row: Any,
) -> float:
    """Improve known [KNOWNS] by the method of Gauss and Newton. pixel, row [.,C] are scratch.

    Returns the share of the variance that is explained, -inf if it fails. The variance of the
    angle, from the residual, goes to answer[5].
    """
    rows, columns = image.shape
    sums, right = np.empty((ROW, ROW)), np.empty(KNOWNS)
    known[:3] = 0.0
    explained = -np.inf
    for turn in range(ROUNDS):
        if not (-0.5 <= known[3] < columns - 0.5 and -0.5 <= known[4] < rows - 0.5):
            return -np.inf
        count = own_pixels(image, known[3], known[4], radius + edge + 1.0, near, pixel)
        if count <= 2 * KNOWNS:
            return -np.inf
        if turn == 0:
            # Single precision is for what differs from a level.
            known[0] = pixel[2, 0]
        add_up(pixel, count, radius, edge, known, row, sums)
        total, square = sums[0, ROW - 1], sums[ROW - 1, ROW - 1]
        explained = 1.0 - sums[KNOWNS, KNOWNS] / max(square - total * total / count, 1e-30)
        # The first round only finds what the model is linear in.
        unknowns = 3 if turn == 0 else KNOWNS
        for a in range(unknowns):
            sums[a, a] *= 1.0 + 1e-9
            right[a] = sums[a, KNOWNS]
        if not solve_positive(sums[:unknowns, :unknowns].copy(), right[:unknowns], answer):
            return -np.inf
        step = 0.0
        for a in range(unknowns):
            limit = np.inf if a < 3 else (1.0 if a < 5 else 0.5)
            known[a] += min(max(answer[a], -limit), limit)
            if a >= 3:
                step = max(step, abs(answer[a]))
        if turn > 0 and step < CLOSE:
            break
    right[:] = 0.0
    right[5] = sums[KNOWNS, KNOWNS] / (sums[0, 0] - KNOWNS)
    if not solve_positive(sums[:KNOWNS, :KNOWNS].copy(), right, answer):
        return -np.inf
    return explained


@compiled("void(f4[:,::1], f8, f8, i8, f8[:,::1], f8[:,::1], f8[::1], f8[::1], f8[::1], f8[::1])")
def fit_discs(
    image: Any,
    radius: float,
    edge: float,
    attempts: int,
    others: Any,
    position: Any,
    angle: Any,
    contrast: Any,
    error: Any,
    explained: Any,
) -> None:
    """Fit K discs with two halves to an image [H,W], from about where they are.

    Position [K,2] px is improved, from up to three starts: `attempts`. Discs at others [M,2] keep
    their pixels, unless they are closer than a radius and so the same. Written are the angle [K]
    rad of the brighter half and its standard deviation `error` [K], the mean size of the halves'
    contrast [K], and the share of the variance that is explained [K]. What cannot be fitted gets
    NaN, and -inf is explained.
    """
    known, best = np.empty(KNOWNS), np.empty(KNOWNS)
    answer, near = np.empty(KNOWNS), np.empty((16, 2))
    reach = 2 * (radius + edge + 1.0)
    most = int(reach + 2) ** 2
    pixel, row = np.empty((3, most), np.float32), np.empty((ROW, most), np.float32)
    for k in range(len(angle)):
        x, y = position[k, 0], position[k, 1]
        neighbours = 0
        for m in range(len(others)):
            away = (others[m, 0] - x) ** 2 + (others[m, 1] - y) ** 2
            if radius * radius < away < reach * reach and neighbours < len(near):
                near[neighbours, 0], near[neighbours, 1] = others[m, 0], others[m, 1]
                neighbours += 1
        explained[k] = -np.inf
        best[:] = error[k] = np.nan
        first = dipole_angle(image, x, y, radius)
        # Where a body is hardly seen, the start is the middle of its cap; beside the centre of a
        # grey body the dipole points the wrong way.
        for attempt in range(attempts):
            if explained[k] > GOOD:
                break
            ahead = 0.4 * radius if attempt == 1 else 0.0
            known[3], known[4] = x + ahead * math.cos(first), y + ahead * math.sin(first)
            known[5] = first + math.pi if attempt == 2 else first
            share = fit_disc(image, radius, edge, near[:neighbours], known, answer, pixel, row)
            if share > explained[k]:
                explained[k] = share
                best[:] = known
                error[k] = math.sqrt(answer[5])
        position[k, 0], position[k, 1] = best[3], best[4]
        angle[k] = best[5] + (math.pi if best[2] < 0 else 0.0)
        contrast[k] = 0.5 * (abs(best[1] + best[2]) + abs(best[1] - best[2]))
