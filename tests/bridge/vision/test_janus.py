"""Janus discs are found with their orientation, and the detector knows how well."""

import numpy as np
import pytest

from swarmctl.bridge.vision.janus import JanusDetectorConfig
from swarmctl.core.errors import ConfigError
from swarmctl.optics.affine import ViewConfig
from swarmctl.optics.optics_config import CameraConfig, IlluminationConfig, JanusConfig

LIGHT = IlluminationConfig(background=2000.0, vignetting=0.2, gradient=0.2)
CAMERA = CameraConfig(width=256, height=256, bits=8, gain=0.06, offset=4.0)


def bright_field(truth, **look):
    return truth.optics(look=JanusConfig(**look), illumination=LIGHT, camera=CAMERA)


@pytest.fixture(scope="module")
def detect():
    return JanusDetectorConfig(radius=6.0, separation=9.0).build()


LOOKS = {
    "bright body": {},
    "grey body": {"body": 0.85},
    "bright cap": {"body": 0.7, "cap": 1.3},
}


@pytest.mark.parametrize("look", LOOKS)
def test_discs_are_found_with_their_orientation(look, truth):
    config = bright_field(truth, radius=1.2, **LOOKS[look])
    ahead = config.look.body > config.look.cap
    detect = JanusDetectorConfig(radius=6.0, separation=9.0, bright_ahead=ahead).build()
    rms, recall, extra, angle, expected = truth.score(detect, config, 30, 12.6, 9.0)
    assert recall > 0.99
    assert extra <= 1
    assert rms < 0.2
    assert np.sqrt(np.mean(angle**2)) < np.radians(1.5)
    assert np.isfinite(expected).all()


def test_large_discs_in_touch(truth):
    detect = JanusDetectorConfig(radius=12.0, separation=18.0).build()
    rms, recall, _, angle, _ = truth.score(detect, bright_field(truth, radius=2.4), 15, 24.3, 16.0)
    assert recall > 0.99
    assert rms < 0.2
    assert np.sqrt(np.mean(angle**2)) < np.radians(0.5)


def test_the_stated_error_of_the_angle_is_true(detect, truth):
    # In little light, so that noise and not the pixels' grid limits the angle.
    light = IlluminationConfig(background=100.0, vignetting=0.0)
    camera = CameraConfig(width=256, height=256, bits=12)
    look = JanusConfig(radius=1.2, spread=0.0)
    config = truth.optics(look=look, illumination=light, camera=camera)
    *_, angle, expected = truth.score(detect, config, 30, 20.0, 12.0)
    assert np.sqrt(np.mean((angle / expected) ** 2)) == pytest.approx(1, abs=0.25)


def test_a_mirrored_camera_does_not_change_what_is_seen_in_the_image(detect, truth):
    view = ViewConfig(pixel_size=0.2, rotation=-1.0, mirror=True)
    look = JanusConfig(radius=1.2)
    config = truth.optics(view=view, look=look, illumination=LIGHT, camera=CAMERA)
    rms, recall, _, angle, _ = truth.score(detect, config, 30, 13.0, 9.0, frames=3)
    assert recall > 0.99
    assert rms < 0.2
    assert np.sqrt(np.mean(angle**2)) < np.radians(1.5)


def test_an_even_disc_has_no_orientation(detect, truth):
    random = np.random.default_rng(0)
    places = truth.scatter(20, 20.0, 12.0, random)
    config = bright_field(truth, radius=1.2, body=0.6, cap=0.6)
    found = detect(truth.render(config, places, random)[0])
    error, index, _ = truth.compare(found, places)
    assert len(error) == 20
    assert np.sqrt(np.mean(error**2)) < 0.2
    assert np.median(found.direction_error[index]) > 0.1


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_frames_without_contrast_are_empty(detect, dtype):
    assert len(detect(np.full((64, 80), 200, dtype))) == 0


def test_noise_alone_is_empty(detect, truth):
    random = np.random.default_rng(4)
    config = bright_field(truth, radius=1.2)
    for number in range(10):
        frame, _ = truth.render(config, np.empty((0, 2)), random, number)
        assert len(detect(frame)) == 0


def test_sizes_are_positive():
    with pytest.raises(ConfigError, match="radius"):
        JanusDetectorConfig(radius=-1.0)
