"""Visiting points in order, with a PID controller on the heading."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp

from swarmctl.agents.classical.geometry import bearing, directors, fastest, needs, quickest, swim
from swarmctl.agents.classical.heading import towards, vector
from swarmctl.agents.options import AgentConfig
from swarmctl.core.command import Command
from swarmctl.core.config import key as config_key
from swarmctl.core.contracts import Agent, AgentInputs
from swarmctl.core.errors import ConfigError, require_positive
from swarmctl.core.spec import AgentSpec
from swarmctl.core.tree import pytree, static

Array = jax.Array


@pytree
class Waypoints(Agent):
    """Every colloid visits K points in order.

    With the angle e from its director to the next point, in (-π, π], it turns at

        ω = K_p e + K_i ∫ e dt + K_d ė

    within the limits of the engine, and swims at v max(0, cos e). The integral rests while ω is at
    its limit, and starts anew at every point. A point is visited within `reach`; after the last one
    it rests there, or begins again with `loop`.

    Attributes:
        points: [K,2] µm. reach: [] µm. gains: (K_p 1/s, K_i 1/s², K_d 1) [3].
        speed, turn_rate: [N] µm/s, rad/s. interval: [] s.
    """

    output: ClassVar[Literal["action", "command"]] = "command"
    points: Array
    reach: Array
    gains: Array
    speed: Array
    turn_rate: Array
    interval: Array
    loop: bool = static()

    def check(self, spec: AgentSpec) -> None:
        """Raise CapabilityError unless the engine is 2D and takes speed and turn rate."""
        needs(spec, "waypoints", "speed", "turn_rate", plane=True)

    def init_memory(self, spec: AgentSpec) -> Any:
        """Next point i32 [N]; integral [N] rad s; last angle [N] rad; whether there is one [N]."""
        count, dtype = spec.engine.capacity, spec.engine.dtype
        zero = jnp.zeros(count, dtype)
        return jnp.zeros(count, jnp.int32), zero, zero, jnp.zeros(count, bool)

    def act(
        self, inputs: AgentInputs, memory: Any, key: Array, deterministic: bool = False
    ) -> tuple[Command, Any]:
        """Return the command; there is no chance in the rule."""
        state, space = inputs.state, inputs.space
        index, integral, last, known = memory
        count = self.points.shape[0]
        _, away = towards(state, self.points[index], space)
        visited = state.present & (away <= self.reach)
        following = (index + 1) % count if self.loop else jnp.minimum(index + 1, count - 1)
        resting = visited & (index == count - 1) & (not self.loop)
        index = jnp.where(visited, following, index).astype(jnp.int32)

        way, _ = towards(state, self.points[index], space)
        angle = bearing(directors(state), way)
        fresh = visited | ~known
        change = jnp.where(fresh, 0, _wrapped(angle - last)) / self.interval
        begun = jnp.where(fresh, 0, integral)
        added = begun + angle * self.interval
        wanted = self.gains[0] * angle + self.gains[1] * added + self.gains[2] * change
        integral = jnp.where(jnp.abs(wanted) > self.turn_rate, begun, added)
        turn = jnp.clip(wanted, -self.turn_rate, self.turn_rate)
        speed = self.speed * jnp.maximum(jnp.cos(angle), 0)
        command = swim(state, jnp.where(resting, 0, speed), jnp.where(resting, 0, turn))
        memory = (index, integral.astype(last.dtype), angle.astype(last.dtype), state.present)
        return command, memory


def _wrapped(angle: Array) -> Array:
    """An angle in [-π, π)."""
    return jnp.mod(angle + math.pi, 2 * math.pi) - math.pi


@dataclasses.dataclass(frozen=True)
class WaypointsConfig(AgentConfig):
    """Keys of waypoints."""

    name: ClassVar[str] = "waypoints"
    points: tuple[tuple[float, ...], ...] = config_key(
        (), "points to visit in order; the corners of a square in the middle if left out", "um"
    )
    reach: float | None = config_key(
        None,
        "distance at which a point is visited; four times the largest radius if left out",
        "um",
    )
    loop: bool = config_key(False, "begin again after the last point")
    proportional: float | None = config_key(
        None, "K_p; turns by the whole angle in one decision if left out", "1/s"
    )
    integral: float = config_key(0.0, "K_i, gain of the integral", "1/s^2")
    derivative: float = config_key(0.0, "K_d, gain of the derivative")
    speed: float | None = config_key(None, "swim speed; the highest if left out", "um/s")

    def build(self, spec: AgentSpec) -> Waypoints:
        """Return the agent."""
        engine = spec.engine
        needs(spec, self.name, "speed", "turn_rate", plane=True)
        require_positive(
            self.name, reach=self.reach, speed=self.speed, proportional=self.proportional
        )
        for name in ("integral", "derivative"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise ConfigError(f"{self.name}: {name} must be at least 0, got {value}.")
        points = self.points
        if not points:
            low, high = (tuple(share * side for side in engine.box) for share in (0.4, 0.6))
            points = (low, (high[0], low[1]), high, (low[0], high[1]))
        for point in points:
            vector(self.name, "point", point, 2)
        gain = 1 / engine.control_interval if self.proportional is None else self.proportional
        reach = 4 * max(engine.radius) if self.reach is None else self.reach
        return Waypoints(
            points=jnp.asarray(points, engine.dtype),
            reach=jnp.asarray(reach),
            gains=jnp.asarray([gain, self.integral, self.derivative], engine.dtype),
            speed=fastest(engine, self.speed),
            turn_rate=quickest(engine),
            interval=jnp.asarray(engine.control_interval),
            loop=self.loop,
        )
