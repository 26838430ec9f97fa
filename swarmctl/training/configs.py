"""What the verbs are told: frozen typed configurations, without JAX, so that help is quick."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from swarmctl.core.config import key
from swarmctl.core.errors import ConfigError


def _as_path(config: Any, *names: str) -> None:
    """Take text for the path `out` and others, as notebooks write them."""
    for name in ("out", *names):
        if isinstance(getattr(config, name), str):
            object.__setattr__(config, name, Path(getattr(config, name)))


@dataclass(frozen=True)
class DemoConfig:
    """Train ten colloids to climb a concentration gradient, compare, and show it."""

    out: Path = key(Path("runs/demo"), "folder of the run")
    seeds: int = key(5, "training seeds, from 0 on; the intervals are over them")
    updates: int = key(60, "updates per seed")
    episodes: int = key(256, "swarms per evaluation")
    movie: bool = key(True, "make the movie")
    overwrite: bool = key(True, "replace an earlier demo in `out`")
    progress: bool = key(True, "show a progress bar")

    def __post_init__(self) -> None:
        _as_path(self)
        if self.seeds < 2:
            raise ConfigError(
                f"demo: an interval over seeds needs at least 2 of them, got {self.seeds}."
            )


@dataclass(frozen=True)
class TrainConfig:
    """Train the agent of an experiment, one policy per seed."""

    experiment: str = key(
        "Chemotaxis-v0",
        "an experiment file (TOML), a scenario id, or the folder of a run to repeat",
        positional=True,
    )
    out: Path = key(Path("runs/train"), "folder of the run")
    set: tuple[str, ...] = key(
        (), 'changed keys, such as agent.hidden=[64,64] or scenario.radius="3 um"'
    )
    engine: str = key("", "engine, such as espresso; that of the experiment if left out")
    start: Path | None = key(
        None, "folder of a run or policy to start from; training.start if left out"
    )
    resume: bool = key(False, "go on with the run in `out` from its last checkpoint")
    overwrite: bool = key(False, "delete a run that is in `out`")
    progress: bool = key(True, "show a progress bar")

    def __post_init__(self) -> None:
        _as_path(self, "start")


@dataclass(frozen=True)
class EvaluateConfig:
    """Evaluate agents on one scenario, with equal starts and noise."""

    agents: tuple[str, ...] = key(
        (),
        "registered names, or folders of runs or policies; the scenario's baselines if none",
        positional=True,
    )
    scenario: str = key("", "scenario id or experiment file; that of the first policy if left out")
    set: tuple[str, ...] = key((), "changed keys, such as scenario.colloids=50")
    engine: str = key("", "engine, such as espresso; that of the experiment if left out")
    episodes: int = key(256, "swarms, each for one episode")
    seed: int = key(1_000_000, "seed of starts and noise, equal for all agents")
    deterministic: bool = key(True, "policies take their likeliest action")
    out: Path | None = key(None, "a JSON file for the figures")

    def __post_init__(self) -> None:
        _as_path(self)


@dataclass(frozen=True)
class StudyConfig:
    """Train several seeds of an experiment and compare them with the scenario's baselines."""

    experiment: str = key(
        "Chemotaxis-v0", "an experiment file (TOML), or a scenario id", positional=True
    )
    out: Path = key(Path("runs/study"), "folder of the study; one that is there is gone on with")
    set: tuple[str, ...] = key((), "changed keys, such as training.seeds=[0,1,2,3,4]")
    engine: str = key("", "engine, such as espresso; that of the experiment if left out")
    episodes: int = key(256, "swarms per evaluation")
    seed: int = key(1_000_000, "seed of the evaluations' starts and noise")
    movie: bool = key(True, "make the movie of the median seed's policy")
    size: int = key(480, "width and height of the movie in pixels")
    every: int = key(4, "draw every so many decisions")
    overwrite: bool = key(False, "delete a study that is in `out`")
    progress: bool = key(True, "show a progress bar")

    def __post_init__(self) -> None:
        _as_path(self)
        if self.episodes < 2 or self.every < 1 or self.size < 160:
            raise ConfigError(
                "study: episodes must be at least 2, every at least 1, and size at least 160."
            )


@dataclass(frozen=True)
class RenderConfig:
    """Draw a recorded trajectory, or one episode of an agent, as movie and still."""

    source: str = key(
        "gradient-climber",
        "a trajectory (.h5md), the folder of a run or policy, or the name of an agent",
        positional=True,
    )
    out: Path = key(Path("runs/render"), "folder for movie, still and, for an agent, trajectory")
    scenario: str = key("", "scenario id or experiment file; that of the source if left out")
    set: tuple[str, ...] = key((), "changed keys, such as scenario.colloids=50")
    engine: str = key("", "engine, such as espresso; that of the experiment if left out")
    seed: int = key(0, "seed of the episode")
    formats: tuple[str, ...] = key(("gif", "mp4"), "of the movie: gif, mp4, or none of them")
    every: int = key(2, "draw every so many decisions")
    fps: int = key(20, "pictures a second")
    size: int = key(720, "width and height of the movie in pixels")

    def __post_init__(self) -> None:
        _as_path(self)
        if min(self.every, self.fps, self.size) < 1:
            raise ConfigError("render: every, fps and size must be at least 1.")


@dataclass(frozen=True)
class SimulateConfig:
    """Simulate a world from a file: record it, draw it, and sum it up."""

    world: str = key(
        "", "a world file (TOML), or the folder of a simulation to repeat", positional=True
    )
    out: Path = key(Path("runs/simulate"), "folder of the simulation")
    time: float | None = key(None, "simulated time; run.time of the file if left out", "s")
    interval: float | None = key(None, "control interval; run.interval if left out", "s")
    every: float | None = key(None, "time between recorded frames; run.every if left out", "s")
    seed: int | None = key(None, "seed of start and noise; run.seed if left out")
    speed: float | None = key(None, "swim speed of all; run.drive.speed if left out", "um/s")
    turn_rate: float | None = key(
        None, "turn rate of all; run.drive.turn_rate if left out", "rad/s"
    )
    set: tuple[str, ...] = key(
        (), 'changed keys, such as fluid.temperature=0 or box.boundary="open"'
    )
    engine: str = key("", "engine, such as espresso; run.engine if left out")
    formats: tuple[str, ...] = key(("gif", "mp4"), "of the movie: gif, mp4, or none of them")
    pictures: int = key(150, "pictures in the movie at most")
    fps: int = key(20, "pictures a second")
    size: int = key(720, "width and height of the movie in pixels")
    resume: bool = key(False, "go on with the simulation in `out`")
    overwrite: bool = key(False, "delete a simulation that is in `out`")
    progress: bool = key(True, "show a progress bar")

    def __post_init__(self) -> None:
        _as_path(self)
        if min(self.pictures, self.fps) < 1 or self.size < 160:
            raise ConfigError(
                "simulate: pictures and fps must be at least 1, and size at least 160 pixels."
            )
        for name in self.formats:
            if name not in ("gif", "mp4"):
                raise ConfigError(f"simulate: format {name!r}; allowed: gif, mp4.")
        if self.resume and self.overwrite:
            raise ConfigError("simulate: resume and overwrite exclude each other; give one.")


@dataclass(frozen=True)
class CheckConfig:
    """Run the contracts on a scenario, an engine or an agent, registered or your own."""

    target: str = key("Chemotaxis-v0", "a registered name, or my_file.py:MyThing", positional=True)


@dataclass(frozen=True)
class ListConfig:
    """List scenarios, engines and agents; or the keys of one of them."""

    name: str = key("", "show the keys of this scenario or agent", positional=True)


@dataclass(frozen=True)
class InfoConfig:
    """Show versions, devices and extras; or the state of a run, repairing what a kill left."""

    run: str = key("", "folder of a run", positional=True)
