"""Devices without hardware: frames at the pace of a camera, and what other processes can see."""

from __future__ import annotations

import itertools
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from swarmctl.core.errors import ConfigError, DeviceError, DeviceTimeoutError

TWO: dict[str, Any] = {
    "channels": ["x", "y"],
    "units": ["V", "V"],
    "low": [-1, 0],
    "high": [1, 5],
    "safe": [0, 2],
}


def frame_of(number: int) -> Any:
    return np.full((4, 6), number, np.uint8)


def test_frames_come_at_the_period_and_times_follow_from_their_numbers(
    make_device: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    camera = make_device(
        "memory-camera",
        height=4,
        width=6,
        exposure="4 ms",
        period="10 ms",
        function=f"{__file__}:frame_of",
    )
    camera.connect()
    camera.start()
    shots = [camera.newest(1.0)]
    time.sleep(0.06)
    shots += [camera.newest(1.0) for _ in range(3)]
    camera.stop()
    camera.start()
    shots.append(camera.newest(1.0))
    camera.disconnect()
    numbers = [shot.number for shot in shots]
    assert numbers[1] - numbers[0] >= 5
    assert all(int(shot.frame[0, 0]) == shot.number for shot in shots)
    for first, second in itertools.pairwise(shots[:-1]):
        passed = (second.number - first.number) * 0.01
        assert second.exposed - first.exposed == pytest.approx(passed, abs=1e-9)
        assert second.received - second.exposed >= 0.002
    assert numbers[-1] > numbers[-2]


def test_newest_waits_as_long_as_it_is_told_and_no_longer(make_device: Any) -> None:
    camera = make_device("memory-camera", height=4, width=6, exposure="30 s")
    camera.connect()
    camera.start()
    start = time.monotonic()
    with pytest.raises(DeviceTimeoutError, match=r"no frame came within 0\.05 s.* every 30 s"):
        camera.newest(0.05)
    assert 0.05 <= time.monotonic() - start < 5
    for bad in (-1.0, float("nan"), float("inf")):
        with pytest.raises(DeviceError, match="a timeout is at least 0 s"):
            camera.newest(bad)
    camera.disconnect()


@pytest.mark.parametrize("suffix", [".npy", ".tif"])
def test_a_file_of_frames_is_shown_in_a_loop(make_device: Any, tmp_path: Path, suffix: str) -> None:
    stack = np.arange(3 * 4 * 6, dtype=np.uint16).reshape(3, 4, 6)
    path = tmp_path / f"frames{suffix}"
    if suffix == ".npy":
        np.save(path, stack)
    else:
        pytest.importorskip("tifffile", reason="needs the extra lab").imwrite(
            path, stack, photometric="minisblack"
        )
    camera = make_device(
        "memory-camera", height=4, width=6, bits=16, exposure="1 ms", file=str(path)
    )
    camera.connect()
    camera.start()
    for _ in range(5):
        shot = camera.newest(5.0)
        assert np.array_equal(shot.frame, stack[shot.number % 3])
    camera.disconnect()


def test_frames_that_cannot_be_had_are_refused_when_it_connects(
    make_device: Any, tmp_path: Path
) -> None:
    np.save(tmp_path / "flat.npy", np.zeros(5))
    (tmp_path / "text.npy").write_text("no frames")
    for file, says in (
        ("absent.npy", "cannot be read as frames"),
        ("text.npy", "cannot be read as frames"),
        ("flat.npy", r"frames are \[H,W\]"),
    ):
        camera = make_device("memory-camera", file=str(tmp_path / file))
        with pytest.raises(DeviceError, match=says):
            camera.connect()
    with pytest.raises(DeviceError, match=r"no 'frame_on'\. Did you mean 'frame_of'"):
        make_device("memory-camera", function=f"{__file__}:frame_on").connect()
    with pytest.raises(ConfigError, match="a function or a file, not both"):
        make_device("memory-camera", function="a:b", file="c.npy")
    wrong = make_device("memory-camera", height=4, width=7, function=f"{__file__}:frame_of")
    wrong.connect()
    wrong.start()
    with pytest.raises(DeviceError, match=r"gave a frame uint8 \(4, 6\)"):
        wrong.newest(5.0)
    wrong.disconnect()


def test_after_its_own_timeout_an_output_is_safe_by_itself(make_device: Any) -> None:
    values = make_device("memory-values", **TWO, own_timeout="0.2 s")
    pattern = make_device("memory-pattern", height=2, width=3, own_timeout="0.2 s")
    for device in (values, pattern):
        assert device.spec.own_timeout == 0.2
        device.connect()
    values.write(np.array([1.0, 5.0]))
    pattern.show(np.full((2, 3), 9, np.uint8))
    assert pattern.port.shown[-1][1].max() == 9
    time.sleep(0.25)
    assert values.port.written[-1][1].tolist() == [1.0, 5.0]
    assert values.read().tolist() == [0.0, 2.0]
    assert pattern.port.light.max() == 0


def test_what_is_written_can_be_followed_from_another_process(
    make_device: Any, tmp_path: Path
) -> None:
    values = make_device("memory-values", **TWO, log=str(tmp_path / "values.log"))
    pattern = make_device("memory-pattern", height=2, width=3, log=str(tmp_path / "light.log"))
    begin = time.monotonic()
    for device in (values, pattern):
        device.connect()
    values.write(np.array([0.25, 5.0]))
    pattern.show(np.full((2, 3), 9, np.uint8))
    found = np.loadtxt(tmp_path / "values.log")
    assert found[:, 1:].tolist() == [[0, 2], [0.25, 5]]
    assert begin <= found[0, 0] <= found[1, 0] <= time.monotonic()
    assert np.loadtxt(tmp_path / "light.log")[:, 1:].tolist() == [[0, 0], [54, 9]]
    for device in (values, pattern):
        device.disconnect()
    assert np.loadtxt(tmp_path / "values.log")[-1, 1:].tolist() == [0, 2]


def test_an_interlock_may_be_a_file(make_device: Any, tmp_path: Path) -> None:
    lock = make_device("memory-interlock", file=str(tmp_path / "door-is-closed"))
    lock.connect()
    assert lock.closed() is False
    (tmp_path / "door-is-closed").touch()
    assert lock.closed() is True
    lock.disconnect()
    with pytest.raises(DeviceError, match="is not connected"):
        lock.closed()


def test_a_device_cannot_be_connected_twice(make_device: Any) -> None:
    values = make_device("memory-values", **TWO)
    values.connect()
    with pytest.raises(DeviceError, match="is connected already"):
        values.connect(mock=True)
    values.disconnect()
