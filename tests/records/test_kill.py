"""A trajectory loses nothing but the frame in hand, wherever a kill falls."""

import random
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest

from swarmctl.records import store
from swarmctl.records.journal import read_journal, record_dtype
from swarmctl.records.trajectory import (
    TrajectorySpec,
    TrajectoryWriter,
    find_journals,
    read_trajectory,
    repair,
)

SPEC = TrajectorySpec(2, (100.0, 100.0), (True, True))
START = np.array([[1.0, 2.0], [3.0, 4.0]], "float32")

CHILD = """
import sys
import numpy as np
from swarmctl.records.trajectory import TrajectorySpec, TrajectoryWriter

spec = TrajectorySpec(2, (100.0, 100.0), (True, True))
start = np.array([[1.0, 2.0], [3.0, 4.0]], "float32")
with TrajectoryWriter(sys.argv[1], spec, int(sys.argv[2]), append=True) as writer:
    assert "jax" not in sys.modules
    while True:
        k = writer.frames
        writer.write({"time": k / 8, "step": k, "position": start + k})
        print(k, flush=True)
"""


def frame(k):
    return {"time": k / 8, "step": k, "position": START + k}


def check(path, count):
    read = read_trajectory(path)
    np.testing.assert_array_equal(read.frame, np.arange(count))
    np.testing.assert_array_equal(read.time, np.arange(count) / 8)
    expected = START + np.arange(count, dtype="float32")[:, None, None]
    np.testing.assert_array_equal(read.position, expected)


def killed_writer(folder, per_segment, delay):
    """SIGKILL a writing process `delay` s after its first frame; return the last it reported."""
    command = [sys.executable, "-W", "error", "-c", CHILD, str(folder), str(per_segment)]
    # Unbuffered: communicate() does not see what readline() has read ahead.
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "bufsize": 0}
    with subprocess.Popen(command, **pipes) as child:
        first = child.stdout.readline()
        time.sleep(delay)
        child.kill()
        rest, errors = child.communicate()
    assert errors == b""
    lines = (first + rest).split(b"\n")[:-1]
    return int(lines[-1])


@pytest.mark.parametrize("trial", range(10))
def test_every_reported_frame_survives_a_kill(tmp_path, trial):
    MDAnalysis = pytest.importorskip("MDAnalysis")
    # Short segments, so that some kills meet one being closed.
    per_segment = 10_000 if trial < 3 else 7
    last = killed_writer(tmp_path, per_segment, random.Random(trial).uniform(0, 0.15))
    before = read_trajectory(tmp_path)
    assert len(before) in (last + 1, last + 2)
    report = repair(tmp_path)
    assert report.frames == len(before)
    check(tmp_path, report.frames)
    assert not find_journals(tmp_path)
    assert {path.suffix for path in tmp_path.iterdir()} <= {".h5md", ".lock"}
    universe = MDAnalysis.Universe(str(tmp_path / "trajectory.h5md"), to_guess=())
    count = min(report.frames, per_segment)
    assert universe.trajectory.n_frames == count
    universe.trajectory[count - 1]
    np.testing.assert_allclose(universe.trajectory.ts.positions[:, :2], 1e4 * (START + count - 1))
    universe.trajectory.close()


def test_a_writer_goes_on_after_kills(tmp_path):
    last = -1
    for delay in (0.0, 0.02, 0.04):
        now = killed_writer(tmp_path, 50, delay)
        assert now > last
        last = now
    with TrajectoryWriter(tmp_path, SPEC, append=True) as writer:
        assert writer.frames in (last + 1, last + 2)
        count = writer.write(frame(writer.frames)) + 1
    check(tmp_path, count)


@pytest.fixture
def journal(tmp_path):
    """A journal of four frames, as a kill leaves it."""
    work = tmp_path / "work"
    work.mkdir()
    with TrajectoryWriter(work, SPEC) as writer:
        for k in range(4):
            writer.write(frame(k))
        kept = shutil.copy(work / "trajectory.part", tmp_path / "trajectory.part")
    shutil.rmtree(work)
    return kept


def test_a_journal_cut_anywhere_in_its_last_record_is_repaired(journal):
    data = journal.read_bytes()
    length = record_dtype(SPEC).itemsize
    for lost in range(length + 1):
        journal.write_bytes(data[: len(data) - lost])
        whole = 4 if lost == 0 else 3
        check(journal.parent, whole)
        report = repair(journal.parent)
        torn = 0 < lost < length
        assert (report.frames, report.dropped) == (whole, int(torn))
        assert any("torn" in action for action in report.actions) == torn
        check(journal.parent, whole)
        assert repair(journal.parent).actions == ()
        (journal.parent / "trajectory.h5md").unlink()


def test_a_damaged_byte_costs_its_own_frame_only_and_is_reported(journal):
    data = bytearray(journal.read_bytes())
    length = record_dtype(SPEC).itemsize
    begin = len(data) - 3 * length
    for offset in range(length):
        changed = data.copy()
        changed[begin + offset] ^= 0x10
        journal.write_bytes(changed)
        content = read_journal(journal)
        assert content.damaged == (1,)
        np.testing.assert_array_equal(content.frames, [0, 2, 3])
    read = read_trajectory(journal)
    assert read.notes == (f"{journal}: frames [1] are damaged, left out",)
    report = repair(journal)
    assert (report.frames, report.dropped) == (3, 1)
    assert "dropped damaged frames [1]" in report.actions
    np.testing.assert_array_equal(read_trajectory(journal).frame, [0, 2, 3])
    with TrajectoryWriter(journal, SPEC, append=True) as writer:
        assert writer.frames == 4


def test_a_kill_between_rename_and_removal_duplicates_nothing(journal):
    copy = journal.read_bytes()
    repair(journal)
    journal.write_bytes(copy)
    check(journal, 4)
    report = repair(journal)
    assert report.frames == 4
    assert report.actions == ("removed trajectory.part, which trajectory.h5md already holds",)
    assert not journal.exists()
    journal.write_bytes(copy)
    with TrajectoryWriter(journal, SPEC, append=True) as writer:
        writer.write(frame(4))
    check(journal, 5)


def test_a_kill_before_the_rename_leaves_the_journal(journal, monkeypatch):
    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(store, "write_segment", killed)
        with pytest.raises(KeyboardInterrupt):
            repair(journal)
    leftover = journal.parent / ".trajectory.h5md.abc_1x2.tmp"
    leftover.write_bytes(b"half")
    other = journal.parent / ".trajectory.b.h5md.abc_1x2.tmp"
    other.write_bytes(b"of another trajectory, perhaps alive")
    check(journal, 4)
    assert f"removed the unfinished {leftover.name}" in repair(journal).actions
    assert not leftover.exists()
    assert other.exists()
    check(journal, 4)


def test_a_large_journal_is_closed_in_parts_whenever_a_kill_comes(tmp_path, monkeypatch):
    """Nothing is lost and nothing is there twice after a kill between any two segments."""
    frames, per = 11, 3
    monkeypatch.setattr(store, "SEGMENT_BYTES", per * record_dtype(SPEC).itemsize)
    true_write = store.write_segment
    for kills in (0, 1, 2, 3, 99):
        folder = tmp_path / str(kills)
        folder.mkdir()
        done = []

        def write(path, content, kills=kills, done=done):
            if len(done) == kills:
                done.append(None)
                raise KeyboardInterrupt
            done.append(path)
            true_write(path, content)

        monkeypatch.setattr(store, "write_segment", write)
        writer = TrajectoryWriter(folder, SPEC, 10**9)
        for k in range(frames):
            writer.write(frame(k))
        if kills < 4:
            with pytest.raises(KeyboardInterrupt):
                writer.close()
            assert len(list(folder.glob("*.h5md"))) == kills
            check(folder, frames)
            report = repair(folder)
            assert (report.frames, report.dropped) == (frames, 0)
        else:
            writer.close()
        check(folder, frames)
        assert len(list(folder.glob("*.h5md"))) == 4
        assert not find_journals(folder)
        with TrajectoryWriter(folder, SPEC, append=True) as again:
            assert again.write(frame(frames)) == frames
        check(folder, frames + 1)


def test_damage_in_a_large_journal_costs_its_own_frames_only(journal, monkeypatch):
    length = record_dtype(SPEC).itemsize
    monkeypatch.setattr(store, "SEGMENT_BYTES", 2 * length)
    data = bytearray(journal.read_bytes())
    data[len(data) - 2 * length - 10] ^= 1  # frame 1, the last of the first segment
    journal.write_bytes(data[:-5])  # and the end is torn
    report = repair(journal)
    assert (report.frames, report.dropped) == (2, 2)
    np.testing.assert_array_equal(read_trajectory(journal).frame, [0, 2])


def test_a_journal_without_a_frame_goes_away(journal):
    length = record_dtype(SPEC).itemsize
    journal.write_bytes(journal.read_bytes()[: -4 * length])
    report = repair(journal)
    assert report.frames == 0
    assert report.actions == ("removed trajectory.part, which has no frame",)
    assert not list(journal.parent.glob("trajectory*"))


def test_another_process_reads_while_this_one_writes(tmp_path):
    reader = (
        "import sys\n"
        "from swarmctl.records.trajectory import read_trajectory\n"
        "print(len(read_trajectory(sys.argv[1])))"
    )
    with TrajectoryWriter(tmp_path, SPEC, frames_per_segment=3) as writer:
        for k in range(5):
            writer.write(frame(k))
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", reader, str(tmp_path)],
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout == "5\n"
        writer.write(frame(5))
    check(tmp_path, 6)
