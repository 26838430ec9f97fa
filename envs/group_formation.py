"""Group formation: find together and stay together, by swimming or resting alone.

World: 75 colloids of Lavergne, Wendehenne, Bäuerle and Bechinger (Science 364, 70, 2019), of
diameter 4.28 µm, which swim at 0.2 µm/s or rest and cannot steer: their heading is lost by
diffusion within 107 s. They start anywhere in a disc of radius 106 µm, in an open box.

Seen: how much of the others a colloid perceives, Σ 1/(2πr), in cones all around it. Paid: what the
mean of λ/(λ + r) over the others grew by, less a cost of swimming. Done: swim, rest.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp

from swarmctl.core.config import key
from swarmctl.core.contracts import Task
from swarmctl.core.errors import require_finite, require_positive
from swarmctl.core.state import Space, SwarmState, mean_present
from swarmctl.core.world import Box, Fluid, Placement, Species, World
from swarmctl.envs.headings import SwimOrRest
from swarmctl.envs.scenario import Scenario, ScenarioConfig
from swarmctl.observe.cones import VisionCones
from swarmctl.tasks.algebra import WeightedSum
from swarmctl.tasks.credit import TeamMean
from swarmctl.tasks.effort import SwimCost
from swarmctl.tasks.order import Cohesion, from_centre

SIDE = 800.0
"""Side of the open box in µm; it only says where the middle is."""


@dataclass(frozen=True)
class GroupFormationConfig(ScenarioConfig):
    """Keys of GroupFormation-v0."""

    id: ClassVar[str] = "GroupFormation-v0"

    colloids: int = key(75, "number of colloids")
    radius: float = key(2.14, "radius of a colloid", "um")
    speed: float = key(0.2, "swim speed", "um/s")
    diffusion: float = key(0.085, "translational diffusion coefficient", "um^2/s")
    rotational_diffusion: float = key(1 / 107, "rotational diffusion coefficient", "1/s")
    temperature: float = key(300.0, "temperature", "K")
    start_radius: float = key(106.0, "R₀, radius of the disc where they start", "um")
    time_step: float = key(0.025, "time step of the motion", "s")
    control_interval: float = key(5.0, "time between decisions", "s")
    horizon: int = key(400, "decisions in an episode")
    cones: int = key(8, "number of vision cones all around")
    cohesion_length: float = key(50.0, "λ, range of the company that is paid", "um")
    reward_scale: float = key(10.0, "reward per unit of company")
    cost: float = key(0.001, "cost of a decision to swim")
    team: bool = key(False, "everyone is paid the mean of all")

    def build(self) -> Scenario:
        """Return the scenario."""
        require_positive(
            self.id,
            speed=self.speed,
            diffusion=self.diffusion,
            rotational_diffusion=self.rotational_diffusion,
            temperature=self.temperature,
            cohesion_length=self.cohesion_length,
        )
        require_finite(self.id, reward_scale=self.reward_scale, cost=self.cost)
        fluid = Fluid(temperature=self.temperature)
        species = Species(
            count=self.colloids,
            radius=self.radius,
            friction=fluid.thermal_energy / self.diffusion,
            rotational_friction=fluid.thermal_energy / self.rotational_diffusion,
            speed_max=self.speed,
            turn_rate_max=0.0,
            placement=Placement("ball", radius=self.start_radius),
        )
        world = World(Box((SIDE, SIDE), "open"), fluid, (species,), time_step=self.time_step)
        # So that the cones add up to 1 in the middle of the disc at the start: P/P_c with α = π.
        unit = math.pi * self.start_radius / max(self.colloids, 1) / (2 * math.pi)
        task: Task = WeightedSum(
            (
                Cohesion(jnp.asarray(self.cohesion_length), jnp.asarray(self.reward_scale)),
                SwimCost(jnp.asarray(self.cost), jnp.asarray(self.speed)),
            ),
            jnp.ones(2),
        )
        return Scenario(
            id=self.id,
            world=world,
            observable=VisionCones(
                view=jnp.asarray(2 * math.pi),
                reach=jnp.asarray(2 * SIDE),
                radius=jnp.asarray(unit),
                cones=self.cones,
                kernel="inverse",
            ),
            task=TeamMean(task) if self.team else task,
            actions=SwimOrRest(jnp.asarray(self.speed)),
            control_interval=self.control_interval,
            horizon=self.horizon,
            baselines={"random": "random", "best": "lavergne"},
            measure_name="rms radius of the group (µm)",
            measure=rms_radius,
        )


def rms_radius(state: SwarmState, space: Space) -> jax.Array:
    """Root mean square distance from the common centre in µm, the same for every colloid [N]."""
    square = jnp.sum(from_centre(state, space) ** 2, axis=-1)
    return jnp.full(state.capacity, jnp.sqrt(mean_present(square, state.present)))
