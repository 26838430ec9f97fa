"""A constant drive: the same speed and turn rate for all, always."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp

from swarmctl.agents.classical.geometry import fastest, needs, swim
from swarmctl.agents.classical.heading import vector
from swarmctl.agents.options import AgentConfig
from swarmctl.core.command import Command
from swarmctl.core.config import key as config_key
from swarmctl.core.contracts import Agent, AgentInputs
from swarmctl.core.errors import ConfigError, require_finite
from swarmctl.core.spec import AgentSpec
from swarmctl.core.tree import pytree

Array = jax.Array


@pytree
class ConstantDrive(Agent):
    """Constant force γ v along the director, and constant torque γ_r ω.

    A swimmer with rotational diffusion D_r then goes in noisy circles of radius v/ω, and diffuses
    in the plane with D_t + v² D_r/(2(D_r² + ω²)).

    Attributes:
        speed: [N] µm/s.
        turn_rate: rad/s, [N] in 2D, [N,3] in 3D.
    """

    output: ClassVar[Literal["action", "command"]] = "command"
    speed: Array
    turn_rate: Array

    def check(self, spec: AgentSpec) -> None:
        """Raise CapabilityError unless the engine takes speed and turn rate."""
        needs(spec, "constant-drive", "speed", "turn_rate")

    def init_memory(self, spec: AgentSpec) -> Any:
        """No memory."""
        return ()

    def act(
        self, inputs: AgentInputs, memory: Any, key: Array, deterministic: bool = False
    ) -> tuple[Command, Any]:
        """Return the command."""
        return swim(inputs.state, self.speed, self.turn_rate), memory


@dataclasses.dataclass(frozen=True)
class ConstantDriveConfig(AgentConfig):
    """Keys of constant-drive."""

    name: ClassVar[str] = "constant-drive"
    speed: float | None = config_key(None, "swim speed; the highest if left out", "um/s")
    turn_rate: float = config_key(0.0, "turn rate, anticlockwise about the axis", "rad/s")
    axis: tuple[float, ...] = config_key((0.0, 0.0, 1.0), "axis of turning, in 3D")

    def build(self, spec: AgentSpec) -> ConstantDrive:
        """Return the agent."""
        engine = spec.engine
        require_finite(self.name, speed=self.speed, turn_rate=self.turn_rate)
        turn = jnp.full(engine.capacity, self.turn_rate, engine.dtype)
        if engine.dimension == 3:
            size = vector(self.name, "axis", self.axis, 3)
            if size == 0:
                raise ConfigError(f"{self.name}: axis has no length; give a vector that has one.")
            turn = turn[:, None] * jnp.asarray(self.axis, engine.dtype) / size
        return ConstantDrive(fastest(engine, self.speed), turn)
