"""Episodes as trajectory files, movies and stills; the verb `render`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from swarmctl.core import registry
from swarmctl.core.errors import ConfigError, RecordError
from swarmctl.core.state import Space
from swarmctl.envs.functional import SwarmEnv
from swarmctl.envs.picture import TRAIL, scenario_scene
from swarmctl.envs.scenario import Scenario
from swarmctl.records.commands import command_arrays
from swarmctl.records.provenance import versions
from swarmctl.records.trajectory import (
    Trajectory,
    TrajectorySpec,
    TrajectoryWriter,
    body_frame,
    body_layout,
    channels_like,
    read_trajectory,
)
from swarmctl.training.configs import RenderConfig
from swarmctl.training.engine_episodes import EngineEnv
from swarmctl.training.evaluate import Rollout, find_agent, policy_experiment, record_episode
from swarmctl.training.experiment import Experiment, check_heeded, load_experiment, with_engine
from swarmctl.viz.frame import FrameRenderer
from swarmctl.viz.movie import MovieFiles, write_movie
from swarmctl.viz.scene import Scene
from swarmctl.viz.still import still


@dataclass(frozen=True)
class RenderResult:
    """What `render` wrote: the movie's files (and what was skipped, why), the still, the
    trajectory.
    """

    movie: MovieFiles
    still: Path
    trajectory: Path
    notes: Mapping[str, str] = field(default_factory=dict)


def write_rollout(
    path: Path,
    experiment: Experiment,
    env: SwarmEnv | EngineEnv,
    rollout: Rollout,
    about: Mapping[str, Any],
) -> Path:
    """Write a recorded episode as an H5MD trajectory with its commands, rewards and provenance."""
    applied, requested = command_arrays(rollout.applied), command_arrays(rollout.requested)
    states, spec = rollout.states, env.engine.spec
    space = Space(jnp.asarray(spec.box, states.position.dtype), spec.periodic)
    unwrapped = np.asarray(states.unwrapped(space))
    trajectory_spec = TrajectorySpec(
        colloids=spec.capacity,
        size=spec.box,
        periodic=spec.periodic,
        dtype=str(states.position.dtype),
        commands=channels_like({name: value[0] for name, value in applied.items()}),
        metadata={
            "experiment": experiment.tables(),
            "agent": dict(about),
            "versions": versions(),
            "time_step": spec.time_step,
            "control_interval": spec.control_interval,
        },
        **body_layout(spec.bodies, jax.tree.map(lambda leaf: leaf[0], states.bodies)),
    )
    frames = states.position.shape[0]

    def bodies_at(t: int) -> Any:
        return jax.tree.map(lambda leaf: leaf[t], states.bodies)

    with TrajectoryWriter(path, trajectory_spec, frames_per_segment=max(frames, 1000)) as writer:
        for t in range(frames):
            # Frame t holds the state, and the command and reward of the interval that led to it.
            writer.write(
                {
                    "time": states.time[t],
                    "step": states.step[t],
                    "position": unwrapped[t],
                    "velocity": states.velocity[t],
                    "director": states.director[t],
                    "identity": states.identity[t],
                    "species": states.species[t],
                    "present": states.present[t],
                    "oriented": states.oriented[t],
                    "controllable": states.controllable[t],
                    "reward": rollout.reward[t - 1] if t else np.zeros_like(rollout.reward[0]),
                    "episode": 0,
                    "requested": {k: v[t - 1] for k, v in requested.items()} if t else None,
                    "applied": {k: v[t - 1] for k, v in applied.items()} if t else None,
                    "bodies": body_frame(bodies_at(t), spec.box),
                }
            )
    return path


def frames(
    scenario: Scenario,
    trajectory: Trajectory,
    size_px: int = 720,
    every: int = 2,
    title: str = "",
) -> Iterator[np.ndarray]:
    """Yield pictures u8 [H,W,3] of a trajectory of a scenario, as `scene_frames`."""
    scene = scenario_scene(scenario, title or scenario.id)
    yield from scene_frames(scene, trajectory, size_px, every)


def scene_frames(
    scene: Scene,
    trajectory: Trajectory,
    size_px: int = 720,
    every: int = 2,
    field_values: np.ndarray | None = None,
    states: int = TRAIL,
) -> Iterator[np.ndarray]:
    """Yield pictures u8 [H,W,3] of a trajectory, with trails and bodies, and its last state.

    field_values [T,X,Y(,Z)]: the field of a scene that has a `field_range`. Trails show so many
    states.
    """
    wrapped = np.where(scene.periodic, trajectory.position % scene.size, trajectory.position)
    renderer = FrameRenderer(scene, (size_px, size_px))
    last, bodies = len(wrapped) - 1, trajectory.bodies
    for t in dict.fromkeys([*range(0, last + 1, every), last]):
        trail = wrapped[max(0, t - states) : t + 1]
        yield renderer.draw(
            wrapped[t],
            trajectory.director[t],
            time=float(trajectory.time[t]),
            trails=trail if len(trail) > 1 else None,
            present=trajectory.present[t],
            beads=None if bodies is None else bodies.bead[t],
            field_values=None if field_values is None else field_values[t],
        )


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RecordError(
            f"{folder}: cannot be made a folder ({error.strerror}). Choose another one with --out."
        ) from error


def render(config: RenderConfig) -> RenderResult:
    """Draw a trajectory, or an episode of an agent, into a folder.

    Raises ConfigError, UnknownNameError, PolicyFileError, RecordError.
    """
    check_heeded("render", config.set)
    source = Path(config.source)
    folder = config.out
    if source.suffix == ".h5md" or (source.is_dir() and (source / "trajectory.h5md").is_file()):
        path = source if source.suffix == ".h5md" else source / "trajectory.h5md"
        trajectory = read_trajectory(path)
        tables = trajectory.metadata.get("experiment")
        if config.scenario:
            experiment = load_experiment(config.scenario, config.set)
        elif tables:
            experiment = load_experiment(tables, config.set)
        else:
            raise ConfigError(
                f"{path}: does not say of which scenario it is; give one with --scenario."
            )
        scenario = experiment.scenario.build()
    else:
        named = config.source in registry.agents
        where = config.scenario or ("Chemotaxis-v0" if named else policy_experiment(config.source))
        experiment = load_experiment(where, with_engine(config.set, config.engine))
        env = experiment.any_env()
        scenario = env.scenario
        rollout = record_episode(env, find_agent(config.source, env), config.seed)
        env.engine.close()
        _make_folder(folder)
        path = folder / "trajectory.h5md"
        path.unlink(missing_ok=True)
        write_rollout(
            path, experiment, env, rollout, {"source": config.source, "seed": config.seed}
        )
        trajectory = read_trajectory(path)
    _make_folder(folder)
    movie = write_movie(
        folder / "movie",
        frames(scenario, trajectory, config.size, config.every),
        config.fps,
        config.formats,
    )
    picture = still(
        folder / "still.png",
        scenario_scene(scenario, scenario.id),
        trajectory.position,
        trajectory.director,
        trajectory.time,
        caption=(f"{scenario.world.capacity} colloids, {trajectory.time[-1]:.0f} s",),
        present=trajectory.present,
        beads=None if trajectory.bodies is None else trajectory.bodies.bead,
    )
    return RenderResult(movie, picture[0], path)
