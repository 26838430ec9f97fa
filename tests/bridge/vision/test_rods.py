"""Bright rods are found with their axes and lengths, crowded ones too."""

import numpy as np
import pytest

from swarmctl.bridge.vision.rods import RodDetectorConfig
from swarmctl.core.errors import ConfigError
from swarmctl.optics.image_formation import ImageFormation, Sample
from swarmctl.optics.optics_config import FocusConfig, IlluminationConfig, RodConfig


@pytest.fixture(scope="module")
def detect():
    return RodDetectorConfig(length=20.0, sigma=2.5).build()


def axis_error(angle):
    """Differences of axes [K] rad, in [-π/2, π/2)."""
    return (angle + np.pi / 2) % np.pi - np.pi / 2


def hard_rods(count, length, gap, random):
    """Places [N,2] px and angles [N] of segments that stay `gap` px apart; N <= count."""
    along = np.linspace(-length / 2, length / 2, 9)[:, None]
    places, angles, points = [], [], np.empty((0, 2))
    for _ in range(1500):
        if len(places) == count:
            break
        place, angle = random.uniform(16, 239, 2), random.uniform(-np.pi, np.pi)
        segment = place + along * [np.cos(angle), np.sin(angle)]
        away = np.linalg.norm(points[:, None] - segment, axis=2)
        if not away.size or away.min() > gap:
            places.append(place)
            angles.append(angle)
            points = np.vstack([points, segment])
    return np.array(places), np.array(angles)


CASES = {
    "bright": ({}, 0.5),
    "dim": ({"look": RodConfig(brightness=60.0)}, 1.5),
    "uneven": (
        {
            "look": RodConfig(),
            "illumination": IlluminationConfig(
                background=200.0, gradient=1.0, vignetting=0.4, dust=4, dust_depth=0.3
            ),
        },
        1.0,
    ),
    "unequal": ({"look": RodConfig(spread=0.5)}, 0.5),
    "out of focus": ({"look": RodConfig(), "focus": FocusConfig(spread=0.8)}, 0.5),
}


@pytest.mark.parametrize("case", CASES)
def test_rods_are_found_once_and_exactly(case, detect, truth):
    changes, largest = CASES[case]
    config = truth.optics(**{"look": RodConfig()} | changes)
    rms, recall, extra, angle, _ = truth.score(detect, config, 20, 26.0, 16.0)
    assert recall > 0.99
    assert extra == 0
    assert rms < 0.2
    assert np.sqrt(np.mean(axis_error(angle) ** 2)) < np.radians(largest)


def test_rods_side_by_side_are_told_apart(detect, truth):
    # Three widths between the axes: the saddle between two rods is still there.
    random, config = np.random.default_rng(0), truth.optics(look=RodConfig())
    errors, angles, count, extra = [], [], 0, 0
    for number in range(6):
        places, angle = hard_rods(60, 20.0, 7.5, random)
        direction = np.column_stack([np.cos(angle), np.sin(angle)])
        director = config.affine.direction_to_sample(direction)
        sample = Sample(config.affine.to_sample(places), director, np.arange(len(places)))
        found = detect(ImageFormation(config).frame(sample, number))
        error, index, which = truth.compare(found, places)
        errors.extend(error)
        extra += len(found) - len(set(index))
        count += len(places)
        seen = found.direction[index]
        angles.extend(np.arctan2(seen[:, 1], seen[:, 0]) - angle[which])
    assert count > 300
    assert len(errors) > 0.99 * count
    assert extra <= 1
    assert np.sqrt(np.mean(np.square(errors))) < 0.2
    assert np.sqrt(np.mean(axis_error(np.array(angles)) ** 2)) < np.radians(0.5)


def test_the_stated_error_of_the_axis_is_true(detect, truth):
    # In much light everywhere, so that the noise is the same in all pixels.
    light = IlluminationConfig(background=2000.0, vignetting=0.0)
    config = truth.optics(look=RodConfig(brightness=300.0, spread=0.0), illumination=light)
    *_, angle, expected = truth.score(detect, config, 20, 26.0, 16.0)
    assert np.sqrt(np.mean((axis_error(angle) / expected) ** 2)) == pytest.approx(1, abs=0.2)


@pytest.mark.parametrize("length", [3.2, 4.0, 5.0])
def test_lengths_are_those_of_the_rods(length, detect, truth):
    random = np.random.default_rng(1)
    light = IlluminationConfig(vignetting=0.0)
    config = truth.optics(look=RodConfig(length=length, spread=0.0), illumination=light)
    found = detect(truth.render(config, truth.scatter(15, 34.0, 20.0, random), random)[0])
    assert len(found) == 15
    np.testing.assert_allclose(found.length, length / 0.2, rtol=0.03)
    assert np.median(found.signal) == pytest.approx(500, rel=0.05)
    assert found.axial.all()


def test_spots_are_no_rods(detect, truth):
    random = np.random.default_rng(2)
    frame, _ = truth.render(truth.optics(), truth.scatter(20, 30.0, 12.0, random), random)
    assert len(detect(frame)) == 0


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_frames_without_contrast_are_empty(detect, dtype):
    assert len(detect(np.full((64, 80), 17, dtype))) == 0


def test_noise_alone_is_empty(detect, truth):
    random = np.random.default_rng(4)
    for number in range(10):
        frame, _ = truth.render(truth.optics(), np.empty((0, 2)), random, number)
        assert len(detect(frame)) == 0


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"length": -1.0}, "length"),
        ({"length": 6.0, "sigma": 2.5}, "use the detector 'spots'"),
        ({"tolerance": 1.0}, "tolerance must lie between 0 and 1"),
    ],
)
def test_what_is_no_rod_is_refused(keys, message):
    with pytest.raises(ConfigError, match=message):
        RodDetectorConfig(**keys)
