"""The verb that looks at a rig without light: what is wrong is found, the rest is looked at."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

pytest.importorskip("numba", reason="the extra 'vision' is not installed")

from swarmctl.bridge.microscope.parts import Parts
from swarmctl.bridge.orders import Standing
from swarmctl.bridge.rig import read_rig
from swarmctl.core.errors import ConfigError
from swarmctl.lab.check import CheckRigConfig, check_rig


def looked_at(toy, folder, change=None, **keys):  # type: ignore[no-untyped-def]
    """The findings by name, of a toy to which something was done."""
    path = toy.write_rig(folder)
    path.write_text(
        path.read_text().replace("[outputs.light]\n", '[outputs.light]\nunguarded = "toy"\n')
    )
    lab = toy.ToyLab(4)
    known = toy.calibration(read_rig(path).hardware_digest)
    parts = Parts(None, toy.ToyCamera(lab), toy.ToyGate(lab), known, None, lab.clock)
    if change is not None:
        parts = change(parts, path) or parts
    report = check_rig(CheckRigConfig(rig=path, frames=20, hours=0, radius=2.0, **keys), parts)
    return report, {finding.name: finding for finding in report.findings}, parts


def test_a_good_rig_passes_and_nothing_shines(toy, tmp_path) -> None:  # type: ignore[no-untyped-def]
    report, found, parts = looked_at(toy, tmp_path)
    assert report.passed, str(report)
    assert set(found) == {
        "file", "limits", "time-out", "expiry", "calibration", "steering", "room", "interlock",
        "supervisor", "camera", "period", "exposure", "detector", "tracking",
    }  # fmt: skip
    assert parts.gatekeeper.orders == []
    assert parts.gatekeeper.events == ["close"]
    assert parts.gatekeeper.standing is Standing.DISCONNECTED
    assert parts.camera.closed == 1
    assert "14 of 14 passed" in str(report)


def _edit(old: str, new: str):  # type: ignore[no-untyped-def]
    def change(parts, path):  # type: ignore[no-untyped-def]
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))

    return change


def _calibrated(**changes):  # type: ignore[no-untyped-def]
    def change(parts, path):  # type: ignore[no-untyped-def]
        return dataclasses.replace(
            parts, calibration=dataclasses.replace(parts.calibration, **changes)
        )

    return change


def _camera(name, value):  # type: ignore[no-untyped-def]
    def change(parts, path):  # type: ignore[no-untyped-def]
        setattr(parts.camera, name, value)

    return change


def _blank(parts, path) -> None:  # type: ignore[no-untyped-def]
    parts.camera.lab.visible[:] = False


def _full(parts, path) -> None:  # type: ignore[no-untyped-def]
    parts.camera.lab.frame = lambda: np.full((256, 256), 4095, np.uint16)


def _broken(parts, path) -> None:  # type: ignore[no-untyped-def]
    def fault() -> None:
        parts.gatekeeper.standing, parts.gatekeeper.fault = Standing.FAULT, "the shutter is stuck"

    parts.gatekeeper.open = fault


@pytest.mark.parametrize(
    ("name", "text", "change"),
    [
        ("file", "no such rig", lambda parts, path: path.unlink()),
        ("limits", "exceeds the device's 2", _edit("power_max = 2.0", "power_max = 3.0")),
        ("time-out", "say in the rig why", _edit('unguarded = "toy"\n', "")),
        ("expiry", "more time", _edit("[supervisor]", "[supervisor]\nexpiry = 0.05")),
        ("calibration", "expired", _calibrated(expires="2021-01-01T00:00:00+00:00")),
        ("calibration", "another rig", _calibrated(rig="other")),
        ("steering", "part 'speed'", _calibrated(speed=None)),
        ("supervisor", "shutter is stuck", _broken),
        ("frames", "no frame for", _camera("dead", True)),
        ("detector", "0 colloids", _blank),
        ("exposure", "expose less", _full),
    ],
)
def test_what_is_wrong_is_found(toy, tmp_path, name, text, change) -> None:  # type: ignore[no-untyped-def]
    report, found, parts = looked_at(toy, tmp_path, change)
    assert not report.passed
    assert not found[name].passed
    assert text in found[name].why
    assert name == "file" or parts.camera.closed == 1


def test_a_disk_that_is_too_small(toy, tmp_path) -> None:  # type: ignore[no-untyped-def]
    path = toy.write_rig(tmp_path)
    lab = toy.ToyLab(4)
    parts = Parts(None, toy.ToyCamera(lab), toy.ToyGate(lab), toy.calibration(), None, lab.clock)
    report = check_rig(CheckRigConfig(rig=path, frames=10, hours=1e9), parts)
    assert "record elsewhere" in next(f.why for f in report.findings if f.name == "room")
    with pytest.raises(ConfigError, match="10 frames"):
        CheckRigConfig(frames=1)
