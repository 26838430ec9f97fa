"""Every registered driver's mock keeps the contract of devices; devices that break it are found."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from swarmctl.bridge.devices.contract import (
    Camera,
    CameraSpec,
    Channel,
    Interlock,
    OutputSpec,
    PatternOutput,
    Shot,
    ValueOutput,
)
from swarmctl.bridge.devices.drivers import driver_config, drivers
from swarmctl.bridge.devices.memory import MemoryValues
from swarmctl.bridge.devices.ported_outputs import PortedValues
from swarmctl.core.errors import DeviceError
from swarmctl.testing import check_device

ROLES = {
    "camera": Camera,
    "values": ValueOutput,
    "pattern": PatternOutput,
    "interlock": Interlock,
}
TWO = {
    "channels": ["x", "y"],
    "units": ["V", "V"],
    "low": [-1, 0],
    "high": [1, 5],
    "safe": [0, 0],
}
TEXTS = {"set": ["X {value}", "Y {value}"], "get": ["X?", "Y?"], "answer": "OK"}
EXAMPLES: dict[str, dict[str, Any]] = {
    "memory-values": TWO,
    "micromanager-camera": {"cfg": "none.cfg"},
    "micromanager-slm": {"cfg": "none.cfg", "height": 30, "width": 40},
    "micromanager-values": TWO
    | {"cfg": "none.cfg", "devices": ["DA", "DA"], "properties": ["X", "Y"]},
    "micromanager-galvo": TWO | {"cfg": "none.cfg", "device": "Galvo"},
    "micromanager-stage": TWO | {"cfg": "none.cfg", "device": "XY", "units": ["um", "um"]},
    "micromanager-shutter": {"cfg": "none.cfg", "device": "Shutter"},
    "micromanager-interlock": {
        "cfg": "none.cfg",
        "device": "Door",
        "property": "State",
        "closed": "1",
    },
    "scpi": TWO | TEXTS | {"line": {"resource": "GPIB0::1::INSTR"}},
    "scpi-interlock": {"line": {"resource": "GPIB0::1::INSTR"}, "query": "?", "closed": "1"},
    "serial": TWO | TEXTS | {"line": {"port": "/dev/none"}},
    "serial-interlock": {"line": {"port": "/dev/none"}, "query": "?", "closed": "1"},
}
"""Keys of drivers that need some."""


@pytest.mark.parametrize("name", drivers().names())
def test_the_mock_of_a_registered_driver_keeps_the_contract(name: str) -> None:
    keys = {"driver": name} | EXAMPLES.get(name, {})
    config = driver_config(keys, tuple(ROLES), name)
    device = config.build()
    assert isinstance(device, ROLES[config.role])
    report = check_device(device, mock=True)
    assert report.ok, str(report)
    assert "device.connect" in report.passed


SPEC = OutputSpec("planted", "analogue", (Channel("x", "V", -1.0, 1.0, 0.5),))
CAMERA = CameraSpec("planted", 4, 6, 8, 0.001, 0.002)


class Clips(ValueOutput):
    """Clips instead of refusing, forgets to be safe, and fails in its own way unconnected."""

    spec = SPEC
    values: Any = None

    def connect(self, mock: bool = False) -> None:
        self.values = np.zeros(1)

    def disconnect(self) -> None:
        self.values = None

    def write(self, values: Any) -> None:
        self.values = self.values * 0 + np.clip(np.asarray(values), -1, 1)

    def read(self) -> Any:
        return self.values + 0

    def safe(self) -> None:
        self.values = self.values * 0


class Repeats(Camera):
    """Gives one frame again and again, for ever at once, exposed after it came."""

    spec = CAMERA
    running = False

    def connect(self, mock: bool = False) -> None:
        self.frame = np.zeros((4, 5), np.uint8)

    def disconnect(self) -> None:
        self.running = False

    def start(self) -> None:
        self.running = True

    def stop(self) -> None:
        self.running = False

    def newest(self, timeout: float) -> Shot:
        if not self.running:
            raise DeviceError("not running")
        now = time.monotonic()
        return Shot(self.frame, 3, now, now)


@pytest.mark.parametrize(
    ("make", "broken"),
    [
        (Clips, {"device.unconnected", "device.connect"}),
        (Repeats, {"device.unconnected", "device.connect"}),
    ],
)
def test_a_device_that_breaks_the_contract_is_found(
    make: Callable[[], Any], broken: set[str]
) -> None:
    assert check_device(make()).broken == broken


class HonestClips(Clips):
    def _open(self) -> None:
        if self.values is None:
            raise DeviceError("not connected")

    def write(self, values: Any) -> None:
        self._open()
        super().write(values)

    def read(self) -> Any:
        self._open()
        return super().read()

    def safe(self) -> None:
        self._open()
        super().safe()


class HonestRepeats(Repeats):
    open = False

    def connect(self, mock: bool = False) -> None:
        super().connect()
        self.open = True

    def disconnect(self) -> None:
        super().disconnect()
        self.open = False

    def start(self) -> None:
        if not self.open:
            raise DeviceError("not connected")
        super().start()


def test_an_output_that_is_not_safe_is_found() -> None:
    report = check_device(HonestClips())
    assert report.broken == {"device.safe-values"}, str(report)
    assert "device.bad-values" in report.skipped


def test_an_output_that_clips_is_found() -> None:
    class SafeClips(HonestClips):
        def connect(self, mock: bool = False) -> None:
            self.values = np.array([0.5])

        def safe(self) -> None:
            self.write(np.array([0.5]))

    report = check_device(SafeClips())
    assert report.broken == {"device.bad-values"}, str(report)
    assert any("x = inf: accepted" in str(f) for f in report.findings)


def test_a_camera_whose_frames_are_wrong_is_found() -> None:
    report = check_device(HonestRepeats())
    assert report.broken == {"device.frames"}, str(report)
    text = str(report)
    assert "a frame uint8 (4, 5)" in text
    assert "device.newest-times-out" in report.skipped


def test_a_spec_that_makes_no_sense_is_found() -> None:
    spec = OutputSpec(
        "odd",
        "analogue",
        (Channel("x", "V", 0.0, 1.0, 2.0), Channel("x", "V", 0.0, math.inf, 0.0)),
        latency=-1.0,
    )
    report = check_device(PortedValues(spec, MemoryValues(spec)))
    assert report.broken == {"device.spec"}
    assert len(report.findings) == 4
