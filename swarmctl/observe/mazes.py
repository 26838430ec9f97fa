"""How far it is to a goal through the corridors of a maze, as a scalar field."""

from __future__ import annotations

import heapq

import jax
import jax.numpy as jnp
import numpy as np

from swarmctl.core.errors import ConfigError
from swarmctl.core.maze import Maze
from swarmctl.core.state import Space
from swarmctl.core.tree import pytree
from swarmctl.observe.fields import ScalarField
from swarmctl.observe.pairs import length

Array = jax.Array


@pytree
class MazeField(ScalarField):
    """λ/(λ + d) with the way d through the corridors of a maze; make one by `maze_field`.

    Like the scent of a goal that spreads along corridors. From a place in a cell the way leads
    straight to the middle of the next cell towards the goal, and on from middle to middle.

    Attributes:
        step: [R,C,2] µm, the middle of the next cell (the goal, in its own cell); rows from below.
        beyond: [R,C] µm, the way from there to the goal.
        origin: [2] µm, lower left corner. cell: [] µm. decay: λ [] µm.
    """

    step: Array
    beyond: Array
    origin: Array
    cell: Array
    decay: Array

    def value(self, position: Array, space: Space) -> Array:
        """Values [...] in (0, 1] at positions [...,2] µm."""
        return self.decay / (self.decay + self.distance(position, space))

    def distance(self, position: Array, space: Space) -> Array:
        """The way [...] µm to the goal; from places outside the maze, that of the nearest cell."""
        known = jnp.where(jnp.isfinite(position), position, 0)
        index = jnp.floor((known - self.origin) / self.cell).astype(jnp.int32)
        column = jnp.clip(index[..., 0], 0, self.beyond.shape[1] - 1)
        row = jnp.clip(index[..., 1], 0, self.beyond.shape[0] - 1)
        return length(self.step[row, column] - position) + self.beyond[row, column]


def maze_field(maze: Maze, goal: tuple[float, float], decay: float) -> MazeField:
    """The field of a goal in µm in a maze, with the decay length in µm.

    Raises ConfigError if the goal is in a wall or outside, or if a free cell has no way to it.
    """
    free = ~maze.cells
    rows, columns = free.shape
    origin = np.asarray(maze.origin)
    column, row = (int(i) for i in np.floor((np.asarray(goal) - origin) / maze.cell))
    if not (0 <= row < rows and 0 <= column < columns and free[row, column]):
        raise ConfigError(f"maze: the goal {goal} µm is not in a free cell; move it into one.")
    grid = np.stack(np.meshgrid(np.arange(columns), np.arange(rows)), axis=-1)
    middle = origin + (grid + 0.5) * maze.cell
    middle[row, column] = goal
    way = np.full(free.shape, np.inf)
    step = middle.copy()
    way[row, column] = 0.0
    queue = [(0.0, row, column)]
    while queue:
        far, i, j = heapq.heappop(queue)
        for k, m in ((i + 1, j), (i - 1, j), (i, j + 1), (i, j - 1)):
            if not (0 <= k < rows and 0 <= m < columns):
                continue
            new = far + float(np.linalg.norm(middle[k, m] - middle[i, j]))
            if new < way[k, m]:
                way[k, m], step[k, m] = new, middle[i, j]
                # A wall cell knows the way out of it, but is no way for others.
                if free[k, m]:
                    heapq.heappush(queue, (new, k, m))
    cut = free & ~np.isfinite(way)
    if cut.any():
        i, j = (int(index[0]) for index in np.nonzero(cut))
        raise ConfigError(
            f"maze: there is no way to the goal from the free cell in column {j + 1} of row "
            f"{rows - i}; open one, or fill the cell."
        )
    way = np.where(np.isfinite(way), way, way[free].max())
    beyond = way - np.linalg.norm(step - middle, axis=-1)
    return MazeField(
        jnp.asarray(step), jnp.asarray(beyond), *map(jnp.asarray, (origin, maze.cell, decay))
    )
