"""Dark and flat frames take out what they measured; the background follows what rests."""

import numpy as np
import pytest

from swarmctl.bridge.vision.frames import (
    Flattening,
    RunningMedian,
    check_frame,
    median_background,
    saturated_share,
)
from swarmctl.core.errors import ConfigError, FrameError
from swarmctl.optics.image_formation import ImageFormation
from swarmctl.optics.optics_config import CameraConfig, IlluminationConfig


def empty_fields(truth, light, numbers):
    camera = CameraConfig(width=256, height=200, bits=16, offset=100.0)
    form = ImageFormation(truth.optics(illumination=light, camera=camera))
    nothing = form_sample()
    return [form.frame(nothing, n) for n in numbers]


def form_sample():
    from swarmctl.optics.image_formation import Sample

    return Sample(np.empty((0, 2)), np.empty((0, 2)), np.empty(0, int))


def test_an_uneven_field_becomes_even(truth):
    light = IlluminationConfig(
        background=4000.0, gradient=0.6, vignetting=0.5, dust=6, dust_depth=0.5
    )
    unlit = IlluminationConfig(background=0.0)
    dark, flat = empty_fields(truth, unlit, range(8)), empty_fields(truth, light, range(32))
    flattening = Flattening.from_frames(dark, flat)
    [frame] = empty_fields(truth, light, [100])
    image = flattening.apply(frame)
    assert np.std(frame) / (np.mean(frame) - 100) > 0.1
    # What is left is the noise of the frame and, 32 times less, of the flat frames.
    noise = np.mean(flattening.gain * np.sqrt((frame - 100.0) * flattening.gain))
    assert np.std(image) == pytest.approx(noise, rel=0.15)
    assert image.mean() == pytest.approx(np.mean(frame) - 100, rel=0.02)


def test_each_kind_of_frame_may_be_missing():
    frame = np.full((20, 30), 50, np.uint16)
    np.testing.assert_array_equal(Flattening.none((20, 30)).apply(frame), 50)
    np.testing.assert_array_equal(Flattening.from_frames(dark=[frame]).apply(frame), 0)
    np.testing.assert_array_equal(Flattening.from_frames(flat=[frame]).apply(frame), 50)


def test_flattening_writes_where_it_is_told():
    frame, out = np.full((20, 30), 7, np.uint8), np.empty((20, 30), np.float32)
    assert Flattening.none((20, 30)).apply(frame, out) is out
    assert (out == 7).all()


def test_bad_calibrations_are_refused():
    lit = np.full((32, 32), 1000, np.uint16)
    lit[3, 4] = 20
    with pytest.raises(FrameError, match="1 px of the lit field"):
        Flattening.from_frames(flat=[lit])
    with pytest.raises(FrameError, match="dark frames, or"):
        Flattening.from_frames()
    with pytest.raises(FrameError, match="expected frames of 32 rows and 32 columns"):
        Flattening.from_frames(flat=[np.full((32, 32), 9, np.uint8)] * 2 + [lit[:, :-1]])
    with pytest.raises(FrameError, match="region or binning"):
        Flattening.none((32, 32)).apply(lit[:20])


def test_the_median_leaves_out_what_moves():
    frames = []
    for k in range(9):
        frame = np.full((32, 200), 40, np.uint8)
        frame[10:20, 20 * k : 20 * k + 20] = 255
        frames.append(frame)
    np.testing.assert_array_equal(median_background(frames), 40)
    with pytest.raises(FrameError, match="at least one"):
        median_background([])


def test_the_running_median_is_one():
    # Asymmetric noise: the background settles at its median, not at its mean.
    random = np.random.default_rng(0)
    background = np.zeros((64, 64), np.float32)
    follow = RunningMedian(step=0.1)
    for _ in range(1500):
        follow.update(background, random.exponential(10, (64, 64)).astype(np.float32))
    assert background.mean() == pytest.approx(10 * np.log(2), abs=0.15)
    with pytest.raises(FrameError, match="float32"):
        follow.update(background, np.zeros((64, 64), np.uint8))
    with pytest.raises(ConfigError, match="step"):
        RunningMedian(step=0.0)


def test_saturation_is_counted():
    frame = np.zeros((20, 20), np.uint16)
    frame[:5] = 4095
    assert saturated_share(frame, 12) == 0.25
    assert saturated_share(frame, 16) == 0


def test_the_expected_shape_is_checked():
    check_frame(np.zeros((20, 30), np.uint8), (20, 30))
    with pytest.raises(FrameError, match="20 rows and 31 columns"):
        check_frame(np.zeros((20, 30), np.uint8), (20, 31))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_frames_that_are_lent_can_be_flattened(dtype):
    frame = np.full((32, 48), 7, dtype)
    frame.flags.writeable = False
    np.testing.assert_array_equal(Flattening.none((32, 48)).apply(frame), 7)
