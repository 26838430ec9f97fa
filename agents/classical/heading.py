"""Steering towards a direction or a point, by the rules whose drift is known in closed form."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp

from swarmctl.agents.classical.geometry import directors, fastest, head, needs, quickest, swim
from swarmctl.agents.options import AgentConfig
from swarmctl.core.command import Command
from swarmctl.core.config import key as config_key
from swarmctl.core.contracts import Agent, AgentInputs
from swarmctl.core.errors import ConfigError, require_positive
from swarmctl.core.spec import AgentSpec, EngineSpec
from swarmctl.core.state import Space, SwarmState
from swarmctl.core.tree import pytree, static
from swarmctl.observe.pairs import length, unit

Array = jax.Array

Rule = Literal["set", "turn", "bang-bang", "torque", "swim-or-turn", "on-off"]
RULES = (
    "set: take the heading at once; turn: turn by the angle, as fast as allowed; bang-bang: turn "
    "at full rate; torque: rate x sin of the angle; swim-or-turn: swim within acceptance, else "
    "turn at full rate; on-off: swim within acceptance, never turn"
)


@pytree
class Steering:
    """How a swimmer follows a wanted direction e that lies at an angle φ from its director.

    With the speed v, the turn rate ω and the rotational diffusion D_r its mean velocity along e,
    for a fixed e and decisions that follow one another fast, is

        on-off        v sin θ/π in 2D, v sin²θ/4 in 3D, if it swims for |φ| < θ and never turns
        swim-or-turn  v sin θ/[θ + (1 - e^(-κ(π-θ)))/κ], κ = ω/D_r, if it swims for |φ| < θ and
                      else turns (2D)
        bang-bang     v κ²/(1+κ²) coth(κπ/2), if it swims always and turns at ±ω (2D)
        torque        v I₁(Γ)/I₀(Γ), Γ = ω/D_r, if it swims always and turns at ω sin φ (2D)

    Attributes:
        speed, turn_rate: [N] µm/s, rad/s.
        acceptance: θ [] rad.
        interval: [] s, of decisions.
        rule: one of the above, "set" or "turn".
    """

    speed: Array
    turn_rate: Array
    acceptance: Array
    interval: Array
    rule: Rule = static()

    @property
    def channels(self) -> tuple[str, ...]:
        """Command channels that the rule needs."""
        steer = {"set": ("heading",), "on-off": ()}.get(self.rule, ("turn_rate",))
        return ("speed", *steer)

    def command(self, state: SwarmState, wanted: Array, moving: Array) -> Command:
        """Command towards unit vectors `wanted` [N,D]; only those `moving` bool [N] swim."""
        n = directors(state)
        cosine = jnp.sum(n * wanted, axis=-1)
        within = jnp.where(state.oriented & (length(wanted) > 0), cosine, -2) >= jnp.cos(
            self.acceptance
        )
        if self.rule in ("swim-or-turn", "on-off"):
            moving = moving & within
        speed = jnp.where(moving, self.speed, 0)
        if self.rule == "set":
            return head(state, speed, wanted)
        if self.rule == "on-off":
            return swim(state, speed)
        if n.shape[1] == 2:
            sine = n[:, 0] * wanted[:, 1] - n[:, 1] * wanted[:, 0]
            return swim(state, speed, self._rate(jnp.arctan2(sine, cosine), within))
        axis = jnp.cross(n, wanted)
        sine = length(axis)
        rate = self._rate(jnp.arctan2(sine, cosine), within)
        return swim(state, speed, rate[:, None] * unit(axis))

    def _rate(self, angle: Array, within: Array) -> Array:
        """Turn rates [N] rad/s for angles [N] to the wanted direction."""
        if self.rule == "torque":
            return self.turn_rate * jnp.sin(angle)
        if self.rule == "bang-bang":
            return self.turn_rate * jnp.sign(angle)
        if self.rule == "swim-or-turn":
            return jnp.where(within, 0, self.turn_rate * jnp.sign(angle))
        return jnp.clip(angle / self.interval, -self.turn_rate, self.turn_rate)


@pytree
class ConstantHeading(Agent):
    """All head the same way, `direction` [D], by a steering rule."""

    output: ClassVar[Literal["action", "command"]] = "command"
    steering: Steering
    direction: Array

    def check(self, spec: AgentSpec) -> None:
        """Raise CapabilityError unless the engine takes the commands of the rule."""
        needs(spec, "constant-heading", *self.steering.channels)

    def init_memory(self, spec: AgentSpec) -> Any:
        """No memory."""
        return ()

    def act(
        self, inputs: AgentInputs, memory: Any, key: Array, deterministic: bool = False
    ) -> tuple[Command, Any]:
        """Return the command."""
        state = inputs.state
        wanted = jnp.broadcast_to(self.direction, state.position.shape)
        return self.steering.command(state, wanted, state.present), memory


@pytree
class SteerToPoint(Agent):
    """All head for a point by a steering rule, and rest within `arrival` [] µm of it.

    `goal` [D] µm. Distances by the minimum image.
    """

    output: ClassVar[Literal["action", "command"]] = "command"
    steering: Steering
    goal: Array
    arrival: Array

    def check(self, spec: AgentSpec) -> None:
        """Raise CapabilityError unless the engine takes the commands of the rule."""
        needs(spec, "steer-to-point", *self.steering.channels)

    def init_memory(self, spec: AgentSpec) -> Any:
        """No memory."""
        return ()

    def act(
        self, inputs: AgentInputs, memory: Any, key: Array, deterministic: bool = False
    ) -> tuple[Command, Any]:
        """Return the command."""
        state = inputs.state
        wanted, away = towards(state, self.goal, inputs.space)
        return self.steering.command(state, wanted, away > self.arrival), memory


def towards(state: SwarmState, goal: Array, space: Space) -> tuple[Array, Array]:
    """Unit vectors [N,D] and distances [N] µm to goals [D] or [N,D]; 0 for the absent."""
    way = space.displacement(state.position, jnp.asarray(goal, state.position.dtype))
    way = jnp.where(state.present[:, None], way, 0)
    return unit(way), length(way)


@dataclasses.dataclass(frozen=True)
class SteeringConfig(AgentConfig):
    """Keys that steering controllers share."""

    rule: Rule = config_key("set", RULES)
    speed: float | None = config_key(None, "swim speed; the highest if left out", "um/s")
    turn_rate: float | None = config_key(None, "ω of the rule; the highest if left out", "rad/s")
    acceptance: float | None = config_key(
        None,
        "θ of the rule; if left out π/2 for on-off, else half of what one decision turns",
        "rad",
    )

    def steering(self, spec: AgentSpec) -> Steering:
        """Return the rule for an environment. Raises ConfigError for values out of range."""
        engine = spec.engine
        require_positive(self.name, speed=self.speed, turn_rate=self.turn_rate)
        acceptance = self.acceptance
        if acceptance is None:
            half = 0.5 * max(engine.turn_rate_max) * engine.control_interval
            acceptance = math.pi / 2 if self.rule == "on-off" else min(half, math.pi)
        if not 0 <= acceptance <= math.pi:
            raise ConfigError(
                f"{self.name}: acceptance must lie between 0 and π, got {acceptance} rad."
            )
        return Steering(
            fastest(engine, self.speed),
            quickest(engine, self.turn_rate),
            jnp.asarray(acceptance),
            jnp.asarray(engine.control_interval),
            self.rule,
        )


@dataclasses.dataclass(frozen=True)
class ConstantHeadingConfig(SteeringConfig):
    """Keys of constant-heading."""

    name: ClassVar[str] = "constant-heading"
    direction: tuple[float, ...] | None = config_key(
        None, "where to head, a vector of any length; along the first axis if left out"
    )

    def build(self, spec: AgentSpec) -> ConstantHeading:
        """Return the agent."""
        dimension = spec.engine.dimension
        direction = self.direction or (1.0, *(0.0,) * (dimension - 1))
        norm = vector(self.name, "direction", direction, dimension)
        if norm == 0:
            raise ConfigError(f"{self.name}: direction has no length; give a vector that has one.")
        unit_vector = [x / norm for x in direction]
        return ConstantHeading(self.steering(spec), jnp.asarray(unit_vector, spec.engine.dtype))


@dataclasses.dataclass(frozen=True)
class SteerToPointConfig(SteeringConfig):
    """Keys of steer-to-point."""

    name: ClassVar[str] = "steer-to-point"
    goal: tuple[float, ...] | None = config_key(
        None, "where to go; the middle of the box if left out", "um"
    )
    arrival: float = config_key(0.0, "rest closer than this", "um")

    def build(self, spec: AgentSpec) -> SteerToPoint:
        """Return the agent."""
        engine = spec.engine
        goal, arrival = goal_point(self.name, self.goal, self.arrival, engine)
        return SteerToPoint(self.steering(spec), goal, arrival)


def vector(agent: str, name: str, values: tuple[float, ...], dimension: int) -> float:
    """Length of a vector. Raises ConfigError unless it has `dimension` finite numbers."""
    if len(values) != dimension or not all(math.isfinite(x) for x in values):
        raise ConfigError(
            f"{agent}: {name} {values} does not fit a {dimension}D engine; give {dimension} finite "
            "numbers."
        )
    return math.hypot(*values)


def goal_point(
    agent: str, goal: tuple[float, ...] | None, arrival: float, engine: EngineSpec
) -> tuple[Array, Array]:
    """Goal [D] µm, the middle of the box if left out, and arrival [] µm. Raises ConfigError."""
    point = goal or tuple(side / 2 for side in engine.box)
    vector(agent, "goal", point, engine.dimension)
    if not (math.isfinite(arrival) and arrival >= 0):
        raise ConfigError(f"{agent}: arrival must be at least 0 µm, got {arrival}.")
    return jnp.asarray(point, engine.dtype), jnp.asarray(arrival)
