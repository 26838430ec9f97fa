"""Contacts: statistics of a pair, order of the scheme, convergence in the time step at φ = 0.5."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import jax.numpy as jnp
import numpy as np
from harness import THERMAL, Batch, Result, Row, mean_error, row, scaled
from scipy import integrate, optimize

from swarmctl.core.world import Box, Fluid, Species, World
from swarmctl.physics.contacts import wca_factor

FRICTION = 6 * math.pi * 1e-3
WCA = "Weeks, Chandler and Andersen 1971, exp(−U/k_B T)"


def wca_energy(r: Any, contact: float, energy: float) -> Any:
    """4ε((σ/r)¹² − (σ/r)⁶) + ε with 2^(1/6) σ = contact, 0 beyond."""
    ratio = (contact * 2 ** (-1 / 6) / r) ** 6
    return np.where(r < contact, 4 * energy * (ratio**2 - ratio) + energy, 0.0)


def pair(effort: float = 1.0, seed: int = 0) -> Result:
    """Distances of two passive spheres in the plane, ε = k_B T, and the end of their repulsion."""
    length, step = 5.0, 5e-4
    species = Species(count=2, radius=1.0, speed_max=0.0)
    world = World(Box((length, length)), species=(species,), time_step=step, contact_energy=THERMAL)
    batch = Batch(world, 200 * step, scaled(8192, effort))
    state = batch.start(seed)
    edges = np.array([0.0, 1.7, 1.8, 1.9, 2.0, 2.15, 2.3, 2.5])
    bins, centres = [1, 2, 3, 4, 6], (1.75, 1.85, 1.95, 2.075, 2.4)

    def watch(now: Any, _: Any) -> Any:
        r = batch.space.distance(now.position[:, 0], now.position[:, 1])[:, None]
        return (r >= jnp.asarray(edges[:-1])) & (r < jnp.asarray(edges[1:]))

    rest = batch.command(speed=0.0)
    state, _ = batch.run(state, rest, 30, seed + 1)
    _, hits = batch.run(state, rest, 150, seed + 2, watch)

    def weight(r: float) -> float:
        return r * math.exp(-float(wca_energy(r, 2.0, 1.0)))

    mass = np.array([integrate.quad(weight, max(a, 0.5), b)[0] for a, b in pairwise(edges)])
    share = mass / mass.sum()
    counts = hits.astype(float).mean(0)
    rows, found = [], []
    for b, r in zip(bins, centres, strict=True):
        ratio = jackknife_ratio(counts[:, b] / share[b], counts.sum(1))
        found.append(ratio[0])
        name = f"g(r)/exp(−U/k_B T) at {r:g} µm, R_i + R_j = 2 µm"
        rows.append(row(name, ratio, 1.0, 0.02, WCA))
    square = jnp.asarray([2.0 * (1 - 1e-4), 2.0, 2.0 * (1 + 1e-4)]) ** 2
    force, _ = wca_factor(square, jnp.asarray(2.0), jnp.asarray(1.0))
    reach = float(force[1]) + float(force[2])
    rows.append(row("force at and beyond R_i + R_j", reach, 0.0, 0.0, "exactly 0", absolute=True))
    curves = {"r": centres, "ratio": found}
    return Result(rows, curves, [f"dt 72ε/c²γ = {step * 72 * THERMAL / 4 / FRICTION:.2g}."])


def jackknife_ratio(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    """Ratio of two means over the same swarms, with its error (for many swarms)."""
    ratio = a.mean() / b.mean()
    return float(ratio), float((a - ratio * b).std(ddof=1) / b.mean() / math.sqrt(len(a)))


def weak_order(effort: float = 1.0, seed: int = 0) -> Result:
    """Error of the variance of a sphere between two hard faces over the time step."""
    radius, length, energy = 1.0, 2.0, 20.0
    species = Species(count=16, radius=radius, speed_max=0.0)
    box = Box((length, 50.0), ("hard", "periodic"))
    relaxation = FRICTION * radius**2 / (72 * energy * THERMAL)

    def weight(x: float, power: int) -> float:
        sides = sum(float(wca_energy(d, radius, energy)) for d in (x, length - x))
        return (x - length / 2) ** power * math.exp(-sides)

    total, square = (integrate.quad(weight, 0.7, length - 0.7, (p,))[0] for p in (0, 2))
    exact = square / total
    products, errors = (0.2, 0.1, 0.05, 0.025), []
    for product in products:
        world = World(
            box,
            Fluid(),
            (species,),
            time_step=product * relaxation,
            contacts=False,
            contact_energy=energy * THERMAL,
        )
        batch = Batch(world, round(3 / product) * world.time_step, scaled(2048, effort))
        state = batch.start(seed)
        rest = batch.command(speed=0.0)
        state, _ = batch.run(state, rest, 4, seed + 1)
        _, seen = batch.run(
            state,
            rest,
            200,
            seed + 2,
            lambda now, _: ((now.position[..., 0] - length / 2) ** 2).mean(-1),
        )
        value, error = mean_error(seen.astype(float).mean(0) / exact - 1)
        errors.append((value, error))
    value, error = np.array(errors).T
    x, y, sigma = np.log(products), np.log(np.abs(value)), error / np.abs(value)
    slope, covariance = np.polyfit(x, y, 1, w=1 / sigma, cov="unscaled")
    measured = float(slope[0]), float(math.sqrt(covariance[0, 0]))
    rows = [row("slope of ln error over ln dt", measured, 1.0, 0.2, "weak order 1", absolute=True)]
    return Result(rows, {"product": products, "error": value, "sigma": error})


COUNT, PHI, SPEED, ROTATIONAL = 36, 0.5, 5.0, 5.0


def convergence(effort: float = 1.0, seed: int = 0) -> Result:
    """Contact pressure and energy of active discs at φ = 0.5 over the time step."""
    side = math.sqrt(COUNT * math.pi / PHI)
    species = Species(
        count=COUNT, radius=1.0, speed_max=SPEED, rotational_friction=THERMAL / ROTATIONAL
    )
    energy = max(THERMAL, FRICTION * SPEED * 2)
    stiffness = 72 * energy / 4 / FRICTION
    products = (0.2, 0.1, 0.05, 0.025)
    upper = np.triu_indices(COUNT, 1)
    interval = 8.0 / stiffness

    def watch(now: Any, _: Any) -> Any:
        delta = [
            now.position[..., k][:, upper[0]] - now.position[..., k][:, upper[1]] for k in (0, 1)
        ]
        delta = [d - side * jnp.round(d / side) for d in delta]
        square = delta[0] ** 2 + delta[1] ** 2
        factor, u = wca_factor(square, jnp.asarray(2.0), jnp.asarray(energy))
        inside = jnp.where(u > 1, energy * (u**3 - 1) ** 2, 0)
        return (factor * square).sum(-1) / (2 * side**2), inside.sum(-1) / COUNT

    runs = []
    for product in products:
        world = World(
            Box((side, side)),
            species=(species,),
            time_step=product / stiffness,
            contact_energy=energy,
        )
        batch = Batch(world, interval, scaled(64, effort, 8))
        command = batch.command(speed=SPEED)
        state, _ = batch.run(batch.start(seed), command, 80, seed + 1)
        _, seen = batch.run(state, command, 400, seed + 2, watch)
        ideal = PHI / math.pi * THERMAL
        runs.append([mean_error(x.astype(float).mean(0) / ideal) for x in seen])
    rows: list[Row] = []
    curves: dict[str, Any] = {"product": products}
    powers = []
    names = ("contact pressure / ρk_B T", "contact energy per particle × ρ/ρk_B T")
    for k, name in enumerate(names):
        value, error = np.array([r[k] for r in runs]).T
        if k:
            value, error = value * PHI / math.pi, error * PHI / math.pi
        straight, covariance = np.polyfit(products, value, 1, w=1 / error, cov="unscaled")
        limit = float(straight[1])
        chi = float((((np.polyval(straight, products) - value) / error) ** 2).sum())
        curves[name] = {"value": value, "error": error, "line": straight}
        spread = float(math.hypot(error[-1], math.sqrt(covariance[1, 1])))
        label = f"{name} at dt 72ε/c²γ = {products[-1]:g}, over its limit"
        rows.append(
            row(label, (value[-1] / limit, spread / limit), 1.0, 0.02, "straight line to dt = 0")
        )
        rows.append(
            row(
                f"{name}: χ² of a straight line in dt, 2 degrees of freedom",
                chi,
                0.0,
                9.2,
                "χ² below its 99 % point: weak order 1",
                absolute=True,
            )
        )

        def line(x: np.ndarray, a: float, b: float, s: float) -> np.ndarray:
            return a + b * np.sign(s) * x**s

        try:
            best, cov = optimize.curve_fit(
                line,
                np.array(products) / products[0],
                value,
                (limit, straight[0] * products[0], 1.0),
                sigma=error,
                absolute_sigma=True,
                bounds=((-np.inf, -np.inf, 0.2), (np.inf, np.inf, 4)),
            )
            power = float(best[2]), float(math.sqrt(cov[2, 2]))
        except RuntimeError:
            power = math.nan, math.inf
        known = power[1] < 0.5
        powers.append(f"{power[0]:.2f} ± {power[1]:.2f}" if known else "not to be seen")
    remarks = [
        f"N = {COUNT}, Pe = v/(D_r · 2a) = {SPEED / ROTATIONAL / 2:g}, γv·2a = "
        f"{FRICTION * SPEED * 2 / THERMAL:.2g} k_B T. Exponent of a free fit a + b dt^s: "
        f"{', '.join(powers)} (pressure, energy)."
    ]
    return Result(rows, curves, remarks)
