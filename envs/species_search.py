"""SpeciesSearch: seekers climb the signal that the colloids of another species send out.

World: light-driven Janus colloids of radius 2.14 µm in water in a periodic box, and a few larger
ones that only diffuse, in its middle. Seen: during the last intervals, how much the summed signal
of the others' species changed and what the colloid itself did. Paid: the growth of the signal; only
seekers are paid. Done: turn left, swim, turn right, rest; beacons cannot move.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import jax
import jax.numpy as jnp

from swarmctl.core.config import key
from swarmctl.core.errors import ConfigError, require_finite, require_positive
from swarmctl.core.state import Space, SwarmState, mean_present
from swarmctl.core.world import Boundary, Box, Fluid, Placement, Species, World
from swarmctl.envs.actions import TURNING, ActionKind, turning
from swarmctl.envs.scenario import Scenario, ScenarioConfig
from swarmctl.observe.neighbours import ParticleSensing
from swarmctl.observe.observables import History, Joined, OwnMotion, Renamed
from swarmctl.observe.pairs import of_species, pairs
from swarmctl.tasks.search import SpeciesSearch

Array = jax.Array


@dataclass(frozen=True)
class SpeciesSearchConfig(ScenarioConfig):
    """Keys of SpeciesSearch-v0."""

    id: ClassVar[str] = "SpeciesSearch-v0"

    colloids: int = key(12, "number of colloids, seekers and beacons together")
    beacons: int = key(2, "how many of them are beacons")
    radius: float = key(2.14, "radius of a seeker", "um")
    beacon_radius: float = key(4.0, "radius of a beacon", "um")
    speed: float = key(2.0, "swim speed of seekers", "um/s")
    turn_rate: float = key(math.pi, "turn rate of the turning actions", "rad/s")
    viscosity: float = key(1e-3, "dynamic viscosity", "Pa*s")
    temperature: float = key(300.0, "temperature", "K")
    box: tuple[float, ...] = key((250.0, 250.0), "side lengths", "um")
    boundary: Boundary = key("periodic", "periodic, open or hard")
    decay_length: float = key(50.0, "distance at which a signal is half that at its beacon", "um")
    beacon_start: float = key(20.0, "beacons start in a disc of this radius", "um")
    start_inner: float = key(40.0, "smallest distance of seekers from the middle", "um")
    start_outer: float = key(80.0, "largest distance of seekers from the middle", "um")
    time_step: float = key(4e-3, "time step of the motion", "s")
    actions: ActionKind = key("discrete", TURNING)
    control_interval: float = key(0.2, "time between decisions", "s")
    horizon: int = key(256, "decisions in an episode")
    history: int = key(4, "how many intervals back a colloid remembers what it sensed and did")
    reward_scale: float = key(10.0, "reward per unit of the signal of one beacon")
    mode: Literal["approach", "change", "absolute", "avoid"] = key("change", "what is paid")

    def build(self) -> Scenario:
        """Return the scenario."""
        require_positive(
            self.id,
            speed=self.speed,
            turn_rate=self.turn_rate,
            decay_length=self.decay_length,
            beacon_start=self.beacon_start,
        )
        require_finite(self.id, reward_scale=self.reward_scale)
        if len(self.box) != 2:
            raise ConfigError(
                f"{self.id} is a scenario in the plane; give two box lengths, got {self.box}."
            )
        if not 1 <= self.beacons < self.colloids:
            raise ConfigError(
                f"{self.id}: {self.beacons} beacons among {self.colloids} colloids; at least one "
                "beacon and one seeker are needed."
            )
        middle = (self.box[0] / 2, self.box[1] / 2)
        ring = Placement("ball", middle, self.start_outer, inner_radius=self.start_inner)
        species = (
            Species(
                "seeker",
                self.colloids - self.beacons,
                self.radius,
                speed_max=self.speed,
                turn_rate_max=self.turn_rate,
                placement=ring,
            ),
            Species(
                "beacon",
                self.beacons,
                self.beacon_radius,
                speed_max=0.0,
                turn_rate_max=0.0,
                placement=Placement("ball", middle, self.beacon_start),
            ),
        )
        world = World(
            Box(self.box, self.boundary),
            Fluid(self.viscosity, self.temperature),
            species,
            time_step=self.time_step,
        )
        seeks = jnp.asarray(world.species_of_slot) == 0
        decay = jnp.asarray(self.decay_length)
        sensed = self.decay_length / (self.speed * self.control_interval * self.beacons)
        signal = Renamed(ParticleSensing(decay, jnp.asarray(sensed), 1, True), ("field change",))
        motion = OwnMotion(jnp.asarray(self.speed), jnp.asarray(self.turn_rate))
        return Scenario(
            id=self.id,
            world=world,
            observable=History(Joined((signal, motion)), self.history),
            task=SpeciesSearch(decay, jnp.asarray(self.reward_scale), 1, self.mode, seekers=0),
            actions=turning(
                self.actions,
                jnp.where(seeks, self.speed, 0.0),
                jnp.where(seeks, self.turn_rate, 0.0),
            ),
            control_interval=self.control_interval,
            horizon=self.horizon,
            baselines={"random": "random", "best": "gradient-climber"},
            measure_name="distance from the nearest beacon (µm)",
            measure=beacon_distance,
        )


def beacon_distance(state: SwarmState, space: Space) -> Array:
    """Distance [N] µm of every seeker from the nearest beacon; for beacons the seekers' mean."""
    away = jnp.where(of_species(state, 1), pairs(state, space).distance, jnp.inf)
    nearest = jnp.min(away, axis=1)
    seeks = of_species(state, 0) & jnp.isfinite(nearest)
    nearest = jnp.where(seeks, nearest, 0)
    return jnp.where(seeks, nearest, mean_present(nearest, seeks))
