"""The verb `simulate`: a world from a file, recorded as it goes, drawn and summed up."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from swarmctl.core.command import Command
from swarmctl.core.contracts import Engine
from swarmctl.core.errors import ConfigError
from swarmctl.core.state import SwarmState
from swarmctl.records.arrays import write_json_atomic
from swarmctl.records.commands import command_arrays
from swarmctl.records.provenance import versions
from swarmctl.records.run_folder import RunFolder
from swarmctl.records.trajectory import (
    TrajectorySpec,
    TrajectoryWriter,
    body_frame,
    body_layout,
    channels_like,
    read_trajectory,
)
from swarmctl.training.checkpoint import FILE, load_checkpoint, save_checkpoint
from swarmctl.training.configs import SimulateConfig
from swarmctl.training.movers import Mover, make_mover
from swarmctl.training.progress import progress_bar
from swarmctl.training.world_file import Simulation, load_simulation
from swarmctl.training.world_picture import chemical_channel, write_pictures
from swarmctl.training.world_summary import format_summary, summarise
from swarmctl.viz.movie import MovieFiles

Array = jax.Array

CHECKPOINT_SECONDS = 10.0
"""Wall time between checkpoints; a simulation that was killed repeats at most so much."""
MOST_CELLS = 2**16
"""A chemical's grid is recorded up to this size; a larger one would swell every frame."""
TRAJECTORY = "trajectory.h5md"


@dataclass(frozen=True)
class SimulateResult:
    """A finished simulation.

    Attributes:
        path: its folder.
        trajectory: the H5MD file.
        still, movie: the pictures.
        summary: what `summary.json` holds: per species `count`, `diffusion` (bare, µm²/s),
            `msd` (pairs of lag s and mean squared displacement µm²), `effective_diffusion` (µm²/s,
            from the longest lag); per body `displacement` µm; and `particle_steps_per_second`.
        text: the summary in words.
    """

    path: Path
    trajectory: Path
    still: Path
    movie: MovieFiles
    summary: Mapping[str, Any]
    text: str


def simulate(config: SimulateConfig, say: Callable[[str], None] = print) -> SimulateResult:
    """Simulate a world, write its trajectory frame by frame, then a still, a movie, a summary.

    The folder holds config.toml (all keys), run.json, trajectory.h5md, checkpoint.safetensors,
    summary.json and the pictures. On an engine of pure functions, a simulation that was killed goes
    on with `resume=True` and ends bit-equal on the same device; others cannot be started from a
    state, which is said at the start. Nothing is written before world, drive and start are known to
    be good. Raises ConfigError, UnknownNameError, UnitError, RunFolderError, PlacementError,
    CapabilityError, PhysicsError.
    """
    if config.resume:
        run = RunFolder.open(config.out)
        simulation = load_simulation(config.out)
        _check_same(config, simulation)
        mover = make_mover(simulation)
        if mover.shapes is None:
            raise ConfigError(f"simulate: {_no_way_back(simulation)} Begin anew with --overwrite.")
    else:
        if not config.world:
            raise ConfigError("simulate: give a world file, such as examples/worlds/swarm.toml.")
        simulation = load_simulation(config.world, config.set, _changes(config))
        # Before the folder is touched: an impossible world must not cost the run that is there.
        mover = make_mover(simulation)
        mover.start()
        if mover.shapes is None:
            say(f"Note: {_no_way_back(simulation)}")
        run = RunFolder.create(config.out, simulation.tables(), "simulate", config.overwrite)
    with run:
        try:
            seconds, steps = _record(run.path, mover, config.progress)
        except KeyboardInterrupt:
            if mover.shapes is None:
                path = run.path / TRAJECTORY
                raise KeyboardInterrupt(f"{path} holds what was simulated until now.") from None
            raise
        trajectory = read_trajectory(run.path / TRAJECTORY)
        summary = summarise(simulation, trajectory)
        if seconds > 0:
            summary["particle_steps_per_second"] = steps * simulation.world.capacity / seconds
        write_json_atomic(run.path / "summary.json", summary)
        lines = format_summary(simulation, summary)
        still, movie = write_pictures(
            run.path,
            simulation.world,
            trajectory,
            title=simulation.run.title,
            caption=tuple(lines),
            formats=config.formats,
            pictures=config.pictures,
            fps=config.fps,
            size=config.size,
        )
    files = [run.path / TRAJECTORY, still, *movie.paths]
    text = "\n".join([*lines, *map(str, files)])
    text += "".join(f"\nno {name}: {why}" for name, why in movie.skipped.items())
    say(text)
    return SimulateResult(run.path, run.path / TRAJECTORY, still, movie, summary, text)


def _no_way_back(simulation: Simulation) -> str:
    return (
        f"engine {simulation.run.engine!r} cannot be started from a state, so that a simulation "
        "that is interrupted there cannot be gone on with; its frames stay."
    )


def _changes(config: SimulateConfig) -> dict[str, Any]:
    given = {
        "time": config.time,
        "interval": config.interval,
        "every": config.every,
        "seed": config.seed,
        "engine": config.engine or None,
        "drive.speed": config.speed,
        "drive.turn_rate": config.turn_rate,
    }
    return {name: value for name, value in given.items() if value is not None}


def _check_same(config: SimulateConfig, simulation: Simulation) -> None:
    """Refuse to go on with other keys than those of the simulation in the folder."""
    changes = _changes(config)
    if not config.world and (config.set or changes):
        raise ConfigError(
            "simulate: resume goes on with the simulation's own keys; leave "
            f"{'set' if config.set else next(iter(changes))} out."
        )
    if config.world and load_simulation(config.world, config.set, changes) != simulation:
        raise ConfigError(
            f"simulate: resume goes on with the keys in {config.out}, but {config.world} with "
            "these options has others. Leave the world file and the options out, or choose "
            "another folder."
        )


def _record(folder: Path, mover: Mover, progress: bool) -> tuple[float, int]:
    """Simulate what is missing in a folder; return seconds and time steps, without compilation."""
    simulation, engine = mover.simulation, mover.engine
    run, last = simulation.run, simulation.run.frames
    if mover.shapes is not None and (folder / FILE).exists():
        state, about = load_checkpoint(folder, mover.shapes)
        frame = int(about["frame"])
    else:
        state, frame = mover.start(), 0
    seen = mover.observe(state)
    spec = _specification(simulation, engine, seen, mover.commands())
    steps = round(run.every / simulation.world.time_step)
    timed, moved = 0.0, 0
    total = round(run.time, 9)
    with (
        TrajectoryWriter(folder / TRAJECTORY, spec, last + 1, append=True) as writer,
        progress_bar(
            progress,
            total=total,
            initial=frame * run.every,
            unit="s",
            bar_format="{l_bar}{bar}| {n:.4g}/{total:.4g} s [{elapsed}<{remaining}]",
        ) as bar,
    ):
        if writer.frames == 0:
            writer.write(_frame(seen, simulation, mover))
        saved = time.perf_counter()
        for number in range(frame + 1, last + 1):
            begun = time.perf_counter()
            state, requested, applied = mover.advance(state)
            if number > frame + 1 or last == frame + 1:
                timed, moved = timed + time.perf_counter() - begun, moved + steps
            # A resumed run repeats what came after its checkpoint; those frames are there already.
            if number >= writer.frames:
                writer.write(_frame(mover.observe(state), simulation, mover, requested, applied))
            late = time.perf_counter() - saved > CHECKPOINT_SECONDS
            if late and number < last and mover.shapes is not None:
                save_checkpoint(folder, state, {"frame": str(number)})
                saved = time.perf_counter()
            bar.update(run.every)
    if frame < last and mover.shapes is not None:
        save_checkpoint(folder, state, {"frame": str(last)})
    return timed, moved


def _specification(
    simulation: Simulation, engine: Engine, seen: SwarmState, commands: Sequence[Command]
) -> TrajectorySpec:
    # What is applied may have more channels than what was asked for: a delay knows all of them.
    blank = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), commands)
    channels = {name: value for command in blank for name, value in command_arrays(command).items()}
    spec = engine.spec
    return TrajectorySpec(
        colloids=spec.capacity,
        size=spec.box,
        periodic=spec.periodic,
        dtype=str(seen.position.dtype),
        commands=channels_like(channels),
        observables=channels_like(_chemicals(simulation, seen)),
        metadata={
            "simulation": simulation.tables(),
            "versions": versions(),
            "time_step": spec.time_step,
            "control_interval": spec.control_interval,
        },
        **body_layout(spec.bodies, seen.bodies),
    )


def _chemicals(simulation: Simulation, seen: SwarmState) -> dict[str, Any]:
    """Grids of the chemicals, as far as they are small enough to be recorded."""
    if seen.chemicals is None:
        return {}
    fields = zip(simulation.world.chemicals, seen.chemicals.fields, strict=True)
    return {chemical_channel(c.name): f for c, f in fields if f.size <= MOST_CELLS}


def _frame(
    seen: SwarmState,
    simulation: Simulation,
    mover: Mover,
    requested: Command | None = None,
    applied: Command | None = None,
) -> dict[str, Any]:
    return {
        # Not the state's float32: an hour in steps of a millisecond would be off.
        "time": int(seen.step) * mover.engine.spec.control_interval,
        "step": seen.step,
        "episode": 0,
        "position": np.asarray(seen.unwrapped(mover.space)),
        "velocity": seen.velocity,
        "director": seen.director,
        "identity": seen.identity,
        "species": seen.species,
        "present": seen.present,
        "oriented": seen.oriented,
        "controllable": seen.controllable,
        "requested": None if requested is None else command_arrays(requested),
        "applied": None if applied is None else command_arrays(applied),
        "observables": _chemicals(simulation, seen),
        "bodies": body_frame(seen.bodies, mover.engine.spec.box),
    }
