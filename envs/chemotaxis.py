"""Chemotaxis: climb the concentration around a source by sensing its change in time.

World: light-driven Janus colloids of the size used by Lavergne et al. 2019 (radius 2.14 µm) in
water, in a periodic box with a point source in its middle, f(d) = λ/(λ + d). They start on a ring
around the source, in random directions.

Seen: during the last intervals, how much the concentration changed and what the colloid itself did
(swim, turn). Paid: k [f(r_t) - f(r_{t-1})], which adds up to the climb. Done: turn left, swim, turn
right, rest; or speed and turn rate.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import jax.numpy as jnp
import numpy as np

from swarmctl.core.config import key
from swarmctl.core.errors import ConfigError
from swarmctl.core.world import Boundary, Box, Fluid, Placement, Species, World
from swarmctl.envs.actions import SpeedAndTurn, TurnSwimRest
from swarmctl.envs.scenario import Picture, Scenario, ScenarioConfig
from swarmctl.observe.fields import PointSource
from swarmctl.observe.observables import FieldChange, History, Joined, OwnMotion
from swarmctl.tasks.gradient import GradientSensing


@dataclass(frozen=True)
class ChemotaxisConfig(ScenarioConfig):
    """Keys of Chemotaxis-v0, with four actions."""

    id: ClassVar[str] = "Chemotaxis-v0"
    action_map: ClassVar[type[TurnSwimRest] | type[SpeedAndTurn]] = TurnSwimRest

    colloids: int = key(10, "number of colloids")
    radius: float = key(2.14, "radius of a colloid", "um")
    speed: float = key(2.0, "swim speed", "um/s")
    turn_rate: float = key(math.pi, "turn rate of the turning actions", "rad/s")
    viscosity: float = key(1e-3, "dynamic viscosity", "Pa*s")
    temperature: float = key(300.0, "temperature", "K")
    box: tuple[float, ...] = key((250.0, 250.0), "side lengths", "um")
    boundary: Boundary = key("periodic", "periodic, open or hard")
    decay_length: float = key(
        50.0, "distance at which the concentration is half that at the source", "um"
    )
    start_inner: float = key(40.0, "smallest distance from the source at the start", "um")
    start_outer: float = key(80.0, "largest distance from the source at the start", "um")
    time_step: float = key(5e-3, "time step of the motion", "s")
    control_interval: float = key(0.2, "time between decisions", "s")
    horizon: int = key(256, "decisions in an episode")
    history: int = key(4, "how many intervals back a colloid remembers what it sensed and did")
    reward_scale: float = key(10.0, "reward per unit of concentration")
    rectified: bool = key(False, "pay only for increases, max(0, change)")

    def build(self) -> Scenario:
        """Return the scenario."""
        if not (math.isfinite(self.decay_length) and self.decay_length > 0):
            raise ConfigError(f"decay_length must be positive, got {self.decay_length}.")
        if self.speed <= 0 or self.turn_rate <= 0:
            raise ConfigError(
                f"speed and turn_rate must be positive, got {self.speed} and {self.turn_rate}."
            )
        box = Box(self.box, self.boundary)
        if box.dimension != 2:
            raise ConfigError(
                f"{self.id} is a scenario in the plane; give two box lengths, got {self.box}."
            )
        centre = tuple(length / 2 for length in self.box)
        species = Species(
            count=self.colloids,
            radius=self.radius,
            speed_max=self.speed,
            turn_rate_max=self.turn_rate,
            placement=Placement("ball", centre, self.start_outer, inner_radius=self.start_inner),
        )
        world = World(
            box, Fluid(self.viscosity, self.temperature), (species,), time_step=self.time_step
        )
        field = PointSource(jnp.asarray(centre), jnp.asarray(self.decay_length))
        # One interval of swimming straight up the steepest gradient is a change of 1.
        sensed = self.decay_length / (self.speed * self.control_interval)
        observable = History(
            Joined(
                (
                    FieldChange(field, jnp.asarray(sensed)),
                    OwnMotion(jnp.asarray(self.speed), jnp.asarray(self.turn_rate)),
                )
            ),
            self.history,
        )
        return Scenario(
            id=self.id,
            world=world,
            observable=observable,
            task=GradientSensing(field, jnp.asarray(self.reward_scale), self.rectified),
            actions=self.action_map(jnp.asarray(self.speed), jnp.asarray(self.turn_rate)),
            control_interval=self.control_interval,
            horizon=self.horizon,
            baselines={"random": "random", "best": "gradient-climber", "oracle": "steer-to-source"},
            measure_name="distance from the source (µm)",
            measure=lambda state, space: field.distance(state.position, space),
            picture=Picture(self.concentration, "concentration", {"source": centre}),
        )

    def concentration(self, position: np.ndarray) -> np.ndarray:
        """Concentration [...] at positions [...,D] µm, for pictures."""
        size = np.asarray(self.box)
        delta = position - size / 2
        if self.boundary == "periodic":
            delta = delta - size * np.round(delta / size)
        return self.decay_length / (self.decay_length + np.sqrt((delta**2).sum(-1)))


@dataclass(frozen=True)
class ChemotaxisContinuousConfig(ChemotaxisConfig):
    """Keys of ChemotaxisContinuous-v0: speed and turn rate are continuous."""

    id: ClassVar[str] = "ChemotaxisContinuous-v0"
    action_map: ClassVar[type[TurnSwimRest] | type[SpeedAndTurn]] = SpeedAndTurn
