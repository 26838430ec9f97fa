"""Commands from a record, given again."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
import numpy as np

from swarmctl.agents.classical.geometry import needs
from swarmctl.agents.options import AgentConfig
from swarmctl.core.command import Command, FieldCommand
from swarmctl.core.config import key as config_key
from swarmctl.core.contracts import Agent, AgentInputs
from swarmctl.core.errors import CapabilityError, ConfigError
from swarmctl.core.spec import AgentSpec
from swarmctl.core.tree import pytree, static

Array = jax.Array

CHANNELS = ("speed", "turn_rate", "heading", "velocity", "power", "spot_offset")
"""Channels per colloid."""


@pytree
class Recorded(Agent):
    """Gives the commands of a recorded episode, slot by slot and decision by decision.

    After the last one every channel is 0, or it begins again with `loop`. What the colloids do
    meanwhile is not looked at.

    Attributes:
        commands: channel -> [T,N,...]. has_heading: bool [T,N] where headings were recorded.
        field: a global field, leaves [T,...], where one was recorded.
    """

    output: ClassVar[Literal["action", "command"]] = "command"
    commands: dict[str, Array]
    has_heading: Array | None
    field: FieldCommand | None
    loop: bool = static()

    def check(self, spec: AgentSpec) -> None:
        """Raise CapabilityError for other channels, numbers of colloids or dimensions."""
        channels = (*self.commands, *(("field",) if self.field is not None else ()))
        needs(spec, "recorded", *channels)
        engine = spec.engine
        if self.field is not None and self.field.bias.shape[1:] != (engine.dimension,):
            raise CapabilityError(
                f"recorded: the field was recorded in {self.field.bias.shape[1]}D, engine "
                f"{engine.name!r} is {engine.dimension}D."
            )
        n, d = engine.capacity, engine.dimension
        turn = (n,) if d == 2 else (n, 3)
        shapes = {"heading": (n, d), "velocity": (n, d), "turn_rate": turn, "spot_offset": (n, 2)}
        for name, values in self.commands.items():
            wanted = shapes.get(name, (n,))
            if values.shape[1:] != wanted:
                raise CapabilityError(
                    f"recorded: {name} was recorded as {values.shape[1:]}, engine {engine.name!r} "
                    f"takes {wanted}; replay it with as many colloids as were recorded."
                )

    def init_memory(self, spec: AgentSpec) -> Any:
        """No memory; the episode's own count of decisions says which command is due."""
        return ()

    def act(
        self, inputs: AgentInputs, memory: Any, key: Array, deterministic: bool = False
    ) -> tuple[Command, Any]:
        """Return the command that is due."""
        state = inputs.state
        total = jax.tree.leaves((self.commands, self.field))[0].shape[0]
        over = (state.step >= total) & (not self.loop)
        index = state.step % total
        present = state.present & ~over
        given: dict[str, Any] = {}
        for name, values in self.commands.items():
            value = values[index]
            rows = present.reshape(present.shape + (1,) * (value.ndim - 1))
            given[name] = jnp.where(rows, value, 1 if name == "heading" else 0)
        if self.has_heading is not None:
            given["has_heading"] = self.has_heading[index] & present
        if self.field is not None:
            due = jax.tree.map(lambda leaf: jnp.where(over, 0, leaf[index]), self.field)
            given["field"] = due
        return Command(**given), memory


@dataclasses.dataclass(frozen=True)
class RecordedConfig(AgentConfig):
    """Keys of the agent from a record."""

    name: ClassVar[str] = "recorded"
    path: Path | None = config_key(None, "the trajectory: its folder, or a file of it")
    source: Literal["applied", "requested"] = config_key(
        "applied", "what was done within the limits, or what was asked for"
    )
    episode: int = config_key(0, "which episode of the record")
    loop: bool = config_key(False, "begin again at the end")

    def build(self, spec: AgentSpec) -> Recorded:
        """Return the agent. Raises RecordError for a file that cannot be read."""
        from swarmctl.records.commands import FIELD_CHANNELS
        from swarmctl.records.trajectory import read_trajectory

        if self.path is None:
            raise ConfigError(f"{self.name}: which record? Give path=FOLDER of a trajectory.")
        record = read_trajectory(self.path)
        recorded: dict[str, np.ndarray] = dict(getattr(record, self.source))
        frames = record.episode == self.episode
        if not frames.any():
            raise ConfigError(
                f"{self.name}: {self.path} has no episode {self.episode}; it has "
                f"{', '.join(str(e) for e in np.unique(record.episode))}."
            )
        names = (*CHANNELS, *FIELD_CHANNELS)
        channels = {name: recorded[name][frames] for name in names if name in recorded}
        if not channels:
            raise ConfigError(
                f"{self.name}: {self.path} has no commands that can be given again; it has "
                f"{', '.join(sorted(recorded)) or 'none'}. Record an episode with its commands."
            )
        # A frame holds the command that led to it, so the first frame of an episode has none.
        first = next(iter(channels.values()))
        known = np.isfinite(first).reshape(len(first), -1).any(axis=1)
        if not known.any():
            raise ConfigError(f"{self.name}: episode {self.episode} of {self.path} is empty.")
        channels = {name: values[known] for name, values in channels.items()}
        headed = recorded.get("has_heading")
        has_heading = None
        if "heading" in channels:
            seen = np.isfinite(channels["heading"]).all(axis=-1)
            seen &= np.abs(channels["heading"]).sum(axis=-1) > 0
            has_heading = seen if headed is None else seen & headed[frames][known].astype(bool)
            channels["heading"] = np.where(seen[..., None], channels["heading"], 1.0)
        given = {n: jnp.asarray(np.nan_to_num(v), spec.engine.dtype) for n, v in channels.items()}
        field = {n.removeprefix("field."): given.pop(n) for n in FIELD_CHANNELS if n in given}
        return Recorded(
            given,
            None if has_heading is None else jnp.asarray(has_heading),
            FieldCommand(**field) if field else None,
            self.loop,
        )
