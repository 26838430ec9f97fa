"""A run that was killed, wherever the kill fell, ends bit-equal to one that was not."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from swarmctl.agents.saving import load_agent
from swarmctl.core.errors import ConfigError, RecordError, RunFolderError
from swarmctl.records import files, metrics
from swarmctl.records.arrays import load_arrays, save_arrays
from swarmctl.records.metrics import read_metrics
from swarmctl.records.run_folder import RunFolder, describe_run
from swarmctl.training import train as training
from swarmctl.training.configs import TrainConfig
from swarmctl.training.train import train

UPDATES, SEEDS = 5, (4, 0)
EXPERIMENT = f"""
[scenario]
name = "Chemotaxis-v0"
colloids = 2
horizon = 8
history = 1

[agent]
hidden = [8]
swarms = 8
rollout = 4
epochs = 2
minibatches = 2

[training]
updates = {UPDATES}
seeds = {list(SEEDS)}
checkpoint_every = 2
goal = -1.0
"""
TIMING = ("seconds", "steps_per_s")


@pytest.fixture(scope="module", autouse=True)
def one_learner():
    """Compile once for all runs of this file, and do not wait for the disk."""
    made = {}
    original = training.make_learner

    def cached(experiment):
        tables = experiment.tables()
        key = json.dumps([tables["scenario"], tables["agent"], tables["training"]["updates"]])
        if key not in made:
            made[key] = original(experiment)
        return made[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "make_learner", cached)
        patch.setattr(os, "fsync", lambda _: None)
        yield


@pytest.fixture(scope="module")
def experiment(tmp_path_factory):
    path = tmp_path_factory.mktemp("experiment") / "small.toml"
    path.write_text(EXPERIMENT)
    return path


def run(experiment, out, **keys):
    return train(TrainConfig(str(experiment), Path(out), progress=False, **keys))


@pytest.fixture(scope="module")
def whole(experiment, tmp_path_factory):
    """An uninterrupted run."""
    out = tmp_path_factory.mktemp("whole") / "run"
    run(experiment, out)
    return out


def checkpoint(path):
    arrays, texts = load_arrays(path)
    return {k: (v.dtype, v.shape, v.tobytes()) for k, v in arrays.items()}, texts


def contents(folder):
    """Everything that must be equal, by name: files, and rows of metrics without timing."""
    left_out = ("run.json", "metrics.jsonl", ".run.lock")

    def read(path):
        # The texts in a safetensors file come in any order.
        return checkpoint(path) if path.name == "checkpoint.safetensors" else path.read_bytes()

    found = {
        str(path.relative_to(folder)): read(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "tensorboard" not in path.parts and path.name not in left_out
    }
    rows = read_metrics(folder / "metrics.jsonl")
    found["metrics"] = [{k: v for k, v in row.items() if k not in TIMING} for row in rows]
    return found


def assert_same_run(folder, whole):
    found, expected = contents(folder), contents(whole)
    assert [row["row"] for row in found["metrics"]] == list(range(len(SEEDS) * UPDATES))
    found = {name: data for name, data in found.items() if not name.endswith(".tmp")}
    assert found.keys() == expected.keys()
    for name, data in expected.items():
        assert found[name] == data, name
    assert describe_run(folder).status == "finished"


def test_a_run_holds_what_it_promises(whole):
    names = set(contents(whole))
    for seed in SEEDS:
        for kind in ("policy", "best", "goal"):
            assert f"seed-{seed}/{kind}/policy.safetensors" in names
            assert load_agent(whole / f"seed-{seed}" / kind).space.n == 4
        assert f"seed-{seed}/checkpoint.safetensors" in names
        assert list((whole / "tensorboard" / f"seed-{seed}").iterdir())
    rows = read_metrics(whole / "metrics.jsonl")
    assert [(row["seed"], row["update"]) for row in rows] == [
        (seed, update) for seed in SEEDS for update in range(UPDATES)
    ]
    assert [row["agent_steps"] for row in rows[:UPDATES]] == [64 * k for k in range(1, UPDATES + 1)]
    info = json.loads((whole / "run.json").read_text())
    assert info["verb"] == "train"
    assert info["status"] == "finished"


def test_the_same_experiment_twice_is_the_same_run(experiment, whole, tmp_path):
    result = run(experiment, tmp_path / "again")
    assert_same_run(tmp_path / "again", whole)
    assert result.seeds == SEEDS
    # The two seeds are different trainings.
    one, other = (contents(whole)[f"seed-{s}/policy/policy.safetensors"] for s in SEEDS)
    assert one != other


@pytest.fixture(scope="module")
def moments(experiment, tmp_path_factory):
    """Copies of a run's folder at every moment at which a kill leaves something else behind."""
    folder = tmp_path_factory.mktemp("moments")
    out = folder / "run"
    copies = []

    def keep():
        if (out / "run.json").exists():
            copies.append(shutil.copytree(out, folder / f"{len(copies):03}"))

    replace, write_all = os.replace, files.write_all

    def replace_and_keep(source, target):
        keep()
        replace(source, target)
        keep()

    def write_in_halves(handle, data):
        write_all(handle, data[: len(data) // 2])
        keep()
        write_all(handle, data[len(data) // 2 :])
        keep()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "replace", replace_and_keep)
        patch.setattr(metrics, "write_all", write_in_halves)
        run(experiment, out)
    return copies


def test_resume_is_exact_from_every_moment(moments, whole):
    # Per update a row in two halves; per checkpoint and policy two moments around each rename.
    assert len(moments) > 4 * len(SEEDS) * UPDATES
    seen = set()
    for copy in moments:
        seen.add(len(list(copy.glob("seed-*/checkpoint.safetensors"))))
        result = run(TrainConfig.experiment, copy, resume=True)
        assert_same_run(copy, whole)
        assert len(result.policies) == len(SEEDS)
    # Before the first checkpoint, in the first seed or right after it, and in the second.
    assert seen == {0, 1, 2}


@pytest.fixture(scope="module")
def stopped(whole, tmp_path_factory):
    """A run that was stopped again and again: before its first checkpoint, and in resumes."""

    class Stop(BaseException):
        pass

    out = tmp_path_factory.mktemp("stopped") / "run"
    write, left = metrics.MetricsLog.write, [0]

    def write_or_stop(self, row):
        write(self, row)
        left[0] -= 1
        if not left[0]:
            raise Stop

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(metrics.MetricsLog, "write", write_or_stop)
        # The run's own folder is an experiment too.
        source, resume = str(whole), False
        for rows in (2, 3, 2, 4):
            left[0] = rows
            with pytest.raises(Stop):
                train(TrainConfig(source, out, resume=resume, progress=False))
            assert describe_run(out).status == "failed"
            source, resume = TrainConfig.experiment, True
        left[0] = 0
        run(source, out, resume=True)
    return out


def test_resumes_may_be_stopped_in_turn(stopped, whole):
    assert_same_run(stopped, whole)
    assert len(json.loads((stopped / "run.json").read_text())["resumed"]) == 4


def test_tensorboard_shows_every_update_once(stopped):
    loader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    rows = read_metrics(stopped / "metrics.jsonl")
    for seed in SEEDS:
        log = loader.EventAccumulator(str(stopped / "tensorboard" / f"seed-{seed}"))
        log.Reload()
        points = [(e.step, pytest.approx(e.value)) for e in log.Scalars("entropy")]
        assert points == [(r["update"], r["entropy"]) for r in rows if r["seed"] == seed]


CHILD = """
import sys
from swarmctl.cli import main

sys.exit(main(sys.argv[1:]))
"""


def test_real_kills(experiment, whole, tmp_path):
    """SIGKILL at random times, through the command line, until the run has come to its end."""
    out = tmp_path / "run"
    cache = {
        "JAX_COMPILATION_CACHE_DIR": str(tmp_path / "cache"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "0",
    }
    rng = random.Random(1)
    kills = 0
    for _ in range(20):
        begun = (out / "run.json").exists()
        how = ["--resume"] if begun else [str(experiment), "--overwrite"]
        command = [sys.executable, "-W", "error", "-c", CHILD, "train", *how, "--out", str(out)]
        child = subprocess.Popen(
            [*command, "--no-progress"], stderr=subprocess.PIPE, env={**os.environ, **cache}
        )
        # Two kills within the work; then the run may end.
        if kills < 2:
            before = size_of(out)
            while child.poll() is None and size_of(out) == before:
                time.sleep(0.002)
            time.sleep(rng.uniform(0, 0.05))
            child.send_signal(signal.SIGKILL)
        _, errors = child.communicate()
        if child.returncode == -signal.SIGKILL:
            kills += 1
            assert describe_run(out).status == "killed"
        else:
            assert (child.returncode, errors) == (0, b"")
            break
    assert kills == 2
    assert_same_run(out, whole)


def size_of(out):
    try:
        return (out / "metrics.jsonl").stat().st_size
    except FileNotFoundError:
        return 0


def test_resume_of_a_finished_run_changes_nothing_and_trains_nothing(whole, tmp_path, monkeypatch):
    copy = shutil.copytree(whole, tmp_path / "run")

    def forbidden(*_):
        raise AssertionError("a finished run was trained on")

    learner = training.make_learner(training.load_experiment(copy))
    monkeypatch.setattr(learner, "update", forbidden)
    result = run(TrainConfig.experiment, copy, resume=True)
    assert_same_run(copy, whole)
    assert len(result.metrics) == len(SEEDS) * UPDATES
    assert len(json.loads((copy / "run.json").read_text())["resumed"]) == 1


def test_resume_with_changed_keys_is_refused(whole, experiment, tmp_path):
    copy = shutil.copytree(whole, tmp_path / "run")
    with pytest.raises(ConfigError, match="resume goes on with the run's own keys; leave `set`"):
        run(TrainConfig.experiment, copy, resume=True, set=("agent.clip=0.3",))
    other = tmp_path / "other.toml"
    other.write_text(EXPERIMENT.replace("epochs = 2", "epochs = 3"))
    with pytest.raises(ConfigError, match=r"other.toml has others: agent.epochs was 2, is 3"):
        run(other, copy, resume=True)
    run(experiment, copy, resume=True)
    assert_same_run(copy, whole)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("updates = 5", "updates = 9", r"training.updates was 5, is 9"),
        ("learning_rate = 0.003", "learning_rate = 0.004", r"agent.learning_rate was 0.003"),
        (
            "hidden = [8]",
            "hidden = [9]",
            r"actor.* is float32\(\d+, 8\), expected float32\(\d+, 9\)",
        ),
    ],
)
def test_a_config_that_was_edited_is_refused(whole, tmp_path, old, new, words):
    copy = shutil.copytree(whole, tmp_path / "run")
    text = (copy / "config.toml").read_text()
    assert text.count(old) == 1
    (copy / "config.toml").write_text(text.replace(old, new))
    with pytest.raises(RunFolderError, match=words) as caught:
        run(TrainConfig.experiment, copy, resume=True)
    assert "overwrite" in str(caught.value)
    assert contents(copy)["metrics"] == contents(whole)["metrics"]


def _truncate(file):
    file.write_bytes(file.read_bytes()[:-7])


def _foreign(file):
    file.write_bytes(b"something else entirely")


def _other_arrays(file):
    arrays, about = load_arrays(file)
    arrays["extra"] = arrays[next(iter(arrays))]
    save_arrays(file, arrays, about)


def _other_type(file):
    arrays, about = load_arrays(file)
    save_arrays(file, {k: v.astype("float64") for k, v in arrays.items()}, about)


def _no_words(file):
    save_arrays(file, load_arrays(file)[0])


def _other_seed(file):
    shutil.copy(file.parents[1] / f"seed-{SEEDS[1]}" / file.name, file)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (_truncate, "is cut short or damaged"),
        (_foreign, "is not a safetensors file"),
        (_other_arrays, r"extra is on one side only"),
        (_other_type, r"float64.* expected float32"),
        (_no_words, "was written with other keys"),
        (_other_seed, r"seed.* 0"),
    ],
)
def test_a_checkpoint_that_is_not_ours_is_refused(whole, tmp_path, damage, words):
    copy = shutil.copytree(whole, tmp_path / "run")
    damage(copy / f"seed-{SEEDS[0]}" / "checkpoint.safetensors")
    with pytest.raises(RunFolderError, match=words) as caught:
        run(TrainConfig.experiment, copy, resume=True)
    assert "checkpoint.safetensors" in str(caught.value)
    assert "overwrite" in str(caught.value)


def test_metrics_that_are_damaged_are_not_thrown_away(tmp_path, whole):
    copy = shutil.copytree(whole, tmp_path / "run")
    shutil.rmtree(copy / f"seed-{SEEDS[1]}")
    file = copy / "metrics.jsonl"
    lines = file.read_bytes().split(b"\n")
    lines[1] = b'{"row": 1, "se'
    file.write_bytes(b"\n".join(lines))
    with pytest.raises(RecordError, match="line 2 is damaged"):
        run(TrainConfig.experiment, copy, resume=True)
    assert file.read_bytes() == b"\n".join(lines)


def test_two_processes_cannot_train_in_one_folder(whole, tmp_path):
    copy = shutil.copytree(whole, tmp_path / "run")
    with RunFolder.open(copy), pytest.raises(RunFolderError, match="is running here"):
        run(TrainConfig.experiment, copy, resume=True)


def test_a_run_that_is_there_is_not_lost(experiment, whole, tmp_path):
    copy = shutil.copytree(whole, tmp_path / "run")
    with pytest.raises(RunFolderError, match="holds a finished run of 'train'"):
        run(experiment, copy)
    # A key out of range is found before anything is deleted.
    bad = tmp_path / "bad.toml"
    bad.write_text(EXPERIMENT.replace("rollout = 4", "rollout = 3"))
    with pytest.raises(ConfigError, match="does not divide the horizon"):
        run(bad, copy, overwrite=True)
    assert_same_run(copy, whole)
    run(experiment, copy, overwrite=True)
    assert_same_run(copy, whole)


def test_resume_needs_a_run(tmp_path):
    with pytest.raises(RunFolderError, match="no such folder"):
        run(TrainConfig.experiment, tmp_path / "none", resume=True)
    (tmp_path / "empty").mkdir()
    with pytest.raises(RunFolderError, match="is not the folder of a run"):
        run(TrainConfig.experiment, tmp_path / "empty", resume=True)


def test_training_stops_at_the_goal_and_a_resume_leaves_it_there(experiment, tmp_path):
    out = tmp_path / "run"
    result = run(experiment, out, set=("training.stop_at_goal=true",))
    rows = [(row["seed"], row["update"]) for row in result.metrics]
    # The goal is below any return: reached as soon as whole episodes have ended.
    assert rows == [(seed, update) for seed in SEEDS for update in range(2)]
    before = contents(out)
    again = run(TrainConfig.experiment, out, resume=True)
    assert contents(out) == before
    assert len(again.policies) == len(SEEDS)


def test_an_agent_that_does_not_learn_is_not_trained(tmp_path):
    with pytest.raises(ConfigError, match=r"'random' does not learn; train .*ppo.*, or evaluate"):
        train(TrainConfig(out=tmp_path / "run", set=("agent.name=random",), progress=False))
    assert not (tmp_path / "run").exists()
