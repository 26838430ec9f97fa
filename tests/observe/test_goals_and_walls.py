"""Where goals, walls and bodies lie, against geometry worked out by hand."""

from __future__ import annotations

import math
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from swarmctl.core.errors import ConfigError
from swarmctl.core.state import Space
from swarmctl.core.wall_geometry import clearance
from swarmctl.core.walls import Circle, Polygon, Segment
from swarmctl.core.world import Box, World
from swarmctl.observe.bodies import BodyFrame
from swarmctl.observe.goals import GoalDirection, wall_distance

SPACE = Space(jnp.asarray([100.0, 100.0]), (True, True))


def test_the_bearing_of_a_goal_takes_the_shorter_way(swarm: Any) -> None:
    goal = GoalDirection(jnp.asarray([5.0, 50.0]), jnp.asarray(10.0))
    state = swarm([[95, 50], [5, 20], [5, 50]], [0.0, 0.0, 1.0])
    seen = np.asarray(goal.observe(state, (), SPACE)[0])
    wanted = [[1, 0, 10 / 20], [0, 1, 30 / 40], [0, 0, 0]]
    np.testing.assert_allclose(seen, wanted, atol=1e-6)


def test_the_distance_from_walls_is_the_clearance(swarm: Any) -> None:
    """Against the geometry that the physics uses, and hard faces by hand."""
    walls = (
        Segment((20.0, 20.0), (45.0, 40.0), 3.0),
        Circle((70.0, 30.0), 10.0),
        Polygon(((30.0, 60.0), (50.0, 60.0), (40.0, 80.0)), "outside"),
    )
    world = World(Box((100.0, 100.0), "hard"), walls=walls)
    observable = wall_distance(world, 25.0)
    rng = np.random.default_rng(0)
    place = rng.uniform(1, 99, (300, 2))
    away = clearance(place, world.wall_geometry)  # type: ignore[arg-type]
    away = np.minimum(away, np.minimum(place, 100 - place).min(axis=1))
    place, away = place[away > 0.1], away[away > 0.1]
    heading = rng.uniform(-np.pi, np.pi, len(place))
    open_space = Space(jnp.asarray([100.0, 100.0]), (False, False))
    seen = np.asarray(observable.observe(swarm(place, heading), (), open_space)[0])
    np.testing.assert_allclose(seen[:, 2], np.maximum(1 - away / 25, 0), atol=1e-5)
    # Going that far along the direction ends at a surface.
    c, s = np.cos(heading), np.sin(heading)
    step = np.stack([c * seen[:, 0] - s * seen[:, 1], s * seen[:, 0] + c * seen[:, 1]], axis=-1)
    end = place + away[:, None] * step
    left = clearance(end, world.wall_geometry)  # type: ignore[arg-type]
    left = np.minimum(left, np.minimum(end, 100 - end).min(axis=1))
    np.testing.assert_allclose(left[away < 25], 0, atol=1e-3)


def test_a_world_without_walls_has_no_distance_from_them() -> None:
    with pytest.raises(ConfigError, match="neither walls nor hard faces"):
        wall_distance(World(), 10.0)


def test_a_rod_in_the_own_frame(swarm: Any, rod: Any) -> None:
    """A rod along y at (50, 50); the colloid 10 µm to its left and 15 µm up looks along x."""
    body = rod((50.0, 50.0), math.pi / 2, np.arange(-20, 21, 5), 1)
    observable = BodyFrame(jnp.asarray(20.0))
    seen = np.asarray(observable.observe(swarm([[40, 65]], 0.0, bodies=body), (), SPACE)[0])[0]
    far = math.hypot(10, 15)
    wanted = [
        *(10 / far, -15 / far, far / (far + 20)),
        *(-1.0, 0.0),  # cosine and sine of twice the angle
        *(1.0, 0.0, 7.5 / 27.5),  # the bead at (50, 65)
        *(15 / 20, 10 / 20),
        -15 / 20,  # r = (-10, 15), n = (1, 0): pushing there turns the rod clockwise
    ]
    np.testing.assert_allclose(seen, wanted, atol=1e-5)
