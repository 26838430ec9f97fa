"""Swirl: swim around the common centre, all the same way.

World: 48 colloids of Bäuerle, Löffler and Bechinger (Nat. Commun. 11, 2547, 2020), of diameter
6.3 µm, which swim at 0.5 µm/s without rest and turn by 4.01° a second at most, with their measured
diffusion, in an open box. They start in a disc, in random directions.

Seen: where the centre of the others is, where the neighbours head, and how full the field of view
is. Paid: (r̂ x n̂)_z for going around the centre with the majority, so that the mean reward is |O_R|.
Done: turn left, straight on, turn right.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp

from swarmctl.core.config import key
from swarmctl.core.errors import require_finite, require_positive
from swarmctl.core.state import Space, SwarmState, mean_present
from swarmctl.core.world import Box, Fluid, Placement, Species, World
from swarmctl.envs.headings import TurnInFlight
from swarmctl.envs.scenario import Scenario, ScenarioConfig
from swarmctl.observe.cones import VisionCones
from swarmctl.observe.neighbours import GroupCentre, PolarOrder
from swarmctl.observe.observables import Joined
from swarmctl.tasks.order import SwirlOrder, swirl

SIDE = 400.0
"""Side of the open box in µm; it only says where the middle is."""


@dataclass(frozen=True)
class SwirlConfig(ScenarioConfig):
    """Keys of Swirl-v0."""

    id: ClassVar[str] = "Swirl-v0"

    colloids: int = key(48, "number of colloids")
    radius: float = key(3.15, "radius of a colloid", "um")
    speed: float = key(0.5, "swim speed", "um/s")
    turn_rate: float = key(0.07, "turn rate of the turning actions", "rad/s")
    diffusion: float = key(0.014, "translational diffusion coefficient", "um^2/s")
    rotational_diffusion: float = key(0.0028, "rotational diffusion coefficient", "1/s")
    temperature: float = key(300.0, "temperature", "K")
    start_radius: float = key(45.0, "radius of the disc where they start", "um")
    time_step: float = key(0.025, "time step of the motion", "s")
    control_interval: float = key(1.0, "time between decisions", "s")
    horizon: int = key(512, "decisions in an episode")
    reach: float = key(25.0, "how far headings of neighbours and the cones reach", "um")
    cones: int = key(5, "number of vision cones over the half plane ahead")
    reward_scale: float = key(0.01, "reward per decision in a perfect swirl")
    team: bool = key(False, "everyone is paid the mean of all")

    def build(self) -> Scenario:
        """Return the scenario."""
        require_positive(
            self.id,
            speed=self.speed,
            turn_rate=self.turn_rate,
            diffusion=self.diffusion,
            rotational_diffusion=self.rotational_diffusion,
            temperature=self.temperature,
            reach=self.reach,
        )
        require_finite(self.id, reward_scale=self.reward_scale)
        fluid = Fluid(temperature=self.temperature)
        species = Species(
            count=self.colloids,
            radius=self.radius,
            friction=fluid.thermal_energy / self.diffusion,
            rotational_friction=fluid.thermal_energy / self.rotational_diffusion,
            speed_max=self.speed,
            turn_rate_max=self.turn_rate,
            placement=Placement("ball", radius=self.start_radius),
        )
        world = World(Box((SIDE, SIDE), "open"), fluid, (species,), time_step=self.time_step)
        reach = jnp.asarray(self.reach)
        observable = Joined(
            (
                GroupCentre(jnp.asarray(math.inf), jnp.asarray(self.start_radius)),
                PolarOrder(reach),
                VisionCones(jnp.asarray(math.pi), reach, jnp.asarray(self.radius), self.cones),
            )
        )
        return Scenario(
            id=self.id,
            world=world,
            observable=observable,
            task=SwirlOrder(jnp.asarray(self.reward_scale), "either", self.team),
            actions=TurnInFlight(jnp.asarray(self.speed), jnp.asarray(self.turn_rate)),
            control_interval=self.control_interval,
            horizon=self.horizon,
            baselines={"random": "random", "best": "baeuerle"},
            measure_name="order of the swirl |O_R|",
            measure=swirl_order,
        )


def swirl_order(state: SwarmState, space: Space) -> jax.Array:
    """|O_R| = |mean of (r̂ x n̂)_z|, the same for every colloid [N]."""
    order = jnp.abs(mean_present(swirl(state, space), state.present))
    return jnp.full(state.capacity, order)
