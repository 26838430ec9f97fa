import numpy as np
import pytest

from swarmctl.core.errors import ConfigError
from swarmctl.viz.frame import FrameRenderer
from swarmctl.viz.scene import Marker, Scene, fit_view
from swarmctl.viz.shapes import periodic_images, trail_segments

EAST = np.array([[1.0, 0.0]])


def one(size=(60.0, 60.0), periodic=(False, False), radius=3.0, **more):
    return Scene(size, periodic, np.array([radius]), **more)


def changed(renderer, position, director=EAST, **more):
    """Pixels [H,W] that one colloid changes, and its frame."""
    absent = np.zeros(len(position), bool)
    empty = renderer.draw(position, director, time=0.0, present=absent)
    frame = renderer.draw(position, director, time=0.0, **more)
    return (frame.astype(int) != empty).any(axis=-1), frame


def test_a_colloid_changes_the_pixels_where_it_is_and_no_others():
    renderer = FrameRenderer(one())
    position = np.array([[20.0, 45.0]])
    mask, _ = changed(renderer, position)
    rows, columns = np.nonzero(mask)
    column, row = renderer.to_pixel(position)[0]
    assert columns.mean() + 0.5 == pytest.approx(column, abs=0.6)
    assert rows.mean() + 0.5 == pytest.approx(row, abs=0.6)


@pytest.mark.parametrize("radius", [1.0, 3.0, 7.0])
@pytest.mark.parametrize("size_px", [(720, 720), (400, 300)])
def test_the_radius_is_true_to_scale(radius, size_px):
    renderer = FrameRenderer(one(radius=radius), size_px)
    assert renderer.enlargement == 1.0
    mask, _ = changed(renderer, np.array([[30.0, 30.0]]))
    rows, columns = np.nonzero(mask)
    wanted = radius * renderer.pixels_per_um
    for extent in (np.ptp(rows) + 1, np.ptp(columns) + 1):
        assert extent / 2 == pytest.approx(wanted, abs=1.0)


def test_y_points_up_and_x_to_the_right():
    renderer = FrameRenderer(one())
    low, high, right = renderer.to_pixel(np.array([[10.0, 10.0], [10.0, 50.0], [50.0, 10.0]]))
    assert high[1] < low[1]
    assert right[0] > low[0]


@pytest.mark.parametrize("angle", [0.0, 0.5 * np.pi, np.pi, -0.5 * np.pi, 0.7])
def test_the_front_is_brighter_than_the_back(angle):
    renderer = FrameRenderer(one())
    position, director = np.array([[30.0, 30.0]]), np.array([[np.cos(angle), np.sin(angle)]])
    frame = renderer.draw(position, director, time=0.0)
    ends = renderer.to_pixel(np.concatenate([position + 1.5 * director, position - 1.5 * director]))
    front, back = (frame[int(row), int(column)].astype(int) for column, row in ends)
    assert front.sum() > back.sum() + 150


def test_an_unknown_heading_shows_no_cap():
    renderer = FrameRenderer(one())
    frame = renderer.draw(np.array([[30.0, 30.0]]), np.array([[np.nan, np.nan]]), time=0.0)
    ends = renderer.to_pixel(np.array([[31.5, 30.0], [28.5, 30.0]])).astype(int)
    assert (frame[ends[0, 1], ends[0, 0]] == frame[ends[1, 1], ends[1, 0]]).all()


def test_in_3d_a_colloid_that_looks_at_us_shows_its_front_only():
    scene = Scene((60.0, 60.0, 60.0), (False,) * 3, np.array([5.0]))
    renderer, position = FrameRenderer(scene), np.array([[30.0, 30.0, 59.0]])
    column, row = renderer.to_pixel(position)[0].astype(int)
    towards = renderer.draw(position, np.array([[0.0, 0.0, 1.0]]), time=0.0)[row, column]
    away = renderer.draw(position, np.array([[0.0, 0.0, -1.0]]), time=0.0)[row, column]
    assert towards.astype(int).sum() > away.astype(int).sum() + 150


def test_in_3d_the_nearer_colloid_covers_the_farther_one():
    scene = Scene((60.0,) * 3, (False,) * 3, np.full(2, 5.0), np.array([0, 1]), ("a", "b"))
    renderer = FrameRenderer(scene)
    position = np.array([[30.0, 30.0, 60.0], [30.0, 30.0, 10.0]])
    column, row = renderer.to_pixel(position)[0].astype(int)
    up = np.tile([0.0, 0.0, 1.0], (2, 1))
    both = renderer.draw(position, up, time=0.0)
    alone = renderer.draw(position, up, time=0.0, present=np.array([True, False]))
    assert (both[row, column] == alone[row, column]).all()


def test_a_colloid_on_a_periodic_edge_is_seen_on_both_sides():
    renderer = FrameRenderer(one(periodic=(True, True)))
    mask, _ = changed(renderer, np.array([[60.0, 0.0]]))
    ends = renderer.to_pixel(np.array([[1.0, 1.0], [59.0, 1.0], [1.0, 59.0], [59.0, 59.0]]))
    assert all(mask[int(row), int(column)] for column, row in ends)


def test_trails_do_not_streak_across_periodic_edges():
    renderer = FrameRenderer(one(periodic=(True, False), radius=1.5))
    x = np.arange(48.0, 72.0, 1.0)
    trails = np.stack([np.mod(x, 60.0), np.full_like(x, 30.0)], axis=-1)[:, None]
    position = np.array([[12.0, 30.0]])
    mask, _ = changed(renderer, position, trails=trails)
    columns = (np.arange(720) + 0.5 - renderer.to_pixel(np.zeros(2))[0]) / renderer.pixels_per_um
    middle = (columns > 16) & (columns < 46)
    assert not mask[:, middle].any()
    for part in ((columns > 52) & (columns < 59.5), (columns > 0.5) & (columns < 10)):
        assert mask[:, part].any(axis=0).all()


def test_trail_segments_are_never_longer_than_half_the_box():
    rng = np.random.default_rng(0)
    path = np.cumsum(rng.normal(size=(50, 7, 3)), axis=0)
    whole = trail_segments(path, (20.0, 20.0, 20.0), (True, True, False))
    cut = trail_segments(np.mod(path, 20.0), (20.0, 20.0, 20.0), (True, True, False))
    for one_way, other in zip(whole, cut, strict=True):
        np.testing.assert_allclose(one_way, other, atol=1e-9)
    assert np.abs(whole[0][:, 1] - whole[0][:, 0]).max() < 10
    assert len(whole[0]) >= 49 * 7


def test_unknown_stretches_of_a_trail_are_left_out():
    path = np.zeros((4, 1, 2))
    path[1] = np.nan
    segments, age, colloid = trail_segments(path, (10.0, 10.0), (True, True))
    assert segments.shape == (1, 2, 2)
    assert (age.tolist(), colloid.tolist()) == ([2], [0])


def test_a_corner_has_four_periodic_images():
    place, index = periodic_images(
        np.array([[0.5, 9.5], [5.0, 5.0]]), np.ones(2), (10.0, 10.0), (True, True)
    )
    assert len(place) == 5
    assert index.tolist().count(0) == 4
    wanted = {(0.5, 9.5), (10.5, 9.5), (0.5, -0.5), (10.5, -0.5)}
    assert {tuple(point) for point in place[index == 0]} == wanted


def test_small_colloids_are_enlarged_and_the_picture_says_so():
    renderer = FrameRenderer(one(size=(1000.0, 1000.0), radius=1.0))
    assert renderer.enlargement > 1
    assert f"×{renderer.enlargement:g}" in renderer._notes()
    mask, _ = changed(renderer, np.array([[500.0, 500.0]]))
    wanted = renderer.enlargement * renderer.pixels_per_um
    assert (np.ptp(np.nonzero(mask)[0]) + 1) / 2 == pytest.approx(wanted, abs=1.0)
    assert wanted == pytest.approx(5.0, rel=0.06)


def test_frames_do_not_depend_on_the_frames_before():
    scene = one(
        field=lambda points: points[:, 0],
        markers=(Marker((30.0, 30.0), "source"),),
        value_range=(0.0, 1.0),
    )
    renderer, position = FrameRenderer(scene, (320, 240)), np.array([[20.0, 20.0]])
    first = renderer.draw(position, EAST, time=1.0)
    renderer.draw(position + 9, EAST, time=2.0, text="more", trails=position[None], values=[0.3])
    np.testing.assert_array_equal(renderer.draw(position, EAST, time=1.0), first)
    assert first.shape == (240, 320, 3)
    assert first.dtype == np.uint8


def test_the_view_fits_the_data():
    rng = np.random.default_rng(3)
    points = rng.normal(1000.0, 80.0, (50, 4, 2))
    points[0, 0] = np.nan
    view = fit_view(points)
    renderer = FrameRenderer(one(view=view))
    pixels = renderer.to_pixel(points)
    assert np.nanmin(pixels) > 0
    assert np.nanmax(pixels) < 720
    assert view[1] - view[0] == pytest.approx(view[3] - view[2])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"position": np.zeros((2, 2))}, r"position: expected shape \[1, 2\], got \[2, 2\]"),
        ({"director": np.zeros((1, 3))}, "director"),
        ({"trails": np.zeros((1, 2))}, r"trails: expected shape \[K, 1, 2\]"),
        ({"present": np.ones(2, bool)}, "present"),
        ({"values": np.ones(1)}, "value_range"),
        ({"position": np.full((1, 2), np.nan)}, "not finite"),
    ],
)
def test_wrong_inputs_are_named(given, message):
    inputs = {"position": np.ones((1, 2)), "director": EAST} | given
    with pytest.raises(ConfigError, match=message):
        FrameRenderer(one(), (200, 200)).draw(**inputs, time=0.0)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"size": (1.0,)}, "2 or 3"),
        ({"periodic": (True,)}, "periodic"),
        ({"radii": np.array([-1.0])}, "positive"),
        ({"species": np.array([3])}, "species"),
        ({"markers": (Marker((1.0, 2.0, 3.0), "s"),)}, "marker 's'"),
        ({"view": (0.0, 0.0, 1.0, 2.0)}, "view"),
        ({"value_range": (1.0, 1.0)}, "value_range"),
    ],
)
def test_a_scene_that_cannot_be_is_refused(given, message):
    arguments = {"size": (9.0, 9.0), "periodic": (True, True), "radii": np.ones(1)} | given
    with pytest.raises(ConfigError, match=message):
        Scene(**arguments)


def test_a_field_of_the_wrong_shape_is_refused():
    with pytest.raises(ConfigError, match="field"):
        FrameRenderer(one(field=lambda points: points))
