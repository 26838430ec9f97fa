"""Whatever becomes of a device, the interlock, the disk or the supervisor, outputs end up safe."""

import os
import resource
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from swarmctl.bridge.orders import Standing
from swarmctl.bridge.supervisor.client import SupervisorClient
from swarmctl.bridge.supervisor.ownership import ask_report, stop_rig
from swarmctl.core.errors import ArmingError, DeviceError, RecordError, SupervisorLostError

PROMISE = 0.15
SLOW = 'silence = "2 s"\nexpiry = "2 s"\nframe_periods = 40'
"""Criteria that a test meets that waits for its turn on a busy machine."""


def last(bench, name):
    return bench.journal(name)[-1][1:]


def faulted(bench, **rig):
    bench.start(**{"supervisor": SLOW, **rig})
    bench.drive(0.05)


def test_an_instrument_that_answers_an_error_makes_all_outputs_safe(bench):
    faulted(bench)
    bench.fault("coils", "error")
    bench.client.send(bench.order())
    report = bench.until(lambda r: r.standing is Standing.FAULT)
    assert report.fault.startswith("coils: coils answers ERROR")
    # The light is safe although the coils are not; that is said, and tried again and again.
    report = bench.until(lambda r: "not known to be safe: coils" in r.fault)
    assert last(bench, "light") == ("safe", 0)
    assert report.safe_issued < np.inf
    assert report.safe_confirmed == np.inf
    with pytest.raises(ArmingError, match="coils"):
        bench.client.clear("Ada")
    (bench.folder / "coils.error").unlink()
    bench.until_safe()
    assert last(bench, "coils") == ("safe", [0.0, 0.5])
    bench.client.clear("Ada")
    assert bench.client.report().standing is Standing.CONFIGURED


def test_an_instrument_that_hangs_delays_no_other_and_is_made_safe_when_it_can_be(bench):
    faulted(bench, supervisor=SLOW + '\nconfirm = "0.3 s"')
    hang = bench.fault("light", "hang")
    began = time.monotonic()
    receipts = bench.drive(0.1)
    sent = [entry for entry in bench.journal("coils") if entry[0] > began]
    assert len(sent) >= 2  # the coils go on meanwhile
    assert all("light" not in receipt.sent or receipt.confirmed < began for receipt in receipts)
    report = bench.until(lambda r: r.standing is Standing.FAULT)
    assert "light: the device does not return" in report.fault
    report = bench.until(lambda r: "not known to be safe: light" in r.fault)
    assert last(bench, "coils") == ("safe", [0.0, 0.5])
    assert 0.1 < report.safe_issued <= 3 * PROMISE  # told from another thread
    assert report.safe_confirmed == np.inf
    hang.unlink()
    bench.until_safe()
    # What hung has come to an end; the device's last word is nevertheless that it is safe.
    assert last(bench, "light") == ("safe", 0)


def test_an_instrument_that_is_slow_to_be_safe_is_told_once_and_waited_for(bench):
    bench.start(supervisor=SLOW, coils='duration = "0.25 s"')
    bench.client.stop("test")
    report = bench.until_safe()
    assert report.safe_issued < 0.25 <= report.safe_confirmed
    calls = [what for _, what, _ in bench.journal("coils")]
    assert calls == ["connect", "safe", "safe"]


def test_an_instrument_that_will_not_be_safe_is_told_again_until_it_is(bench):
    faulted(bench)
    deaf = bench.fault("coils", "deaf")
    bench.client.stop("test")
    bench.until(lambda r: "not known to be safe: coils" in r.fault)
    attempts = len(
        [r for r in bench.wait_records("safe", 8) if r["output"] == "coils" and r["error"]]
    )
    assert attempts >= 3
    deaf.unlink()
    bench.until_safe()
    assert last(bench, "coils") == ("safe", [0.0, 0.5])


def test_an_interlock_that_opens_fails_or_hangs_is_a_fault(bench):
    driver = Path(__file__).with_name("file_devices.py")
    section = (
        f'[interlock]\ndriver = "{driver}:FileInterlock"\nfile = "{bench.folder}/interlock.log"'
    )
    faulted(bench, interlock=section)
    assert bench.client.report().interlock is True
    for what, reason in (
        ("open", "the interlock is open"),
        ("error", "the interlock cannot be read: the interlock answers ERROR"),
        ("hang", "the interlock does not answer"),
    ):
        wrong = bench.fault("interlock", what)
        assert bench.until_safe().fault == reason
        assert last(bench, "light") == ("safe", 0)
        with pytest.raises(ArmingError, match="the interlock"):
            bench.client.clear("Ada")
        wrong.unlink()
        time.sleep(0.2)
        bench.rearm()


def test_a_full_disk_is_a_fault_and_the_log_says_afterwards_what_is_missing(bench):
    faulted(bench)
    process = bench.client.process
    soft, hard = resource.prlimit(process, resource.RLIMIT_FSIZE)
    resource.prlimit(process, resource.RLIMIT_FSIZE, (bench.audit.stat().st_size, hard))
    report = None
    for _ in range(100):
        bench.client.send(bench.order())
        time.sleep(0.01)
        report = bench.client.report()
        if report.standing is Standing.FAULT:
            break
    assert "audit.jsonl: cannot be written" in report.fault
    assert bench.until_safe().safe_issued < np.inf
    assert last(bench, "light") == ("safe", 0)
    with pytest.raises(ArmingError, match="cannot be written"):
        bench.client.clear("Ada")
    resource.prlimit(process, resource.RLIMIT_FSIZE, (soft, hard))
    bench.client.clear("Ada")
    assert bench.wait_records("missing")[-1]["records"] > 0


def test_a_signal_is_an_emergency_stop_and_is_latched(bench):
    faulted(bench)
    os.kill(bench.client.process, signal.SIGINT)  # that one is for the loop
    bench.drive(0.05)
    for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP):
        assert bench.client.report().standing is Standing.ACTIVE
        os.kill(bench.client.process, number)
        assert bench.until_safe().fault == f"emergency stop: signal {number.name}"
        assert last(bench, "coils") == ("safe", [0.0, 0.5])
        bench.rearm()


def test_the_verb_stops_a_rig_from_elsewhere_and_waits_for_the_confirmation(bench):
    faulted(bench)
    assert ask_report(bench.rig).standing is Standing.ACTIVE
    report = stop_rig(bench.rig)
    assert report.standing is Standing.FAULT
    assert report.safe_confirmed < np.inf
    assert last(bench, "light") == ("safe", 0)
    assert last(bench, "coils") == ("safe", [0.0, 0.5])
    bench.client.close()
    with pytest.raises(SupervisorLostError, match="no supervisor owns this rig"):
        stop_rig(bench.rig)


def test_the_verb_says_when_the_safe_state_is_not_confirmed(bench):
    faulted(bench)
    bench.fault("coils", "deaf")
    with pytest.raises(SupervisorLostError, match=r"not confirmed(.|\n)*by hand"):
        stop_rig(bench.rig, timeout=0.5)
    (bench.folder / "coils.deaf").unlink()


def test_two_supervisors_cannot_own_one_rig(bench):
    faulted(bench)
    second = SupervisorClient(bench.rig, bench.folder / "second.jsonl")
    with pytest.raises(ArmingError, match=f"process {bench.client.process} owns this rig"):
        second.open()
    bench.drive(0.05)
    assert bench.client.report().standing is Standing.ACTIVE
    bench.client.close()
    second.open()
    second.close()


def test_the_loop_notices_that_the_supervisor_was_killed(bench):
    faulted(bench)
    os.kill(bench.client.process, signal.SIGKILL)
    bench.client._process.wait()
    with pytest.raises(SupervisorLostError, match="the devices' own time-outs"):
        bench.client.report()
    bench.client.stop("nobody hears it")
    bench.client.close()
    # The lock is free again, and what was written can be read.
    assert bench.records("arm")
    again = SupervisorClient(bench.rig, bench.folder / "again.jsonl")
    again.open()
    assert again.report().standing is Standing.CONFIGURED
    again.close()


def test_the_loop_notices_that_the_supervisor_stands_still_which_is_a_fault_when_it_goes_on(bench):
    faulted(bench, supervisor=SLOW.replace("2 s", "1 s"))
    os.kill(bench.client.process, signal.SIGSTOP)
    try:
        for _ in range(2000):  # no call waits, and what waits to be sent does not grow
            bench.client.send(bench.order())
        assert len(bench.client._unsent) + len(bench.client._newest) < 2000
        time.sleep(1.2)
        with pytest.raises(SupervisorLostError, match="silent"):
            bench.client.report()
    finally:
        os.kill(bench.client.process, signal.SIGCONT)
    report = bench.until_safe()
    assert "the supervisor itself stood still" in report.fault
    assert report.safe_issued > 0


def test_a_device_that_cannot_be_connected_or_an_audit_log_that_exists_is_refused(bench):
    bench.write_rig()
    bench.fault("light", "error")
    with pytest.raises(DeviceError, match="light: light answers ERROR"):
        bench.client.open()
    (bench.folder / "light.error").unlink()
    assert last(bench, "coils")[0] == "disconnect"
    with pytest.raises(RecordError, match=r"audit\.jsonl"):
        bench.client.open()


def test_the_supervisor_does_not_load_jax(bench):
    faulted(bench)
    assert "jax" not in Path(f"/proc/{bench.client.process}/maps").read_text()
