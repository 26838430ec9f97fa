"""A swarm with alignment, repulsion, a home and a fear of predators."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp

from swarmctl.agents.classical.geometry import directors, fastest, head, needs
from swarmctl.agents.classical.heading import vector
from swarmctl.agents.options import AgentConfig
from swarmctl.core.command import Command
from swarmctl.core.config import key as config_key
from swarmctl.core.contracts import Agent, AgentInputs
from swarmctl.core.errors import ConfigError, nearest, require_positive
from swarmctl.core.spec import AgentSpec
from swarmctl.core.tree import pytree, static
from swarmctl.observe.pairs import length, of_species, pairs

Array = jax.Array


@pytree
class Lymburn(Agent):
    """Model of Lymburn, Algar, Small and Jüngling (Chaos 31, 033121, 2021), after Reynolds' boids.

    A velocity v_i per colloid, kept in memory, follows v̇_i = F_i, with the sums over others nearer
    than `reach` and over predators nearer than `sight`,

        F_i = K_a Σ_j (v_j - v_i) + K_r Σ_j (r_i - r_j)/|r_i - r_j|² + K_h (h - r_i)
              - K_f v_i (|v_i| - s)/s + K_p Σ_p (r_i - r_p)/|r_i - r_p|²

    alignment, repulsion, home h, friction towards the speed s, predators. The colloid takes the
    direction of v_i at once and swims at |v_i|, as far as the engine allows. Predators rest.

    Attributes:
        align, repel, home, friction, predators: K_a 1/s, K_r µm²/s², K_h 1/s², K_f 1/s, K_p µm²/s².
        place: h [D] µm. speed: s [N] µm/s. reach, sight: [] µm. interval: [] s.
        predator: index of the predators' species, None without.
    """

    output: ClassVar[Literal["action", "command"]] = "command"
    align: Array
    repel: Array
    home: Array
    friction: Array
    predators: Array
    place: Array
    speed: Array
    reach: Array
    sight: Array
    interval: Array
    predator: int | None = static()

    def check(self, spec: AgentSpec) -> None:
        """Raise CapabilityError unless the engine takes speed and heading."""
        needs(spec, "lymburn", "speed", "heading")
        if self.predator is not None:
            spec.engine.check_species(self.predator, "lymburn")

    def init_memory(self, spec: AgentSpec) -> Any:
        """Velocities [N,D] µm/s, and whether they were begun bool [N]."""
        engine = spec.engine
        shape = (engine.capacity, engine.dimension)
        return jnp.zeros(shape, engine.dtype), jnp.zeros(engine.capacity, bool)

    def act(
        self, inputs: AgentInputs, memory: Any, key: Array, deterministic: bool = False
    ) -> tuple[Command, Any]:
        """Return the command; there is no chance in the rule."""
        state, space = inputs.state, inputs.space
        velocity, begun = memory
        velocity = jnp.where(begun[:, None], velocity, self.speed[:, None] * directors(state))
        velocity = jnp.where(state.present[:, None], velocity, 0)
        hunting = jnp.zeros(state.capacity, bool)
        if self.predator is not None:
            hunting = of_species(state, self.predator)
        pair = pairs(state, space)
        flock = (pair.others & ~hunting[None] & (pair.distance < self.reach)).astype(velocity.dtype)
        feared = (pair.others & hunting[None] & (pair.distance < self.sight)).astype(velocity.dtype)
        square = pair.distance**2
        away = -pair.displacement / jnp.where((square > 0) & pair.others, square, 1)[..., None]
        size = length(velocity)[:, None]
        target = jnp.maximum(self.speed, 1e-9)[:, None]
        way_home = jnp.where(
            state.present[:, None], space.displacement(state.position, self.place), 0
        )
        force = (
            self.align * (flock @ velocity - jnp.sum(flock, axis=1, keepdims=True) * velocity)
            + self.repel * jnp.einsum("ij,ijk->ik", flock, away)
            + self.home * way_home
            - self.friction * velocity * (size - target) / target
            + self.predators * jnp.einsum("ij,ijk->ik", feared, away)
        )
        # Faster than twice the target the friction would overshoot in long intervals.
        new = velocity + self.interval * force
        quick = length(new)[:, None]
        new = new * jnp.minimum(1, 2 * target / jnp.where(quick > 0, quick, 1))
        new = jnp.where((state.present & ~hunting)[:, None], new, 0).astype(velocity.dtype)
        return head(state, length(new), new), (new, state.present)


@dataclasses.dataclass(frozen=True)
class LymburnConfig(AgentConfig):
    """Keys of the model of Lymburn et al. 2021; the strengths suit colloids of some µm/s."""

    name: ClassVar[str] = "lymburn"
    align: float = config_key(0.05, "K_a: alignment with each neighbour", "1/s")
    repel: float = config_key(2.0, "K_r: repulsion by each neighbour", "um^2/s^2")
    home: float = config_key(0.002, "K_h: attraction to the home", "1/s^2")
    friction: float = config_key(1.0, "K_f: control of the speed", "1/s")
    predators: float = config_key(20.0, "K_p: repulsion by each predator", "um^2/s^2")
    reach: float = config_key(20.0, "neighbours nearer than this count", "um")
    sight: float = config_key(50.0, "predators nearer than this count", "um")
    place: tuple[float, ...] | None = config_key(
        None, "the home; the middle of the box if left out", "um"
    )
    speed: float | None = config_key(
        None, "s: wanted speed; half of the highest if left out", "um/s"
    )
    predator: str | None = config_key(None, "name of the predators' species, if there is one")

    def build(self, spec: AgentSpec) -> Lymburn:
        """Return the agent."""
        engine = spec.engine
        require_positive(self.name, reach=self.reach, sight=self.sight, speed=self.speed)
        for name in ("align", "repel", "home", "friction", "predators"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise ConfigError(f"{self.name}: {name} must be at least 0, got {value}.")
        place = self.place or tuple(side / 2 for side in engine.box)
        vector(self.name, "place", place, engine.dimension)
        if self.predator is not None and self.predator not in engine.species:
            raise ConfigError(
                f"{self.name}: no species {self.predator!r} in engine {engine.name!r}. "
                f"{nearest(self.predator, engine.species)}"
            )
        speed = fastest(engine, self.speed)
        return Lymburn(
            align=jnp.asarray(self.align),
            repel=jnp.asarray(self.repel),
            home=jnp.asarray(self.home),
            friction=jnp.asarray(self.friction),
            predators=jnp.asarray(self.predators),
            place=jnp.asarray(place, engine.dtype),
            speed=speed if self.speed is not None else 0.5 * speed,
            reach=jnp.asarray(self.reach),
            sight=jnp.asarray(self.sight),
            interval=jnp.asarray(engine.control_interval),
            predator=None if self.predator is None else engine.species.index(self.predator),
        )
