"""Bright spots are found, once each, to a small part of a pixel."""

import numpy as np
import pytest

from swarmctl.bridge.vision.spots import SpotDetectorConfig
from swarmctl.core.errors import ConfigError, FrameError
from swarmctl.optics.optics_config import FocusConfig, IlluminationConfig, SpotConfig


@pytest.fixture(scope="module")
def detect():
    return SpotDetectorConfig(sigma=3.0, separation=6.0).build()


CASES = {
    "bright": {},
    "dim": {"look": SpotConfig(brightness=60.0)},
    "uneven": {
        "illumination": IlluminationConfig(
            background=200.0, gradient=1.0, vignetting=0.4, dust=4, dust_depth=0.3
        )
    },
    "unequal": {"look": SpotConfig(spread=0.5)},
    "out of focus": {"focus": FocusConfig(spread=0.8)},
    "saturated": {"look": SpotConfig(brightness=20_000.0)},
}


@pytest.mark.parametrize("case", CASES)
def test_spots_are_found_once_and_exactly(case, detect, truth):
    rms, recall, extra, *_ = truth.score(detect, truth.optics(**CASES[case]), 30, 14.0, 9.0)
    assert recall > 0.99
    assert extra == 0
    assert rms < 0.2


def test_spots_that_touch_are_told_apart(detect, truth):
    # Neighbours at three standard deviations: the saddle between two spots is still there.
    rms, recall, extra, *_ = truth.score(detect, truth.optics(), 60, 9.0, 9.0)
    assert recall > 0.99
    assert extra == 0
    assert rms < 0.2


def test_the_error_is_the_least_that_noise_allows(detect):
    # Cramér and Rao: an unbiased estimate of the place of a Gaussian spot of height A in white
    # noise of standard deviation n has an error of at least n/A √(2/π) along each axis.
    random = np.random.default_rng(2)
    grid = np.arange(20.0, 240.0, 24.0)
    places = np.stack(np.meshgrid(grid, grid), -1).reshape(-1, 2)
    places += random.uniform(-0.5, 0.5, places.shape)
    y, x = np.indices((256, 256))
    frame = np.zeros((256, 256))
    for at in places:
        frame += 200 * np.exp(-((x - at[0]) ** 2 + (y - at[1]) ** 2) / 18)
    errors = []
    for _ in range(10):
        noisy = frame + random.normal(0, 20, frame.shape)
        found = detect(noisy.astype(np.float32)).position
        away = found[:, None] - places
        nearest = np.argmin(np.linalg.norm(away, axis=2), axis=0)
        errors.append(away[nearest, np.arange(len(places))])
    least = 20 / 200 * np.sqrt(2 / np.pi)
    assert np.std(errors) == pytest.approx(least, rel=0.1)
    assert np.abs(np.mean(errors, axis=(0, 1))).max() < 4 * least / np.sqrt(len(places) * 10)


def test_heights_are_those_of_the_spots(detect, truth):
    config = truth.optics(look=SpotConfig(brightness=500.0, spread=0.0))
    random = np.random.default_rng(3)
    found = detect(truth.render(config, truth.scatter(25, 30.0, 15.0, random), random)[0])
    assert np.median(found.signal) == pytest.approx(500, rel=0.03)
    assert np.all(np.diff(found.signal) <= 0)
    assert not found.direction.any()
    assert np.isinf(found.direction_error).all()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("level", [0, 17, 255])
def test_frames_without_contrast_are_empty(detect, dtype, level):
    assert len(detect(np.full((64, 80), level, dtype))) == 0


def test_noise_alone_is_empty(detect, truth):
    random = np.random.default_rng(4)
    for number in range(10):
        frame, _ = truth.render(truth.optics(), np.empty((0, 2)), random, number)
        assert len(detect(frame)) == 0


def test_frames_may_change_their_shape_and_type(detect, truth):
    random = np.random.default_rng(5)
    places = truth.scatter(20, 20.0, 30.0, random)
    frame, _ = truth.render(truth.optics(), places, random)
    whole = detect(frame)
    as_float = detect(frame.astype(np.float32))
    np.testing.assert_array_equal(whole.position, as_float.position)
    inner = detect(np.ascontiguousarray(frame[11:-10, 7:-8]))
    order, inner_order = np.argsort(whole.position[:, 0]), np.argsort(inner.position[:, 0])
    moved = whole.position[order] - inner.position[inner_order]
    np.testing.assert_allclose(moved, np.broadcast_to([7, 11], moved.shape), atol=0.02)


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (np.zeros((64, 64, 3), np.uint8), "grey image"),
        ([[1, 2], [3, 4]], "grey image"),
        (np.zeros((64, 64), np.int64), "bytes, words or float32, got int64"),
        (np.zeros((64, 8), np.uint8), "at least 16"),
        (np.full((64, 64), np.nan, np.float32), "not finite"),
    ],
)
def test_what_is_no_frame_is_refused(detect, frame, message):
    with pytest.raises(FrameError, match=message):
        detect(frame)


def test_widths_are_positive():
    with pytest.raises(ConfigError, match="sigma"):
        SpotDetectorConfig(sigma=0.0)
