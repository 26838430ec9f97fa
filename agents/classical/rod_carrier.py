"""Bringing a rod to a place and an angle by pushing its long sides."""

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
from swarmctl.core.errors import CapabilityError, ConfigError, require_positive
from swarmctl.core.spec import AgentSpec
from swarmctl.core.tree import pytree, static
from swarmctl.observe.bodies import bodies_of
from swarmctl.observe.pairs import length, own_frame

Array = jax.Array


@pytree
class RodCarrier(Agent):
    """Pushes a rod broadside towards its goal, then turns it; it sees everything.

    A rod moves where its long side is pushed. Further than `near` from the goal it should lie
    across the way, at the goal at `angle`; e is the turn that is missing, the smallest in (-π/2,
    π/2]. At the goal, and where |e| exceeds `askew`, each colloid pushes the half that turns the
    rod the right way from its own side. Else all push from behind, at places around `gain` e half
    lengths from the middle, spread over half the rod; a colloid on the wrong side goes around the
    nearer end. When the pose is reached, all rest.

    Attributes:
        goal: [2] µm. angle, acceptance, askew, done: [] rad. near, standoff: [] µm. gain: [] 1/rad.
    """

    output: ClassVar[Literal["action", "command"]] = "action"
    moves: Moves
    goal: Array
    angle: Array
    near: Array
    askew: Array
    done: Array
    gain: Array
    standoff: Array
    acceptance: Array
    body: int = static(default=0)

    def init_memory(self, spec: AgentSpec) -> Any:
        """No memory."""
        return ()

    def act(
        self, inputs: AgentInputs, memory: Any, key: Array, deterministic: bool = False
    ) -> tuple[Any, Any]:
        """Return an action per colloid."""
        state, bodies, space = inputs.state, bodies_of(inputs.state), inputs.space
        mine = bodies.body_of_bead == self.body
        centre, angle = bodies.centre[self.body], bodies.angle[self.body]
        axis = jnp.stack([jnp.cos(angle), jnp.sin(angle)])

        def seen(point: Array) -> Array:
            return own_frame(space.displacement(centre, point)[None], axis[None])[0]

        beads, place, way = seen(bodies.bead), seen(state.position), seen(self.goal)
        half = jnp.max(jnp.where(mine, beads[:, 0] + bodies.bead_radius, 0))
        far = length(way) > self.near
        across = jnp.arctan2(way[1], way[0]) - jnp.pi / 2
        missing = jnp.where(far, across, self.angle - angle)
        missing = missing - jnp.pi * jnp.round(missing / jnp.pi)
        carried = self._carry(place, way, missing, half)
        turned = self._turn(place, missing, half)
        towards = jnp.where(far & (jnp.abs(missing) < self.askew), carried, turned)
        heading = own_frame(state.director, jnp.broadcast_to(axis, state.director.shape))
        error = own_frame(towards, heading)
        angle_off = jnp.arctan2(error[:, 1], error[:, 0])
        turning = jnp.where(jnp.abs(angle_off) > self.acceptance, jnp.sign(angle_off), 0)
        rests = ~far & (jnp.abs(missing) < self.done)
        turning = jnp.where(rests, 0, turning)
        return self.moves.action(~rests & (turning == 0), turning), memory

    def _carry(self, place: Array, way: Array, missing: Array, half: Array) -> Array:
        """Where to swim [N,2] in the rod's frame to push it towards the goal."""
        x, y = place[:, 0], place[:, 1]
        ahead = jnp.where(way[1] < 0, -1, 1)
        behind = y * ahead < 0
        # Pushing along `ahead` at x > 0 turns the rod the way of `ahead`.
        aim = jnp.clip(ahead * self.gain * missing, -0.5, 0.5) * half
        placed = jnp.abs(x - aim) < 0.5 * half
        to_place = jnp.stack([aim - x, -ahead * self.standoff - y], axis=-1)
        push = jnp.stack([0 * x, ahead + 0 * y], axis=-1)
        end = jnp.where(x < 0, -1, 1) * (half + self.standoff)
        outside = jnp.abs(x) > half + 0.5 * self.standoff
        around = jnp.where(
            outside[:, None],
            jnp.stack([0 * x, -ahead + 0 * y], axis=-1),
            jnp.stack([end - x, ahead * self.standoff - y], axis=-1),
        )
        return jnp.where(behind[:, None], jnp.where(placed[:, None], push, to_place), around)

    def _turn(self, place: Array, missing: Array, half: Array) -> Array:
        """Where to swim [N,2] in the rod's frame to turn it on the spot."""
        side, way = jnp.where(place[:, 1] < 0, -1, 1), jnp.where(missing < 0, -1, 1)
        along = -way * side * place[:, 0]
        placed = (along > 0.3 * half) & (along < half)
        aim = jnp.stack([-way * side * 0.7 * half, side * self.standoff], axis=-1)
        push = jnp.stack([0 * along, -side + 0 * along], axis=-1)
        return jnp.where(placed[:, None], push, aim - place)


@dataclasses.dataclass(frozen=True)
class RodCarrierConfig(AgentConfig):
    """Keys of the rod carrier."""

    name: ClassVar[str] = "rod-carrier"
    body: int = config_key(0, "index of the rod among the bodies")
    goal: tuple[float, ...] | None = config_key(
        None, "where to bring it; the middle of the box if left out", "um"
    )
    angle: float = config_key(0.0, "angle of its axis there", "rad")
    near: float = config_key(3.0, "the goal is reached within this distance", "um")
    done: float = config_key(0.04, "the angle is reached within this difference", "rad")
    askew: float = config_key(
        0.6, "turn the rod on the spot if it lies this far from across the way", "rad"
    )
    gain: float = config_key(0.8, "how far off the middle to push, in half lengths", "1/rad")
    standoff: float | None = config_key(
        None, "distance from the rod's axis on the way; two diameters if left out", "um"
    )
    acceptance: float | None = config_key(
        None, "swim if the way is within this angle; half of what one decision turns", "rad"
    )

    def __post_init__(self) -> None:
        require_positive(
            self.name,
            near=self.near,
            done=self.done,
            askew=self.askew,
            gain=self.gain,
            standoff=self.standoff,
            acceptance=self.acceptance,
        )
        if not math.isfinite(self.angle):
            raise ConfigError(f"{self.name}: angle must be finite, got {self.angle}.")

    def build(self, spec: AgentSpec) -> RodCarrier:
        """Return the agent. Raises ConfigError or CapabilityError without a body in a plane."""
        engine = spec.engine
        engine.check_body(self.body, self.name)
        if engine.dimension != 2:
            raise CapabilityError(
                f"{self.name} steers in the plane; engine {engine.name!r} is {engine.dimension}D."
            )
        goal = self.goal or tuple(side / 2 for side in engine.box)
        turn = max(engine.turn_rate_max) * engine.control_interval
        return RodCarrier(
            moves_for(spec),
            jnp.asarray(goal),
            jnp.asarray(self.angle),
            jnp.asarray(self.near),
            jnp.asarray(self.askew),
            jnp.asarray(self.done),
            jnp.asarray(self.gain),
            jnp.asarray(4 * max(engine.radius) if self.standoff is None else self.standoff),
            jnp.asarray(0.5 * turn if self.acceptance is None else self.acceptance),
            body=self.body,
        )
