"""The verb `train`: seeds of an experiment one after the other, into a run folder, resumable at any
moment.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from swarmctl.agents.saving import save_agent
from swarmctl.core import registry
from swarmctl.core.contracts import Agent
from swarmctl.core.errors import CapabilityError, ConfigError, PhysicsError, RunFolderError
from swarmctl.core.registry import load_target
from swarmctl.envs.functional import SwarmEnv
from swarmctl.records.metrics import MetricsLog, TensorBoardLog, read_metrics, truncate_metrics
from swarmctl.records.run_folder import RunFolder
from swarmctl.training.checkpoint import FILE, load_checkpoint, save_checkpoint
from swarmctl.training.configs import TrainConfig
from swarmctl.training.engine_episodes import EngineEnv
from swarmctl.training.experiment import Experiment, load_experiment, with_engine, with_start
from swarmctl.training.progress import progress_bar
from swarmctl.training.warm_start import Start, keep_start, load_start, with_kept_scaling

METRICS = "metrics.jsonl"


@dataclass(frozen=True)
class TrainResult:
    """A finished run: its folder, one policy per seed, the metrics as rows, and seconds spent
    updating.
    """

    path: Path
    seeds: tuple[int, ...]
    policies: tuple[Agent, ...]
    metrics: list[dict[str, Any]]
    seconds: float


def train(config: TrainConfig) -> TrainResult:
    """Train every seed of an experiment and return the policies.

    The run folder holds config.toml, run.json, metrics.jsonl (a row per update), tensorboard/, and
    per seed a checkpoint, the final policy, the best one and, if there is a goal, the first that
    reached it. A run that was killed goes on with `resume=True` and ends bit-equal on the same
    device and thread count.
    Raises ConfigError, UnknownNameError, CapabilityError, PolicyFileError, RunFolderError,
    PhysicsError, WorkerDiedError, and what the engine raises.
    """
    if config.resume:
        given = next((name for name in ("set", "engine", "start") if getattr(config, name)), None)
        if given:
            raise ConfigError(
                f"train: resume goes on with the run's own keys; leave `{given}` out."
            )
        run = RunFolder.open(config.out)
        experiment = load_experiment(config.out)
        _check_same(config, experiment)
        learner, start = make_learner(experiment), None
    else:
        changed = with_start(with_engine(config.set, config.engine), config.start)
        experiment = load_experiment(config.experiment, changed)
        # Before the folder is touched: a key out of range must not cost the run that is there.
        learner = make_learner(experiment)
        start = find_start(experiment, learner)
        run = RunFolder.create(config.out, experiment.tables(), "train", config.overwrite)
    with run:
        return train_in(run, experiment, config.progress, learner, start)


def _check_same(config: TrainConfig, experiment: Experiment) -> None:
    if config.experiment != TrainConfig.experiment:
        check_same_keys(experiment, load_experiment(config.experiment), config.experiment)


def check_same_keys(there: Experiment, asked: Experiment, name: str) -> None:
    """Raise ConfigError, naming the first difference, unless a run's experiment is that asked."""
    if asked != there:
        difference = _first_difference(there.tables(), asked.tables())
        raise ConfigError(
            f"train: resume goes on with the run's own keys, but {name} has others: "
            f"{difference}. Leave the experiment out, or choose another folder."
        )


class Learns(Protocol):
    """A training program: updates of a state that is a pytree with a counter `update`."""

    @property
    def env(self) -> SwarmEnv | EngineEnv:
        """Where it learns."""

    @property
    def steps_per_update(self) -> int:
        """Agent steps (decisions of single colloids) in an update."""

    def init(self, seed: int) -> Any:
        """Return the state before the first update."""

    def shapes(self) -> Any:
        """Return the shapes and types of a training state."""

    def update(self, state: Any, seed: int) -> tuple[Any, dict[str, Any]]:
        """Return (state, figures), among them episode_return and failed; `state` is consumed.

        Figures are numbers, texts or None.
        """

    def started(self, state: Any, agent: Agent) -> Any:
        """Return a first state (arrays or shapes) with what `agent` learned before.

        Raises PolicyFileError if it was made for other actions, observations or networks.
        """

    def agent(self, state: Any) -> Agent:
        """Return who acts after what was learned."""

    def close(self) -> None:
        """Release the engines, if any are held; may be called twice."""


def make_learner(experiment: Experiment) -> Learns:
    """Build the learner of an experiment; no engine is connected yet.

    Raises ConfigError if the agent does not learn or keys do not fit, CapabilityError if it cannot
    learn on the engine.
    """
    check_learns(experiment)
    env, agent, keys = experiment.any_env(), experiment.agent, experiment.training
    if keys.start is not None:
        agent = with_kept_scaling(agent)
    if isinstance(env, SwarmEnv):
        if keys.workers > 1:
            raise ConfigError(
                f"training.workers is for engines that are not made of pure functions; engine "
                f"{experiment.engine!r} moves all {agent.name} swarms in one compiled call: leave "
                "it out, and use agent.swarms."
            )
        return load_target(agent.learner)(env, agent, keys.updates, experiment.randomise)
    if experiment.randomise is not None:
        raise ConfigError(
            f"[randomise] draws the parameters of engines made of pure functions, and engine "
            f"{experiment.engine!r} is none; leave it out, or train on engine 'jax'."
        )
    if not agent.engine_learner:
        able = [e.name for e in registry.agents if e.load().engine_learner]
        raise CapabilityError(
            f"agent {agent.name!r} learns on engines made of pure functions only, and engine "
            f"{experiment.engine!r} is none; train {', '.join(able)}, or train on engine 'jax'."
        )
    make = partial(_engine_env, experiment.tables())
    return load_target(agent.engine_learner)(env, agent, keys.updates, keys.workers, make)


def _engine_env(tables: Mapping[str, Any]) -> EngineEnv:
    """The environment of a worker process."""
    env = load_experiment(tables).any_env()
    assert isinstance(env, EngineEnv)
    return env


def check_learns(experiment: Experiment) -> None:
    """Raise ConfigError if the agent of an experiment does not learn."""
    if not experiment.agent.learner:
        learn = [entry.name for entry in registry.agents if entry.load().learner]
        raise ConfigError(
            f"agent {experiment.agent.name!r} does not learn; train {', '.join(learn)}, or "
            f"evaluate {experiment.agent.name!r}."
        )


def find_start(experiment: Experiment, learner: Learns) -> Start | None:
    """Read what the experiment starts from, None for untrained policies.

    Raises PolicyFileError if there is none or it does not fit.
    """
    source = experiment.training.start
    if source is None:
        return None
    start = load_start(source, learner.env.spec)
    learner.started(learner.shapes(), start.agent)
    return start


def train_in(
    run: RunFolder,
    experiment: Experiment,
    progress: bool = True,
    learner: Learns | None = None,
    start: Start | None = None,
) -> TrainResult:
    """Train all seeds of an experiment in a run folder that is open.

    What is there already is not done again. `learner` is that of the experiment, made if left out;
    its engines are released at the end. `start` is what the experiment starts from, read if left
    out.
    """
    learner = learner or make_learner(experiment)
    started = time.perf_counter()
    source, agent = experiment.training.start, None
    if source is not None:
        agent = keep_start(run.path, source, start, learner.env.spec)
    policies = []
    try:
        for number, seed in enumerate(experiment.training.seeds):
            seed_run = _SeedRun(run.path, experiment, learner, number, seed, agent)
            policies.append(seed_run.finish(progress))
    finally:
        learner.close()
    return TrainResult(
        run.path,
        experiment.training.seeds,
        tuple(policies),
        read_metrics(run.path / METRICS),
        time.perf_counter() - started,
    )


@dataclass
class _Best:
    """The best mean return over the last updates so far, and whether the goal was reached."""

    value: float = -math.inf
    reached: bool = False


class _SeedRun:
    """Training of one seed: from its checkpoint or from the start to its last update."""

    def __init__(
        self,
        root: Path,
        experiment: Experiment,
        learner: Learns,
        number: int,
        seed: int,
        start: Agent | None,
    ) -> None:
        self.root, self.experiment, self.learner = root, experiment, learner
        self.number, self.seed, self.start = number, seed, start
        self.folder = root / f"seed-{seed}"
        self.updates = experiment.training.updates
        self.best = _Best()

    def finish(self, progress: bool) -> Agent:
        """Run what is left and return the final policy."""
        state, done = self._start()
        if done == self.updates or self._stopped():
            return self.learner.agent(state)
        # Only here: rows behind those of a finished seed belong to the seeds after it.
        truncate_metrics(self.root / METRICS, "row", self.number * self.updates + done - 1)
        with ExitStack() as stack:
            metrics = MetricsLog(self.root / METRICS)
            stack.callback(metrics.close)
            board = TensorBoardLog(self.root / "tensorboard" / f"seed-{self.seed}", purge_from=done)
            stack.callback(board.close)
            bar = stack.enter_context(
                progress_bar(
                    progress,
                    total=self.updates,
                    initial=done,
                    desc=f"seed {self.seed}",
                    unit="update",
                    dynamic_ncols=True,
                )
            )
            for update, trained, row in self._updates(state, done):
                metrics.write(row)
                numbers = {k: v for k, v in row.items() if isinstance(v, float)}
                board.scalars(update, numbers)
                if row.get("fault"):
                    bar.write(f"update {update}: {row['faults']} faults, the last: {row['fault']}")
                if row["episode_return"] is not None:
                    bar.set_postfix_str(
                        f"return {row['episode_return']:.3f}, {row['steps_per_s'] / 1e6:.2f} M "
                        "steps/s",
                        refresh=False,
                    )
                bar.update()
                policy = self.learner.agent(trained)
                self._keep(policy, row)
                last = update + 1 == self.updates or self._stopped()
                if last or (update + 1) % self.experiment.training.checkpoint_every == 0:
                    self._checkpoint(trained, update + 1)
                if last:
                    break
        save_agent(policy, self.folder / "policy", self._about())
        return policy

    def _start(self) -> tuple[Any, int]:
        if not (self.folder / FILE).exists():
            state = self.learner.init(self.seed)
            return state if self.start is None else self.learner.started(state, self.start), 0
        state, metadata = load_checkpoint(self.folder, self.learner.shapes())
        self._check_keys(metadata)
        self.best = _Best(float(metadata["best"]), metadata["reached"] == "true")
        done = int(state.update)
        if not 0 <= done <= self.updates:
            raise RunFolderError(f"{self.folder}: checkpoint of update {done} of {self.updates}.")
        if done == self.updates or self._stopped():
            save_agent(self.learner.agent(state), self.folder / "policy", self._about())
        return state, done

    def _check_keys(self, metadata: dict[str, str]) -> None:
        """Raise RunFolderError if the checkpoint was written with other keys than config.toml's."""
        written = json.loads(metadata.get("experiment", "{}"))
        found = self.experiment.tables()
        if metadata.get("seed") != str(self.seed) or written != found:
            difference = _first_difference(written, found) or f"seed {metadata.get('seed')}"
            raise RunFolderError(
                f"{self.folder / FILE}: was written with other keys than those of config.toml: "
                f"{difference}. Put them back, or start the run again with overwrite."
            )

    def _updates(self, state: Any, done: int) -> Iterator[tuple[int, Any, dict[str, Any]]]:
        for update in range(done, self.updates):
            started = time.perf_counter()
            state, figures = self.learner.update(state, self.seed)
            values = {name: np.asarray(value).item() for name, value in figures.items()}
            elapsed = time.perf_counter() - started
            if values.pop("failed"):
                raise PhysicsError(
                    f"seed {self.seed}, update {update}: colloids overlapped or diverged during "
                    "training; "
                    "use a shorter scenario.time_step or lower speeds. The last checkpoint is kept."
                )
            row: dict[str, Any] = {
                "row": self.number * self.updates + update,
                "seed": self.seed,
                "update": update,
                "agent_steps": (update + 1) * self.learner.steps_per_update,
                "seconds": elapsed,
                "steps_per_s": self.learner.steps_per_update / elapsed,
            }
            row |= {
                name: None if isinstance(v, float) and not math.isfinite(v) else v
                for name, v in values.items()
            }
            yield update, state, row

    def _keep(self, policy: Agent, row: dict[str, Any]) -> None:
        """Keep the best policy, and the first that reached the goal."""
        reached = row["episode_return"]
        if reached is None:
            return
        # The policy before this update earned it; the one after it is what can be kept.
        if reached > self.best.value:
            self.best.value = reached
            save_agent(policy, self.folder / "best", self._about(episode_return=reached))
        goal = self.experiment.training.goal
        if goal is not None and reached >= goal and not self.best.reached:
            self.best.reached = True
            save_agent(policy, self.folder / "goal", self._about(episode_return=reached))

    def _stopped(self) -> bool:
        return self.best.reached and self.experiment.training.stop_at_goal

    def _checkpoint(self, state: Any, done: int) -> None:
        metadata = {
            "experiment": json.dumps(self.experiment.tables()),
            "seed": str(self.seed),
            "update": str(done),
            "best": repr(self.best.value),
            "reached": "true" if self.best.reached else "false",
        }
        save_checkpoint(self.folder, state, metadata)

    def _about(self, **more: Any) -> dict[str, Any]:
        return {"seed": self.seed, **self.experiment.tables(), **more}


def _first_difference(old: Any, new: Any, path: str = "") -> str:
    """Name the first key in which nested tables differ, as `a.b was 1, is 2`; "" if none does."""
    if not (isinstance(old, dict) and isinstance(new, dict)):
        return "" if old == new else f"{path} was {old!r}, is {new!r}"
    for name in dict.fromkeys([*old, *new]):
        inner = f"{path}.{name}" if path else name
        found = _first_difference(old.get(name), new.get(name), inner)
        if found:
            return found
    return ""


def training_curves(
    metrics: list[dict[str, Any]], name: str = "episode_return"
) -> tuple[np.ndarray, np.ndarray]:
    """Return (agent steps [K], values [S,K]) of a metric over the updates that every seed has.

    NaN where none ended.
    """
    seeds = list(dict.fromkeys(row["seed"] for row in metrics))
    rows = {(row["seed"], row["update"]): row for row in metrics}
    common = sorted(
        set.intersection(*({row["update"] for row in metrics if row["seed"] == s} for s in seeds))
    )
    steps = np.asarray([rows[seeds[0], update]["agent_steps"] for update in common], float)
    values = [
        [math.nan if (v := rows[seed, update][name]) is None else v for update in common]
        for seed in seeds
    ]
    return steps, np.asarray(values, float)
