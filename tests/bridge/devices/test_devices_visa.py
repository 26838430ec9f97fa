"""SCPI instruments on PyVISA-sim: the contract, errors that are read, and nothing out of step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from swarmctl.core.errors import DeviceError, DeviceTimeoutError
from swarmctl.testing import check_device

pytest.importorskip("pyvisa_sim", reason="needs PyVISA-sim")

RESOURCE = "TCPIP0::coils::inst0::INSTR"


def line(yaml: Path) -> dict[str, Any]:
    return {"resource": RESOURCE, "library": f"{yaml}@sim", "timeout": "1 s"}


def keys(yaml: Path, **changed: Any) -> dict[str, Any]:
    return {
        "line": line(yaml),
        "kind": "coils",
        "channels": ["x", "y"],
        "units": ["A", "A"],
        "low": [-2, -1],
        "high": [2, 1],
        "safe": [0, 0],
        "set": ["CURR1 {value:.4f}", "CURR2 {value:.4f}"],
        "get": ["CURR1?", "CURR2?"],
        "error_query": "SYST:ERR?",
        "enable": ["OUTP 1"],
        "disable": ["OUTP 0"],
    } | changed


def test_a_coil_supply_keeps_the_contract(coils_yaml: Path, make_device: Any) -> None:
    output = make_device("scpi", **keys(coils_yaml))
    assert output.spec.kind == "coils"
    report = check_device(output, mock=False)
    assert report.ok, str(report)
    assert {"device.safe-values", "device.read-back"} <= set(report.passed)


def test_an_interlock_of_an_instrument(coils_yaml: Path, make_device: Any) -> None:
    lock = make_device("scpi-interlock", line=line(coils_yaml), query="LOCK?", closed="CLOSED")
    report = check_device(lock, mock=False)
    assert report.ok, str(report)
    other = make_device("scpi-interlock", line=line(coils_yaml), query="LOCK?", closed="1")
    other.connect()
    assert other.closed() is False
    other.disconnect()


def test_what_the_instrument_refuses_is_an_error_and_the_other_channel_is_set(
    coils_yaml: Path, make_device: Any
) -> None:
    output = make_device("scpi", **keys(coils_yaml, low=[-2, -5], high=[2, 5]))
    output.connect()
    with pytest.raises(DeviceError, match=r"says '-\d+, .*' after 'CURR2 4.0000'"):
        output.write(np.array([1.5, 4.0]))
    assert output.read().tolist() == [1.5, 0.0]
    output.write(np.array([-1.0, 0.5]))
    assert output.read().tolist() == [-1.0, 0.5]
    output.disconnect()


def test_an_instrument_that_answers_error_at_once_stays_in_step(
    tmp_path: Path, coils_yaml: Path, make_device: Any
) -> None:
    """It answers ERROR to what it refuses, although nobody asked."""
    text = coils_yaml.read_text()
    begin, end = text.index("    error:"), text.index("    dialogues:")
    blunt = tmp_path / "blunt.yaml"
    blunt.write_text(
        text[:begin]
        + "    error: ERROR\n    dialogues:\n      - {q: 'SYST:ERR?', r: '0'}\n"
        + text[end:].removeprefix("    dialogues:\n")
    )
    output = make_device("scpi", **keys(blunt, high=[5, 1]))
    output.connect()
    with pytest.raises(DeviceError, match=r"says 'ERROR' after 'CURR1 4\.0000'"):
        output.write(np.array([4.0, 0.25]))
    assert output.read().tolist() == [0.0, 0.25]
    output.disconnect()


def test_a_question_without_an_answer_is_a_timeout(coils_yaml: Path, make_device: Any) -> None:
    output = make_device("scpi", **keys(coils_yaml, read="", get=["CURR1?", "SILENCE"]))
    with pytest.raises(DeviceTimeoutError, match=r"no answer within 1 s"):
        output.connect()


def test_an_absent_instrument_is_named(coils_yaml: Path, make_device: Any) -> None:
    where = line(coils_yaml) | {"resource": "GPIB0::9::INSTR"}
    with pytest.raises(DeviceError, match="GPIB0::9::INSTR: opening failed"):
        make_device("scpi", **keys(coils_yaml, line=where)).connect()


def test_the_mock_keeps_what_was_written(coils_yaml: Path, make_device: Any) -> None:
    output = make_device("scpi", **keys(coils_yaml))
    output.connect(mock=True)
    output.write(np.array([1.0, -1.0]))
    assert [values.tolist() for _, values in output.port.written] == [[0, 0], [1, -1]]
    with pytest.raises(DeviceError, match=r"x = 3\.0 A is not within -2\.0 to 2\.0 A"):
        output.write(np.array([3.0, 0.0]))
    output.disconnect()
