"""Data sets of Minari: what every colloid saw, did and earned, until it was lost."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from swarmctl.core.errors import CapabilityError, ConfigError, RecordError
from swarmctl.engines.jax_engine import JaxEngine
from swarmctl.envs.make import make_scenario
from swarmctl.lab.export_minari import MinariConfig, colloid_episodes, export_minari
from swarmctl.lab.recorded_actions import recorded_actions
from swarmctl.lab.recorded_experiment import recorded_experiment, replay_env
from swarmctl.records.commands import command_arrays
from swarmctl.records.lab_recorder import LabRecorder
from swarmctl.training.evaluate import find_agent, record_episode
from swarmctl.training.experiment import load_experiment

DECISIONS = 9
KEYS = ("scenario.colloids=3", f"scenario.horizon={DECISIONS}", "scenario.history=1")
LOST = {(4, 1)}
"""Frames and slots in which nobody was seen; in slot 1 a new colloid is found afterwards."""


def record(folder):
    """Record an episode of which parts were not seen; return its rollout."""
    experiment = load_experiment("Chemotaxis-v0", KEYS)
    env = experiment.env()
    rollout = record_episode(env, find_agent("random", env), seed=3)
    states = rollout.states
    tables = {"experiment": experiment.tables()}
    with LabRecorder(folder, env.spec.engine, tables) as recorder:
        for t in range(DECISIONS + 1):
            state = type(states)(
                **{k: None if v is None else v[t] for k, v in vars(states).items()}
            )
            present, identity = np.array(state.present), np.array(state.identity)
            for when, slot in LOST:
                present[slot] &= t != when
                identity[slot] += 50 * (t > when)
            state = type(states)(**{**vars(state), "present": present, "identity": identity})

            def at(tree, t=t):
                given = {
                    name: values[t - 1] for name, values in vars(tree).items() if values is not None
                }
                return type(tree)(**given) if t else None

            recorder.step(state, at(rollout.requested), at(rollout.applied), {})
    return rollout


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    folder = tmp_path_factory.mktemp("minari") / "run"
    return folder, record(folder)


def episodes_of(folder, **keys):
    config = MinariConfig(folder, "lab/x-v0", **keys)
    experiment = recorded_experiment(folder, "", (), episode=0)
    env = replay_env(experiment)
    return env, colloid_episodes(env, config)


def test_a_colloid_that_is_lost_ends_its_episode_with_what_it_saw_last(recording):
    env, found = episodes_of(recording[0])
    rollout = recording[1]
    # Slot 1 is last seen in frame 3, and a new colloid is in the episode from frame 5 on.
    assert [(one.identity, len(one.reward)) for one in found] == [(0, 9), (1, 3), (51, 4), (2, 9)]
    assert not any(one.terminated for one in found)
    for one in found:
        assert one.observation.shape == (len(one.reward) + 1, env.spec.observation_size)
    for slot in (0, 2):
        one = found[slot if slot == 0 else 3]
        np.testing.assert_allclose(one.reward, rollout.reward[:, slot], rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(
            one.observation[:-1], rollout.observation[:, slot], rtol=1e-3, atol=1e-3
        )
    for one, slot, start in zip(found, (0, 1, 1, 2), (0, 0, 5, 0), strict=True):
        assert one.action.dtype == np.int64
        for k, action in enumerate(one.action):
            made = env.scenario.actions.to_command(jnp.full(3, int(action)), env.spec.engine)
            for name, values in command_arrays(made).items():
                asked = command_arrays(rollout.requested)[name]
                np.testing.assert_allclose(values[slot], asked[start + k, slot], rtol=1e-5)


def test_minari_reads_the_data_set(recording, tmp_path, monkeypatch):
    minari = pytest.importorskip("minari", reason="needs the extra minari")
    monkeypatch.chdir(tmp_path)
    config = MinariConfig(recording[0], "lab/chemotaxis-v0", folder="sets")
    result = export_minari(config)
    assert (result.episodes, result.transitions) == (4, 25)
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "sets"))
    data = minari.load_dataset("lab/chemotaxis-v0")
    env, expected = episodes_of(recording[0])
    assert data.total_episodes == 4
    assert data.total_steps == 25
    assert data.action_space.n == 4
    assert data.observation_space.shape == (env.spec.observation_size,)
    for one, episode in zip(expected, data.iterate_episodes(), strict=True):
        np.testing.assert_array_equal(episode.observations, one.observation)
        np.testing.assert_array_equal(episode.actions, one.action)
        np.testing.assert_allclose(episode.rewards, one.reward)
        assert episode.truncations.tolist() == [False] * (len(one.reward) - 1) + [True]
        assert not episode.terminations.any()
        assert set(episode.infos["identity"].tolist()) == {one.identity}
        assert data.observation_space.contains(episode.observations[0])
    with pytest.raises(RecordError, match="already"):
        export_minari(config)
    with pytest.raises(ConfigError, match="data set"):
        export_minari(MinariConfig(recording[0], "no version!", folder="sets"))


@pytest.mark.parametrize("name", ["ChemotaxisContinuous-v0", "ReachGoalContinuous-v0"])
def test_continuous_actions_are_found_again(name):
    """Speeds and rates, headings: what is found gives the command that was asked for."""
    scenario = make_scenario(name)
    spec = JaxEngine(scenario.world, scenario.control_interval).spec
    n = spec.capacity
    given = np.random.default_rng(4).uniform(-1, 1, (DECISIONS, n, 2)).astype("float32")
    given[0, 0] = 1.0  # the end of the range
    commands = [
        jax.tree.map(np.asarray, scenario.actions.to_command(jnp.asarray(action), spec))
        for action in given
    ]
    found = recorded_actions(scenario.actions, spec, commands, np.ones((DECISIONS, n), bool))
    if name.startswith("Reach"):  # only the direction of the numbers counts
        given /= np.linalg.norm(given, axis=-1, keepdims=True)
    np.testing.assert_allclose(found, given, atol=1e-4)
    unseen = recorded_actions(scenario.actions, spec, commands, np.zeros((DECISIONS, n), bool))
    assert not unseen.any()


def test_mistakes_are_said(recording):
    with pytest.raises(ConfigError, match=r"no action .* decision 0"):
        export_minari(MinariConfig(recording[0], "lab/x-v0", set=("scenario.turn_rate=1.5",)))
    scenario = make_scenario("ReachGoalField-v0")
    spec = JaxEngine(scenario.world, scenario.control_interval).spec
    with pytest.raises(CapabilityError, match="votes on one field"):
        recorded_actions(scenario.actions, spec, [], np.zeros((0, 1), bool))
