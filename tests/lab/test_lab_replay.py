"""`replay` against recordings: the same agent agrees with itself, another one by known amounts."""

import json
import shutil

import h5py
import numpy as np
import pytest

from swarmctl.core.errors import ConfigError, SwarmctlError, UnknownNameError
from swarmctl.lab.replay import ReplayConfig, replay
from swarmctl.records.run_folder import RunFolder
from swarmctl.records.trajectory import read_trajectory
from swarmctl.training.configs import EvaluateConfig
from swarmctl.training.evaluate import evaluate, find_agent, record_episode
from swarmctl.training.experiment import load_experiment
from swarmctl.training.record import write_rollout

KEYS = ("scenario.colloids=3", "scenario.horizon=10")


def quiet(_):
    pass


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    """An episode of run-and-tumble's, and its rollout."""
    folder = tmp_path_factory.mktemp("recording")
    experiment = load_experiment("Chemotaxis-v0", KEYS)
    env = experiment.env()
    rollout = record_episode(env, find_agent("steer-to-source", env), seed=3)
    write_rollout(folder / "trajectory.h5md", experiment, env, rollout, {})
    return folder, rollout


def test_an_agent_agrees_with_its_own_recording(recording, tmp_path):
    said = []
    result = replay(
        ReplayConfig(recording[0], "steer-to-source", out=tmp_path / "out"), said.append
    )
    assert result.decisions == 10
    assert set(result.channels) == {"speed", "turn_rate"}
    for found in result.channels.values():
        assert (found.agreement, found.compared, found.missing) == (1.0, 30, 0)
        assert found.largest_difference < 1e-5
    assert said == [result.text]
    assert "100.0 % agree" in result.text
    run = RunFolder.open(tmp_path / "out")
    assert (run.status, run.info["verb"]) == ("finished", "lab replay")
    table = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert table["channels"]["speed"]["agreement"] == 1.0
    again = read_trajectory(tmp_path / "out")
    np.testing.assert_allclose(
        again.applied["speed"], read_trajectory(recording[0]).applied["speed"]
    )


def test_the_longest_episode_is_taken_unless_one_is_chosen(recording, tmp_path):
    shutil.copytree(recording[0], tmp_path / "two")
    with h5py.File(tmp_path / "two" / "trajectory.h5md", "r+") as file:
        file["observables/episode/value"][4:] = 1
    longest = replay(ReplayConfig(tmp_path / "two", "steer-to-source"), quiet)
    assert longest.decisions == 6
    assert "episode 1, 6 decisions" in longest.text
    first = replay(ReplayConfig(tmp_path / "two", "steer-to-source", episode=0), quiet)
    assert first.decisions == 3


def test_another_agent_differs_by_what_it_asks(recording):
    """An agent that always swims straight on."""
    folder, rollout = recording
    result = replay(ReplayConfig(folder, "constant"), quiet)
    top = load_experiment("Chemotaxis-v0", KEYS).env().spec.engine.speed_max[0]
    slower = np.abs(top - np.asarray(rollout.applied.speed))
    turning = np.abs(np.asarray(rollout.applied.turn_rate))
    for name, size in (("speed", slower), ("turn_rate", turning)):
        found = result.channels[name]
        assert found.compared == size.size
        assert found.mean_difference == pytest.approx(size.mean(), rel=1e-5)
        assert found.largest_difference == pytest.approx(size.max(), rel=1e-5)
        assert found.agreement == pytest.approx(np.mean(size < 1e-6))
        assert 0 < found.agreement < 1


def test_evaluate_runs_on_a_recording(recording):
    folder, rollout = recording
    keys = (*KEYS, f"engine.recording={folder}")
    config = EvaluateConfig(
        ("constant",), scenario="Chemotaxis-v0", set=keys, engine="replay", episodes=2
    )
    found = evaluate(config)["constant"]["return"]
    # What is earned comes from the recorded states, whatever is asked.
    assert found[0] == pytest.approx(np.asarray(rollout.reward).mean(axis=1).sum(), rel=1e-4)
    longer = (*KEYS[:1], "scenario.horizon=11", f"engine.recording={folder}")
    with pytest.raises(SwarmctlError, match="ends after 10 decisions"):
        evaluate(EvaluateConfig(("constant",), "Chemotaxis-v0", longer, "replay", episodes=1))


def test_mistakes_are_said(recording, tmp_path):
    with pytest.raises(ConfigError, match="which recording"):
        ReplayConfig(agent="constant")
    with pytest.raises(ConfigError, match="which agent"):
        ReplayConfig(recording[0])
    with pytest.raises(UnknownNameError, match="Did you mean 'constant'"):
        replay(ReplayConfig(recording[0], "constan"), quiet)
    with pytest.raises(ConfigError, match="0 frames of episode 4"):
        replay(ReplayConfig(recording[0], "constant", episode=4), quiet)
