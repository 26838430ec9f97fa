"""The command line: every verb does what it says, and every mistake is one clear line."""

import json
import os
import shlex
import shutil
import subprocess
import sys
import typing
from pathlib import Path

import numpy as np
import pytest

from swarmctl import __version__
from swarmctl.cli import LAB_VERBS, VERBS, _given, main, make_parser
from swarmctl.core.config import build
from swarmctl.core.registry import load_target
from swarmctl.records.metrics import read_metrics
from swarmctl.records.trajectory import TrajectorySpec, TrajectoryWriter, read_trajectory
from swarmctl.training import train as training
from swarmctl.training.configs import DemoConfig, EvaluateConfig, TrainConfig

SMALL = (
    "scenario.colloids=2",
    "scenario.horizon=8",
    "scenario.history=1",
    "agent.hidden=[8]",
    "agent.swarms=8",
    "agent.rollout=4",
    "agent.minibatches=2",
    "training.updates=4",
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of a small run, trained through the command line."""
    out = tmp_path_factory.mktemp("cli") / "run"
    assert main(["train", "--no-progress", "--out", str(out), "--set", *SMALL]) == 0
    return out


@pytest.fixture
def call(capsys):
    """Run a command; returns (status, stdout, stderr)."""

    def run(*arguments):
        capsys.readouterr()
        status = main([str(a) for a in arguments])
        out, err = capsys.readouterr()
        return status, out, err

    return run


@pytest.fixture
def fails(call):
    """Run a command that must fail; returns the one line that it says."""

    def run(*arguments):
        status, out, err = call(*arguments)
        assert status == 2
        assert out == ""
        assert err.startswith(f"swarmctl {arguments[0]}: ")
        assert err.count("\n") == 1
        assert err.endswith("\n")
        return err

    return run


def parsed(verb, *arguments):
    options = vars(make_parser().parse_args([verb, *arguments]))
    config_class = VERBS[options.pop("verb")][0]
    return build(config_class, _given(config_class, options))


def test_arguments_become_the_configuration():
    assert parsed("train") == TrainConfig()
    assert parsed("train", "my.toml", "--out", "x", "--resume", "--no-progress") == TrainConfig(
        "my.toml", Path("x"), resume=True, progress=False
    )
    assert parsed("demo", "--seeds", "3", "--no-movie").movie is False
    assert parsed("demo") == DemoConfig()
    assert parsed("evaluate", "a", "b", "--episodes", "7", "--out", "f.json") == EvaluateConfig(
        ("a", "b"), episodes=7, out=Path("f.json")
    )


def test_set_takes_many_values_and_may_be_repeated():
    expected = ("scenario.radius=3 um", "agent.hidden=[64,64]", 'agent.name="ppo"')
    for arguments in (
        ["--set", *expected],
        ["--set", expected[0], "--set", *expected[1:]],
        ["--set", expected[0], "--set", expected[1], "--set", expected[2]],
    ):
        assert parsed("train", *arguments).set == expected
    # What looks like another type stays text where text is meant.
    assert parsed("train", "3", "--out", "5").experiment == "3"
    assert parsed("train", "--out", "5").out == Path("5")


@pytest.mark.parametrize("verb", VERBS)
def test_help_names_every_key_with_its_default(verb, capsys):
    with pytest.raises(SystemExit) as caught:
        main([verb, "--help"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    words = " ".join(text.split())
    config_class = VERBS[verb][0]
    assert " ".join(config_class.__doc__.split()) in words
    for name, field in config_class.__dataclass_fields__.items():
        assert name.upper() in text or f"--{name.replace('_', '-')}" in text
        assert " ".join(field.metadata["doc"].split())[:40] in words


@pytest.mark.parametrize("verb", LAB_VERBS)
def test_lab_verbs_have_help_and_a_function_of_one_configuration(verb, capsys):
    with pytest.raises(SystemExit) as caught:
        main(["lab", verb, "--help"])
    assert caught.value.code == 0
    words = " ".join(capsys.readouterr().out.split())
    config_target, target = LAB_VERBS[verb]
    config_class, function = load_target(config_target), load_target(target)
    assert " ".join(config_class.__doc__.split())[:60] in words
    for field in config_class.__dataclass_fields__.values():
        assert " ".join(field.metadata["doc"].split())[:40] in words
    assert typing.get_type_hints(function)["config"] is config_class


def test_lab_verbs_fail_with_one_line(capsys):
    for words, said in (
        (["check", "nowhere.toml"], "no such rig file"),
        (["stop", "nowhere.toml"], "no such rig file"),
        (["run", "nowhere.toml"], "which agent"),
        (["record", "nowhere.toml"], "which scenario"),
        (["calibrate", "nowhere.toml"], "who stands beside"),
        (["demo", "--policy", "nowhere"], "Train the policy first"),
    ):
        assert main(["lab", *words]) in (1, 2)
        out, err = capsys.readouterr()
        assert said in out + err
        assert "Traceback" not in err


def test_no_verb_a_wrong_verb_and_a_wrong_flag_are_usage_errors(capsys):
    for arguments in ([], ["tran"], ["train", "--overwritee"], ["list", "a", "b"]):
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        assert caught.value.code == 2
        assert "usage: swarmctl" in capsys.readouterr().err


def test_train_says_where_the_policies_are(trained, call):
    out = trained.parent / "twice"
    copied = shutil.copytree(trained, out)
    status, text, err = call("train", "--resume", "--out", copied, "--no-progress")
    assert (status, err) == (0, "")
    assert text.startswith("1 policy in ")
    assert text.endswith(f": {copied}\n")
    assert len(read_metrics(copied / "metrics.jsonl")) == 4


def test_evaluate_and_info_and_render_take_the_folder_of_a_run(trained, call, tmp_path):
    figures = tmp_path / "figures.json"
    status, text, err = call("evaluate", trained, "--episodes", 4, "--out", figures)
    assert (status, err) == (0, "")
    header, row = text.splitlines()
    assert "return [95 %]" in header
    assert row.startswith(str(trained))
    mean = json.loads(figures.read_text())["results"][str(trained)]["return"][0]
    assert f"{mean:.3f} [" in row

    status, text, err = call("info", trained)
    assert (status, err) == (0, "")
    assert text.startswith(f"{trained}: train, finished\n")
    assert "4 rows, last: row 3  seed 0  update 3" in text

    out = tmp_path / "pictures"
    options = ("--formats", "gif", "--size", 180, "--every", 4)
    status, text, err = call("render", trained, "--out", out, *options)
    assert (status, err) == (0, "")
    names = ["movie.gif", "still.png", "trajectory.h5md"]
    assert text.split() == [str(out / name) for name in names]
    assert sorted(path.name for path in out.iterdir()) == names
    assert (out / "movie.gif").read_bytes()[:6] == b"GIF89a"
    trajectory = read_trajectory(out / "trajectory.h5md")
    assert trajectory.position.shape == (9, 2, 2)
    assert trajectory.metadata["experiment"]["scenario"]["colloids"] == 2

    # The trajectory can be drawn once more, without a movie, and knows its scenario.
    again = tmp_path / "again"
    status, text, err = call("render", out / "trajectory.h5md", "--out", again, "--formats")
    assert (status, err) == (0, "")
    assert [path.name for path in again.iterdir()] == ["still.png"]


WORLD = """
[box]
size = ["40 um", "40 um"]

[[species]]
name = "swimmer"
count = 3

[run]
time = "0.4 s"
every = "0.2 s"
"""


def test_simulate_draws_records_and_sums_up(call, tmp_path):
    (tmp_path / "world.toml").write_text(WORLD)
    out = tmp_path / "run"
    options = ("--out", out, "--formats", "gif", "--size", 180, "--no-progress")
    status, text, err = call("simulate", tmp_path / "world.toml", "--speed", "2 um/s", *options)
    assert (status, err) == (0, "")
    assert text.startswith("3 colloids, 0.4 s in steps of 1 ms")
    assert "\nswimmer: 3, MSD " in text
    names = ["trajectory.h5md", "still.png", "movie.gif"]
    assert text.split("\n")[-4:-1] == [str(out / name) for name in names]
    assert len(read_trajectory(out)) == 3
    status, text, err = call("simulate", "--resume", "--out", out, "--formats", "--no-progress")
    assert (status, err) == (0, "")


def test_mistakes_of_simulate_are_one_line_and_leave_nothing(fails, tmp_path):
    file = tmp_path / "world.toml"
    file.write_text(WORLD)
    out = ("--out", tmp_path / "run")
    for arguments, words in (
        ((), "give a world file"),
        (("none.toml",), "none.toml: no such world file"),
        ((file, "--set", "box.sise=3"), "Did you mean 'size'?"),
        ((file, "--time", "3 um"), "'3 um' is a [length]"),
        ((file, "--every", "0.25"), "Nearest that fit: 0.2 s or 0.3 s"),
        ((file, "--speed", "9 um/s"), "is not within 0 and 5 µm/s"),
        ((file, "--size", "5"), "size at least 160"),
        (("--resume",), "no such folder"),
    ):
        assert words in fails("simulate", *arguments, *out)
    assert list(tmp_path.iterdir()) == [file]


def test_an_interrupted_simulation_says_how_to_go_on(call, tmp_path, monkeypatch):
    (tmp_path / "world.toml").write_text(WORLD)

    def interrupted(self, state):
        raise KeyboardInterrupt

    monkeypatch.setattr("swarmctl.training.movers.PureMover.advance", interrupted)
    out = tmp_path / "my run"
    options = ("--no-progress", "--out", out)
    status, _, err = call("simulate", tmp_path / "world.toml", *options)
    assert status == 130
    assert f"Go on with: swarmctl simulate --resume --out {shlex.quote(str(out))}" in err


def test_list_shows_names_and_keys(call):
    status, text, err = call("list")
    assert (status, err) == (0, "")
    for name in ("Chemotaxis-v0", "jax", "gradient-climber", "ppo"):
        assert f"  {name} " in text
    for name, key in (
        ("swarmctl/Chemotaxis-v0", "colloids"),
        ("ppo", "gae_lambda"),
        ("gradient-climber", "acceptance"),
    ):
        status, text, _ = call("list", name)
        assert status == 0
        assert f"  {key} " in text
    assert "um " in call("list", "Chemotaxis-v0")[1]
    assert "has no keys" in call("list", "random")[1]


def test_info_shows_versions_devices_and_extras(call):
    status, text, err = call("info")
    assert (status, err) == (0, "")
    assert text.startswith(f"swarmctl {__version__}, Python 3.")
    for word in ("jax ", "devices\n  cpu 0", "engines", "extras", "espresso"):
        assert word in text


def test_info_repairs_what_a_kill_left(trained, call, tmp_path):
    alive = shutil.copytree(trained, tmp_path / "alive")
    spec = TrajectorySpec(2, (100.0, 100.0), (True, True))
    writer = TrajectoryWriter(alive / "trajectory.h5md", spec, 100)
    for k in range(5):
        writer.write({"time": k / 8, "step": k, "position": np.full((2, 2), float(k))})
    killed = shutil.copytree(alive, tmp_path / "killed")
    writer.close()
    info = json.loads((killed / "run.json").read_text())
    (killed / "run.json").write_text(json.dumps({**info, "status": "running"}))
    status, text, err = call("info", killed)
    assert (status, err) == (0, "")
    assert text.startswith(f"{killed}: train, killed (process {info['pid']} has ended)\n")
    assert "\nrepair   " in text
    assert len(read_trajectory(killed / "trajectory.h5md").time) == 5
    # The second time there is nothing to repair.
    assert "\nrepair" not in call("info", killed)[1]


def test_check_says_what_holds_and_its_status_what_does_not(call, tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(
        "import jax.numpy as jnp\n"
        "from swarmctl.agents.classical.simple import Constant\n"
        "class Untreed(Constant):\n"
        "    pass\n"
        "def good():\n"
        "    return Constant(jnp.asarray(0))\n"
        "def bad():\n"
        "    return Untreed(jnp.asarray(0))\n"
    )
    status, text, _ = call("check", f"{file}:good")
    assert status == 0
    assert " 0 findings" in text
    status, text, _ = call("check", f"{file}:bad")
    assert status == 1
    assert "FOUND" in text


def test_mistakes_in_names_are_answered_with_the_nearest(fails):
    assert "Did you mean 'Chemotaxis-v0'?" in fails("train", "Chemotaxi-v0")
    assert "Did you mean 'gradient-climber'?" in fails("evaluate", "gradient-climbr")
    assert "Did you mean 'gradient-climber'?" in fails("render", "gradient-climbr")
    assert "Did you mean 'ppo'?" in fails("list", "ppoo")
    assert "Did you mean 'gradient-climber'?" in fails("check", "gradient-climbr")
    assert "Did you mean 'Chemotaxis-v0'?" in fails("evaluate", "--scenario", "Chemotaxi-v0")
    assert "Did you mean 'radius'?" in fails("train", "--set", "scenario.radus=3")


def test_mistakes_in_values_name_the_key(fails, tmp_path):
    out = ("--out", tmp_path / "run")
    for arguments, words in (
        (("train", *out, "--set", "scenario.radius=3 s"), "radius: '3 s' is a [time]"),
        (("train", *out, "--set", "scenario.radius=nan"), "radius: not a number (NaN)"),
        (("train", *out, "--set", "training.updates=nan"), "updates: expected int, got nan"),
        (("train", *out, "--set", "training.updates"), "expected key=value"),
        (("train", *out, "--set", "agent.name=random"), "'random' does not learn"),
        (("train", *out, "--set", "agent.rollout=7"), "does not divide the horizon"),
        (("train", *out, "--set", "scenario.colloids=0"), "at least 1, got 0"),
        (("train", *out, "--resume"), "no such folder"),
        (("train", "none.toml", *out), "none.toml: no such experiment file"),
        (("evaluate", "random", "--episodes", "0"), "episodes must be at least 1, got 0"),
        (("evaluate", "random", "--episodes", "many"), "episodes: expected int, got 'many'"),
        (("evaluate", "ppo"), "'ppo' must be trained first; give the folder of its run"),
        (("evaluate", tmp_path / "none"), "no such file or folder"),
        (("evaluate", tmp_path), "no policy.json here"),
        (("render", "random", "--size", "0"), "every, fps and size must be at least 1"),
        (("render", tmp_path / "none.h5md"), "none.h5md: no trajectory there"),
        (("info", tmp_path / "none"), "no such folder"),
        (("info", tmp_path), "is not the folder of a run"),
        (("demo", *out, "--seeds", "1"), "needs at least 2 of them, got 1"),
        (("demo", *out, "--updates", "0"), "updates and checkpoint_every must be at least 1"),
        (("check", "mine.py:Thing"), "mine.py"),
    ):
        assert words in fails(*arguments)
    # None of them left anything behind.
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_one_clear_line(trained, fails, tmp_path):
    file = tmp_path / "file"
    file.write_text("precious")
    assert "is a file; a run needs a folder" in fails("train", "--out", file)
    assert "is a file; a run needs a folder" in fails("demo", "--out", file)
    assert "cannot be written" in fails("train", "--out", file / "run")
    assert "Choose another one with --out" in fails("render", trained, "--out", file)
    full = tmp_path / "full"
    full.mkdir()
    (full / "thesis.tex").write_text("precious")
    line = fails("train", "--out", full, "--overwrite")
    assert "is not empty and not a run (it holds thesis.tex)" in line
    assert (full / "thesis.tex").read_text() == file.read_text() == "precious"


def test_a_run_that_is_there_is_not_replaced_unasked(trained, fails):
    before = (trained / "run.json").read_bytes()
    line = fails("train", "--out", trained, "--set", *SMALL)
    assert "holds a finished run of 'train'. Choose another folder, resume it, or over" in line
    assert (trained / "run.json").read_bytes() == before


def test_a_policy_that_is_no_good_is_one_clear_line(trained, fails, tmp_path):
    copy = shutil.copytree(trained, tmp_path / "run")
    assert "Discrete(n=4)" in fails("evaluate", copy, "--scenario", "ChemotaxisContinuous-v0")
    arrays = copy / "seed-0" / "policy" / "policy.safetensors"
    data = bytearray(arrays.read_bytes())
    data[-3] ^= 1
    arrays.write_bytes(bytes(data))
    assert "checksums differ" in fails("evaluate", copy)
    arrays.write_bytes(bytes(data[:-5]))
    assert "is cut short or damaged" in fails("render", copy, "--out", tmp_path / "x")
    (copy / "seed-0" / "policy" / "policy.json").write_text("{")
    assert "policy.json: cannot be read" in fails("evaluate", copy)
    shutil.rmtree(copy / "seed-0" / "policy")
    assert "Give the folder of a finished run, or of a policy" in fails("evaluate", copy)


def test_policies_of_several_seeds_are_not_guessed(trained, fails, tmp_path):
    copy = shutil.copytree(trained, tmp_path / "run")
    shutil.copytree(copy / "seed-0", copy / "seed-1")
    line = fails("evaluate", copy)
    assert f"has the policies of 2 seeds; give one of them, such as {copy}/seed-0/policy" in line


def test_an_interrupted_training_says_how_to_go_on_and_that_works(
    trained, call, tmp_path, monkeypatch
):
    out = tmp_path / "my run"
    learner = training.make_learner(training.load_experiment(trained))
    monkeypatch.setattr(training, "make_learner", lambda experiment: learner)
    update, left = learner.update, [3]

    def interrupted(state, seed):
        left[0] -= 1
        if left[0] == 0:
            raise KeyboardInterrupt
        return update(state, seed)

    monkeypatch.setattr(learner, "update", interrupted)
    keys = (*SMALL, "training.checkpoint_every=1")
    status, text, err = call("train", "--out", out, "--no-progress", "--set", *keys)
    assert (status, text) == (130, "")
    hint = "swarmctl train: interrupted. Go on with: "
    assert err.startswith(f"\n{hint}")
    assert err.count("\n") == 2
    assert "Traceback" not in err
    assert json.loads((out / "run.json").read_text())["status"] == "failed"
    assert len(read_metrics(out / "metrics.jsonl")) == 2
    # Word for word as a shell would read it; the default folder is named too.
    program, *arguments = shlex.split(err.strip().removeprefix(hint))
    assert program == "swarmctl"
    status, text, err = call(*arguments, "--no-progress")
    assert (status, err) == (0, "")
    assert [row["update"] for row in read_metrics(out / "metrics.jsonl")] == [0, 1, 2, 3]


def test_the_hint_names_the_default_folder_and_other_verbs_give_none(call, monkeypatch):
    def interrupt(_):
        raise KeyboardInterrupt

    monkeypatch.setattr("swarmctl.cli.load_target", lambda target: interrupt)
    status, _, err = call("train")
    assert status == 130
    assert err.endswith("Go on with: swarmctl train --resume --out runs/train\n")
    status, _, err = call("evaluate")
    assert (status, err) == (130, "\nswarmctl evaluate: interrupted.\n")


def shell(*arguments, **options):
    command = [sys.executable, "-W", "error", "-m", "swarmctl.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)


def test_the_program_itself_keeps_streams_and_statuses_apart():
    done = shell("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"swarmctl {__version__}\n", "")
    done = shell("train", "Nothing-v0")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("swarmctl train: UnknownNameError: Unknown scenario 'Nothing-v0'")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("verb", [["train"], ["lab", "fit"], ["lab", "check"]])
def test_help_and_mistakes_need_no_jax(verb):
    """Help is quick: it must not wait for JAX."""
    code = (
        "import sys\n"
        "from swarmctl.cli import main\n"
        "try:\n"
        f"    main([*{verb}, '--help'])\n"
        "except SystemExit:\n"
        "    pass\n"
        "assert 'jax' not in sys.modules and 'matplotlib' not in sys.modules\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=os.environ
    )
    assert done.returncode == 0, done.stderr
