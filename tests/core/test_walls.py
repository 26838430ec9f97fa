"""Walls as values: what is refused, mazes from text and images, solid regions, outlines."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from swarmctl.core.config import build, to_dict
from swarmctl.core.errors import ConfigError
from swarmctl.core.maze import Maze
from swarmctl.core.wall_geometry import clearance, compile_walls
from swarmctl.core.walls import Circle, Polygon, Segment, Wall, outlines, solid
from swarmctl.core.world import Box

BOX = Box((100.0, 80.0), "hard")
SQUARE = ((20.0, 20.0), (40.0, 20.0), (40.0, 40.0), (20.0, 40.0))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Segment((0, 0), (0, 0)), ["start and end"]),
        (lambda: Segment((0, 0), (1, 1), -1.0), ["thickness", "at least 0"]),
        (lambda: Segment((0, 0), (1, 1), math.nan), ["thickness"]),
        (lambda: Segment((0, math.nan), (1, 1)), ["start", "finite"]),
        (lambda: Segment((0, 0, 0), (1, 1)), ["start", "two"]),
        (lambda: Segment(3, (1, 1)), ["start", "two numbers"]),
        (lambda: Circle((1, 1), 0.0), ["radius", "positive"]),
        (lambda: Circle((1, 1), math.inf), ["radius", "finite"]),
        (lambda: Circle((1, 1), 1.0, "left"), ["side", "outside, inside, both"]),
        (lambda: Circle((1, 1), 1.0, "inside", 2.0), ["thickness", "fills"]),
        (lambda: Polygon(((0, 0), (1, 1))), ["at least 3 corners"]),
        (lambda: Polygon(((0, 0), (1, 1), (1, 1), (0, 1))), ["repeats"]),
        (lambda: Polygon((*SQUARE, SQUARE[0])), ["repeats", "not again"]),
        (lambda: Polygon(((0, 0), (2, 2), (2, 0), (0, 2))), ["crosses or touches", "order"]),
        (lambda: Polygon(((0, 0), (4, 0), (4, 4), (2, 0), (0, 4))), ["crosses or touches"]),
        (lambda: Polygon(((0, 0), (2, 0), (1, 0), (1, 1))), ["back over itself"]),
        (lambda: Polygon(SQUARE, "in"), ["side"]),
        (lambda: Maze(("#.", "#"), cell=1.0), ["equally long"]),
        (lambda: Maze(("#x",), cell=1.0), ["'x'", "allowed"]),
        (lambda: Maze(("##",), cell=1.0), ["both wall cells", "free cells"]),
        (lambda: Maze(("#.",), cell=-1.0), ["cell", "positive"]),
        (lambda: Maze(cell=1.0), ["either rows", "image"]),
        (lambda: Maze(("#.",), cell=1.0, threshold=2.0), ["threshold"]),
        (lambda: Maze.from_image("nowhere.png", 1.0), ["cannot read", "nowhere.png"]),
    ],
)
def test_bad_shapes_are_refused(make: object, words: list[str]) -> None:
    with pytest.raises(ConfigError) as error:
        make()  # type: ignore[operator]
    assert all(word in str(error.value) for word in words), error.value


@pytest.mark.parametrize(
    ("walls", "words"),
    [
        ([Segment((10, 10), (110, 10))], ["wall 0 (segment)", "outside the box"]),
        ([Segment((1, 1), (2, 2)), Circle((5, 40), 6.0)], ["wall 1 (circle)", "outside the box"]),
        ([Polygon(((-1, 0), (5, 0), (5, 5)))], ["(polygon)", "outside the box"]),
        ([Maze(("#." * 30,), cell=2.0)], ["(maze)", "outside the box"]),
        ([Circle((50, 40), 6.0), Circle((50, 40), 6.0)], ["given twice"]),
        (
            [Segment((10, 10), (50, 10), 2.0), Segment((10, 11.5), (50, 11.5), 2.0)],
            ["wall 0", "wall 1", "1.5 µm apart", "2 µm"],
        ),
        ([Segment((10, 10), (50, 10), 2.0), Circle((30, 20), 9.5)], ["0.5 µm apart"]),
        ([Circle((30, 30), 9, "outside", 2.0), Circle((50, 30), 10, thickness=2.0)], ["1 µm"]),
        ([Polygon(SQUARE), Segment((25, 25), (30, 30))], ["wall 1", "wholly in the solid"]),
        ([Polygon(SQUARE), Circle((30, 30), 5.0)], ["wall 1", "wholly in the solid"]),
        (
            [Polygon(SQUARE, "inside"), Circle((70, 40), 9.0, "inside")],
            ["wholly in the solid", "side"],
        ),
    ],
)
def test_walls_that_do_not_fit_are_refused(walls: list[Wall], words: list[str]) -> None:
    with pytest.raises(ConfigError) as error:
        compile_walls(tuple(walls), BOX)
    assert all(word in str(error.value) for word in words), error.value


def test_thick_walls_may_meet() -> None:
    """At an end, across one another, on a circle, and as a bent line of short pieces."""
    turn = np.linspace(0, 2, 60)
    bend = 50 + 10 * np.stack([np.cos(turn), np.sin(turn)], axis=1)
    pieces = [Segment(tuple(a), tuple(b), 3.0) for a, b in itertools.pairwise(bend)]
    walls = (
        *pieces,
        Segment((5, 5), (30, 5), 2.0),
        Segment((20, 1), (20, 30), 4.0),
        Segment((20, 30), (20, 40), 1.0),
        Circle((20, 50), 10.0, "both", 1.0),
    )
    geometry = compile_walls(walls, BOX)
    cross = np.hypot(*(geometry.point - (20, 5)).T) < 1e-6
    assert geometry.weight[cross].sum() == -3  # four faces meet
    on_ring = np.hypot(*(geometry.point - (20, 40)).T) < 1e-6
    assert geometry.weight[on_ring].sum() == -1


def test_walls_across_a_periodic_face_are_too_close_as_well() -> None:
    walls = (Segment((1, 10), (1, 40), 2.0), Segment((99.5, 10), (99.5, 40), 2.0))
    compile_walls(walls, BOX, 3.0)
    with pytest.raises(ConfigError, match=r"1\.5 µm apart"):
        compile_walls(walls, Box(BOX.size, "periodic"), 3.0)


def test_solids_merge() -> None:
    """Of solids that overlap or touch only the common surface is left."""
    left = Polygon(SQUARE)
    right = Polygon(((40.0, 20.0), (60.0, 20.0), (60.0, 40.0), (40.0, 40.0)))
    geometry = compile_walls((left, right), BOX)
    assert len(geometry.start) == 4
    assert np.hypot(*(geometry.end - geometry.start).T).sum() == pytest.approx(2 * (40 + 20))
    across = Polygon(((30.0, 30.0), (60.0, 25.0), (60.0, 35.0)))
    points = np.random.default_rng(0).uniform((15, 15), (65, 45), (4000, 2))
    inside = clearance(points, compile_walls((left, across), BOX)) < 0
    assert (inside == (left.fills(points) | across.fills(points))).all()


def test_solid_counts_thickness() -> None:
    walls = (Segment((10, 10), (20, 10), 2.0), Polygon(SQUARE), Circle((70, 40), 5, "both", 1.0))
    points = [(15, 10.9), (15, 11.1), (20.9, 10), (20.8, 10.8), (30, 30), (70, 40), (70, 45.4)]
    expected = [True, False, True, False, True, False, True]
    assert solid(points, walls, BOX).tolist() == expected
    high = np.column_stack([points, np.zeros(7)])
    assert solid(high, walls, Box((100.0, 80.0, 9.0))).tolist() == expected
    assert not solid(points, (), BOX).any()


def test_outlines_enclose_the_solid() -> None:
    """Area by the shoelace formula."""

    def area(line: np.ndarray) -> float:
        assert (line[0] == line[-1]).all()
        (x, y), (x1, y1) = line[:-1].T, line[1:].T
        return abs(float(np.sum(x * y1 - x1 * y))) / 2

    (capsule,) = outlines([Segment((10, 10), (20, 10), 2.0)])
    assert area(capsule) == pytest.approx(20 + math.pi, rel=5e-3)
    (line,) = outlines([Segment((10, 10), (20, 10))])
    assert line.tolist() == [[10, 10], [20, 10]]
    (disc,) = outlines([Circle((50, 50), 9.0, thickness=2.0)])
    assert area(disc) == pytest.approx(100 * math.pi, rel=2e-3)
    assert len(outlines([Circle((50, 50), 9.0, "both", 2.0)])) == 2
    (square,) = outlines([Polygon(SQUARE)])
    assert area(square) == 400
    ring = Maze(("####", "#..#", "####"), cell=2.0)
    assert sorted(area(line) for line in outlines([ring])) == [8, 48]


MAZE = Maze(
    (
        "..##..",
        "..#...",
        "......",
        ".#..#.",
    ),
    cell=5.0,
    origin=(10.0, 20.0),
)


def test_a_maze_has_long_faces_between_wall_and_free_cells() -> None:
    """The first row is on top; the free side is on the left of every face."""
    assert MAZE.fills(np.asarray([(22.0, 39.0), (17.0, 22.0), (12.0, 39.0)])).tolist() == [
        True,
        True,
        False,
    ]
    faces = MAZE.faces(BOX)
    along = faces[:, 1] - faces[:, 0]
    length = np.hypot(*along.T)
    # the hook of three cells has 6 sides and 8 cell lengths, the squares 4 each
    assert len(faces) == 6 + 4 + 4
    assert length.sum() == 5 * (8 + 4 + 4)
    left = np.stack([-along[:, 1], along[:, 0]], axis=1) / length[:, None]
    middle = faces.mean(axis=1)
    assert not MAZE.fills(middle + 0.1 * left).any()
    assert MAZE.fills(middle - 0.1 * left).all()


def test_a_maze_at_the_faces_of_a_box() -> None:
    """Behind a hard face there is nothing; a maze that fills a periodic box goes on."""
    maze = Maze(("#..", "...", "##."), cell=10.0)
    length = {}
    for kind in ("hard", "open", "periodic"):
        faces = maze.faces(Box((30.0, 30.0), kind))
        length[kind] = np.abs(faces[:, 1] - faces[:, 0]).sum()
    assert length == {"hard": 20 + 30, "open": 40 + 60, "periodic": 20 + 40 + 40 - 20}


def test_a_maze_from_an_image(tmp_path: Path) -> None:
    """Dark pixels are wall, the first row is on top, transparent pixels are free; the maze keeps
    its rows, so that a record needs no file.
    """
    pixels = np.full((3, 4, 4), 255, np.uint8)
    pixels[0, 1, :3] = 0
    pixels[2, 3, :3] = 100
    pixels[1, 1] = 0  # black but transparent
    Image.fromarray(pixels, "RGBA").save(tmp_path / "maze.png")
    maze = Maze.from_image(tmp_path / "maze.png", 2.0)
    assert maze.rows == (".#..", "....", "...#")
    assert Maze.from_image(tmp_path / "maze.png", 2.0, threshold=0.3).rows[2] == "...."
    again = build(Maze, to_dict(maze))
    assert again == maze
    table = {"image": str(tmp_path / "maze.png"), "cell": "2000 nm", "kind": "maze"}
    assert build(Maze, table) == maze


@pytest.mark.parametrize(
    "wall",
    [
        Segment((1.0, 2.0), (3.0, 4.0), 0.5),
        Circle((1.0, 2.0), 3.0, "both"),
        Polygon(SQUARE, "inside"),
        MAZE,
    ],
)
def test_shapes_are_hashable_and_survive_a_file(wall: Wall) -> None:
    assert build(type(wall), to_dict(wall)) == wall
    assert hash(wall) == hash(build(type(wall), to_dict(wall)))


def test_units_and_lists_are_read() -> None:
    wall = build(Segment, {"start": ["1 mm", 0], "end": [5, 5], "thickness": "500 nm"})
    assert wall == Segment((1000.0, 0.0), (5.0, 5.0), 0.5)
    assert hash(Polygon([[0, 0], [1, 0], [0, 1]])) == hash(Polygon(((0, 0), (1, 0), (0, 1))))  # type: ignore[arg-type]


def test_large_mazes_compile_fast() -> None:
    import time

    cells = np.random.default_rng(0).random((45, 45)) < 0.4
    maze = Maze(tuple("".join("#" if c else "." for c in row) for row in cells), cell=2.0)
    begun = time.process_time()
    geometry = compile_walls((maze, Circle((50.0, 50.0), 3.0)), Box((100.0, 100.0)), 1.0)
    assert len(geometry.start) > 1000
    assert time.process_time() - begun < 5  # 0.3 s where nothing else runs
