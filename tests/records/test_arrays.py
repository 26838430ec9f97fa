"""Arrays come back bit for bit; a damaged file is an error that names it."""

import json
import os
import re
import subprocess
import sys
import threading

import numpy as np
import pytest

from swarmctl.core.errors import RecordError
from swarmctl.records import files
from swarmctl.records.arrays import load_arrays, save_arrays, write_json_atomic, write_text_atomic

ARRAYS = {
    "scalar": np.array(3.5, "float32"),
    "count": np.array(7, "int32"),
    "flag": np.array(True),
    "mask": np.array([True, False, True]),
    "key": np.array([0, 2**32 - 1], "uint32"),
    "table": np.arange(12, dtype="float64").reshape(3, 4) / 7,
    "transposed": np.arange(12, dtype="float32").reshape(3, 4).T,
    "big_endian": np.arange(3, dtype=">i4"),
    "empty": np.zeros((0, 3), "float32"),
    "special": np.array([np.nan, np.inf, -0.0]),
    "step": np.array(2**60, "int64"),
}


def test_arrays_and_metadata_come_back_bit_for_bit(tmp_path):
    metadata = {"kind": "policy", "config": json.dumps({"a": 1})}
    save_arrays(tmp_path / "new" / "a.safetensors", ARRAYS, metadata)
    arrays, texts = load_arrays(tmp_path / "new" / "a.safetensors")
    assert texts == metadata
    assert arrays.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert arrays[name].dtype == array.dtype.newbyteorder("=")
        assert arrays[name].shape == array.shape
        np.testing.assert_array_equal(arrays[name], array)
        assert arrays[name].flags.writeable


def test_no_arrays_and_no_metadata(tmp_path):
    save_arrays(tmp_path / "a", {})
    assert load_arrays(tmp_path / "a") == ({}, {})


def test_every_cut_of_a_file_is_an_error_that_names_it(tmp_path):
    path = tmp_path / "a.safetensors"
    save_arrays(path, {"x": np.arange(4.0)}, {"k": "v"})
    data = path.read_bytes()
    for length in range(len(data)):
        path.write_bytes(data[:length])
        with pytest.raises(RecordError, match=re.escape(str(path)) + ".* cut short"):
            load_arrays(path)


def test_missing_and_foreign_files(tmp_path):
    with pytest.raises(RecordError, match=r"none.st: no such file"):
        load_arrays(tmp_path / "none.st")
    foreign = tmp_path / "foreign.st"
    foreign.write_text("this is some text of another program")
    with pytest.raises(RecordError, match=r"foreign.st: is not a safetensors file"):
        load_arrays(foreign)
    with pytest.raises(RecordError, match="is a folder"):
        load_arrays(tmp_path)


def test_what_cannot_be_kept_is_refused(tmp_path):
    with pytest.raises(RecordError, match=r"a: array 'x' is <U1"):
        save_arrays(tmp_path / "a", {"x": np.array(["a"])})
    with pytest.raises(RecordError, match="metadata 'n' is int; give text"):
        save_arrays(tmp_path / "a", {}, {"n": 1})
    with pytest.raises(RecordError, match=r"not written: .* cannot be written as JSON"):
        write_json_atomic(tmp_path / "a", {"x": object()})
    assert not list(tmp_path.iterdir())


def test_a_failed_write_keeps_the_old_file_and_leaves_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "a.txt"
    write_text_atomic(path, "old µm")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "replace", full)
    with pytest.raises(RecordError, match=r"a\.txt: cannot be written \(No space left on device\)"):
        write_text_atomic(path, "new")
    assert path.read_text("utf-8") == "old µm"
    assert [item.name for item in tmp_path.iterdir()] == ["a.txt"]


def test_a_folder_below_a_file_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(RecordError, match=r"file/a: cannot be written .* Check that the folder"):
        save_arrays(tmp_path / "file" / "a", {})


def test_files_follow_the_umask(tmp_path):
    mask = os.umask(0o027)
    try:
        write_text_atomic(tmp_path / "a", "")
    finally:
        os.umask(mask)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o640


def test_json_takes_numpy_values_and_paths(tmp_path):
    write_json_atomic(tmp_path / "a", {"n": np.int64(3), "v": np.arange(2), "p": tmp_path})
    assert json.loads((tmp_path / "a").read_text()) == {"n": 3, "v": [0, 1], "p": str(tmp_path)}


def test_a_lock_has_one_owner_at_a_time(tmp_path):
    first, second = files.FileLock(tmp_path / "l"), files.FileLock(tmp_path / "l")
    assert first.acquire()
    assert first.acquire()
    assert not second.acquire()
    assert second.owner() == f"process {os.getpid()}"
    first.release()
    first.release()
    assert not (tmp_path / "l").exists()
    assert second.acquire()
    second.release()


@pytest.mark.skipif(sys.platform == "win32", reason="os.kill(pid, 0) is no question there")
def test_a_lock_whose_owner_is_gone_is_waited_for_a_moment(tmp_path):
    first, second = files.FileLock(tmp_path / "l"), files.FileLock(tmp_path / "l")
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    assert first.acquire()
    (tmp_path / "l").write_text(f"{gone.pid}\n")
    timer = threading.Timer(0.2, first.release)
    timer.start()
    assert second.acquire()
    timer.join()
    second.release()
