"""Forage: find food, eat it up, and find the next, with the others as the only other hint.

World: light-driven Janus colloids of radius 3.15 µm all over a periodic box, in which one site of
food is open at a time. After Löffler et al. (Scientific Reports, 2023,
doi:10.1038/s41598-023-44268-3), who let colloids learn to forage for food that appears at random.

Seen: the food, if it is near; the others in cones. Paid: bites. Done: turn left, swim, turn right,
rest.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from swarmctl.core.config import key
from swarmctl.core.errors import ConfigError, require_finite, require_positive
from swarmctl.core.state import Space, SwarmState
from swarmctl.core.world import Boundary, Box, Fluid, Species, World
from swarmctl.envs.actions import TURNING, ActionKind, turning
from swarmctl.envs.scenario import Picture, Scenario, ScenarioConfig
from swarmctl.observe.cones import VisionCones
from swarmctl.observe.food import Food, FoodDirection
from swarmctl.observe.observables import Joined
from swarmctl.observe.pairs import pairs
from swarmctl.tasks.food import Eat

Array = jax.Array


def scattered(count: int, box: tuple[float, ...]) -> np.ndarray:
    """Points [count,2] µm that fill a box evenly but without order (Halton's sequence)."""

    def radical(index: int, base: int) -> float:
        value, share = 0.0, 1.0
        while index:
            share /= base
            index, digit = divmod(index, base)
            value += digit * share
        return value

    return np.asarray(
        [
            [radical(i + 1, base) * side for base, side in zip((2, 3), box, strict=True)]
            for i in range(count)
        ]
    )


@dataclass(frozen=True)
class ForageConfig(ScenarioConfig):
    """Keys of Forage-v0."""

    id: ClassVar[str] = "Forage-v0"

    colloids: int = key(20, "number of colloids")
    radius: float = key(3.15, "radius of a colloid", "um")
    speed: float = key(3.0, "swim speed", "um/s")
    turn_rate: float = key(math.pi, "turn rate of the turning actions", "rad/s")
    viscosity: float = key(1e-3, "dynamic viscosity", "Pa*s")
    temperature: float = key(300.0, "temperature", "K")
    box: tuple[float, ...] = key((200.0, 200.0), "side lengths", "um")
    boundary: Boundary = key("periodic", "periodic, open or hard")
    sites: int = key(8, "number of sites, of which one is open at a time")
    site_radius: float = key(20.0, "radius of a site", "um")
    supply: float = key(300.0, "bites at a site; a colloid inside takes one per decision")
    smell: float = key(50.0, "how far colloids notice the middle of the open site", "um")
    cones: int = key(5, "number of vision cones, over the half plane ahead")
    reach: float = key(75.0, "how far colloids see others", "um")
    reward_scale: float = key(0.1, "reward per bite")
    time_step: float = key(4e-3, "time step of the motion", "s")
    actions: ActionKind = key("discrete", TURNING)
    control_interval: float = key(0.2, "time between decisions", "s")
    horizon: int = key(400, "decisions in an episode")

    def build(self) -> Scenario:
        """Return the scenario."""
        require_positive(
            self.id,
            speed=self.speed,
            turn_rate=self.turn_rate,
            reach=self.reach,
            smell=self.smell,
            site_radius=self.site_radius,
            supply=self.supply,
        )
        require_finite(self.id, reward_scale=self.reward_scale)
        if len(self.box) != 2:
            raise ConfigError(
                f"{self.id} is a scenario in the plane; give two box lengths, got {self.box}."
            )
        if self.sites < 1:
            raise ConfigError(f"{self.id}: sites must be at least 1, got {self.sites}.")
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
        places = scattered(self.sites, self.box)
        radius = jnp.asarray(self.site_radius)
        food = Food(jnp.asarray(places), radius, jnp.asarray(self.supply))
        cones = VisionCones(
            jnp.asarray(math.pi), jnp.asarray(self.reach), jnp.asarray(self.radius), self.cones
        )
        return Scenario(
            id=self.id,
            world=world,
            observable=Joined((FoodDirection(food, jnp.asarray(self.smell), radius), cones)),
            task=Eat(food, jnp.asarray(self.reward_scale)),
            actions=turning(self.actions, jnp.asarray(self.speed), jnp.asarray(self.turn_rate)),
            control_interval=self.control_interval,
            horizon=self.horizon,
            baselines={"random": "random", "best": "follow-goal"},
            measure_name="distance from the nearest other (µm)",
            measure=nearest_other,
            picture=Picture(
                markers={f"{i + 1}": (float(x), float(y)) for i, (x, y) in enumerate(places)}
            ),
        )


def nearest_other(state: SwarmState, space: Space) -> Array:
    """Distance [N] µm from the nearest other colloid, 0 without one: small where they crowd."""
    nearest = jnp.min(pairs(state, space).distance, axis=1)
    return jnp.where(jnp.isfinite(nearest), nearest, 0)
