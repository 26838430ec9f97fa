"""Gather: find the way into a disc that just holds everyone, and stay there.

World: light-driven Janus colloids of radius 2.14 µm in water, all over a periodic box. Seen: the
bearing and distance of the disc's middle, the nearest others, and how crowded it is. Paid: every µm
of approach to the disc, and every decision inside it. Done: turn left, swim, turn right, rest.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp

from swarmctl.core.config import key
from swarmctl.core.errors import ConfigError, require_finite, require_positive
from swarmctl.core.state import Space, SwarmState
from swarmctl.core.world import Boundary, Box, Fluid, Species, World
from swarmctl.envs.actions import TURNING, ActionKind, turning
from swarmctl.envs.scenario import Picture, Scenario, ScenarioConfig
from swarmctl.observe.goals import GoalDirection
from swarmctl.observe.neighbours import LocalDensity, Neighbours
from swarmctl.observe.observables import Joined
from swarmctl.tasks.order import GatherAt

Array = jax.Array


@dataclass(frozen=True)
class GatherConfig(ScenarioConfig):
    """Keys of Gather-v0."""

    id: ClassVar[str] = "Gather-v0"

    colloids: int = key(20, "number of colloids")
    radius: float = key(2.14, "radius of a colloid", "um")
    speed: float = key(3.0, "swim speed", "um/s")
    turn_rate: float = key(math.pi, "turn rate of the turning actions", "rad/s")
    viscosity: float = key(1e-3, "dynamic viscosity", "Pa*s")
    temperature: float = key(300.0, "temperature", "K")
    box: tuple[float, ...] = key((150.0, 150.0), "side lengths", "um")
    boundary: Boundary = key("periodic", "periodic, open or hard")
    packing: float = key(0.5, "share of the disc that the colloids fill once all are inside")
    reach: float = key(20.0, "how far colloids see others", "um")
    neighbours: int = key(3, "how many of the nearest others a colloid sees")
    approach: float = key(0.05, "reward per µm of approach to the disc", "1/um")
    hold: float = key(0.05, "reward per decision inside the disc")
    time_step: float = key(2.5e-3, "time step of the motion", "s")
    actions: ActionKind = key("discrete", TURNING)
    control_interval: float = key(0.2, "time between decisions", "s")
    horizon: int = key(300, "decisions in an episode")

    def build(self) -> Scenario:
        """Return the scenario."""
        require_positive(self.id, speed=self.speed, turn_rate=self.turn_rate, reach=self.reach)
        require_finite(self.id, approach=self.approach, hold=self.hold)
        if len(self.box) != 2:
            raise ConfigError(
                f"{self.id} is a scenario in the plane; give two box lengths, got {self.box}."
            )
        if not 0 < self.packing <= 0.8:
            raise ConfigError(
                f"{self.id}: packing must lie in (0, 0.8], which discs can fill, got "
                f"{self.packing}."
            )
        species = Species(
            count=self.colloids,
            radius=self.radius,
            speed_max=self.speed,
            turn_rate_max=self.turn_rate,
        )
        world = World(
            Box(self.box, self.boundary),
            Fluid(self.viscosity, self.temperature),
            (species,),
            time_step=self.time_step,
        )
        centre = (self.box[0] / 2, self.box[1] / 2)
        middle = jnp.asarray(centre)
        disc = jnp.asarray(self.radius * math.sqrt(self.colloids / self.packing))
        reach = jnp.asarray(self.reach)

        def outside(state: SwarmState, space: Space) -> Array:
            return jnp.maximum(space.distance(state.position, middle) - disc, 0)

        return Scenario(
            id=self.id,
            world=world,
            observable=Joined(
                (
                    GoalDirection(middle, disc),
                    Neighbours(reach, self.neighbours),
                    LocalDensity(reach, jnp.asarray(self.radius)),
                )
            ),
            task=GatherAt(middle, disc, jnp.asarray(self.approach), jnp.asarray(self.hold)),
            actions=turning(self.actions, jnp.asarray(self.speed), jnp.asarray(self.turn_rate)),
            control_interval=self.control_interval,
            horizon=self.horizon,
            baselines={"random": "random", "best": "follow-goal"},
            measure_name="distance from the disc (µm)",
            measure=outside,
            picture=Picture(markers={"disc": centre}),
        )
