"""The listing: every driver with what it needs, what is plugged in, and what could not be seen."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from swarmctl.bridge.devices import listing
from swarmctl.bridge.devices.drivers import drivers
from swarmctl.bridge.devices.listing import Found, list_devices
from swarmctl.core.errors import DeviceError, MissingExtraError, UnknownNameError


def test_every_driver_is_listed_with_its_keys() -> None:
    lines = {line.name: line for line in listing.driver_lines()}
    assert sorted(lines) == drivers().names()
    assert lines["serial"].role == "values"
    assert lines["serial"].package == "serial"
    assert lines["memory-camera"].installed
    keys = {name: default for name, _, default, _ in lines["scpi"].keys}
    assert keys["line.resource"] == "required"
    assert all(meaning for line in lines.values() for *_, meaning in line.keys)


def test_a_package_that_is_missing_is_said_with_the_extra_that_brings_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "serial" else find(name)
    )

    def no_ports() -> Any:
        raise MissingExtraError("serial", "lab", "serial ports")

    monkeypatch.setattr(listing, "serial_ports", no_ports)
    monkeypatch.setattr(listing, "visa_resources", lambda: (Found("GPIB0::1::INSTR", "gpib"),))
    monkeypatch.setattr(listing, "adapters", lambda: 1 / 0)
    found = list_devices()
    assert not {line.name: line for line in found.drivers}["serial"].installed
    text = found.text()
    assert 'by lines; needs serial: pip install "swarmctl[lab]"' in text
    assert "none found" not in text  # of what could not be looked for
    assert "  GPIB0::1::INSTR  gpib" in text
    assert "Serial ports were not looked for" in text
    assert "Micro-Manager's adapters cannot be listed (ZeroDivisionError" in text


def test_serial_ports_are_named_with_what_they_say_of_themselves(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ports = pytest.importorskip("serial.tools.list_ports", reason="needs the extra lab")
    board = SimpleNamespace(
        device="/dev/ttyACM0", description="Uno", manufacturer="Arduino", serial_number=None
    )
    monkeypatch.setattr(ports, "comports", lambda: [board])
    assert listing.serial_ports() == (Found("/dev/ttyACM0", "Uno, Arduino"),)


def test_visa_resources_come_from_local_buses_only(monkeypatch: pytest.MonkeyPatch) -> None:
    sessions = pytest.importorskip("pyvisa_py.sessions", reason="needs the extra lab")

    def kind(name: str) -> Any:
        return SimpleNamespace(name=name)

    def bus(*names: str) -> Any:
        return SimpleNamespace(list_resources=lambda: list(names))

    def network() -> Any:
        raise AssertionError("the network was asked")

    classes = [
        ((kind("usb"), "INSTR"), bus("USB0::1::2::INSTR")),
        ((kind("tcpip"), "INSTR"), SimpleNamespace(list_resources=network)),
        ((kind("gpib"), "INSTR"), bus("GPIB0::9::INSTR")),
    ]
    monkeypatch.setattr(sessions.Session, "iter_valid_session_classes", lambda: iter(classes))
    assert [one.name for one in listing.visa_resources()] == [
        "GPIB0::9::INSTR",
        "USB0::1::2::INSTR",
    ]


def test_adapters_and_the_devices_of_a_cfg_file_are_described(demo_cfg: Path) -> None:
    assert Found("DemoCamera", "") in listing.adapters()
    assert Found("DCam", "Demo camera") in listing.adapter_devices("DemoCamera")
    devices = {one.name: one.what for one in listing.cfg_devices(demo_cfg)}
    assert devices["DA1"] == "SignalIODevice: Trigger, Voltage [0, 10]"
    assert devices["Camera"].startswith("CameraDevice: ")
    with pytest.raises(UnknownNameError, match="Did you mean 'DemoCamera'"):
        listing.adapter_devices("DemoCam")
    with pytest.raises(DeviceError, match="there is no Micro-Manager configuration"):
        list_devices(demo_cfg.with_name("absent.cfg"))
