"""Maze: find the way to a goal by its scent, which spreads along the corridors.

World: small light-driven Janus colloids in water, anywhere in a maze with hard walls. Seen: during
the last intervals, how much the scent changed and what the colloid itself did, and where the
nearest wall is. Paid: the growth of the scent, which adds up. Done: turn left, swim, turn right,
rest.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import jax.numpy as jnp
import numpy as np

from swarmctl.core.config import key
from swarmctl.core.errors import require_finite, require_positive
from swarmctl.core.maze import Maze
from swarmctl.core.state import Space
from swarmctl.core.world import Box, Fluid, Species, World
from swarmctl.envs.actions import TURNING, ActionKind, turning
from swarmctl.envs.scenario import Picture, Scenario, ScenarioConfig
from swarmctl.observe.goals import wall_distance
from swarmctl.observe.mazes import maze_field
from swarmctl.observe.observables import FieldChange, History, Joined, OwnMotion
from swarmctl.tasks.gradient import GradientSensing

ROWS = (
    "...#...",
    ".#.#.#.",
    ".#...#.",
    ".####..",
    "......#",
    ".####..",
    ".....#.",
)

SOFTNESS = 0.3
"""Contact energy over the engine's own choice, which allows a longer time step."""


@dataclass(frozen=True)
class MazeConfig(ScenarioConfig):
    """Keys of Maze-v0."""

    id: ClassVar[str] = "Maze-v0"

    colloids: int = key(6, "number of colloids")
    radius: float = key(1.0, "radius of a colloid", "um")
    speed: float = key(3.0, "swim speed", "um/s")
    turn_rate: float = key(math.pi, "turn rate of the turning actions", "rad/s")
    viscosity: float = key(1e-3, "dynamic viscosity", "Pa*s")
    temperature: float = key(300.0, "temperature", "K")
    rows: tuple[str, ...] = key(ROWS, "the maze from top to bottom: # is wall, . is free")
    cell: float = key(12.0, "side of a cell", "um")
    goal: tuple[float, float] = key((78.0, 6.0), "the goal, in a free cell", "um")
    decay_length: float = key(50.0, "way along which the scent falls to one half", "um")
    wall_reach: float = key(6.0, "how far colloids feel walls", "um")
    time_step: float = key(1.25e-3, "time step of the motion", "s")
    actions: ActionKind = key("discrete", TURNING)
    control_interval: float = key(0.2, "time between decisions", "s")
    horizon: int = key(400, "decisions in an episode")
    history: int = key(4, "how many intervals back a colloid remembers what it sensed and did")
    reward_scale: float = key(10.0, "reward per unit of scent")

    def build(self) -> Scenario:
        """Return the scenario."""
        require_positive(
            self.id,
            speed=self.speed,
            turn_rate=self.turn_rate,
            decay_length=self.decay_length,
            wall_reach=self.wall_reach,
        )
        require_finite(self.id, reward_scale=self.reward_scale, goal=self.goal)
        maze = Maze(self.rows, cell=self.cell)
        species = Species(
            count=self.colloids,
            radius=self.radius,
            speed_max=self.speed,
            turn_rate_max=self.turn_rate,
        )
        fluid = Fluid(self.viscosity, self.temperature)
        push = 6 * math.pi * self.viscosity * self.radius * self.speed
        world = World(
            Box(maze.corner, "hard"),
            fluid,
            (species,),
            time_step=self.time_step,
            contact_energy=max(fluid.thermal_energy, SOFTNESS * push * 2 * self.radius),
            walls=(maze,),
        )
        field = maze_field(maze, self.goal, self.decay_length)
        space = Space(jnp.asarray(maze.corner), (False, False))
        sensed = self.decay_length / (self.speed * self.control_interval)
        return Scenario(
            id=self.id,
            world=world,
            observable=Joined(
                (
                    History(
                        Joined(
                            (
                                FieldChange(field, jnp.asarray(sensed)),
                                OwnMotion(jnp.asarray(self.speed), jnp.asarray(self.turn_rate)),
                            )
                        ),
                        self.history,
                    ),
                    wall_distance(world, self.wall_reach),
                )
            ),
            task=GradientSensing(field, jnp.asarray(self.reward_scale)),
            actions=turning(self.actions, jnp.asarray(self.speed), jnp.asarray(self.turn_rate)),
            control_interval=self.control_interval,
            horizon=self.horizon,
            baselines={"random": "random", "best": "gradient-climber"},
            measure_name="way to the goal (µm)",
            measure=lambda state, space: field.distance(state.position, space),
            picture=Picture(
                lambda position: np.asarray(field.value(jnp.asarray(position), space)),
                "scent",
                {"goal": self.goal},
            ),
        )
