"""Active particles at walls: pressure of an ideal active gas, sedimentation."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import jax.numpy as jnp
import numpy as np
from harness import THERMAL, Batch, Result, jackknife, row, scaled

from swarmctl.core.state import replace
from swarmctl.core.world import Box, Fluid, Species, World
from swarmctl.physics.contacts import face_forces

COUNT = 64
SPEED, ROTATIONAL, RADIUS = 5.0, 2.5, 1.0
"""µm/s, 1/s, µm."""
FRICTION = 6 * math.pi * 1e-3 * RADIUS
RATE = 60.0
"""Stiffness of the walls over friction in 1/s: soft beside the time step, hard beside D_r."""
ENERGY = RATE * FRICTION * RADIUS**2 / 72
STEP = 0.075 / RATE
SOLON = "Solon et al., Nat. Phys. 11, 673 (2015)"
GINOT = "Ginot et al., New J. Phys. 20, 115001 (2018): T_eff = γ D_eff/k_B"


def _world(size: tuple[float, ...], boundary: Any, **species: Any) -> World:
    colloid = Species(
        count=COUNT,
        radius=RADIUS,
        speed_max=SPEED,
        rotational_friction=THERMAL / ROTATIONAL,
        **species,
    )
    box = Box(size, boundary)
    return World(box, Fluid(), (colloid,), contacts=False, contact_energy=ENERGY, time_step=STEP)


def pressure(effort: float = 1.0, seed: int = 0) -> Result:
    """Force of active particles without contacts on two flat walls over the density between."""
    rows, curves = [], {}
    for dimension in (2, 3):
        # The walls reach in by a radius; the gap is what lies between them.
        length, width = 10 * SPEED / ROTATIONAL / (dimension - 1) + 2 * RADIUS + 2.0, 20.0
        size = (length,) + (width,) * (dimension - 1)
        world = _world(size, ("hard",) + ("periodic",) * (dimension - 1))
        batch = Batch(world, 25 * STEP, scaled(160, effort, 8))
        params = batch.params
        command = batch.command(speed=SPEED)
        edges = np.linspace(0, length, 41)
        low, high = length / 2 - length / 8, length / 2 + length / 8

        hard = (True,) + (False,) * (dimension - 1)

        def watch(
            now: Any,
            _: Any,
            low: float = low,
            high: float = high,
            p: Any = params,
            hard: Any = hard,
        ) -> Any:
            x = jnp.moveaxis(now.position, -1, 0)
            forces, _ = face_forces(
                jnp.moveaxis(x, 1, -1),
                p.radius[:, None],
                p.push[:, None],
                p.thermal_energy,
                p.contact_energy,
                p.size[:, None],
                hard,
            )
            push = jnp.abs(forces[0]).sum(0) / 2
            middle = ((x[0] > low) & (x[0] < high)).sum(-1)
            return push, middle, x[0, 0]

        relaxation = (length / math.pi) ** 2 / (
            SPEED**2 / (dimension * (dimension - 1) * ROTATIONAL)
        )
        burn = math.ceil(5 * relaxation / batch.interval)
        state, _ = batch.run(batch.start(seed), command, burn, seed + 1)
        _, (push, middle, place) = batch.run(state, command, 4000, seed + 2, watch)
        area = width ** (dimension - 1)
        mobility = 1 / FRICTION
        single = THERMAL + SPEED**2 / (dimension * (dimension - 1) * mobility * ROTATIONAL)
        ratio = jackknife(
            lambda f, n, a=area, h=high - low, s=single: (f / a) / (n / (a * h)) / s,
            push.astype(float).mean(0),
            middle.astype(float).mean(0),
        )
        name = f"{dimension}D: P/ρ over D/μ + v²/d(d−1)μD_r"
        rows.append(row(name, ratio, 1.0, 0.03, SOLON))
        found, _ = np.histogram(place, edges)
        curves[f"{dimension}D"] = {
            "x": (edges[1:] + edges[:-1]) / 2,
            "density": found / found.mean(),
        }
    remark = (
        f"Gap 10 persistence lengths and more; walls of stiffness {RATE:g} γ/s; "
        f"time step {STEP:g} s; ρ in the middle quarter of the gap."
    )
    return Result(rows, curves, [remark])


def decay_rate(sinking: float, diffusion: float) -> float:
    """κ of the profile e^(−κz) far from the wall, exact for any v_s (2D), in 1/µm.

    Root of the lowest eigenvalue of D_r g'' + (κ v sin θ + D κ² − κ v_s) g = 0 in Fourier modes.
    """
    modes = np.arange(-20, 21)

    def lowest(kappa: float) -> float:
        matrix = np.diag(-ROTATIONAL * modes**2.0 + diffusion * kappa**2 - kappa * sinking)
        hop = 0.5 * kappa * SPEED * np.ones(len(modes) - 1)
        return float(np.linalg.eigvalsh(matrix + np.diag(hop, 1) + np.diag(hop, -1)).max())

    low, high = 1e-3 * sinking, 3 * sinking / (diffusion + SPEED**2 / 2 / ROTATIONAL)
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if lowest(middle) < 0 else (low, middle)
    return (low + high) / 2


def sedimentation(effort: float = 1.0, seed: int = 0) -> Result:
    """Profile of heavy active particles above the layer at the floor, in 2D."""
    sinking = 0.075 * SPEED
    diffusion = THERMAL / FRICTION
    effective = diffusion + SPEED**2 / 2 / ROTATIONAL
    length = effective / sinking
    layer = RADIUS + 4 * SPEED / ROTATIONAL
    world = _world(
        (20.0, 25 * length),
        ("periodic", "hard"),
        force=(0.0, -sinking * FRICTION),
    )
    batch = Batch(world, 100 * STEP, scaled(192, effort, 8))
    state = batch.start(seed)
    # Start near the answer: relaxation takes 4 D_eff/v_s².
    key = np.random.default_rng(seed)
    height = RADIUS + key.exponential(length, (batch.swarms, COUNT))
    height = np.minimum(height, 20 * length)
    position = np.array(state.motion.position)
    position[..., 1] = height
    moved = replace(state.motion, position=jnp.asarray(position))
    state = replace(state, motion=moved)
    relaxation = 4 * effective / sinking**2
    command = batch.command(speed=SPEED)
    burn = math.ceil(1.0 * relaxation / batch.interval)
    state, _ = batch.run(state, command, burn, seed + 1)
    samples = math.ceil(2.0 * relaxation / batch.interval)
    edges = jnp.linspace(0, 8 * length, 65)

    def watch(now: Any, _: Any) -> Any:
        y = now.position[..., 1]
        above = y > layer
        excess = jnp.where(above, y - layer, 0).sum(-1)
        counts = jnp.stack([((y >= a) & (y < b)).sum() for a, b in pairwise(edges)])
        return above.sum(-1), excess, counts

    _, (above, excess, counts) = batch.run(state, command, samples, seed + 2, watch)
    found = jackknife(lambda e, n: e / n, excess.astype(float).mean(0), above.astype(float).mean(0))
    heat = sinking * FRICTION / THERMAL
    rows = [
        row(
            "T_eff/T, v_s = 0.075 v",
            (heat * found[0], heat * found[1]),
            effective / diffusion,
            0.03,
            GINOT,
        ),
        row(
            "decay length (µm), v_s = 0.075 v",
            found,
            1 / decay_rate(sinking, diffusion),
            0.03,
            "lowest mode of the Fokker–Planck equation",
        ),
    ]
    x = np.asarray(edges, float)
    total = counts.sum(0) / counts.sum()
    curves = {
        "height": (x[1:] + x[:-1]) / 2 / length,
        "density": total / np.diff(x) * length,
        "layer": layer / length,
    }
    remark = "The fit is the maximum-likelihood decay length above a + 4 v/D_r."
    return Result(rows, curves, [remark])
