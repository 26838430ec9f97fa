"""Light on discs follows from the pattern, however the projector lies over the sample."""

import numpy as np
import pytest

from swarmctl.bridge.virtual.illumination import LightOnDiscs, ProjectionOnCamera
from swarmctl.optics.affine import ViewConfig

SHAPE = (256, 320)
VIEWS = [
    ViewConfig(pixel_size=0.1),
    ViewConfig(pixel_size=0.08, rotation=0.7, mirror=True, centre=(0.5, -0.4)),
    ViewConfig(pixel_size=0.13, rotation=-2.0, centre=(-1.0, 1.0)),
]


def on_pattern(view, light):
    """The pattern that gives light(position [...,2] µm) in [0, 1] on the sample."""
    affine = view.affine(SHAPE[1], SHAPE[0])
    row, column = np.indices(SHAPE)
    place = affine.to_sample(np.stack([column, row], axis=-1))
    return affine, np.rint(255 * light(place)).astype(np.uint8)


@pytest.mark.parametrize("view", VIEWS)
def test_even_light_is_its_own_mean_and_has_no_offset(view):
    affine, pattern = on_pattern(view, lambda place: np.full(place.shape[:-1], 0.4))
    power, offset = LightOnDiscs(affine, np.array([2.0, 3.0])).received(
        pattern, np.array([[0.0, 0.0], [1.0, -2.0]])
    )
    assert power == pytest.approx(0.4, abs=1 / 255)
    assert offset == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("view", VIEWS)
def test_a_gradient_moves_the_centre_of_light_by_a_quarter_of_the_square_of_the_radius(view):
    # Mean of (x, y)(1 + g·r) over a disc of radius a is a² g/4.
    gradient = np.array([0.06, -0.03])
    affine, pattern = on_pattern(view, lambda place: 0.5 * (1 + place @ gradient))
    power, offset = LightOnDiscs(affine, np.array([2.0])).received(pattern, np.zeros((1, 2)))
    assert power == pytest.approx(0.5, abs=0.01)
    assert offset[0] == pytest.approx(gradient, rel=0.05, abs=0.005)


def test_half_a_disc_in_light():
    # Centre of a half disc: 4a/(3π).
    affine, pattern = on_pattern(VIEWS[0], lambda place: (place[..., 0] > 0).astype(float))
    power, offset = LightOnDiscs(affine, np.array([4.0])).received(pattern, np.zeros((1, 2)))
    assert power[0] == pytest.approx(0.5, abs=0.02)
    assert offset[0] == pytest.approx([16 / (3 * np.pi), 0.0], abs=0.08)


def test_beside_the_pattern_is_darkness():
    affine, pattern = on_pattern(VIEWS[0], lambda place: np.ones(place.shape[:-1]))
    power, offset = LightOnDiscs(affine, np.array([2.0])).received(pattern, np.array([[90.0, 0.0]]))
    assert (power, *offset[0]) == (0.0, 0.0, 0.0)


def test_a_spot_appears_in_the_image_where_it_is_on_the_sample():
    spot = np.array([3.0, -2.0])
    projector, pattern = on_pattern(
        VIEWS[1], lambda place: (np.linalg.norm(place - spot, axis=-1) < 1.5).astype(float)
    )
    camera = ViewConfig(pixel_size=0.15, rotation=0.3).affine(200, 180)
    image = ProjectionOnCamera(camera, projector, (180, 200), SHAPE).image(pattern, 50.0)
    assert image.max() == 50.0
    row, column = np.indices(image.shape)
    middle = [np.average(column, weights=image), np.average(row, weights=image)]
    assert middle == pytest.approx(camera.to_image(spot), abs=0.3)
    assert image.sum() == pytest.approx(50 * np.pi * (1.5 / 0.15) ** 2, rel=0.03)
