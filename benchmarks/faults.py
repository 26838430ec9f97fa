"""From a fault to safe outputs: criterion → told → confirmed, beside a watchdog thread.

python benchmarks/faults.py [--repeats N] [--json FILE]

Every fault is injected into a loop in a process of its own, N times. The criterion is what the
supervisor's watch says (silence 0.1 s, expiry 0.15 s, frames no older than two periods of 0.05 s);
times are those at which the last device, in the supervisor's process, was told and was done. The
last column is independent of what the supervisor says of itself: from the moment at which the fault
was injected, so with the time of the criterion, until the last device wrote into its own journal
that it was told. The peer is what one would write first: a thread in the loop's process that zeroes
the output 0.1 s after the last heartbeat. "-" means that it had not done so two seconds later.

A picture that is frozen while numbers rise is found by the loop, after three frames; what follows
is the row of the emergency stop by call.
"""

from __future__ import annotations

import json
import math
import os
import re
import resource
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from common import parser, report

from swarmctl.bridge.orders import Standing

TESTS = Path(__file__).resolve().parents[1] / "tests" / "bridge" / "supervisor"
sys.path.insert(0, str(TESTS))
from conftest import Bench  # noqa: E402 - the rig of files that the tests use, too

THREAD = """
import ctypes, json, os, sys, threading, time
log, fault = sys.argv[1:]
beat = time.monotonic()
def watch():
    while time.monotonic() < beat + 0.1: time.sleep(0.005)
    with open(log, "w") as file: json.dump([beat + 0.1, time.monotonic()], file)
threading.Thread(target=watch, daemon=True).start()
end = time.monotonic() + 0.2
while time.monotonic() < end or not fault:
    beat = time.monotonic()
    if not fault and time.monotonic() > end: print("active", flush=True); end = 1e12
    time.sleep(0.01)
if fault == "exception": raise RuntimeError
if fault == "exit": os._exit(0)
if fault == "held interpreter lock": ctypes.PyDLL(None).usleep(2_000_000)
time.sleep(1)
"""
ATTEMPTS = 20
"""Times that a fault is tried anew if another one comes first."""
Times = tuple[float, float, float]
"""s: criterion → told, criterion → confirmed, fault → told by the devices' journals."""
PROCESS_FAULTS: dict[str, tuple[str, int | None]] = {
    "loop stopped (SIGSTOP)": ("", signal.SIGSTOP),
    "loop killed (SIGKILL)": ("", signal.SIGKILL),
    "loop fails with an exception": ("exception", None),
    "loop exits": ("exit", None),
    "interpreter lock held": ("held interpreter lock", None),
}


def kill(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()
    if process.stdout:
        process.stdout.close()


def in_a_thread(fault: str, number: int | None) -> float:
    """Return s between the criterion and a watchdog thread's action, inf if there was none."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        process = subprocess.Popen(
            [sys.executable, "-c", THREAD, log, fault],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        if number is not None:
            process.stdout.readline()
            process.send_signal(number)
        time.sleep(2.0 if number is not None else 2.2)
        try:
            criterion, done = json.loads(log.read_text())
        except (OSError, ValueError):
            return math.inf
        finally:
            kill(process)
        return done - criterion if done > criterion else math.inf


def told_after(bench: Bench, happened: float) -> float:
    """Return s from a moment until the last device was told to be safe, by their journals."""
    first = [
        min((t for t, what, _ in bench.journal(name) if what == "safe" and t > happened))
        for name in ("light", "coils")
    ]
    return max(first) - happened


def all_safe(bench: Bench, happened: float) -> Times:
    """Wait until the audit log says that all is safe, and return what it says."""
    end = time.monotonic() + 10
    while time.monotonic() < end:
        if bench.audit.exists() and (found := bench.records("all safe")):
            return found[0]["issued"], found[0]["confirmed"], told_after(bench, happened)
        time.sleep(0.02)
    return math.inf, math.inf, math.inf


def of_a_process(fault: str, number: int | None) -> Times:
    """Return the times of a fault that ends a loop, or stops it."""
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder))
        process = subprocess.Popen(
            [sys.executable, TESTS / "loop_process.py", folder, fault],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        try:
            process.stdout.readline()
            if number is None:
                happened = float(process.stdout.readline().split()[1])
            else:
                time.sleep(0.05)
                happened = time.monotonic()
                process.send_signal(number)
            return all_safe(bench, happened)
        finally:
            kill(process)
            time.sleep(0.1)  # for the supervisor to end


def link_cut() -> Times:
    """Return the times if the wire between loop and supervisor breaks, and the loop goes on."""
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder))
        client = bench.start()
        bench.drive(0.1)
        happened = time.monotonic()
        client._connection.shutdown(socket.SHUT_RDWR)
        try:
            return all_safe(bench, happened)
        finally:
            client.close()


def within(bench: Bench, act: Callable[[Bench], Any], words: str) -> Times:
    """Return the times of a fault of a loop that goes on, or of a device.

    Tried anew if another fault came first, since the loop had to wait for its turn.
    """
    for _ in range(ATTEMPTS):
        bench.client.arm("Ada", bench.evidence())
        bench.client.activate()
        bench.drive(0.1)
        happened = time.monotonic()
        act(bench)
        found = bench.until_safe()
        for fault in (*bench.folder.glob("*.error"), *bench.folder.glob("*.open")):
            fault.unlink()
        time.sleep(0.05)
        bench.client.clear("Ada")
        if re.search(words, found.fault):
            return found.safe_issued, found.safe_confirmed, told_after(bench, happened)
    raise SystemExit(f"{words!r}: in {ATTEMPTS} attempts {found.fault!r} came first")


def device_error(bench: Bench) -> None:
    """The coils refuse one order, and obey again."""
    wrong = bench.fault("coils", "error")
    bench.client.send(bench.order())
    time.sleep(0.02)
    wrong.unlink()


def device_hang(bench: Bench) -> None:
    """The light's call does not return for half a second; 0.3 s of it are the criterion."""
    wrong = bench.fault("light", "hang")
    end = time.monotonic() + 0.5
    while time.monotonic() < end:
        bench.client.send(bench.order())
        time.sleep(0.01)
    wrong.unlink()


def interlock_opens(bench: Bench) -> None:
    """The criterion is the reading, which comes every 0.02 s."""
    wrong = bench.fault("interlock", "open")
    bench.until_safe()
    wrong.unlink()
    time.sleep(0.1)


def disk_full(bench: Bench) -> None:
    """No file of the supervisor's may grow any more."""
    process = bench.client.process
    soft, hard = resource.prlimit(process, resource.RLIMIT_FSIZE)
    resource.prlimit(process, resource.RLIMIT_FSIZE, (bench.audit.stat().st_size, hard))
    while bench.client.report().standing is Standing.ACTIVE:
        bench.client.send(bench.order())
        time.sleep(0.01)
    resource.prlimit(process, resource.RLIMIT_FSIZE, (soft, hard))


def nan_policy(bench: Bench) -> None:
    order = bench.order()
    order.outputs["coils"].value[:] = math.nan
    bench.client.send(order)


def only_beats(bench: Bench) -> None:
    for _ in range(25):
        bench.frame += 1
        bench.client.beat(bench.frame, time.monotonic() - 0.005)
        time.sleep(0.01)


def dead_camera(bench: Bench) -> None:
    """The loop waits for a frame that never comes, and says so."""
    frame, exposed = bench.frame, time.monotonic() - 0.005
    for _ in range(25):
        bench.client.beat(frame, exposed)
        time.sleep(0.01)


def frozen_camera(bench: Bench) -> None:
    """The loop takes the same frame again and again, and goes on with orders."""
    frame, exposed = bench.frame, time.monotonic()
    bench.drive(0.25, lambda: bench.order(frame=frame, exposed=exposed))


def lost_particles(bench: Bench) -> None:
    bench.drive(0.06, lambda: bench.order(found=0))


WITHIN: dict[str, tuple[Callable[[Bench], Any], str]] = {
    "loop stalls": (lambda bench: None, "silent|too old"),
    "camera frozen": (frozen_camera, "too old"),
    "camera dead": (dead_camera, "too old"),
    "orders expire": (only_beats, "expired"),
    "no colloid found, 3 frames": (lost_particles, "in a row"),
    "NaN ordered": (nan_policy, "not finite"),
    "instrument answers an error": (device_error, "answers ERROR"),
    "instrument hangs": (device_hang, "does not return"),
    "interlock opens": (interlock_opens, "interlock is open"),
    "disk full": (disk_full, "cannot be written"),
    "emergency stop, by call": (lambda bench: bench.client.stop("benchmark"), "benchmark"),
    "emergency stop, by signal": (
        lambda bench: os.kill(bench.client.process, signal.SIGUSR1),
        "signal",
    ),
}


def row(name: str, times: list[Times], thread: float | None) -> dict[str, Any]:
    told, said, after = ([1e3 * value for value in column] for column in zip(*times, strict=True))
    ours, theirs = statistics.median(told) / 1e3, thread
    return {
        "fault": name,
        "n": len(times),
        "told, median (ms)": statistics.median(told),
        "told, max (ms)": max(told),
        "confirmed, median (ms)": statistics.median(said),
        "confirmed, max (ms)": max(said),
        "fault to told, max (ms)": max(after),
        "watchdog thread (ms)": 1e3 * theirs if theirs and math.isfinite(theirs) else None,
        "ratio": ours / theirs if theirs and math.isfinite(theirs) else None,
    }


def main() -> None:
    """Inject every fault, again and again, and print the table."""
    options = parser(__doc__.splitlines()[0])
    options.set_defaults(repeats=20)
    chosen = options.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder))
        driver = TESTS / "file_devices.py"
        bench.write_rig(
            supervisor='confirm = "0.3 s"',
            interlock=f'[interlock]\ndriver = "{driver}:FileInterlock"\n'
            f'file = "{folder}/interlock.log"',
        )
        bench.client.open()
        for name, (act, words) in WITHIN.items():
            thread = in_a_thread("stall", None) if name == "loop stalls" else None
            rows.append(
                row(name, [within(bench, act, words) for _ in range(chosen.repeats)], thread)
            )
            print(rows[-1], flush=True)
        bench.client.close()
    rows.append(row("link cut", [link_cut() for _ in range(chosen.repeats)], None))
    print(rows[-1], flush=True)
    for name, (fault, number) in PROCESS_FAULTS.items():
        times = [of_a_process(fault, number) for _ in range(chosen.repeats)]
        rows.append(row(name, times, in_a_thread(fault, number)))
        print(rows[-1], flush=True)
    report("From the criterion of a fault to safe outputs", rows, chosen.json)


if __name__ == "__main__":
    main()
