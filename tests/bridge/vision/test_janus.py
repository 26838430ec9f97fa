"""Janus discs are found with their orientation, and the detector knows how well."""

import subprocess
import sys

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


def pile(count, diameter, random):
    """Places [count,2] px of discs that were driven together, each in touch with two others."""
    places = np.array([[0.0, 0.0], [1.01, 0.0]])
    while len(places) < count:
        first, second = random.choice(len(places), 2, replace=False)
        away = places[second] - places[first]
        half = np.linalg.norm(away) / 2
        if half > 1.0:
            continue
        side = np.array([-away[1], away[0]]) / (2 * half)
        gap = random.uniform(1.005, 1.05)
        place = places[first] + away / 2 + np.sqrt(gap**2 - min(half, 1.0) ** 2) * side
        # Others come no closer than they push, and nobody is far from the middle.
        near = np.linalg.norm(places - place, axis=1).min()
        if near > 0.99 and np.linalg.norm(place - places.mean(axis=0)) < 0.7 * np.sqrt(count):
            places = np.vstack([places, place])
    return 127.5 + diameter * (places - places.mean(axis=0))


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


@pytest.mark.parametrize(("radius", "count"), [(12.0, 20), (6.0, 40)])
def test_a_pile_hides_nobody(radius, count, truth):
    detect = JanusDetectorConfig(radius=radius, separation=1.6 * radius).build()
    config = bright_field(truth, radius=radius * 0.2)
    random = np.random.default_rng(4)
    hit = extra = 0
    for number in range(20):
        places = pile(count, 2 * radius, random)
        inwards = places.mean(axis=0) - places
        frame, _ = truth.render(config, places, random, number, towards=inwards)
        found = detect(frame)
        error, index, _ = truth.compare(found, places)
        hit += len(error)
        extra += len(found) - len(set(index))
    assert hit / (20 * count) > 0.99
    assert extra < 0.01 * hit


def test_three_discs_in_touch_are_three(truth):
    detect = JanusDetectorConfig(radius=12.0, separation=18.0).build()
    random = np.random.default_rng(3)
    config, hit, count = bright_field(truth, radius=2.4), 0, 0
    for number in range(20):
        around = random.uniform(0, 2 * np.pi, 4)[:, None] + np.arange(3) * 2 * np.pi / 3
        ring = 14.1 * np.stack([np.cos(around), np.sin(around)], axis=-1)
        middle = np.array([[64, 64], [64, 192], [192, 64], [192, 192]])
        places = (middle[:, None] + ring).reshape(-1, 2)
        frame, _ = truth.render(config, places, random, number)
        hit += len(truth.compare(detect(frame), places)[0])
        count += len(places)
    assert hit / count > 0.99


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


def test_the_least_deviation_leaves_out_what_is_below_it_only(truth):
    # In 12 bits the discs deviate by about 1000 counts; up to there none is lost.
    config = truth.optics(look=JanusConfig(radius=1.2), illumination=LIGHT)
    random = np.random.default_rng(1)
    places = truth.scatter(20, 20.0, 12.0, random)
    frame = truth.render(config, places, random)[0]
    weakest = JanusDetectorConfig().build()(frame).signal.min()
    for share in (0.05, 0.2, 0.5, 0.8, 0.95):
        assert len(JanusDetectorConfig(lowest=share * weakest).build()(frame)) == 20
    assert len(JanusDetectorConfig(lowest=2 * weakest).build()(frame)) == 0


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


@pytest.mark.parametrize("name", ["spots", "janus", "rods", "dimers"])
def test_a_detector_that_is_built_loads_nothing_more(name):
    # In a process of its own, so that no other test has loaded anything; the frame is lent.
    code = f"""
import sys
import numpy as np
from swarmctl.bridge.vision.methods import detectors
detect = detectors[{name!r}].load()().build()
before = {{m for m in sys.modules if m.startswith("swarmctl")}}
frame = np.random.default_rng(0).integers(90, 110, (64, 64)).astype(np.uint16)
frame.flags.writeable = False
detect(frame)
print(sorted({{m for m in sys.modules if m.startswith("swarmctl")}} - before))
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
