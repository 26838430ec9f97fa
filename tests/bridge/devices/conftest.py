"""Instruments that are not there: a simulated coil supply, firmware on a pseudo-terminal, a cfg."""

from __future__ import annotations

import contextlib
import os
import select
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from swarmctl.bridge.devices.drivers import driver_config
from swarmctl.bridge.devices.micromanager_demo import write_demo_cfg

COILS_YAML = """
spec: "1.1"
devices:
  coils:
    eom:
      TCPIP INSTR: {q: "\\n", r: "\\n"}
    error:
      error_queue:
        - q: 'SYST:ERR?'
          default: '0, No Error'
          command_error: '-102, Syntax error'
          query_error: '-222, Data out of range'
    dialogues:
      - {q: "*IDN?", r: "ACME,COILS,1,1.0"}
      - {q: "LOCK?", r: "CLOSED"}
    properties:
      x:
        default: 0.5
        getter: {q: "CURR1?", r: "{:+.4E}"}
        setter: {q: "CURR1 {:.4f}"}
        specs: {min: -2, max: 2, type: float}
      y:
        default: 0.5
        getter: {q: "CURR2?", r: "{:+.4E}"}
        setter: {q: "CURR2 {:.4f}"}
        specs: {min: -1, max: 1, type: float}
      output:
        default: 0
        getter: {q: "OUTP?", r: "{:d}"}
        setter: {q: "OUTP {:d}"}
        specs: {valid: [0, 1], type: int}
resources:
  TCPIP0::coils::inst0::INSTR:
    device: coils
"""


@pytest.fixture
def coils_yaml(tmp_path: Path) -> Path:
    """Return the file of a simulated coil supply for PyVISA-sim."""
    path = tmp_path / "coils.yaml"
    path.write_text(COILS_YAML)
    return path


@pytest.fixture
def demo_cfg(tmp_path: Path) -> Path:
    """Return a cfg file of Micro-Manager's demonstration devices."""
    pytest.importorskip("pymmcore_plus", reason="needs the extra lab")
    pytest.importorskip("mm_test_adapters", reason="needs Micro-Manager's test adapters")
    return write_demo_cfg(tmp_path / "demo.cfg")


@pytest.fixture
def make_device() -> Callable[..., Any]:
    """Return what makes a device of a driver's name and keys."""

    def make(driver: str, **keys: Any) -> Any:
        roles = ("camera", "values", "pattern", "interlock")
        return driver_config({"driver": driver, **keys}, roles, "here").build()

    return make


class Firmware:
    """A board with two voltages, -5 to 5 V, behind a pseudo-terminal.

    `answers` may be exchanged: line -> what is sent back, None for nothing.
    """

    def __init__(self) -> None:
        import tty

        self._ours, theirs = os.openpty()
        tty.setraw(self._ours)
        tty.setraw(theirs)
        self.port = os.ttyname(theirs)
        self._heard_enough, self._enough = os.pipe()
        self._ends: tuple[int, ...] = (theirs, self._ours, self._heard_enough, self._enough)
        self.values, self.heard = [1.0, 1.0], []
        self.answers: Callable[[str], bytes | None] = self.well
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def well(self, line: str) -> bytes | None:
        """Answer as a good board does."""
        word, *numbers = line.split()
        if word == "V":
            values = [float(n) for n in numbers]
            if any(abs(v) > 5 for v in values):
                return b"ERR range\n"
            self.values = values
            return b"OK\n"
        if word == "V?":
            return f"{self.values[0]:.4f} {self.values[1]:.4f}\n".encode()
        return b"CLOSED\n" if word == "LOCK?" else b"ERR word\n"

    def _serve(self) -> None:
        rest = b""
        with contextlib.suppress(OSError):
            while True:
                ready, _, _ = select.select([self._ours, self._heard_enough], [], [])
                if self._heard_enough in ready:
                    return
                data = os.read(self._ours, 1024)
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    self.heard.append(line.decode())
                    answer = self.answers(line.decode())
                    if answer is not None:
                        os.write(self._ours, answer)

    def vanish(self) -> None:
        """Pull the plug; may be called twice."""
        if self._thread.is_alive():  # else it would go on with whatever gets its number next
            os.write(self._enough, b".")
            self._thread.join()
        for end in self._ends:
            os.close(end)
        self._ends = ()


@pytest.fixture
def firmware() -> Iterator[Firmware]:
    """Return a board on a pseudo-terminal."""
    pytest.importorskip("serial", reason="needs the extra lab")
    if not hasattr(os, "openpty"):
        pytest.skip("there are no pseudo-terminals here")
    board = Firmware()
    yield board
    board.vanish()
