"""Placement: no overlaps, the right region, uniform at low density, isotropic; refusals."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytest
from scipy import stats

from swarmctl.core.errors import PlacementError
from swarmctl.core.world import Box, Placement, Species, World
from swarmctl.engines.jax_engine import JaxEngine
from swarmctl.physics.parameters import motion_params
from swarmctl.physics.placement import check_points, place

Placed = tuple[np.ndarray, np.ndarray, np.ndarray]
P_MIN = 1e-3


@functools.cache
def placer(world: World) -> Callable[[jax.Array], Any]:
    params = motion_params(world)
    return jax.jit(jax.vmap(lambda key: place(key, world, params)))


def placed(world: World, swarms: int, seed: int = 0) -> Placed:
    """Positions [S,N,D], directors [S,N,D] and overlap flags [S] of many swarms."""
    found = placer(world)(jax.random.split(jax.random.key(seed), swarms))
    position, director = np.asarray(found.position, float), np.asarray(found.director, float)
    return position, director, np.asarray(found.overlap)


def smallest_gap(position: np.ndarray, world: World) -> float:
    """Smallest surface distance of any pair in any swarm, across periodic faces."""
    radius = np.array([world.species[s].radius for s in world.species_of_slot])
    delta = position[:, :, None] - position[:, None]
    size = np.asarray(world.box.size)
    delta -= np.where(world.box.periodic, size * np.round(delta / size), 0)
    gap = np.sqrt((delta**2).sum(-1)) - radius[:, None] - radius
    gap[:, np.arange(len(radius)), np.arange(len(radius))] = np.inf
    return float(gap.min())


def dense_world(case: str) -> World:
    """Worlds filled to 40 % (2D) or 20 % (3D), with two sizes of colloids."""

    def both(placement: Placement, small: int, large: int) -> tuple[Species, ...]:
        return (
            Species("small", small, 1.0, placement=placement),
            Species("large", large, 1.7, placement=placement),
        )

    return {
        "periodic box": World(Box((20.0, 14.0)), species=both(Placement(), 20, 6)),
        "hard box": World(Box((22.0, 16.0), "hard"), species=both(Placement(), 20, 6)),
        "mixed box": World(
            Box((12.0, 10.0, 11.0), ("periodic", "hard", "open")),
            species=both(Placement(), 25, 6),
        ),
        "disc": World(Box(), species=both(Placement("ball", radius=9.0), 20, 6)),
        "ring": World(Box(), species=both(Placement("ball", radius=14.0, inner_radius=8.0), 30, 8)),
        "ball": World(Box((90.0,) * 3), species=both(Placement("ball", radius=6.0), 25, 6)),
        "disc across a face": World(
            Box((40.0, 40.0)),
            species=both(Placement("ball", centre=(1.0, 39.0), radius=9.0), 20, 6),
        ),
    }[case]


@pytest.mark.parametrize(
    "case", ["periodic box", "hard box", "mixed box", "disc", "ring", "ball", "disc across a face"]
)
def test_no_overlap_and_inside_the_region(case: str) -> None:
    world = dense_world(case)
    position, director, overlap = placed(world, 40)
    assert not overlap.any()
    assert smallest_gap(position, world) >= -2e-5  # rounding of float32 differences
    np.testing.assert_allclose(np.linalg.norm(director, axis=-1), 1, atol=1e-6)
    radius = np.array([world.species[s].radius for s in world.species_of_slot])[:, None]
    placement, size = world.species[0].placement, np.asarray(world.box.size)
    if placement.region == "box":
        hard = np.array([kind == "hard" for kind in world.box.boundaries])
        inside = (position >= radius - 1e-5) & (position <= size - radius + 1e-5)
        assert inside[..., hard].all()
        assert ((position >= 0) & (position <= size))[..., ~np.array(world.box.periodic)].all()
    else:
        centre = np.asarray(placement.centre) if placement.centre else size / 2
        distance = np.linalg.norm(position - centre, axis=-1)
        assert placement.radius is not None
        assert distance.max() <= placement.radius * (1 + 1e-5)
        assert distance.min() >= placement.inner_radius * (1 - 1e-5)


@pytest.mark.parametrize("dimension", [2, 3])
@pytest.mark.parametrize("inner", [0.0, 20.0])
def test_balls_are_filled_uniformly_at_low_density(dimension: int, inner: float) -> None:
    """r^d is uniform between its bounds and the direction isotropic (Kolmogorov-Smirnov)."""
    outer = 40.0
    species = Species(
        count=4, radius=0.5, placement=Placement("ball", radius=outer, inner_radius=inner)
    )
    world = World(Box((200.0,) * dimension), species=(species,))
    position, director, _ = placed(world, 2000)
    out = (position - 100).reshape(-1, dimension)
    distance = np.linalg.norm(out, axis=-1)
    share = (distance**dimension - inner**dimension) / (outer**dimension - inner**dimension)
    assert stats.kstest(share, "uniform").pvalue > P_MIN
    for unit in (out / distance[:, None], director.reshape(-1, dimension)):
        assert_isotropic(unit)


def assert_isotropic(unit: np.ndarray) -> None:
    """In 2D the angle is uniform; in 3D every Cartesian component is (Archimedes)."""
    if unit.shape[1] == 2:
        angle = np.arctan2(unit[:, 1], unit[:, 0]) / (2 * np.pi) + 0.5
        assert stats.kstest(angle, "uniform").pvalue > P_MIN
    else:
        for component in unit.T:
            assert stats.kstest((component + 1) / 2, "uniform").pvalue > P_MIN
    # no order of second degree either: <n_i n_j> = delta_ij/d
    d, n = unit.shape[1], len(unit)
    second = unit.T @ unit / n
    assert np.abs(second - np.eye(d) / d).max() < 4 * math.sqrt(0.5 / n)


@pytest.mark.parametrize("boundary", ["periodic", "hard"])
def test_boxes_are_filled_uniformly_at_low_density(boundary: str) -> None:
    radius, size = 0.5, np.array([60.0, 30.0])
    world = World(Box(tuple(size), boundary), species=(Species(count=4, radius=radius),))
    position, _, _ = placed(world, 2000)
    margin = radius if boundary == "hard" else 0.0
    share = (position.reshape(-1, 2) - margin) / (size - 2 * margin)
    for axis in range(2):
        assert stats.kstest(share[:, axis], "uniform").pvalue > P_MIN
    cells = np.floor(share * 5).astype(int).clip(0, 4)
    assert stats.chisquare(np.bincount(cells @ [5, 1], minlength=25)).pvalue > P_MIN


def test_swarms_differ_with_the_key_and_only_with_it() -> None:
    world = dense_world("disc")
    first, again = placed(world, 3, seed=5), placed(world, 3, seed=5)
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)
    assert np.abs(first[0][0] - first[0][1]).max() > 0.1
    assert np.abs(first[0] - placed(world, 3, seed=6)[0]).max() > 0.1


def test_points_and_directors_are_taken_as_they_are() -> None:
    points, directors = ((10.0, 20.0), (30.0, 5.0)), ((0.0, -2.0), (3.0, 4.0))
    fixed = Species(
        "fixed", 2, 2.0, placement=Placement("points", positions=points, directors=directors)
    )
    loose = Species("loose", 30, 1.0)
    world = World(Box((40.0, 25.0)), species=(fixed, loose))
    position, director, overlap = placed(world, 5)
    assert not overlap.any()
    np.testing.assert_array_equal(position[:, :2], np.broadcast_to(points, (5, 2, 2)))
    np.testing.assert_allclose(director[:, :2], np.broadcast_to([(0, -1), (0.6, 0.8)], (5, 2, 2)))
    assert smallest_gap(position, world) >= -2e-5


@pytest.mark.parametrize("points", [((5.0, 5.0), (6.9, 5.0)), ((0.5, 5.0), (19.0, 5.0))])
def test_overlapping_points_are_refused(points: tuple) -> None:
    """The second pair overlaps across a periodic face."""
    species = Species(count=2, placement=Placement("points", positions=points))
    with pytest.raises(PlacementError, match="overlap by"):
        check_points(World(Box((20.0, 10.0)), species=(species,)))
    check_points(World(Box((20.0, 10.0)), species=(species,), contacts=False))


def test_a_point_that_sticks_out_of_a_hard_box_is_refused() -> None:
    species = Species(count=1, placement=Placement("points", positions=((5.0, 9.5),)))
    with pytest.raises(PlacementError, match="sticks out"):
        check_points(World(Box((20.0, 10.0), "hard"), species=(species,)))
    check_points(World(Box((20.0, 10.0)), species=(species,)))


@pytest.mark.parametrize(
    ("box", "placement", "count"),
    [
        (Box((20.0, 20.0)), Placement(), 120),
        (Box(), Placement("ball", radius=9.0), 80),
        (Box(), Placement("ball", radius=9.0, inner_radius=8.0), 60),
        (Box((10.0, 10.0, 10.0)), Placement(), 150),
    ],
)
def test_what_cannot_fit_is_refused_before_anything_runs(
    box: Box, placement: Placement, count: int
) -> None:
    with pytest.raises(PlacementError, match="do not fit"):
        World(box, species=(Species(count=count, radius=1.0, placement=placement),))


def test_what_two_species_make_impossible_is_found_at_reset() -> None:
    """Each kind alone fits in the disc, both together do not."""
    placement = Placement("ball", radius=4.0)
    species = tuple(Species(name, 15, 1.0, placement=placement) for name in ("a", "b"))
    engine = JaxEngine(World(species=species, time_step=1e-4), 1e-3)
    with pytest.raises(PlacementError, match="could not be placed"):
        engine.reset(0)


@pytest.mark.parametrize("share", [0.69, 0.6])
def test_what_the_world_accepts_can_be_placed(share: float) -> None:
    """Up to the 70 % (2D) that a world admits for one kind, relaxation succeeds nearly always."""
    count = int(share * 400 / math.pi)
    world = World(Box((20.0, 20.0)), species=(Species(count=count, radius=1.0),))
    _, _, overlap = placed(world, 8)
    assert overlap.mean() <= 0.25
