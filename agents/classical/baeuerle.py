"""Swirls and swarms of colloids that steer at an angle to their common centre."""

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
from swarmctl.observe.pairs import pairs

Array = jax.Array


@pytree
class Baeuerle(Agent):
    """Rule of Bäuerle, Löffler and Bechinger (Nat. Commun. 11, 2547, 2020).

    Every colloid i swims at its speed and turns by a torque that falls off at its aim φ*:

        ω_i = ω_max sin(φ*_i - φ_i)

    with ω_max = Γ D_r. Its aim is, in this order:

    1. Repulsion: if others are nearer than R_r and in front of it (the half plane ahead), the
       direction away from their centroid.
    2. With P_i the direction to the centroid of the others within R_a: P_i turned by +Δ or -Δ,
       whichever is nearer the sum of the directors within R_o, its own included.
    3. Without others within R_a, its own director.

    Δ = 0 gives a swarm, Δ near 90° a swirl that turns one way.

    Attributes:
        speed, turn_rate: [N] µm/s, rad/s (ω_max).
        deviation: Δ [] rad.
        repulsion, orientation, attraction: R_r, R_o, R_a [] µm.
        one_way: [] s, for so long all take P_i turned by +Δ.
    """

    output: ClassVar[Literal["action", "command"]] = "command"
    speed: Array
    turn_rate: Array
    deviation: Array
    repulsion: Array
    orientation: Array
    attraction: Array
    one_way: Array

    def check(self, spec: AgentSpec) -> None:
        """Raise CapabilityError unless the engine is 2D and takes speed and turn rate."""
        needs(spec, "baeuerle", "speed", "turn_rate", plane=True)

    def init_memory(self, spec: AgentSpec) -> Any:
        """No memory."""
        return ()

    def act(
        self, inputs: AgentInputs, memory: Any, key: Array, deterministic: bool = False
    ) -> tuple[Command, Any]:
        """Return the command; there is no chance in the rule."""
        state = inputs.state
        near = pairs(state, inputs.space)
        director = directors(state)
        ahead = jnp.einsum("ijk,ik->ij", near.displacement, director) > 0
        blocking = near.others & (near.distance < self.repulsion) & ahead
        peers = near.others & (near.distance < self.attraction)
        aligned = near.others & (near.distance < self.orientation)

        away = -jnp.einsum("ij,ijk->ik", blocking.astype(director.dtype), near.displacement)
        centre = jnp.einsum("ij,ijk->ik", peers.astype(director.dtype), near.displacement)
        common = director + aligned.astype(director.dtype) @ director
        # cos(common, P + Δ) > cos(common, P - Δ) iff the sum lies to the left of P, for 0 < Δ < π.
        side = jnp.where(bearing(centre, common) >= 0, 1.0, -1.0)
        side = jnp.where(state.time < self.one_way, 1.0, side)
        aim = rotated(centre, side * self.deviation)
        aim = jnp.where(peers.any(axis=1)[:, None], aim, director)
        aim = jnp.where(blocking.any(axis=1)[:, None], away, aim)
        turn = self.turn_rate * jnp.sin(bearing(director, aim))
        return swim(state, self.speed, turn), memory


@dataclasses.dataclass(frozen=True)
class BaeuerleConfig(AgentConfig):
    """Keys of the rule of Bäuerle et al. 2020."""

    name: ClassVar[str] = "baeuerle"
    deviation: float = config_key(
        math.radians(75), "Δ: angle between the aim and the centroid of the others", "rad"
    )
    repulsion: float = config_key(8.0, "R_r: others nearer than this and ahead repel", "um")
    orientation: float = config_key(25.0, "R_o: the sides of others within it are followed", "um")
    attraction: float = config_key(
        math.inf, "R_a: others within it make up the centroid; inf sees all", "um"
    )
    speed: float | None = config_key(None, "swim speed; the highest if left out", "um/s")
    turn_rate: float | None = config_key(
        None, "ω_max, turn rate at an aim at right angles; the highest if left out", "rad/s"
    )
    one_way: float = config_key(
        60.0, "at first all turn P to the left, so that they agree; 0: the bare rule", "s"
    )

    def build(self, spec: AgentSpec) -> Baeuerle:
        """Return the agent."""
        if not 0 <= self.deviation <= math.pi:
            raise ConfigError(
                f"{self.name}: deviation must lie between 0 and π, got {self.deviation} rad."
            )
        require_positive(
            self.name,
            repulsion=self.repulsion,
            orientation=self.orientation,
            speed=self.speed,
            turn_rate=self.turn_rate,
        )
        if not self.attraction > 0:
            raise ConfigError(f"{self.name}: attraction must be positive, got {self.attraction}.")
        if not (math.isfinite(self.one_way) and self.one_way >= 0):
            raise ConfigError(f"{self.name}: one_way must be at least 0 s, got {self.one_way}.")
        return Baeuerle(
            speed=fastest(spec.engine, self.speed),
            turn_rate=quickest(spec.engine, self.turn_rate),
            deviation=jnp.asarray(self.deviation),
            repulsion=jnp.asarray(self.repulsion),
            orientation=jnp.asarray(self.orientation),
            attraction=jnp.asarray(self.attraction),
            one_way=jnp.asarray(self.one_way),
        )
