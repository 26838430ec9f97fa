"""Rendered frames keep what light and cameras keep."""

import dataclasses

import numpy as np
import pytest

from swarmctl.core.config import build, to_dict
from swarmctl.core.errors import CommandError, ConfigError
from swarmctl.core.state import SwarmState
from swarmctl.optics.affine import ViewConfig
from swarmctl.optics.image_formation import ImageFormation, Sample
from swarmctl.optics.optics_config import (
    CameraConfig,
    DimerConfig,
    FocusConfig,
    IlluminationConfig,
    JanusConfig,
    OpticsConfig,
    RodConfig,
    SpotConfig,
)

PIXEL = 0.2
DARK = IlluminationConfig(background=0.0, vignetting=0.0)
EVEN = IlluminationConfig(background=1000.0, vignetting=0.0)


def optics(**changes):
    """A view of 128 x 96 px in which light is neither lost nor added."""
    values = {
        "view": ViewConfig(pixel_size=PIXEL),
        "look": SpotConfig(sigma=0.6, brightness=400.0, spread=0.0),
        "illumination": DARK,
        "camera": CameraConfig(width=128, height=96, bits=12, offset=100.0),
    }
    return OpticsConfig(**values | changes)


def sample(position=((0.0, 0.0),), angle=0.0, first=0):
    position = np.asarray(position, float).reshape(len(position), -1 if len(position) else 2)
    director = np.zeros_like(position)
    director[:, 0], director[:, 1] = np.cos(angle), np.sin(angle)
    return Sample(position, director, np.arange(first, first + len(position)))


def moments(light):
    """Sum, centre (x, y) and variances (x, y) of an image."""
    y, x = np.indices(light.shape)
    total = light.sum(dtype=float)
    centre = np.array([(light * x).sum(dtype=float), (light * y).sum(dtype=float)]) / total
    spread = np.array([(light * (x - centre[0]) ** 2).sum(), (light * (y - centre[1]) ** 2).sum()])
    return total, centre, spread / total


def test_a_spot_lies_where_the_colloid_is():
    form = ImageFormation(optics(view=ViewConfig(PIXEL, rotation=0.4, centre=(50.0, 20.0))))
    for at in [(50.0, 20.0), (50.11, 20.07), (52.0, 18.03)]:
        _, centre, _ = moments(form.light(sample([at])))
        np.testing.assert_allclose(centre, form.config.affine.to_image(at), atol=0.002)


@pytest.mark.parametrize("height", [0.0, 0.5, 2.0, 8.0])
def test_defocus_keeps_the_light_of_a_spot(height):
    config = optics(focus=FocusConfig(offset=height))
    total, centre, spread = moments(ImageFormation(config).light(sample()))
    sigma = 0.6 / PIXEL
    assert total == pytest.approx(2 * np.pi * sigma**2 * 400, rel=1e-3)
    np.testing.assert_allclose(centre, [63.5, 47.5], atol=0.01)
    wider = spread.mean() / sigma**2
    assert wider == pytest.approx(1, rel=1e-3) if height == 0 else wider > 1


def test_height_counts_from_the_focal_plane():
    form = ImageFormation(optics(focus=FocusConfig(offset=3.0)))
    sharp = ImageFormation(optics()).light(sample())
    np.testing.assert_allclose(form.light(sample([(0.0, 0.0, 3.0)])), sharp, atol=1e-3)


@pytest.mark.parametrize("height", [0.0, 1.0])
@pytest.mark.parametrize("angle", [0.0, 0.7])
def test_a_rod_is_a_line_as_wide_as_a_spot(angle, height):
    # A segment of length L has the variance L²/12 along itself; convolution adds that of the spot.
    look = RodConfig(length=4.0, sigma=0.5, brightness=400.0, spread=0.0)
    config = optics(look=look, focus=FocusConfig(offset=height))
    total, centre, _ = moments(ImageFormation(config).light(sample(angle=angle)))
    wide, long = 0.5 / PIXEL, 4.0 / PIXEL
    assert total == pytest.approx(400 * np.sqrt(2 * np.pi) * wide * long, rel=2e-3)
    np.testing.assert_allclose(centre, [63.5, 47.5], atol=0.01)
    light = ImageFormation(config).light(sample(angle=angle))
    y, x = np.indices(light.shape)
    # The image's y points down.
    along = np.cos(angle) * (x - 63.5) - np.sin(angle) * (y - 47.5)
    across = np.sin(angle) * (x - 63.5) + np.cos(angle) * (y - 47.5)
    blur = (height * config.focus.slope / PIXEL) ** 2 / 2
    for way, segment in ((along, long**2 / 12), (across, 0.0)):
        variance = (light * way**2).sum(dtype=float) / total
        assert variance == pytest.approx(segment + wide**2 + blur, rel=0.01)
    if height == 0:
        assert light.max() == pytest.approx(400, rel=0.02)


def test_an_upright_rod_is_a_spot():
    look = RodConfig(length=4.0, sigma=0.5, brightness=400.0, spread=0.0)
    upright = Sample(np.zeros((1, 3)), np.array([[0.0, 0.0, 1.0]]), np.arange(1))
    total, _, spread = moments(ImageFormation(optics(look=look)).light(upright))
    assert total == pytest.approx(400 * np.sqrt(2 * np.pi) * 2.5 * 20, rel=2e-3)
    np.testing.assert_allclose(spread, 2.5**2, rtol=0.01)


def test_a_dimer_points_from_its_first_spot_to_the_other():
    look = DimerConfig(distance=3.0, sigma=0.4, brightness=400.0, ratio=0.5, spread=0.0)
    light = ImageFormation(optics(look=look)).light(sample(angle=np.pi / 2))
    y, _ = np.indices(light.shape)
    below, above = light * (y > 47.5), light * (y < 47.5)
    for part, at, brightness in ((below, 55.0, 400.0), (above, 40.0, 200.0)):
        total, centre, _ = moments(part)
        np.testing.assert_allclose(centre, [63.5, at], atol=0.02)
        assert total == pytest.approx(2 * np.pi * 2.0**2 * brightness, rel=2e-3)


def test_far_from_focus_a_spot_is_a_ring():
    focus = FocusConfig(offset=8.0)
    light = ImageFormation(optics(focus=focus)).light(sample())
    row = light[47:49].mean(axis=0)[64:]
    assert row.argmax() + 0.5 == pytest.approx(8.0 * focus.slope / PIXEL, abs=1)
    assert row[0] < 0.2 * row.max()


def test_motion_blurs_along_the_way():
    steps = [sample([(x, 0.0)]) for x in np.linspace(-0.5, 0.5, 101)]
    total, centre, spread = moments(ImageFormation(optics()).light(steps))
    still_total, still_centre, still = moments(ImageFormation(optics()).light(sample()))
    assert total == pytest.approx(still_total, rel=1e-4)
    np.testing.assert_allclose(centre, still_centre, atol=1e-3)
    variance = np.var(np.linspace(-0.5, 0.5, 101) / PIXEL)
    np.testing.assert_allclose(spread - still, [variance, 0], atol=0.01)


def test_noise_is_that_of_electrons_and_reading():
    # Photon transfer: the variance in counts is g²(electrons + read²).
    camera = CameraConfig(width=512, height=512, bits=16, gain=2.5, offset=300.0, read_noise=7.0)
    for electrons in (50.0, 5000.0):
        light = IlluminationConfig(background=electrons, vignetting=0.0)
        frame = ImageFormation(optics(camera=camera, illumination=light)).frame(sample([]), 3)
        values = frame.astype(float)
        assert values.mean() == pytest.approx(300 + 2.5 * electrons, rel=2e-3)
        assert values.var() == pytest.approx(2.5**2 * (electrons + 49) + 1 / 12, rel=0.02)


def test_brightness_belongs_to_the_identity():
    config = optics(look=SpotConfig(sigma=0.4, brightness=400.0, spread=0.3))
    form = ImageFormation(config)
    sums = [moments(form.light(sample(first=k)))[0] for k in range(400)]
    assert np.std(np.log(sums)) == pytest.approx(0.3, rel=0.12)
    assert moments(form.light(sample([(3.0, 1.0)], first=7)))[0] == pytest.approx(sums[7], rel=1e-3)


@pytest.mark.parametrize("angle", [0.0, 1.0, 2.5, -2.0])
def test_the_cap_lies_behind(angle):
    look = JanusConfig(radius=2.0, spread=0.0)
    config = optics(look=look, illumination=EVEN)
    light = ImageFormation(config).light(sample(angle=angle)) / 1000
    ahead = np.array([np.cos(angle), np.sin(angle)]) * 1.0
    for side, through in ((ahead, look.body), (-ahead, look.cap)):
        x, y = np.rint(config.affine.to_image(side)).astype(int)
        assert light[y, x] == pytest.approx(through, abs=1e-3)
    assert light[0, 0] == pytest.approx(1)


def test_a_disc_upright_is_seen_through_its_cap():
    look = JanusConfig(radius=2.0, spread=0.0)
    form = ImageFormation(optics(look=look, illumination=EVEN))
    for up in (1.0, -1.0):
        upright = Sample(np.zeros((1, 3)), np.array([[0.0, 0.0, up]]), np.zeros(1, int))
        middle = form.light(upright)[46:50, 62:66] / 1000
        np.testing.assert_allclose(middle, (look.body + look.cap) / 2, atol=1e-3)


def test_what_the_illumination_does():
    shape = {"width": 301, "height": 201}
    light = IlluminationConfig(background=500.0, vignetting=0.3)
    seen = ImageFormation(optics(illumination=light, camera=CameraConfig(**shape))).light(
        sample([])
    )
    assert seen[100, 150] == pytest.approx(500)
    assert seen[0, 0] == pytest.approx(350, rel=1e-4)
    light = IlluminationConfig(background=500.0, vignetting=0.0, gradient=0.5)
    seen = ImageFormation(optics(illumination=light, camera=CameraConfig(**shape))).light(
        sample([])
    )
    assert seen[:, -1].mean() > seen[:, 0].mean()
    assert seen.mean() == pytest.approx(500)
    light = IlluminationConfig(background=500.0, vignetting=0.0, dust=5, dust_depth=0.4)
    seen = ImageFormation(optics(illumination=light)).light(sample([]))
    assert 500 * 0.4**2 < seen.min() < 500 * 0.62
    assert np.median(seen) == pytest.approx(500)


@pytest.mark.parametrize(("bits", "dtype"), [(8, np.uint8), (12, np.uint16), (16, np.uint16)])
def test_full_pixels_stay_full(bits, dtype):
    camera = CameraConfig(width=64, height=64, bits=bits, offset=5.0)
    look = SpotConfig(brightness=1e6, spread=0.0)
    frame = ImageFormation(optics(look=look, camera=camera)).frame(sample(), 0)
    assert frame.dtype == dtype
    assert frame.shape == (64, 64)
    assert frame.max() == 2**bits - 1


def test_equal_numbers_give_equal_frames():
    config = optics(look=SpotConfig(spread=0.2), illumination=EVEN)
    one, other = ImageFormation(config), ImageFormation(config)
    np.testing.assert_array_equal(one.frame(sample(), 4), other.frame(sample(), 4))
    assert (one.frame(sample(), 4) != one.frame(sample(), 5)).mean() > 0.9
    other = ImageFormation(dataclasses.replace(config, seed=1))
    assert (one.frame(sample(), 4) != other.frame(sample(), 4)).mean() > 0.9


def test_only_what_is_present_is_seen():
    zeros = np.zeros(3, np.int32)
    state = SwarmState(
        position=np.array([[0.0, 0.0], [4.0, 0.0], [0.0, 5.0]], np.float32),
        image=np.zeros((3, 2), np.int32),
        director=np.array([[1.0, 0.0]] * 3, np.float32),
        velocity=np.zeros((3, 2), np.float32),
        angular_velocity=np.zeros(3, np.float32),
        species=zeros,
        identity=np.array([4, 5, 6], np.int32),
        present=np.array([True, False, True]),
        oriented=np.ones(3, bool),
        controllable=np.ones(3, bool),
        bodies=None,
        step=np.int32(0),
        time=np.float32(0),
        interval=np.float32(0.1),
    )
    seen = Sample.of(state)
    np.testing.assert_array_equal(seen.identity, [4, 6])
    np.testing.assert_allclose(seen.position, [[0, 0], [0, 5]])


@pytest.mark.parametrize("look", [SpotConfig(), JanusConfig(radius=1.2)])
def test_projected_light_is_as_good_as_the_lamps(look):
    lamp = dataclasses.replace(EVEN, background=1200.0)
    mixed = ImageFormation(optics(look=look, illumination=EVEN))
    bright = ImageFormation(optics(look=look, illumination=lamp))
    projected = np.full((96, 128), 200.0, np.float32)
    assert mixed.light(sample(), projected) == pytest.approx(bright.light(sample()), rel=1e-5)
    assert np.array_equal(mixed.frame(sample(), 3, projected), bright.frame(sample(), 3))


@pytest.mark.parametrize(
    "projected", [np.zeros((128, 96), np.float32), np.full((96, 128), np.nan, np.float32)]
)
def test_projected_light_that_does_not_fit_is_refused(projected):
    with pytest.raises(CommandError, match="projected light"):
        ImageFormation(optics()).frame(sample(), 0, projected)


def test_what_lies_outside_is_not_seen():
    form = ImageFormation(optics())
    assert form.light(sample([(1e6, 0.0), (-13.0, -300.0)])).max() == 0
    half = moments(form.light(sample([(-64 * PIXEL, 0.0)])))[0]
    assert half == pytest.approx(0.5 * 2 * np.pi * 9 * 400, rel=0.1)


def test_bad_samples_are_refused():
    form = ImageFormation(optics())
    with pytest.raises(CommandError, match="not finite"):
        form.light(sample([(np.nan, 0.0)]))
    with pytest.raises(CommandError, match=r"\[N,2\]"):
        form.light(Sample(np.zeros((2, 2)), np.zeros((1, 2)), np.zeros(2, int)))
    with pytest.raises(CommandError, match="at least one sample"):
        form.frame([], 0)


@pytest.mark.parametrize("look", [JanusConfig(radius=2.0), RodConfig(), DimerConfig(ratio=0.5)])
def test_a_configuration_survives_a_file(look):
    config = optics(look=look, focus=FocusConfig(offset=-1.5))
    assert build(OpticsConfig, to_dict(config)) == config


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: CameraConfig(bits=20), "bits"),
        (lambda: CameraConfig(width=4), "at least 8"),
        (lambda: CameraConfig(read_noise=-1.0), "read_noise"),
        (lambda: FocusConfig(aperture=1.4), "aperture"),
        (lambda: IlluminationConfig(vignetting=2.0), "vignetting"),
        (lambda: SpotConfig(sigma=0.0), "sigma"),
        (lambda: JanusConfig(cap=-0.1), "cap"),
        (lambda: RodConfig(length=0.0), "length"),
        (lambda: DimerConfig(ratio=2.0), "ratio"),
    ],
)
def test_configurations_out_of_range_are_refused(make, message):
    with pytest.raises(ConfigError, match=message):
        make()
