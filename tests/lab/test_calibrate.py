"""The verb `calibrate` on the toy laboratory: what is true comes out."""

from __future__ import annotations

import dataclasses
import time

import numpy as np
import pytest

pytest.importorskip("numba", reason="the extra 'vision' is not installed")

from swarmctl.bridge.calibration import read_calibration, read_flattening, write_calibration
from swarmctl.bridge.microscope import probing
from swarmctl.bridge.microscope.parts import Parts
from swarmctl.bridge.orders import Standing
from swarmctl.core.errors import CalibrationError, ConfigError
from swarmctl.lab import calibrate_bench, calibrate_runs
from swarmctl.lab.calibrate import calibrate
from swarmctl.lab.calibrate_config import CalibrateConfig

VIEW = {"pixel_size": 0.25, "rotation": 0.2, "mirror": True}


class Rigged:
    """A toy with its rig file."""

    def __init__(self, toy, folder, **keys):  # type: ignore[no-untyped-def]
        self.lab = toy.ToyLab(9, **keys)
        self.lab.shows_light = True
        self.camera, self.gate = toy.ToyCamera(self.lab), toy.ToyGate(self.lab)
        self.rig = toy.write_rig(folder, "offset_max = 1.2")
        self.parts = Parts(None, self.camera, self.gate, None, None, self.lab.clock)

    def calibrate(self, *parts, **keys):  # type: ignore[no-untyped-def]
        some = {"parts": parts} if parts else {}
        config = CalibrateConfig(
            rig=self.rig, operator="Ada", radius=2.0, colloids=12, **{**VIEW, **some, **keys}
        )
        return calibrate(config, self.parts)


COMPUTING = [
    (probing, "mean_frame"),
    (calibrate_bench, "find_spot"),
    (calibrate_bench, "switch_time"),
    (calibrate_bench, "fit_pattern"),
    (calibrate_runs, "_pulses"),
    (calibrate_runs, "_mean_way"),
    (calibrate_runs, "fit_response"),
]


def only_at_rest(monkeypatch, gate, done: set[str]) -> None:  # type: ignore[no-untyped-def]
    """Let what takes time fail while outputs are ACTIVE, and note that it was done."""

    def guarded(work, name):  # type: ignore[no-untyped-def]
        def run(*given, **keys):  # type: ignore[no-untyped-def]
            assert gate.standing is not Standing.ACTIVE, name
            done.add(name)
            return work(*given, **keys)

        return run

    for module, name in COMPUTING:
        monkeypatch.setattr(module, name, guarded(getattr(module, name), name))


def test_everything_at_once(toy, tmp_path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    """Maps within a pixel, laws within 5 % and four standard errors, delays within a gap of frames.

    With sixty pulses on colloids that come and go the standard errors are rough themselves. Nothing
    that takes time is done while outputs act.
    """
    rigged, computed = Rigged(toy, tmp_path, delay=0.02, noise=0.5), set[str]()
    only_at_rest(monkeypatch, rigged.gate, computed)
    done = rigged.calibrate(pulses=10, switches=6, grid=4, power=1.0)
    assert computed == {name for _, name in COMPUTING}
    found = read_calibration(tmp_path / "calibration.toml")
    assert found == done.calibration
    assert found.pattern.spots >= 6
    # Spots are looked for away from the edges.
    corner = np.array([[40, 40], [215, 40], [40, 215], [215, 215.0]])
    place = toy.TO_IMAGE.to_sample(corner)
    assert np.abs(found.pattern.map.to_image(place) - corner).max() < 1.0
    for name in ("slope", "threshold", "speed_max"):
        error = getattr(found.speed, f"{name}_error")
        true = getattr(toy.SPEED, name)
        assert abs(getattr(found.speed, name) - true) < 4 * error + 0.05 * true
    assert found.speed.slope_error < 0.15 * found.speed.slope
    assert abs(found.turn.steering + 4.0) < 4 * found.turn.steering_error + 0.2
    assert found.turn.steering_error < 0.5
    delay = found.delay
    assert delay.light_from == "camera"
    # Between two exposures 30 ms pass in which nothing is seen.
    assert delay.light.median == pytest.approx(0.02, abs=0.016)
    assert delay.frame.median == pytest.approx(toy.READOUT, abs=0.002)
    # In the toy they swim at once, or up to a step of 10 ms earlier; the light's own delay may be
    # off by half of that gap.
    assert delay.motion.median == pytest.approx(0.0, abs=0.016 + 0.01)
    assert delay.motion.interval[0] <= delay.motion.median <= delay.motion.interval[1]
    assert np.diff(delay.motion.interval) < 0.04
    assert "95 % interval" in done.text
    assert "away from the light" in done.text
    assert done.picture.read_bytes()[:4] == b"\x89PNG"
    assert "Ada" in (tmp_path / "calibration.txt").read_text()
    assert rigged.gate.standing is Standing.DISCONNECTED
    assert found.expires_at - found.made_at == 43200


def test_parts_are_kept_and_expire_with_the_oldest(toy, tmp_path) -> None:  # type: ignore[no-untyped-def]
    rigged = Rigged(toy, tmp_path)
    first = rigged.calibrate("view", "pattern", grid=4, validity=600.0).calibration
    second = rigged.calibrate("pattern", grid=4, validity=6000.0)
    assert second.calibration.view == first.view
    assert second.calibration.expires_at <= first.expires_at
    assert "kept from" in second.text
    old = dataclasses.replace(first, expires="2021-01-01T00:00:00+00:00")
    write_calibration(old, tmp_path / "calibration.toml")
    with pytest.raises(CalibrationError, match=r"view would be kept, but .*expired"):
        rigged.calibrate("pattern", grid=4)
    assert read_calibration(tmp_path / "calibration.toml") == old


def test_no_light_no_calibration(toy, tmp_path) -> None:  # type: ignore[no-untyped-def]
    rigged = Rigged(toy, tmp_path)
    rigged.lab.shows_light = False
    with pytest.raises(CalibrationError, match=r"pattern: .* spots"):
        rigged.calibrate("view", "pattern", grid=3)
    assert not (tmp_path / "calibration.toml").exists()
    assert rigged.gate.standing is Standing.DISCONNECTED
    with pytest.raises(CalibrationError, match="need the part pattern first"):
        rigged.calibrate("view", "speed")
    with pytest.raises(CalibrationError, match="begin with the part view"):
        rigged.calibrate("pattern")


def test_colloids_that_do_not_swim(toy, tmp_path) -> None:  # type: ignore[no-untyped-def]
    rigged = Rigged(toy, tmp_path, noise=0.3)
    rigged.lab.swim = False
    with pytest.raises(CalibrationError, match=r"no swimming|hardly"):
        rigged.calibrate("view", "pattern", "speed", grid=4, pulses=6, power=1.0)


def test_dark_and_flat_frames(toy, tmp_path) -> None:  # type: ignore[no-untyped-def]
    rigged = Rigged(toy, tmp_path)
    flat = np.full((3, 256, 256), 800, np.uint16)
    flat[:, :, 128:] = 1200
    np.save(tmp_path / "flat.npy", flat)
    done = rigged.calibrate("view", "flattening", flat=tmp_path / "flat.npy")
    flattening = read_flattening(done.calibration, tmp_path)
    assert flattening is not None
    np.testing.assert_allclose(flattening.gain[0, [0, 255]], [1.25, 1000 / 1200], rtol=1e-5)
    np.save(tmp_path / "small.npy", flat[:, :100])
    with pytest.raises(CalibrationError, match="the camera's are"):
        rigged.calibrate("view", "flattening", flat=tmp_path / "small.npy")
    with pytest.raises(CalibrationError, match="give dark or flat"):
        rigged.calibrate("flattening")
    with pytest.raises(CalibrationError, match="holds no frames"):
        rigged.calibrate("flattening", dark=tmp_path / "none.npy")


def test_frames_are_taken_by_the_camera(toy, tmp_path) -> None:  # type: ignore[no-untyped-def]
    """Dark, then flat among colloids that move: an empty field is even after it, within 2 %."""
    rigged = Rigged(toy, tmp_path)
    rigged.calibrate("view")
    rigged.lab.lamp = False
    done = rigged.calibrate("flattening", take="dark", lamp="covered", frames=20)
    dark = read_flattening(done.calibration, tmp_path)
    assert dark.dark.mean() == pytest.approx(100.0, abs=0.1)
    assert (dark.gain == 1).all()
    rigged.lab.lamp, rigged.lab.noise = True, 30.0  # everybody moves by a diameter in 0.25 s
    keys = {"take": "flat", "lamp": "on", "frames": 41, "frame_every": 0.25}
    done = rigged.calibrate("flattening", **keys)
    assert "median of 41 frames" in done.text
    assert "look like colloids" not in done.text
    found = read_flattening(done.calibration, tmp_path)
    np.testing.assert_array_equal(found.dark, dark.dark)
    rigged.lab.visible[:] = False
    empty = np.mean([found.apply(rigged.lab.frame()) for _ in range(20)], axis=0)
    level = empty.reshape(16, 16, 16, 16).mean(axis=(1, 3))
    assert np.abs(level / level.mean() - 1).max() < 0.02
    assert np.ptp(found.gain.reshape(16, 16, 16, 16).mean(axis=(1, 3))) > 0.05
    assert not rigged.gate.orders


def test_what_has_to_be_done_before_frames_are_taken(toy, tmp_path) -> None:  # type: ignore[no-untyped-def]
    rigged = Rigged(toy, tmp_path)
    rigged.calibrate("view")
    with pytest.raises(ConfigError, match=r"cover it, and say so: lamp=covered"):
        rigged.calibrate("flattening", take="dark")
    with pytest.raises(ConfigError, match="say so: lamp=on"):
        rigged.calibrate("flattening", take="flat", lamp="covered")
    with pytest.raises(CalibrationError, match="so there was light"):
        rigged.calibrate("flattening", take="dark", lamp="safe", frames=4)
    with pytest.raises(ConfigError, match="leave them out"):
        rigged.calibrate("flattening", take="dark", lamp="safe", dark=tmp_path / "dark.npy")
    done = rigged.calibrate("flattening", take="flat", lamp="on", frames=3, frame_every=0.05)
    assert "dark was taken to be 0" in done.text
    assert "9 places of the flat field look like colloids" in done.text


def test_keys_are_checked(tmp_path) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ConfigError, match="who stands beside"):
        calibrate(CalibrateConfig(rig=tmp_path))
    with pytest.raises(ConfigError, match="allowed: view"):
        CalibrateConfig(rig=tmp_path, operator="Ada", parts=("all",))


def test_a_calibration_is_read_as_it_was_written(toy, tmp_path) -> None:  # type: ignore[no-untyped-def]
    known = toy.calibration("rig")
    path = tmp_path / "calibration.toml"
    write_calibration(known, path)
    assert read_calibration(path) == known
    assert read_calibration(path).digest == known.digest
    assert time.time() < known.expires_at
    path.write_text('made = "yesterday"\n')
    with pytest.raises(CalibrationError, match="no time in ISO 8601"):
        read_calibration(path)
    path.write_text('made = "2020-01-01T00:00:00"\n')
    with pytest.raises(CalibrationError, match="lacks its time zone"):
        read_calibration(path)
