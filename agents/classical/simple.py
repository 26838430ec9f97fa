"""Controllers that do not look: random and constant."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp

from swarmctl.agents.options import AgentConfig
from swarmctl.core.config import key as config_key
from swarmctl.core.contracts import Agent, AgentInputs
from swarmctl.core.errors import ConfigError
from swarmctl.core.spec import ActionSpace, AgentSpec, Continuous, Discrete
from swarmctl.core.tree import pytree, static

Array = jax.Array


@pytree
class Random(Agent):
    """Actions drawn uniformly and independently for every colloid and decision."""

    output: ClassVar[Literal["action", "command"]] = "action"
    space: ActionSpace = static()

    def init_memory(self, spec: AgentSpec) -> Any:
        """No memory."""
        return ()

    def act(
        self, inputs: AgentInputs, memory: Any, key: Array, deterministic: bool = False
    ) -> tuple[Any, Any]:
        """Draw; `deterministic` makes no difference, since a random agent without chance is another
        agent.
        """
        count = inputs.observation.shape[0]
        if isinstance(self.space, Discrete):
            return jax.random.randint(key, (count,), 0, self.space.n, jnp.int32), memory
        dtype = inputs.observation.dtype
        return jax.random.uniform(key, (count, self.space.size), dtype, -1, 1), memory


@dataclasses.dataclass(frozen=True)
class RandomConfig(AgentConfig):
    """Keys of the random agent: none."""

    name: ClassVar[str] = "random"

    def build(self, spec: AgentSpec) -> Random:
        """Return the agent."""
        return Random(spec.action_space)


@pytree
class Constant(Agent):
    """The same action for every colloid at every decision: `action` i32 [] or f [A]."""

    output: ClassVar[Literal["action", "command"]] = "action"
    action: Array

    def init_memory(self, spec: AgentSpec) -> Any:
        """No memory."""
        return ()

    def act(
        self, inputs: AgentInputs, memory: Any, key: Array, deterministic: bool = False
    ) -> tuple[Any, Any]:
        """Repeat."""
        action = jnp.asarray(self.action)
        return jnp.broadcast_to(action, (inputs.observation.shape[0], *action.shape)), memory


@dataclasses.dataclass(frozen=True)
class ConstantConfig(AgentConfig):
    """Keys of the constant agent."""

    name: ClassVar[str] = "constant"
    action: str | tuple[float, ...] = config_key(
        "swim", "name of a discrete action, or the numbers of a continuous one"
    )

    def build(self, spec: AgentSpec) -> Constant:
        """Return the agent. Raises ConfigError if the scenario has no such action."""
        space = spec.action_space
        if isinstance(space, Continuous):
            values = self.action
            if isinstance(values, str):
                values = (1.0, *(0.0,) * (space.size - 1)) if values == "swim" else ()
            if len(values) != space.size or any(abs(v) > 1 for v in values):
                raise ConfigError(
                    f"constant: action {self.action!r} does not fit {spec.scenario}, which takes "
                    f"{space.size} numbers "
                    f"in [-1, 1]: {', '.join(spec.action_names)}."
                )
            return Constant(jnp.asarray(values))
        if self.action not in spec.action_names:
            raise ConfigError(
                f"constant: {spec.scenario} has no action {self.action!r}; "
                f"it has {', '.join(spec.action_names)}."
            )
        return Constant(jnp.asarray(spec.action_names.index(str(self.action)), jnp.int32))
