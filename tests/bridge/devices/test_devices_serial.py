"""Serial boards: they keep the contract, and every way of going wrong is one DeviceError."""

from __future__ import annotations

import threading
import time
from typing import Any

import numpy as np
import pytest

from swarmctl.core.errors import ConfigError, DeviceError, DeviceTimeoutError
from swarmctl.testing import check_device


def keys(firmware: Any, **changed: Any) -> dict[str, Any]:
    return {
        "line": {"port": firmware.port, "timeout": "1 s"},
        "channels": ["x", "y"],
        "units": ["V", "V"],
        "low": [-5, -5],
        "high": [5, 5],
        "safe": [0, 0],
        "write": "V {x:.4f} {y:.4f}",
        "read": "V?",
        "answer": "OK",
    } | changed


def test_a_board_keeps_the_contract(firmware: Any, make_device: Any) -> None:
    report = check_device(make_device("serial", **keys(firmware)), mock=False)
    assert report.ok, str(report)
    assert "device.read-back" in report.passed


def test_a_boards_interlock_shares_its_port(firmware: Any, make_device: Any) -> None:
    line = {"port": firmware.port, "timeout": "1 s"}
    lock = make_device("serial-interlock", line=line, query="LOCK?", closed="CLOSED")
    report = check_device(lock, mock=False)
    assert report.ok, str(report)
    output = make_device("serial", **keys(firmware))
    output.connect()
    lock.connect()
    output.write(np.array([1.0, -2.5]))
    assert lock.closed() is True
    firmware.answers = lambda line: b"OPEN\n" if line == "LOCK?" else firmware.well(line)
    assert lock.closed() is False
    output.disconnect()
    assert lock.closed() is False
    lock.disconnect()
    assert firmware.values == [0.0, 0.0]


@pytest.mark.parametrize(
    ("answer", "kind", "says"),
    [
        (None, DeviceTimeoutError, "no line within 1 s"),
        (b"OK", DeviceTimeoutError, "no line within 1 s, only b'OK'"),
        (b"\xff\xfe\x00\n", DeviceError, "which is no text"),
        (b"ERR range\n", DeviceError, "answered 'ERR range' to 'V 1.0000 1.0000', not 'OK'"),
        (b"x" * 5000 + b"\n", DeviceError, "4096 bytes and no end of a line"),
    ],
    ids=["silent", "unfinished", "rubbish", "refused", "endless"],
)
def test_a_write_that_is_not_confirmed_is_an_error_and_the_next_one_works(
    firmware: Any, make_device: Any, answer: bytes | None, kind: type, says: str
) -> None:
    output = make_device("serial", **keys(firmware))
    output.connect()
    firmware.answers = lambda line: answer
    with pytest.raises(DeviceError, match=says.replace(".", r"\.")) as found:
        output.write(np.ones(2))
    assert type(found.value) is kind
    firmware.answers = firmware.well
    output.write(np.array([2.0, -1.0]))
    assert output.read().tolist() == [2.0, -1.0]
    output.disconnect()


def test_a_lost_answer_does_not_keep_the_other_channel_from_its_safe_value(
    firmware: Any, make_device: Any
) -> None:
    lines = {
        "write": "",
        "read": "",
        "set": ["A {value:.1f}", "B {value:.1f}"],
        "get": ["A?", "B?"],
    }
    output = make_device("serial", **keys(firmware, **lines))
    good = lambda line: b"0.0\n" if "?" in line else b"OK\n"  # noqa: E731
    firmware.answers = good
    output.connect()
    firmware.answers = lambda line: None if line.startswith("A") else good(line)
    firmware.heard.clear()
    with pytest.raises(DeviceTimeoutError, match="no line within"):
        output.safe()
    assert firmware.heard == ["A 0.0", "B 0.0"]
    firmware.answers = good
    output.disconnect()


@pytest.mark.parametrize("answer", [b"nothing\n", b"1.0\n", b"1 2 3\n"])
def test_an_answer_without_the_numbers_is_an_error(
    firmware: Any, make_device: Any, answer: bytes
) -> None:
    output = make_device("serial", **keys(firmware))
    output.connect()
    firmware.answers = lambda line: answer
    with pytest.raises(DeviceError, match=r"2 number\(s\) were expected"):
        output.read()
    firmware.answers = firmware.well
    output.disconnect()


def test_a_board_that_does_not_reach_its_safe_values_is_a_timeout(
    firmware: Any, make_device: Any
) -> None:
    output = make_device("serial", **keys(firmware, settle="0.1 s"))
    stuck = lambda line: b"3.0 0.0\n" if line == "V?" else b"OK\n"  # noqa: E731
    firmware.answers = stuck
    with pytest.raises(DeviceTimeoutError, match=r"x did not reach the safe value within 0.1 s"):
        output.connect()
    with pytest.raises(DeviceError, match="is not connected"):
        output.read()


def test_a_board_that_vanishes_is_an_error_within_its_timeout(
    firmware: Any, make_device: Any
) -> None:
    output = make_device("serial", **keys(firmware))
    output.connect()
    firmware.vanish()
    start = time.monotonic()
    for call in (lambda: output.write(np.ones(2)), output.read, output.safe):
        with pytest.raises(DeviceError, match=firmware.port):
            call()
    assert time.monotonic() - start < 5
    with pytest.raises(DeviceError):
        output.disconnect()
    output.disconnect()


def test_a_port_that_is_not_there_is_named(make_device: Any, firmware: Any) -> None:
    absent = keys(firmware, line={"port": "/dev/no-such-port"})
    with pytest.raises(DeviceError, match=r"/dev/no-such-port: opening failed"):
        make_device("serial", **absent).connect()


def test_two_threads_get_the_answers_to_their_own_questions(
    firmware: Any, make_device: Any
) -> None:
    line = {"port": firmware.port, "timeout": "2 s"}
    output = make_device("serial", **keys(firmware, line=line))
    lock = make_device("serial-interlock", line=line, query="LOCK?", closed="CLOSED")
    output.connect()
    lock.connect()
    answers: list[bool] = []
    other = threading.Thread(target=lambda: answers.extend(lock.closed() for _ in range(50)))
    other.start()
    for value in np.linspace(-5, 5, 50):
        output.write(np.array([value, 0.0]))
        assert output.read()[0] == pytest.approx(value, abs=1e-4)
    other.join()
    assert answers == [True] * 50
    output.disconnect()
    lock.disconnect()


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"answer": ""}, "how does the device say"),
        ({"write": "V {x} {z}"}, "KeyError"),
        ({"write": "V 1 2"}, "no place for the values"),
        ({"set": ["A {value}", "B {value}"]}, "either set or write"),
        ({"read": "", "get": ["A?"]}, "get has 1 entries for 2 channels"),
        ({"safe": [0, 9]}, "safe = 9.0 is not within"),
        ({"low": [5, -5]}, "is no range"),
        ({"units": ["V"]}, "units has 1 entries"),
        ({"channels": ["x", "x"]}, "names of their own"),
        ({"no_error": "("}, "cannot be used"),
    ],
)
def test_keys_that_cannot_work_are_refused(
    firmware: Any, make_device: Any, changed: dict[str, Any], says: str
) -> None:
    with pytest.raises(ConfigError, match=says):
        make_device("serial", **keys(firmware, **changed))
