"""Traps and potentials: moments of an active particle, and Boltzmann distributions."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import jax.numpy as jnp
import numpy as np
from harness import THERMAL, Batch, Result, jackknife, mean_error, row, scaled
from scipy import integrate, special

from swarmctl.core.command import Command, FieldCommand
from swarmctl.core.fields import DoubleWell, HarmonicTrap
from swarmctl.core.world import Box, Fluid, GlobalField, Placement, Species, World

MOMENTS = "moment hierarchy of the Fokker–Planck equation"
BOLTZMANN = "exp(−U/k_B T)"
COUNT = 64
HALF = 100.0
"""Half the side of the open boxes, whose centres are the traps' centres, in µm."""


def _open_world(species: dict[str, Any], dimension: int = 2, **world: Any) -> World:
    centre = (HALF,) * dimension
    placed = Placement("points", positions=(centre,) * COUNT)
    colloid = Species(**{"count": COUNT, "placement": placed, **species})
    box = Box((2 * HALF,) * dimension, "open")
    return World(box, Fluid(), (colloid,), contacts=False, **world)


def active_moments(v: float, k: float, d: float, d_r: float) -> dict[str, float]:
    """Moments of an active Brownian particle in a harmonic trap of rate k in the plane."""
    along = v / (k + d_r)
    square = (v * along + 2 * d) / k
    along2 = (2 * v * along + 2 * d + 2 * d_r * square) / (2 * k + 4 * d_r)
    mixed = (v * (2 * along2 + square) + 8 * d * along) / (3 * k + d_r)
    fourth = (v * mixed + 4 * d * square) / k
    return {"r·n": along, "r²": square, "(r·n)²": along2, "r² r·n": mixed, "r⁴": fourth}


def trap(effort: float = 1.0, seed: int = 0, kdt: float = 0.0025) -> Result:
    """An active particle in a harmonic trap, two parameter sets."""
    rows, curves = [], {}
    for v, k, d, d_r in ((5.0, 1.0, 0.2, 0.2), (2.0, 0.5, 0.2, 1.0)):
        friction = THERMAL / d
        slowest = max(1 / k, 1 / d_r)
        step = kdt / k
        steps = round(0.5 * slowest / step)
        world = _open_world(
            {
                "friction": friction,
                "rotational_friction": THERMAL / d_r,
                "speed_max": v,
            },
            potentials=(HarmonicTrap(k * friction),),
            time_step=step,
        )
        batch = Batch(world, steps * step, scaled(256, effort))
        command = batch.command(speed=v)
        state, _ = batch.run(batch.start(seed), command, 16, seed + 1)

        def moments(now: Any, _: Any) -> tuple[Any, ...]:
            r = now.position - HALF
            along, square = (r * now.director).sum(-1), (r**2).sum(-1)
            terms = (along, square, along**2, square * along, square**2)
            return (*(x.mean(-1) for x in terms), square[:, 0])

        _, out = batch.run(state, command, 60, seed + 2, moments)
        samples = dict(zip(active_moments(1, 1, 1, 1), (x.mean(0) for x in out), strict=False))
        wanted = active_moments(v, k, d, d_r)
        label = f"(v, k, D, D_r) = ({v:g}, {k:g}, {d:g}, {d_r:g}): "
        for name, reference in wanted.items():
            measured = mean_error(samples[name])
            rows.append(row(f"{label}⟨{name}⟩", measured, reference, 0.01, MOMENTS))
        shape = jackknife(lambda a, b: a / (2 * b**2), samples["r⁴"], samples["r²"])
        reference = wanted["r⁴"] / (2 * wanted["r²"] ** 2)
        rows.append(row(f"{label}⟨r⁴⟩/2⟨r²⟩²", shape, reference, 0.01, MOMENTS))
        edges = np.linspace(0, 1.3 * v / k, 40)
        found, _ = np.histogram(np.sqrt(out[-1]), edges)
        density = found / (found.sum() * np.diff(edges))
        curves[label] = {"r": edges[1:] * 0.5 + edges[:-1] * 0.5, "p": density}
    bias = f"Time step {kdt:g}/k: Euler's scheme widens a thermal cloud by k dt/2 = "
    return Result(rows, curves, [f"{bias}{50 * kdt:.2g} %."])


def _shares(x: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Share of the samples [time, swarms, n] in every bin, per swarm [swarms, bins]."""
    flat = np.moveaxis(x, 1, 0).reshape(x.shape[1], -1)
    return np.stack([np.histogram(f, edges)[0] / f.size for f in flat])


def boltzmann(effort: float = 1.0, seed: int = 0) -> Result:
    """Particles in a double well, a spheroid in an anisotropic trap, a moment in a field."""
    rows, curves = [], {}
    barrier, distance = 2.0 * THERMAL, 2.0
    across = 4 * THERMAL
    friction = Species().radius * 6 * math.pi * 1e-3
    curvature = 32 * barrier / distance**2
    step = 0.004 * friction / curvature
    world = _open_world(
        {"speed_max": 0.0},
        potentials=(DoubleWell(barrier, distance, across),),
        time_step=step,
    )
    steps = 500
    batch = Batch(world, steps * step, scaled(128, effort))
    rest = batch.command(speed=0.0)
    state, _ = batch.run(batch.start(seed), rest, 20, seed + 1)
    _, place = batch.run(state, rest, 120, seed + 2, lambda now, _: now.position - HALF)

    def weight(x: float) -> float:
        return math.exp(-barrier / THERMAL * ((2 * x / distance) ** 2 - 1) ** 2)

    edges = np.array([-1.9, -1.3, -1.0, -0.7, -0.35, 0.35, 0.7, 1.0, 1.3, 1.9])
    mass = [integrate.quad(weight, a, b)[0] for a, b in pairwise(edges)]
    total = integrate.quad(weight, -4, 4)[0]
    found = _shares(np.abs(place[..., 0]), np.array([0, 0.35, 0.7, 1.0, 1.3, 1.9]))
    names = ("top, |x| < 0.35", "0.35–0.7", "0.7–1.0", "1.0–1.3", "1.3–1.9 µm")
    halves = [mass[4], 2 * mass[5], 2 * mass[6], 2 * mass[7], 2 * mass[8]]
    for i, name in enumerate(names):
        measured = mean_error(found[:, i])
        rows.append(
            row(f"double well, share at {name}", measured, halves[i] / total, 0.02, BOLTZMANN)
        )
    side = mean_error((place[..., 1] ** 2).mean((0, 2)))
    rows.append(row("double well, ⟨y²⟩ across", side, THERMAL / across, 0.01, "k_B T/k"))
    fine = np.linspace(-1.9, 1.9, 39)
    centres = (fine[1:] + fine[:-1]) / 2
    curves["double well"] = {
        "x": centres,
        "p": _shares(place[..., 0], fine).mean(0) / np.diff(fine),
        "theory": np.array([weight(x) for x in centres]) / total,
    }
    rows += _spheroid_in_trap(effort, seed + 10)
    rows += _moment_in_field(effort, seed + 20)
    remark = "Time steps of 0.004 γ/k with the largest curvature k: a bias of 0.2 % on a variance."
    return Result(rows, curves, [remark])


def _spheroid_in_trap(effort: float, seed: int) -> list[Any]:
    """Unequal frictions and stiffnesses: places must not know of directors."""
    soft, stiff = 1.0 * THERMAL, 4.0 * THERMAL
    species = {"speed_max": 0.0, "aspect_ratio": 4.0}
    probe = World(species=(Species(aspect_ratio=4.0),), box=Box((100.0, 100.0)))
    friction = probe.friction_along(probe.species[0])
    step = 0.004 * friction / stiff
    world = _open_world(species, potentials=(HarmonicTrap((soft, stiff)),), time_step=step)
    batch = Batch(world, 400 * step, scaled(256, effort))
    rest = batch.command(speed=0.0)
    state, _ = batch.run(batch.start(seed), rest, 20, seed + 1)

    def moments(now: Any, _: Any) -> Any:
        x, y = jnp.moveaxis(now.position - HALF, -1, 0)
        n = now.director[..., 0] ** 2
        return jnp.stack([m.mean(-1) for m in (x**2, y**2, n * x**2, n * y**2, x**4)], -1)

    _, out = batch.run(state, rest, 150, seed + 2, moments)
    means = out.mean(0)
    x2, y2 = THERMAL / soft, THERMAL / stiff
    names = ("⟨x²⟩", "⟨y²⟩", "⟨n_x² x²⟩", "⟨n_x² y²⟩", "⟨x⁴⟩")
    wanted = (x2, y2, x2 / 2, y2 / 2, 3 * x2**2)
    return [
        row(f"spheroid (4:1), trap (1, 4) k_B T/µm²: {name}", mean_error(m), w, 0.02, BOLTZMANN)
        for name, m, w in zip(names, means.T, wanted, strict=True)
    ]


def _moment_in_field(effort: float, seed: int) -> list[Any]:
    """⟨cos θ⟩ of a moment in a constant field: I₁/I₀ in the plane, Langevin's function in space."""
    rows = []
    ratio = 2.0
    for dimension in (2, 3):
        moment = ratio * THERMAL
        species = {"speed_max": 0.0, "magnetic_moment": moment}
        rotational = 8 * math.pi * 1e-3
        step = 0.005 * rotational / moment
        world = _open_world(species, dimension, field=GlobalField(1.0), time_step=step)
        batch = Batch(world, 300 * step, scaled(256, effort))
        bias = np.eye(dimension)[0]
        swarms = batch.swarms
        zero = np.zeros(swarms)
        command = Command(
            field=FieldCommand(
                bias=jnp.asarray(np.tile(bias, (swarms, 1))),
                amplitude=jnp.zeros((swarms, dimension)),
                axis=jnp.zeros((swarms, 3)),
                frequency=jnp.asarray(zero),
                phase=jnp.asarray(zero),
                gradient=jnp.zeros((swarms, dimension, dimension)),
            )
        )
        state, _ = batch.run(batch.start(seed), command, 12, seed + 1)
        _, cosine = batch.run(
            state, command, 100, seed + 2, lambda now, _: now.director[..., 0].mean(-1)
        )
        wanted = special.iv(1, ratio) / special.iv(0, ratio)
        if dimension == 3:
            wanted = 1 / math.tanh(ratio) - 1 / ratio
        measured = mean_error(cosine.mean(0))
        name = f"moment in a field, mB = 2 k_B T, {dimension}D: ⟨cos θ⟩"
        rows.append(row(name, measured, wanted, 0.01, BOLTZMANN))
    return rows
