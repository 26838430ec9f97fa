"""Two spots that are one body are found as one, with its axis."""

import numpy as np
import pytest

from swarmctl.bridge.vision.dimers import DimerDetectorConfig, pairs_at
from swarmctl.core.errors import ConfigError
from swarmctl.optics.optics_config import DimerConfig, IlluminationConfig


@pytest.fixture(scope="module")
def detect():
    return DimerDetectorConfig(distance=10.0, sigma=3.0).build()


CASES = {
    "bright": ({}, 0.5),
    "dim": ({"look": DimerConfig(brightness=60.0)}, 1.5),
    "uneven": (
        {
            "illumination": IlluminationConfig(
                background=200.0, gradient=1.0, vignetting=0.4, dust=4, dust_depth=0.3
            ),
        },
        1.0,
    ),
    "unequal": ({"look": DimerConfig(spread=0.5)}, 0.5),
    "saturated": ({"look": DimerConfig(brightness=20_000.0)}, 0.5),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("gap", [18.0, 24.0])
def test_dimers_are_found_once_and_exactly(case, gap, detect, truth):
    if case == "saturated" and gap < 20:
        pytest.skip("full pixels of neighbours are one patch")
    changes, largest = CASES[case]
    config = truth.optics(**{"look": DimerConfig()} | changes)
    rms, recall, extra, angle, _ = truth.score(detect, config, 25, gap, 12.0)
    axis = (angle + np.pi / 2) % np.pi - np.pi / 2
    assert recall > 0.99
    assert extra == 0
    assert rms < 0.2
    assert np.sqrt(np.mean(axis**2)) < np.radians(largest)


@pytest.mark.parametrize("ratio", [0.5, 0.8])
def test_dimers_point_from_bright_to_dim(ratio, truth):
    detect = DimerDetectorConfig(distance=10.0, sigma=3.0, polar=True).build()
    config = truth.optics(look=DimerConfig(ratio=ratio))
    rms, recall, extra, angle, _ = truth.score(detect, config, 25, 22.0, 12.0)
    assert recall > 0.99
    assert extra == 0
    assert rms < 0.2
    assert np.sqrt(np.mean(angle**2)) < np.radians(0.5)


def test_equal_spots_have_an_axis_only(truth):
    detect = DimerDetectorConfig(distance=10.0, sigma=3.0, polar=True).build()
    random = np.random.default_rng(1)
    places = truth.scatter(20, 26.0, 14.0, random)
    found = detect(truth.render(truth.optics(look=DimerConfig()), places, random)[0])
    assert len(found) == 20
    assert found.axial.mean() > 0.9
    assert np.isfinite(found.direction_error).all()


def test_single_spots_are_no_dimers(detect, truth):
    random = np.random.default_rng(2)
    frame, _ = truth.render(truth.optics(), truth.scatter(20, 22.0, 12.0, random), random)
    assert len(detect(frame)) == 0


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_frames_without_contrast_are_empty(detect, dtype):
    assert len(detect(np.full((64, 80), 17, dtype))) == 0


def test_noise_alone_is_empty(detect, truth):
    random = np.random.default_rng(4)
    for number in range(10):
        frame, _ = truth.render(truth.optics(), np.empty((0, 2)), random, number)
        assert len(detect(frame)) == 0


def test_pairs_take_every_place_once():
    # A chain of four has two pairs at its ends, though the middle one has the best distance.
    chain = np.array([[0.0, 0.0], [10.4, 0.0], [20.4, 0.0], [30.8, 0.0], [100.0, 0.0]])
    pairs = pairs_at(chain, 10.0, 1.0)
    assert sorted(map(sorted, pairs.tolist())) == [[0, 1], [2, 3]]
    assert len(pairs_at(chain[:1], 10.0, 1.0)) == 0


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"distance": 0.0}, "distance"),
        ({"distance": 8.0, "sigma": 3.0}, "use the detector 'rods'"),
        ({"tolerance": 0.6}, "tolerance"),
        ({"ratio": 1.5}, "ratio"),
    ],
)
def test_what_is_no_dimer_is_refused(keys, message):
    with pytest.raises(ConfigError, match=message):
        DimerDetectorConfig(**keys)
