"""Rolling all to a point by one global field."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp

from swarmctl.agents.classical.geometry import needs
from swarmctl.agents.classical.heading import goal_point, towards
from swarmctl.agents.options import AgentConfig
from swarmctl.core.command import Command
from swarmctl.core.config import key as config_key
from swarmctl.core.contracts import Agent, AgentInputs
from swarmctl.core.errors import require_positive
from swarmctl.core.spec import AgentSpec
from swarmctl.core.tree import pytree
from swarmctl.core.waveforms import rolling_field
from swarmctl.observe.pairs import unit

Array = jax.Array


@pytree
class RollToPoint(Agent):
    """Turns a field so that rollers roll towards a point, and stops it on arrival.

    The field is one for all (`waveforms.rolling_field`): it rolls them along the mean direction
    from those that are farther than `arrival` [] µm from the goal. `goal` [D] µm, `strength` [] mT,
    `frequency` [] Hz. Distances by the minimum image.
    """

    output: ClassVar[Literal["action", "command"]] = "command"
    goal: Array
    arrival: Array
    strength: Array
    frequency: Array

    def check(self, spec: AgentSpec) -> None:
        """Raise CapabilityError unless the engine is 2D and has a global field."""
        needs(spec, "roll-to-point", "field", plane=True)

    def init_memory(self, spec: AgentSpec) -> Any:
        """No memory."""
        return ()

    def act(
        self, inputs: AgentInputs, memory: Any, key: Array, deterministic: bool = False
    ) -> tuple[Command, Any]:
        """Return the command."""
        state = inputs.state
        wanted, away = towards(state, self.goal, inputs.space)
        underway = state.present & (away > self.arrival)
        mean = jnp.sum(jnp.where(underway[:, None], wanted, 0), axis=0)
        return Command(field=rolling_field(unit(mean), self.strength, self.frequency)), memory


@dataclasses.dataclass(frozen=True)
class RollToPointConfig(AgentConfig):
    """Keys of roll-to-point."""

    name: ClassVar[str] = "roll-to-point"
    goal: tuple[float, ...] | None = config_key(
        None, "where to go; the middle of the box if left out", "um"
    )
    arrival: float = config_key(0.0, "those closer than this do not count", "um")
    strength: float | None = config_key(None, "of the field; the highest if left out", "mT")
    frequency: float | None = config_key(None, "of the field; the highest if left out", "Hz")

    def build(self, spec: AgentSpec) -> RollToPoint:
        """Return the agent. Raises CapabilityError if the engine has no global field."""
        needs(spec, self.name, "field", plane=True)
        engine = spec.engine
        require_positive(self.name, strength=self.strength, frequency=self.frequency)
        goal, arrival = goal_point(self.name, self.goal, self.arrival, engine)
        assert engine.field_max is not None
        strongest, _, quickest = engine.field_max
        return RollToPoint(
            goal,
            arrival,
            jnp.asarray(self.strength or strongest, engine.dtype),
            jnp.asarray(self.frequency or quickest, engine.dtype),
        )
