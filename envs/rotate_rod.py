"""Rotating a rod: colloids turn a rod many times their size by pushing it together.

World: light-driven microrobots around a rod, after Heuthe et al. (Science Robotics 9, eado5888,
2024): diameter 6.8 µm, 7.3 µm/s, translational diffusion 0.014 µm²/s, rotational 1/350 s, a
decision every 0.9 s. The rod slides on the same floor: its friction is that of a slender rod
in the fluid that gives the robots their friction, times `drag`.

Seen: five cones over the half plane ahead, in each Σ R/d over the others and over the beads of the
rod. Paid: the rod's angular velocity, shared by the torque that each exerts. Done: turn left, swim,
turn right, rest.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import jax
import jax.numpy as jnp

from swarmctl.core.bodies import Body, Rod
from swarmctl.core.config import key
from swarmctl.core.contracts import ActionMap
from swarmctl.core.errors import ConfigError, require_finite, require_positive
from swarmctl.core.state import Space, SwarmState
from swarmctl.core.world import Boundary, Box, Fluid, Placement, Species, World
from swarmctl.envs.actions import TURNING, ActionKind, turning
from swarmctl.envs.scenario import Picture, Scenario, ScenarioConfig
from swarmctl.observe.cones import VisionCones
from swarmctl.tasks.bodies import RotateBody

Array = jax.Array

SOFTNESS = 0.3
"""Contact energy over the engine's own choice. Pushers sink in by some 3 % of a diameter instead of
1 %, and the time step may be three times as long.
"""


def slender_rod(
    length: float, diameter: float, viscosity: float
) -> tuple[tuple[float, ...], float]:
    """Friction of a slender rod: (along, across) pN s/µm, and pN s µm about its middle.

    2πηL/ln(L/s), 4πηL/(ln(L/s) + 1) and πηL³/(3 ln(L/s)), as Heuthe et al. 2024 have them; length L
    and diameter s in µm, viscosity η in pN s/µm².
    """
    slim = math.log(length / diameter)
    along = 2 * math.pi * viscosity * length / slim
    across = 4 * math.pi * viscosity * length / (slim + 1)
    return (along, across), math.pi * viscosity * length**3 / (3 * slim)


@dataclass(frozen=True)
class RodWorld(ScenarioConfig):
    """What the scenarios with a rod have in common."""

    colloids: int = key(30, "number of colloids")
    radius: float = key(3.4, "radius of a colloid", "um")
    speed: float = key(7.3, "swim speed", "um/s")
    turn_rate: float = key(0.7, "turn rate of the turning actions", "rad/s")
    diffusion: float = key(0.014, "translational diffusion coefficient of a colloid", "um^2/s")
    persistence_time: float = key(350.0, "1/D_r, how long a colloid keeps its direction", "s")
    temperature: float = key(300.0, "temperature", "K")
    box: tuple[float, ...] = key((250.0, 250.0), "side lengths", "um")
    boundary: Boundary = key("periodic", "periodic, open or hard")
    rod_length: float = key(100.0, "length of the rod", "um")
    rod_diameter: float = key(5.0, "diameter of the rod's beads", "um")
    drag: float = key(3.0, "the rod's friction over that of a slender rod in the same fluid")
    start_radius: float = key(80.0, "colloids start in a disc of this radius", "um")
    cones: int = key(5, "number of vision cones")
    view: float = key(math.pi, "full angle of the field of view", "rad")
    reach: float = key(125.0, "how far colloids see", "um")
    time_step: float = key(4.5e-3, "time step of the motion", "s")
    actions: ActionKind = key("discrete", TURNING)
    control_interval: float = key(0.9, "time between decisions", "s")
    horizon: int = key(200, "decisions in an episode")

    def check(self) -> None:
        """Raise ConfigError for numbers out of range."""
        require_positive(
            self.id,
            diffusion=self.diffusion,
            persistence_time=self.persistence_time,
            temperature=self.temperature,
            speed=self.speed,
            turn_rate=self.turn_rate,
            drag=self.drag,
            reach=self.reach,
            start_radius=self.start_radius,
        )
        if len(self.box) != 2:
            raise ConfigError(
                f"{self.id} is a scenario in the plane; give two box lengths, got {self.box}."
            )
        if not 0 < self.view <= 2 * math.pi * (1 + 1e-6):
            raise ConfigError(f"{self.id}: view must lie in (0, 2π] rad, got {self.view}.")
        if not self.rod_length > 2 * self.rod_diameter:
            raise ConfigError(
                f"{self.id}: a rod {self.rod_length:g} µm long and {self.rod_diameter:g} µm thick "
                "is not slender; make it longer than two diameters."
            )

    def rod_frictions(self) -> tuple[tuple[float, ...], float]:
        """Friction of the rod, see `slender_rod`."""
        thermal = Fluid(1e-3, self.temperature).thermal_energy
        viscosity = thermal / self.diffusion / (6 * math.pi * self.radius)
        along, about = slender_rod(self.rod_length, self.rod_diameter, viscosity * self.drag)
        return along, about

    def world(self, pinned: bool, placement: Placement) -> World:
        """Colloids in a disc around the middle of the box, and a rod."""
        fluid = Fluid(1e-3, self.temperature)
        middle = (self.box[0] / 2, self.box[1] / 2)
        friction = fluid.thermal_energy / self.diffusion
        species = Species(
            count=self.colloids,
            radius=self.radius,
            friction=friction,
            rotational_friction=fluid.thermal_energy * self.persistence_time,
            speed_max=self.speed,
            turn_rate_max=self.turn_rate,
            placement=Placement("ball", middle, self.start_radius),
        )
        along, about = self.rod_frictions()
        rod = Body(
            "rod",
            Rod(self.rod_length, self.rod_diameter),
            pinned=pinned,
            friction=along,
            rotational_friction=(about,),
            placement=placement,
        )
        energy = SOFTNESS * friction * self.speed * 2 * self.radius
        return World(
            Box(self.box, self.boundary),
            fluid,
            (species,),
            time_step=self.time_step,
            contact_energy=max(fluid.thermal_energy, energy),
            bodies=(rod,),
        )

    def vision(self) -> VisionCones:
        """What a colloid sees: others, and beads of the rod."""
        return VisionCones(
            jnp.asarray(self.view),
            jnp.asarray(self.reach),
            jnp.asarray(self.radius),
            self.cones,
            bodies=True,
            kernel="inverse",
        )

    def action_map(self) -> ActionMap:
        """What a colloid can do."""
        return turning(self.actions, jnp.asarray(self.speed), jnp.asarray(self.turn_rate))


@dataclass(frozen=True)
class RotateRodConfig(RodWorld):
    """Keys of RotateRod-v0."""

    id: ClassVar[str] = "RotateRod-v0"

    pinned: bool = key(False, "the rod turns about a pin in its middle instead of being free")
    direction: Literal["ccw", "cw"] = key("ccw", "which way round pays")
    credit: Literal["own", "torque", "equal"] = key(
        "own", "who is paid: by the turning that its own push makes, by share of torque, or equally"
    )
    window: int = key(1, "intervals over which the angular velocity is averaged")
    reward_scale: float = key(100.0, "reward per rad/s")

    def build(self) -> Scenario:
        """Return the scenario."""
        self.check()
        require_finite(self.id, reward_scale=self.reward_scale)
        middle = (self.box[0] / 2, self.box[1] / 2)
        way = 1 if self.direction == "ccw" else -1

        def turning(state: SwarmState, space: Space) -> Array:
            assert state.bodies is not None
            return jnp.full(state.capacity, way * state.bodies.angular_velocity[0])

        return Scenario(
            id=self.id,
            world=self.world(self.pinned, Placement("points", positions=(middle,))),
            observable=self.vision(),
            task=RotateBody(
                jnp.asarray(self.reward_scale),
                jnp.asarray(self.rod_frictions()[1]),
                direction=self.direction,
                credit=self.credit,
                window=self.window,
            ),
            actions=self.action_map(),
            control_interval=self.control_interval,
            horizon=self.horizon,
            baselines={"random": "random", "best": "rod-pusher"},
            measure_name="angular velocity of the rod (rad/s)",
            measure=turning,
            picture=Picture(),
        )
