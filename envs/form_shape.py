"""FormShape: colloids take up the places of a shape, one each.

World: light-driven Janus colloids of radius 2.14 µm in water, all over a periodic box, and as many
target points on a regular polygon or a ring. Seen: the nearest target that nobody nearer has taken,
and the nearest others. Paid: how much better the targets are covered, by each colloid's own part in
it (difference reward) or equally. Done: turn left, swim, turn right, rest.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import jax
import jax.numpy as jnp
import numpy as np

from swarmctl.core.config import key
from swarmctl.core.errors import ConfigError, require_finite, require_positive
from swarmctl.core.state import Space, SwarmState
from swarmctl.core.world import Boundary, Box, Fluid, Species, World
from swarmctl.envs.actions import TURNING, ActionKind, turning
from swarmctl.envs.scenario import Picture, Scenario, ScenarioConfig
from swarmctl.observe.goals import OpenTarget
from swarmctl.observe.neighbours import Neighbours
from swarmctl.observe.observables import Joined
from swarmctl.tasks.credit import Difference
from swarmctl.tasks.order import Shape

Array = jax.Array


def outline(sides: int, count: int, radius: float) -> np.ndarray:
    """`count` points [count,2] µm, equally spaced along a regular polygon around the origin.

    Its first corner lies straight up. `sides` 0 makes a ring. `radius` µm is that of the corners.
    """
    place = np.arange(count) / count
    if sides == 0:
        angle = np.pi / 2 + 2 * np.pi * place
        return radius * np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    angle = np.pi / 2 + 2 * np.pi * np.arange(sides + 1) / sides
    corner = radius * np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    edge = np.minimum((place * sides + 1e-9).astype(int), sides - 1)
    part = (place * sides - edge)[:, None]
    return corner[edge] * (1 - part) + corner[edge + 1] * part


@dataclass(frozen=True)
class FormShapeConfig(ScenarioConfig):
    """Keys of FormShape-v0."""

    id: ClassVar[str] = "FormShape-v0"

    colloids: int = key(12, "number of colloids, and of targets")
    radius: float = key(2.14, "radius of a colloid", "um")
    speed: float = key(3.0, "swim speed", "um/s")
    turn_rate: float = key(math.pi, "turn rate of the turning actions", "rad/s")
    viscosity: float = key(1e-3, "dynamic viscosity", "Pa*s")
    temperature: float = key(300.0, "temperature", "K")
    box: tuple[float, ...] = key((150.0, 150.0), "side lengths", "um")
    boundary: Boundary = key("periodic", "periodic, open or hard")
    sides: int = key(3, "sides of the regular polygon, 3 or more; 0 for a ring")
    size: float = key(40.0, "distance of its corners from the middle", "um")
    taken: float = key(6.0, "a target is taken by a colloid within this distance", "um")
    length: float = key(10.0, "distance at which a target counts as half covered", "um")
    reach: float = key(30.0, "how far colloids see others", "um")
    neighbours: int = key(2, "how many of the nearest others a colloid sees")
    credit: Literal["own", "equal"] = key("own", "who is paid for the shape")
    reward_scale: float = key(10.0, "reward for full coverage, of each colloid")
    time_step: float = key(2.5e-3, "time step of the motion", "s")
    actions: ActionKind = key("discrete", TURNING)
    control_interval: float = key(0.2, "time between decisions", "s")
    horizon: int = key(300, "decisions in an episode")

    def build(self) -> Scenario:
        """Return the scenario."""
        self._check()
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
        places = np.asarray(self.box) / 2 + outline(self.sides, self.colloids, self.size)
        targets = jnp.asarray(places)
        # What one colloid adds to the coverage is of the order of 1/N.
        scale = self.reward_scale * (self.colloids if self.credit == "own" else 1)
        shape = Shape(targets, jnp.asarray(self.length), jnp.asarray(scale))

        def uncovered(state: SwarmState, space: Space) -> Array:
            away = space.distance(targets[:, None], state.position[None])
            nearest = jnp.min(jnp.where(state.present, away, jnp.inf), axis=1)
            return jnp.full(state.capacity, jnp.mean(nearest))

        return Scenario(
            id=self.id,
            world=world,
            observable=Joined(
                (
                    OpenTarget(targets, jnp.asarray(self.taken), jnp.asarray(self.length)),
                    Neighbours(jnp.asarray(self.reach), self.neighbours),
                )
            ),
            task=shape if self.credit == "equal" else Difference(shape, "mean"),
            actions=turning(self.actions, jnp.asarray(self.speed), jnp.asarray(self.turn_rate)),
            control_interval=self.control_interval,
            horizon=self.horizon,
            baselines={"random": "random", "best": "follow-goal"},
            measure_name="distance of targets from the nearest colloid (µm)",
            measure=uncovered,
            picture=Picture(
                markers={f"{i + 1}": (float(x), float(y)) for i, (x, y) in enumerate(places)}
            ),
        )

    def _check(self) -> None:
        require_positive(
            self.id,
            speed=self.speed,
            turn_rate=self.turn_rate,
            reach=self.reach,
            size=self.size,
            taken=self.taken,
            length=self.length,
        )
        require_finite(self.id, reward_scale=self.reward_scale)
        if len(self.box) != 2:
            raise ConfigError(
                f"{self.id} is a scenario in the plane; give two box lengths, got {self.box}."
            )
        if self.sides != 0 and self.sides < 3:
            raise ConfigError(
                f"{self.id}: a polygon of {self.sides} sides; give 3 or more, or 0 for a ring."
            )
        if self.colloids < 1:
            raise ConfigError(f"{self.id}: colloids must be at least 1, got {self.colloids}.")
        if 2 * self.size >= min(self.box):
            raise ConfigError(
                f"{self.id}: a shape of {2 * self.size:g} µm does not fit a box of {self.box} µm; "
                "make it smaller or enlarge the box."
            )
