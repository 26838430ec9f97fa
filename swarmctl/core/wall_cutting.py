"""Cutting the faces of walls at one another, joining straight ones, and finding shared points."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Faces:
    """Faces while they are cut: line [S,2,2], half [S], one_sided [S], owner [S]."""

    line: Floats
    half: Floats
    one_sided: Bools
    owner: Ints

    def take(self, index: Ints | Bools) -> Faces:
        """Return some of the faces."""
        return Faces(self.line[index], self.half[index], self.one_sided[index], self.owner[index])


def image_shifts(size: Floats, periodic: Sequence[bool]) -> Iterator[Floats]:
    """Displacements to the images of the box, itself left out."""
    for steps in itertools.product(*((-1, 0, 1) if along else (0,) for along in periodic[:2])):
        if any(steps):
            yield np.asarray(steps) * size


def with_images(faces: Faces, size: Floats, periodic: Sequence[bool], reach: float) -> Faces:
    """Add the images across periodic faces that reach into the box."""
    line, index = [faces.line], [np.arange(len(faces.line))]
    for shift in image_shifts(size, periodic):
        moved = faces.line + shift
        low, high = moved.min(axis=1) - reach, moved.max(axis=1) + reach
        near = ((high >= 0) & (low <= size)).all(axis=1)
        line.append(moved[near])
        index.append(np.nonzero(near)[0])
    return Faces(np.concatenate(line), *_rest(faces, np.concatenate(index)))


def _rest(faces: Faces, index: Ints) -> tuple[Floats, Bools, Ints]:
    return faces.half[index], faces.one_sided[index], faces.owner[index]


def cut_faces(faces: Faces, tolerance: float) -> Faces:
    """Cut faces where others end on them or cross them."""
    if len(set(faces.owner.tolist())) < 2:
        return faces
    lines, parts, index = faces.line, [], []
    start, along = lines[:, 0], lines[:, 1] - lines[:, 0]
    length = np.hypot(*along.T)
    unit = along / length[:, None]
    for i in range(len(lines)):
        other = faces.owner != faces.owner[i]
        ends = (lines[other] - start[i]).reshape(-1, 2)
        on = np.abs(unit[i, 0] * ends[:, 1] - unit[i, 1] * ends[:, 0]) <= tolerance
        cuts = (ends @ unit[i])[on]
        cross = unit[i, 0] * unit[other, 1] - unit[i, 1] * unit[other, 0]
        slanted = np.abs(cross) > 1e-9
        apart, turn = (start[other] - start[i])[slanted], unit[other][slanted]
        here = (apart[:, 0] * turn[:, 1] - apart[:, 1] * turn[:, 0]) / cross[slanted]
        there = (apart[:, 0] * unit[i, 1] - apart[:, 1] * unit[i, 0]) / cross[slanted]
        crossed = (there > tolerance) & (there < length[other][slanted] - tolerance)
        cuts = np.sort(np.concatenate([cuts, here[crossed]]))
        cuts = cuts[(cuts > tolerance) & (cuts < length[i] - tolerance)]
        cuts = cuts[np.diff(cuts, prepend=-np.inf) > tolerance]
        corners = [lines[i, 0], *(start[i] + cuts[:, None] * unit[i]), lines[i, 1]]
        parts += list(itertools.pairwise(corners))
        index += [i] * (len(corners) - 1)
    return Faces(np.asarray(parts), *_rest(faces, np.asarray(index)))


def identify_points(faces: Faces, tolerance: float) -> tuple[Ints, Faces]:
    """Give ends that coincide the same number [S,2] and the same coordinates; drop doubles."""
    cells: dict[tuple[int, int], list[int]] = {}
    points: list[Floats] = []
    ids = np.zeros(faces.line.shape[:2], np.int64)
    for place in np.ndindex(*ids.shape):
        point = faces.line[place]
        i, j = (int(x) for x in np.floor(point / (4 * tolerance)))
        near = (
            k
            for di in (-1, 0, 1)
            for dj in (-1, 0, 1)
            for k in cells.get((i + di, j + dj), ())
            if np.abs(points[k] - point).max() <= 3 * tolerance
        )
        found = next(near, None)
        if found is None:
            found = len(points)
            points.append(point)
            cells.setdefault((i, j), []).append(found)
        ids[place] = found
    first: dict[tuple[int, int], int] = {}
    half, one_sided = faces.half.copy(), faces.one_sided.copy()
    keep = []
    for index in range(len(ids)):
        a, b = int(ids[index, 0]), int(ids[index, 1])
        if a == b:
            continue
        ordered = (min(a, b), max(a, b))
        kept = first.setdefault(ordered, index)
        if kept == index:
            keep.append(index)
            continue
        half[kept] = max(half[kept], half[index])
        if one_sided[index] and not one_sided[kept]:
            one_sided[kept], ids[kept] = True, (a, b)
    ids = ids[np.asarray(keep, np.int64)]
    line = np.asarray(points).reshape(-1, 2)[ids]
    chosen = np.asarray(keep, np.int64)
    return ids, Faces(line, half[chosen], one_sided[chosen], faces.owner[chosen])


def groups(ids: Ints) -> Ints:
    """Number [S] of the connected group that every face belongs to."""
    parent = list(range(int(ids.max(initial=-1)) + 1))

    def root(a: int) -> int:
        while parent[a] != a:
            parent[a] = parent[parent[a]]
            a = parent[a]
        return a

    for a, b in ids.tolist():
        parent[root(a)] = root(b)
    return np.asarray([root(a) for a, _ in ids.tolist()], np.int64)


def on_circles(
    faces: Faces, ids: Ints, centre: Floats, radius: Floats, tolerance: float
) -> dict[int, int]:
    """How many circles pass through a point, where any does."""
    ring: dict[int, int] = {}
    if len(radius) == 0:
        return ring
    points, index = faces.line.reshape(-1, 2), ids.reshape(-1)
    unique, first = np.unique(index, return_index=True)
    distance = np.hypot(*(points[first][:, None] - centre).transpose(2, 0, 1))
    counts = (np.abs(distance - radius) <= 2 * tolerance).sum(axis=1)
    return {int(k): int(n) for k, n in zip(unique, counts, strict=True) if n}


def join_straight(faces: Faces, ids: Ints, ring: dict[int, int]) -> tuple[Faces, Ints]:
    """Join two faces in line with one another where nothing else ends."""
    line, ends = faces.line.copy(), ids.copy()
    at: dict[int, list[int]] = {}
    for index, pair in enumerate(ends.tolist()):
        for k in pair:
            at.setdefault(k, []).append(index)
    alive = np.ones(len(line), bool)
    for k, faces_here in at.items():
        if len(faces_here) != 2 or k in ring:
            continue
        i, j = faces_here
        if ends[i, 1] != k:  # let i end and j begin here
            i, j = j, i
        if not (faces.one_sided[i] or faces.one_sided[j]):
            if ends[i, 1] != k:
                line[i], ends[i] = line[i, ::-1].copy(), ends[i, ::-1].copy()
            if ends[j, 0] != k:
                line[j], ends[j] = line[j, ::-1].copy(), ends[j, ::-1].copy()
        same = faces.half[i] == faces.half[j] and faces.one_sided[i] == faces.one_sided[j]
        if not same or ends[i, 1] != k or ends[j, 0] != k:
            continue
        one, two = line[i, 1] - line[i, 0], line[j, 1] - line[j, 0]
        cross = one[0] * two[1] - one[1] * two[0]
        if one @ two <= 0 or abs(cross) > 1e-9 * np.hypot(*one) * np.hypot(*two):
            continue
        line[i, 1], ends[i, 1], alive[j] = line[j, 1], ends[j, 1], False
        there = at[int(ends[j, 1])]
        there[there.index(j)] = i
    result = Faces(line, faces.half, faces.one_sided, faces.owner)
    return result.take(alive), ends[alive]


def shared_points(
    faces: Faces, ids: Ints, ring: dict[int, int]
) -> tuple[Floats, Floats, Floats, Floats]:
    """Points, half thickness, weights and normals where the energy of faces counts too often."""
    along = faces.line[:, 1] - faces.line[:, 0]
    unit = along / np.hypot(*along.T)[:, None]
    normals = np.stack([-unit[:, 1], unit[:, 0]], axis=1) * faces.one_sided[:, None]
    halves: dict[int, list[float]] = {}
    normal: dict[int, Floats] = {}
    where: dict[int, Floats] = {}
    for index, pair in enumerate(ids.tolist()):
        for end, k in enumerate(pair):
            halves.setdefault(k, []).append(float(faces.half[index]))
            normal[k] = normal.get(k, np.zeros(2)) + normals[index]
            where[k] = faces.line[index, end]
    any_solid = bool(faces.one_sided.any())
    rows = []
    for k, thick in halves.items():
        # Of several at one point the thickest counts; a circle there counts with its own energy.
        extra = sorted(thick) if k in ring else sorted(thick)[:-1]
        if not extra and any_solid:
            rows.append((*where[k], thick[0], 0.0, *normal[k]))
        for half, same in itertools.groupby(extra):
            rows.append((*where[k], half, -float(len(list(same))), *normal[k]))
    table = np.asarray(rows, np.float64).reshape(-1, 6)
    return table[:, :2], table[:, 2], table[:, 3], table[:, 4:]
