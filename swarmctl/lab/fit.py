"""The verb `fit`: from a recording to numbers, a world to simulate and ranges to train in."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from swarmctl.core.config import dump_toml, to_dict
from swarmctl.core.errors import ConfigError
from swarmctl.core.files import cannot_write
from swarmctl.core.world import World
from swarmctl.lab.configs import FitConfig
from swarmctl.lab.identified import Identified
from swarmctl.lab.identify import Options, identify
from swarmctl.physics.stiffness import check_stiffness
from swarmctl.records.files import write_text_atomic
from swarmctl.records.trajectory import Trajectory, read_trajectory
from swarmctl.training.experiment import load_experiment
from swarmctl.training.world_file import Run, Simulation, load_simulation

__all__ = ["FitConfig", "FitResult", "fit"]

RESULT, WORLD, RANDOMISE = "identified.toml", "world.toml", "randomise.toml"
"""What `fit` writes into its folder."""
HALVINGS = 12


@dataclass(frozen=True)
class FitResult:
    """What was identified, and the files of it; `world` is None where no base world is known."""

    identified: Identified
    path: Path
    world: Path | None
    randomise: Path


def fit(config: FitConfig, say: Callable[[str], None] = print) -> FitResult:
    """Identify a laboratory and write what was found.

    identified.toml holds numbers, intervals, checks and what could not be told; world.toml is a
    world for `swarmctl simulate`; randomise.toml is a section for the file of an experiment.
    Raises ConfigError, RecordError, UnknownNameError.
    """
    if not config.recording:
        raise ConfigError("fit: give a recording, such as runs/lab/trajectory.h5md.")
    taken = [name for name in (RESULT, WORLD, RANDOMISE) if (config.out / name).exists()]
    if taken and not config.overwrite:
        raise ConfigError(
            f"{config.out / taken[0]}: exists already. Choose another folder with out, or set "
            "overwrite."
        )
    trajectory = read_trajectory(config.recording)
    base = _base(config.world, trajectory)
    options = Options(
        config.commands, config.longest_delay, config.nearest, config.saturation == "smooth"
    )
    species = () if base is None else base.species
    found = identify(
        trajectory,
        options,
        names=[s.name for s in species],
        radius=[s.radius for s in species],
        recording=config.recording,
    )
    try:
        config.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(config.out, error) from error
    for name in taken:
        (config.out / name).unlink()
    found.save(config.out / RESULT)
    ranges = config.out / RANDOMISE
    write_text_atomic(ranges, dump_toml({"randomise": to_dict(found.randomise())}))
    made = None
    if base is not None:
        made = config.out / WORLD
        interval = _interval(trajectory, found)
        write_text_atomic(made, dump_toml(_simulation(found, base, interval).tables()))
    say(found.describe())
    say("\n".join(str(path) for path in (config.out / RESULT, made, ranges) if path is not None))
    return FitResult(found, config.out / RESULT, made, ranges)


def _base(file: str, trajectory: Trajectory) -> World | None:
    """The world to put numbers into: a file's, or the recording's without its disturbances."""
    if file:
        return load_simulation(file).world
    tables: Mapping[str, Any] = trajectory.metadata
    if "simulation" in tables:
        world = load_simulation(tables["simulation"]).world
    elif "experiment" in tables:
        world = load_experiment(tables["experiment"]).built().world
    else:
        return None
    return dataclasses.replace(world, disturbances=None)


def _interval(trajectory: Trajectory, found: Identified) -> float:
    """Control interval of the recording in s."""
    given = trajectory.metadata.get("control_interval")
    return float(given) if given else round(found.species[0].frames, 6)


def _simulation(found: Identified, base: World, interval: float) -> Simulation:
    """The fitted world with a minute to run, its time step short enough for its contacts."""
    world = found.world(base, interval)
    for _ in range(HALVINGS):
        try:
            check_stiffness(world)
        except ConfigError:
            world = dataclasses.replace(world, time_step=world.time_step / 2)
    run = Run(time=max(round(60 / interval), 1) * interval, interval=interval, every=interval)
    return Simulation(world, run)
