"""Pictures of worlds show walls, bodies, spheroids and flows where they are, true to scale."""

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from swarmctl.core.bodies import Body, Cross, Disc, Ngon, Rod
from swarmctl.core.errors import ConfigError
from swarmctl.core.species import Species
from swarmctl.core.walls import Circle, Segment
from swarmctl.core.world import Box, World
from swarmctl.viz import shapes, style
from swarmctl.viz.frame import FrameRenderer
from swarmctl.viz.scene import BodyShape, Scene
from swarmctl.viz.still import still
from swarmctl.viz.world import body_shapes, world_scene

PAPER = np.array([255, 255, 255])


def renderer(size=(100.0, 100.0), periodic=(True, True), **changes):
    return FrameRenderer(Scene(size, periodic, np.ones(1), **changes), (400, 400))


def colour(picture, frame, points):
    columns, rows = np.rint(frame.to_pixel(np.asarray(points, float))).astype(int).T
    return picture[rows, columns].astype(int)


def draw(frame, **changes):
    return frame.draw(np.array([[50.0, 50.0]]), np.array([[1.0, 0.0]]), time=0.0, **changes)


def near(rgb, name):
    return np.abs(rgb - 255 * np.array(to_rgb(name))).max(axis=-1) < 12


def test_walls_are_filled_where_they_are_solid():
    box = Box((100.0, 100.0), "open")
    walls = (
        Circle((30.0, 30.0), 12.0),
        Segment((60.0, 80.0), (90.0, 80.0), thickness=6.0),
    )
    scene = world_scene(World(box, species=(Species(count=1),), walls=walls))
    frame = FrameRenderer(scene, (400, 400))
    picture = frame.draw(np.array([[50.0, 50.0]]), np.array([[1.0, 0.0]]), time=0.0)
    solid = colour(picture, frame, [[30, 30], [38, 30], [30, 21], [75, 80], [75, 78.5]])
    free = colour(picture, frame, [[44, 30], [30, 45], [75, 85], [57, 86], [10, 90]])
    assert near(solid, style.WALL).all()
    assert (free == PAPER).all()


@pytest.mark.parametrize("aspect", [3.0, 0.4])
@pytest.mark.parametrize("angle", [0.0, 0.7])
def test_a_spheroid_is_an_ellipse_along_its_director(aspect, angle):
    frame = renderer(aspects=np.array([aspect]), species_names=("a",))
    frame.scene.radii[0] = 8.0
    frame = FrameRenderer(frame.scene, (400, 400))
    n = np.array([np.cos(angle), np.sin(angle)])
    across = np.array([-n[1], n[0]])
    picture = frame.draw(np.array([[50.0, 50.0]]), n[None], time=0.0)
    for axis, half in ((n, 8 * aspect), (across, 8.0)):
        inside = [50 + s * 0.9 * half * axis for s in (-1, 1)]
        beyond = [50 + s * 1.1 * half * axis + 2 * s * axis for s in (-1, 1)]
        assert (colour(picture, frame, inside) != PAPER).any(axis=-1).all()
        assert (colour(picture, frame, beyond) == PAPER).all()


def test_the_shadow_of_a_spheroid_follows_its_tilt():
    # Along z one sees its width only; in the plane its whole length.
    director = np.array([[0, 0, 2.0], [3.0, 0, 0], [1.0, 0, 1.0], [np.nan] * 3, [0, 0, 0]])
    shadow = shapes.projected_aspect(np.full(5, 3.0), director)
    np.testing.assert_allclose(shadow, [1, 3, np.sqrt(5), 1, 1])
    planar = shapes.projected_aspect(np.full(2, 3.0), np.array([[0.0, 1.0], [0.0, 0.0]]))
    np.testing.assert_allclose(planar, [3, 1])


def test_a_rod_is_as_thick_as_its_beads_and_goes_on_behind_a_periodic_face():
    rod = BodyShape(4.0, ((0, 1),), mark=False)
    frame = renderer(bodies=(rod,))
    picture = draw(frame, beads=np.array([[-15.0, 20.0], [10.0, 20.0]]))
    fill = style.BODY_COLOURS[0]
    on = colour(picture, frame, [[3, 20], [3, 22.5], [12.5, 20], [97, 20], [84, 22.5]])
    off = colour(picture, frame, [[3, 26], [16, 20], [78, 20], [97, 14]])
    assert near(on, fill).all()
    assert (off == PAPER).all()
    # The next frame does not keep it, nor does one in which its place is not known.
    for beads in (None, np.full((2, 2), np.nan)):
        assert (colour(draw(frame, beads=beads), frame, [[3, 20], [97, 20]]) == PAPER).all()


def test_beads_of_shapes_are_joined_along_their_outline():
    shapes_of = body_shapes((Body("c", Cross()), Body("d", Disc()), Body("t", Ngon(), count=2)))
    assert [shape.closed for shape in shapes_of] == [False, True, True, True]
    assert [shape.kind for shape in shapes_of] == [0, 1, 2, 2]
    everything = np.concatenate([shape.beads for shape in shapes_of])
    np.testing.assert_array_equal(everything, np.arange(len(everything)))
    for body in (Body("r", Rod()), Body("c", Cross()), Body("d", Disc()), Body("t", Ngon())):
        beads = body.shape.outline()
        (shape,) = body_shapes((body,))
        for line in shape.lines:
            # Joined beads touch: no line crosses the shape.
            steps = np.linalg.norm(np.diff(beads[list(line)], axis=0), axis=1)
            assert steps.max() < 1.6 * body.shape.diameter


def test_arrows_show_the_flow_and_shun_walls():
    still_fluid = draw(renderer(flow=lambda points: np.zeros_like(points)))
    flowing = draw(renderer(flow=lambda points: np.tile([3.0, 0.0], (len(points), 1))))
    walled = draw(
        renderer(
            flow=lambda points: np.tile([3.0, 0.0], (len(points), 1)),
            solid=lambda points: np.ones(len(points), bool),
        )
    )

    def arrows(picture):
        return int(near(picture.astype(int), style.ARROW).sum())

    # A few pixels of the colloid's rim and of letters have that colour, too.
    assert max(arrows(still_fluid), arrows(walled)) < 30
    assert arrows(flowing) > 500


def test_a_field_that_changes_is_drawn_anew():
    frame = renderer(
        size=(100.0, 50.0), field=lambda points: np.zeros(len(points)), field_range=(0.0, 2.0)
    )
    values = np.zeros((10, 5))
    values[8:] = 2.0
    left, right = colour(draw(frame, field_values=values), frame, [[20, 20], [95, 20]])
    assert left.sum() > right.sum() + 100
    left, right = colour(draw(frame, field_values=values[::-1]), frame, [[5, 20], [80, 20]])
    assert right.sum() > left.sum() + 100
    with pytest.raises(ConfigError, match="no field_range"):
        draw(renderer(), field_values=values)
    with pytest.raises(ConfigError, match=r"field_values: expected shape \[X, Y\]"):
        draw(frame, field_values=values[0])


def test_mistakes_in_a_scene_are_named():
    for changes, words in (
        ({"aspects": np.zeros(1)}, "aspects must be positive"),
        ({"aspects": np.ones(2)}, r"aspects: expected shape \[1\]"),
        ({"outlines": (np.zeros((3, 3)),)}, r"outline 0: expected shape \[P, 2\]"),
        ({"field_range": (1.0, 1.0)}, "field_range needs low < high"),
    ):
        with pytest.raises(ConfigError, match=words):
            renderer(**changes)
    frame = renderer(bodies=(BodyShape(1.0, ((0, 1),)),))
    with pytest.raises(ConfigError, match=r"beads: expected shape \[2, 2\]"):
        draw(frame, beads=np.zeros((3, 2)))


def test_a_still_shows_bodies_at_start_and_end(tmp_path):
    world = World(
        Box((100.0, 100.0), ("open", "periodic")),
        species=(Species(count=2, aspect_ratio=2.0),),
        bodies=(Body("rod", Rod(length=20.0)),),
        walls=(Circle((50.0, 50.0), 5.0),),
    )
    scene = world_scene(world, "A title", view=(-10.0, 110.0, 0.0, 100.0))
    position = np.zeros((3, 2, 2)) + 20.0
    beads = np.linspace(30, 46, 4)[None, :, None] + np.zeros((3, 4, 2))
    paths = still(tmp_path / "a.png", scene, position, np.ones((2, 2)), np.arange(3.0), beads=beads)
    assert paths[0].read_bytes()[:4] == b"\x89PNG"
    with pytest.raises(ConfigError, match=r"still: beads: expected shape \[3, 4, 2\]"):
        still(
            tmp_path / "b.png", scene, position, np.ones((2, 2)), np.arange(3.0), beads=beads[:, 1:]
        )
