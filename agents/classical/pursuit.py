"""Predators that swim at the nearest prey, and prey that swims away from the nearest predator."""

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
from swarmctl.observe.captures import CAPTURE_REACH, captures
from swarmctl.observe.pairs import of_species, own_frame, pairs

Array = jax.Array


@pytree
class Pursue(Agent):
    """Pure pursuit and flight: predators head for the nearest free prey, prey away from the nearest
    predator.

    It sees everything. It remembers whom predators came within `radius` [] µm of: caught prey
    rests, and so do predators once all is caught. Colloids swim where their director is within
    `acceptance` [N] rad of their way, and else turn. Prey further than `alarm` [] µm from predators
    rests.
    """

    output: ClassVar[Literal["action", "command"]] = "action"
    moves: Moves
    radius: Array
    alarm: Array
    acceptance: Array
    predator: int = static(default=0)
    prey: int = static(default=1)

    def init_memory(self, spec: AgentSpec) -> Any:
        """Who is free [N]."""
        return jnp.ones(spec.engine.capacity, bool)

    def act(
        self, inputs: AgentInputs, memory: Any, key: Array, deterministic: bool = False
    ) -> tuple[Any, Any]:
        """Return an action per colloid, and who is free."""
        state, space = inputs.state, inputs.space
        free = memory & ~captures(state, memory, space, self.radius, self.predator, self.prey)[0]
        hunter, prey = of_species(state, self.predator), of_species(state, self.prey)
        pair = pairs(state, space)
        opposed = (hunter[:, None] & (prey & free)) | ((prey & free)[:, None] & hunter)
        away = jnp.where(opposed, pair.distance, jnp.inf)
        nearest = jnp.argmin(away, axis=1)[:, None]
        towards = jnp.take_along_axis(pair.displacement, nearest[..., None], axis=1)[:, 0]
        distance = jnp.take_along_axis(away, nearest, axis=1)[:, 0]
        towards = own_frame(jnp.where(hunter[:, None], towards, -towards), state.director)
        moving = jnp.isfinite(distance) & (hunter | (distance <= self.alarm))
        angle = jnp.arctan2(towards[:, 1], towards[:, 0])
        turning = jnp.where(jnp.abs(angle) > self.acceptance, jnp.sign(angle), 0)
        turning = jnp.where(moving, turning, 0)
        return self.moves.action(moving & (turning == 0), turning), free


@dataclasses.dataclass(frozen=True)
class PursueConfig(AgentConfig):
    """Keys of pursuit and flight."""

    name: ClassVar[str] = "pursue"
    predator: int = config_key(0, "index of the predators' species")
    prey: int = config_key(1, "index of the prey's species")
    capture_reach: float = config_key(
        CAPTURE_REACH, "distance of a capture over that at which predator and prey touch"
    )
    alarm: float | None = config_key(
        None, "prey rests further away from predators than this; it always flees if left out", "um"
    )
    acceptance: float | None = config_key(
        None, "swim if the way is within this angle; half of what one decision turns", "rad"
    )

    def __post_init__(self) -> None:
        require_positive(
            self.name,
            capture_reach=self.capture_reach,
            alarm=self.alarm,
            acceptance=self.acceptance,
        )
        if self.predator == self.prey:
            raise ConfigError(
                f"{self.name}: predators and prey are both species {self.prey}; take two species."
            )

    def build(self, spec: AgentSpec) -> Pursue:
        """Return the agent. Raises ConfigError without both species, CapabilityError in 3D."""
        engine = spec.engine
        for index in (self.predator, self.prey):
            engine.check_species(index, self.name)
        if engine.dimension != 2:
            raise CapabilityError(
                f"{self.name} steers in the plane; engine {engine.name!r} is {engine.dimension}D."
            )
        touching = engine.radius[self.predator] + engine.radius[self.prey]
        half = 0.5 * engine.control_interval * jnp.asarray(engine.per_slot(engine.turn_rate_max))
        return Pursue(
            moves_for(spec),
            jnp.asarray(self.capture_reach * touching),
            jnp.asarray(jnp.inf if self.alarm is None else self.alarm),
            half if self.acceptance is None else jnp.full(engine.capacity, self.acceptance),
            self.predator,
            self.prey,
        )
