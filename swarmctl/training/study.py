"""The verb `study`: is what was learned better than chance, and than the best by hand?"""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from swarmctl.core.errors import RunFolderError
from swarmctl.core.statistics import bootstrap_interval, interval_text, t_interval
from swarmctl.envs.functional import SwarmEnv
from swarmctl.records.arrays import write_json_atomic
from swarmctl.records.provenance import versions
from swarmctl.records.run_folder import RunFolder
from swarmctl.records.trajectory import read_trajectory
from swarmctl.training.configs import StudyConfig
from swarmctl.training.engine_episodes import EngineEnv
from swarmctl.training.evaluate import (
    evaluate_agent,
    find_agent,
    finite,
    record_episode,
)
from swarmctl.training.experiment import Experiment, load_experiment, with_engine
from swarmctl.training.figures import Evaluation
from swarmctl.training.record import frames, write_rollout
from swarmctl.training.train import (
    TrainResult,
    check_same_keys,
    find_start,
    make_learner,
    train_in,
    training_curves,
)
from swarmctl.viz.curves import learning_curve
from swarmctl.viz.movie import write_movie

Interval = tuple[float, float, float]

RESULTS = "results.json"


@dataclass(frozen=True)
class StudyRow:
    """A line of the table: who, and return and measure as (mean, low, high) of 95 % intervals."""

    role: str
    label: str
    reward: Interval
    measure: Interval


@dataclass(frozen=True)
class StudyResult:
    """What a study found and wrote."""

    path: Path
    measure_name: str
    rows: tuple[StudyRow, ...]
    verdict: str
    seconds: float
    files: Mapping[str, Path]


def study(config: StudyConfig, say: Callable[[str], None] = print) -> StudyResult:
    """Train every seed of an experiment, and compare the policies with the scenario's baselines, on
    starts and noise that no training saw.

    `out` gets run/ (a run folder; training goes on there after a kill), results.json with the keys,
    the curve, the table and the versions, curve.png, and the movie and trajectory of the seed with
    the median return. Raises what `train` and `evaluate_agent` raise.
    """
    experiment = load_experiment(config.experiment, with_engine(config.set, config.engine))
    learner = make_learner(experiment)
    env = experiment.any_env()
    frozen, learning = _divide(experiment, env)
    goes_on = (config.out / "run" / "config.toml").exists() and not config.overwrite
    start = None if goes_on else find_start(experiment, learner)
    with _open_run(config, experiment) as run:
        try:
            baselines = {
                role: evaluate_agent(
                    env,
                    find_agent(_beside(name, frozen, learning), env),
                    config.episodes,
                    config.seed,
                )
                for role, name in env.scenario.baselines.items()
            }
        finally:
            # Some engines are there once only, and training needs it.
            env.engine.close()
        result = train_in(run, experiment, config.progress, learner, start)
    if isinstance(env, EngineEnv):
        env = experiment.any_env()
    try:
        trained = [
            evaluate_agent(env, policy, config.episodes, config.seed + 1 + seed)
            for seed, policy in zip(result.seeds, result.policies, strict=True)
        ]
        shown = _show(config, experiment, env, result, trained)
    finally:
        env.engine.close()
    rows = _rows(env, experiment, baselines, trained, learning)
    metric = "episode_return"
    if frozen and len(learning) == 1:
        metric = f"{learning[0]}/episode_return"
    files = {"curve": _draw_curve(config, experiment, result, rows, metric)}
    files |= shown
    seconds = sum(row["seconds"] for row in result.metrics)
    verdict = judge(rows)
    files["results"] = config.out / RESULTS
    found = StudyResult(config.out, env.scenario.measure_name, rows, verdict, seconds, files)
    _write(found, experiment, result, config, metric)
    say(format_study(found))
    return found


def _divide(experiment: Experiment, env: SwarmEnv | EngineEnv) -> tuple[dict[str, str], list[str]]:
    """(agents of the species that do not learn, names of those that do)."""
    species = env.spec.engine.species
    table = experiment.agent.by_species()
    frozen = {name: source for name, source in table.items() if source}
    return frozen, [name for name in species if name not in frozen]


def _beside(name: str, frozen: Mapping[str, str], learning: list[str]) -> str:
    """A baseline for the species that learn, beside the same agents for the others."""
    if not frozen:
        return name
    return ",".join(
        f"{species}={who}" for species, who in {**dict.fromkeys(learning, name), **frozen}.items()
    )


def _returns(evaluation: Evaluation, env: SwarmEnv | EngineEnv, learning: list[str]) -> np.ndarray:
    """Returns [E] of the colloids that learn: of all, or the mean over their species."""
    species = env.spec.engine.species
    if len(learning) == len(species):
        return evaluation.returns
    columns = [species.index(name) for name in learning]
    return evaluation.species_returns[:, columns].mean(axis=1)


def _open_run(config: StudyConfig, experiment: Experiment) -> RunFolder:
    folder = config.out / "run"
    if config.overwrite and config.out.is_dir():
        if not (config.out / RESULTS).exists() and not (folder / "config.toml").exists():
            raise RunFolderError(
                f"{config.out}: is not the folder of a study; it is not deleted. Choose another."
            )
        shutil.rmtree(config.out)
    if (folder / "config.toml").exists():
        check_same_keys(load_experiment(folder), experiment, config.experiment)
        return RunFolder.open(folder)
    return RunFolder.create(folder, experiment.tables(), "study", False)


def _rows(
    env: SwarmEnv | EngineEnv,
    experiment: Experiment,
    baselines: Mapping[str, Evaluation],
    trained: list[Evaluation],
    learning: list[str],
) -> tuple[StudyRow, ...]:
    names = env.scenario.baselines
    rows = [
        StudyRow(
            role,
            name if role == "random" else f"{name} ({role})",
            bootstrap_interval(_returns(baselines[role], env, learning)),
            bootstrap_interval(baselines[role].final_measure),
        )
        for role, name in names.items()
    ]
    # Training seeds are the independent samples of what training gives, not swarms or colloids.
    learned = StudyRow(
        "learned",
        f"{experiment.agent.name}, {len(trained)} training seeds",
        t_interval([_returns(e, env, learning).mean() for e in trained]),
        t_interval([e.final_measure.mean() for e in trained]),
    )
    return (*rows[:1], learned, *rows[1:])


def judge(rows: tuple[StudyRow, ...]) -> str:
    """Say who wins, by the intervals of the returns."""
    by_role = {row.role: row for row in rows}
    learned = by_role["learned"]
    _, low, high = learned.reward
    if math.isnan(low):
        return "One seed has no interval: nothing can be said."
    name = learned.label.partition(",")[0]
    found: dict[str, list[str]] = {}
    for role in ("random", "best"):
        if role in by_role:
            other = by_role[role]
            word = "is level with"
            if low > other.reward[2]:
                word = "beats"
            elif high < other.reward[1]:
                word = "is beaten by"
            found.setdefault(word, []).append(other.label)
    return "; ".join(f"{name} {word} {' and '.join(who)}" for word, who in found.items()) + "."


def _draw_curve(
    config: StudyConfig,
    experiment: Experiment,
    result: TrainResult,
    rows: tuple[StudyRow, ...],
    metric: str,
) -> Path:
    steps, values = training_curves(result.metrics, metric)
    whole = np.isfinite(values).all(axis=0)
    return learning_curve(
        config.out / "curve.png",
        {experiment.agent.name: (steps[whole] / 1e6, values[:, whole])},
        {row.label: row.reward for row in rows if row.role != "learned"},
        xlabel="agent steps (millions)",
        ylabel="return of an episode",
        title=f"{experiment.scenario.id}: {len(result.seeds)} training seeds",
    )[0]


def _show(
    config: StudyConfig,
    experiment: Experiment,
    env: SwarmEnv | EngineEnv,
    result: TrainResult,
    trained: list[Evaluation],
) -> dict[str, Path]:
    if not config.movie:
        return {}
    order = np.argsort([e.returns.mean() for e in trained])
    typical = int(order[len(order) // 2])
    episode = record_episode(env, result.policies[typical], config.seed)
    path = config.out / "trajectory.h5md"
    path.unlink(missing_ok=True)
    about = {"policy": f"seed {result.seeds[typical]}", "seed": config.seed}
    write_rollout(path, experiment, env, episode, about)
    pictures = frames(env.scenario, read_trajectory(path), config.size, config.every)
    movie = write_movie(config.out / "movie", pictures, fps=20, formats=("gif",))
    return {"trajectory": path, "movie": movie.paths[0]}


def _write(
    found: StudyResult,
    experiment: Experiment,
    result: TrainResult,
    config: StudyConfig,
    metric: str,
) -> None:
    steps, values = training_curves(result.metrics, metric)
    data: dict[str, Any] = {
        "scenario": experiment.scenario.id,
        "measure": found.measure_name,
        "verdict": found.verdict,
        "agents": {
            row.role: {
                "label": row.label,
                "return": finite(row.reward),
                "measure": finite(row.measure),
            }
            for row in found.rows
        },
        "curve": {
            "agent_steps": [int(x) for x in steps],
            "episode_return": [finite(float(x) for x in line) for line in values],
        },
        "episodes": config.episodes,
        "training_seconds": round(found.seconds, 1),
        "versions": versions(),
        "experiment": experiment.tables(),
    }
    write_json_atomic(found.path / RESULTS, data)


def format_study(found: StudyResult) -> str:
    """Return the table, the verdict and the files as text."""
    width = max(len(row.label) for row in found.rows)
    lines = [f"{'':{width}}  {'return [95 %]':26}  {found.measure_name} [95 %]"]
    lines += [
        f"{row.label:{width}}  {interval_text(*row.reward):26}  {interval_text(*row.measure)}"
        for row in found.rows
    ]
    lines += ["", found.verdict, f"{found.seconds:.0f} s of training. Look at:"]
    lines += [f"  {name:10} {path}" for name, path in found.files.items()]
    return "\n".join(line.rstrip() for line in lines)
