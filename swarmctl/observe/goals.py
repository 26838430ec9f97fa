"""Where a goal or a wall lies, as a colloid sees it."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from swarmctl.core.contracts import Observable
from swarmctl.core.errors import CapabilityError, ConfigError
from swarmctl.core.spec import EngineSpec
from swarmctl.core.state import Space, SwarmState
from swarmctl.core.tree import pytree
from swarmctl.core.wall_geometry import compile_walls
from swarmctl.core.world import World
from swarmctl.observe.pairs import length, own_frame, require_plane, unit

Array = jax.Array


@pytree
class GoalDirection(Observable):
    """Cosine and sine of the bearing of a goal, and d/(d + λ) (2D).

    The bearing is the angle from the director to the goal, anticlockwise; d the distance, by the
    minimum image. `goal` [2] µm, or [N,2] with one for every colloid; `length` λ [] µm.
    """

    goal: Array
    length: Array

    def check(self, spec: EngineSpec) -> None:
        """Raise CapabilityError in 3D."""
        require_plane(spec, "GoalDirection")
        check_point(self.goal, spec, "GoalDirection")

    def names(self, spec: EngineSpec) -> tuple[str, ...]:
        """Three values."""
        return ("goal forward", "goal left", "goal distance")

    def init(self, state: SwarmState, space: Space) -> Any:
        """No memory."""
        return ()

    def observe(self, state: SwarmState, memory: Any, space: Space) -> tuple[Array, Any]:
        """Return ([N,3], memory)."""
        towards = space.displacement(state.position, self.goal)
        away = length(towards)[:, None]
        bearing = own_frame(unit(towards), state.director)
        values = jnp.concatenate([bearing, away / (away + self.length)], axis=-1)
        return jnp.where(state.present[:, None], values, 0), memory


@pytree
class OpenTarget(Observable):
    """Bearing and distance of the nearest target that is not taken, as in `GoalDirection` (2D).

    A target is taken by another colloid that is nearer to it than oneself and within `radius` of
    it. All 0 if every target is taken. `targets` [K,2] µm, `radius` [] µm, `length` λ [] µm.
    """

    targets: Array
    radius: Array
    length: Array

    def check(self, spec: EngineSpec) -> None:
        """Raise CapabilityError in 3D."""
        require_plane(spec, "OpenTarget")

    def names(self, spec: EngineSpec) -> tuple[str, ...]:
        """Three values."""
        return ("goal forward", "goal left", "goal distance")

    def init(self, state: SwarmState, space: Space) -> Any:
        """No memory."""
        return ()

    def observe(self, state: SwarmState, memory: Any, space: Space) -> tuple[Array, Any]:
        """Return ([N,3], memory)."""
        towards = space.displacement(state.position[:, None], self.targets)
        away = jnp.where(state.present[:, None], length(towards), jnp.inf)
        holder = jnp.argmin(away, axis=0)
        held = jnp.min(away, axis=0) <= self.radius
        taken = held & (holder != jnp.arange(state.capacity)[:, None])
        free = jnp.where(taken, jnp.inf, away)
        index = jnp.argmin(free, axis=1)[:, None]
        chosen = jnp.take_along_axis(towards, index[..., None], axis=1)[:, 0]
        bearing = own_frame(unit(chosen), state.director)
        far = length(chosen)[:, None]
        values = jnp.concatenate([bearing, far / (far + self.length)], axis=-1)
        open_ = state.present & jnp.isfinite(jnp.min(free, axis=1))
        return jnp.where(open_[:, None], values, 0), memory


def check_point(point: Array, spec: EngineSpec, reader: str) -> None:
    """Raise ConfigError, naming both sides, unless `point` is [D], or [N,D], for this engine."""
    allowed = ((spec.dimension,), (spec.capacity, spec.dimension))
    if jnp.shape(point) not in allowed:
        raise ConfigError(
            f"{reader}: a point of shape {jnp.shape(point)} does not fit engine {spec.name!r}; "
            f"give {spec.dimension} coordinates, or {spec.capacity} rows of them."
        )


@pytree
class WallDistance(Observable):
    """Where the nearest surface of a wall or hard face lies (2D); make one by `wall_distance`.

    Unit direction to it (forward, left), and 1 - d/reach with d the distance of the colloid's
    centre from the surface: 1 in touch with it, all 0 beyond `reach` [] µm.

    Attributes:
        start, end: [S,2] µm, ends of straight centre lines, and half [S] µm, half their thickness.
        centre: [C,2] µm of circles, radius [C] µm, circle_half [C] µm.
    """

    start: Array
    end: Array
    half: Array
    centre: Array
    radius: Array
    circle_half: Array
    reach: Array

    def check(self, spec: EngineSpec) -> None:
        """Raise CapabilityError in 3D."""
        require_plane(spec, "WallDistance")

    def names(self, spec: EngineSpec) -> tuple[str, ...]:
        """Three values."""
        return ("wall forward", "wall left", "wall nearness")

    def init(self, state: SwarmState, space: Space) -> Any:
        """No memory."""
        return ()

    def observe(self, state: SwarmState, memory: Any, space: Space) -> tuple[Array, Any]:
        """Return ([N,3], memory)."""
        towards, away = self.nearest(state.position)
        near = state.present & (away < self.reach)
        direction = own_frame(unit(towards), state.director)
        values = jnp.concatenate([direction, (1 - away / self.reach)[:, None]], axis=-1)
        return jnp.where(near[:, None], values, 0), memory

    def nearest(self, position: Array) -> tuple[Array, Array]:
        """Vector [N,2] µm to the nearest centre line, and distance [N] µm from its surface."""
        along = self.end - self.start
        square = jnp.sum(along**2, axis=-1)
        offset = position[:, None] - self.start
        share = jnp.clip(jnp.sum(offset * along, axis=-1) / square, 0, 1)
        straight = share[..., None] * along - offset
        gap = length(straight) - self.half
        inward = self.centre - position[:, None]
        far = length(inward)
        round_ = unit(inward) * (far - self.radius)[..., None]
        ring = jnp.abs(far - self.radius) - self.circle_half
        towards = jnp.concatenate([straight, round_], axis=1)
        gaps = jnp.concatenate([gap, ring], axis=1)
        index = jnp.argmin(gaps, axis=1)[:, None]
        return (
            jnp.take_along_axis(towards, index[..., None], axis=1)[:, 0],
            jnp.maximum(jnp.take_along_axis(gaps, index, axis=1)[:, 0], 0),
        )


def wall_distance(world: World, reach: float) -> WallDistance:
    """Return the observable for the walls and hard faces of a world, seen up to `reach` µm.

    Raises CapabilityError in 3D and ConfigError for a world without walls and hard faces.
    """
    if world.dimension != 2:
        raise CapabilityError(
            f"WallDistance looks forward and left, which needs a plane; the world is "
            f"{world.dimension}D. Give it two box lengths, or use another observable."
        )
    walls = compile_walls(world.walls, world.box, reach) if world.walls else None
    faces = _hard_faces(world)
    none, empty = np.zeros((0, 2)), np.zeros(0)
    if walls is None and not len(faces):
        raise ConfigError(
            "WallDistance: the world has neither walls nor hard faces; give it some, or leave the "
            "observable out."
        )
    start = np.concatenate([none if walls is None else walls.start, faces[:, 0]])
    end = np.concatenate([none if walls is None else walls.end, faces[:, 1]])
    half = np.concatenate([empty if walls is None else walls.half, np.zeros(len(faces))])
    return WallDistance(
        jnp.asarray(start, float),
        jnp.asarray(end, float),
        jnp.asarray(half, float),
        jnp.asarray(none if walls is None else walls.centre, float),
        jnp.asarray(empty if walls is None else walls.radius, float),
        jnp.asarray(empty if walls is None else walls.circle_half, float),
        jnp.asarray(reach, float),
    )


def _hard_faces(world: World) -> np.ndarray:
    """Start and end [S,2,2] µm of the hard faces of a box; longer than the box along open axes."""
    size, kinds = world.box.size, world.box.boundaries
    far = 10 * max(size)
    faces = []
    for axis, kind in enumerate(kinds):
        if kind != "hard":
            continue
        other = 1 - axis
        beyond = 0.0 if kinds[other] == "hard" else far
        for place in (0.0, size[axis]):
            ends = np.zeros((2, 2))
            ends[:, axis] = place
            ends[:, other] = (-beyond, size[other] + beyond)
            faces.append(ends)
    return np.asarray(faces).reshape(-1, 2, 2)
