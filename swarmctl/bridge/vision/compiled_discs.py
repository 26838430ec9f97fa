"""Places and orientations of Janus discs to a part of a pixel, as machine code."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from swarmctl.bridge.vision.compiled_solving import solve_positive
from swarmctl.core.machine_code import compiled

KNOWNS = 6
"""Ground, mean contrast, difference of the halves, centre x and y, angle."""
ROW = 8  # behind the knowns come the residual, and a row of other sums
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


@compiled("f8(f4[:,::1], f8, f8, f8[:,::1], f8[::1], f8[:,::1])")
def add_up(image: Any, radius: float, edge: float, near: Any, known: Any, sums: Any) -> float:
    """Write the products of derivatives and residual, summed over a disc's pixels.

    The model is b + S (m + d T): S falls from 1 to 0 at `radius`, T rises from -1 to 1 across the
    line through the centre, both over `edge` px to either side, as cubic steps. known is (b, m, d,
    x, y, angle), sums [ROW,ROW] has the residual behind them. Pixels closer to a centre of near
    [K,2] are left out. Returns the number of pixels; their sum and sum of squares go to the last
    row of sums.
    """
    rows, columns = image.shape
    outer = radius + edge + 1.0
    reach = int(np.ceil(outer))
    x, y = known[3], known[4]
    nx, ny = math.cos(known[5]), math.sin(known[5])
    row = np.zeros(ROW)
    sums[:] = 0.0
    number = total = square = 0.0
    for j in range(max(0, int(y) - reach), min(rows, int(y) + reach + 2)):
        for i in range(max(0, int(x) - reach), min(columns, int(x) + reach + 2)):
            dx, dy = i - x, j - y
            away = dx * dx + dy * dy
            own = away <= outer * outer
            for m in range(len(near)):
                if (i - near[m, 0]) ** 2 + (j - near[m, 1]) ** 2 < away:
                    own = False
            if not own:
                continue
            away = math.sqrt(away)
            u = min(max((radius - away) / edge, -1.0), 1.0)
            s = 0.5 + u * (0.75 - 0.25 * u * u)
            v = min(max((dx * nx + dy * ny) / edge, -1.0), 1.0)
            t = v * (1.5 - 0.5 * v * v)
            level = known[1] + known[2] * t
            outward = 0.75 * (1.0 - u * u) / edge * level / max(away, 1e-9)
            bend = s * known[2] * 1.5 * (1.0 - v * v) / edge
            row[0], row[1], row[2] = 1.0, s, s * t
            row[3] = outward * dx - bend * nx
            row[4] = outward * dy - bend * ny
            row[5] = bend * (dy * nx - dx * ny)
            row[KNOWNS] = image[j, i] - known[0] - s * level
            number += 1.0
            total += image[j, i]
            square += image[j, i] * image[j, i]
            for a in range(ROW - 1):
                share = row[a]
                for b in range(a, ROW - 1):
                    sums[a, b] += share * row[b]
    for a in range(ROW - 1):
        for b in range(a):
            sums[a, b] = sums[b, a]
    sums[ROW - 1, 0], sums[ROW - 1, 1] = total, square
    return number


@compiled("f8(f4[:,::1], f8, f8, f8[:,::1], f8[::1], f8[::1])")
def fit_disc(image: Any, radius: float, edge: float, near: Any, known: Any, answer: Any) -> float:
    """Improve known [KNOWNS] by the method of Gauss and Newton.

    Returns the share of the variance that is explained, -inf if it fails. The variance of the
    angle, from the residual, goes to answer[5].
    """
    rows, columns = image.shape
    sums, right = np.empty((ROW, ROW)), np.empty(KNOWNS)
    known[:3] = 0.0
    number = 0.0
    for turn in range(ROUNDS):
        if not (-0.5 <= known[3] < columns - 0.5 and -0.5 <= known[4] < rows - 0.5):
            return -np.inf
        number = add_up(image, radius, edge, near, known, sums)
        # The first round only finds what the model is linear in.
        unknowns = 3 if turn == 0 else KNOWNS
        for a in range(unknowns):
            sums[a, a] *= 1.0 + 1e-9
            right[a] = sums[a, KNOWNS]
        if number <= 2 * KNOWNS or not solve_positive(
            sums[:unknowns, :unknowns].copy(), right[:unknowns], answer
        ):
            return -np.inf
        step = 0.0
        for a in range(unknowns):
            limit = np.inf if a < 3 else (1.0 if a < 5 else 0.5)
            known[a] += min(max(answer[a], -limit), limit)
            if a >= 3:
                step = max(step, abs(answer[a]))
        if turn > 0 and step < CLOSE:
            break
    residual = sums[KNOWNS, KNOWNS]
    right[:] = 0.0
    right[5] = residual / (number - KNOWNS)
    if not solve_positive(sums[:KNOWNS, :KNOWNS].copy(), right, answer):
        return -np.inf
    total, square = sums[ROW - 1, 0], sums[ROW - 1, 1]
    return 1.0 - residual / max(square - total * total / number, 1e-30)


@compiled("void(f4[:,::1], f8, f8, f8[:,::1], f8[:,::1], f8[::1], f8[::1], f8[::1], f8[::1])")
def fit_discs(
    image: Any,
    radius: float,
    edge: float,
    others: Any,
    position: Any,
    angle: Any,
    contrast: Any,
    error: Any,
    explained: Any,
) -> None:
    """Fit K discs with two halves to an image [H,W], from about where they are.

    Position [K,2] px is improved. Discs at others [M,2] keep their pixels, unless they are closer
    than a radius and so the same. Written are the angle [K] rad of the brighter half and its
    standard deviation `error` [K], the mean size of the halves' contrast [K], and the share of the
    variance that is explained [K]. What cannot be fitted gets NaN, and -inf is explained.
    """
    known, best = np.empty(KNOWNS), np.empty(KNOWNS)
    answer, near = np.empty(KNOWNS), np.empty((16, 2))
    reach = 2 * (radius + edge + 1.0)
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
        for attempt in range(3):
            if explained[k] > GOOD:
                break
            ahead = 0.4 * radius if attempt == 1 else 0.0
            known[3], known[4] = x + ahead * math.cos(first), y + ahead * math.sin(first)
            known[5] = first + math.pi if attempt == 2 else first
            share = fit_disc(image, radius, edge, near[:neighbours], known, answer)
            if share > explained[k]:
                explained[k] = share
                best[:] = known
                error[k] = math.sqrt(answer[5])
        position[k, 0], position[k, 1] = best[3], best[4]
        angle[k] = best[5] + (math.pi if best[2] < 0 else 0.0)
        contrast[k] = 0.5 * (abs(best[1] + best[2]) + abs(best[1] - best[2]))
