"""Predators and prey: two species of swimmers, one of which hunts the other.

World: light-driven Janus colloids of radius 2.14 µm in water in a periodic box. Predators swim
faster than prey and turn more slowly. Predators start in the middle, prey in a ring around them.

Seen: the nearest predators and the nearest free prey in the own frame, and the own species. Paid:
captures and approach to predators; freedom and distance to prey, which pays for its capture and is
done. Done: turn left, swim, turn right, rest.
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
from swarmctl.core.world import Boundary, Box, Fluid, Placement, Species, World
from swarmctl.envs.actions import TURNING, ActionKind, turning
from swarmctl.envs.scenario import Picture, Scenario, ScenarioConfig
from swarmctl.observe.captures import CAPTURE_REACH, FreeOnly
from swarmctl.observe.motion import OwnSpecies
from swarmctl.observe.neighbours import Neighbours
from swarmctl.observe.observables import Joined
from swarmctl.observe.pairs import of_species, pairs
from swarmctl.tasks.search import Pursuit

Array = jax.Array


@dataclass(frozen=True)
class PredatorPreyConfig(ScenarioConfig):
    """Keys of PredatorPrey-v0."""

    id: ClassVar[str] = "PredatorPrey-v0"

    colloids: int = key(12, "number of colloids, predators and prey together")
    predators: int = key(3, "how many of them are predators")
    radius: float = key(2.14, "radius of a colloid", "um")
    predator_speed: float = key(4.0, "swim speed of predators", "um/s")
    prey_speed: float = key(3.0, "swim speed of prey", "um/s")
    predator_turn_rate: float = key(2.0, "turn rate of predators", "rad/s")
    prey_turn_rate: float = key(math.pi, "turn rate of prey", "rad/s")
    viscosity: float = key(1e-3, "dynamic viscosity", "Pa*s")
    temperature: float = key(300.0, "temperature", "K")
    box: tuple[float, ...] = key((150.0, 150.0), "side lengths", "um")
    boundary: Boundary = key("periodic", "periodic, open or hard")
    predator_start: float = key(15.0, "predators start in a disc of this radius", "um")
    prey_inner: float = key(35.0, "smallest distance of prey from the middle at the start", "um")
    prey_outer: float = key(65.0, "largest distance of prey from the middle at the start", "um")
    reach: float = key(75.0, "how far colloids see", "um")
    neighbours: int = key(2, "how many of the nearest of each species a colloid sees")
    capture_reach: float = key(
        CAPTURE_REACH, "distance of a capture over that at which predator and prey touch"
    )
    capture: float = key(10.0, "what a capture pays the predators and costs the prey")
    approach: float = key(0.1, "what approach pays predators and costs prey", "1/um")
    survival: float = key(0.01, "what prey earns per decision in freedom")
    time_step: float = key(2.5e-3, "time step of the motion", "s")
    actions: ActionKind = key("discrete", TURNING)
    control_interval: float = key(0.2, "time between decisions", "s")
    horizon: int = key(300, "decisions in an episode")

    def _check(self) -> None:
        require_positive(
            self.id,
            reach=self.reach,
            predator_speed=self.predator_speed,
            prey_speed=self.prey_speed,
            predator_turn_rate=self.predator_turn_rate,
            prey_turn_rate=self.prey_turn_rate,
        )
        require_finite(
            self.id,
            capture=self.capture,
            approach=self.approach,
            survival=self.survival,
            capture_reach=self.capture_reach,
        )
        if not 1 <= self.predators < self.colloids:
            raise ConfigError(
                f"{self.id}: {self.predators} predators among {self.colloids} colloids; at least "
                "one predator and one prey are needed."
            )
        if len(self.box) != 2:
            raise ConfigError(
                f"{self.id} is a scenario in the plane; give two box lengths, got {self.box}."
            )
        if not self.capture_reach >= 1:
            raise ConfigError(
                f"{self.id}: capture_reach must be at least 1, where predator and prey touch, got "
                f"{self.capture_reach}."
            )

    def build(self) -> Scenario:
        """Return the scenario."""
        self._check()
        middle = (self.box[0] / 2, self.box[1] / 2)
        ring = Placement("ball", middle, self.prey_outer, inner_radius=self.prey_inner)
        species = (
            Species(
                "predator",
                self.predators,
                self.radius,
                speed_max=self.predator_speed,
                turn_rate_max=self.predator_turn_rate,
                placement=Placement("ball", middle, self.predator_start),
            ),
            Species(
                "prey",
                self.colloids - self.predators,
                self.radius,
                speed_max=self.prey_speed,
                turn_rate_max=self.prey_turn_rate,
                placement=ring,
            ),
        )
        fluid = Fluid(self.viscosity, self.temperature)
        world = World(Box(self.box, self.boundary), fluid, species, time_step=self.time_step)
        caught = jnp.asarray(self.capture_reach * 2 * self.radius)
        reach = jnp.asarray(self.reach)
        seen = Joined(
            (
                Neighbours(reach, self.neighbours, species=0),
                Neighbours(reach, self.neighbours, species=1),
                OwnSpecies(2),
            )
        )
        each = jnp.asarray(world.species_of_slot)
        return Scenario(
            id=self.id,
            world=world,
            observable=FreeOnly(seen, caught),
            task=Pursuit(
                caught,
                jnp.asarray(self.approach),
                jnp.asarray(self.capture),
                jnp.asarray(self.survival),
            ),
            actions=turning(
                self.actions,
                jnp.asarray([self.predator_speed, self.prey_speed])[each],
                jnp.asarray([self.predator_turn_rate, self.prey_turn_rate])[each],
            ),
            control_interval=self.control_interval,
            horizon=self.horizon,
            baselines={"random": "random", "best": "pursue"},
            measure_name="distance from the nearest opponent (µm)",
            measure=opponent_distance,
            picture=Picture(),
        )


def opponent_distance(state: SwarmState, space: Space) -> Array:
    """Distance [N] µm from the nearest colloid of the other species, caught or not."""
    pair = pairs(state, space)
    hunter, prey = of_species(state, 0), of_species(state, 1)
    opposed = (hunter[:, None] & prey) | (prey[:, None] & hunter)
    nearest = jnp.min(jnp.where(opposed, pair.distance, jnp.inf), axis=1)
    return jnp.where(jnp.isfinite(nearest), nearest, 0)
