"""The engine "replay": a recording as an engine that nobody can steer."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from swarmctl.core.command import Command, check_command
from swarmctl.core.config import build, key
from swarmctl.core.contracts import Engine, Status, Transition
from swarmctl.core.errors import CapabilityError, ConfigError, SwarmctlError
from swarmctl.core.spec import EngineSpec
from swarmctl.core.state import SwarmState
from swarmctl.core.world import World
from swarmctl.engines.command_difference import channel_ranges, command_difference
from swarmctl.engines.describing import world_spec
from swarmctl.engines.replay_episode import (
    Recording,
    read_recording,
    recorded_states,
    state_at,
)
from swarmctl.records.commands import command_arrays, command_channels, command_of_arrays
from swarmctl.records.engine_table import KEY, engine_of_table

EQUAL = 1e-5
"""Share of a channel's range within which two commands are the same."""


@dataclass(frozen=True)
class ReplayKeys:
    """Which recording is played."""

    recording: Path | None = key(None, "the trajectory: the folder of a run, or a file of it")
    episode: int = key(0, "which episode of the recording")
    against: Literal["applied", "requested"] = key(
        "applied", "commands are compared with what was done, or with what was asked for then"
    )


class ReplayEngine(Engine):
    """Plays an episode of a recording; commands move nothing and are compared with those of then.

    The spec is that of the engine that was recorded, as far as the recording tells, and else that
    of the world; capabilities are the channels that were applied. `reset` goes back to the first
    frame whatever the seed is. `applied` is what was applied then, at rest in channels that were
    not in use at that moment. After the last frame a step is a fault.

    Args:
        world: species and limits, where the recording does not tell them; flows.
        control_interval: s between states, where the recording does not tell it.
        options: keys of `ReplayKeys`.
    Raises ConfigError, CapabilityError or RecordError for what cannot be replayed.
    """

    config_class = ReplayKeys

    def __init__(self, world: World, control_interval: float = 0.1, **options: Any) -> None:
        self.config = build(ReplayKeys, options, "engine")
        if self.config.recording is None:
            raise ConfigError(
                "engine 'replay': which recording? Give engine.recording=FOLDER of a run, or a "
                "file of its trajectory."
            )
        recording = read_recording(self.config.recording, self.config.episode)
        self.spec = _spec(recording, world, control_interval)
        self.decisions = recording.decisions
        self._recording = recording
        self._states = recorded_states(recording, self.spec)
        self._ranges = channel_ranges(self.spec)
        self._at = -1

    def reset(self, seed: int) -> SwarmState:
        """Go back to the first frame."""
        self._at = 0
        return state_at(self._states, 0)

    def recorded(self, decision: int, group: Literal["applied", "requested"]) -> Command:
        """What was done, or asked for, in a decision from 0 on; at rest in channels not in use."""
        row = int(self._recording.rows[decision + 1])
        return _complete(self._recording.command(group, row), self.spec)

    def step(self, command: Command) -> Transition:
        """Go on to the next frame.

        `status.info` holds `difference`, by channel how far the command is from the recorded one
        (see `command_difference`); `limited` bool [N], where it is another one; `frame`, the number
        in the recording; `interval` s. Raises SwarmctlError before the first reset and after the
        end, CommandError or CapabilityError for a bad command.
        """
        if self._at < 0:
            raise SwarmctlError("engine 'replay': call reset(seed) before a step, and at the end.")
        check_command(command, self.spec)
        if self._at == self.decisions:
            return self._ended()
        self._at += 1
        row = int(self._recording.rows[self._at])
        difference = command_difference(command, self._recording.command(self.config.against, row))
        state = state_at(self._states, self._at)
        info = {
            "difference": difference,
            "limited": self._others(difference),
            "frame": int(self._recording.trajectory.frame[row]),
            "interval": float(state.interval),
        }
        return Transition(state, self.recorded(self._at - 1, "applied"), Status(info=info))

    def _others(self, difference: dict[str, np.ndarray]) -> np.ndarray:
        """Whose command is another one than in the recording, bool [N]."""
        other = np.zeros(self.spec.capacity, bool)
        for name, apart in difference.items():
            # A field is for all. What is not recorded is NaN, and no agreement.
            other |= ~(apart <= EQUAL * self._ranges[name])
        return other

    def _ended(self) -> Transition:
        last = state_at(self._states, self.decisions)
        self._at = -1
        still = dataclasses.replace(
            last,
            velocity=jnp.zeros_like(last.velocity),
            angular_velocity=jnp.zeros_like(last.angular_velocity),
            step=last.step + 1,
        )
        fault = (
            f"the recording {self._recording.path} ends after {self.decisions} decisions; set "
            "scenario.horizon to so many, or fewer"
        )
        applied = self.recorded(self.decisions - 1, "applied")
        return Transition(still, applied, Status(fault=fault))

    def stop(self, reason: str) -> None:
        """Stop playing; nothing was moved."""
        self._at = -1

    def close(self) -> None:
        """Stop playing."""
        self._at = -1


def _complete(command: Command, spec: EngineSpec) -> Command:
    """The command with all channels of the engine, at rest where nothing was asked, for JAX."""
    arrays = {
        name: np.zeros(channel.shape, channel.dtype)
        for name, channel in command_channels(spec).items()
    }
    full = command_of_arrays({**arrays, **command_arrays(command)})

    def put(values: Any) -> jax.Array:
        array = np.asarray(values)
        return jnp.asarray(array if array.dtype == bool else array.astype(spec.dtype))

    return jax.tree.map(put, full)


def _spec(recording: Recording, world: World, control_interval: float) -> EngineSpec:
    trajectory = recording.trajectory
    table = trajectory.metadata.get(KEY)
    n, d = trajectory.position.shape[1:]
    if table is not None:
        known = engine_of_table(table)
    else:
        told = trajectory.metadata.get("control_interval")
        known = world_spec("replay", world, float(told or control_interval), ())
    if (known.capacity, known.dimension) != (n, d):
        raise CapabilityError(
            f"engine 'replay': {recording.path} has {n} colloids in {d}D, the world "
            f"{known.capacity} in {known.dimension}D; give the scenario as many as were recorded."
        )
    if world.bodies or world.chemicals:
        raise CapabilityError(
            "engine 'replay': this world has "
            f"{'rigid bodies' if world.bodies else 'substances'}, of which a recording does not "
            "tell enough; run the agent on engine 'jax'."
        )
    return dataclasses.replace(
        known,
        name="replay",
        dtype=str(jax.dtypes.canonicalize_dtype(jnp.float64)),
        box=tuple(trajectory.size.tolist()),
        periodic=tuple(trajectory.periodic),
        capabilities=recording.channels,
        time_step=None,
        bodies=(),
        beads=(),
        flows=world.flows,
    )
