"""Transporting a rod: colloids bring a rod many times their size to a place and an angle.

World: that of RotateRod, after Heuthe et al. (Science Robotics 9, eado5888, 2024). The rod starts
`distance` away from its goal in the middle of the box, in a random direction, at a random angle.

Seen: ten cones all around, in each Σ R/d over the others and over the beads of the rod; the bearing
of the goal; and how the rod lies. Paid: the fall of the mean distance of the rod's beads from their
places, by each colloid's own push (counterfactual) or equally. Done: turn left, swim, turn right,
rest.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import jax
import jax.numpy as jnp

from swarmctl.core.config import key
from swarmctl.core.errors import require_finite, require_positive
from swarmctl.core.state import Space, SwarmState
from swarmctl.core.world import Placement
from swarmctl.envs.rotate_rod import RodWorld
from swarmctl.envs.scenario import Picture, Scenario
from swarmctl.observe.bodies import BodyFrame
from swarmctl.observe.goals import GoalDirection
from swarmctl.observe.observables import Joined
from swarmctl.tasks.bodies import transport

Array = jax.Array


@dataclass(frozen=True)
class TransportRodConfig(RodWorld):
    """Keys of TransportRod-v0."""

    id: ClassVar[str] = "TransportRod-v0"

    cones: int = key(10, "number of vision cones")
    view: float = key(2 * math.pi, "full angle of the field of view", "rad")
    box: tuple[float, ...] = key((300.0, 300.0), "side lengths", "um")
    start_radius: float = key(100.0, "colloids start in a disc of this radius", "um")
    distance: float = key(50.0, "the rod starts within this distance of its goal", "um")
    angle: float = key(0.0, "angle of the rod's axis at the goal", "rad")
    arrival: float = key(6.0, "it has arrived when every bead is within this of its place", "um")
    credit: Literal["own", "equal"] = key("own", "who is paid: by the own push, or equally")
    reward_scale: float = key(1.0, "reward per µm, summed over the colloids", "1/um")
    bonus: float = key(1.0, "reward of everyone on arrival")
    horizon: int = key(300, "decisions in an episode")

    def build(self) -> Scenario:
        """Return the scenario."""
        self.check()
        require_positive(self.id, distance=self.distance, arrival=self.arrival)
        require_finite(self.id, reward_scale=self.reward_scale, bonus=self.bonus, angle=self.angle)
        goal = (self.box[0] / 2, self.box[1] / 2)
        world = self.world(False, Placement("ball", goal, self.distance))
        task = transport(
            world,
            goal,
            self.angle,
            self.arrival,
            self.reward_scale,
            self.bonus,
            credit=self.credit,
        )

        def error(state: SwarmState, space: Space) -> Array:
            assert state.bodies is not None
            mean, _ = task.errors(state, state.bodies.bead, space)
            return jnp.full(state.capacity, mean)

        half = jnp.asarray(self.rod_length / 2)
        return Scenario(
            id=self.id,
            world=world,
            observable=Joined(
                (self.vision(), GoalDirection(jnp.asarray(goal), half), BodyFrame(half))
            ),
            task=task,
            actions=self.action_map(),
            control_interval=self.control_interval,
            horizon=self.horizon,
            baselines={"random": "random", "best": "rod-carrier"},
            measure_name="mean distance of the rod's beads from their places (µm)",
            measure=error,
            picture=Picture(markers={"goal": goal}),
        )
