"""Turning a rod by pushing its two halves from opposite sides."""

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
from swarmctl.observe.bodies import bodies_of
from swarmctl.observe.pairs import own_frame

Array = jax.Array


@pytree
class RodPusher(Agent):
    """Colloids on one side of the rod push one half of it, those on the other side the other half.

    In the rod's frame (x along it) with y > 0, a colloid pushes -y at places x < 0 to turn the rod
    anticlockwise, and the other way round below. Outside the half that it may push, between `inner`
    and 1 in units of half the rod's length, it swims along the rod at the distance `standoff` to
    the place `aim`. It swims where its director is within `acceptance` of its way, and else turns.

    Attributes:
        inner, aim: [], of half the rod's length. standoff: [] µm. acceptance: [] rad.
        way: 1 to turn the rod anticlockwise, -1 clockwise.
    """

    output: ClassVar[Literal["action", "command"]] = "action"
    moves: Moves
    inner: Array
    aim: Array
    standoff: Array
    acceptance: Array
    body: int = static(default=0)
    way: int = static(default=1)

    def init_memory(self, spec: AgentSpec) -> Any:
        """No memory."""
        return ()

    def act(
        self, inputs: AgentInputs, memory: Any, key: Array, deterministic: bool = False
    ) -> tuple[Any, Any]:
        """Return an action per colloid."""
        state, bodies = inputs.state, bodies_of(inputs.state)
        mine = bodies.body_of_bead == self.body
        centre, angle = bodies.centre[self.body], bodies.angle[self.body]
        axis = jnp.stack([jnp.cos(angle), jnp.sin(angle)])
        beads = own_frame(inputs.space.displacement(centre, bodies.bead)[None], axis[None])[0]
        half = jnp.max(jnp.where(mine, beads[:, 0] + bodies.bead_radius, 0))
        place = own_frame(inputs.space.displacement(centre, state.position)[None], axis[None])[0]
        side = jnp.where(place[:, 1] < 0, -1, 1)
        # Seen from its own side, every colloid should push the half with along > 0.
        along = -self.way * side * place[:, 0]
        placed = (along > self.inner * half) & (along < half)
        goal = jnp.stack([-self.way * side * self.aim * half, side * self.standoff], axis=-1)
        push = jnp.stack([jnp.zeros_like(along), -side.astype(along.dtype)], axis=-1)
        towards = jnp.where(placed[:, None], push, goal - place)
        heading = own_frame(state.director, jnp.broadcast_to(axis, state.director.shape))
        error = own_frame(towards, heading)
        turn = jnp.arctan2(error[:, 1], error[:, 0])
        turning = jnp.where(jnp.abs(turn) > self.acceptance, jnp.sign(turn), 0)
        return self.moves.action(turning == 0, turning), memory


@dataclasses.dataclass(frozen=True)
class RodPusherConfig(AgentConfig):
    """Keys of the rod pusher."""

    name: ClassVar[str] = "rod-pusher"
    body: int = config_key(0, "index of the rod among the bodies")
    direction: Literal["ccw", "cw"] = config_key("ccw", "which way round the rod is to turn")
    inner: float = config_key(0.2, "push only beyond this share of half the rod's length")
    aim: float = config_key(0.7, "where to swim to along the rod, as a share of half its length")
    standoff: float | None = config_key(
        None, "distance from the rod's axis on the way; two diameters if left out", "um"
    )
    acceptance: float | None = config_key(
        None, "swim if the way is within this angle; half of what one decision turns", "rad"
    )

    def __post_init__(self) -> None:
        require_positive(self.name, standoff=self.standoff, acceptance=self.acceptance)
        if not 0 <= self.inner < self.aim <= 1:
            raise ConfigError(
                f"{self.name}: inner {self.inner} and aim {self.aim}; 0 ≤ inner < aim ≤ 1 is "
                "needed."
            )

    def build(self, spec: AgentSpec) -> RodPusher:
        """Return the agent. Raises ConfigError or CapabilityError without a body in a plane."""
        engine = spec.engine
        engine.check_body(self.body, self.name)
        if engine.dimension != 2:
            raise CapabilityError(
                f"{self.name} steers in the plane; engine {engine.name!r} is {engine.dimension}D."
            )
        turn = max(engine.turn_rate_max) * engine.control_interval
        return RodPusher(
            moves_for(spec),
            jnp.asarray(self.inner),
            jnp.asarray(self.aim),
            jnp.asarray(4 * max(engine.radius) if self.standoff is None else self.standoff),
            jnp.asarray(0.5 * turn if self.acceptance is None else self.acceptance),
            body=self.body,
            way=1 if self.direction == "ccw" else -1,
        )
