"""Walls: straight segments, circles and polygons. Plain values, no JAX.

All walls are shapes in the plane; in a 3D box they extend along z without end. They live in the box
[0, L]: their centre lines may touch its faces, periodic ones too, where walls that meet are joined.
The surface of a wall with a thickness lies half of it from the centre line, with round ends.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import MISSING, dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

import numpy as np
import numpy.typing as npt

from swarmctl.core.config import key
from swarmctl.core.errors import ConfigError
from swarmctl.core.maze import Maze

if TYPE_CHECKING:
    from swarmctl.core.world import Box

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Point = tuple[float, float]
Side = Literal["outside", "inside", "both"]


def as_point(value: Any, where: str) -> Point:
    """Return two finite numbers as a tuple. Raises ConfigError."""
    try:
        point = tuple(float(x) for x in value)
    except (TypeError, ValueError):
        raise ConfigError(f"{where}: {value!r} is not a point; give two numbers in µm.") from None
    if len(point) != 2 or not all(math.isfinite(x) for x in point):
        raise ConfigError(
            f"{where}: {value!r} must be two finite numbers in µm (walls are shapes in the plane, "
            "which extend along z in 3D)."
        )
    return point[0], point[1]


def _check_thickness(thickness: float, where: str) -> None:
    if not (math.isfinite(thickness) and thickness >= 0):
        raise ConfigError(f"{where}: thickness must be at least 0 µm, got {thickness}.")


def _check_side(side: str, where: str) -> None:
    if side not in get_args(Side):
        raise ConfigError(f"{where}: side {side!r}; allowed: {', '.join(get_args(Side))}.")


@dataclass(frozen=True)
class Segment:
    """A straight wall that acts on both sides, with round ends."""

    kind: ClassVar[str] = "segment"
    start: Point = key(MISSING, "one end of the centre line", "um")
    end: Point = key(MISSING, "the other end", "um")
    thickness: float = key(0.0, "thickness", "um")

    def __post_init__(self) -> None:
        object.__setattr__(self, "start", as_point(self.start, "segment: start"))
        object.__setattr__(self, "end", as_point(self.end, "segment: end"))
        _check_thickness(self.thickness, "segment")
        if math.dist(self.start, self.end) == 0:
            raise ConfigError(f"segment: start and end are both {self.start} µm; move one of them.")

    @property
    def half(self) -> float:
        """Half thickness in µm."""
        return self.thickness / 2

    @property
    def one_sided(self) -> bool:
        """Whether one side of the faces is solid."""
        return False

    def faces(self, box: Box) -> Floats:
        """Start and end of every face [S,2,2] µm; one-sided ones have the free side on the left."""
        return np.asarray([[self.start, self.end]], np.float64)

    def fills(self, points: Floats) -> Bools:
        """Which points [M,2] µm lie on the solid side, thickness left out."""
        return np.zeros(len(points), bool)

    def outlines(self) -> list[Floats]:
        """Lines [P,2] µm of a drawing; closed ones end where they start."""
        start, end = np.asarray(self.start), np.asarray(self.end)
        if self.half == 0:
            return [np.stack([start, end])]
        angle = math.atan2(*(end - start)[::-1])
        turn = angle + math.pi / 2 + np.linspace(0, math.pi, 17)
        cap = self.half * np.stack([np.cos(turn), np.sin(turn)], axis=1)
        return [np.concatenate([start + cap, end - cap, start + cap[:1]])]


@dataclass(frozen=True)
class Circle:
    """A circle that colloids stay outside of (a pillar), inside of (a dish), or on either side."""

    kind: ClassVar[str] = "circle"
    centre: Point = key(MISSING, "centre", "um")
    radius: float = key(MISSING, "radius of the centre line", "um")
    side: Side = key("outside", "where colloids are: outside, inside or both")
    thickness: float = key(0.0, "thickness", "um")

    def __post_init__(self) -> None:
        object.__setattr__(self, "centre", as_point(self.centre, "circle: centre"))
        if not (math.isfinite(self.radius) and self.radius > 0):
            raise ConfigError(f"circle: radius must be positive and finite, got {self.radius} µm.")
        _check_thickness(self.thickness, "circle")
        _check_side(self.side, "circle")
        if self.side == "inside" and self.half >= self.radius:
            raise ConfigError(
                f"circle: a thickness of {self.thickness:g} µm fills a circle of radius "
                f"{self.radius:g} µm; take a thinner wall or side outside."
            )

    @property
    def half(self) -> float:
        """Half thickness in µm."""
        return self.thickness / 2

    def fills(self, points: Floats) -> Bools:
        """Which points [M,2] µm lie on the solid side, thickness left out."""
        distance = np.hypot(*(points - np.asarray(self.centre)).T)
        if self.side == "both":
            return np.zeros(len(points), bool)
        return distance < self.radius if self.side == "outside" else distance > self.radius

    def outlines(self) -> list[Floats]:
        """Lines [P,2] µm of a drawing; closed ones end where they start."""
        radii = {self.radius + (self.half if self.side != "inside" else -self.half)}
        if self.side == "both" and self.half < self.radius:
            radii.add(self.radius - self.half)
        turn = np.linspace(0, 2 * math.pi, 97)
        ring = np.stack([np.cos(turn), np.sin(turn)], axis=1)
        ring[-1] = ring[0]
        return [np.asarray(self.centre) + radius * ring for radius in sorted(radii)]


@dataclass(frozen=True)
class Polygon:
    """A closed polygon that colloids stay outside of, inside of, or on either side."""

    kind: ClassVar[str] = "polygon"
    corners: tuple[Point, ...] = key(MISSING, "corners in order, the first not repeated", "um")
    side: Side = key("outside", "where colloids are: outside, inside or both")

    def __post_init__(self) -> None:
        corners = tuple(as_point(c, f"polygon: corner {i}") for i, c in enumerate(self.corners))
        object.__setattr__(self, "corners", corners)
        _check_side(self.side, "polygon")
        if len(corners) < 3:
            raise ConfigError(f"polygon: at least 3 corners are needed, got {len(corners)}.")
        for i, corner in enumerate(corners):
            if corner == corners[i - 1]:
                raise ConfigError(
                    f"polygon: corner {i} repeats the one before it, {corner} µm; the edge has no "
                    "length. List every corner once, the first not again at the end."
                )
        self._check_crossings()

    def _check_crossings(self) -> None:
        edges, count = self._edges(), len(self.corners)
        tolerance = 1e-9 * float(np.ptp(edges.reshape(-1, 2), axis=0).max())
        for i in range(count):
            start, end = edges[i]
            arm = edges[(i + 1) % count, 1] - end
            back = end - start
            cross = back[0] * arm[1] - back[1] * arm[0]
            if abs(cross) <= tolerance * math.hypot(*back) and back @ arm < 0:
                raise ConfigError(
                    f"polygon: its outline runs back over itself at {tuple(map(float, end))} µm; "
                    "remove that corner."
                )
            others = [j for j in range(i + 2, count) if (j + 1) % count != i]
            gaps = segment_gaps(edges[i], edges[others]) if others else np.ones(0)
            if (gaps <= tolerance).any():
                j = others[int(gaps.argmin())]
                raise ConfigError(
                    f"polygon: the edge from corner {i} crosses or touches the edge from corner "
                    f"{j}; order the corners along the outline."
                )

    @property
    def half(self) -> float:
        """Half thickness in µm."""
        return 0.0

    @property
    def one_sided(self) -> bool:
        """Whether one side of the faces is solid."""
        return self.side != "both"

    def _edges(self) -> Floats:
        corners = np.asarray(self.corners)
        return np.stack([corners, np.roll(corners, -1, axis=0)], axis=1)

    def faces(self, box: Box) -> Floats:
        """Start and end of every face [S,2,2] µm; one-sided ones have the free side on the left."""
        edges = self._edges()
        (x, y), (x1, y1) = (
            edges[:, 0].T - edges[0, 0][:, None],
            edges[:, 1].T - edges[0, 0][:, None],
        )
        anticlockwise = np.sum(x * y1 - x1 * y) > 0
        return edges if anticlockwise == (self.side == "inside") else edges[:, ::-1]

    def fills(self, points: Floats) -> Bools:
        """Which points [M,2] µm lie on the solid side, thickness left out."""
        if self.side == "both":
            return np.zeros(len(points), bool)
        within = np.zeros(len(points), bool)
        x, y = points.T
        for (ax, ay), (bx, by) in self._edges():
            straddles = (ay > y) != (by > y)
            if ay != by:
                within ^= straddles & (x < ax + (y - ay) * (bx - ax) / (by - ay))
        return within if self.side == "outside" else ~within

    def outlines(self) -> list[Floats]:
        """Lines [P,2] µm of a drawing; closed ones end where they start."""
        return [np.asarray((*self.corners, self.corners[0]), np.float64)]


Wall = Segment | Circle | Polygon | Maze


def segment_gaps(one: Floats, others: Floats) -> Floats:
    """Distance in µm [S] of one straight line [2,2] from others [S,2,2]; 0 where they meet."""
    (a, b), (c, d) = one, (others[:, 0], others[:, 1])
    gaps = [
        _point_gaps(a, others),
        _point_gaps(b, others),
        _point_gaps(c, one[None]),
        _point_gaps(d, one[None]),
    ]

    def side(p: Floats, q: Floats, r: Floats) -> Floats:
        u, v = q - p, r - p
        return u[..., 0] * v[..., 1] - u[..., 1] * v[..., 0]

    crossing = (side(a, b, c) * side(a, b, d) < 0) & (side(c, d, a) * side(c, d, b) < 0)
    return np.where(crossing, 0.0, np.min(gaps, axis=0))


def _point_gaps(point: Floats, lines: Floats) -> Floats:
    start, along = lines[:, 0], lines[:, 1] - lines[:, 0]
    share = np.clip(((point - start) * along).sum(-1) / (along**2).sum(-1), 0, 1)
    return np.hypot(*(point - start - share[:, None] * along).T)


def solid(points: npt.ArrayLike, walls: Sequence[Wall], box: Box) -> Bools:
    """Which points [M,2] or [M,3] µm lie in the material of a wall, its thickness included.

    Points are wrapped into the box along periodic axes.
    """
    from swarmctl.core.wall_geometry import clearance, compile_walls

    return clearance(points, compile_walls(tuple(walls), box)) < 0


def outlines(walls: Sequence[Wall]) -> list[Floats]:
    """Lines [P,2] µm that draw the surfaces of walls; closed ones end where they start."""
    return [line for wall in walls for line in wall.outlines()]
