"""Sample to image and back: y points down, turns, mirrors, and the fit to pairs of points."""

import numpy as np
import pytest

from swarmctl.core.config import build, to_dict
from swarmctl.core.errors import ConfigError
from swarmctl.optics.affine import Affine, ViewConfig, fit_affine

VIEWS = [
    ViewConfig(pixel_size=0.25),
    ViewConfig(pixel_size=0.1, rotation=0.7, centre=(3.0, -2.0)),
    ViewConfig(pixel_size=0.4, rotation=-2.1, mirror=True, centre=(-8.0, 5.0)),
]


@pytest.mark.parametrize("view", VIEWS)
def test_there_and_back(view):
    affine = view.affine(640, 480)
    points = np.random.default_rng(0).uniform(-50, 50, (40, 2))
    np.testing.assert_allclose(affine.to_sample(affine.to_image(points)), points, atol=1e-10)
    np.testing.assert_allclose(affine.to_image(view.centre), [319.5, 239.5], atol=1e-10)
    assert affine.pixel_size == pytest.approx(view.pixel_size)


def test_image_y_points_down():
    affine = ViewConfig(pixel_size=0.5).affine(101, 101)
    np.testing.assert_allclose(affine.to_image([1.0, 2.0]), [52.0, 46.0])
    np.testing.assert_allclose(affine.direction_to_image([0.0, 1.0]), [0.0, -1.0])


def test_rotation_is_that_of_the_image_in_the_sample():
    affine = ViewConfig(pixel_size=1.0, rotation=0.3).affine(101, 101)
    right = affine.direction_to_sample([1.0, 0.0])
    np.testing.assert_allclose(right, [np.cos(0.3), np.sin(0.3)], atol=1e-12)


@pytest.mark.parametrize(("mirror", "sign"), [(False, -1), (True, 1)])
def test_a_mirror_changes_the_sense_of_turning(mirror, sign):
    affine = ViewConfig(rotation=1.0, mirror=mirror).affine(64, 64)
    assert np.sign(np.linalg.det(affine.matrix)) == sign


def test_directions_are_unit_vectors_and_nothing_stays_nothing():
    affine = Affine(((3.0, 1.0), (0.5, -2.0)), (10.0, 20.0))
    angle = np.linspace(0, 6, 20)
    direction = np.column_stack([np.cos(angle), np.sin(angle)])
    seen = affine.direction_to_image(direction)
    np.testing.assert_allclose(np.linalg.norm(seen, axis=1), 1)
    np.testing.assert_allclose(affine.direction_to_sample(seen), direction, atol=1e-12)
    np.testing.assert_array_equal(affine.direction_to_image([0.0, 0.0]), [0.0, 0.0])


@pytest.mark.parametrize("view", VIEWS)
def test_fit_finds_the_map_and_its_error(view):
    affine = view.affine(640, 480)
    random = np.random.default_rng(1)
    points = random.uniform(-50, 50, (2000, 2))
    exact, residual = fit_affine(points, affine.to_image(points))
    np.testing.assert_allclose(exact.matrix, affine.matrix, atol=1e-10)
    np.testing.assert_allclose(exact.offset, affine.offset, atol=1e-8)
    assert residual < 1e-9
    noisy = affine.to_image(points) + random.normal(0, 0.2, points.shape)
    assert fit_affine(points, noisy)[1] == pytest.approx(0.2 * np.sqrt(2), rel=0.05)


def test_an_affine_is_a_configuration():
    affine = ViewConfig(rotation=0.3).affine(64, 64)
    assert build(Affine, to_dict(affine)) == affine


@pytest.mark.parametrize(
    ("sample", "image", "message"),
    [
        (np.zeros((2, 2)), np.zeros((2, 2)), "at least 3 pairs"),
        (np.zeros((4, 2)), np.zeros((3, 2)), "at least 3 pairs"),
        (np.zeros((4, 3)), np.zeros((4, 3)), r"points \[...,2\]"),
        ([[0, 0], [1, 1], [2, 2]], np.ones((3, 2)), "on a line"),
        ([[0, 0], [1, 0], [0, np.nan]], np.ones((3, 2)), "not finite"),
    ],
)
def test_fit_refuses(sample, image, message):
    with pytest.raises(ConfigError, match=message):
        fit_affine(sample, image)


def test_maps_that_cannot_be_inverted_are_refused():
    with pytest.raises(ConfigError, match="inverted"):
        Affine(((1.0, 2.0), (2.0, 4.0)))
    with pytest.raises(ConfigError, match="pixel_size"):
        ViewConfig(pixel_size=0.0)
