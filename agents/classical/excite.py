"""Random commands within bounds, for recordings from which a laboratory is identified."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp

from swarmctl.agents.classical.geometry import needs
from swarmctl.agents.options import AgentConfig
from swarmctl.core.command import Command
from swarmctl.core.config import key as config_key
from swarmctl.core.contracts import Agent, AgentInputs
from swarmctl.core.errors import CapabilityError, ConfigError, require_finite, require_positive
from swarmctl.core.spec import AgentSpec
from swarmctl.core.tree import pytree, static

Array = jax.Array


@pytree
class Held:
    """What is commanded at present: numbers in [0, 1] drawn for speed or power [N], turning [N]
    and the direction of a spot [N]; `fresh` bool [N] where nothing has been drawn yet.
    """

    strength: Array
    turn: Array
    angle: Array
    fresh: Array


@pytree
class Excite(Agent):
    """Every colloid holds a random command for a random time, independently of all others.

    New commands come at the rate 1/hold, as in a random telegraph. With the probability `rest` a
    colloid does not swim; else its speed, or power, is uniform up to its bound. It turns one way,
    the other, or not, at a rate that is uniform up to its bound; spots lie at the distance `offset`
    in any direction. In 3D the axis of turning is z. Commands do not depend on what is seen, so
    that what follows is their effect.

    Attributes:
        speed, turn_rate, power, offset: [N], bounds in µm/s, rad/s, W/µm² and µm.
        renewal: [], probability that a command ends in an interval. rest: [].
        channels: which commands are given.
    """

    output: ClassVar[Literal["action", "command"]] = "command"
    speed: Array
    turn_rate: Array
    power: Array
    offset: Array
    renewal: Array
    rest: Array
    channels: tuple[str, ...] = static()

    def check(self, spec: AgentSpec) -> None:
        """Raise CapabilityError unless the engine takes the channels."""
        needs(spec, "excite", *self.channels)

    def init_memory(self, spec: AgentSpec) -> Held:
        """Nothing is held."""
        zero = jnp.zeros(spec.engine.capacity, spec.engine.dtype)
        return Held(zero, zero, zero, jnp.ones(spec.engine.capacity, bool))

    def act(
        self, inputs: AgentInputs, memory: Held, key: Array, deterministic: bool = False
    ) -> tuple[Command, Held]:
        """Hold or draw anew; `deterministic` makes no difference, since chance is its purpose."""
        state = inputs.state
        count, dtype = state.capacity, state.position.dtype
        drawn = jax.random.uniform(key, (5, count), dtype)
        renew = memory.fresh | (drawn[0] < self.renewal)
        swims = drawn[1] >= self.rest
        strength = jnp.where(swims, drawn[2], 0)
        # A third turns left, a third right, a third not at all.
        turn = jnp.sign(jnp.floor(3 * drawn[3]) - 1) * (3 * drawn[3] % 1)
        held = Held(
            strength=jnp.where(renew, strength, memory.strength),
            turn=jnp.where(renew, turn, memory.turn),
            angle=jnp.where(renew, 2 * math.pi * drawn[4], memory.angle),
            fresh=jnp.zeros(count, bool),
        )
        present = state.present.astype(dtype)
        values: dict[str, Any] = {
            "speed": present * held.strength * self.speed,
            "turn_rate": present * held.turn * self.turn_rate,
            "power": present * held.strength * self.power,
        }
        spot = jnp.stack([jnp.cos(held.angle), jnp.sin(held.angle)], axis=1)
        values["spot_offset"] = jnp.where((values["power"] > 0)[:, None], spot, 0)
        values["spot_offset"] *= self.offset[:, None]
        if state.dimension == 3:
            values["turn_rate"] = values["turn_rate"][:, None] * jnp.asarray([0, 0, 1], dtype)
        return Command(**{name: values[name] for name in self.channels}), held


@dataclasses.dataclass(frozen=True)
class ExciteConfig(AgentConfig):
    """Keys of excite."""

    name: ClassVar[str] = "excite"
    drive: Literal["motion", "light"] = config_key(
        "motion", "motion: commands of speed and turn rate; light: of power and spot offset"
    )
    speed: float | None = config_key(None, "highest speed; that of the species if left out", "um/s")
    turn_rate: float | None = config_key(
        None, "highest turn rate; if left out that of the species, or a radian an interval", "rad/s"
    )
    power: float | None = config_key(
        None, "highest power; that of the species if left out", "W/um^2"
    )
    offset: float | None = config_key(
        None, "offset of a spot; half the highest of the species if left out", "um"
    )
    hold: float = config_key(1.0, "mean time for which a command is held", "s")
    rest: float = config_key(0.25, "share of commands without swimming")

    def __post_init__(self) -> None:
        require_positive(self.name, hold=self.hold)
        require_finite(self.name, speed=self.speed, turn_rate=self.turn_rate)
        if not 0 <= self.rest < 1:
            raise ConfigError(f"excite: rest must lie in [0, 1), got {self.rest}.")

    def build(self, spec: AgentSpec) -> Excite:
        """Return the agent.

        Raises ConfigError for bounds above the limits of the engine, CapabilityError if the engine
        has no light to command.
        """
        engine = spec.engine
        light = self.drive == "light"
        if light and not any(engine.power_max):
            raise CapabilityError(
                f"excite: light drives no species of engine {engine.name!r}; use drive motion."
            )
        radian = 1 / engine.control_interval
        zero = (0.0,) * len(engine.species)
        power_max, offset_max = engine.power_max or zero, engine.offset_max or zero
        bounds = {
            "speed": (self.speed, engine.speed_max, engine.speed_max),
            "turn_rate": (
                self.turn_rate,
                engine.turn_rate_max,
                tuple(min(most, radian) for most in engine.turn_rate_max),
            ),
            "power": (self.power, power_max, power_max),
            "offset": (self.offset, offset_max, tuple(most / 2 for most in offset_max)),
        }
        found = {name: self._bound(engine, name, *given) for name, given in bounds.items()}
        return Excite(
            **found,
            renewal=jnp.asarray(-math.expm1(-engine.control_interval / self.hold), engine.dtype),
            rest=jnp.asarray(self.rest, engine.dtype),
            channels=("power", "spot_offset") if light else ("speed", "turn_rate"),
        )

    def _bound(
        self,
        engine: Any,
        name: str,
        given: float | None,
        most: tuple[float, ...],
        otherwise: tuple[float, ...],
    ) -> Array:
        used = {"power", "offset"} if self.drive == "light" else {"speed", "turn_rate"}
        if given is not None and name in used and not 0 <= given <= max(most) * (1 + 1e-6):
            raise ConfigError(
                f"excite: {name} {given:g} is not between 0 and the highest that engine "
                f"{engine.name!r} takes, {max(most):g}."
            )
        values = otherwise if given is None else tuple(min(given, limit) for limit in most)
        return jnp.asarray(engine.per_slot(values), engine.dtype)
