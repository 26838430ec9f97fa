"""The contracts: what an engine, an observable, a task, an action map and an agent promise.

See decision 0001.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import jax
import numpy as np

from swarmctl.core.command import Command, rest_others
from swarmctl.core.errors import (
    DivergenceError,
    NeighbourOverflowError,
    OverlapError,
    WallCrossedError,
)
from swarmctl.core.spec import ActionSpace, AgentSpec, EngineSpec
from swarmctl.core.state import Space, SwarmState
from swarmctl.core.tree import pytree

Array = jax.Array


@pytree
class Flags:
    """Physical failures of the last control interval, as values.

    Bool [] each, and `limited` bool [N]: whose command was cut, which is no failure.
    """

    overlap: Array
    overflow: Array
    diverged: Array
    wall_crossed: Array
    limited: Array

    @property
    def failed(self) -> Array:
        """Whether anything went wrong, bool []."""
        return self.overlap | self.overflow | self.diverged | self.wall_crossed


def raise_flags(flags: Flags, spec: EngineSpec) -> None:
    """Turn flags (concrete, any batch shape) into the exception of the first failure.

    Raises DivergenceError, NeighbourOverflowError, WallCrossedError or OverlapError. `limited` is
    no failure.
    """
    if np.any(flags.diverged):
        raise DivergenceError(
            f"engine {spec.name!r}: a position or director is not finite; "
            "check the parameters (friction, time step) and the commanded speeds."
        )
    if np.any(flags.overflow):
        raise NeighbourOverflowError(
            f"engine {spec.name!r}: a neighbour list is full: colloids overlap deeply, or their "
            "radii in `params` exceed the world's. Use a shorter time step or lower speeds, or "
            "build the engine of a world with the largest radii."
        )
    if np.any(flags.wall_crossed):
        raise WallCrossedError(
            f"engine {spec.name!r}: a colloid or a body went through a wall in one step; "
            "use a shorter time step or lower speeds and forces."
        )
    if np.any(flags.overlap):
        raise OverlapError(
            f"engine {spec.name!r}: colloids overlap, or are pressed into a hard face or wall, by "
            "more than the contact model resolves; "
            "use a shorter time step, a higher contact_energy, or lower speeds."
        )


@dataclass(frozen=True)
class Status:
    """How a step went: flags (None on hardware), free information, and a fault that truncates the
    episode.
    """

    flags: Flags | None = None
    info: Mapping[str, Any] = field(default_factory=dict)
    fault: str | None = None


@dataclass(frozen=True)
class Transition:
    """What a step of an engine returns.

    The state after it, what was really done, and how it went.
    """

    state: SwarmState
    applied: Command
    status: Status


class Engine(ABC):
    """Something that moves a swarm: a simulation, a microscope, a recording. The loop owns it."""

    spec: EngineSpec

    @abstractmethod
    def reset(self, seed: int) -> SwarmState:
        """Start an episode. In simulation equal seeds give equal episodes.

        On hardware nothing is teleported.
        """

    @abstractmethod
    def step(self, command: Command) -> Transition:
        """Apply a command for one control interval.

        Raises PhysicsError, CommandError, CapabilityError.
        """

    @abstractmethod
    def stop(self, reason: str) -> None:
        """Bring every output to its safe value; the engine can be reset afterwards."""

    @abstractmethod
    def close(self) -> None:
        """Release everything; may be called twice."""


class PureEngine(Engine):
    """An engine whose motion is a pure function that can be jitted, scanned and vmapped.

    Three kinds of data, never mixed: State (pytree), Params (arrays one may vmap over), Config
    (static).
    """

    @abstractmethod
    def params(self) -> Any:
        """Return the parameters as arrays."""

    @abstractmethod
    def init(self, key: Array, params: Any) -> Any:
        """Return a fresh engine state."""

    @abstractmethod
    def advance(
        self, key: Array, state: Any, command: Command, params: Any
    ) -> tuple[Any, Command, Flags]:
        """Move for one control interval; return (state, what was applied, flags)."""

    @abstractmethod
    def observe_state(self, state: Any, params: Any) -> SwarmState:
        """Return what is observed of an engine state."""

    def check_start(self, state: Any) -> None:
        """Raise PlacementError if a fresh state (concrete, any batch) cannot be started from."""


class Observable(ABC):
    """What every colloid sees, for all colloids at once. A frozen pytree; memory is explicit."""

    def check(self, spec: EngineSpec) -> None:  # noqa: B027 - most observables fit everywhere
        """Raise ConfigError or CapabilityError, naming both sides, if the engine lacks what it
        reads, such as a species or a body.
        """

    @abstractmethod
    def names(self, spec: EngineSpec) -> tuple[str, ...]:
        """One short name per number; their count is F."""

    def size(self, spec: EngineSpec) -> int:
        """Number of values per colloid, F."""
        return len(self.names(spec))

    @abstractmethod
    def init(self, state: SwarmState, space: Space) -> Any:
        """Return the memory at the start of an episode; leaves have N rows."""

    @abstractmethod
    def observe(self, state: SwarmState, memory: Any, space: Space) -> tuple[Array, Any]:
        """Return (observation f [N,F], memory)."""


class Task(ABC):
    """What every colloid is paid for, and when it is done. A frozen pytree; memory is explicit."""

    def check(self, spec: EngineSpec) -> None:  # noqa: B027 - most tasks fit everywhere
        """Raise ConfigError or CapabilityError, naming both sides, if the engine lacks what it
        reads, such as a species or a body.
        """

    @abstractmethod
    def init(self, state: SwarmState, space: Space) -> Any:
        """Return the memory at the start of an episode; leaves have N rows."""

    @abstractmethod
    def evaluate(self, state: SwarmState, memory: Any, space: Space) -> tuple[Array, Array, Any]:
        """Return (reward f [N], terminated bool [N], memory) from the state after the action."""


class ActionMap(ABC):
    """Turns actions of a scenario into commands. A frozen pytree."""

    def check(self, spec: EngineSpec) -> None:  # noqa: B027 - most action maps fit everywhere
        """Raise CapabilityError, naming both sides, if the engine cannot do its commands."""

    @property
    @abstractmethod
    def space(self) -> ActionSpace:
        """Space of one colloid's action."""

    @property
    @abstractmethod
    def names(self) -> tuple[str, ...]:
        """What the actions, or the numbers of a continuous action, are called."""

    @property
    @abstractmethod
    def channels(self) -> frozenset[str]:
        """Command channels that are used."""

    @abstractmethod
    def to_command(self, action: Array, spec: EngineSpec) -> Command:
        """Turn actions, i32 [N] or f [N,A] in [-1, 1], into a command."""

    def swarm_command(self, action: Array, active: Array, spec: EngineSpec) -> Command:
        """Turn actions into the command of those in the episode, `active` bool [N].

        Nothing is asked of the others. A map with one command for all, such as a global field,
        overrides this so that only those in the episode have a say in it.
        """
        return rest_others(self.to_command(action, spec), active)


@pytree
class AgentInputs:
    """What an agent may look at: the swarm, the scenario's observation f [N,F], and the space."""

    state: SwarmState
    observation: Array
    space: Space


class Agent(ABC):
    """A controller of all colloids of a swarm. A frozen pytree; memory is explicit and has N rows.

    `output` says whether `act` returns an action of the scenario or a Command.
    """

    output: ClassVar[Literal["action", "command"]]

    def check(self, spec: AgentSpec) -> None:  # noqa: B027 - most agents fit everywhere
        """Raise CapabilityError or PolicyFileError, naming both sides, if it cannot act there."""

    @abstractmethod
    def init_memory(self, spec: AgentSpec) -> Any:
        """Return the memory at the start of an episode."""

    @abstractmethod
    def act(
        self, inputs: AgentInputs, memory: Any, key: Array, deterministic: bool = False
    ) -> tuple[Any, Any]:
        """Return (action or Command, memory)."""
