"""Maps between sample, image and pattern come out as they were put in."""

from __future__ import annotations

import numpy as np
import pytest

from swarmctl.core.errors import CalibrationError
from swarmctl.lab.calibrate_places import (
    fit_grid,
    fit_pattern,
    fit_polarity,
    fit_stage,
    image_shift,
)
from swarmctl.optics.affine import Affine, ViewConfig

TRUE = Affine(((0.9, 0.3), (-0.28, 1.1)), (12.0, -20.0))


def test_wrong_spots_do_not_bend_the_map() -> None:
    """A third of the spots somewhere else: the map is off by less than the noise, 0.2 px."""
    rng = np.random.default_rng(0)
    pattern = rng.uniform(0, 500, (24, 2))
    image = TRUE.to_image(pattern) + rng.normal(0, 0.2, (24, 2))
    wrong = rng.choice(24, 8, replace=False)
    image[wrong] = rng.uniform(0, 500, (8, 2))
    fit = fit_pattern(pattern, image)
    assert not fit.used[wrong].any()
    assert fit.used.sum() == 16
    corners = np.array([[0, 0], [500, 0], [0, 500], [500, 500.0]])
    assert np.abs(fit.map.to_image(corners) - TRUE.to_image(corners)).max() < 0.4
    assert fit.residual == pytest.approx(0.2 * np.sqrt(2 * (1 - 3 / 16)), rel=0.4)


def test_spots_that_agree_on_nothing_are_refused() -> None:
    rng = np.random.default_rng(1)
    with pytest.raises(CalibrationError, match="where one map would put them"):
        fit_pattern(rng.uniform(0, 500, (12, 2)), rng.uniform(0, 500, (12, 2)))
    with pytest.raises(CalibrationError, match="3 spots were seen"):
        fit_pattern(np.zeros((3, 2)), np.zeros((3, 2)))


@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize("rotation", [0.0, 0.3, -0.6])
def test_a_grid_gives_pixel_and_rotation(mirror: bool, rotation: float) -> None:
    rng = np.random.default_rng(2)
    view = ViewConfig(pixel_size=0.31, rotation=rotation, mirror=mirror).affine(512, 512)
    marks = 10.0 * np.stack(np.meshgrid(np.arange(-5, 6), np.arange(-5, 6)), -1).reshape(-1, 2)
    points = view.to_image(marks + 1.3) + rng.normal(0, 0.1, marks.shape)
    points = rng.permutation(points)[:100]
    fit = fit_grid(points, 10.0, mirror)
    assert fit.map.pixel_size == pytest.approx(0.31, rel=1e-3)
    np.testing.assert_allclose(fit.map.matrix, view.matrix, atol=0.01)
    assert fit.residual < 0.2


def test_scattered_marks_are_no_grid() -> None:
    with pytest.raises(CalibrationError, match="grid"):
        fit_grid(np.random.default_rng(3).uniform(0, 500, (60, 2)), 10.0)
    with pytest.raises(CalibrationError, match="9 are needed"):
        fit_grid(np.zeros((4, 2)), 10.0)


def test_a_stage_gives_the_matrix() -> None:
    rng = np.random.default_rng(4)
    moves = np.array([[10, 0], [-10, 0], [0, 10], [0, -10.0]])
    matrix, residual = fit_stage(
        moves, moves @ np.transpose(TRUE.matrix) + rng.normal(0, 0.05, (4, 2))
    )
    np.testing.assert_allclose(matrix, TRUE.matrix, atol=0.01)
    assert residual < 0.2
    with pytest.raises(CalibrationError, match="two directions"):
        fit_stage(moves[:2], moves[:2])


def test_a_shift_that_was_mistaken_does_not_count() -> None:
    """One of eight: the matrix is as exact as without it. Three of eight: it is refused."""
    moves = 10 * np.tile([[1, 0], [0, 1], [-1, 0], [0, -1.0]], (2, 1))
    shifts = moves @ np.transpose(TRUE.matrix)
    shifts[3] = [40.0, 7.0]
    matrix, residual = fit_stage(moves, shifts)
    np.testing.assert_allclose(matrix, TRUE.matrix, atol=1e-9)
    assert residual < 1e-9
    shifts[[0, 6]] = [[0.0, 30.0], [9.0, 50.0]]
    with pytest.raises(CalibrationError, match="of 8 moves only"):
        fit_stage(moves, shifts)


def test_an_image_that_moved_is_followed() -> None:
    rng = np.random.default_rng(5)
    scene = np.kron(rng.normal(size=(40, 40)), np.ones((8, 8)))
    before, after = scene[40:240, 40:240], scene[52:252, 33:233]
    np.testing.assert_allclose(image_shift(before, after), [7.0, -12.0], atol=0.3)


def test_an_image_whose_colloids_move_by_themselves_is_followed() -> None:
    """Discs that diffuse by 1 px each way: 0.3 px on average of ten moves by 40 px, 0.8 px rms.

    The 20 of them that are in view diffuse by 0.22 px on average, the fewer that stay by more.
    """
    rng = np.random.default_rng(7)
    y, x = np.mgrid[:224, :224]

    def seen(places: np.ndarray) -> np.ndarray:
        image = 100 + rng.normal(0, 3, x.shape)
        for at in places:
            image -= 50 * (np.hypot(x - at[0], y - at[1]) < 9)
        return image

    errors = []
    for k in range(10):
        places = rng.uniform(-60, 284, (48, 2))
        move = 40 * np.array([np.cos(k), np.sin(k)])
        moved = places + move + rng.normal(0, 1.0, places.shape)
        errors.append(image_shift(seen(places), seen(moved)) - move)
    assert np.sqrt(np.mean(np.square(errors))) < 0.8
    assert np.abs(np.mean(errors, axis=0)).max() < 0.3


@pytest.mark.parametrize("flip", [1.0, -1.0])
def test_polarity_of_coils(flip: float) -> None:
    """Turned by 0.4 rad, and mirrored or not, with scattered responses."""
    rng = np.random.default_rng(6)
    angle = np.arange(16) * np.pi / 8
    asked = np.column_stack([np.cos(angle), np.sin(angle)])
    turn = np.array([[np.cos(0.4), -np.sin(0.4)], [np.sin(0.4), np.cos(0.4)]]) @ np.diag([1, flip])
    seen = 3.0 * asked @ turn.T + rng.normal(0, 0.3, asked.shape)
    found, error = fit_polarity(asked, seen)
    np.testing.assert_allclose(found, turn, atol=0.05)
    assert error < 0.2
    with pytest.raises(CalibrationError, match="do not go where"):
        fit_polarity(asked, rng.normal(size=asked.shape))
