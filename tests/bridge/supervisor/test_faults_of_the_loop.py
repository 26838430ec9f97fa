"""Whatever becomes of the loop, every output is told to be safe, latched and logged."""

import contextlib
import math
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from swarmctl.bridge.orders import Standing, Values
from swarmctl.bridge.supervisor.wire import Message, pack
from swarmctl.core.errors import ArmingError

PROMISE = 0.15
"""s from the criterion until every output is told."""
SLOW = 'silence = "0.5 s"\nexpiry = "0.5 s"\nframe_periods = 10'
"""Criteria that a loop meets that waits for its turn on a busy machine."""
ATTEMPTS = 3
"""A machine that is busy with other things may be late once; never does an output stay on."""


def run_loop(bench, fault, act=None):
    """Run a loop with a fault; return when it happened, s of time.monotonic()."""
    command = [sys.executable, Path(__file__).with_name("loop_process.py"), bench.folder, fault]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        try:
            word, supervisor = process.stdout.readline().split()
            assert word == "active"
            if act is None:
                happened = float(process.stdout.readline().split()[1])
            else:
                time.sleep(0.05)
                happened = time.monotonic()
                process.send_signal(act)
            wait_for_safe(bench)
        finally:
            process.kill()
    wait_for_end(int(supervisor))
    return happened


def wait_for_safe(bench, seconds=5.0):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if bench.audit.exists() and bench.records("all safe"):
            return
        time.sleep(0.02)
    raise AssertionError(f"not safe: {bench.records()}")


def wait_for_end(process, seconds=10.0):
    end = time.monotonic() + seconds
    while time.monotonic() < end and is_alive(process):
        time.sleep(0.01)
    assert not is_alive(process), "the supervisor outlives its loop"


def is_alive(process):
    try:
        status = Path(f"/proc/{process}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


@pytest.mark.parametrize(
    ("fault", "act", "silence"),
    [
        ("", signal.SIGSTOP, 0.1),
        ("", signal.SIGKILL, 0.0),
        ("exception", None, 0.0),
        ("exit", None, 0.0),
        ("held interpreter lock", None, 0.1),
    ],
)
def test_a_loop_that_stops_dies_fails_or_hangs_leaves_the_outputs_safe(
    make_bench, tmp_path, fault, act, silence
):
    late = []
    for attempt in range(ATTEMPTS):
        folder = tmp_path / str(attempt)
        folder.mkdir()
        bench = make_bench(folder)
        happened = run_loop(bench, fault, act)
        (record,) = bench.records("fault")
        told = max(first_safe(bench.journal(name), happened) for name in ("light", "coils"))
        # The criterion comes no later than the watch says, and the outputs soon after it.
        late = [told - record["criterion"], record["criterion"] - happened - silence - 0.05]
        assert bench.journal("light")[-1][1:] == ["disconnect", 0] or bench.records("close")
        if late[0] <= PROMISE and late[1] <= PROMISE:
            return
    raise AssertionError(f"too late by {late} s in {ATTEMPTS} attempts")


def first_safe(journal, since):
    """Return when a device was told to be safe, and check that nothing else came after it."""
    times = [t for t, what, _ in journal if what == "safe" and t > since]
    assert times, journal[-3:]
    assert not [entry for entry in journal if entry[0] > times[0] and entry[1] in ("write", "show")]
    return times[0]


@pytest.fixture(scope="module")
def running(make_bench, tmp_path_factory):
    """One supervisor for all faults that its loop survives."""
    bench = make_bench(tmp_path_factory.mktemp("running"))
    bench.write_rig(supervisor=f"poor_frames = 3\nleast_found = 2\n{SLOW}")
    bench.client.open()
    yield bench
    with contextlib.suppress(Exception):
        bench.client.close()


def nothing(bench):
    """The loop does nothing any more."""


def only_beats(bench):
    for _ in range(60):
        bench.frame += 1
        bench.client.beat(bench.frame, time.monotonic() - 0.005)
        time.sleep(0.01)


def frozen_camera(bench):
    frame, exposed = bench.frame, time.monotonic()
    for _ in range(60):  # the loop and its orders go on; the picture is always the same
        bench.client.send(bench.order(frame=frame, exposed=exposed))
        time.sleep(0.01)
    bench.frame += 100


def few_colloids(bench):
    bench.drive(0.1, lambda: bench.order(found=1))


def falling_frames(bench):
    bench.client.beat(bench.frame - 5, time.monotonic())


def future_frames(bench):
    bench.client.beat(bench.frame + 1, time.monotonic() + 10)


def nan_values(bench):
    bench.client.send(bench.order(outputs={"coils": Values(np.array([np.nan, 0.0]))}))


def nan_spots(bench):
    order = bench.order()
    order.outputs["light"].position[:] = np.nan
    bench.client.send(order)


def jumping_spot(bench):
    order = bench.order()
    order.outputs["light"].position[0] += 80.0
    bench.client.send(order)


def same_number(bench):
    bench.client.send(bench.order(number=bench.number))
    bench.client.send(bench.order(number=bench.number - 1))


def emergency_stop(bench):
    bench.client.stop("the key was pressed")


FAULTS = {
    nothing: "too old|silent",
    only_beats: "expired",
    frozen_camera: "too old",
    few_colloids: "3 frames in a row showed fewer than 2",
    falling_frames: "frame numbers fell",
    future_frames: "not before now",
    nan_values: "coils: a value that is not finite",
    nan_spots: "light: spots: position is not finite",
    jumping_spot: "light: the spot of colloid 3 jumped by 113.1 px",
    same_number: "came after order",
    emergency_stop: "emergency stop: the key was pressed",
}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda f: f.__name__)
def test_every_fault_makes_all_outputs_safe_in_time_latched_and_logged(running, fault):
    bench, client = running, running.client
    for attempt in range(ATTEMPTS):
        if client.report().standing is Standing.FAULT:
            client.clear("Ada")
        client.arm("Ada", bench.evidence())
        client.activate()
        receipts = bench.drive(0.08)
        began = time.monotonic()
        fault(bench)
        report = bench.until_safe()
        if attempt < ATTEMPTS - 1 and not re.search(FAULTS[fault], report.fault):
            continue  # the loop itself had to wait for its turn
        assert re.search(FAULTS[fault], report.fault), report.fault
        assert report.safe_issued <= report.safe_confirmed
        for name, safe in (("light", 0), ("coils", [0.0, 0.5])):
            told = first_safe(bench.journal(name), began)
            assert told - began < 5.0
            assert bench.journal(name)[-1][2] == safe
        # Latched: nothing but a person leads out of it.
        client.send(bench.order())
        with pytest.raises(ArmingError, match="FAULT"):
            client.arm("Ada", bench.evidence())
        with pytest.raises(ArmingError, match="FAULT"):
            client.activate()
        with pytest.raises(ArmingError, match="nobody is named"):
            client.clear(" ")
        assert "FAULT" in client.receipts()[-1].limited["light"]
        record = bench.wait_records("fault", since=began)[-1]
        assert record["reason"] == report.fault
        if report.safe_issued <= PROMISE:
            break
    assert receipts
    assert report.safe_issued <= PROMISE
    assert math.isfinite(record["criterion"])


def test_a_flood_of_messages_is_a_fault_and_ends_the_loop(bench):
    client = bench.start(supervisor=SLOW)
    data = pack(Message("beat", {"frame": 1, "exposed": time.monotonic()}))
    client._connection.setblocking(True)
    with contextlib.suppress(OSError):
        for _ in range(20000):
            client._connection.sendall(data)
    client._connection.setblocking(False)
    wait_for_safe(bench)
    assert "more than" in bench.records("fault")[-1]["reason"]


@pytest.mark.parametrize(
    "words", [b"\xff" * 100, b"SWSV\x01\0\0\0\xff\xff\xff\xff\0\0\0\0"], ids=["rubbish", "too long"]
)
def test_words_that_make_no_sense_are_a_fault(bench, words):
    client = bench.start()
    bench.drive(0.05)
    client._connection.send(words)
    wait_for_safe(bench)
    assert "make no sense" in bench.records("fault")[-1]["reason"]
    assert bench.journal("light")[-1][2] == 0


def test_a_stall_shorter_than_every_criterion_is_no_fault(bench):
    client = bench.start(supervisor='silence = "3 s"\nexpiry = "3 s"\nframe_periods = 60')
    bench.drive(0.05)
    time.sleep(0.3)
    bench.drive(0.05)
    assert client.report().standing is Standing.ACTIVE
