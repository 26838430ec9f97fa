"""The verb `demo`: train, compare, record, draw, and say where everything is."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from swarmctl.agents.saving import save_agent
from swarmctl.core.statistics import bootstrap_interval
from swarmctl.envs.functional import SwarmEnv
from swarmctl.envs.picture import scenario_scene
from swarmctl.records.arrays import write_json_atomic
from swarmctl.records.run_folder import RunFolder
from swarmctl.records.trajectory import read_trajectory
from swarmctl.training.configs import DemoConfig
from swarmctl.training.evaluate import (
    evaluate_agent,
    find_agent,
    finite,
    record_episode,
)
from swarmctl.training.experiment import Experiment, experiment_from_tables
from swarmctl.training.figures import Evaluation
from swarmctl.training.record import frames, write_rollout
from swarmctl.training.train import TrainResult, train_in, training_curves
from swarmctl.viz.curves import learning_curve
from swarmctl.viz.movie import write_movie
from swarmctl.viz.still import still

EVALUATION_SEED = 1_000_000
SOLVED = 1.5
"""Solved is a mean distance below this multiple of the full-state oracle's."""

Interval = tuple[float, float, float]


@dataclass(frozen=True)
class Row:
    """A line of the demo's table: who, return and final distance as (mean, low, high)."""

    label: str
    reward: Interval
    distance: Interval


@dataclass(frozen=True)
class DemoResult:
    """What the demo found and wrote."""

    path: Path
    rows: Mapping[str, Row]
    verdicts: Mapping[str, tuple[bool, str]]
    solved_below: float
    seconds: float
    files: Mapping[str, Path]
    skipped: Mapping[str, str]


def demo(config: DemoConfig, say: Callable[[str], None] = print) -> DemoResult:
    """Train `seeds` policies for Chemotaxis-v0 and compare them with random, hand-written and
    all-seeing control.

    Writes the policy of the seed with the median return, its trajectory (H5MD), movie and still,
    the learning curve and the figures into `out`. Raises RunFolderError if it cannot be written.
    """
    started = time.perf_counter()
    experiment = experiment_from_tables(
        {
            "scenario": {"name": "Chemotaxis-v0"},
            "training": {"updates": config.updates, "seeds": list(range(config.seeds))},
        }
    )
    run = RunFolder.create(config.out, experiment.tables(), "demo", config.overwrite)
    with run:
        env = experiment.env()
        count, box = env.scenario.world.capacity, env.scenario.world.box.size
        say(
            f"{count} colloids in a box of {box[0]:g} x {box[1]:g} µm sense only their own "
            "motion and how the concentration changes; they learn to climb it."
        )
        baselines = {
            role: evaluate_agent(env, find_agent(name, env), config.episodes, EVALUATION_SEED)
            for role, name in env.scenario.baselines.items()
        }
        say("Random, hand-written and all-seeing control are measured; now the swarm learns.")
        result = train_in(run, experiment, config.progress)
        trained = [
            evaluate_agent(env, policy, config.episodes, EVALUATION_SEED + seed)
            for seed, policy in zip(result.seeds, result.policies, strict=True)
        ]
        rows = _rows(env, baselines, trained)
        solved_below = SOLVED * rows["oracle"].distance[0]
        verdicts = _verdicts(rows, result, solved_below)
        files, skipped = _show(config, experiment, env, result, trained, baselines, rows, run.path)
        seconds = time.perf_counter() - started
        _write_figures(run.path, rows, verdicts, solved_below, seconds)
        outcome = DemoResult(run.path, rows, verdicts, solved_below, seconds, files, skipped)
        say(format_demo(outcome))
    return outcome


def _rows(
    env: SwarmEnv, baselines: Mapping[str, Evaluation], trained: list[Evaluation]
) -> dict[str, Row]:
    labels = {
        "random": "random",
        "best": f"{env.scenario.baselines['best']} (best by hand)",
        "oracle": f"{env.scenario.baselines['oracle']} (sees all; ceiling)",
    }
    rows = {
        role: Row(labels[role], bootstrap_interval(e.returns), bootstrap_interval(e.final_measure))
        for role, e in baselines.items()
    }
    # Training seeds are the independent samples of what training gives, not swarms or colloids.
    rows["trained"] = Row(
        f"PPO, {len(trained)} training seeds",
        bootstrap_interval(np.asarray([e.returns.mean() for e in trained])),
        bootstrap_interval(np.asarray([e.final_measure.mean() for e in trained])),
    )
    return {role: rows[role] for role in ("random", "trained", "best", "oracle")}


def _verdicts(
    rows: Mapping[str, Row], result: TrainResult, solved_below: float
) -> dict[str, tuple[bool, str]]:
    trained, random = rows["trained"].reward, rows["random"].reward
    best, oracle = rows["best"].reward[0], rows["oracle"].reward[0]
    below = 1 - trained[0] / best
    share = trained[0] / oracle
    distance = rows["trained"].distance[0]
    steps, seconds = _time_to_solved(result, solved_below)
    when = (
        f"; in training first after {steps / 1e6:.1f} M agent-steps, {seconds:.0f} s of updates "
        "(median seed)"
        if math.isfinite(steps)
        else ""
    )
    return {
        "beats random": (trained[1] > random[2], "the 95 % intervals do not overlap"),
        "as good as by hand": (
            below <= 0.02,
            f"{abs(below):.1%} {'below' if below > 0 else 'above'} the best hand-written "
            "controller (at most 2 % below)",
        ),
        "near the ceiling": (
            share >= 0.8,
            f"{share:.1%} of what the all-seeing oracle earns (at least 80 %)",
        ),
        "solved": (
            distance < solved_below,
            f"mean distance {distance:.1f} µm, "
            f"{'below' if distance < solved_below else 'not below'} "
            f"{solved_below:.1f} µm = {SOLVED:g} x the oracle's{when}",
        ),
    }


def _time_to_solved(result: TrainResult, solved_below: float) -> tuple[float, float]:
    """Median over seeds of the agent steps and seconds until finished episodes end below the
    distance.
    """
    reached = []
    for seed in result.seeds:
        seconds = 0.0
        found = (math.inf, math.inf)
        for row in (r for r in result.metrics if r["seed"] == seed):
            seconds += row["seconds"]
            if row["final_measure"] is not None and row["final_measure"] < solved_below:
                found = (row["agent_steps"], seconds)
                break
        reached.append(found)
    ordered = sorted(reached)
    return ordered[len(ordered) // 2]


def _show(
    config: DemoConfig,
    experiment: Experiment,
    env: SwarmEnv,
    result: TrainResult,
    trained: list[Evaluation],
    baselines: Mapping[str, Evaluation],
    rows: Mapping[str, Row],
    folder: Path,
) -> tuple[dict[str, Path], dict[str, str]]:
    scenario = env.scenario
    order = np.argsort([e.returns.mean() for e in trained])
    typical = int(order[len(order) // 2])
    seed, policy = result.seeds[typical], result.policies[typical]
    files = {"policy": save_agent(policy, folder / "policy", {"seed": seed, **experiment.tables()})}

    episode = record_episode(env, policy, EVALUATION_SEED)
    files["trajectory"] = write_rollout(
        folder / "trajectory.h5md",
        experiment,
        env,
        episode,
        {"policy": f"seed {seed}", "seed": EVALUATION_SEED},
    )
    trajectory = read_trajectory(files["trajectory"])
    # Means over all evaluated swarms, which start at the first decision.
    over_time = {
        "trained": trained[typical].measure.mean(axis=0),
        "random": baselines["random"].measure.mean(axis=0),
        "sees everything": baselines["oracle"].measure.mean(axis=0),
    }
    reward = rows["trained"].reward
    files["still"] = still(
        folder / "still.png",
        scenario_scene(scenario, "Ten colloids learned to climb a gradient")
        if scenario.world.capacity == 10
        else scenario_scene(scenario, "A swarm learned to climb a gradient"),
        trajectory.position[1:],
        trajectory.director[1:],
        trajectory.time[1:],
        caption=(
            "Each colloid senses only its own motion and how the concentration changes along it.",
            f"Return {reward[0]:.2f} [{reward[1]:.2f}, {reward[2]:.2f}] over {len(trained)} "
            "training seeds; "
            f"random {rows['random'].reward[0]:.2f}, seeing everything "
            f"{rows['oracle'].reward[0]:.2f}.",
        ),
        metric=over_time,
        metric_label=f"mean {scenario.measure_name}",
        present=trajectory.present[1:],
    )[0]
    steps, values = training_curves(result.metrics)
    whole = np.isfinite(values).all(axis=0)
    if not whole.any():
        # So few updates that no episode was seen whole: what one returns at the rate it was paid.
        steps, values = training_curves(result.metrics, "reward")
        values = values * scenario.horizon
        whole = np.isfinite(values).all(axis=0)
    files["learning curve"] = learning_curve(
        folder / "learning_curve.png",
        {"PPO": (steps[whole] / 1e6, values[:, whole])},
        {rows[role].label: rows[role].reward for role in ("random", "best", "oracle")},
        xlabel="agent steps (millions)",
        ylabel="return of an episode",
        title=f"{scenario.id}: {len(trained)} training seeds, mean and 95 % band",
    )[0]
    skipped: dict[str, str] = {}
    if config.movie:
        movie = write_movie(folder / "movie", frames(scenario, trajectory), fps=20)
        files |= {path.suffix[1:] + " movie": path for path in movie.paths}
        skipped = dict(movie.skipped)
    return files, skipped


def _write_figures(
    folder: Path,
    rows: Mapping[str, Row],
    verdicts: Mapping[str, tuple[bool, str]],
    solved_below: float,
    seconds: float,
) -> None:
    data: dict[str, Any] = {
        "agents": {
            role: {"label": r.label, "return": finite(r.reward), "distance": finite(r.distance)}
            for role, r in rows.items()
        },
        "verdicts": {name: {"passed": ok, "why": why} for name, (ok, why) in verdicts.items()},
        "solved_below_um": solved_below,
        "seconds": seconds,
    }
    write_json_atomic(folder / "evaluation.json", data)


def format_demo(result: DemoResult) -> str:
    """Return the table, the verdicts and the list of files as text."""
    width = max(len(row.label) for row in result.rows.values())
    lines = ["", f"{'':{width}}  {'return [95 %]':^22}  {'distance, last quarter (µm)':^27}"]
    for row in result.rows.values():
        lines.append(
            f"{row.label:{width}}  {_interval(row.reward, 3):^22}  {_interval(row.distance, 1):^27}"
        )
    lines.append("")
    for name, (passed, why) in result.verdicts.items():
        lines.append(f"{'yes' if passed else 'NO ':3}  {name}: {why}")
    lines.append("")
    lines.append(f"{result.seconds:.0f} s. Look at:")
    lines += [f"  {name:15} {path}" for name, path in result.files.items()]
    lines += [f"  no {name}: {why}" for name, why in result.skipped.items()]
    lines.append(f"  {'all figures':15} {result.path / 'evaluation.json'}")
    return "\n".join(line.rstrip() for line in lines)


def _interval(value: Interval, digits: int) -> str:
    mean, low, high = value
    return f"{mean:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"
