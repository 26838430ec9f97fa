"""The hardware side of the bridge: an engine whose outputs a person can arm."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod

import jax
import jax.numpy as jnp

from swarmctl.core.command import Command, rest_others
from swarmctl.core.contracts import Engine, Transition
from swarmctl.core.state import SwarmState


class Plant(ABC):
    """What the bridge needs of hardware besides the contract of engines.

    Attributes:
        engine: sees the swarm, and acts on it while the outputs are live.
    """

    engine: Engine

    @property
    @abstractmethod
    def delay(self) -> float:
        """From the exposure of a frame until the command that rests on it acts, s, as measured."""

    @property
    @abstractmethod
    def known_delay(self) -> float:
        """The same, s, as it was when the plant was calibrated."""

    @abstractmethod
    def reasons(self) -> list[str]:
        """Say, each in words, why the outputs may not be armed now; empty if they may."""

    @abstractmethod
    def arm(self, operator: str) -> None:
        """Let a person arm the outputs and make them live. Raises ArmingError."""

    @abstractmethod
    def reset(self, seed: int) -> SwarmState:
        """Begin an episode from what is seen; what is armed stays armed."""

    @abstractmethod
    def rest(self, reason: str) -> None:
        """Let the outputs go to their safe values within their slew limits, no longer live."""

    @abstractmethod
    def stop(self, reason: str) -> None:
        """Bring all outputs to their safe values at once, until a person clears it."""

    @abstractmethod
    def clear(self, operator: str) -> None:
        """Let a person end what `stop` began. Raises ArmingError if the cause is still there."""

    @abstractmethod
    def step(self, command: Command, live: bool) -> Transition:
        """Move on by an interval; if not `live` the command is written down and nothing is done."""


class EnginePlant(Plant):
    """Any engine as hardware: a laboratory behind a link, a recording, or a simulation.

    What is behind it must make its own outputs safe; arming is asked of the person only.

    Args:
        engine: link, replay, or a simulation that stands for hardware.
        delay: s, as calibrated.
    """

    def __init__(self, engine: Engine, delay: float = 0.0) -> None:
        self.engine = engine
        self._delay = delay
        self._rest = jax.jit(
            lambda command: rest_others(command, jnp.zeros(engine.spec.capacity, bool))
        )

    @property
    def delay(self) -> float:
        """As given."""
        return self._delay

    @property
    def known_delay(self) -> float:
        """As given: nothing is measured."""
        return self._delay

    def reasons(self) -> list[str]:
        """There is nothing to read."""
        return []

    def arm(self, operator: str) -> None:
        """Nothing to do."""

    def reset(self, seed: int) -> SwarmState:
        """Reset the engine."""
        return self.engine.reset(seed)

    def rest(self, reason: str) -> None:
        """Nothing is asked from now on."""

    def stop(self, reason: str) -> None:
        """Stop the engine."""
        self.engine.stop(reason)

    def clear(self, operator: str) -> None:
        """Nothing to do: `reset` begins anew."""

    def step(self, command: Command, live: bool) -> Transition:
        """Step the engine, at rest if not live."""
        return self.engine.step(command if live else self._still(command))

    def _still(self, command: Command) -> Command:
        resting: Command = self._rest(command)
        if resting.field is not None:
            zero = jax.tree.map(jnp.zeros_like, resting.field)
            resting = dataclasses.replace(resting, field=zero)
        return resting


def tracked(state: SwarmState) -> int:
    """Number of colloids that are tracked."""
    return int(state.present.sum())
