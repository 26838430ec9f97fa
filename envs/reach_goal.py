"""Reach a goal: one small swimmer, steered at once into any direction, against its own noise.

World: a swimmer of constant speed in the plane, which diffuses; its heading is set at every
decision, as by a laser beside the particle (Muiños-Landin, Fischer, Holubec and Cichos, Sci.
Robot. 6, eabd9285, 2021). It starts at a fixed distance from the goal, in any direction.

Seen: direction and distance of the goal. Paid: approach and arrival, less the time. Done: one of
eight headings, or any heading. Arrival ends the episode.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import ClassVar

import jax.numpy as jnp

from swarmctl.core.config import key
from swarmctl.core.contracts import ActionMap
from swarmctl.core.errors import ConfigError, require_finite, require_positive
from swarmctl.core.world import Box, Fluid, GlobalField, Placement, Species, World
from swarmctl.envs.actions import ActionKind
from swarmctl.envs.fields import RollBy, Votes
from swarmctl.envs.headings import Compass, HeadAlong
from swarmctl.envs.scenario import Picture, Scenario, ScenarioConfig
from swarmctl.observe.flow import GoalVector
from swarmctl.tasks.goals import ReachPoint

BOUNDARY_SHIFT = 0.5825971579390106
"""-ζ(1/2)/√(2π): a walk seen at intervals Δ passes a boundary as if it lay 0.5826 √(2DΔ) farther
(Siegmund 1979)."""


def arrival_time(
    distance: float, radius: float, speed: float, diffusion: float, dimension: int = 2
) -> float:
    """Mean time in s until a perfectly steered swimmer comes within `radius` of its goal.

    It starts at `distance`, always heads for the goal at `speed` v, and diffuses with D. In two
    dimensions T = (r₀ - a)/v + (D/v²) ln(r₀/a), in three
    T = (r₀ - a)/v + (2D/v²) ln(r₀/a) + (2D²/v³)(1/a - 1/r₀).

    >>> round(arrival_time(20, 2, 2, 1), 4), round(arrival_time(20, 2, 2, 1, dimension=3), 3)
    (9.5756, 10.264)
    """
    v, d = speed, diffusion
    time = (distance - radius) / v
    log = math.log(distance / radius)
    if dimension == 2:
        return time + d / v**2 * log
    return time + 2 * d / v**2 * log + 2 * d**2 / v**3 * (1 / radius - 1 / distance)


@dataclass(frozen=True)
class ReachGoalConfig(ScenarioConfig):
    """Keys of ReachGoal-v0, with eight headings."""

    id: ClassVar[str] = "ReachGoal-v0"
    best: ClassVar[str] = "steer-to-point"

    colloids: int = key(1, "number of swimmers; they do not see or touch one another")
    speed: float = key(2.0, "swim speed", "um/s")
    diffusion: float = key(1.0, "translational diffusion coefficient", "um^2/s")
    rotational_diffusion: float = key(
        0.02, "rotational diffusion coefficient, between decisions", "1/s"
    )
    temperature: float = key(300.0, "temperature", "K")
    start_distance: float = key(20.0, "r₀, distance from the goal at the start", "um")
    arrival: float = key(2.0, "a, distance at which the goal is reached", "um")
    directions: int = key(8, "number of headings to choose from")
    time_step: float = key(0.05, "time step of the motion", "s")
    control_interval: float = key(0.1, "time between decisions", "s")
    horizon: int = key(400, "decisions in an episode")
    reward_scale: float = key(0.1, "reward per µm of approach", "1/um")
    bonus: float = key(1.0, "reward for the arrival")
    step_cost: float = key(0.005, "cost of a decision")

    def build(self) -> Scenario:
        """Return the scenario."""
        require_positive(
            self.id,
            speed=self.speed,
            diffusion=self.diffusion,
            rotational_diffusion=self.rotational_diffusion,
            temperature=self.temperature,
            start_distance=self.start_distance,
            arrival=self.arrival,
        )
        require_finite(
            self.id, reward_scale=self.reward_scale, bonus=self.bonus, step_cost=self.step_cost
        )
        if not self.arrival < self.start_distance:
            raise ConfigError(
                f"{self.id}: arrival {self.arrival} µm must be less than start_distance "
                f"{self.start_distance} µm; start farther away."
            )
        side = 4 * self.start_distance
        world = World(
            Box((side, side), "open"),
            Fluid(temperature=self.temperature),
            (self.swimmer(),),
            time_step=self.time_step,
            contacts=False,
            field=self.field(),
        )
        goal = jnp.asarray([side / 2, side / 2])
        return Scenario(
            id=self.id,
            world=world,
            observable=GoalVector(goal, jnp.asarray(5 * self.arrival)),
            task=ReachPoint(
                goal,
                jnp.asarray(self.arrival),
                jnp.asarray(self.reward_scale),
                jnp.asarray(self.bonus),
                jnp.asarray(self.step_cost),
            ),
            actions=self.action_map(),
            control_interval=self.control_interval,
            horizon=self.horizon,
            baselines={"random": "random", "best": self.best},
            measure_name="distance from the goal (µm)",
            measure=lambda state, space: space.distance(state.position, goal),
            picture=Picture(markers={"goal": (side / 2, side / 2)}),
        )

    def swimmer(self) -> Species:
        """The swimmer."""
        energy = Fluid(temperature=self.temperature).thermal_energy
        ring = self.start_distance
        return Species(
            count=self.colloids,
            radius=0.1 * self.arrival,
            friction=energy / self.diffusion,
            rotational_friction=energy / self.rotational_diffusion,
            speed_max=self.speed,
            placement=Placement("ball", radius=1.001 * ring, inner_radius=0.999 * ring),
        )

    def field(self) -> GlobalField | None:
        """No coils."""
        return None

    def action_map(self) -> ActionMap:
        """One of `directions` headings."""
        return Compass(jnp.asarray(self.speed), self.directions)

    def optimum(self) -> float:
        """Mean arrival time in s of perfect steering, where arrivals are seen once a decision.

        The goal then seems smaller by 0.5826 √(2DΔ); that the heading is held during a decision is
        left out.
        """
        shift = BOUNDARY_SHIFT * math.sqrt(2 * self.diffusion * self.control_interval)
        radius = max(self.arrival - shift, 0.1 * self.arrival)
        return arrival_time(self.start_distance, radius, self.speed, self.diffusion)


@dataclass(frozen=True)
class ReachGoalContinuousConfig(ReachGoalConfig):
    """Keys of ReachGoalContinuous-v0: any heading."""

    id: ClassVar[str] = "ReachGoalContinuous-v0"

    def action_map(self) -> ActionMap:
        """Any heading."""
        return HeadAlong(jnp.asarray(self.speed))


@dataclass(frozen=True)
class ReachGoalFieldConfig(ReachGoalConfig):
    """Keys of ReachGoalField-v0: a roller, driven by a field that turns."""

    id: ClassVar[str] = "ReachGoalField-v0"
    best: ClassVar[str] = "roll-to-point"

    colloids: int = key(1, "number of rollers; the field is one for all, and all vote on it")
    strength: float = key(5.0, "strength of the field", "mT")
    actions: ActionKind = key("discrete", "discrete: one of so many directions; continuous: any")
    frequency: float = key(5.0, "turns of the field in a second, at full speed", "Hz")
    time_step: float = key(2e-3, "time step of the motion", "s")

    def swimmer(self) -> Species:
        """A roller that reaches `speed` at `frequency`, half of what its moment can follow."""
        require_positive(self.id, strength=self.strength, frequency=self.frequency)
        sphere, rate = super().swimmer(), 2 * math.pi * self.frequency
        assert sphere.rotational_friction is not None
        return dataclasses.replace(
            sphere,
            magnetic_moment=2 * rate * sphere.rotational_friction / self.strength,
            rolling=self.speed / (sphere.radius * rate),
        )

    def field(self) -> GlobalField:
        """Coils that just do it."""
        return GlobalField(strength_max=self.strength, frequency_max=self.frequency)

    def action_map(self) -> ActionMap:
        """One of `directions` votes, or any."""
        votes = Votes(self.directions if self.actions == "discrete" else None)
        return RollBy(jnp.asarray(self.strength), jnp.asarray(self.frequency), votes)
