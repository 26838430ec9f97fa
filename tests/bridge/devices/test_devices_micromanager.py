"""Micro-Manager: its demonstration devices, and a camera and a modulator written in Python."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from swarmctl.bridge.devices import micromanager_core
from swarmctl.core.errors import ConfigError, DeviceError, DeviceTimeoutError
from swarmctl.testing import check_device

CAMERA = {"exposure": "10 ms", "height": 512, "width": 512}

PARTS = """
import time
import numpy as np
from pymmcore_plus.experimental.unicore import SimpleCameraDevice, SLMDevice

FAULT = {"after": None, "hang": False}
SHOWN, EXPOSURES = [], []

class Camera(SimpleCameraDevice):
    count = 0
    exposure = 5.0

    def get_exposure(self):
        return self.exposure

    def set_exposure(self, exposure):
        self.exposure = exposure

    def sensor_shape(self):
        return (48, 64)

    def dtype(self):
        return np.uint16

    def snap(self, buffer):
        if FAULT["after"] is not None and self.count >= FAULT["after"]:
            if FAULT["hang"]:
                time.sleep(1.0)
            raise RuntimeError("the cable was pulled")
        begin = time.monotonic()
        time.sleep(self.exposure / 1000)
        buffer[:] = self.count
        self.count += 1
        return {"Exposed-monotonic-s": (begin + time.monotonic()) / 2}

class Modulator(SLMDevice):
    image = None

    def shape(self):
        return (30, 40)

    def dtype(self):
        return np.uint8

    def set_image(self, pixels):
        self.image = pixels.copy()

    def display_image(self):
        SHOWN.append(self.image)

    def set_exposure(self, interval_ms):
        EXPOSURES.append(interval_ms)

    def get_exposure(self):
        return EXPOSURES[-1]
"""


@pytest.fixture
def parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Make a module with devices in Python, and a cfg file `parts.cfg` that loads them."""
    pytest.importorskip("pymmcore_plus", reason="needs the extra lab")
    (tmp_path / "lab_parts.py").write_text(PARTS)
    (tmp_path / "parts.cfg").write_text(
        "#py pyDevice,Camera,lab_parts,Camera\n#py pyDevice,SLM,lab_parts,Modulator\n"
        "Property,Core,Initialize,1\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    import lab_parts

    yield lab_parts
    del sys.modules["lab_parts"]


def python_camera(make_device: Any, folder: Path, **changed: Any) -> Any:
    keys = {"height": 48, "width": 64, "bits": 16, "exposure": "5 ms"} | changed
    return make_device("micromanager-camera", cfg=str(folder / "parts.cfg"), **keys)


OUTPUTS: dict[str, dict[str, Any]] = {
    "values": {
        "devices": ["DA1", "DA2"],
        "properties": ["Voltage", "Voltage"],
        "channels": ["red", "blue"],
        "units": ["V", "V"],
        "low": [0, 0],
        "high": [5, 10],
        "safe": [0, 1],
    },
    "galvo": {
        "device": "Galvo",
        "channels": ["x", "y"],
        "units": ["V", "V"],
        "low": [0, 1],
        "high": [10, 9],
        "safe": [5, 5],
    },
    "stage": {
        "device": "XY",
        "channels": ["x", "y"],
        "units": ["um", "um"],
        "low": [-5, -5],
        "high": [5, 5],
        "safe": [0, 0],
    },
    "focus": {
        "device": "Focus",
        "channels": ["z"],
        "units": ["um"],
        "low": [-5],
        "high": [5],
        "safe": [1],
    },
    "shutter": {"device": "Shutter"},
}


@pytest.mark.parametrize("name", OUTPUTS)
def test_demonstration_outputs_keep_the_contract(
    name: str, demo_cfg: Path, make_device: Any
) -> None:
    driver = f"micromanager-{'stage' if name == 'focus' else name}"
    report = check_device(make_device(driver, cfg=str(demo_cfg), **OUTPUTS[name]), mock=False)
    assert report.ok, str(report)
    assert "device.read-back" in report.passed


def test_demonstration_camera_keeps_the_contract(demo_cfg: Path, make_device: Any) -> None:
    camera = make_device(
        "micromanager-camera",
        cfg=str(demo_cfg),
        bits=12,
        exposure="10 ms",
        binning=2,
        region=[16, 8],
        height=100,
        width=120,
        properties=["PixelType=16bit", "BitDepth=12"],
    )
    report = check_device(camera, mock=False)
    assert report.ok, str(report)
    assert {"device.frames", "device.newest-times-out"} <= set(report.passed)


def test_devices_in_python_keep_the_contract(parts: Any, tmp_path: Path, make_device: Any) -> None:
    camera = python_camera(make_device, tmp_path)
    modulator = make_device(
        "micromanager-slm", cfg=str(tmp_path / "parts.cfg"), height=30, width=40, own_timeout="1 s"
    )
    for device in (camera, modulator):
        report = check_device(device, mock=False)
        assert report.ok, str(report)
    assert {"device.patterns"} <= set(report.passed)
    assert any(image.min() == 255 for image in parts.SHOWN)
    assert parts.SHOWN[-1].max() == 0
    assert set(parts.EXPOSURES) == {1000.0}


def test_newest_skips_what_is_old_and_numbers_tell_how_much(
    demo_cfg: Path, make_device: Any
) -> None:
    camera = make_device("micromanager-camera", cfg=str(demo_cfg), **CAMERA)
    camera.connect()
    camera.start()
    first = camera.newest(5)
    time.sleep(0.2)
    second = camera.newest(5)
    third = camera.newest(5)
    camera.disconnect()
    assert second.number - first.number >= 5
    assert second.exposed - first.exposed > 0.1
    assert third.number > second.number
    assert not third.frame.flags.writeable


def test_a_camera_may_say_itself_when_it_was_exposed(
    parts: Any, tmp_path: Path, make_device: Any
) -> None:
    camera = python_camera(make_device, tmp_path)
    camera.connect()
    camera.start()
    before = time.monotonic()
    shots = [camera.newest(5) for _ in range(4)]
    camera.disconnect()
    counts = [int(shot.frame[0, 0]) for shot in shots]
    assert [shot.number for shot in shots] == counts
    assert all(before - 0.1 < shot.exposed < shot.received - 0.002 for shot in shots)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize(
    ("hang", "says"), [(False, "has stopped taking frames by itself"), (True, "no frame came")]
)
def test_a_camera_that_dies_or_hangs_in_its_thread_times_out(
    parts: Any, tmp_path: Path, make_device: Any, hang: bool, says: str
) -> None:
    camera = python_camera(make_device, tmp_path)
    camera.connect()
    parts.FAULT.update(after=2, hang=hang)
    camera.start()

    def until_it_fails() -> None:
        for _ in range(3):
            camera.newest(0.5)

    with pytest.raises(DeviceTimeoutError, match=says):
        until_it_fails()
    camera.disconnect()


def test_devices_of_one_cfg_share_a_core_and_only_one_camera_streams(
    demo_cfg: Path, make_device: Any
) -> None:
    camera, other = (
        make_device("micromanager-camera", cfg=str(demo_cfg), **CAMERA) for _ in range(2)
    )
    shutter = make_device("micromanager-shutter", cfg=str(demo_cfg), device="Shutter")
    lock = make_device(
        "micromanager-interlock",
        cfg=str(demo_cfg),
        device="Shutter",
        property="State",
        closed="1",
    )
    for device in (camera, shutter, lock):
        device.connect()
    camera.start()
    assert lock.closed() is False
    shutter.write(np.array([1.0]))
    assert lock.closed() is True
    with pytest.raises(DeviceError, match="a core streams one camera at a time"):
        other.connect()
    shutter.disconnect()
    assert lock.closed() is False
    assert camera.newest(5).number >= 0
    camera.disconnect()
    lock.disconnect()


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"device": "Camra"}, "has no device 'Camra'. Did you mean 'Camera'"),
        ({"height": 256}, "height 512 and width 512, the keys say 256 and 512"),
        ({"bits": 12}, "8 bits in 1 byte"),
        ({"properties": ["Gian=1"]}, "no property 'Gian'. Did you mean 'Gain'"),
        ({"properties": ["Gain=99"]}, "connecting failed"),
        ({"properties": ["PixelType=32bitRGB"]}, "in colour"),
        ({"cfg": "absent.cfg"}, "there is no Micro-Manager configuration"),
    ],
)
def test_a_camera_that_differs_from_its_keys_is_refused(
    demo_cfg: Path, make_device: Any, keys: dict[str, Any], says: str
) -> None:
    camera = make_device("micromanager-camera", **({"cfg": str(demo_cfg)} | CAMERA | keys))
    with pytest.raises(DeviceError, match=says):
        camera.connect()
    camera.disconnect()
    again = make_device("micromanager-camera", cfg=str(demo_cfg), **CAMERA)
    again.connect()
    again.disconnect()


@pytest.mark.parametrize(
    ("name", "keys", "says"),
    [
        ("values", {"properties": ["Voltage", "Volts"]}, "DA2 has no property 'Volts'"),
        ("values", {"properties": ["Voltage", "HubID"]}, "HubID is no number that can be set"),
        ("values", {"high": [5, 11]}, "takes 0 to 10, the keys low and high say 0 to 11"),
        ("galvo", {"high": [10, 12]}, "y takes 0 to 10"),
        ("stage", {"device": "Focus"}, "Focus is a StageDevice, not a stage of 2 axes"),
        ("shutter", {"device": "Lamp"}, "no device 'Lamp'"),
    ],
)
def test_an_output_that_differs_from_its_keys_is_refused(
    demo_cfg: Path, make_device: Any, name: str, keys: dict[str, Any], says: str
) -> None:
    output = make_device(f"micromanager-{name}", cfg=str(demo_cfg), **(OUTPUTS[name] | keys))
    with pytest.raises(DeviceError, match=says):
        output.connect()


def test_a_shutter_takes_nothing_in_between(demo_cfg: Path, make_device: Any) -> None:
    shutter = make_device("micromanager-shutter", cfg=str(demo_cfg), device="Shutter")
    shutter.connect()
    with pytest.raises(DeviceError, match=r"takes 0 or 1, got 0\.5"):
        shutter.write(np.array([0.5]))
    shutter.disconnect()
    with pytest.raises(ConfigError, match="a shutter has one channel"):
        make_device("micromanager-shutter", cfg="demo.cfg", device="Shutter", high=[2.0])


def test_adapters_of_another_interface_are_named(
    demo_cfg: Path, make_device: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutter = make_device("micromanager-shutter", cfg=str(demo_cfg), device="Shutter")
    wanted = micromanager_core.core_interface()
    monkeypatch.setattr(micromanager_core, "adapters_interface", lambda folder: wanted - 1)
    with pytest.raises(DeviceError, match=f"have device interface {wanted - 1}, pymmcore .* has"):
        shutter.connect()


def test_the_interface_of_adapters_is_asked_of_them(demo_cfg: Path, tmp_path: Path) -> None:
    import mm_test_adapters

    folder = Path(mm_test_adapters.device_adapter_path())
    assert micromanager_core.adapters_interface(folder) == micromanager_core.core_interface()
    assert micromanager_core.adapters_interface(tmp_path) is None


def test_a_process_that_leaves_devices_open_ends_without_aborting(
    demo_cfg: Path, parts: Any
) -> None:
    """Without the clean-up at exit such processes abort now and then, with status 134."""
    code = (
        "import sys\n"
        "from swarmctl.bridge.devices.drivers import driver_config as make\n"
        f"demo, python = {str(demo_cfg)!r}, {str(demo_cfg.parent / 'parts.cfg')!r}\n"
        "sys.path.insert(0, python.rpartition('/')[0])\n"
        "c = make(dict(driver='micromanager-camera', cfg=demo), 'camera', '').build()\n"
        "p = make(dict(driver='micromanager-camera', cfg=python, height=48, width=64, bits=16,\n"
        "              exposure=0.005), 'camera', '').build()\n"
        "for camera in (c, p):\n"
        "    camera.connect(); camera.start(); camera.newest(5)\n"
        "assert 'jax' not in sys.modules\n"
    )
    for _ in range(2):
        ran = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=60
        )
        assert ran.returncode == 0, ran.stderr
