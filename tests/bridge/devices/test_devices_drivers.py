"""Names of drivers: roles, relative paths, and packages of others."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from swarmctl.bridge.devices.drivers import driver_config
from swarmctl.core.errors import ConfigError, UnknownNameError


def test_wrong_names_and_roles_are_answered_with_the_right_ones() -> None:
    with pytest.raises(ConfigError, match="camera: say which driver; allowed: memory-camera"):
        driver_config({}, "camera", "camera")
    with pytest.raises(UnknownNameError, match="Did you mean 'memory-camera'"):
        driver_config({"driver": "memry-camera"}, "camera", "camera")
    with pytest.raises(ConfigError, match="is for the role 'interlock', here pattern or values"):
        driver_config({"driver": "memory-interlock"}, ("pattern", "values"), "outputs.a")
    with pytest.raises(UnknownNameError, match=r"camera\.heigth"):
        driver_config({"driver": "memory-camera", "heigth": 5}, "camera", "camera")


def test_relative_paths_are_meant_from_the_folder_of_the_rig(tmp_path: Path) -> None:
    table = {"driver": "memory-camera", "file": "frames.npy"}
    assert driver_config(table, "camera", "camera").file == Path("frames.npy")
    assert driver_config(table, "camera", "camera", tmp_path).file == tmp_path / "frames.npy"
    table["file"] = "/data/frames.npy"
    assert driver_config(table, "camera", "camera", tmp_path).file == Path("/data/frames.npy")


PACKAGE = '''
"""A lamp of one's own."""
from dataclasses import dataclass
from typing import ClassVar
import numpy as np
from swarmctl.bridge.devices.contract import Channel, OutputSpec
from swarmctl.bridge.devices.ported_outputs import PortedValues
from swarmctl.bridge.devices.ports import ValuePort
from swarmctl.core.config import key


class Lamp(ValuePort):
    def open(self):
        self.now = np.zeros(1)

    def close(self):
        pass

    def write(self, values):
        self.now = values

    def read(self):
        return self.now


@dataclass(frozen=True)
class LampConfig:
    role: ClassVar[str] = "values"
    power: float = key(2.0, "highest power, mW")

    def build(self):
        channel = Channel("power", "mW", 0.0, self.power, 0.0)
        return PortedValues(OutputSpec("lamp", "analogue", (channel,)), Lamp())
'''


def test_a_driver_may_be_a_file_beside_the_rig(tmp_path: Path) -> None:
    (tmp_path / "my_lamp.py").write_text(PACKAGE)
    table = {"driver": "my_lamp.py:LampConfig", "power": 5}
    config = driver_config(table, "values", "outputs.lamp", tmp_path)
    assert config.build().spec.channels[0].high == 5.0


def run_with_package(folder: Path, names: dict[str, str], code: str) -> str:
    """Run code in a process that finds an installed package with these entry points."""
    (folder / "lamp_of_mine.py").write_text(PACKAGE)
    info = folder / "lamp_of_mine-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: lamp-of-mine\nVersion: 1.0\n")
    lines = "".join(f"{name} = {target}\n" for name, target in names.items())
    (info / "entry_points.txt").write_text(f"[swarmctl.devices]\n{lines}")
    code = f"import sys; sys.path.append({str(folder)!r})\n{code}"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_a_package_of_others_adds_a_driver(tmp_path: Path) -> None:
    said = run_with_package(
        tmp_path,
        {"lamp-of-mine": "lamp_of_mine:LampConfig"},
        "from swarmctl.bridge.devices.drivers import driver_config, drivers\n"
        "print(drivers()['lamp-of-mine'].summary)\n"
        "lamp = driver_config({'driver': 'lamp-of-mine', 'power': 3}, 'values', 'here').build()\n"
        "for mock in (True, False):\n"
        "    lamp.connect(mock=mock); lamp.write([2.5]); print(lamp.read()); lamp.disconnect()\n"
        "try:\n"
        "    lamp.connect(); lamp.write([4])\n"
        "except Exception as error:\n"
        "    print(type(error).__name__, error)\n"
        "print('jax' in sys.modules)\n",
    )
    assert said.splitlines() == [
        "from the package lamp-of-mine",
        "[2.5]",
        "[2.5]",
        "DeviceError lamp: power = 4.0 mW is not within 0.0 to 3.0 mW; nothing was written.",
        "False",
    ]


def test_a_package_cannot_take_a_name_that_is_there(tmp_path: Path) -> None:
    said = run_with_package(
        tmp_path,
        {"another": "lamp_of_mine:LampConfig", "serial": "lamp_of_mine:LampConfig"},
        "from swarmctl.bridge.devices.drivers import drivers\n"
        "for _ in range(2):\n"
        "    try:\n"
        "        drivers()\n"
        "    except Exception as error:\n"
        "        print(type(error).__name__, error)\n",
    )
    assert said.count("DuplicateNameError device driver 'serial' is already registered") == 2
