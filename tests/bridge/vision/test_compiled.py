"""Machine code of the detectors gives what NumPy gives."""

import numpy as np
import pytest

pytest.importorskip("numba")

from swarmctl.bridge.vision import (
    compiled_fits,
    compiled_images,
    compiled_ranks,
    compiled_solving,
)


@pytest.mark.parametrize("count", [1, 2, 7, 400, 401])
@pytest.mark.parametrize("levels", [3, 10**6])
def test_ranks_and_medians_are_those_of_sorted_values(count, levels):
    values = np.random.default_rng(count).integers(0, levels, count).astype(np.float32)
    for rank in {0, count // 4, count - 1}:
        assert compiled_ranks.ranked(values.copy(), rank) == np.sort(values)[rank]
    assert compiled_ranks.median(values.copy()) == np.median(values)


def test_bells_are_exponential_functions():
    square = np.linspace(0, 60, 400)
    bell = np.array([compiled_fits.gauss(value) for value in square])
    np.testing.assert_allclose(bell, np.exp(-square / 2), rtol=1e-4, atol=1e-9)


def test_products_are_sums_over_columns():
    row = np.random.default_rng(0).normal(size=(8, 40)).astype(np.float32)
    sums = np.empty((8, 8))
    compiled_solving.add_products(row, 33, sums)
    np.testing.assert_allclose(sums, row[:, :33] @ row[:, :33].T, atol=1e-4)


def test_smoothing_is_a_convolution_with_continued_edges():
    random = np.random.default_rng(0)
    image = random.normal(size=(20, 33)).astype(np.float32)
    taps = np.array([0.1, 0.2, 0.4, 0.2, 0.1], np.float32)
    padded = np.pad(image, 2, mode="edge").astype(np.float64)
    wide = sum(weight * padded[:, n : n + 33] for n, weight in enumerate(taps))
    expected = sum(weight * wide[n : n + 20] for n, weight in enumerate(taps))
    scratch = np.empty_like(image)
    compiled_images.smooth(image, taps, scratch, image)
    np.testing.assert_allclose(image, expected, atol=1e-5)


@pytest.mark.parametrize("angle", [0.0, 0.4, np.pi / 2, 2.8])
@pytest.mark.parametrize("place", [(20.3, 14.8), (1.2, 2.5), (38.9, 29.4)])
def test_runs_are_the_pixels_of_a_turned_rectangle(angle, place):
    image, run = np.zeros((30, 40), np.float32), np.empty((40, 3), np.int64)
    known = np.array([0.0, 1.0, 12.0, *place, angle])
    count = compiled_fits.runs_of_body(image, False, 12.0, 1.5, known, run)
    seen = np.zeros(image.shape, bool)
    for j, first, number in run[:count]:
        seen[j, first : first + number] = True
    dy, dx = np.indices(image.shape) - np.array(place[::-1])[:, None, None]
    along = np.cos(angle) * dx + np.sin(angle) * dy
    across = np.cos(angle) * dy - np.sin(angle) * dx
    half, beside = 6.0 + compiled_fits.REACH * 1.5, compiled_fits.REACH * 1.5
    assert np.array_equal(seen, (abs(along) <= half) & (abs(across) <= beside))


def test_cleared_discs_take_the_level_and_nothing_else_does():
    image = np.ones((20, 30), np.float32)
    places = np.array([[0.0, 3.2], [15.5, 10.0], [-9.0, 5.0], [33.0, 19.0]])
    compiled_images.clear_discs(image, places, 4.0, 0.25)
    j, i = np.indices(image.shape)
    inside = (np.hypot(i[..., None] - places[:, 0], j[..., None] - places[:, 1]) <= 4.0).any(-1)
    assert np.array_equal(image, np.where(inside, np.float32(0.25), np.float32(1)))
