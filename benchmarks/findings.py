"""Published findings on learning, reproduced: docs/results/findings.md.

`python benchmarks/findings.py` runs all, `python benchmarks/findings.py drift peclet` some; results
are kept in build/findings and the page is written from all that are there.

drift    a swimmer that swims or turns, towards a far point: PPO beside the optimal rule [D]
arrival  perfect steering under noise: mean time of arrival of PPO beside the formula [D]
zermelo  the fastest way through shear without noise: PPO beside the optimal time (Bryson and Ho)
credit   turning a rod: counterfactual reward beside the team's (Heuthe et al. 2024)
peclet   where chemotaxis stops being learnable as Péclet numbers fall (Tovey 2024)
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
import numpy as np

from swarmctl.agents.classical.steering import best_acceptance
from swarmctl.agents.deep.ppo import PPOConfig
from swarmctl.core.contracts import Agent, AgentInputs, Observable, Task
from swarmctl.core.statistics import t_interval
from swarmctl.core.tree import pytree
from swarmctl.core.world import Box, Fluid, Species, World
from swarmctl.envs.actions import TurnSwimRest
from swarmctl.envs.functional import SwarmEnv
from swarmctl.envs.make import make_env
from swarmctl.envs.reach_goal import ReachGoalConfig
from swarmctl.envs.scenario import Scenario
from swarmctl.records.arrays import write_json_atomic
from swarmctl.training.evaluate import evaluate_agent, find_agent
from swarmctl.training.learner import Learner

ROOT = Path(__file__).resolve().parents[1]
WORK, PAGE = ROOT / "build" / "findings", ROOT / "docs" / "results" / "findings.md"
EVALUATION = 1_000_000

Row = dict[str, Any]


def trained(env: SwarmEnv, keys: PPOConfig, updates: int, seed: int) -> Agent:
    learner = Learner(env, keys, updates)
    state = learner.init(seed)
    for _ in range(updates):
        state, figures = learner.update(state, seed)
        if bool(figures["failed"]):
            raise RuntimeError(f"{env.scenario.id}: the motion failed; use a shorter time step")
    return learner.agent(state)


def row(what: str, values: list[float], reference: str, passed: bool, note: str = "") -> Row:
    mean, low, high = t_interval(values)
    return {
        "what": what,
        "mean": mean,
        "low": low,
        "high": high,
        "seeds": len(values),
        "reference": reference,
        "passed": passed,
        "note": note,
    }


# drift -----------------------------------------------------------------------------------------


@pytree
class Bearing(Observable):
    """Cosine and sine of the heading; the far point lies along x."""

    def names(self, spec: Any) -> tuple[str, ...]:
        return ("cos", "sin")

    def init(self, state: Any, space: Any) -> Any:
        return ()

    def observe(self, state: Any, memory: Any, space: Any) -> tuple[jax.Array, Any]:
        return jnp.where(state.present[:, None], state.director, 0), memory


@pytree
class Drift(Task):
    """Pays the displacement along x over the longest possible one."""

    step: jax.Array

    def init(self, state: Any, space: Any) -> Any:
        return state.unwrapped(space)[:, 0]

    def evaluate(self, state: Any, memory: Any, space: Any) -> tuple[jax.Array, jax.Array, Any]:
        x = state.unwrapped(space)[:, 0]
        reward = jnp.where(state.present, (x - memory) / self.step, 0)
        return reward, jnp.zeros(reward.shape, bool), x


@pytree
class OptimalRule(Agent):
    """Swims iff the far point lies within θ* of the director, else turns towards it."""

    output: ClassVar[Literal["action", "command"]] = "action"
    acceptance: jax.Array

    def init_memory(self, spec: Any) -> Any:
        return ()

    def act(
        self, inputs: AgentInputs, memory: Any, key: Any, deterministic: bool = False
    ) -> tuple[Any, Any]:
        angle = jnp.arctan2(inputs.state.director[:, 1], inputs.state.director[:, 0])
        turn = jnp.where(angle > 0, 2, 0)
        return jnp.where(jnp.abs(angle) < self.acceptance, 1, turn).astype(jnp.int32), memory


def drift(seeds: int) -> list[Row]:
    rows = []
    for kappa, ideal in ((1.0, 0.4534), (5.0, 0.7177), (25.0, 0.8880)):
        interval = 0.03 / max(kappa, 1.0)
        speed, fluid = 1.0, Fluid()
        world = World(
            Box((1000.0, 1000.0)),
            fluid,
            (
                Species(
                    count=16,
                    radius=0.1,
                    friction=fluid.thermal_energy / 1e-4,
                    rotational_friction=fluid.thermal_energy,
                    speed_max=speed,
                    turn_rate_max=kappa,
                ),
            ),
            time_step=interval / 3,
            contacts=False,
        )
        scenario = Scenario(
            id="Drift",
            world=world,
            observable=Bearing(),
            task=Drift(jnp.asarray(speed * interval)),
            actions=TurnSwimRest(jnp.asarray(speed), jnp.asarray(kappa)),
            control_interval=interval,
            horizon=600,
            baselines={"random": "random"},
            measure_name="heading (cos)",
            measure=lambda state, space: state.director[:, 0],
        )
        env = make_env(scenario)
        keys = PPOConfig(swarms=64, rollout=60, minibatches=4, discount=0.99, entropy=0.0005)

        def drifts(env: SwarmEnv, agent: Agent) -> float:
            # The first half is the way from a random heading.
            long = dataclasses.replace(env.scenario, horizon=4000)
            task = evaluate_agent(make_env(long), agent, 24, EVALUATION)
            half = dataclasses.replace(env.scenario, horizon=400)
            start = evaluate_agent(make_env(half), agent, 24, EVALUATION)
            return float((task.returns.sum() - start.returns.sum()) / 24 / 3600)

        rule = drifts(env, OptimalRule(jnp.asarray(best_acceptance(kappa))))
        found = [drifts(env, trained(env, keys, 100, seed)) / rule for seed in range(seeds)]
        low = t_interval(found)[1]
        rows.append(
            row(
                f"κ = {kappa:g}: drift of PPO over that of the optimal rule",
                found,
                "≥ 0.95",
                bool(np.mean(found) >= 0.95),
                f"the rule drifts at {rule:.4f} v, ideally {ideal}; lower limit {low:.3f}",
            )
        )
    return rows


# arrival ---------------------------------------------------------------------------------------


def first_arrival(env: SwarmEnv, agent: Agent, radius: float, episodes: int) -> float:
    """Mean time of the first decision that ends within the radius."""
    measure = evaluate_agent(env, agent, episodes, EVALUATION).measure
    inside = measure < radius
    steps = np.where(inside.any(axis=1), inside.argmax(axis=1) + 1, measure.shape[1])
    return float(steps.mean() * env.scenario.control_interval)


def arrival(seeds: int) -> list[Row]:
    keys = ReachGoalConfig()
    ideal = keys.optimum()
    rows = []
    for name, learning in (
        ("ReachGoal-v0", PPOConfig(swarms=512, rollout=40, discount=0.99)),
        ("ReachGoalContinuous-v0", PPOConfig(swarms=512, rollout=40, discount=0.99, entropy=0.0)),
    ):
        env = make_env(name)
        by_hand = first_arrival(env, find_agent("steer-to-point", env), keys.arrival, 4096)
        found = [
            first_arrival(env, trained(env, learning, 120, seed), keys.arrival, 4096) / ideal
            for seed in range(seeds)
        ]
        rows.append(
            row(
                f"{name}: time of arrival over the optimum",
                found,
                "≤ 1.05",
                bool(np.mean(found) <= 1.05),
                f"optimum {ideal:.3f} s; by hand {by_hand / ideal:.3f} of it",
            )
        )
    return rows


# zermelo ---------------------------------------------------------------------------------------


def zermelo(seeds: int) -> list[Row]:
    options = {"temperature": 0.0, "control_interval": 0.1, "arrival": 1.0, "horizon": 600}
    env = make_env("NavigateFlow-v0", directions=32, **options)
    radius, unit = 1.0, 20.0 / 5.0
    best = 5.45787 * unit
    by_hand = first_arrival(env, find_agent("zermelo", env), radius, 4)
    naive = first_arrival(env, find_agent("steer-to-point", env), radius, 4)
    learning = PPOConfig(
        swarms=512, rollout=60, discount=0.999, gae_lambda=0.98, hidden=(64, 64), entropy=0.001
    )
    found = [
        first_arrival(env, trained(env, learning, 300, seed), radius, 4) / best
        for seed in range(seeds)
    ]
    return [
        row(
            "shear, no noise: time of arrival over Bryson and Ho's",
            found,
            "≤ 1.05",
            bool(np.mean(found) <= 1.05),
            f"T = 5.45787 L/v = {best:.2f} s; the solver {by_hand / best:.3f}, "
            f"heading for the goal {naive / best:.3f} of it; the goal is a disc of {radius:g} µm",
        )
    ]


# credit ----------------------------------------------------------------------------------------

CEILING = 0.0904
"""Angular velocity in rad/s of a rod of m = 3 that 14 robots push, in the model of case 3."""


def credit(seeds: int) -> list[Row]:
    learning = PPOConfig(swarms=32, rollout=25, discount=0.97)
    speeds: dict[str, list[float]] = {}
    for kind in ("own", "equal"):
        env = make_env("RotateRod-v0", credit=kind)
        speeds[kind] = [
            float(
                evaluate_agent(
                    env, trained(env, learning, 60, seed), 16, EVALUATION
                ).final_measure.mean()
            )
            for seed in range(seeds)
        ]
    own, equal = speeds["own"], speeds["equal"]
    return [
        row(
            "mean rotation with counterfactual reward, rad/s",
            own,
            f"≥ {CEILING / 2:.4f}, half the ceiling",
            bool(np.mean(own) >= CEILING / 2),
        ),
        row(
            "the same with the team's reward, rad/s",
            equal,
            "less than counterfactual",
            bool(t_interval(equal)[2] < t_interval(own)[1]) if seeds > 1 else False,
            "60 updates each, equal keys",
        ),
    ]


# peclet ----------------------------------------------------------------------------------------

CRITICAL = 0.247 / 0.5**2
"""v_c in µm/s of a swimmer with a = 0.5 µm: v_c a² = 0.247 µm³/s at 300 K and 0.89 mPa·s."""


def peclet(seeds: int) -> list[Row]:
    learning = PPOConfig(swarms=128, rollout=16)
    rows = []
    for factor in (0.1, 0.3, 1.0, 3.0, 10.0):
        speed = factor * CRITICAL
        env = make_env(
            "Chemotaxis-v0",
            radius=0.5,
            viscosity=0.89e-3,
            speed=speed,
            turn_rate=10.0,
            control_interval=0.1,
            time_step=2e-3,
            horizon=512,
            start_inner=20.0,
            start_outer=40.0,
        )
        chance = evaluate_agent(env, find_agent("random", env), 64, EVALUATION)
        away = chance.final_measure.mean()
        found = []
        for seed in range(seeds):
            policy = trained(env, learning, 80, seed)
            near = evaluate_agent(env, policy, 64, EVALUATION).final_measure.mean()
            found.append(1 - near / away)
        passed = {0.1: np.mean(found) < 0.2, 10.0: np.mean(found) > 0.8}.get(factor, True)
        wanted = {0.1: "near 0 (< 0.2)", 10.0: "near 1 (> 0.8)"}.get(factor, "in between")
        rows.append(
            row(
                f"v = {factor:g} v_c: success", found, wanted, bool(passed), f"v = {speed:.3g} µm/s"
            )
        )
    return rows


FINDINGS: dict[str, tuple[Callable[[int], list[Row]], str, str]] = {
    "drift": (
        drift,
        "Swim or turn, towards a far point",
        "A swimmer swims at v or turns at ω = κ D_r, not both. The best is to swim iff the target "
        "lies within θ* of its heading. Decision interval 0.03/max(ω, D_r).",
    ),
    "arrival": (
        arrival,
        "Arrival under noise",
        "T = (r₀ - a)/v + (D/v²) ln(r₀/a), with a less 0.5826 √(2DΔ), since arrivals are seen "
        "once a decision.",
    ),
    "zermelo": (
        zermelo,
        "Zermelo's problem in shear",
        "From (3.66, -1.86) to the origin of ẋ = cos θ - y, ẏ = sin θ in T = 5.45787.",
    ),
    "credit": (
        credit,
        "Who turned the rod?",
        "Thirty robots turn a rod. A robot is paid for what the rod would not have turned without "
        "its push (counterfactual), or all are paid equally.",
    ),
    "peclet": (
        peclet,
        "Where chemotaxis can be learned",
        "A swimmer of a = 0.5 µm in water. Success is 1 - d/d₀: mean distance from the source in "
        "the last quarter over that of random swimmers.",
    ),
}


def write_page() -> None:
    lines = [
        "# Findings on learning",
        "",
        "What others found, or what follows from a formula, and what PPO does here. Made by",
        "`python benchmarks/findings.py`; intervals are Student's 95 % over training seeds.",
    ]
    for name, (_, title, text) in FINDINGS.items():
        path = WORK / f"{name}.json"
        if not path.is_file():
            continue
        data = json.loads(path.read_text())
        lines += ["", f"## {title}", "", text, ""]
        lines += [
            "| what | found [95 %] | seeds | wanted | | |",
            "| --- | --- | --- | --- | --- | --- |",
        ]
        for r in data["rows"]:
            band = "" if r["low"] is None else f" [{r['low']:.4g}, {r['high']:.4g}]"
            lines.append(
                f"| {r['what']} | {r['mean']:.4g}{band} | {r['seeds']} | {r['reference']} | "
                f"{'pass' if r['passed'] else '**fail**'} | {r['note']} |"
            )
        lines += ["", f"`python benchmarks/findings.py {name}`, {data['seconds']:.0f} s."]
    PAGE.write_text("\n".join(lines) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", help=", ".join(FINDINGS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--trial", action="store_true", help="print only")
    options = parser.parse_args()
    WORK.mkdir(parents=True, exist_ok=True)
    unknown = set(options.names) - set(FINDINGS)
    if unknown:
        parser.error(f"{', '.join(unknown)}: not known, only {', '.join(FINDINGS)}")
    for name in options.names or FINDINGS:
        started = time.perf_counter()
        rows = FINDINGS[name][0](options.seeds)
        seconds = time.perf_counter() - started
        for r in rows:
            r |= {end: None if math.isnan(r[end]) else r[end] for end in ("low", "high")}
            print(
                f"{name}: {r['what']}: {r['mean']:.4g} [{r['low']}, {r['high']}], wanted "
                f"{r['reference']}: {'pass' if r['passed'] else 'FAIL'} {r['note']}",
                flush=True,
            )
        if not options.trial:
            write_json_atomic(WORK / f"{name}.json", {"rows": rows, "seconds": seconds})
    if not options.trial:
        write_page()


if __name__ == "__main__":
    main()
