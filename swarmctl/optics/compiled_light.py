"""Loops over pixels of image formation as machine code."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from swarmctl.core.machine_code import compiled

REACH = 4.5
"""A spot or an edge ends so many standard deviations away."""


@compiled("f8(f8)")
def _step(u: float) -> float:
    if u > REACH:
        return 1.0
    if u < -REACH:
        return 0.0
    return 0.5 * math.erfc(-0.7071067811865476 * u)


@compiled("void(f4[:,::1], f8[:,::1], f8[:,::1], f8[::1], f8[::1], f8[::1])")
def add_rods(light: Any, centre: Any, axis: Any, electrons: Any, length: Any, sigma: Any) -> None:
    """Add lines of light that hold `electrons` [K] in all to light [H,W].

    Each is a segment of `length` [K] px about `centre` [K,2] px along the unit vector `axis` [K,2],
    convolved with a Gaussian of `sigma` [K] px.
    """
    height, width = light.shape
    for k in range(len(length)):
        x, y, s = centre[k, 0], centre[k, 1], sigma[k]
        half, nx, ny = 0.5 * length[k], axis[k, 0], axis[k, 1]
        reach_x, reach_y = half * abs(nx) + REACH * s, half * abs(ny) + REACH * s
        if not (-reach_x < x < width + reach_x and -reach_y < y < height + reach_y):
            continue
        level = electrons[k] / (math.sqrt(2 * math.pi) * s * length[k])
        for j in range(max(0, int(y - reach_y)), min(height, int(y + reach_y) + 2)):
            for i in range(max(0, int(x - reach_x)), min(width, int(x + reach_x) + 2)):
                along = nx * (i - x) + ny * (j - y)
                across = nx * (j - y) - ny * (i - x)
                if abs(across) < REACH * s and abs(along) < half + REACH * s:
                    line = _step((along + half) / s) - _step((along - half) / s)
                    light[j, i] += level * line * math.exp(-0.5 * (across / s) ** 2)


@compiled("void(f4[:,::1], f8[:,::1], f8[::1], f8[::1], f8[::1])")
def add_spots(light: Any, centre: Any, peak: Any, sigma: Any, ring: Any) -> None:
    """Add spots of height `peak` at `centre` [K,2] (x, y) px to light [H,W].

    The profile is (e^{-(r-ρ)²/2σ²} + e^{-(r+ρ)²/2σ²})/2 with the ring's radius ρ: a spot for ρ = 0.
    """
    height, width = light.shape
    for k in range(len(peak)):
        x, y, s, rho = centre[k, 0], centre[k, 1], sigma[k], ring[k]
        reach = rho + REACH * s
        if not (-reach < x < width + reach and -reach < y < height + reach):
            continue
        left, right = max(0, int(x - reach)), min(width, int(x + reach) + 2)
        top, bottom = max(0, int(y - reach)), min(height, int(y + reach) + 2)
        scale = 0.5 / (s * s)
        if rho == 0.0:
            row = np.empty(max(0, right - left), np.float32)
            for i in range(left, right):
                row[i - left] = math.exp(-((i - x) ** 2) * scale)
            for j in range(top, bottom):
                factor = np.float32(peak[k] * math.exp(-((j - y) ** 2) * scale))
                for i in range(left, right):
                    light[j, i] += factor * row[i - left]
            continue
        for j in range(top, bottom):
            for i in range(left, right):
                r = math.sqrt((i - x) ** 2 + (j - y) ** 2)
                if r < reach:
                    outer = math.exp(-((r - rho) ** 2) * scale)
                    light[j, i] += 0.5 * peak[k] * (outer + math.exp(-((r + rho) ** 2) * scale))


@compiled(
    "void(f4[:,::1], f4[:,::1], f8[:,::1], f8[:,::1], f8[::1], f8[::1], f8[::1], f8[::1], f8)"
)
def add_discs(
    light: Any,
    ground: Any,
    centre: Any,
    axis: Any,
    radius: Any,
    edge: Any,
    body: Any,
    cap: Any,
    share: float,
) -> None:
    """Lay discs over light [H,W], each for a share of the exposure.

    ground [H,W] is the light without colloids, centre [K,2] px, axis [K,3] a unit vector (image x,
    image y, towards the camera) that points away from the cap, radius and edge [K] px, body and cap
    [K] what is let through. Light crosses the lower and the upper half of a sphere; the cap may
    cover either.
    """
    height, width = light.shape
    for k in range(len(radius)):
        x, y, big, w = centre[k, 0], centre[k, 1], radius[k], edge[k]
        reach = big + REACH * w
        if not (-reach < x < width + reach and -reach < y < height + reach):
            continue
        nx, ny, nz = axis[k, 0], axis[k, 1], axis[k, 2]
        for j in range(max(0, int(y - reach)), min(height, int(y + reach) + 2)):
            for i in range(max(0, int(x - reach)), min(width, int(x + reach) + 2)):
                dx, dy = i - x, j - y
                square = dx * dx + dy * dy
                inside = _step((big - math.sqrt(square)) / w)
                if inside == 0.0:
                    continue
                along = nx * dx + ny * dy
                rise = nz * math.sqrt(max(0.0, big * big - square))
                covered = _step(-(along + rise) / w)
                if rise != 0.0:
                    covered = 0.5 * (covered + _step(-(along - rise) / w))
                through = body[k] + covered * (cap[k] - body[k])
                light[j, i] += share * ground[j, i] * inside * (through - 1.0)


_EXPOSE = "void(f4[::1], f4[::1], f4[::1], u8, f8, f8, f8, f8, {}[::1])"


@compiled(_EXPOSE.format("u1"), _EXPOSE.format("u2"))
def expose(
    light: Any,
    shading: Any,
    normal: Any,
    seed: Any,
    gain: float,
    offset: float,
    read_noise: float,
    top: float,
    frame: Any,
) -> None:
    """Turn light [H·W] in electrons into counts.

    The noise is drawn from `normal`, 2¹⁶ quantiles of the standard normal distribution, by the
    generator SplitMix64 (Steele, Lea and Flood 2014), four pixels from each of its numbers.
    """
    variance = np.float32(read_noise * read_noise)
    g, o, most = np.float32(gain), np.float32(offset + 0.5), np.float32(top)
    bits = np.uint64(0)
    for i in range(len(light)):
        if i & 3 == 0:
            seed += np.uint64(0x9E3779B97F4A7C15)
            bits = (seed ^ (seed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            bits ^= bits >> np.uint64(31)
        mean = max(light[i] * shading[i], np.float32(0.0))
        noise = normal[np.int64(bits & np.uint64(0xFFFF))]
        bits >>= np.uint64(16)
        counts = g * (mean + noise * math.sqrt(mean + variance)) + o
        frame[i] = int(min(max(counts, np.float32(0.0)), most))
