"""Warm starts: a training begins with what another one learned, and with nothing else of it."""

import dataclasses
import json
import shutil
import tomllib
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from swarmctl.agents.options import make_agent
from swarmctl.agents.saving import describe_policy, load_agent, save_agent
from swarmctl.agents.team import Team
from swarmctl.core.config import apply_overrides, dump_toml
from swarmctl.core.errors import ConfigError, PolicyFileError
from swarmctl.engines.jax_engine import JaxEngine
from swarmctl.records.metrics import read_metrics
from swarmctl.training import train as training
from swarmctl.training.configs import StudyConfig, TrainConfig
from swarmctl.training.engine_episodes import EngineEnv
from swarmctl.training.engine_learner import EngineLearner
from swarmctl.training.evaluate import evaluate_agent
from swarmctl.training.experiment import load_experiment
from swarmctl.training.study import study
from swarmctl.training.train import make_learner, train
from swarmctl.training.warm_start import policy_of, with_kept_scaling

EXPERIMENT = """
[scenario]
name = "ReachGoal-v0"
colloids = 4
horizon = 8
directions = 4
[agent]
hidden = [8]
swarms = 64
rollout = 8
epochs = 1
minibatches = 2
[training]
updates = 3
checkpoint_every = 1
"""


@pytest.fixture(scope="module", autouse=True)
def quick_compilation():
    """These programs are small: compiling takes far longer than running them."""
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", before)


@pytest.fixture(scope="module", autouse=True)
def one_learner():
    """Compile once for all runs with equal keys."""
    original, made = training.make_learner, {}

    def cached(experiment):
        tables = experiment.tables()
        started = tables["training"].pop("start", None) is not None
        del tables["training"]["seeds"]
        key = json.dumps([tables, started])
        if key not in made:
            made[key] = original(experiment)
        return made[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "make_learner", cached)
        yield


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("experiment") / "small.toml"
    path.write_text(EXPERIMENT)
    return path


def run(file, out, **keys):
    return train(TrainConfig(str(file), Path(out), progress=False, **keys))


@pytest.fixture(scope="module")
def start(file, tmp_path_factory):
    """The folder of a policy that heads for the goal, as no untrained one does."""
    experiment = load_experiment(file)
    policy = make_agent("ppo", experiment.env().spec, hidden=(8,))
    first, last = (jnp.zeros_like(weights) for weights in policy.actor.weights)
    angles = jnp.arange(4) * jnp.pi / 2
    actor = dataclasses.replace(
        policy.actor,
        weights=(
            first.at[0, 0].set(0.1).at[1, 1].set(0.1),
            last.at[0].set(300 * jnp.cos(angles)).at[1].set(300 * jnp.sin(angles)),
        ),
    )
    policy = dataclasses.replace(policy, actor=actor, deviation=policy.deviation * 1.5)
    return save_agent(policy, tmp_path_factory.mktemp("start"), experiment.tables())


def assert_equal(one, other):
    assert jax.tree.structure(one) == jax.tree.structure(other)
    jax.tree.map(np.testing.assert_array_equal, one, other)


def stepwise(experiment):
    scenario = experiment.scenario.build()
    env = EngineEnv(scenario, JaxEngine(scenario.world, scenario.control_interval))
    return EngineLearner(env, with_kept_scaling(experiment.agent), experiment.training.updates)


@pytest.mark.parametrize("kind", ["jax", "stepwise", "evolution"])
def test_after_no_update_the_policy_is_the_old_one_and_the_rest_is_new(file, start, kind):
    keys = ["training.start=somewhere"]
    if kind == "evolution":
        tables = {"scenario": load_experiment(file).tables()["scenario"]}
        tables["agent"] = {"name": "evolution", "hidden": [8]}
        experiment = load_experiment(tables, keys)
    else:
        experiment = load_experiment(file, keys)
    learner = stepwise(experiment) if kind == "stepwise" else make_learner(experiment)
    old = load_agent(start)
    fresh = learner.init(4)
    state = learner.started(fresh, old)
    found = learner.agent(state)
    if kind == "evolution":
        old = dataclasses.replace(old, critic=None, log_std=None)
        assert_equal(state.optimiser, fresh.optimiser)
    else:
        assert_equal(state.members[0].optimiser, fresh.members[0].optimiser)
        assert_equal(state.members[0].moments, fresh.members[0].moments)
        assert_equal(dataclasses.replace(state, members=fresh.members), fresh)
    assert_equal(found, old)
    # The check without weights sees the same structure.
    shapes = learner.started(learner.shapes(), old)
    assert jax.tree.structure(shapes) == jax.tree.structure(state)


@pytest.fixture(scope="module")
def known(file, start):
    """What the old policy earns, by episode."""
    env = load_experiment(file).env()
    return evaluate_agent(env, load_agent(start), 512, seed=7, deterministic=False).returns


@pytest.mark.parametrize("kind", ["jax", "stepwise"])
def test_the_return_at_update_0_is_that_of_the_old_policy(file, start, known, kind):
    """Both are means over episodes with other starts: equal within five standard errors."""
    experiment = load_experiment(file, ["training.start=somewhere"])
    learner = stepwise(experiment) if kind == "stepwise" else make_learner(experiment)
    old = load_agent(start)
    error = known.std() * np.sqrt(1 / 64 + 1 / 512)
    _, figures = learner.update(learner.started(learner.init(0), old), 0)
    assert int(figures["episodes"]) == 64
    assert abs(float(figures["episode_return"]) - known.mean()) < 5 * error
    _, untrained = learner.update(learner.init(0), 0)
    assert abs(float(untrained["episode_return"]) - known.mean()) > 5 * error


def numbers(folder):
    timing = ("seconds", "steps_per_s")
    rows = read_metrics(folder / "metrics.jsonl")
    return [{k: v for k, v in row.items() if k not in timing} for row in rows]


@pytest.fixture(scope="module")
def warm(file, start, tmp_path_factory):
    """A whole run of two seeds that began with a policy."""
    out = tmp_path_factory.mktemp("warm") / "run"
    run(file, out, start=start, set=("training.seeds=[0,1]",))
    return out


def test_a_run_says_where_it_came_from_and_keeps_it(warm, start):
    tables = tomllib.loads((warm / "config.toml").read_text())
    assert tables["training"]["start"] == str(start)
    about = describe_policy(warm / "start")["about"]
    assert about["source"] == str(start)
    assert about["scenario"]["name"].endswith("ReachGoal-v0")
    old, new = load_agent(start), load_agent(warm / "seed-0")
    assert_equal(load_agent(warm / "start"), old)
    # It has learned since, but sees through the same scaling.
    assert not np.array_equal(new.actor.weights[0], old.actor.weights[0])
    np.testing.assert_array_equal(new.mean, old.mean)
    np.testing.assert_array_equal(new.deviation, old.deviation)
    # What one seed consumed, the other one still has.
    assert [row["update"] for row in numbers(warm)] == [0, 1, 2] * 2


def test_a_resume_is_exact_and_needs_the_source_no_more(warm, file, start, tmp_path, monkeypatch):
    source = shutil.copytree(start, tmp_path / "source")
    learner = training.make_learner(load_experiment(warm))
    update, left = learner.update, [2]

    def interrupted(state, seed):
        left[0] -= 1
        if left[0] == 0:
            raise KeyboardInterrupt
        return update(state, seed)

    out = tmp_path / "run"
    monkeypatch.setattr(learner, "update", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(file, out, start=source, set=("training.seeds=[0,1]",))
    monkeypatch.undo()
    assert len(numbers(out)) == 1
    shutil.rmtree(source)
    with pytest.raises(ConfigError, match="leave `start` out"):
        run(file, out, start=start, resume=True)
    train(TrainConfig(out=out, resume=True, progress=False))
    assert numbers(out) == numbers(warm)
    for seed in ("seed-0", "seed-1"):
        assert_equal(load_agent(out / seed), load_agent(warm / seed))


def test_an_overwritten_run_may_be_its_own_start(file, start, tmp_path):
    out = tmp_path / "run"
    run(file, out, start=start)
    first = load_agent(out)
    run(file, out, start=out, overwrite=True)
    assert_equal(load_agent(out / "start"), first)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        (["agent.hidden=[8,8]"], r"actor \(agent.hidden\) is 3-8-4 there, 3-8-8-4 here"),
        (["agent.memory=8"], r"recurrent cell \(agent.memory\) is none there, 3-8 here"),
        (["agent.central=true"], r"critic \(agent.hidden, agent.central\) is 3-8-1 there"),
        (["scenario.directions=8"], r"actions Discrete\(n=4\).* has actions Discrete\(n=8\)"),
        (["scenario.name=Chemotaxis-v0"], "and observations"),
    ],
)
def test_a_start_that_does_not_fit_is_refused_before_the_run_is_touched(
    file, start, tmp_path, keys, said
):
    tables = apply_overrides(tomllib.loads(file.read_text()), keys)
    if keys[0].startswith("scenario.name"):
        tables["scenario"] = {"name": "Chemotaxis-v0", "horizon": 8}
    other = tmp_path / "other.toml"
    other.write_text(dump_toml(tables))
    with pytest.raises(PolicyFileError, match=rf"training\.start: .*{said}"):
        run(other, tmp_path / "run", start=start)
    with pytest.raises(PolicyFileError, match=r"training\.start: "):
        study(StudyConfig(str(other), tmp_path / "run", (f"training.start={start}",)))
    assert not (tmp_path / "run").exists()


def test_what_is_no_start_is_said(file, warm, start, tmp_path):
    with pytest.raises(PolicyFileError, match=r"training.start: .*no such file or folder"):
        run(file, tmp_path / "run", start=tmp_path / "nowhere")
    with pytest.raises(PolicyFileError, match=r"training.start: .*policies of 2 seeds; give one"):
        run(file, tmp_path / "run", start=warm)
    actor = save_agent(
        dataclasses.replace(load_agent(start), critic=None, log_std=None), tmp_path / "actor"
    )
    with pytest.raises(PolicyFileError, match=r"the critic .* is none there"):
        run(file, tmp_path / "run", start=actor)
    assert not (tmp_path / "run").exists()


def test_a_team_gives_every_species_its_own(start):
    one = load_agent(start)
    two = dataclasses.replace(one, mean=one.mean + 1)
    team = Team((one, two), ("prey", "predator"), ("", ""))
    assert policy_of(team, ("predator",)) is two
    assert policy_of(one, ("prey", "predator")) is one
    with pytest.raises(PolicyFileError, match=r"different policies .* agent.species=\[prey=, pred"):
        policy_of(team, ("prey", "predator"))
    with pytest.raises(PolicyFileError, match="no agent for the species 'food'"):
        policy_of(team, ("food",))
    with pytest.raises(PolicyFileError, match="was not learned"):
        policy_of(Team((one, object()), ("prey", "predator"), ("", "random")), ("predator",))
