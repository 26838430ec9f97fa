"""An audit log tells what happened, shows what was changed, and says when it cannot be written."""

import json
import os
import resource
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from swarmctl.bridge.orders import Spots, Values
from swarmctl.bridge.supervisor import audit
from swarmctl.bridge.supervisor.audit import AuditLog, read_audit
from swarmctl.core.errors import RecordError

SPOTS = Spots(
    np.array([[1.5, 2.5]]), np.array([5.0]), np.array([0.25]), np.array([2**40], np.int64)
)


def write(path, count=4):
    log = AuditLog(path, lambda: None)
    for number in range(count):
        log.record("order", number=number, requested={"light": SPOTS, "coils": Values(np.ones(2))})
    log.close()
    assert log.error == ""
    return path


def test_what_was_recorded_is_read_with_both_clocks(tmp_path):
    trail = read_audit(write(tmp_path / "audit.jsonl"))
    assert [record["number"] for record in trail.records] == [0, 1, 2, 3]
    assert not trail.torn
    record = trail.records[2]
    assert abs(record["wall"] - os.stat(tmp_path / "audit.jsonl").st_mtime) < 60
    spots = record["requested"]["light"]
    for name in ("position", "radius", "power", "colloid"):
        assert np.array_equal(getattr(spots, name), getattr(SPOTS, name))
    assert record["requested"]["coils"].value.tolist() == [1.0, 1.0]
    for line in (tmp_path / "audit.jsonl").read_text().splitlines():
        assert json.loads(line).keys() == {"chain", "record"}


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (
            lambda lines: [
                *lines[:1],
                lines[1].replace(b'"number": 1', b'"number": 7'),
                *lines[2:],
            ],
            2,
        ),
        (lambda lines: [lines[0], *lines[2:]], 2),
        (lambda lines: [lines[1], lines[0], *lines[2:]], 1),
        (lambda lines: [*lines[:2], lines[1], *lines[2:]], 3),
        (lambda lines: [*lines[:2], b"{}", *lines[2:]], 3),
        (lambda lines: [*lines[:3], lines[3].replace(b"0", b"1", 1), *lines[4:]], 4),
    ],
)
def test_a_changed_missing_or_added_line_shows(tmp_path, change, line):
    path = write(tmp_path / "audit.jsonl")
    path.write_bytes(b"\n".join(change(path.read_bytes().split(b"\n"))))
    with pytest.raises(RecordError, match=f"line {line} was changed"):
        read_audit(path)


def test_a_torn_last_line_is_left_out_and_said(tmp_path):
    path = write(tmp_path / "audit.jsonl")
    path.write_bytes(path.read_bytes()[:-20])
    trail = read_audit(path)
    assert (len(trail.records), trail.torn) == (3, True)


def test_nothing_is_written_over(tmp_path):
    path = write(tmp_path / "audit.jsonl")
    with pytest.raises(RecordError):
        AuditLog(path, lambda: None)
    with pytest.raises(RecordError):
        read_audit(tmp_path / "none.jsonl")


def test_a_full_disk_is_said_and_what_was_lost_is_counted_when_there_is_room_again(tmp_path):
    # In a process of its own, whose files may only become so large.
    code = f"""
import resource, signal, threading
from pathlib import Path
from swarmctl.bridge.supervisor.audit import AuditLog
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
failed = threading.Event()
log = AuditLog(Path({str(tmp_path / "audit.jsonl")!r}), failed.set)
log.record("order", number=0)
while not log.idle: pass
_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (300, hard))
for number in range(1, 4): log.record("order", number=number)
assert failed.wait(10)
while not log.idle: pass
assert "audit.jsonl" in log.error, log.error
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
log.retry()
log.record("order", number=4)
log.close()
assert log.error == ""
"""
    subprocess.run([sys.executable, "-c", code], check=True)
    records = read_audit(tmp_path / "audit.jsonl").records
    written = [r["number"] for r in records if r["event"] == "order"]
    missing = [r["records"] for r in records if r["event"] == "missing"]
    assert written[0] == 0
    assert written[-1] == 4
    assert len(written) + missing[0] == 5
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 300


def test_a_disk_that_does_not_return_is_said(tmp_path, monkeypatch):
    returns, said = threading.Event(), []
    write_all = audit.write_all

    def hang(handle, data):
        returns.wait(10)
        write_all(handle, data)

    monkeypatch.setattr(audit, "write_all", hang)
    log = AuditLog(tmp_path / "audit.jsonl", lambda: said.append(1))
    log.record("order", number=0)
    while log._writing is None:
        time.sleep(0.001)
    log.look(log._writing + 1.0)
    assert log.error == ""
    log.look(log._writing + 3.0)
    assert "has not taken a record for 3.0 s" in log.error
    assert said
    returns.set()
    log.close()
    assert [record["number"] for record in read_audit(log.path).records] == [0]


def test_what_cannot_be_written_is_an_error_not_a_hole(tmp_path):
    failed = threading.Event()
    log = AuditLog(tmp_path / "audit.jsonl", failed.set)
    log.record("order", thing=object())
    assert failed.wait(10)
    assert "cannot be written as JSON" in log.error
    log.close()
