"""An episode of a recording as states and commands of an engine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from swarmctl.core.command import Command
from swarmctl.core.errors import CapabilityError, ConfigError
from swarmctl.core.spec import EngineSpec
from swarmctl.core.state import SwarmState
from swarmctl.core.wrapping import wrapped_position
from swarmctl.records.commands import command_of_arrays
from swarmctl.records.trajectory import Trajectory, read_trajectory


@dataclass(frozen=True)
class Recording:
    """The frames of one episode of a trajectory.

    Attributes:
        path: where it was read.
        trajectory: all of it.
        rows: i64 [T], its frames that belong to the episode.
    """

    path: Path
    trajectory: Trajectory
    rows: np.ndarray

    @property
    def decisions(self) -> int:
        """How many steps can be replayed."""
        return len(self.rows) - 1

    @property
    def channels(self) -> frozenset[str]:
        """Channels of the commands that were applied."""
        used: frozenset[str] = frozenset()
        for row in self.rows[1:]:
            used |= self.command("applied", row).channels
        return used

    def command(self, group: str, row: int) -> Command:
        """What was "applied" or "requested" in the interval that led to a frame."""
        return command_of_arrays(
            {name: values[row] for name, values in getattr(self.trajectory, group).items()}
        )


def longest_episode(path: str | Path) -> int:
    """Return the episode of a recording with the most frames. Raises as `read_trajectory`."""
    episodes, frames = np.unique(read_trajectory(Path(path)).episode, return_counts=True)
    return int(episodes[np.argmax(frames)]) if len(episodes) else 0


def read_recording(path: str | Path, episode: int) -> Recording:
    """Read an episode. Raises RecordError as `read_trajectory`, and ConfigError or CapabilityError
    for what cannot be replayed.
    """
    path = Path(path)
    trajectory = read_trajectory(path)
    rows = np.flatnonzero(trajectory.episode == episode)
    if len(rows) < 2:
        known = np.unique(trajectory.episode).tolist()
        raise ConfigError(
            f"engine 'replay': {path} has {len(rows)} frames of episode {episode}; at least 2 are "
            f"needed. It has the episodes {', '.join(map(str, known)) or 'none'}."
        )
    every = float(np.median(np.diff(trajectory.step[rows])))
    if every != 1:
        raise ConfigError(
            f"engine 'replay': {path} holds a frame every {every:g} decisions; record every one."
        )
    if trajectory.bodies is not None:
        raise CapabilityError(
            f"engine 'replay': {path} has rigid bodies, and the forces of colloids on them are not "
            "recorded; replay a record of colloids alone, or run the agent on engine 'jax'."
        )
    recording = Recording(path, trajectory, rows)
    if not recording.channels:
        raise ConfigError(
            f"engine 'replay': {path} has no applied commands in episode {episode}; there is "
            "nothing to compare with. Record them."
        )
    return recording


def recorded_states(recording: Recording, spec: EngineSpec) -> SwarmState:
    """All states of the episode, leaves [T,...] in NumPy; slots without a colloid are at 0."""
    trajectory, rows = recording.trajectory, recording.rows
    real = np.dtype(spec.dtype)
    present = trajectory.present[rows]
    here = present[..., None]
    position, image = wrapped_position(
        np.nan_to_num(trajectory.position[rows].astype(float)), spec.box, spec.periodic, real
    )
    seen = np.isfinite(trajectory.director[rows]).all(axis=-1) & present
    ahead = np.eye(spec.dimension)[0]
    director = np.where(seen[..., None], trajectory.director[rows], ahead)
    identity = np.where(present, trajectory.identity[rows], -1)
    interval = _intervals(recording, spec)
    turning = trajectory.observables.get("angular_velocity")
    if turning is None:
        angular_velocity = _turning(director, identity, interval)
    else:
        angular_velocity = np.nan_to_num(turning[rows])
    leaves: dict[str, Any] = {
        "position": np.where(here, position, 0).astype(real),
        "image": np.where(here, image, 0).astype(np.int32),
        "director": director.astype(real),
        "velocity": np.where(here, np.nan_to_num(trajectory.velocity[rows]), 0).astype(real),
        "angular_velocity": angular_velocity.astype(real),
        "species": np.tile(np.asarray(spec.species_of_slot, np.int32), (len(rows), 1)),
        "identity": identity.astype(np.int32),
        "present": present,
        "oriented": trajectory.oriented[rows] & seen,
        "controllable": trajectory.controllable[rows] & present,
        "step": np.arange(len(rows), dtype=np.int32),
        "time": (trajectory.time[rows] - trajectory.time[rows[0]]).astype(real),
        "interval": interval.astype(real),
    }
    return SwarmState(**leaves, bodies=None)


def state_at(states: SwarmState, index: int) -> SwarmState:
    """One of the states, in arrays of its own."""
    return jax.tree.map(lambda leaf: jnp.array(leaf[index]), states)


def _intervals(recording: Recording, spec: EngineSpec) -> np.ndarray:
    """Lengths [T] s of the intervals that led to the states."""
    trajectory, rows = recording.trajectory, recording.rows
    told = trajectory.observables.get("interval")
    if told is not None:
        return told[rows]
    passed = np.diff(trajectory.time[rows])
    return np.concatenate([[spec.control_interval], passed])


def _turning(director: np.ndarray, identity: np.ndarray, interval: np.ndarray) -> np.ndarray:
    """Mean rates of turning rad/s, [T,N] in 2D and [T,N,3] in 3D; 0 for a new colloid."""
    before, after = director[:-1].astype(float), director[1:].astype(float)
    same = (identity[1:] == identity[:-1]) & (identity[1:] >= 0)
    along = (before * after).sum(axis=-1)
    if director.shape[-1] == 2:
        across = before[..., 0] * after[..., 1] - before[..., 1] * after[..., 0]
        turn = np.where(same, np.arctan2(across, along), 0)
    else:
        normal = np.cross(before, after)
        length = np.linalg.norm(normal, axis=-1)
        angle = np.where(same, np.arctan2(length, along), 0)
        turn = normal * (angle / np.where(length > 0, length, 1))[..., None]
    rate = turn / interval[1:].reshape(-1, *(1,) * (turn.ndim - 1))
    return np.concatenate([np.zeros_like(rate[:1]), rate])
