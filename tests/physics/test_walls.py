"""Walls: forces against closed forms, continuity, energy, crossings, grids, batches.

Tests named "exactly" need float64; they run in a process of their own.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from swarmctl.core import wall_geometry
from swarmctl.core.maze import Maze
from swarmctl.core.wall_geometry import clearance, compile_walls
from swarmctl.core.walls import Circle, Polygon, Segment, Wall
from swarmctl.core.world import Box
from swarmctl.physics.batching import batch_last
from swarmctl.physics.contacts import DEEPEST, OVERLAP, STIFFNESS, face_forces
from swarmctl.physics.walls import (
    WallParams,
    free_of_walls,
    push_off,
    wall_clearance,
    wall_crossings,
    wall_forces,
    wall_params,
)

X64 = bool(jax.config.jax_enable_x64)
exact = pytest.mark.skipif(not X64, reason="needs float64, see the last test")
OPEN = Box((100.0, 100.0), "open")
ENERGY = 0.3
RADIUS = 1.0


def params(*walls: Wall, box: Box = OPEN, radius: float = RADIUS) -> WallParams:
    thickest = max((wall.half for wall in walls), default=0)
    return wall_params(compile_walls(walls, box, radius + thickest))


def forces(
    walls: WallParams, points: np.ndarray, box: Box = OPEN, radius: float = RADIUS
) -> tuple[np.ndarray, np.ndarray]:
    """Forces [N,D] at points [N,D], with energy ENERGY, and the largest (radius/distance)²."""
    position = jnp.asarray(np.asarray(points, float).T)
    one = jnp.full(position.shape[1], radius, position.dtype)
    given = jnp.asarray(ENERGY)
    size = jnp.asarray(box.size)
    force, deepest = _forces(position, one, one, given, given, walls, size, box.periodic)
    return np.asarray(force).T, np.asarray(deepest)


_forces = jax.jit(wall_forces, static_argnums=7)
_crossings = jax.jit(wall_crossings, static_argnums=4)
_clearance = jax.jit(wall_clearance, static_argnums=3)


def wca(distance: np.ndarray | float) -> np.ndarray:
    """Force at a distance from a surface, as in Weeks, Chandler, Andersen (1971)."""
    distance = np.maximum(distance, DEEPEST * RADIUS)
    ratio = (RADIUS * 2 ** (-1 / 6) / distance) ** 6
    force = 24 * ENERGY * (2 * ratio**2 - ratio) / distance
    return np.where(distance < RADIUS, force, 0.0)


def crossings(walls: WallParams, start: np.ndarray, end: np.ndarray, box: Box = OPEN) -> np.ndarray:
    a, b = (jnp.asarray(np.asarray(x, float).T) for x in (start, end))
    return np.asarray(_crossings(a, b, walls, jnp.asarray(box.size), box.periodic))


def polyline(*points: tuple[float, float], thickness: float = 0.0) -> tuple[Segment, ...]:
    return tuple(Segment(a, b, thickness) for a, b in itertools.pairwise(points))


def test_a_straight_wall_is_a_hard_face() -> None:
    """The same forces and the same measure of overlap as the face of a box at x = 0."""
    x = np.linspace(0.05, 1.2, 40)
    points = np.stack([x, np.full_like(x, 50)], axis=1)
    force, deepest = forces(params(Segment((0.0, 0.0), (0.0, 100.0))), points)
    one, given = jnp.ones(40), jnp.asarray(ENERGY)
    size = jnp.asarray(OPEN.size)
    wanted, close = face_forces(jnp.asarray(points.T), one, one, given, given, size, (True, False))
    resolved = x >= DEEPEST
    np.testing.assert_allclose(force[resolved], np.asarray(wanted).T[resolved], rtol=3e-5)
    np.testing.assert_allclose(deepest, close, rtol=1e-5)


@pytest.mark.parametrize("thickness", [0.0, 2.0, 7.0])
def test_contact_is_at_radius_plus_half_thickness(thickness: float) -> None:
    """Zero there, stiffness 72 ε/radius² inside, on both sides and around the ends."""
    walls = params(Segment((30.0, 50.0), (70.0, 50.0), thickness))
    contact, overlap = RADIUS + thickness / 2, 2e-3
    for away, foot in (
        ((0, 1), (50, 50)),
        ((0, -1), (50, 50)),
        ((-1, 0), (30, 50)),
        ((0.6, 0.8), (70, 50)),
    ):
        unit, point = np.asarray(away, float), np.asarray(foot, float)
        force, _ = forces(walls, [point + (contact + d) * unit for d in (1e-3, -overlap)])
        np.testing.assert_allclose(force[0], 0, atol=1e-12)
        stiffness = STIFFNESS * ENERGY / RADIUS**2
        np.testing.assert_allclose(force[1], stiffness * overlap * unit, rtol=0.03, atol=2e-3)


def test_the_default_energy_is_that_of_a_hard_face() -> None:
    """max(kT, push x radius), whatever the thickness."""
    walls = params(Segment((30.0, 50.0), (70.0, 50.0), 4.0))
    position = jnp.asarray([[50.0], [52.9]])
    one = jnp.ones(1)

    def at(push: float, thermal: float, given: float | None) -> float:
        given_array = None if given is None else jnp.asarray(given)
        force, _ = wall_forces(
            position,
            one,
            push * one,
            jnp.asarray(thermal),
            given_array,
            walls,
            jnp.asarray(OPEN.size),
            (False, False),
        )
        return float(force[1, 0])

    assert at(0.5, 0.1, None) == pytest.approx(at(0, 0, 0.5), rel=1e-5)
    assert at(0.5, 2.0, None) == pytest.approx(at(0, 0, 2.0), rel=1e-5)


CORNERS = {
    "right": ((20.0, 50.0), (50.0, 50.0), (50.0, 20.0)),
    "acute": ((20.0, 50.0), (50.0, 50.0), (22.0, 42.0)),
    "obtuse": ((20.0, 50.0), (50.0, 50.0), (75.0, 41.0)),
    "nearly straight": ((20.0, 50.0), (50.0, 50.0), (80.0, 49.5)),
}


def outside_path(a: np.ndarray, v: np.ndarray, b: np.ndarray, distance: float) -> np.ndarray:
    """Points at a distance from the polyline a-v-b, around the convex side of its corner."""
    one, two = (v - a) / np.linalg.norm(v - a), (b - v) / np.linalg.norm(b - v)
    turn = math.atan2(one[0] * two[1] - one[1] * two[0], one @ two)
    sign = -np.sign(turn)  # the convex side
    n1, n2 = (sign * np.asarray([-u[1], u[0]]) for u in (one, two))
    angles = np.linspace(0, turn, 401)
    c, s = np.cos(angles), np.sin(angles)
    arc = np.stack([c * n1[0] - s * n1[1], s * n1[0] + c * n1[1]], axis=1)
    s_line = np.linspace(0, 1, 401)[:, None]
    first = a + s_line * (v - a) + distance * n1
    last = v + s_line * (b - v) + distance * n2
    return np.concatenate([first, v + distance * arc, last])


@exact
@pytest.mark.parametrize(
    "corner", [CORNERS[name] for name in ("right", "obtuse", "nearly straight")]
)
@pytest.mark.parametrize("thickness", [0.0, 1.5])
def test_around_a_convex_corner_exactly(
    corner: tuple[tuple[float, float], ...], thickness: float
) -> None:
    """At one distance from the surface the force has one size: the shared point acts once, and only
    where no face does.
    """
    walls = params(*polyline(*corner, thickness=thickness))
    a, v, b = (np.asarray(p) for p in corner)
    depth = 0.95
    path = outside_path(a, v, b, depth + thickness / 2)
    inner = np.linalg.norm(path - a, axis=1) > 2 + thickness  # not the free ends
    inner &= np.linalg.norm(path - b, axis=1) > 2 + thickness
    force, deepest = forces(walls, path[inner])
    np.testing.assert_allclose(np.linalg.norm(force, axis=1), wca(depth), rtol=1e-9)
    np.testing.assert_allclose(deepest, (RADIUS / depth) ** 2, rtol=1e-9)


@exact
@pytest.mark.parametrize("corner", CORNERS.values(), ids=CORNERS)
@pytest.mark.parametrize("side", ["segments", "outside"])
def test_forces_are_continuous_exactly(corner: tuple[tuple[float, float], ...], side: str) -> None:
    """Along circles around a corner, convex and reflex side, no step changes the force by more than
    the greatest slope of two WCA forces allows.
    """
    shape = polyline(*corner) if side == "segments" else (Polygon(corner, side=side),)
    walls, geometry = params(*shape), compile_walls(shape, OPEN)
    angles = np.linspace(0, 2 * np.pi, 8001)
    circle = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    points = (corner[1] + np.asarray([0.75, 0.9, 1.05, 1.6])[:, None, None] * circle).reshape(-1, 2)
    points = points[clearance(points, geometry) > 0.7]
    step = np.linalg.norm(np.diff(points, axis=0), axis=1)
    along = step < 2e-3  # not from one circle to the next, nor over what was left out
    force, _ = forces(walls, points)
    change = np.linalg.norm(np.diff(force, axis=0), axis=1)
    steepest = (wca(0.7) - wca(0.7 + 1e-6)) / 1e-6
    assert along.sum() > 8000
    assert (change[along] <= 2 * steepest * step[along]).all()
    assert change[along].max() > 0


@exact
@pytest.mark.parametrize("corner", CORNERS.values(), ids=CORNERS)
def test_no_jump_where_a_perpendicular_leaves_a_face_exactly(
    corner: tuple[tuple[float, float], ...],
) -> None:
    """On either side of the perpendicular through the corner to each face: equal within 1e-6."""
    walls = params(*polyline(*corner))
    a, v, b = (np.asarray(p) for p in corner)
    for other in (a, b):
        along = (other - v) / np.linalg.norm(other - v)
        normal = np.asarray([-along[1], along[0]])
        for sign in (1, -1):
            for distance in np.linspace(0.75, 1.1, 8):
                point = v + sign * distance * normal
                if clearance([point], compile_walls(polyline(*corner), OPEN))[0] < 0.6:
                    continue
                force, _ = forces(walls, [point + 1e-10 * along, point - 1e-10 * along])
                np.testing.assert_allclose(force[0], force[1], rtol=1e-6, atol=1e-6)


@exact
@pytest.mark.parametrize("corner", CORNERS.values(), ids=CORNERS)
@pytest.mark.parametrize("thickness", [0.0, 1.5])
def test_energy_is_conserved_along_a_closed_path_exactly(
    corner: tuple[tuple[float, float], ...], thickness: float
) -> None:
    """The work along an ellipse that dips into the force on both sides of a corner vanishes."""
    shape = polyline(*corner, thickness=thickness)
    walls, geometry = params(*shape), compile_walls(shape, OPEN)
    v = np.asarray(corner[1])
    tried = 0
    for out in np.linspace(0, 2 * np.pi, 20, endpoint=False):
        unit = np.asarray([np.cos(out), np.sin(out)])
        turn = np.linspace(0, 2 * np.pi, 20001)
        normal = np.asarray([-unit[1], unit[0]])
        oval = 1.3 * np.cos(turn)[:, None] * unit + 0.8 * np.sin(turn)[:, None] * normal
        for offset in np.linspace(1.9, 4.9, 13):
            path = v + offset * unit + oval
            lowest = clearance(path[::50], geometry).min()
            if 0.8 < lowest < 0.96:
                break
        else:
            continue
        tried += 1
        force, _ = forces(walls, path)
        work = 0.5 * ((force[1:] + force[:-1]) * np.diff(path, axis=0)).sum(axis=1)
        assert abs(work.sum()) < 1e-6 * np.abs(work).sum()
    assert tried > 3


@exact
@pytest.mark.parametrize("joined", [True, False])
@pytest.mark.parametrize("thickness", [0.0, 2.0])
def test_a_divided_wall_is_the_undivided_one_exactly(
    joined: bool, thickness: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However finely: at random places, at the shared points and straight above them."""
    ends = np.linspace((20.0, 31.0), (80.0, 57.0), 241)
    whole = params(Segment(tuple(ends[0]), tuple(ends[-1]), thickness))
    if not joined:
        monkeypatch.setattr(wall_geometry, "join_straight", lambda faces, ids, ring: (faces, ids))
    parts = polyline(*map(tuple, ends), thickness=thickness)
    compile_walls.cache_clear()
    divided = params(*parts)
    compile_walls.cache_clear()
    lines = divided.lines.shape[1]
    assert lines == (1 if joined else 240)
    rng = np.random.default_rng(1)
    along = (ends[-1] - ends[0]) / np.linalg.norm(ends[-1] - ends[0])
    normal = np.asarray([-along[1], along[0]])
    offsets = rng.uniform(0.7, 1.05, (700, 1)) + thickness / 2
    middle = ends[0] + rng.uniform(-0.01, 1.01, (459, 1)) * (ends[-1] - ends[0])
    points = np.concatenate([ends, middle]) + offsets * normal * rng.choice([-1, 1], (700, 1))
    wanted, close = forces(whole, points)
    got, closest = forces(divided, points)
    scale = np.abs(wanted).max()
    np.testing.assert_allclose(got, wanted, rtol=1e-6, atol=1e-9 * scale)
    np.testing.assert_allclose(closest, close, rtol=1e-6)


def test_inner_corner_adds_both_faces() -> None:
    """Where both perpendiculars' feet lie inside their faces, both push."""
    walls = params(*polyline((50.0, 90.0), (50.0, 50.0), (90.0, 50.0)))
    force, _ = forces(walls, [(50.9, 50.93)])
    np.testing.assert_allclose(force[0], [wca(0.9), wca(0.93)], rtol=1e-4)


def test_a_wall_that_ends_on_another_is_not_felt_behind_it() -> None:
    bar = Segment((20.0, 50.0), (80.0, 50.0))
    alone, joined = params(bar), params(bar, Segment((50.0, 50.0), (50.0, 80.0)))
    points = np.stack([np.linspace(47, 53, 61), np.full(61, 50 - 0.93)], axis=1)
    np.testing.assert_allclose(forces(joined, points)[0], forces(alone, points)[0], atol=2e-4)
    ring = Circle((50.0, 50.0), 20.0, "inside")
    alone, joined = params(ring), params(ring, Segment((70.0, 50.0), (60.0, 50.0)))
    angle = np.linspace(0.06, 0.5, 40)
    points = 50 + 19.05 * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    far = points[points[:, 1] > 51]
    np.testing.assert_allclose(forces(joined, far)[0], forces(alone, far)[0], atol=2e-4)


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("side", ["outside", "inside"])
def test_a_solid_pushes_outwards_from_within(side: str, turned: bool) -> None:
    """Slightly beyond the surface the sphere is pushed back, with the largest force there is."""
    corners = ((30.0, 30.0), (70.0, 30.0), (70.0, 60.0), (30.0, 60.0))
    shape = Polygon(corners[::-1] if turned else corners, side=side)
    out = -1 if side == "outside" else 1
    for depth in (0.0005, 0.1, 0.8, 1.5):
        points = [(50, 30 - out * depth), (30 - out * depth, 45)]
        force, deepest = forces(params(shape), np.asarray(points))
        largest = float(wca(0.0))
        np.testing.assert_allclose(force, [(0, out * largest), (out * largest, 0)], rtol=1e-3)
        assert (deepest > OVERLAP**-2).all()
    # on the free side as any face
    force, _ = forces(params(shape), [(50, 30 + out * 0.9)])
    np.testing.assert_allclose(force, [(0, out * wca(0.9))], rtol=1e-4)


def test_an_acute_solid_corner_pushes_away_from_its_outside() -> None:
    """Near a sharp tip, who touches one face is not mistaken for someone behind the other."""
    tip = Polygon(((50.0, 50.0), (20.0, 53.0), (20.0, 47.0)))
    points = np.stack([np.linspace(35, 55, 200), np.full(200, 52.2)], axis=1)
    geometry = compile_walls((tip,), OPEN)
    free = clearance(points, geometry) > 0.8
    force, _ = forces(params(tip), points[free])
    assert (force[:, 1] >= 0).all()
    inside = np.asarray([(49.0, 50.02), (49.0, 49.98), (40.0, 50.5)])
    force, _ = forces(params(tip), inside)
    assert (np.sign(force[:, 1]) == [1, -1, 1]).all()


def test_circles() -> None:
    """A pillar outside, a dish inside, a ring on both sides; also from beyond the line."""
    centre = np.asarray((50.0, 50.0))
    unit = np.asarray((0.6, 0.8))
    far = float(wca(0.0))
    for side, thickness, rho, wanted in (
        ("outside", 0.0, 20.95, wca(0.95)),
        ("outside", 2.0, 21.95, wca(0.95)),
        ("outside", 0.0, 19.9, far),
        ("inside", 0.0, 19.05, -wca(0.95)),
        ("inside", 2.0, 18.05, -wca(0.95)),
        ("inside", 0.0, 20.1, -far),
        ("both", 0.0, 20.95, wca(0.95)),
        ("both", 2.0, 18.05, -wca(0.95)),
        ("both", 0.0, 5.0, 0.0),
    ):
        walls = params(Circle(tuple(centre), 20.0, side, thickness))
        force, deepest = forces(walls, [centre + rho * unit])
        np.testing.assert_allclose(force[0], wanted * unit, rtol=2e-3, atol=1e-6)
        assert bool(deepest[0] > 1) == bool(wanted)


def test_walls_extend_along_z() -> None:
    box = Box((100.0, 100.0, 30.0), "open")
    shapes = (Segment((30.0, 50.0), (70.0, 50.0)), Circle((20.0, 20.0), 5.0))
    walls = params(*shapes, box=box)
    flat = np.asarray([(50.0, 50.9), (25.9, 20.0), (80.0, 80.0)])
    deep = np.column_stack([flat, [1.0, 15.0, 29.0]])
    two, _ = forces(params(*shapes), flat)
    three, _ = forces(walls, deep, box)
    np.testing.assert_allclose(three[:, :2], two, rtol=1e-6)
    assert (three[:, 2] == 0).all()
    assert crossings(walls, [(50, 51, 3)], [(50, 49, 9)], box).all()
    gap, away = _clearance(jnp.asarray(deep.T), walls, jnp.asarray(box.size), box.periodic)
    np.testing.assert_allclose(gap, [0.9, 0.9, math.hypot(10, 30)], rtol=1e-4)
    assert (np.asarray(away)[2] == 0).all()


PERIODIC = Box((60.0, 40.0), ("periodic", "periodic"))


def test_a_periodic_box_has_no_special_place() -> None:
    """Walls that touch or bridge the faces act as the same walls shifted to the middle."""
    middle = (
        Segment((20.0, 20.0), (40.0, 26.0)),
        Polygon(((25.0, 5.0), (35.0, 5.0), (35.0, 15.0), (25.0, 15.0))),
        Segment((30.0, 26.0 - 3.0), (30.0, 38.0)),
    )
    shift = np.asarray((30.0, 0.0))

    half = 23.0
    moved = (
        Segment((50.0, 20.0), (60.0, half)),
        Segment((0.0, half), (10.0, 26.0)),
        Polygon(((55.0, 5.0), (60.0, 5.0), (60.0, 15.0), (55.0, 15.0))),
        Polygon(((0.0, 5.0), (5.0, 5.0), (5.0, 15.0), (0.0, 15.0))),
        Segment((0.0, half), (0.0, 38.0)),
    )
    rng = np.random.default_rng(3)
    points = rng.uniform(0, (60, 40), (8000, 2))
    points = points[clearance(points, compile_walls(middle, PERIODIC, 2.0)) > 0.7]
    wanted, close = forces(params(*middle, box=PERIODIC), points, PERIODIC)
    assert (np.abs(wanted).max(axis=1) > 0).sum() > 50
    walls = params(*moved, box=PERIODIC)
    for images in ((0, 0), (2, -1)):  # positions need not be wrapped
        there = points + shift + np.asarray(images) * PERIODIC.size
        force, deepest = forces(walls, there, PERIODIC)
        np.testing.assert_allclose(force, wanted, rtol=1e-3, atol=5e-3)
        near = close > 0.5
        np.testing.assert_allclose(deepest[near], close[near], rtol=1e-3)
    assert crossings(walls, [(59.9, 30.0)], [(60.1, 30.0)], PERIODIC).all()
    assert crossings(walls, [(0.1, 30.0)], [(-0.1, 30.0)], PERIODIC).all()
    assert not crossings(walls, [(59.9, 39.0)], [(60.1, 39.0)], PERIODIC).any()


def test_a_channel_through_a_periodic_box_is_one_straight_face() -> None:
    box = Box((60.0, 40.0), ("periodic", "hard"))
    walls = params(Segment((0.0, 10.0), (60.0, 10.0)), box=box)
    assert walls.items.shape == (9, 1)
    x = np.linspace(0, 60, 50, endpoint=False)
    force, _ = forces(walls, np.stack([x, np.full(50, 10.9)], axis=1), box)
    np.testing.assert_allclose(force[:, 1], wca(0.9), rtol=1e-4)
    np.testing.assert_allclose(force[:, 0], 0, atol=1e-6)


def test_a_pillar_near_its_own_image_pushes_from_both_sides() -> None:
    box = Box((22.0, 40.0), ("periodic", "hard"))
    walls = params(Circle((11.0, 20.0), 10.5), box=box)
    force, _ = forces(walls, [(0.0, 20 + 3.0)], box)
    assert force[0, 0] == pytest.approx(0, abs=1e-4)
    assert force[0, 1] > 0


def random_maze(cells: int, seed: int) -> Maze:
    filled = np.random.default_rng(seed).random((cells, cells)) < 0.4
    return Maze(tuple("".join("#" if c else "." for c in row) for row in filled), cell=4.0)


@pytest.mark.parametrize("boundary", ["open", "periodic"])
def test_the_grid_gives_the_same_forces(boundary: str) -> None:
    box = Box((80.0, 80.0), boundary)
    shapes = (random_maze(20, 0), Circle((41.0, 43.0), 3.0))
    walls = params(*shapes, box=box)
    assert walls.table is not None
    rng = np.random.default_rng(1)
    points = (
        rng.uniform(0, 80, (3000, 2)) if boundary == "periodic" else rng.uniform(-3, 83, (3000, 2))
    )
    points = points[clearance(points, compile_walls(shapes, box, 1.0)) > -0.9]
    force, deepest = forces(walls, points, box)
    wanted, close = forces(dataclasses.replace(walls, table=None), points, box)
    np.testing.assert_allclose(force, wanted, rtol=1e-4, atol=1e-4 * np.abs(wanted).max())
    near = close > 1
    assert 100 < near.sum() < len(near)
    np.testing.assert_allclose(deepest[near], close[near], rtol=1e-5)
    assert (deepest[~near] <= 1).all()


def test_larger_spheres_than_the_reach_are_reported() -> None:
    walls = params(random_maze(20, 0), box=Box((80.0, 80.0), "open"))
    assert np.isinf(forces(walls, [(1.0, 1.0)], radius=1.5)[1]).all()
    walls = params(Segment((20.0, 20.0), (30.0, 30.0)))
    assert np.isfinite(forces(walls, [(1.0, 1.0)], radius=1.5)[1]).all()


@pytest.mark.parametrize("many", [False, True])
def test_every_argument_can_be_mapped(many: bool) -> None:
    """A batch over walls, radii and positions is the loop over its members."""
    box = Box((80.0, 80.0), "open")
    if many:
        base = params(random_maze(14, 0), Circle((60.0, 60.0), 2.0), box=box, radius=1.4)
        assert base.table is not None
        each = [
            dataclasses.replace(
                base,
                items=base.items.at[:2].add(shift),
                table=base.table.at[..., :2].add(shift),
                lines=base.lines + shift,
                discs=base.discs.at[:2].add(shift),
            )
            for shift in (0.0, 0.05, 0.1)
        ]
    else:
        sets = [
            (Segment((20.0, 20.0), (60.0, 60.0), 1.0 + i), Circle((20.0, 50.0), 5.0 + i, "both"))
            for i in range(3)
        ]
        each = [params(*shapes, box=box, radius=1.2) for shapes in sets]
    stacked = jax.tree.map(lambda *x: jnp.stack(x), *each)
    rng = np.random.default_rng(2)
    position = jnp.asarray(rng.uniform(0, 80, (3, 2, 200)))
    radius = jnp.asarray(rng.uniform(0.8, 1.2, (3, 200)))
    one, size = jnp.ones(200), jnp.asarray(box.size)

    def call(x: jax.Array, r: jax.Array, w: WallParams, s: jax.Array) -> tuple[jax.Array, ...]:
        force, deepest = wall_forces(x, r, s * 0.1, s[0], None, w, size_of(x), box.periodic)
        if many:
            return force, deepest, jnp.isfinite(deepest), deepest
        crossed = wall_crossings(x, x + 0.7, w, size_of(x), box.periodic)
        near, _ = wall_clearance(x, w, size_of(x), box.periodic)
        return force, deepest, crossed, near

    def size_of(x: jax.Array) -> jax.Array:
        return size.reshape(2, *(1,) * (x.ndim - 2))

    run = batch_last(call)
    force, deepest, crossed, near = jax.jit(jax.vmap(run, in_axes=(0, 0, 0, None)))(
        position, radius, stacked, one
    )
    alone = jax.jit(call)
    for i, walls in enumerate(each):
        wanted = alone(position[i], radius[i], walls, one)
        scale = float(jnp.abs(wanted[0]).max())
        np.testing.assert_allclose(force[i], wanted[0], rtol=1e-4, atol=1e-5 * scale)
        np.testing.assert_allclose(deepest[i], wanted[1], rtol=1e-5)
        assert (np.asarray(crossed[i]) == np.asarray(wanted[2])).all()
        np.testing.assert_allclose(near[i], wanted[3], rtol=1e-5, atol=1e-5)
    if not many:
        shared = jax.jit(jax.vmap(run, in_axes=(0, 0, None, None)))
        one_wall = shared(position, radius, each[0], one)
        np.testing.assert_allclose(one_wall[0][0], force[0], rtol=1e-4, atol=1e-3)


def truly_crosses(a: np.ndarray, b: np.ndarray, start: np.ndarray, end: np.ndarray) -> bool:
    """Whether two segments meet, in exact arithmetic."""
    (ax, ay), (bx, by), (px, py), (qx, qy) = (
        [Fraction(float(x)) for x in p] for p in (a, b, start, end)
    )

    def side(
        ox: Fraction, oy: Fraction, ux: Fraction, uy: Fraction, rx: Fraction, ry: Fraction
    ) -> int:
        value = (ux - ox) * (ry - oy) - (uy - oy) * (rx - ox)
        return (value > 0) - (value < 0)

    one = side(ax, ay, bx, by, px, py) * side(ax, ay, bx, by, qx, qy)
    two = side(px, py, qx, qy, ax, ay) * side(px, py, qx, qy, bx, by)
    return one <= 0 and two <= 0


def test_crossings_are_those_of_exact_arithmetic() -> None:
    """Random ways across a zigzag: never missed, and never seen where there is none, unless within
    rounding (here 1e-3 µm).
    """
    rng = np.random.default_rng(5)
    corners = np.asarray([(10, 50), (25, 60), (30, 40), (50, 50), (60, 49), (90, 70)], float)
    walls = params(*polyline(*map(tuple, corners)))
    start = rng.uniform(5, 95, (1500, 2)).astype(np.float32)
    # steps of all lengths
    end = (start + rng.normal(0, 1, (1500, 2)) * 10 ** rng.uniform(-1, 1.5, (1500, 1))).astype(
        np.float32
    )
    lines = list(itertools.pairwise(corners))
    wanted = [
        any(truly_crosses(a, b, p, q) for a, b in lines) for p, q in zip(start, end, strict=True)
    ]
    got = crossings(walls, start, end)
    assert sum(wanted) > 50
    assert (got == np.asarray(wanted)).all()


def test_no_gap_at_shared_points() -> None:
    """Straight through a corner, from all around, in the middle or at one end of the way."""
    corners = np.asarray([(11.3, 50.7), (50.1, 49.9), (43.7, 88.3)])
    walls = params(*polyline(*map(tuple, corners)))
    angle = np.linspace(0, 2 * np.pi, 999)
    unit = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    for size in (1e-2, 1.0, 30.0):
        for before, after in ((1, 1), (0.3, 1), (1, 0)):
            start, end = corners[1] - before * size * unit, corners[1] + after * size * unit
            assert crossings(walls, start, end).all()


def test_what_is_no_crossing() -> None:
    walls = params(
        Segment((40.0, 50.0), (60.0, 50.0)),
        Circle((20.0, 20.0), 5.0),
        Polygon(((70.0, 70.0), (80.0, 70.0), (75.0, 80.0))),
    )
    free = [
        ((10, 50), (39.9, 50)),  # in line with a wall, before it
        ((61, 50), (90, 50)),
        ((40, 50.1), (60, 50.1)),  # beside it
        ((12, 20), (20, 28)),  # past the circle
        ((18, 20), (22, 21)),  # within it
        ((72, 71), (78, 71)),  # within the polygon
        ((5, 5), (5, 5)),  # at rest
    ]
    met = [
        ((50, 51), (50, 49)),
        ((14, 20), (16, 20)),  # into the circle
        ((16, 20), (14, 20)),  # out of it
        ((14, 21), (26, 21)),  # through it
        ((68, 71), (73, 71)),  # into the polygon
        ((68, 71), (88, 71)),  # through it
        ((30, 50), (41, 50)),  # into the end of the wall
    ]
    assert not crossings(walls, [a for a, _ in free], [b for _, b in free]).any()
    assert crossings(walls, [a for a, _ in met], [b for _, b in met]).all()
    assert not crossings(walls, [(np.nan, 1.0)], [(2.0, 2.0)]).any()
    assert not crossings(params(), [(0, 0)], [(99, 99)]).any()


def test_steps_beyond_the_reach_count_as_crossings() -> None:
    box = Box((60.0, 40.0), "periodic")
    walls = params(Segment((20.0, 20.0), (30.0, 20.0)), box=box)
    assert crossings(walls, [(5, 5)], [(8, 5)], box).all()
    assert not crossings(walls, [(5, 5)], [(5.9, 5)], box).any()


def test_short_steps_are_known_to_be_free() -> None:
    """With what wall_forces returned, the answer is the same."""
    walls = params(Segment((40.0, 50.0), (60.0, 50.0)), Circle((20.0, 20.0), 5.0, thickness=1.0))
    rng = np.random.default_rng(8)
    size, one = jnp.asarray(OPEN.size), jnp.ones(400)
    for step in (0.01, 0.3, 3.0):
        start = jnp.asarray(rng.uniform((38, 47), (62, 53), (400, 2)).T)
        end = start + step * jnp.asarray(rng.normal(size=(2, 400)))
        _, deepest = _forces(start, one, one, one[0], None, walls, size, OPEN.periodic)
        args = (start, end, walls, size, OPEN.periodic)
        wanted = _crossings(*args)
        assert bool((_crossings(*args, one, deepest) == wanted).all())


def test_clearance_is_the_same_on_the_host_and_on_the_device() -> None:
    box = Box((80.0, 80.0), "open")
    shapes = (
        random_maze(10, 1),
        Circle((60.0, 60.0), 8.0, "outside", 1.0),
        Circle((60.0, 20.0), 8.0, "both", 1.0),
        Segment((70.0, 35.0), (75.0, 45.0), 2.0),
    )
    points = np.random.default_rng(0).uniform(0, 80, (2000, 2)).astype(np.float32)
    geometry = compile_walls(shapes, box, 1.0)
    size = jnp.asarray(box.size)
    gap, away = _clearance(jnp.asarray(points.T), wall_params(geometry), size, box.periodic)
    wanted = clearance(points, geometry)
    np.testing.assert_allclose(gap, wanted, atol=2e-4)
    np.testing.assert_allclose(np.linalg.norm(away, axis=0), 1, rtol=1e-4)
    # away is the gradient of the clearance, except on the lines where two walls are as near
    h = 1e-3
    ahead = clearance(points + h * np.asarray(away).T, geometry)
    assert np.mean(np.abs(ahead - wanted - h) < 0.05 * h) > 0.98


def test_push_off_frees_all_spheres() -> None:
    box = Box((80.0, 80.0), "periodic")
    rows = ("####################", *("#..####....##....#.#",) * 18, "####################")
    walls = params(Maze(rows, cell=4.0), Circle((46.0, 40.0), 2.0), box=box)
    size, radius = jnp.asarray(box.size), jnp.full(500, 0.9)
    position = jnp.asarray(np.random.default_rng(4).uniform(0, 80, (2, 500)))
    free = jax.jit(free_of_walls, static_argnums=4)
    assert not bool(free(position, radius, walls, size, box.periodic).all())

    def sweep(x: jax.Array) -> jax.Array:
        return push_off(x, radius, walls, size, box.periodic)

    position = jax.lax.fori_loop(0, 30, lambda _, x: sweep(x), position)
    assert bool(free(position, radius, walls, size, box.periodic).all())


def drive(time_step: float, steps: int, count: int) -> tuple[bool, float]:
    """Push colloids at top speed into a wall and a corner: was a wall crossed, and the deepest
    contact.
    """
    walls = params(
        *polyline((30.0, 80.0), (30.0, 30.0), (80.0, 30.0)),
        Segment((30.0, 60.0), (80.0, 60.0), 1.0),
    )
    friction, heat, speed = 0.0188, 0.00414, 5.0
    one, size = jnp.ones(count), jnp.asarray(OPEN.size)
    targets = jnp.asarray([(20.0, 20.0), (45.0, 20.0), (45.0, 70.0)])[jnp.arange(count) % 3].T
    shake = math.sqrt(2 * heat / friction * time_step)

    def step(i: jax.Array, carry: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        x, crossed, deepest, key = carry
        key, noise = jax.random.split(key)
        force, close = wall_forces(
            x, one, one * friction * speed, jnp.asarray(heat), None, walls, size, OPEN.periodic
        )
        towards = targets - x
        drift = speed * towards / jnp.sqrt((towards**2).sum(0)) + force / friction
        new = x + drift * time_step + shake * jax.random.normal(noise, x.shape)
        crossed |= wall_crossings(x, new, walls, size, OPEN.periodic, one, close).any()
        return new, crossed, jnp.maximum(deepest, close.max()), key

    start = jnp.asarray([(33.0, 33.0), (45.0, 33.0), (45.0, 57.0)])[jnp.arange(count) % 3].T
    initial = (start, jnp.asarray(False), jnp.asarray(0.0), jax.random.key(0))
    _, crossed, deepest, _ = jax.jit(lambda c: jax.lax.fori_loop(0, steps, step, c))(initial)
    return bool(crossed), float(deepest)


def test_nobody_crosses_a_wall_when_the_step_resolves_it() -> None:
    """10⁶ particle-steps at top speed; dt k/γ = 0.2 for 5 µm/s and 1 µm would be 0.56 ms."""
    crossed, deepest = drive(5e-4, 1000, 1000)
    assert not crossed
    assert 1 < deepest < OVERLAP**-2


def test_twenty_times_the_step_is_flagged() -> None:
    crossed, _ = drive(1e-2, 1000, 300)
    assert crossed


def test_compiles_fast() -> None:
    import time

    walls = params(
        *(
            Polygon(((10.0 + 20 * i, 20.0), (20.0 + 20 * i, 20.0), (15.0 + 20 * i, 30.0)))
            for i in range(4)
        )
    )
    one, size = jnp.ones(7), jnp.asarray(OPEN.size)

    def run(x: jax.Array) -> jax.Array:
        return wall_forces(x, one, one, one[0], None, walls, size, OPEN.periodic)[0]

    begun = time.process_time()
    jax.jit(run).lower(jnp.ones((2, 7))).compile()
    assert time.process_time() - begun < 8  # 1 s where nothing else runs


@pytest.mark.skipif(X64, reason="this is the float64 run")
def test_the_same_in_float64() -> None:
    """x64 is a choice for a whole process, so the tests named "exactly" run in another one."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-n0",
        "-p",
        "no:cacheprovider",
        "-k",
        "exactly",
    ]
    done = subprocess.run(
        [*command, str(Path(__file__))],
        env={**os.environ, "JAX_ENABLE_X64": "1"},
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
