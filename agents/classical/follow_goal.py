"""Going where the observation says that the goal is."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp

from swarmctl.agents.classical.moves import Moves, moves_for
from swarmctl.agents.options import AgentConfig
from swarmctl.core.config import key as config_key
from swarmctl.core.contracts import Agent, AgentInputs
from swarmctl.core.errors import CapabilityError, ConfigError, require_positive
from swarmctl.core.spec import AgentSpec
from swarmctl.core.tree import pytree, static

Array = jax.Array

COLUMNS = ("goal forward", "goal left", "goal distance")


@pytree
class FollowGoal(Agent):
    """Swims where the bearing of the goal is within `acceptance` [N] rad, else turns towards it.

    It uses nothing but the observation's columns "goal forward", "goal left" and "goal distance",
    d/(d + λ). It rests where the distance is at most `arrival` []. Where no goal is seen (both
    components 0) it swims straight on in search of one if `wander`, else it rests.
    """

    output: ClassVar[Literal["action", "command"]] = "action"
    moves: Moves
    acceptance: Array
    arrival: Array
    columns: tuple[int, int, int] = static()
    wander: bool = static(default=True)

    def init_memory(self, spec: AgentSpec) -> Any:
        """No memory."""
        return ()

    def act(
        self, inputs: AgentInputs, memory: Any, key: Array, deterministic: bool = False
    ) -> tuple[Any, Any]:
        """Return an action per colloid."""
        forward, left, distance = (inputs.observation[:, i] for i in self.columns)
        seen = (forward != 0) | (left != 0)
        drawn = seen & (distance > self.arrival)
        angle = jnp.arctan2(left, jnp.where(drawn, forward, 1))
        turning = jnp.where(jnp.abs(angle) > self.acceptance, jnp.sign(angle), 0)
        turning = jnp.where(drawn, turning, 0)
        moving = drawn | ~seen if self.wander else drawn
        return self.moves.action(moving & (turning == 0), turning), memory


@dataclasses.dataclass(frozen=True)
class FollowGoalConfig(AgentConfig):
    """Keys of following the goal."""

    name: ClassVar[str] = "follow-goal"
    acceptance: float | None = config_key(
        None, "swim if the goal is within this angle; half of what one decision turns", "rad"
    )
    arrival: float = config_key(0.1, "rest where the observed d/(d + length) is at most this")

    wander: bool = config_key(True, "swim straight on where no goal is seen, instead of resting")

    def __post_init__(self) -> None:
        require_positive(self.name, acceptance=self.acceptance)
        if not 0 <= self.arrival < 1:
            raise ConfigError(f"{self.name}: arrival must lie in [0, 1), got {self.arrival}.")

    def build(self, spec: AgentSpec) -> FollowGoal:
        """Return the agent. Raises CapabilityError if the observation shows no goal."""
        missing = [name for name in COLUMNS if name not in spec.observation_names]
        if missing:
            raise CapabilityError(
                f"{self.name} needs the observations {', '.join(COLUMNS)}; {spec.scenario} has "
                f"{', '.join(spec.observation_names)}."
            )
        engine = spec.engine
        half = 0.5 * engine.control_interval * jnp.asarray(engine.per_slot(engine.turn_rate_max))
        first, second, third = (spec.observation_names.index(name) for name in COLUMNS)
        return FollowGoal(
            moves_for(spec),
            half if self.acceptance is None else jnp.full(engine.capacity, self.acceptance),
            jnp.asarray(self.arrival),
            (first, second, third),
            self.wander,
        )
