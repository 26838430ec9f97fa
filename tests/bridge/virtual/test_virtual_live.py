"""The virtual laboratory in real time: devices keep the contract, and it dies with its parent."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from swarmctl.bridge.rig import read_rig
from swarmctl.bridge.virtual.camera import VirtualCameraConfig
from swarmctl.bridge.virtual.coils import VirtualCoilsConfig
from swarmctl.bridge.virtual.lab import virtual_lab
from swarmctl.bridge.virtual.stage import VirtualStageConfig
from swarmctl.core.errors import DeviceError, DeviceTimeoutError
from swarmctl.core.extras import import_extra
from swarmctl.records.trajectory import read_trajectory
from swarmctl.testing.device_suite import check_device

from .conftest import devices, quiet_sample


@pytest.mark.parametrize("mock", [True, False])
def test_the_devices_keep_the_contract(live_lab, mock):
    coils = VirtualCoilsConfig(address=live_lab.address, own_timeout=0.5).build()
    stage = VirtualStageConfig(address=live_lab.address).build()
    for device in (*devices(live_lab), coils, stage):
        report = check_device(device, mock=mock)
        assert report.passed, str(report)


def test_frames_have_the_times_at_which_they_were_taken(live_lab):
    camera, _ = devices(live_lab)
    camera.connect()
    camera.start()
    began, stalls = time.monotonic(), live_lab.status()["stalls"]
    shots = [camera.newest(5.0) for _ in range(10)]
    camera.disconnect()
    numbers = np.array([shot.number for shot in shots])
    exposed = np.array([shot.exposed for shot in shots])
    assert (np.diff(numbers) >= 1).all()
    slack = np.diff(exposed) - 0.05 * np.diff(numbers)
    assert (slack > -1e-6).all()
    if live_lab.status()["stalls"] == stalls:  # else the machine held it up for a second
        assert slack == pytest.approx(0.0, abs=1e-6)
    for shot in shots:
        assert shot.exposed + 0.005 + 0.01 <= shot.received <= time.monotonic()
        assert not shot.frame.flags.writeable
    assert exposed[0] > began - 0.1


def test_light_is_there_after_its_delay(live_lab):
    _, light = devices(live_lab)
    light.connect()
    before = time.monotonic()
    light.show(np.full(light.spec.shape, 100, np.uint8))
    assert time.monotonic() - before >= live_lab.config.projector.delay
    light.disconnect()


def test_the_rig_must_say_what_the_laboratory_is(live_lab):
    with pytest.raises(DeviceError, match="has width 256, the rig says 300"):
        VirtualCameraConfig(live_lab.address, width=300, height=256).build().connect()
    with pytest.raises(DeviceError, match="no virtual laboratory runs there"):
        VirtualCameraConfig(Path("nowhere.json")).build().connect()
    with (
        pytest.raises(DeviceError, match="holds a virtual laboratory already"),
        virtual_lab(folder=live_lab.folder),
    ):
        pass


def test_micromanager_sees_a_camera_and_a_light_modulator(live_lab):
    import_extra("lab")
    rig = read_rig(live_lab.micromanager_rig)
    camera, light = rig.camera.build(), rig.outputs[0].driver.build()
    camera.connect()
    light.connect()
    try:
        camera.start()
        first = camera.newest(5.0)
        assert first.frame.shape == (256, 256)
        brighter = []
        for _ in range(8):  # on a busy machine the light may time out between two frames
            light.show(np.full(light.spec.shape, 200, np.uint8))
            later = camera.newest(5.0)
            brighter.append(later.frame.mean() - first.frame.mean())
        assert max(brighter) == pytest.approx(120 * 200 / 255, rel=0.1)
        # A laboratory that stood still has taken no frames meanwhile.
        assert 8 <= later.number - first.number <= round((later.exposed - first.exposed) / 0.05)
    finally:
        camera.disconnect()
        light.disconnect()


def test_a_laboratory_that_slept_goes_on(live_lab):
    camera, _ = devices(live_lab)
    camera.connect()
    camera.start()
    before = camera.newest(10.0)
    stalls = live_lab.status()["stalls"]
    os.kill(live_lab.pid, signal.SIGSTOP)
    try:
        while True:  # what had been taken before comes first
            before = camera.newest(0.5)
    except DeviceTimeoutError:
        time.sleep(1.0)
    finally:
        os.kill(live_lab.pid, signal.SIGCONT)
    after = camera.newest(10.0)
    camera.disconnect()
    assert after.number > before.number
    assert after.exposed > before.exposed + 1.0
    assert live_lab.status()["stalls"] > stalls


def test_a_killed_laboratory_is_missed_and_leaves_its_record(tmp_path):
    with virtual_lab(quiet_sample(), tmp_path) as lab:
        camera, light = devices(lab)
        camera.connect()
        light.connect()
        camera.start()
        camera.newest(10.0)
        socket = Path(json.loads(lab.address.read_text())["socket"])
        lab.kill()
        for use in (lambda: camera.newest(1.0), light.safe):
            with pytest.raises(DeviceError, match="gone"):
                use()
        with pytest.raises(DeviceError, match="no virtual laboratory runs there"):
            lab.status()
        camera.disconnect()
        with pytest.raises(DeviceError, match="gone"):
            light.disconnect()
    assert not socket.parent.exists()
    assert not lab.address.exists()
    assert len(read_trajectory(lab.truth))


PARENT = """
import sys, time
import swarmctl.bridge.virtual.camera, swarmctl.bridge.virtual.coils
import swarmctl.bridge.virtual.interlock, swarmctl.bridge.virtual.light
import swarmctl.bridge.virtual.micromanager
from swarmctl.bridge.virtual.lab import virtual_lab
with virtual_lab(folder=sys.argv[1]) as lab:
    assert "jax" not in sys.modules
    print(lab.pid, flush=True)
    time.sleep(600)
"""


def look_until(camera, end):
    while time.monotonic() < end:
        camera.newest(1.0)


def test_nothing_is_left_when_the_parent_is_killed(tmp_path):
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    try:
        pid = int(parent.stdout.readline())
        socket = Path(json.loads((tmp_path / "address.json").read_text())["socket"])
        camera = VirtualCameraConfig(tmp_path / "address.json").build()
        camera.connect()
        camera.start()
        assert camera.newest(10.0).number >= 1
    finally:
        parent.send_signal(signal.SIGKILL)
        parent.wait()
        parent.stdout.close()
    end = time.monotonic() + 30
    with pytest.raises(DeviceError, match="gone"):
        look_until(camera, end)
    camera.disconnect()
    while Path(f"/proc/{pid}").exists() and time.monotonic() < end:
        time.sleep(0.05)
    assert not os.path.exists(f"/proc/{pid}")
    assert not socket.parent.exists()
