"""A stop, a refusal or a stall of the supervisor is not forgotten, whatever comes after it."""

import os
import resource
import signal
import threading
import time

import numpy as np
import pytest

from swarmctl.bridge.orders import Spots, Standing
from swarmctl.bridge.supervisor.wire import Message
from swarmctl.core.errors import ArmingError, DeviceError

SLOW = 'silence = "2 s"\nexpiry = "2 s"\nframe_periods = 40'


def test_a_supervisor_that_stood_still_is_a_fault_although_the_loop_went_on(bench):
    """Newer orders wait for it then, but what was sent stayed longer than the limits count on."""
    client = bench.start(supervisor=SLOW)
    bench.drive(0.1)
    os.kill(client.process, signal.SIGSTOP)
    try:
        bench.drive(0.4)
    finally:
        os.kill(client.process, signal.SIGCONT)
    report = bench.until_safe()
    assert "the supervisor itself stood still for 0." in report.fault
    assert report.safe_issued >= 0.15


def in_the_background(call):
    """Start a call that waits for a device; return what it raised, once joined."""
    raised = []

    def run():
        try:
            call()
        except Exception as error:
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, raised


def test_a_stop_while_devices_are_connected_lets_nothing_be_opened(bench):
    client = bench.write_rig(supervisor=SLOW)
    hang = bench.fault("coils", "hang")
    thread, raised = in_the_background(client.open)
    try:
        end = time.monotonic() + 10
        while not (bench.audit.exists() and bench.records("open")) and time.monotonic() < end:
            time.sleep(0.01)
        time.sleep(0.1)
        os.kill(client.process, signal.SIGUSR1)
        time.sleep(0.1)
    finally:
        hang.unlink()
        thread.join()
    assert isinstance(raised[0], DeviceError)
    assert "emergency stop: signal SIGUSR1" in str(raised[0])


def test_a_stop_while_a_fault_is_cleared_keeps_it(bench):
    client = bench.start(supervisor=SLOW)
    client.stop("first")
    bench.until_safe()
    hang = bench.fault("coils", "hang")
    thread, raised = in_the_background(lambda: client.clear("Ada"))
    try:
        bench.wait_records("clear")
        os.kill(client.process, signal.SIGUSR1)
        time.sleep(0.1)
    finally:
        hang.unlink()
        thread.join()
    assert isinstance(raised[0], ArmingError)
    assert "emergency stop: signal SIGUSR1" in str(raised[0])
    assert client.report().standing is Standing.FAULT
    bench.until_safe()
    client.clear("Ada")
    assert client.report().standing is Standing.CONFIGURED


def test_who_cannot_be_armed_anew_is_armed_no_more(bench):
    client = bench.write_rig(supervisor=SLOW)
    client.open()
    client.arm("Ada", None)  # for probing, which then finds the spot in a wrong place
    with pytest.raises(ArmingError, match="the spot check failed"):
        client.arm("Ada", bench.evidence(spot_error=7.0))
    assert client.report().standing is Standing.CONFIGURED
    with pytest.raises(ArmingError, match="has to be ARMED"):
        client.activate()


def test_an_order_that_waits_is_not_sent_after_a_stop_or_a_rest(bench):
    client = bench.start(supervisor=SLOW)
    os.kill(client.process, signal.SIGSTOP)
    try:
        while not client._newest:
            client.send(bench.order())
        client.rest("a pause")
        assert not client._newest
        client.send(bench.order())
        assert client._newest
        client.stop("the key")
        assert not client._newest
    finally:
        os.kill(client.process, signal.SIGCONT)
    bench.until_safe()


def test_a_driver_that_ends_its_thread_is_a_fault_at_once(bench):
    client = bench.start(supervisor=SLOW)
    bench.drive(0.05)
    exits = bench.fault("coils", "exit")
    client.send(bench.order())
    report = bench.until(lambda r: r.standing is Standing.FAULT)
    assert report.fault.startswith("coils: SystemExit")
    exits.unlink()
    assert bench.until_safe().safe_issued <= 0.15


def test_many_spots_are_refused_before_they_fill_the_memory(bench):
    client = bench.start(supervisor=SLOW)
    count = 60_000
    line = np.arange(count)
    many = Spots(np.ones((count, 2)), np.ones(count), np.ones(count), line)
    resource.prlimit(client.process, resource.RLIMIT_AS, (2**32, 2**32))
    for _ in range(2):
        client.send(bench.order(outputs={"light": many}))
    assert "60000 were asked, at most" in bench.until_safe().fault


def test_endless_numbers_are_words_that_make_no_sense(bench):
    client = bench.start(supervisor=SLOW)
    client._say(Message("beat", {"frame": float("inf"), "exposed": 0.0}))
    assert "make no sense" in bench.wait_records("fault")[-1]["reason"]
