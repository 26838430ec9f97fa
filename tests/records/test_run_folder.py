"""A run folder says what was run, and never takes another's place."""

import json
import socket
import subprocess
import sys

import numpy as np
import pytest

from swarmctl.core.errors import RunFolderError
from swarmctl.records import run_folder
from swarmctl.records.metrics import MetricsLog
from swarmctl.records.provenance import find_seeds, git_state, versions
from swarmctl.records.run_folder import RunFolder, describe_run

CONFIG = {"seed": 3, "scenario": {"name": "Chemotaxis-v1", "radius": "2.14 um", "sizes": [1, 2]}}


def info(path):
    return json.loads((path / "run.json").read_text())


def finish(path, **options):
    with RunFolder.create(path, CONFIG, "train", **options) as run:
        return run


def test_a_run_is_running_then_finished(tmp_path):
    path = tmp_path / "new" / "run"
    with RunFolder.create(path, CONFIG, "train") as run:
        assert info(path)["status"] == run.status == "running"
        assert describe_run(path).status == "running"
    assert info(path)["status"] == "finished"
    opened = RunFolder.open(path)
    assert opened.config == CONFIG
    assert opened.info == info(path)
    assert describe_run(path).status == "finished"


def test_the_run_file_says_where_the_run_comes_from(tmp_path):
    record = finish(tmp_path / "run").info
    assert record["verb"] == "train"
    assert record["seeds"] == {"seed": 3}
    assert record["command"] == sys.argv
    assert record["host"] == socket.gethostname()
    assert record["versions"]["numpy"] == np.__version__
    assert set(record["versions"]) == {"swarmctl", "numpy", "jax", "jaxlib", "optax", "gymnasium"}
    assert record["created"].endswith("+00:00")
    assert {"python", "platform", "pid", "git", "reason"} <= set(record)


def test_a_failure_is_recorded_with_its_reason_and_raised(tmp_path):
    with pytest.raises(ValueError, match="diverged"), RunFolder.create(tmp_path / "r", {}, "train"):
        raise ValueError("diverged")
    assert (info(tmp_path / "r")["status"], info(tmp_path / "r")["reason"]) == (
        "failed",
        "ValueError: diverged",
    )
    assert "failed (ValueError: diverged)" in str(describe_run(tmp_path / "r"))


def test_a_run_can_be_gone_on_with(tmp_path):
    finish(tmp_path / "r")
    with RunFolder.open(tmp_path / "r") as run:
        assert info(tmp_path / "r")["status"] == "running"
        assert len(run.info["resumed"]) == 1
    assert info(tmp_path / "r")["status"] == "finished"


def test_a_finished_run_is_not_overwritten_unless_asked(tmp_path):
    finish(tmp_path / "r")
    (tmp_path / "r" / "checkpoints").mkdir()
    (tmp_path / "r" / "checkpoints" / "a").touch()
    expected = r"r: holds a finished run of 'train'. Choose another folder, resume it, or overwrite"
    with pytest.raises(RunFolderError, match=expected):
        RunFolder.create(tmp_path / "r", CONFIG, "train")
    assert (tmp_path / "r" / "checkpoints" / "a").exists()
    finish(tmp_path / "r", overwrite=True)
    assert not (tmp_path / "r" / "checkpoints").exists()


def test_a_run_at_work_is_not_touched(tmp_path):
    with RunFolder.create(tmp_path / "r", CONFIG, "train"):
        for overwrite in (False, True):
            with pytest.raises(RunFolderError, match=r"process \d+ is running here. Wait"):
                RunFolder.create(tmp_path / "r", CONFIG, "train", overwrite=overwrite)
        with (
            pytest.raises(RunFolderError, match="is running here"),
            RunFolder.open(tmp_path / "r"),
        ):
            pass
    assert info(tmp_path / "r")["status"] == "finished"


def test_what_is_not_a_run_is_never_deleted(tmp_path):
    (tmp_path / "thesis.tex").touch()
    for overwrite in (False, True):
        with pytest.raises(RunFolderError, match=r"is not empty and not a run \(it holds thesis"):
            RunFolder.create(tmp_path, CONFIG, "train", overwrite=overwrite)
    assert [item.name for item in tmp_path.iterdir()] == ["thesis.tex"]


def test_folders_that_cannot_be_used(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    with pytest.raises(RunFolderError, match="file: is a file; a run needs a folder"):
        RunFolder.create(tmp_path / "file", CONFIG, "train")
    with pytest.raises(RunFolderError, match=r"file/r: cannot be written .* Choose a folder"):
        RunFolder.create(tmp_path / "file" / "r", CONFIG, "train")

    def refuse(*_args, **_options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(run_folder.Path, "mkdir", refuse)
    with pytest.raises(RunFolderError, match=r"r: cannot be written \(Permission denied\)"):
        RunFolder.create(tmp_path / "r", CONFIG, "train")


def test_opening_what_is_no_run(tmp_path):
    with pytest.raises(RunFolderError, match=r"none: no such folder. Give the folder"):
        RunFolder.open(tmp_path / "none")
    (tmp_path / "file").touch()
    with pytest.raises(RunFolderError, match="file: is a file, not the folder of a run"):
        RunFolder.open(tmp_path / "file")
    with pytest.raises(RunFolderError, match=r"is not the folder of a run: config.toml and run"):
        RunFolder.open(tmp_path)


@pytest.mark.parametrize("name", ["run.json", "config.toml"])
def test_a_half_written_run_says_what_is_missing(tmp_path, name):
    path = tmp_path / "r"
    finish(path)
    for text in ("{", "[broken", "3"):
        (path / name).write_text(text)
        with pytest.raises(RunFolderError, match=f"r: half-written run: {name} .*Restore the file"):
            RunFolder.open(path)
    (path / name).unlink()
    with pytest.raises(RunFolderError, match=f"half-written run: {name} is missing. Restore"):
        describe_run(path)


def test_a_half_written_run_can_be_overwritten(tmp_path):
    path = tmp_path / "r"
    finish(path)
    (path / "run.json").unlink()
    with pytest.raises(RunFolderError, match=r"half-written run \(run.json is missing\)"):
        RunFolder.create(path, CONFIG, "train")
    finish(path, overwrite=True)
    (path / "run.json").write_text("{")
    with pytest.raises(RunFolderError, match=r"run.json is damaged"):
        RunFolder.create(path, CONFIG, "train")


def test_a_configuration_that_is_no_toml_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(RunFolderError, match=r"r: the configuration cannot be written as TOML"):
        RunFolder.create(tmp_path / "r", {"two words": 1}, "train")
    assert not (tmp_path / "r").exists()


def test_what_a_kill_leaves_of_a_creation_is_no_foreign_folder(tmp_path):
    path = tmp_path / "r"
    path.mkdir()
    (path / ".config.toml.abc.tmp").touch()
    finish(path)
    (path / "run.json").rename(path / ".run.json.abc.tmp")
    finish(path, overwrite=True)
    assert RunFolder.open(path).status == "finished"


def test_an_overwriting_that_is_killed_leaves_a_run(tmp_path, monkeypatch):
    path = tmp_path / "r"
    finish(path)
    (path / "checkpoints").mkdir()

    def killed(_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(run_folder.shutil, "rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            finish(path, overwrite=True)
    finish(path, overwrite=True)


def test_a_journal_that_cannot_be_repaired_does_not_hide_the_run(tmp_path):
    path = tmp_path / "r"
    finish(path)
    (path / "trajectory.part").write_bytes(b"some bytes that are no journal")
    summary = describe_run(path)
    assert summary.status == "finished"
    assert "repair   not possible: " in str(summary)
    assert "is not the journal of a trajectory" in summary.repairs[0]


def test_unknown_status(tmp_path):
    run = finish(tmp_path / "r")
    with pytest.raises(RunFolderError, match="status 'done'; allowed: running, finished, failed"):
        run.mark("done")


KILLED = """
import os, sys
import numpy as np
from swarmctl.records.metrics import MetricsLog
from swarmctl.records.run_folder import RunFolder
from swarmctl.records.trajectory import TrajectorySpec, TrajectoryWriter

run = RunFolder.create(sys.argv[1], {"seed": 1}, "record")
MetricsLog(run.metrics).write({"update": 4, "return": 0.123456})
(run.path / "evaluation").mkdir()
spec = TrajectorySpec(1, (10.0, 10.0), (True, True))
writer = TrajectoryWriter(run.path / "evaluation", spec)
writer.write({"time": 0.0, "step": 0, "position": np.zeros((1, 2))})
os.kill(os.getpid(), 9)
"""


def test_a_killed_run_is_described_and_its_trajectory_repaired(tmp_path):
    path = tmp_path / "r"
    done = subprocess.run([sys.executable, "-W", "error", "-c", KILLED, str(path)], check=False)
    assert done.returncode == -9
    summary = describe_run(path)
    assert summary.status == "killed"
    assert summary.repairs == (
        f"{path}/evaluation/trajectory.h5md: closed 1 frames into trajectory.h5md",
    )
    assert summary.last_metrics == {"update": 4, "return": 0.123456}
    text = str(summary)
    for part in ("record, killed (process", "1 rows, last: update 4  return 0.1235", "closed 1"):
        assert part in text
    assert "evaluation" in summary.files
    assert describe_run(path).repairs == ()
    with pytest.raises(RunFolderError, match="holds an unfinished run"):
        RunFolder.create(path, {}, "record")
    with RunFolder.open(path):
        pass
    assert describe_run(path).status == "finished"


def test_a_run_of_another_machine_is_left_alone(tmp_path):
    path = tmp_path / "r"
    run = finish(path)
    run.info["host"] = "another"
    run.mark("running")
    (path / "trajectory.part").write_bytes(b"perhaps being written over there")
    summary = describe_run(path)
    assert summary.status == "unknown"
    assert "on another, look there" in summary.reason
    assert (path / "trajectory.part").exists()


def test_metrics_of_a_run(tmp_path):
    with RunFolder.create(tmp_path / "r", CONFIG, "train") as run:
        with MetricsLog(run.metrics) as log:
            log.write({"update": 1})
        assert describe_run(run.path).last_metrics == {"update": 1}


def test_seeds_and_versions():
    assert find_seeds({"a": {"b": {"seed": 4}}, "seeds": (1, 2), "x": 1}) == {
        "a.b.seed": 4,
        "seeds": (1, 2),
    }
    assert versions()["numpy"] == np.__version__


def test_git_state(tmp_path):
    assert git_state(tmp_path) is None

    def git(*arguments):
        identity = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
        subprocess.run(
            ["git", *identity, *arguments], cwd=tmp_path, check=True, capture_output=True
        )

    git("init")
    assert git_state(tmp_path) is None
    git("commit", "--allow-empty", "--no-verify", "-m", "first")
    state = git_state(tmp_path)
    assert state is not None
    assert len(state["commit"]) == 40
    assert state["dirty"] is False
    (tmp_path / "new").touch()
    assert git_state(tmp_path)["dirty"] is True
