"""Walls made ready for computing: faces cut where they meet, shared points, images. No JAX.

The energy of a colloid is that of every face, each with round ends, less that of every shared
point as often as a face too many ends there (inclusion and exclusion). So a face acts where the
perpendicular's foot lies inside it, a shared point acts once and only where no face does, and the
energy and its slope are continuous everywhere, however finely a wall is divided.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from swarmctl.core.errors import ConfigError
from swarmctl.core.maze import Maze
from swarmctl.core.wall_cutting import (
    Bools,
    Faces,
    Floats,
    Ints,
    cut_faces,
    groups,
    identify_points,
    image_shifts,
    join_straight,
    on_circles,
    shared_points,
    with_images,
)
from swarmctl.core.walls import Circle, Wall, segment_gaps

if TYPE_CHECKING:
    from swarmctl.core.world import Box


TOLERANCE = 1e-7
"""Points closer than this fraction of the box's longest side are one."""


@dataclass(frozen=True, eq=False)
class WallGeometry:
    """Faces, shared points and circles, with their images within `reach` of a periodic box.

    start, end [S,2] µm; half [S] µm, half thickness; one_sided bool [S]: the left side is free, the
    right one solid. point [P,2] µm with point_half [P] µm; weight [P]: how often its energy counts,
    0 or less; normal [P,2]: sum of the unit normals of its one-sided faces, towards the free side.
    centre [C,2], radius [C], circle_half [C] µm; side [C]: 1 colloids outside, -1 inside, 0 both.
    size [2] µm and periodic bool (2) of the box in the plane; reach in µm.
    """

    start: Floats
    end: Floats
    half: Floats
    one_sided: Bools
    point: Floats
    point_half: Floats
    weight: Floats
    normal: Floats
    centre: Floats
    radius: Floats
    circle_half: Floats
    side: Ints
    size: Floats
    periodic: tuple[bool, bool]
    reach: float


@lru_cache(maxsize=32)
def compile_walls(walls: tuple[Wall, ...], box: Box, reach: float = 0.0) -> WallGeometry:
    """Check walls against one another and the box, and cut them into faces and shared points.

    `reach` µm: farthest distance from a centre line at which a colloid's centre may feel it, the
    largest radius plus the largest half thickness; only images across periodic faces depend on it.
    Raises ConfigError for a wall outside the box, inside the solid of another, or so close to
    another that their surfaces overlap without their centre lines meeting.
    """
    tolerance = TOLERANCE * max(box.size)
    size = np.asarray(box.size[:2])
    _check_inside(walls, box, tolerance)
    faces, circles = _gather(walls, box)
    reach_all = reach + tolerance
    faces = with_images(faces, size, box.periodic, reach_all)
    centre, radius, circle_half, side, circle_owner = _circle_images(
        circles, walls, size, box.periodic, reach_all
    )
    faces = cut_faces(faces, tolerance)
    faces = _visible(faces, walls, size, box, tolerance)
    _check_hidden(walls, faces, size, box, tolerance)
    ids, faces = identify_points(faces, tolerance)
    _check_gaps(walls, faces, ids, (centre, radius, circle_half, circle_owner), tolerance)
    ring = on_circles(faces, ids, centre, radius, tolerance)
    faces, ids = join_straight(faces, ids, ring)
    point, point_half, weight, normal = shared_points(faces, ids, ring)
    return WallGeometry(
        start=faces.line[:, 0],
        end=faces.line[:, 1],
        half=faces.half,
        one_sided=faces.one_sided,
        point=point,
        point_half=point_half,
        weight=weight,
        normal=normal,
        centre=centre,
        radius=radius,
        circle_half=circle_half,
        side=side,
        size=size,
        periodic=(box.periodic[0], box.periodic[1]),
        reach=reach,
    )


def clearance(points: npt.ArrayLike, geometry: WallGeometry) -> Floats:
    """Distance in µm [M] of points [M,2 or 3] from the nearest surface, negative in the material.

    Infinite without walls. Exact within the geometry's reach of periodic faces.
    """
    p = np.asarray(points, np.float64)[:, :2]
    p = p - np.where(geometry.periodic, geometry.size * np.floor(p / geometry.size), 0)
    nearest = np.full(len(p), np.inf)
    best = np.full(len(p), np.inf)
    sign = np.ones(len(p))
    for start, end, half, one_sided in zip(
        geometry.start, geometry.end, geometry.half, geometry.one_sided, strict=True
    ):
        along = end - start
        raw = (p - start) @ along / (along @ along)
        delta = p - start - np.clip(raw, 0, 1)[:, None] * along
        distance = np.hypot(*delta.T)
        nearest = np.minimum(nearest, distance - half)
        closer = (distance < best) & ((raw > 0) & (raw < 1) if one_sided else True)
        best = np.where(closer, distance, best)
        normal = np.asarray([-along[1], along[0]])
        sign = np.where(closer, np.where(one_sided & (delta @ normal < 0), -1, 1), sign)
    for point, normal in zip(geometry.point, geometry.normal, strict=True):
        if not normal.any():
            continue
        delta = p - point
        distance = np.hypot(*delta.T)
        closer = distance <= best
        best = np.where(closer, distance, best)
        sign = np.where(closer, np.where(delta @ normal < 0, -1, 1), sign)
    nearest = np.where(sign < 0, -best, nearest)
    for centre, radius, half, side in zip(
        geometry.centre, geometry.radius, geometry.circle_half, geometry.side, strict=True
    ):
        out = np.hypot(*(p - centre).T) - radius
        nearest = np.minimum(nearest, (side * out if side else np.abs(out)) - half)
    return nearest


def _name(walls: Sequence[Wall], index: int) -> str:
    return f"wall {index} ({walls[index].kind})"


def _check_inside(walls: Sequence[Wall], box: Box, tolerance: float) -> None:
    size = np.asarray(box.size[:2])
    seen: set[Wall] = set()
    for index, wall in enumerate(walls):
        if wall in seen:
            raise ConfigError(f"{_name(walls, index)} is given twice; remove one.")
        seen.add(wall)
        if isinstance(wall, Circle):
            low, high = np.asarray(wall.centre) - wall.radius, np.asarray(wall.centre) + wall.radius
        elif isinstance(wall, Maze):
            low, high = np.asarray(wall.origin), np.asarray(wall.corner)
        else:
            ends = wall.faces(box).reshape(-1, 2)
            low, high = ends.min(axis=0), ends.max(axis=0)
        if (low < -tolerance).any() or (high > size + tolerance).any():
            raise ConfigError(
                f"{_name(walls, index)} lies outside the box: it reaches from "
                f"{tuple(low.tolist())} to {tuple(high.tolist())} µm, the box from (0, 0) to "
                f"{tuple(size.tolist())} µm; move it or enlarge the box."
            )


def _gather(walls: Sequence[Wall], box: Box) -> tuple[Faces, list[int]]:
    lines, half, one_sided, owner, circles = [np.zeros((0, 2, 2))], [], [], [], []
    for index, wall in enumerate(walls):
        if isinstance(wall, Circle):
            circles.append(index)
            continue
        faces = wall.faces(box)
        lines.append(faces)
        half += [wall.half] * len(faces)
        one_sided += [wall.one_sided] * len(faces)
        owner += [index] * len(faces)
    return Faces(
        np.concatenate(lines),
        np.asarray(half, np.float64),
        np.asarray(one_sided, bool),
        np.asarray(owner, np.int64),
    ), circles


def _circle_images(
    indices: list[int],
    walls: Sequence[Wall],
    size: Floats,
    periodic: Sequence[bool],
    reach: float,
) -> tuple[Floats, Floats, Floats, Ints, Ints]:
    """Centre, radius, half thickness, side and owner of circles and their images."""
    rows = []
    for index in indices:
        wall = walls[index]
        assert isinstance(wall, Circle)
        side = {"outside": 1, "inside": -1, "both": 0}[wall.side]
        for shift in (np.zeros(2), *image_shifts(size, periodic)):
            centre = np.asarray(wall.centre) + shift
            gap = centre - np.clip(centre, 0, size)
            if not shift.any() or (side >= 0 and np.hypot(*gap) <= wall.radius + reach):
                rows.append((*centre, wall.radius, wall.half, side, index))
    table = np.asarray(rows, np.float64).reshape(-1, 6)
    return (
        table[:, :2],
        table[:, 2],
        table[:, 3],
        table[:, 4].astype(np.int64),
        table[:, 5].astype(np.int64),
    )


def _fills(points: Floats, walls: Sequence[Wall], size: Floats, box: Box) -> Bools:
    wrapped = points - np.where(box.periodic[:2], size * np.floor(points / size), 0)
    filled = np.zeros(len(points), bool)
    for wall in walls:
        filled |= wall.fills(wrapped)
    return filled


def _visible(
    faces: Faces, walls: Sequence[Wall], size: Floats, box: Box, tolerance: float
) -> Faces:
    """Leave out faces with solid on both sides."""
    along = faces.line[:, 1] - faces.line[:, 0]
    normal = np.stack([-along[:, 1], along[:, 0]], axis=1) / np.hypot(*along.T)[:, None]
    middle, step = faces.line.mean(axis=1), 10 * tolerance * normal
    hidden = _fills(middle + step, walls, size, box) & _fills(middle - step, walls, size, box)
    return faces.take(~hidden)


def _check_hidden(
    walls: Sequence[Wall], faces: Faces, size: Floats, box: Box, tolerance: float
) -> None:
    shown = set(faces.owner.tolist())
    for index, wall in enumerate(walls):
        if isinstance(wall, Circle):
            turn = np.linspace(0, 2 * np.pi, 24, endpoint=False)
            ring = np.stack([np.cos(turn), np.sin(turn)], axis=1)
            sides = (
                _fills(np.asarray(wall.centre) + r * ring, walls, size, box)
                for r in (wall.radius - 10 * tolerance, wall.radius + 10 * tolerance)
            )
            visible = not np.logical_and(*sides).all()
        else:
            visible = index in shown
        if not visible:
            raise ConfigError(
                f"{_name(walls, index)} lies wholly in the solid of others; remove it, or change "
                "the side of the shape around it."
            )


def _check_gaps(
    walls: Sequence[Wall],
    faces: Faces,
    ids: Ints,
    circles: tuple[Floats, Floats, Floats, Ints],
    tolerance: float,
) -> None:
    """Refuse surfaces that overlap although their centre lines do not meet."""
    centre, radius, circle_half, circle_owner = circles
    thickest = max((0.0, *faces.half, *circle_half))
    if thickest == 0:
        return
    group = groups(ids)
    count = len(faces.line)

    def refuse(one: int, other: int, gap: float, needed: float) -> None:
        raise ConfigError(
            f"{_name(walls, one)} and {_name(walls, other)} are {gap:.4g} µm apart, closer than "
            f"the {needed:.4g} µm that their thickness fills; move them apart or let their centre "
            "lines meet."
        )

    for i in range(count):
        other = np.nonzero((group != group[i]) & (faces.half + faces.half[i] > 0))[0]
        other = other[other > i]
        gaps = segment_gaps(faces.line[i], faces.line[other])
        needed = faces.half[other] + faces.half[i]
        if (gaps < needed - tolerance).any():
            k = int((gaps - needed).argmin())
            refuse(int(faces.owner[i]), int(faces.owner[other[k]]), gaps[k], needed[k])
    for c in range(len(radius)):
        spot = np.stack([centre[c], centre[c] + [tolerance, 0]])
        near = segment_gaps(spot, faces.line)
        far = np.hypot(*(faces.line - centre[c]).transpose(2, 0, 1)).max(axis=1)
        gaps = np.maximum(near - radius[c], radius[c] - far)
        needed = faces.half + circle_half[c]
        joined = {int(g) for g in group[np.abs(gaps) <= 2 * tolerance]}
        joined |= {int(g) for g in group[gaps <= 0]}
        bad = (gaps > 0) & (gaps < needed - 2 * tolerance) & ~np.isin(group, list(joined))
        if bad.any():
            k = int(np.nonzero(bad)[0][0])
            refuse(int(circle_owner[c]), int(faces.owner[k]), gaps[k], needed[k])
        for d in range(c):
            apart = float(np.hypot(*(centre[c] - centre[d])))
            gap = max(apart - radius[c] - radius[d], abs(radius[c] - radius[d]) - apart)
            thick = circle_half[c] + circle_half[d]
            if 2 * tolerance < gap < thick - 2 * tolerance:
                refuse(int(circle_owner[c]), int(circle_owner[d]), gap, thick)
