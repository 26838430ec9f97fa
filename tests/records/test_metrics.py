"""Rows of metrics survive a kill, and a resumed run writes each row once."""

import json

import numpy as np
import pytest

from swarmctl.core.errors import RecordError
from swarmctl.records import metrics
from swarmctl.records.metrics import MetricsLog, TensorBoardLog, read_metrics, truncate_metrics


def write(path, steps):
    with MetricsLog(path) as log:
        for step in steps:
            log.write({"update": step, "return": step / 3})


def test_rows_come_back_exactly(tmp_path):
    rows = [{"update": k, "return": k / 3, "name": "µ"} for k in range(3)]
    with MetricsLog(tmp_path / "new" / "m.jsonl") as log:
        for k, row in enumerate(rows):
            log.write(row)
            assert read_metrics(log.path) == rows[: k + 1]


def test_numpy_values_become_plain(tmp_path):
    with MetricsLog(tmp_path / "m") as log:
        log.write({"a": np.float32(0.5), "b": np.array(3), "c": np.arange(2), "d": np.bool_(True)})
    assert read_metrics(tmp_path / "m") == [{"a": 0.5, "b": 3, "c": [0, 1], "d": True}]


def test_values_that_are_not_finite_come_back(tmp_path):
    with MetricsLog(tmp_path / "m") as log:
        log.write({"a": float("nan"), "b": float("-inf")})
    row = read_metrics(tmp_path / "m")[0]
    assert np.isnan(row["a"])
    assert row["b"] == -np.inf


def test_a_log_cut_anywhere_is_read_and_gone_on_with(tmp_path):
    path = tmp_path / "m"
    write(path, range(3))
    data = path.read_bytes()
    start = data[:-1].rindex(b"\n") + 1
    for length in range(start, len(data)):
        path.write_bytes(data[:length])
        assert [row["update"] for row in read_metrics(path)] == [0, 1]
        write(path, [2])
        assert path.read_bytes() == data


def test_a_damaged_line_before_the_last_is_named(tmp_path):
    path = tmp_path / "m"
    write(path, range(3))
    lines = path.read_text().splitlines()
    for wrong in ("{", "[1]"):
        path.write_text("\n".join([lines[0], wrong, lines[2]]) + "\n")
        with pytest.raises(RecordError, match=r"m: line 2 is damaged .* Remove that line"):
            read_metrics(path)


def test_truncating_drops_what_a_resumed_run_writes_again(tmp_path):
    path = tmp_path / "m"
    assert truncate_metrics(path, "update", 3) == 0
    write(path, range(6))
    whole = path.read_bytes()
    with MetricsLog(path) as log:
        log.write({"note": "no such key"})
    assert truncate_metrics(path, "update", 3) == 2
    assert [row.get("update") for row in read_metrics(path)] == [0, 1, 2, 3, None]
    path.write_bytes(whole)
    truncate_metrics(path, "update", 3)
    write(path, [4, 5])
    assert path.read_bytes() == whole


def test_errors_name_the_file(tmp_path, monkeypatch):
    with pytest.raises(RecordError, match=r"none: no such file. Check the path"):
        read_metrics(tmp_path / "none")
    (tmp_path / "file").touch()
    with pytest.raises(RecordError, match="m: cannot be written"):
        MetricsLog(tmp_path / "file" / "m")
    log = MetricsLog(tmp_path / "m")
    with pytest.raises(RecordError, match=r"m: row not written: .* Give numbers"):
        log.write({"x": object()})
    original = metrics.write_all

    def full(handle, data):
        original(handle, data[:5])
        raise OSError(28, "No space left on device")

    log.write({"a": 1})
    monkeypatch.setattr(metrics, "write_all", full)
    with pytest.raises(RecordError, match=r"m: cannot be written .No space left"):
        log.write({"a": 2})
    monkeypatch.undo()
    log.write({"a": 3})
    log.close()
    log.close()
    with pytest.raises(RecordError, match="this log is closed"):
        log.write({})
    assert (tmp_path / "m").read_text() == json.dumps({"a": 1}) + "\n" + json.dumps({"a": 3}) + "\n"


def test_tensorboard_reads_the_scalars(tmp_path):
    loader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    log = TensorBoardLog(tmp_path / "tb")
    for step in range(3):
        log.scalars(step, {"train/return": np.float32(step / 2), "loss": 1})
    log.close()
    events = loader.EventAccumulator(str(tmp_path / "tb"))
    events.Reload()
    assert sorted(events.Tags()["scalars"]) == ["loss", "train/return"]
    found = [(e.step, e.value) for e in events.Scalars("train/return")]
    assert found == [(0, 0.0), (1, 0.5), (2, 1.0)]


def test_tensorboard_forgets_what_a_resumed_run_writes_again(tmp_path):
    loader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    for purge, value in ((None, 1.0), (2, 9.0)):
        log = TensorBoardLog(tmp_path, purge_from=purge)
        for step in range(purge or 0, 4):
            log.scalars(step, {"loss": value})
        log.close()
    events = loader.EventAccumulator(str(tmp_path))
    events.Reload()
    assert {e.step: e.value for e in events.Scalars("loss")} == {0: 1.0, 1: 1.0, 2: 9.0, 3: 9.0}
