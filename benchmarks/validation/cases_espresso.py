"""The engine on ESPResSo beside the JAX engine, in the same worlds. A case of run.py; needs a
Python that has espressomd.
"""

from __future__ import annotations

import math
from typing import Any

import jax.numpy as jnp
import numpy as np
from cases_lammps import BURN, COUNT, ENERGY, FRAME_STEPS, FRAMES, RADIUS, ROTATIONAL, SPEED, STEP
from cases_lammps import analyse as analyse_discs
from cases_lammps import ours as discs_on_jax
from harness import THERMAL, Batch, Result, Row, mean_error, row, scaled

from swarmctl.core.bodies import Body, Rod
from swarmctl.core.command import Command
from swarmctl.core.contracts import Engine
from swarmctl.core.fields import HarmonicTrap
from swarmctl.core.state import Space
from swarmctl.core.world import Box, Placement, Species, World
from swarmctl.engines import espresso_build
from swarmctl.engines.espresso_engine import EspressoEngine

PHI = 0.3
STIFFNESS = 0.02
TORQUE, ROD_FRICTION = 4.0, 20.0
SOURCE = "JAX engine"


def episodes(world: World, interval: float, swarms: int, seed: int, speed: float = 0.0) -> Any:
    """Yield for every swarm the engine, begun, and the command to swim."""
    engine = EspressoEngine(world, interval)
    command = Command(speed=jnp.full(world.capacity, speed))
    for swarm in range(swarms):
        engine.reset(seed + swarm)
        yield engine, command
    engine.close()


def advance(engine: Engine, command: Command, intervals: int) -> None:
    """Step without looking."""
    for _ in range(intervals):
        engine.step(command)


def free_world() -> World:
    """Colloids that do not meet."""
    return World(Box((1000.0, 1000.0)), species=(Species(count=1000, speed_max=0),), contacts=False)


def free(engine: str, effort: float, seed: int) -> tuple[Any, Any]:
    """D and D_r with errors from mean squares of displacements and turns in independent intervals.

    Intervals of a free motion are independent; 10 at a time are averaged to units.
    """
    intervals, interval, world = scaled(100, effort, 10), 0.05, free_world()
    if engine == "jax":
        batch = Batch(world, interval, 1)
        _, (v, w) = batch.run(
            batch.start(seed),
            batch.command(speed=0.0),
            intervals,
            seed,
            lambda now, _: (now.velocity[0], now.angular_velocity[0]),
        )
    else:
        ((made, command),) = [next(episodes(world, interval, 1, seed))]
        states = [made.step(command).state for _ in range(intervals)]
        v = np.stack([np.asarray(s.velocity) for s in states])
        w = np.stack([np.asarray(s.angular_velocity) for s in states])
        made.close()
    square = (np.asarray(v, float) ** 2).mean((1, 2)) * interval / 2
    turn = (np.asarray(w, float) ** 2).mean(1) * interval / 2
    return mean_error(square), mean_error(turn)


def trap(engine: str, effort: float, seed: int) -> np.ndarray:
    """Mean squares [swarms] of x over swarms of independent colloids in a harmonic trap, and all x.

    Frames are 4 relaxation times apart.
    """
    world = World(
        Box((40.0, 40.0), "open"),
        species=(Species(count=500, speed_max=0),),
        potentials=(HarmonicTrap(STIFFNESS),),
        contacts=False,
        time_step=0.005,
    )
    relaxed = world.friction(world.species[0]) / STIFFNESS
    interval = round(4 * relaxed / world.time_step) * world.time_step
    frames = scaled(20, effort, 4)
    # The placement in the box relaxes within the first 6 intervals to exp(-24) of itself.
    if engine == "jax":
        batch = Batch(world, interval, 1)
        command = batch.command(speed=0.0)
        state, _ = batch.run(batch.start(seed), command, 6, seed)
        _, x = batch.run(state, command, frames, seed + 1, lambda now, _: now.position[0])
        return np.asarray(x, float) - 20
    ((made, command),) = [next(episodes(world, interval, 1, seed))]
    advance(made, command, 6)
    found = [np.asarray(made.step(command).state.position, float) for _ in range(frames)]
    made.close()
    return np.stack(found) - 20


def rods(engine: str, effort: float, seed: int) -> tuple[float, float]:
    """Mean turn rate of rods under a constant torque, with its error over rods."""
    side, count = 400.0, 9
    places = tuple((60.0 + 120 * (i % 3), 60.0 + 120 * (i // 3)) for i in range(count))
    rod = Body(
        count=count,
        shape=Rod(30.0, 5.0),
        torque=(TORQUE,),
        rotational_friction=(ROD_FRICTION,),
        placement=Placement("points", positions=places),
    )
    aside = Species(count=1, speed_max=0, placement=Placement("points", positions=((10.0, 10.0),)))
    world = World(Box((side, side)), species=(aside,), bodies=(rod,))
    intervals, interval = scaled(100, effort, 10), 0.1
    if engine == "jax":
        batch = Batch(world, interval, 1)
        _, rate = batch.run(
            batch.start(seed),
            batch.command(speed=0.0),
            intervals,
            seed,
            lambda now, _: now.bodies.angular_velocity[0],
        )
    else:
        ((made, command),) = [next(episodes(world, interval, 1, seed))]
        rate = np.stack(
            [np.asarray(made.step(command).state.bodies.angular_velocity) for _ in range(intervals)]
        )
        made.close()
    return mean_error(np.asarray(rate, float).mean(0))


def discs_on_espresso(swarms: int, seed: int) -> np.ndarray:
    """Positions (unwrapped) and directors [frames, swarms, N, 4], as of `cases_lammps.ours`."""
    side = math.sqrt(COUNT * math.pi * RADIUS**2 / PHI)
    species = Species(
        count=COUNT, radius=RADIUS, speed_max=SPEED, rotational_friction=THERMAL / ROTATIONAL
    )
    world = World(Box((side, side)), species=(species,), time_step=STEP, contact_energy=ENERGY)
    space = Space(jnp.asarray(world.box.size), world.box.periodic)
    found = []
    for engine, command in episodes(world, FRAME_STEPS * STEP, swarms, seed, SPEED):
        advance(engine, command, BURN)
        states = [engine.step(command).state for _ in range(FRAMES)]
        found.append(
            np.stack([np.concatenate([s.unwrapped(space), s.director], axis=-1) for s in states])
        )
    return np.stack(found, axis=1)


def beside(label: str, ours: Any, theirs: Any, limit: float | None = None) -> list[Row]:
    """Rows of one figure: both engines within 2σ, and the larger error bar within `limit`."""
    (value, error), (reference, reference_error) = ours, theirs
    both = math.hypot(error, reference_error)
    rows = [Row(label, value, reference, both, 2 * both, "2σ", SOURCE)]
    if limit is not None:
        largest = max(error / abs(value), reference_error / abs(reference))
        name = f"{label.split(' (')[0]}: error bar, the larger of both"
        rows.append(Row(name, largest, 0, 0, limit, f"at most {100 * limit:g} %", "asked for"))
    return rows


def espresso(effort: float = 1.0, seed: int = 0) -> Result:
    """Free diffusion, a trap, rods under a torque, and active discs at φ = 0.3 on both engines."""
    if not espresso_build.is_installed():
        return Result([], {}, ["ESPResSo was not at hand: put espressomd on PYTHONPATH."])
    rows: list[Row] = []
    world = free_world()
    (d, d_r), (jax_d, jax_d_r) = (free(e, effort, seed) for e in ("espresso", "jax"))
    rows += beside("free: D from the MSD (µm²/s)", d, jax_d, 0.01)
    rows.append(
        row("free: D beside k_BT/γ", d, world.diffusion(world.species[0]), 0.01, "Einstein")
    )
    rows += beside("free: D_r (1/s)", d_r, jax_d_r, 0.01)

    places = {e: trap(e, effort, seed + 10) for e in ("espresso", "jax")}
    squares = {e: mean_error((x**2).mean((1, 2))) for e, x in places.items()}
    rows += beside("trap: ⟨x²⟩ (µm²)", squares["espresso"], squares["jax"])
    rows.append(
        row("trap: ⟨x²⟩ beside k_BT/k", squares["espresso"], THERMAL / STIFFNESS, 0.03, "Boltzmann")
    )
    fourth = {
        e: mean_error((x**4).mean((1, 2)) / (3 * squares[e][0] ** 2)) for e, x in places.items()
    }
    rows += beside("trap: ⟨x⁴⟩/3⟨x²⟩²", fourth["espresso"], fourth["jax"])

    rate, jax_rate = (rods(e, effort, seed + 20) for e in ("espresso", "jax"))
    rows += beside("rods: turn rate under a torque (rad/s)", rate, jax_rate)
    rows.append(row("rods: turn rate beside T/γ_r", rate, TORQUE / ROD_FRICTION, 0.03, "Stokes"))

    swarms = scaled(36, effort, 4)
    mine = analyse_discs(discs_on_espresso(swarms, 7000 + seed), PHI)
    other = analyse_discs(discs_on_jax(PHI, swarms, 8000 + seed), PHI)
    rows += beside(f"φ = {PHI:g}: long-time D (µm²/s)", mine["D"], other["D"], 0.01)
    rows += beside(f"φ = {PHI:g}: D_r (1/s)", mine["D_r"], other["D_r"], 0.01)
    b = mine["bin"]  # the same shell for both
    peak = float(other["g"][b]), float(other["sigma"][b])
    rows += beside(f"φ = {PHI:g}: peak of g(r)", mine["peak"], peak, 0.02)

    edges = np.linspace(-2.0, 2.0, 41)
    middle = (edges[1:] + edges[:-1]) / 2
    shape = np.exp(-STIFFNESS * middle**2 / (2 * THERMAL))
    curves: dict[str, Any] = {
        "g": {
            "r": (np.linspace(0.8, 1.5, 36)[1:] + np.linspace(0.8, 1.5, 36)[:-1]) / 2,
            "ESPResSo": mine["g"],
            "JAX": other["g"],
        },
        "trap": {
            "x": middle,
            "theory": shape / shape.sum() / (edges[1] - edges[0]),
            **{
                name: np.histogram(places[key], edges, density=True)[0]
                for name, key in (("ESPResSo", "espresso"), ("JAX", "jax"))
            },
        },
    }
    remark = (
        f"{swarms} systems of {COUNT} active discs on each engine, as beside LAMMPS; their "
        "errors are from 3 blocks in time of every system, others over intervals or rods."
    )
    return Result(rows, curves, [remark])
