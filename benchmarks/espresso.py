"""Stepping, collecting and training on ESPResSo beside the JAX engine, as ratios of one run.

python benchmarks/espresso.py [--parts stepping,collecting,training] [--json FILE] [--repeats N]

Needs espressomd. Stepping: one swarm of active discs at φ = 0.3 under commands that change with
every decision, on both engines; ESPResSo's own integration of the same steps is timed in between,
and what the engine adds to it is the overhead. Collecting: decisions a second of ten colloids in
Chemotaxis-v0 with random actions, in worker processes and in one compiled batch. Training:
agent-steps a second of PPO with its updates in the same scenario, on ESPResSo in this process and
in two workers, and on the JAX engine decision by decision, as on any engine, and in its compiled
program. With --json every part writes a file of its own, FILE with the part's name in it.
"""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

import jax
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
from swarmctl.training.engine_episodes import EngineEnv
from swarmctl.training.engine_learner import EngineLearner
from swarmctl.training.experiment import experiment_from_tables
from swarmctl.training.train import Learns, make_learner

RADIUS, SPEED, TIME_STEP, PHI = 2.14, 2.0, 5e-3, 0.3
CASES = ((10, 100), (1000, 5), (1000, 20), (1000, 100))
"""Colloids, and time steps per decision."""
SWARMS, DECISIONS = 2, 50
PARTS = ("stepping", "collecting", "training")
ROLLOUTS = 32
"""Rollouts of 16 decisions in an update of the training."""


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


def learner(engine: str, workers: int = 1) -> Learns:
    """PPO in Chemotaxis-v0 on an engine."""
    tables = {
        "engine": {"name": engine},
        "agent": {"name": "ppo", "swarms": ROLLOUTS},
        "training": {"updates": 1000, "workers": workers},
    }
    return make_learner(experiment_from_tables(tables))


def stepwise() -> Learns:
    """The same on the JAX engine, decision by decision."""
    experiment = experiment_from_tables({"agent": {"name": "ppo", "swarms": ROLLOUTS}})
    scenario = experiment.scenario.build()
    env = EngineEnv(scenario, JaxEngine(scenario.world, scenario.control_interval))
    return EngineLearner(env, experiment.agent, 1000)


def training(repeats: int) -> list[dict[str, Any]]:
    """Agent-steps a second of updates after the first, which compiles.

    All take turns, so that what else the machine does meets all of them; the best turn counts.
    """
    programs = {
        "JAX, compiled": learner("jax"),
        "JAX, decision by decision": stepwise(),
        "ESPResSo, 1 worker": learner("espresso"),
        "ESPResSo, 2 workers": learner("espresso", 2),
    }
    rates = dict.fromkeys(programs, 0.0)
    try:
        states = {name: p.update(p.init(0), 0)[0] for name, p in programs.items()}
        for _ in range(repeats):
            for name, program in programs.items():
                start = time.perf_counter()
                states[name], _ = program.update(states[name], 0)
                jax.block_until_ready(states[name].members)
                rate = program.steps_per_update / (time.perf_counter() - start)
                rates[name] = max(rates[name], rate)
    finally:
        for program in programs.values():
            program.close()
    compiled, one = rates["JAX, compiled"], rates["ESPResSo, 1 worker"]
    return [
        {
            "training": name,
            "agent-steps/s": rate,
            "decisions/s": rate / 10,
            "beside ESPResSo, 1 worker": rate / one,
            "compiled JAX beside it": compiled / rate,
        }
        for name, rate in rates.items()
    ]


def main() -> None:
    """Measure every case and print the tables."""
    options = parser(__doc__.splitlines()[0])
    options.add_argument("--parts", default=",".join(PARTS), help="which parts, with commas")
    chosen = options.parse_args()
    parts = chosen.parts.split(",")
    if unknown := set(parts) - set(PARTS):
        options.error(f"unknown parts {sorted(unknown)}; there are {', '.join(PARTS)}")
    if not espresso_build.is_installed():
        options.exit(message=f"not run: ESPResSo is not installed. {espresso_build.HOW_TO_GET}\n")

    def file(part: str) -> Path | None:
        return chosen.json and chosen.json.with_stem(f"{chosen.json.stem}-{part}")

    where = f"Chemotaxis-v0 with 10 colloids, {cores()} cores"
    if "stepping" in parts:
        rows = [stepping(count, steps, chosen.repeats) for count, steps in CASES]
        report(f"Stepping one swarm, φ = {PHI}", rows, file("stepping"))
    if "collecting" in parts:
        report(f"Collecting experience, {where}", [collecting()], file("collecting"))
    if "training" in parts:
        report(f"Training, {where}", training(chosen.repeats), file("training"))


if __name__ == "__main__":
    main()
