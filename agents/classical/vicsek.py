"""Flocks of colloids that take the mean heading of their neighbours."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp

from swarmctl.agents.classical.geometry import (
    bearing,
    directors,
    fastest,
    head,
    needs,
    quickest,
    rotated,
    swim,
)
from swarmctl.agents.options import AgentConfig
from swarmctl.core.command import Command
from swarmctl.core.config import key as config_key
from swarmctl.core.contracts import Agent, AgentInputs
from swarmctl.core.errors import ConfigError, require_positive
from swarmctl.core.spec import AgentSpec
from swarmctl.core.tree import pytree
from swarmctl.observe.pairs import pairs, unit

Array = jax.Array


@pytree
class Vicsek(Agent):
    """Rule of Vicsek, Czirók, Ben-Jacob, Cohen and Shochet (Phys. Rev. Lett. 75, 1226, 1995).

        θ_i(t+1) = arg Σ_j exp(iθ_j(t)) + ξ,    ξ uniform in [-η/2, η/2]

    summed over all j nearer than r, i itself included; the speed is constant. The order parameter
    is v_a = |Σ_i n_i|/N: near 1 for weak noise, √(π/4N) on average for η = 2π.

    Attributes:
        speed: [N] µm/s. reach: r [] µm. noise: η [] rad.
        turn_rate: [N] rad/s, None where headings are set at once.
        interval: [] s.
    """

    output: ClassVar[Literal["action", "command"]] = "command"
    speed: Array
    reach: Array
    noise: Array
    turn_rate: Array | None
    interval: Array

    def check(self, spec: AgentSpec) -> None:
        """Raise CapabilityError unless the engine is 2D and takes what is commanded."""
        steer = "heading" if self.turn_rate is None else "turn_rate"
        needs(spec, "vicsek", "speed", steer, plane=True)

    def init_memory(self, spec: AgentSpec) -> Any:
        """No memory."""
        return ()

    def act(
        self, inputs: AgentInputs, memory: Any, key: Array, deterministic: bool = False
    ) -> tuple[Command, Any]:
        """Return the command. Chance is part of the rule, so `deterministic` changes nothing."""
        state = inputs.state
        near = pairs(state, inputs.space)
        n = directors(state)
        mean = n + (near.others & (near.distance < self.reach)).astype(n.dtype) @ n
        kick = self.noise * jax.random.uniform(key, n.shape[:1], n.dtype, -0.5, 0.5)
        aim = rotated(unit(mean), kick)
        if self.turn_rate is None:
            return head(state, self.speed, aim), memory
        turn = jnp.clip(bearing(n, aim) / self.interval, -self.turn_rate, self.turn_rate)
        return swim(state, self.speed, turn), memory


@dataclasses.dataclass(frozen=True)
class VicsekConfig(AgentConfig):
    """Keys of the Vicsek model."""

    name: ClassVar[str] = "vicsek"
    reach: float = config_key(20.0, "r: neighbours nearer than this count", "um")
    noise: float = config_key(0.5, "η: width of the noise of a heading, at most 2π", "rad")
    speed: float | None = config_key(None, "swim speed; the highest if left out", "um/s")
    steer: Literal["set", "turn"] = config_key(
        "set", "set: take the heading at once; turn: by turn rates"
    )

    def build(self, spec: AgentSpec) -> Vicsek:
        """Return the agent."""
        require_positive(self.name, reach=self.reach, speed=self.speed)
        if not 0 <= self.noise <= 2 * math.pi:
            raise ConfigError(f"{self.name}: noise must lie between 0 and 2π, got {self.noise}.")
        return Vicsek(
            fastest(spec.engine, self.speed),
            jnp.asarray(self.reach),
            jnp.asarray(self.noise),
            None if self.steer == "set" else quickest(spec.engine),
            jnp.asarray(spec.engine.control_interval),
        )
