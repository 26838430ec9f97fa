"""Navigate a flow: the fastest way to a goal through shear, a vortex or a channel.

World: one swimmer of constant speed v in a steady flow (Zermelo's problem), which takes any of
sixteen headings at once. In units of `length` L and L/v, the shear flow is the problem of Bryson
and Ho (Applied Optimal Control, 1975, 2.7): ẋ = cos θ - y, ẏ = sin θ, from (3.66, -1.86) to 0.

Seen: direction and distance of the goal, and the flow where the swimmer is. Paid: approach and
arrival, less the time. Done: one of sixteen headings. Arrival ends the episode.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import jax.numpy as jnp
import numpy as np

from swarmctl.core.config import key
from swarmctl.core.contracts import ActionMap
from swarmctl.core.errors import ConfigError, require_finite, require_positive
from swarmctl.core.fields import Flow, PoiseuilleFlow, ShearFlow, VortexFlow
from swarmctl.core.units import BOLTZMANN
from swarmctl.core.world import Box, Fluid, Placement, Species, World
from swarmctl.envs.actions import ActionKind
from swarmctl.envs.headings import Compass, HeadAlong
from swarmctl.envs.scenario import Picture, Scenario, ScenarioConfig
from swarmctl.observe.flow import FlowVelocity, GoalVector
from swarmctl.observe.observables import Joined
from swarmctl.physics.flow import flow_at, flow_params
from swarmctl.tasks.goals import ReachPoint

STARTS = {"shear": (3.66, -1.86), "vortex": (4.0, 0.0), "poiseuille": (2.5, 0.5)}
"""Where the swimmer starts, from the goal, in units of `length`."""
WALL_ENERGY = 3000 * BOLTZMANN
"""Energy in pN µm of the contact with the walls of the channel: 10 k_B T, for long time steps."""
FLOW_SPEED = {"shear": 1.0, "vortex": 1.0, "poiseuille": 0.6}
"""Speed of the flow in units of the swim speed, if it is left out."""
WIDTH = 4.0
"""Width of the channel in units of `length`; the goal is in its middle."""
PEAK = 0.6381726863389515
"""Highest speed of a Lamb-Oseen vortex in units of its rate times its core radius."""


@dataclass(frozen=True)
class NavigateFlowConfig(ScenarioConfig):
    """Keys of NavigateFlow-v0."""

    id: ClassVar[str] = "NavigateFlow-v0"

    flow: Literal["shear", "vortex", "poiseuille"] = key(
        "shear", "shear: Bryson and Ho; vortex: one lies on the way; poiseuille: up a channel"
    )
    colloids: int = key(1, "number of swimmers; they do not see or touch one another")
    radius: float = key(2.14, "radius of the swimmer", "um")
    speed: float = key(5.0, "swim speed v", "um/s")
    flow_speed: float | None = key(
        None,
        "speed of the flow: at the distance L (shear), the highest (vortex, poiseuille); if left "
        "out v, in the channel 0.6 v",
        "um/s",
    )
    length: float = key(20.0, "L, unit of length", "um")
    viscosity: float = key(1e-3, "dynamic viscosity", "Pa*s")
    temperature: float = key(300.0, "temperature; 0 switches thermal noise off", "K")
    arrival: float = key(2.0, "distance at which the goal is reached", "um")
    actions: ActionKind = key("discrete", "discrete: one of so many headings; continuous: any")
    directions: int = key(16, "number of headings to choose from")
    time_step: float = key(0.01, "time step of the motion", "s")
    control_interval: float = key(0.2, "time between decisions", "s")
    horizon: int = key(320, "decisions in an episode")
    reward_scale: float = key(0.02, "reward per µm of approach", "1/um")
    bonus: float = key(1.0, "reward for the arrival")
    step_cost: float = key(0.01, "cost of a decision")
    discount: float = key(1.0, "γ of the learner, for an approach that does not lead it astray")

    def build(self) -> Scenario:
        """Return the scenario."""
        require_positive(
            self.id, speed=self.speed, length=self.length, arrival=self.arrival, radius=self.radius
        )
        require_finite(
            self.id,
            flow_speed=self.flow_speed,
            reward_scale=self.reward_scale,
            bonus=self.bonus,
            step_cost=self.step_cost,
        )
        if not self.arrival < self.length:
            raise ConfigError(
                f"{self.id}: arrival {self.arrival} µm must be less than length {self.length} µm."
            )
        if not 0 < self.discount <= 1:
            raise ConfigError(f"{self.id}: discount must lie in (0, 1], got {self.discount}.")
        box, flow = self.box(), self.current()
        species = Species(
            count=self.colloids,
            radius=self.radius,
            speed_max=self.speed,
            placement=Placement("points", positions=(self.start(),) * self.colloids),
        )
        world = World(
            box,
            Fluid(self.viscosity, self.temperature),
            (species,),
            time_step=self.time_step,
            contacts=False,
            contact_energy=WALL_ENERGY,
            flows=(flow,),
        )
        goal = jnp.asarray(self.goal())
        return Scenario(
            id=self.id,
            world=world,
            observable=Joined(
                (
                    GoalVector(goal, jnp.asarray(self.length)),
                    FlowVelocity(flow_params((flow,), box), jnp.asarray(self.speed)),
                )
            ),
            task=ReachPoint(
                goal,
                jnp.asarray(self.arrival),
                jnp.asarray(self.reward_scale),
                jnp.asarray(self.bonus),
                jnp.asarray(self.step_cost),
                jnp.asarray(self.discount),
            ),
            actions=self.action_map(),
            control_interval=self.control_interval,
            horizon=self.horizon,
            baselines={"random": "random", "naive": "steer-to-point", "best": "zermelo"},
            measure_name="distance from the goal (µm)",
            measure=lambda state, space: space.distance(state.position, goal),
            picture=Picture(
                self.current_speed,
                "speed of the flow (µm/s)",
                {"goal": self.goal(), "start": self.start()},
            ),
        )

    def action_map(self) -> ActionMap:
        """Headings, taken at once."""
        speed = jnp.asarray(self.speed)
        return Compass(speed, self.directions) if self.actions == "discrete" else HeadAlong(speed)

    def box(self) -> Box:
        """The box: hard walls along a channel, open otherwise."""
        if self.flow == "poiseuille":
            return Box((10 * self.length, WIDTH * self.length), ("open", "hard"))
        return Box((12 * self.length, 12 * self.length), "open")

    def goal(self) -> tuple[float, float]:
        """The goal in µm, in the middle of the box."""
        width, height = self.box().size
        return width / 2, height / 2

    def start(self) -> tuple[float, float]:
        """The start in µm."""
        (x, y), (dx, dy) = self.goal(), STARTS[self.flow]
        return x + dx * self.length, y + dy * self.length

    def current(self) -> Flow:
        """The flow."""
        goal, start = self.goal(), self.start()
        speed = FLOW_SPEED[self.flow] * self.speed if self.flow_speed is None else self.flow_speed
        if self.flow == "shear":
            return ShearFlow(-speed / self.length, centre=goal)
        if self.flow == "vortex":
            between = tuple((a + b) / 2 for a, b in zip(goal, start, strict=True))
            return VortexFlow(speed / (PEAK * self.length), self.length, centre=between)
        return PoiseuilleFlow(speed, WIDTH * self.length, centre=goal)

    def current_speed(self, position: np.ndarray) -> np.ndarray:
        """Speed of the flow [...] in µm/s at positions [...,2] µm, for pictures."""
        box = self.box()
        u, _ = flow_at(
            jnp.asarray(position.reshape(-1, 2).T),
            jnp.zeros(()),
            flow_params((self.current(),), box),
            jnp.asarray(box.size)[:, None],
            box.periodic,
        )
        return np.sqrt(np.asarray(jnp.sum(u**2, axis=0))).reshape(position.shape[:-1])
