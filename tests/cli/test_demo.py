"""The demo writes every file that it promises, and each can be opened by what it is meant for."""

import json

import imageio_ffmpeg
import numpy as np
import pytest
from PIL import Image

from swarmctl.agents.saving import load_agent
from swarmctl.cli import main
from swarmctl.core.config import apply_overrides
from swarmctl.records.metrics import read_metrics
from swarmctl.records.trajectory import read_trajectory
from swarmctl.training import demo as demonstration
from swarmctl.training.experiment import experiment_from_tables

SMALLER = (
    "scenario.colloids=3",
    "scenario.horizon=64",
    "agent.swarms=8",
    "agent.rollout=32",
    "agent.minibatches=2",
    "agent.hidden=[8]",
)


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """(folder, what was said); the swarm is smaller than the real one and learns too little."""
    out = tmp_path_factory.mktemp("demo") / "run"

    def smaller(tables):
        return experiment_from_tables(apply_overrides(tables, SMALLER))

    command = ["demo", "--seeds", "2", "--updates", "1", "--episodes", "8", "--no-progress"]
    said = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demonstration, "experiment_from_tables", smaller)
        patch.setattr(
            demonstration.demo, "__defaults__", (lambda text: said.extend(text.splitlines()),)
        )
        assert main([*command, "--out", str(out)]) == 0
    return out, said


def test_every_promised_file_is_there_and_named(demo):
    out, said = demo
    promised = {
        "policy": out / "policy",
        "trajectory": out / "trajectory.h5md",
        "still": out / "still.png",
        "learning curve": out / "learning_curve.png",
        "gif movie": out / "movie.gif",
        "mp4 movie": out / "movie.mp4",
        "all figures": out / "evaluation.json",
    }
    listed = said[next(i for i, line in enumerate(said) if line.endswith("Look at:")) + 1 :]
    assert {line.strip() for line in listed} == {f"{k:15} {v}" for k, v in promised.items()}
    assert all(path.exists() for path in promised.values())
    info = json.loads((out / "run.json").read_text())
    assert (info["verb"], info["status"]) == ("demo", "finished")
    assert info["seeds"] == {"training.seeds": [0, 1]}
    assert [(r["seed"], r["update"]) for r in read_metrics(out / "metrics.jsonl")] == [
        (0, 0),
        (1, 0),
    ]


def test_the_policy_is_that_of_one_of_the_seeds(demo):
    out, _ = demo
    policy = load_agent(out)
    weights = [np.asarray(load_agent(out / f"seed-{s}").actor.weights[0]) for s in (0, 1)]
    assert any(np.array_equal(policy.actor.weights[0], w) for w in weights)
    assert not np.array_equal(*weights)


def test_the_figures_are_json_and_agree_with_the_table(demo):
    out, said = demo

    def forbidden(name):
        raise AssertionError(f"{name} is not JSON")

    figures = json.loads((out / "evaluation.json").read_text(), parse_constant=forbidden)
    assert set(figures["agents"]) == {"random", "trained", "best", "oracle"}
    for row in figures["agents"].values():
        mean, low, high = row["return"]
        assert low <= mean <= high
        line = next(line for line in said if line.startswith(row["label"]))
        assert f"{mean:.3f} [{low:.3f}, {high:.3f}]" in line
    returns = {role: row["return"][0] for role, row in figures["agents"].items()}
    assert returns["oracle"] > returns["random"] + 0.2
    assert returns["best"] > returns["random"] + 0.2
    oracle = figures["agents"]["oracle"]["distance"][0]
    assert figures["solved_below_um"] == pytest.approx(1.5 * oracle)
    # One update teaches nothing: the demo must say so.
    for name in ("as good as by hand", "near the ceiling"):
        assert not figures["verdicts"][name]["passed"]
    for name, verdict in figures["verdicts"].items():
        mark = "yes" if verdict["passed"] else "NO "
        assert f"{mark}  {name}: {verdict['why']}" in said


def test_the_trajectory_opens_in_mdanalysis(demo):
    MDAnalysis = pytest.importorskip("MDAnalysis")
    out, _ = demo
    ours = read_trajectory(out / "trajectory.h5md")
    universe = MDAnalysis.Universe(str(out / "trajectory.h5md"), to_guess=())
    assert len(universe.atoms) == 3
    assert len(universe.trajectory) == len(ours.time) == 65
    for t in (0, 30, 64):
        frame = universe.trajectory[t]
        # µm become Å.
        np.testing.assert_allclose(frame.positions[:, :2] / 1e4, ours.position[t], rtol=1e-4)
    assert ours.metadata["agent"]["policy"] in ("seed 0", "seed 1")


def test_pictures_and_movies_show_something(demo):
    out, _ = demo
    for name in ("still.png", "learning_curve.png"):
        with Image.open(out / name) as image:
            pixels = np.asarray(image.convert("RGB"))
        assert min(pixels.shape[:2]) > 300
        assert pixels.std() > 5
    with Image.open(out / "movie.gif") as gif:
        assert gif.n_frames >= 20
    count, seconds = imageio_ffmpeg.count_frames_and_secs(str(out / "movie.mp4"))
    assert count == 33
    assert seconds == pytest.approx(33 / 20, abs=0.06)
