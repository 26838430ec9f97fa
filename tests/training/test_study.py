"""A study says who wins, goes on after a kill, and keeps what made it."""

import json

import jax
import numpy as np
import pytest

from swarmctl.cli import main
from swarmctl.core.errors import ConfigError, RunFolderError
from swarmctl.core.statistics import t_interval
from swarmctl.training import train as training
from swarmctl.training.configs import StudyConfig
from swarmctl.training.study import StudyRow, judge, study

KEYS = (
    "scenario.colloids=2",
    "scenario.horizon=16",
    "agent.swarms=8",
    "agent.rollout=8",
    "agent.minibatches=2",
    "agent.hidden=[4]",
    "training.updates=3",
    "training.seeds=[0,1]",
)


@pytest.fixture(scope="module", autouse=True)
def quick_compilation():
    """These programs are small: compiling takes far longer than running them."""
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", before)


def test_t_interval_covers_the_mean_of_few_gaussian_values():
    rng = np.random.default_rng(0)
    inside = 0
    for _ in range(4000):
        _, low, high = t_interval(rng.normal(1.0, 3.0, 5))
        inside += low <= 1.0 <= high
    assert inside / 4000 == pytest.approx(0.95, abs=0.012)
    assert np.isnan(t_interval([2.0])[1])
    with pytest.raises(ConfigError, match="finite values"):
        t_interval([1.0, np.nan])


def rows(learned, best, random=(0.0, -0.1, 0.1)):
    return (
        StudyRow("random", "random", random, random),
        StudyRow("learned", "ppo", learned, learned),
        StudyRow("best", "hand", best, best),
    )


def test_the_verdict_goes_by_the_intervals():
    assert judge(rows((2, 1.9, 2.1), (1, 0.9, 1.1))) == "ppo beats random and hand."
    assert judge(rows((2, 1.9, 2.1), (3, 2.9, 3.1))).endswith("ppo is beaten by hand.")
    assert judge(rows((2, 1.9, 2.1), (2.2, 2.0, 2.4))).endswith("ppo is level with hand.")
    assert "no interval" in judge(rows((2, np.nan, np.nan), (1, 0.9, 1.1)))


def test_a_study_goes_on_where_it_was_killed_and_ends_the_same(tmp_path, monkeypatch):
    config = StudyConfig(
        "Chemotaxis-v0", tmp_path / "whole", KEYS, episodes=4, movie=False, progress=False
    )
    told = []
    whole = study(config, told.append)
    assert "gradient-climber (best)" in told[0]
    data = json.loads((whole.path / "results.json").read_text())
    assert data["experiment"]["training"]["updates"] == 3
    assert np.asarray(data["curve"]["episode_return"]).shape == (2, 3)
    assert (whole.path / "curve.png").stat().st_size > 10_000

    cut = StudyConfig(
        "Chemotaxis-v0", tmp_path / "cut", KEYS, episodes=4, movie=False, progress=False
    )
    original, calls = training.save_agent, []

    def killed(*arguments):
        calls.append(arguments)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return original(*arguments)

    monkeypatch.setattr(training, "save_agent", killed)
    with pytest.raises(KeyboardInterrupt):
        study(cut, told.append)
    assert not (tmp_path / "cut" / "results.json").exists()
    monkeypatch.setattr(training, "save_agent", original)
    again = study(cut, told.append)
    for one, two in zip(whole.rows, again.rows, strict=True):
        np.testing.assert_array_equal(one.reward, two.reward)

    other = StudyConfig(
        "Chemotaxis-v0", tmp_path / "cut", (*KEYS, "agent.discount=0.5"), episodes=4
    )
    with pytest.raises(ConfigError, match=r"agent\.discount was 0\.97, is 0\.5"):
        study(other, told.append)


def test_a_study_does_not_delete_what_is_none(tmp_path, capsys):
    (tmp_path / "thesis.tex").write_text("years of work")
    config = StudyConfig("Chemotaxis-v0", tmp_path, KEYS, overwrite=True)
    with pytest.raises(RunFolderError, match="is not the folder of a study"):
        study(config)
    assert (tmp_path / "thesis.tex").exists()
    assert main(["study", "Chemotaxis-v0", "--set", "agent.name=random"]) == 2
    assert "does not learn; train evolution, ppo" in capsys.readouterr().err
