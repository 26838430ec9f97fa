"""The way through a maze: against a search on a fine grid, and what is refused."""

from __future__ import annotations

from collections import deque

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from swarmctl.core.errors import ConfigError
from swarmctl.core.maze import Maze
from swarmctl.core.state import Space
from swarmctl.observe.mazes import maze_field

ROWS = ("..#.", "#...", "..#.")
SPACE = Space(jnp.asarray([40.0, 30.0]), (False, False))


def test_the_way_goes_from_cell_to_cell_and_is_straight_in_the_last_one() -> None:
    """From the middle of every free cell: the number of steps of a breadth-first search."""
    maze, goal = Maze(ROWS, cell=10.0), (5.0, 5.0)
    field = maze_field(maze, goal, 20.0)
    free = ~maze.cells
    steps, queue = {(0, 0): 0}, deque([(0, 0)])
    while queue:
        i, j = queue.popleft()
        for k, m in ((i + 1, j), (i - 1, j), (i, j + 1), (i, j - 1)):
            if 0 <= k < 3 and 0 <= m < 4 and free[k, m] and (k, m) not in steps:
                steps[k, m] = steps[i, j] + 1
                queue.append((k, m))
    assert len(steps) == free.sum()
    places = jnp.asarray([[10.0 * j + 5, 10.0 * i + 5] for i, j in steps])
    way = field.distance(places, SPACE)
    np.testing.assert_allclose(way, 10.0 * np.asarray(list(steps.values())), rtol=1e-6)
    np.testing.assert_allclose(field.value(places, SPACE), 20 / (20 + way), rtol=1e-6)
    assert float(field.distance(jnp.asarray([8.0, 9.0]), SPACE)) == pytest.approx(5.0)


def test_following_the_field_down_leads_to_the_goal() -> None:
    """Steps of 0.5 µm down the gradient of the way stay in free cells and arrive."""
    maze = Maze(ROWS, cell=10.0)
    field, free = maze_field(maze, (35.0, 5.0), 20.0), ~maze.cells
    slope = jax.jit(jax.grad(lambda r: field.distance(r, SPACE)))
    place = np.asarray([2.0, 27.0])
    for _ in range(300):
        place = place - 0.5 * np.asarray(slope(jnp.asarray(place)))
        column, row = (place // 10).astype(int)
        assert free[row, column]
        if np.hypot(*(place - [35, 5])) < 1:
            break
    else:
        pytest.fail(f"it ended at {place}")


def test_goals_in_walls_and_closed_cells_are_refused() -> None:
    for goal in ((25.0, 25.0), (45.0, 5.0), (-1.0, 5.0)):
        with pytest.raises(ConfigError, match="not in a free cell"):
            maze_field(Maze(ROWS, cell=10.0), goal, 20.0)
    with pytest.raises(ConfigError, match="free cell in column 1 of row 2"):
        maze_field(Maze(("###", ".#.", "###"), cell=10.0), (25.0, 15.0), 20.0)
