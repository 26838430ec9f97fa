"""Stepping and collecting experience on ESPResSo beside the JAX engine, as ratios of one run.

python benchmarks/espresso.py [--json FILE] [--repeats N]

Needs espressomd. Stepping: one swarm of active discs at φ = 0.3 under commands that change with
every decision, on both engines; ESPResSo's own integration of the same steps is timed in between,
and what the engine adds to it is the overhead. Collecting: decisions a second of ten colloids in
Chemotaxis-v0 with random actions, in worker processes and in one compiled batch.
"""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np
from common import best, cores, parser, report

import swarmctl
from swarmctl.core.command import Command
from swarmctl.core.contracts import Engine
from swarmctl.core.world import Box, Species, World
from swarmctl.engines import espresso_build
from swarmctl.engines.espresso_engine import EspressoEngine
from swarmctl.engines.jax_engine import JaxEngine
from swarmctl.envs.vector_env import SwarmVectorEnv

RADIUS, SPEED, TIME_STEP, PHI = 2.14, 2.0, 5e-3, 0.3
CASES = ((10, 100), (1000, 5), (1000, 20), (1000, 100))
"""Colloids, and time steps per decision."""
SWARMS, DECISIONS = 2, 50


def world(count: int) -> World:
    """Active discs at the packing fraction PHI."""
    side = math.sqrt(count * math.pi * RADIUS**2 / PHI)
    species = Species(count=count, radius=RADIUS, speed_max=SPEED)
    return World(box=Box((side, side)), species=(species,), time_step=TIME_STEP)


def commands(count: int, number: int) -> list[Command]:
    """Random speeds and turn rates."""
    rng = np.random.default_rng(0)
    return [
        Command(
            speed=rng.uniform(0, SPEED, count).astype(np.float32),
            turn_rate=rng.uniform(-3, 3, count).astype(np.float32),
        )
        for _ in range(number)
    ]


def step_time(engine: Engine, asked: list[Command], repeats: int) -> float:
    """Seconds a decision."""

    def run() -> None:
        for command in asked:
            np.asarray(engine.step(command).state.position)

    run()
    return best(run, repeats) / len(asked)


def stepping(count: int, steps: int, repeats: int) -> dict[str, Any]:
    """Milliseconds a decision on both engines, and of ESPResSo's integration alone."""
    number = max(3, 600 // steps if count > 100 else 50)
    asked, interval = commands(count, number), steps * TIME_STEP
    ours = EspressoEngine(world(count), interval)
    ours.reset(0)
    whole = step_time(ours, asked, repeats)
    system = espresso_build.lent(ours)

    def integrate() -> None:
        for _ in asked:
            system.integrator.run(steps, reuse_forces=True)

    alone = best(integrate, repeats) / number
    ours.close()
    theirs = JaxEngine(world(count), interval)
    theirs.reset(0)
    jax_time = step_time(theirs, asked, repeats)
    return {
        "N": count,
        "steps": steps,
        "integration (ms)": 1e3 * alone,
        "ESPResSo engine (ms)": 1e3 * whole,
        "overhead / integration": whole / alone - 1,
        "JAX engine (ms)": 1e3 * jax_time,
        "JAX / ESPResSo speed": whole / jax_time,
    }


def collecting() -> dict[str, Any]:
    """Decisions of a swarm a second, in worker processes on ESPResSo and in one batch on JAX."""
    rates = {}
    for name, env in (
        ("workers on ESPResSo (1/s)", swarmctl.make_workers("Chemotaxis-v0", SWARMS, colloids=10)),
        ("one batch on JAX (1/s)", SwarmVectorEnv("Chemotaxis-v0", SWARMS, colloids=10)),
    ):
        env.reset(seed=0)
        env.action_space.seed(0)
        env.step(env.action_space.sample())
        start = time.perf_counter()
        for _ in range(DECISIONS):
            env.step(env.action_space.sample())
        rates[name] = SWARMS * DECISIONS / (time.perf_counter() - start)
        env.close()
    first, second = rates.values()
    return {"swarms": SWARMS, "cores": cores(), **rates, "JAX / ESPResSo": second / first}


def main() -> None:
    """Measure every case and print the tables."""
    options = parser(__doc__.splitlines()[0])
    chosen = options.parse_args()
    if not espresso_build.is_installed():
        options.exit(message=f"not run: ESPResSo is not installed. {espresso_build.HOW_TO_GET}\n")
    rows = [stepping(count, steps, chosen.repeats) for count, steps in CASES]
    report(f"Stepping one swarm, φ = {PHI}", rows, chosen.json)
    report("Collecting experience, Chemotaxis-v0 with 10 colloids", [collecting()], None)


if __name__ == "__main__":
    main()
