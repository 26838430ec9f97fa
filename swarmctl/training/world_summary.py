"""A simulation in numbers: displacements of colloids and bodies."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from swarmctl.records.trajectory import Trajectory
from swarmctl.training.world_file import Simulation


def msd(position: np.ndarray, lag: int) -> float:
    """Mean squared displacement µm² over `lag` frames of positions [T,N,D] µm, unwrapped."""
    moved = position[lag:].astype(float) - position[:-lag]
    square = np.sum(moved**2, axis=-1)
    seen = np.isfinite(square)
    return float(square[seen].mean()) if seen.any() else math.nan


def summarise(simulation: Simulation, trajectory: Trajectory) -> dict[str, Any]:
    """Displacements of every species and body, as `SimulateResult.summary`."""
    world, run = simulation.world, simulation.run
    kinds = np.asarray(world.species_of_slot)
    last = len(trajectory) - 1
    lags = sorted({1, max(1, last // 10), max(1, last // 4)})
    species = {}
    for index, about in enumerate(world.species):
        position = trajectory.position[:, kinds == index]
        curve = [[lag * run.every, msd(position, lag)] for lag in lags]
        species[about.name] = {
            "count": about.count,
            "diffusion": world.diffusion(about),
            "msd": curve,
            "effective_diffusion": curve[-1][1] / (2 * world.dimension * curve[-1][0]),
        }
    summary: dict[str, Any] = {"time": last * run.every, "frames": last + 1, "species": species}
    bodies = trajectory.bodies
    if bodies is not None:
        moved = np.linalg.norm(bodies.centre[-1].astype(float) - bodies.centre[0], axis=-1)
        summary["bodies"] = [
            {"name": name, "displacement": float(length)}
            for name, length in zip(bodies.name, moved, strict=True)
        ]
        if world.dimension == 2:
            # Turns between frames are far below half a revolution.
            turned = np.unwrap(bodies.orientation.astype(float), axis=0)
            for row, angle in zip(summary["bodies"], turned[-1] - turned[0], strict=True):
                row["turn"] = float(angle)
    return summary


def format_summary(simulation: Simulation, summary: Mapping[str, Any]) -> list[str]:
    """The summary as lines of text."""
    world = simulation.world
    count = f"{world.capacity} colloid{'s' * (world.capacity > 1)}"
    head = f"{count}, {summary['time']:g} s in steps of {1e3 * world.time_step:g} ms"
    rate = summary.get("particle_steps_per_second")
    lines = [head + (f", {rate / 1e6:.3g} M particle-steps/s" if rate else "")]
    for name, row in summary["species"].items():
        (lag, first), (longest, _) = row["msd"][0], row["msd"][-1]
        expected = 2 * world.dimension * row["diffusion"] * lag
        lines.append(
            f"{name}: {row['count']}, MSD {first:.4g} µm² in {lag:g} s "
            f"(diffusion alone {expected:.4g}); "
            f"effective D {row['effective_diffusion']:.4g} µm²/s over {longest:g} s"
        )
    rows = summary.get("bodies", [])
    for row in rows[:4]:
        turn = f", turned {math.degrees(row['turn']):.3g}°" if "turn" in row else ""
        lines.append(f"body {row['name']}: moved {row['displacement']:.3g} µm{turn}")
    if len(rows) > 4:
        lines.append(f"and {len(rows) - 4} more bodies")
    return lines
