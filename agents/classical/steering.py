"""Controllers that see the whole state: steering to a point."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp

from swarmctl.agents.classical.moves import Moves, moves_for
from swarmctl.agents.options import AgentConfig
from swarmctl.core.config import key as config_key
from swarmctl.core.contracts import Agent, AgentInputs
from swarmctl.core.errors import ConfigError
from swarmctl.core.spec import AgentSpec
from swarmctl.core.tree import pytree

Array = jax.Array


@pytree
class SteerToSource(Agent):
    """Swim if the source lies within `acceptance` [] rad of the director, else turn towards it;
    rest on arrival.

    It reads positions and directors, so it is the ceiling for agents that only sense. With swimming
    or turning, but not both at once, the best acceptance angle θ* for a far source maximises sin
    θ*/(θ* + (1 - e^(-κ(π-θ*)))/κ), with κ = ω/D_r (drift of a two-state swimmer; confirmed by
    simulation). `source` [D] µm; `arrival` [] µm: closer than this it rests.
    """

    output: ClassVar[Literal["action", "command"]] = "action"
    moves: Moves
    source: Array
    acceptance: Array
    arrival: Array

    def init_memory(self, spec: AgentSpec) -> Any:
        """No memory."""
        return ()

    def act(
        self, inputs: AgentInputs, memory: Any, key: Array, deterministic: bool = False
    ) -> tuple[Any, Any]:
        """Return an action per colloid."""
        state = inputs.state
        source = jnp.asarray(self.source, state.position.dtype)
        towards = inputs.space.displacement(state.position, source)
        n = state.director
        angle = jnp.arctan2(
            n[:, 0] * towards[:, 1] - n[:, 1] * towards[:, 0], jnp.sum(n * towards, axis=-1)
        )
        distance = jnp.sqrt(jnp.sum(towards**2, axis=-1))
        turning = jnp.where(jnp.abs(angle) > self.acceptance, jnp.sign(angle), 0)
        swimming = (turning == 0) & (distance > self.arrival)
        return self.moves.action(swimming, turning), memory


def best_acceptance(kappa: float) -> float:
    """θ* in rad that maximises the drift of a swimmer that either swims or turns, κ = ω/D_r."""
    if not kappa > 0:
        raise ConfigError(f"κ = turn rate/rotational diffusion must be positive, got {kappa}.")

    def drift(theta: float) -> float:
        return math.sin(theta) / (theta - math.expm1(-kappa * (math.pi - theta)) / kappa)

    angles = [math.pi * (i + 0.5) / 20000 for i in range(20000)]
    return max(angles, key=drift)


@dataclasses.dataclass(frozen=True)
class SteerToSourceConfig(AgentConfig):
    """Keys of the steering oracle."""

    name: ClassVar[str] = "steer-to-source"
    source: tuple[float, ...] | None = config_key(
        None, "where to go; the middle of the box if left out", "um"
    )
    acceptance: float | None = config_key(
        None,
        "swim if the source is within this angle; half of what one decision turns if left out",
        "rad",
    )
    arrival: float = config_key(0.0, "rest closer than this", "um")

    def build(self, spec: AgentSpec) -> SteerToSource:
        """Return the agent."""
        engine = spec.engine
        if engine.dimension != 2:
            raise ConfigError(
                f"{self.name} steers in the plane; the engine is {engine.dimension}D."
            )
        source = self.source or tuple(length / 2 for length in engine.box)
        acceptance = self.acceptance
        if acceptance is None:
            acceptance = 0.5 * max(engine.turn_rate_max) * engine.control_interval
        return SteerToSource(
            moves_for(spec),
            jnp.asarray(source),
            jnp.asarray(acceptance),
            jnp.asarray(self.arrival),
        )
