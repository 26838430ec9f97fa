"""Devices: time of a call through swarmctl beside the same call of the bare library, in one run.

    python benchmarks/devices.py [--repeats N] [--json FILE]

Frames come from Micro-Manager's DemoCamera, values go to a supply of PyVISA-sim and to a board on a
pseudo-terminal whose firmware is a thread of this process. Both sides do the same exchange: the
instrument's error query is asked for after every write, and the board confirms every line. Medians;
calls alternate, so that the ratio is one of the same moments.
"""

from __future__ import annotations

import contextlib
import os
import statistics
import tempfile
import threading
import time
import tty
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from common import parser, report

from swarmctl.bridge.devices.drivers import driver_config
from swarmctl.bridge.devices.micromanager_core import leave_core, take_core
from swarmctl.bridge.devices.micromanager_demo import write_demo_cfg

RESOURCE = "TCPIP0::coils::inst0::INSTR"
SUPPLY = f"""
spec: "1.1"
devices:
  coils:
    eom: {{TCPIP INSTR: {{q: "\\n", r: "\\n"}}}}
    error: ERROR
    dialogues: [{{q: "SYST:ERR?", r: "0, No Error"}}]
    properties:
      x:
        default: 0.0
        getter: {{q: "CURR?", r: "{{:.4f}}"}}
        setter: {{q: "CURR {{:.4f}}"}}
        specs: {{min: -2, max: 2, type: float}}
resources: {{{RESOURCE}: {{device: coils}}}}
"""
ONE: dict[str, Any] = {
    "channels": ["x"],
    "units": ["A"],
    "low": [-2],
    "high": [2],
    "safe": [0],
    "set": ["CURR {value:.4f}"],
    "get": ["CURR?"],
}


def alternate(
    ours: Callable[[], Any], bare: Callable[[], Any], calls: int, ready: Callable[[], Any]
) -> tuple[float, float]:
    """Return the median times of both calls in ms; `ready` is called before each, untimed."""
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(calls):
        for function, taken in zip((ours, bare), times, strict=True):
            ready()
            start = time.perf_counter()
            function()
            taken.append(time.perf_counter() - start)
    return 1e3 * statistics.median(times[0]), 1e3 * statistics.median(times[1])


def row(what: str, medians: tuple[float, float]) -> dict[str, Any]:
    ours, bare = medians
    return {"call": what, "swarmctl, ms": ours, "library, ms": bare, "ratio": ours / bare}


def frame(cfg: Path, side: int, calls: int) -> dict[str, Any]:
    """A frame that is in the buffer already, to an array with its number and times."""
    keys = {
        "driver": "micromanager-camera",
        "cfg": str(cfg),
        "height": side,
        "width": side,
        "exposure": "5 ms",
        "properties": [f"OnCameraCCDXSize={side}", f"OnCameraCCDYSize={side}"],
    }
    camera = driver_config(keys, "camera", "camera").build()
    camera.connect()
    core = take_core(cfg).core
    camera.start()

    def ready() -> None:
        while core.getRemainingImageCount() > 1:
            core.popNextImage()
        while not core.getRemainingImageCount():
            time.sleep(0.0002)

    medians = alternate(lambda: camera.newest(1.0), core.popNextImageAndMD, calls, ready)
    camera.disconnect()
    leave_core(cfg)
    return row(f"frame to array, {side} x {side}", medians)


def scpi(folder: Path, calls: int) -> dict[str, Any]:
    """One channel, and the error query that follows every write."""
    import pyvisa

    path = folder / "supply.yaml"
    path.write_text(SUPPLY)
    line = {"resource": RESOURCE, "library": f"{path}@sim"}
    keys = {"driver": "scpi", "line": line, "error_query": "SYST:ERR?"} | ONE
    output = driver_config(keys, "values", "output").build()
    output.connect()
    bare = pyvisa.ResourceManager(f"{path}@sim").open_resource(
        RESOURCE, read_termination="\n", write_termination="\n"
    )

    def write() -> None:
        bare.write(f"CURR {1.5:.4f}")
        bare.query("SYST:ERR?")

    value = np.array([1.5])
    medians = alternate(lambda: output.write(value), write, calls, lambda: None)
    output.disconnect()
    bare.close()
    return row("SCPI write and error query", medians)


def serial_board(calls: int) -> dict[str, Any]:
    """One line out, one line back."""
    import serial

    ours, theirs = os.openpty()
    for end in (ours, theirs):
        tty.setraw(end)

    def firmware() -> None:
        with contextlib.suppress(OSError):
            while heard := os.read(ours, 1024):
                os.write(ours, b"0.0\n" if b"?" in heard else b"OK\n")

    threading.Thread(target=firmware, daemon=True).start()
    line = {"port": os.ttyname(theirs), "timeout": "1 s"}
    keys = {"driver": "serial", "line": line, "answer": "OK"} | ONE
    output = driver_config(keys, "values", "output").build()
    output.connect()
    bare = serial.Serial(os.ttyname(theirs), timeout=1)

    def write() -> None:
        bare.write(f"CURR {1.5:.4f}\n".encode())
        bare.read_until(b"\n")

    value = np.array([1.5])
    medians = alternate(lambda: output.write(value), write, calls, lambda: None)
    bare.close()
    output.disconnect()
    return row("serial write and answer", medians)


def main() -> None:
    options = parser(__doc__ or "")
    options.set_defaults(repeats=200)
    arguments = options.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        cfg = write_demo_cfg(folder / "demo.cfg")
        rows = [frame(cfg, side, arguments.repeats) for side in (512, 1024)]
        rows.append(scpi(folder, arguments.repeats))
        rows.append(serial_board(arguments.repeats))
    report("Devices beside the bare libraries", rows, arguments.json)


if __name__ == "__main__":
    main()
