"""Motility-induced phase separation of active discs: one density at Pe = 20, two at 80 and 100.

A slow case of run.py (`--cases mips`), for an engine that finds neighbours fast. Critical point of
Siebert et al., PRE 98, 030601(R) (2018): Pe = 40(2), φ = 0.597(3), read with their group's
conventions: discs with a WCA potential of ε = 100 k_B T, whose effective diameter d = 1.10688 σ
(Barker and Henderson) counts in φ = N π d²/4A, in D_r = 3 D_t/d² and in Pe = v d/D_t = 3v/(d D_r).
Every run is saved after every 2/D_r in build/validation and goes on from there.
"""

from __future__ import annotations

import math
import zlib
from pathlib import Path
from typing import Any

import jax
import numpy as np
from harness import THERMAL, Batch, Result, Row, scaled

from swarmctl.core.world import Box, Species, World

FOLDER = Path(__file__).resolve().parents[2] / "build" / "validation"
COUNT, PHI, PECLETS = 10_000, 0.6, (20.0, 80.0, 100.0)
BARKER_HENDERSON = 1.10688
RADIUS = 1.0
DIAMETER = BARKER_HENDERSON * 2 * RADIUS * 2 ** (-1 / 6)
FRICTION = 6 * math.pi * 1e-3 * RADIUS
DIFFUSION = THERMAL / FRICTION
ROTATIONAL = 3 * DIFFUSION / DIAMETER**2
ENERGY = 100 * THERMAL
# Three times this is stable at Pe = 20. In the clusters at Pe = 80 colloids are pressed to where
# the potential is several times stiffer than at contact, and 0.15 ends in an overlap.
STEP = 0.05 / (72 * ENERGY / (2 * RADIUS) ** 2 / FRICTION)
BLOCK, LONG, SAMPLED = 2.0, 60, 25
"""Blocks of 2/D_r: length, how many in all, and how many of the last ones are averaged."""
CELL = 7 * DIAMETER
EDGES = np.linspace(0, 1.4, 71)


def _run(peclet: float, count: int, seed: int) -> np.ndarray:
    """Positions [samples, N, 2] of the last blocks."""
    side = math.sqrt(count * math.pi * DIAMETER**2 / 4 / PHI)
    speed = peclet * DIFFUSION / DIAMETER
    species = Species(
        count=count,
        radius=RADIUS,
        speed_max=speed,
        rotational_friction=THERMAL / ROTATIONAL,
    )
    world = World(Box((side, side)), species=(species,), time_step=STEP, contact_energy=ENERGY)
    steps = round(BLOCK / ROTATIONAL / STEP)
    batch = Batch(world, steps * STEP, 1)
    name = f"mips-{zlib.crc32(repr((peclet, count, seed, STEP, LONG)).encode()):08x}.npz"
    path = FOLDER / name
    frames: list[np.ndarray] = []
    state = batch.start(seed)
    leaves, structure = jax.tree.flatten(state)
    if path.is_file():
        with np.load(path) as stored:
            frames = list(stored["frames"])
            leaves = [stored[f"leaf{i}"] for i in range(len(leaves))]
        state = jax.tree.unflatten(structure, leaves)
    command = batch.command(speed=speed)
    FOLDER.mkdir(parents=True, exist_ok=True)
    while len(frames) < LONG:
        state, _ = batch.run(state, command, 1, seed + 1 + len(frames))
        frames.append(np.asarray(batch.observe(state).position[0]))
        part = path.with_suffix(".part.npz")
        stored = {f"leaf{i}": np.asarray(x) for i, x in enumerate(jax.tree.leaves(state))}
        np.savez(part, frames=np.stack(frames), **stored)
        part.replace(path)
    return np.stack(frames[-SAMPLED:])


def local_densities(frames: np.ndarray, side: float) -> np.ndarray:
    """Packing fraction of square cells about 7 diameters wide, of all frames."""
    cells = max(2, round(side / CELL))
    unit = math.pi * DIAMETER**2 / 4 / (side / cells) ** 2
    found = []
    for r in frames:
        index = np.minimum((r / side * cells).astype(int), cells - 1)
        found.append(np.bincount(index[:, 0] * cells + index[:, 1], minlength=cells**2) * unit)
    return np.concatenate(found)


def peaks(phi: np.ndarray) -> tuple[int, float, float]:
    """Number of phases, and the densities of the dilute and the dense one.

    Two if the best division of the cells into two groups (Otsu) explains 3/4 of the variance and
    leaves 1/10 of the cells or more on both sides, with densities that differ by 0.4 or more; of a
    single Gaussian it explains 2/π = 0.64.
    """
    values = np.sort(phi)
    total = values.var() * len(values)
    before = np.arange(1, len(values))
    low = np.cumsum(values)[:-1] / before
    high = (values.sum() - np.cumsum(values)[:-1]) / (len(values) - before)
    between = before * (len(values) - before) / len(values) * (high - low) ** 2
    at = int(between.argmax())
    share = before[at] / len(values)
    two = between[at] > 0.75 * total and 0.1 < share < 0.9 and high[at] - low[at] > 0.4
    if not two:
        return 1, float(values.mean()), float(values.mean())
    cut = before[at]
    return 2, float(np.median(values[:cut])), float(np.median(values[cut:]))


def mips(effort: float = 1.0, seed: int = 0) -> Result:
    """Number of densities at φ = 0.6 below and above the critical Péclet number."""
    count = scaled(COUNT, effort, 200)
    side = math.sqrt(count * math.pi * DIAMETER**2 / 4 / PHI)
    rows: list[Row] = []
    curves: dict[str, Any] = {}
    for peclet in PECLETS:
        phi = local_densities(_run(peclet, count, seed), side)
        number, dilute, dense = peaks(phi)
        wanted = 1.0 if peclet < 40 else 2.0
        source = "Siebert et al. 2018: Pe_cr = 40(2)"
        label = f"Pe = {peclet:g}, φ = {PHI:g}, N = {count}: "
        rows.append(Row(label + "number of densities", number, wanted, 0.0, 0.0, "exactly", source))
        p, _ = np.histogram(phi, EDGES, density=True)
        curves[f"Pe = {peclet:g}"] = {"phi": (EDGES[1:] + EDGES[:-1]) / 2, "p": p}
        if number == 2:
            curves[f"Pe = {peclet:g}"]["densities"] = np.array([dilute, dense])
    two = [
        f"{name}: {c['densities'][0]:.2f} and {c['densities'][1]:.2f}"
        for name, c in curves.items()
        if "densities" in c
    ]
    remark = f"{LONG * BLOCK:g}/D_r from a random start, the last {SAMPLED * BLOCK:g} averaged."
    return Result(rows, curves, [remark, *([f"Densities: {'; '.join(two)}."] if two else [])])
