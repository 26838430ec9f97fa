"""Training on engines that are not made of pure functions: what is learned is the same."""

import dataclasses
import json
import os
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from swarmctl.agents.deep.ppo import PPOConfig, RecurrentPPOConfig
from swarmctl.agents.deep.reinforce import ReinforceConfig
from swarmctl.core.command import Command
from swarmctl.core.contracts import (
    ActionMap,
    Engine,
    Flags,
    Observable,
    PureEngine,
    Status,
    Task,
    Transition,
)
from swarmctl.core.errors import CapabilityError, ConfigError, OverlapError, WorkerDiedError
from swarmctl.core.spec import Continuous, Discrete, EngineSpec
from swarmctl.core.state import SwarmState
from swarmctl.core.tree import pytree, static
from swarmctl.core.world import Box, Species, World
from swarmctl.engines import espresso_build
from swarmctl.envs.functional import SwarmEnv
from swarmctl.envs.scenario import Scenario, ScenarioConfig
from swarmctl.records.metrics import read_metrics
from swarmctl.tasks.algebra import Curriculum
from swarmctl.training import train as training
from swarmctl.training.collecting import Collector, Order, episode_seed
from swarmctl.training.configs import StudyConfig, TrainConfig
from swarmctl.training.engine_episodes import EngineEnv
from swarmctl.training.engine_learner import EngineLearner
from swarmctl.training.experiment import load_experiment
from swarmctl.training.learner import Learner
from swarmctl.training.study import study
from swarmctl.training.train import make_learner, train

COUNT, HORIZON = 3, 6
HERE = Path(__file__).resolve()


@pytest.fixture(scope="module", autouse=True)
def quick_compilation():
    """These programs are small: compiling takes far longer than running them."""
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", before)


@pytree
class ToyParams:
    size: jax.Array


@pytree
class ToyState:
    speed: jax.Array
    step: jax.Array


class ToyEngine(PureEngine):
    """Colloids at fixed places that show the speed they were last told.

    After three steps another colloid is in the second slot; the last one is not seen after two and
    three steps.
    """

    def __init__(self, species=("colloid",), time_step=0.1):
        each = (1.0,) * len(species)
        self.spec = EngineSpec(
            name="toy",
            capacity=COUNT,
            dimension=2,
            dtype="float32",
            species=species,
            species_of_slot=(0,) * (COUNT - 1) + (len(species) - 1,),
            radius=each,
            speed_min=(-1.0,) * len(species),
            speed_max=each,
            turn_rate_max=each,
            box=(10.0, 10.0),
            periodic=(True, True),
            control_interval=0.1,
            capabilities=frozenset({"speed"}),
            time_step=time_step,
        )

    def params(self):
        return ToyParams(jnp.full(2, 10.0))

    def init(self, key, params):
        return ToyState(jnp.zeros(COUNT), jnp.asarray(0, jnp.int32))

    def advance(self, key, state, command, params):
        no = jnp.asarray(False)
        flags = Flags(no, no, no, no, jnp.zeros(COUNT, bool))
        return ToyState(command.speed, state.step + 1), command, flags

    def observe_state(self, state, params):
        ahead = jnp.broadcast_to(jnp.asarray([1.0, 0.0]), (COUNT, 2))
        slot = jnp.arange(COUNT)
        present = ~((slot == COUNT - 1) & ((state.step == 2) | (state.step == 3)))
        return SwarmState(
            position=jnp.stack([1.0 + 3.0 * slot, jnp.full(COUNT, 5.0)], -1),
            image=jnp.zeros((COUNT, 2), jnp.int32),
            director=ahead,
            velocity=state.speed[:, None] * ahead,
            angular_velocity=jnp.zeros(COUNT),
            species=jnp.asarray(self.spec.species_of_slot, jnp.int32),
            identity=(slot + 7 * ((slot == 1) & (state.step >= 3))).astype(jnp.int32),
            present=present,
            oriented=present,
            controllable=present,
            bodies=None,
            step=state.step,
            time=state.step * 0.1,
            interval=jnp.asarray(0.1),
        )

    reset = step = stop = close = None


class Plain(Engine):
    """The toy behind nothing but the contract; `fault` ends the n-th step, counted from 1.

    With `drifts` episodes differ although their seeds are equal; `noise` moves what is seen.
    """

    def __init__(self, toy, fault=None, overlap=None, drifts=False, noise=0.0):
        self.toy, self.spec, self.params = toy, toy.spec, toy.params()
        self.fault, self.overlap, self.drifts, self.noise = fault, overlap, drifts, noise
        self.count, self.seeds, self.calls = 0, [], []
        self._advance = jax.jit(toy.advance)
        self._observe = jax.jit(toy.observe_state)

    def look(self):
        seen = self._observe(self.state, self.params)
        moved = self.noise * self.random.normal(size=(COUNT, 2)) + self.drifts * len(self.seeds)
        return dataclasses.replace(seen, position=seen.position + moved.astype(np.float32))

    def reset(self, seed):
        self.seeds.append(seed)
        self.calls.append("reset")
        self.random = np.random.default_rng(seed)
        self.state = self.toy.init(None, self.params)
        return self.look()

    def step(self, command):
        self.count += 1
        self.calls.append("step")
        if self.count == self.overlap:
            raise OverlapError("engine 'toy': too close; use a shorter time step.")
        self.state, applied, flags = self._advance(None, self.state, command, self.params)
        fault = "the lamp went out" if self.count == self.fault else None
        return Transition(self.look(), applied, Status(flags, fault=fault))

    def stop(self, reason):
        self.calls.append("stop")

    def close(self):
        self.calls.append("close")


class Noisy(Plain):
    """The toy with noise, as an engine that is found by its name."""

    def __init__(self, world, control_interval):
        super().__init__(ToyEngine(), noise=0.1)


@pytree
class Clock(Observable):
    """Decisions since the colloid came, their parity as ±1, and where it is."""

    def names(self, spec):
        return ("age", "sign", "x")

    def init(self, state, space):
        return jnp.full(COUNT, -1.0)

    def observe(self, state, memory, space):
        age = memory + 1
        return jnp.stack([age, 1 - 2 * (age % 2), state.position[:, 0]], -1), age


@pytree
class Alternate(Task):
    """Pays the speed, times ±1 in turn; the first colloid is done after `lifespan` decisions."""

    lifespan: jax.Array

    def init(self, state, space):
        return jnp.zeros(COUNT)

    def evaluate(self, state, memory, space):
        forward = state.velocity[:, 0] * (1 - 2 * (memory % 2)) * (1 - 2 * state.species)
        done = (memory + 1 >= self.lifespan) & (jnp.arange(COUNT) == 0)
        return forward, done, memory + 1


@pytree
class Go(ActionMap):
    """0 rests and 1 goes; or one number."""

    space = property(lambda self: Continuous(1) if self.continuous else Discrete(2))
    names = property(lambda self: ("speed",) if self.continuous else ("rest", "go"))
    channels = property(lambda self: frozenset({"speed"}))
    continuous: bool = static(default=False)

    def to_command(self, action, spec):
        return Command(speed=action[:, 0] if self.continuous else action.astype(jnp.float32))


def toy_scenario(lifespan=1e9, continuous=False, task=None):
    return Scenario(
        id="Toy-v0",
        world=World(Box((10.0, 10.0)), species=(Species(count=COUNT, radius=0.1),)),
        observable=Clock(),
        task=task or Alternate(jnp.asarray(lifespan)),
        actions=Go(continuous),
        control_interval=0.1,
        horizon=HORIZON,
        baselines={"random": "random"},
        measure_name="x (µm)",
        measure=lambda state, space: state.position[:, 0],
    )


def toy_env(fault=None, overlap=None, drifts=False, species=("colloid",), time_step=0.1, **keys):
    engine = Plain(ToyEngine(species, time_step), fault, overlap, drifts)
    return EngineEnv(toy_scenario(**keys), engine)


@dataclass(frozen=True)
class ToyConfig(ScenarioConfig):
    id: ClassVar[str] = "Toy-v0"

    def build(self):
        return toy_scenario()


KEYS = {"hidden": (8,), "swarms": 1, "minibatches": 1, "rollout": 2 * HORIZON, "epochs": 2}


def run_updates(learner, count, seed=0):
    state, figures = learner.init(seed), []
    for _ in range(count):
        state, found = learner.update(state, seed)
        figures.append(found)
    return state, figures


def assert_close(found, expected):
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-5)


SPECIES = ("runner", "rester")


@pytest.mark.parametrize(
    ("keys", "lifespan", "continuous", "species"),
    [
        (RecurrentPPOConfig(**KEYS, memory=4, central=True, epsilon=0.2), 4, False, SPECIES[:1]),
        (PPOConfig(**KEYS, correlation=0.5, curiosity=0.1), 1e9, True, SPECIES[:1]),
        (ReinforceConfig(**{**KEYS, "epochs": 1}, species=("rester=random",)), 3, False, SPECIES),
    ],
)
def test_what_is_learned_is_what_pure_functions_teach(keys, lifespan, continuous, species):
    """One swarm without noise meets the same on both paths: policies, values, figures are equal.

    Colloids are lost and found, are exchanged, are done; episodes end at the horizon; a curriculum
    goes on with the training.
    """
    stages = (Alternate(jnp.asarray(1e9)), Alternate(jnp.asarray(lifespan)))
    scenario = toy_scenario(continuous=continuous, task=Curriculum(stages, blend=True))
    pure = Learner(SwarmEnv(scenario, ToyEngine(species)), keys, 4)
    plain = EngineLearner(EngineEnv(scenario, Plain(ToyEngine(species))), keys, 4)
    theirs, told = run_updates(pure, 3)
    ours, found = run_updates(plain, 3)
    assert_close(ours.members, theirs.members)
    for one, other in zip(found, told, strict=True):
        assert (one.pop("faults"), one.pop("fault")) == (0, None)
        assert one.keys() == other.keys()
        for name in one:
            np.testing.assert_allclose(one[name], other[name], rtol=2e-3, atol=2e-4, err_msg=name)
    assert found[-1]["episodes"] > 0
    assert plain.steps_per_update == pure.steps_per_update


def test_rollouts_one_after_the_other_are_learned_from_side_by_side():
    """A recurrent policy is reviewed from what it remembered before each of them: it finds the
    probabilities with which it acted.
    """
    keys = RecurrentPPOConfig(**KEYS | {"swarms": 4, "rollout": 3, "epochs": 1}, memory=4)
    learner = EngineLearner(toy_env(), keys, 4)
    _, figures = run_updates(learner, 2)
    for found in figures:
        assert found["kl"] == pytest.approx(0, abs=1e-6)
        assert found["clipped"] == 0
        assert found["episodes"] == 2


def test_an_update_is_a_function_of_the_state():
    """From the same state comes the same, wherever the engine is: its episode is repeated."""
    env = toy_env(continuous=True)
    keys = PPOConfig(**{**KEYS, "rollout": 2})
    learner = EngineLearner(env, keys, 8)
    first, _ = run_updates(learner, 2)
    assert int(first.streams.decided[0]) == 4
    after, _ = learner.update(first, 0)
    steps = env.engine.count
    again, _ = learner.update(first, 0)
    assert env.engine.count == steps + 6
    other, _ = EngineLearner(toy_env(continuous=True), keys, 8).update(first, 0)
    for found in (again, other):
        for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(after), strict=True):
            np.testing.assert_array_equal(a, b)
    for shape, leaf in zip(jax.tree.leaves(learner.shapes()), jax.tree.leaves(after), strict=True):
        assert (shape.shape, shape.dtype) == (leaf.shape, leaf.dtype)


def order(learner, seed=0):
    """Of the first rollouts."""
    state = learner.init(seed)
    key = jax.random.key_data(jax.random.key(1))
    return Order(state.members, state.streams, np.float32(0), key, seed, 0)


def test_an_engine_that_does_not_repeat_itself_begins_a_new_episode():
    keys = PPOConfig(**KEYS | {"rollout": 2})
    asked = order(EngineLearner(toy_env(), keys, 8))
    found = Collector(toy_env(), keys, 1).collect(asked)
    assert found.stream.decided == [2]
    asked = dataclasses.replace(asked, stream=found.stream)
    other = Collector(toy_env(drifts=True), keys, 1)
    with pytest.warns(UserWarning, match=r"did not repeat its episode 1 to decision 2, .*other"):
        found = other.collect(asked)
    assert found.stream.begun == [2]
    assert found.stream.decided == [2]
    np.testing.assert_array_equal(found.steps[0].observation[:, 0, 0, 0], [0, 1])


def test_a_fault_cuts_the_episode_and_its_value_goes_on():
    """The decision before a fault is bootstrapped with the final observation, as when time is up,
    and the episode is not reported.
    """
    env, keys = toy_env(fault=3), PPOConfig(**KEYS)
    learner = EngineLearner(env, keys, 4)
    found = Collector(env, keys, 1).collect(order(learner))
    assert found.faults == ("engine 'toy', episode 1, decision 3 of 6: the lamp went out",)
    (steps,) = found.steps
    ends = np.flatnonzero(steps.ends[:, 0].all(axis=1))
    np.testing.assert_array_equal(ends, [2, 8])
    np.testing.assert_array_equal(steps.observation[:, 0, 0, 0], [*range(3), *range(6), *range(3)])
    policy = found_policy(learner)
    final = jnp.asarray([3.0, -1.0, 1.0])
    assert steps.final[2, 0, 0] == pytest.approx(float(policy.value(final)), abs=1e-6)
    assert found.log["ended"].sum() == 2
    assert found.log["episodes"].sum() == 1
    assert env.engine.calls[:5] == ["reset", "step", "step", "step", "stop"]
    seeds = [episode_seed(seed, *which) for seed in (0, 1) for which in ((0, 1), (0, 2), (1, 1))]
    assert env.engine.seeds[:2] == seeds[:2]
    assert len(set(seeds)) == 6


def found_policy(learner):
    return learner.init(0).members[0].policy


def test_hardware_is_not_left_in_the_middle_of_an_episode():
    """Without a time step the engine goes on while the policy learns: it is stopped before."""
    env, keys = toy_env(time_step=None), PPOConfig(**{**KEYS, "rollout": 2})
    learner = EngineLearner(env, keys, 8)
    state, figures = run_updates(learner, 2)
    assert env.engine.calls == ["reset", "step", "step", "stop"] * 2
    assert not state.streams.decided.any()
    assert figures[-1]["episodes"] == 0
    assert np.isfinite(figures[-1]["value_loss"])


def test_what_is_right_alternates_and_is_learned():
    keys = PPOConfig(hidden=(16,), swarms=16, rollout=HORIZON, minibatches=4, learning_rate=2e-2)
    state, figures = run_updates(EngineLearner(toy_env(), keys, 20), 20)
    ages = jnp.arange(HORIZON)
    seen = jnp.stack([ages, 1 - 2 * (ages % 2), jnp.full(HORIZON, 1.0)], -1)
    head = state.policy.actor(state.policy.scale(seen))
    np.testing.assert_array_equal(jnp.argmax(head, -1), 1 - ages % 2)
    returns = [float(f["episode_return"]) for f in figures]
    assert returns[-1] > returns[0] + 0.5


# Through the verbs

EXPERIMENT = f"""
[scenario]
name = "{HERE}:ToyConfig"

[engine]
name = "{HERE}:Noisy"

[agent]
hidden = [8]
swarms = 1
rollout = 3
epochs = 2
minibatches = 1

[training]
updates = 5
checkpoint_every = 1
"""
TIMING = ("seconds", "steps_per_s")


@pytest.fixture(scope="module")
def experiment(tmp_path_factory):
    path = tmp_path_factory.mktemp("experiment") / "small.toml"
    path.write_text(EXPERIMENT)
    return path


@pytest.fixture(scope="module", autouse=True)
def one_learner():
    """Compile once for all runs of this file, and do not wait for the disk."""
    original, made = training.make_learner, {}

    def cached(experiment):
        text = json.dumps(experiment.tables())
        if text not in made:
            made[text] = original(experiment)
        return made[text]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "make_learner", cached)
        patch.setattr(os, "fsync", lambda _: None)
        yield


def run(experiment, out, **keys):
    return train(TrainConfig(str(experiment), Path(out), progress=False, **keys))


def read_rows(folder):
    return [
        {k: v for k, v in row.items() if k not in TIMING}
        for row in read_metrics(folder / "metrics.jsonl")
    ]


def test_a_run_that_was_stopped_ends_bit_equal(experiment, tmp_path, monkeypatch):
    """Also in the middle of an episode: the engine repeats it to where the checkpoint is."""
    whole = run(experiment, tmp_path / "whole")
    assert [row["faults"] for row in whole.metrics] == [0] * 5
    assert whole.metrics[1]["episodes"] == 1
    write = training.MetricsLog.write

    class Stop(BaseException):
        pass

    def write_or_stop(self, row):
        write(self, row)
        if row["update"] == 1 + 2 * (row["update"] > 2):
            raise Stop

    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(training.MetricsLog, "write", write_or_stop)
        with pytest.raises(Stop):
            run(experiment, out)
    run(TrainConfig.experiment, out, resume=True)
    assert read_rows(out) == read_rows(tmp_path / "whole")
    for name in ("policy/policy.safetensors", "best/policy.safetensors"):
        one, other = ((f / "seed-0" / name).read_bytes() for f in (out, tmp_path / "whole"))
        assert one == other
    with pytest.raises(ConfigError, match="leave `engine` out"):
        run(TrainConfig.experiment, out, resume=True, engine="espresso")


def test_a_study_compares_what_was_learned_there(experiment, tmp_path):
    config = StudyConfig(
        str(experiment),
        tmp_path / "study",
        set=("training.updates=2",),
        episodes=2,
        movie=False,
        progress=False,
    )
    found = study(config, say=lambda text: None)
    assert [row.role for row in found.rows] == ["random", "learned"]
    assert json.loads((tmp_path / "study" / "results.json").read_text())["experiment"]["engine"]


def test_workers_collect_what_one_process_does_and_a_dead_one_is_named(experiment):
    changed = ("training.workers=2", "agent.swarms=2")
    learner = make_learner(load_experiment(experiment, changed))
    try:
        state, _ = run_updates(learner, 1)
        alone = Collector(load_experiment(experiment).any_env(), learner.config, 1)
        begun = learner.init(0)
        _, key = jax.random.split(jax.random.wrap_key_data(begun.key))
        stream = jax.tree.map(lambda x: x[:1], begun.streams)
        found = alone.collect(
            Order(begun.members, stream, np.float32(0), jax.random.key_data(key), 0, 0)
        )
        np.testing.assert_array_equal(found.stream.action, state.streams.action[:1])
        np.testing.assert_array_equal(found.stream.observation, state.streams.observation[:1])
        assert found.stream.decided == [3]
        assert not np.array_equal(*state.streams.observation)
        processes = [worker.process for worker in learner._collectors]
        os.kill(processes[1].pid, signal.SIGKILL)
        processes[1].join()
        with pytest.raises(WorkerDiedError, match=r"worker 1 .*exit code -9"):
            learner.update(state, 0)
    finally:
        learner.close()
    learner.close()  # may be called again
    assert not any(process.is_alive() for process in processes)


def test_a_motion_that_failed_ends_the_training_and_closes_the_engine(
    experiment, tmp_path, monkeypatch
):
    env = toy_env(overlap=8)
    learner = EngineLearner(env, PPOConfig(**{**KEYS, "rollout": 6}), 5)
    monkeypatch.setattr(training, "make_learner", lambda experiment: learner)
    with pytest.raises(OverlapError, match="shorter time step"):
        run(experiment, tmp_path / "run")
    assert len(read_rows(tmp_path / "run")) == 1
    assert (tmp_path / "run" / "seed-0" / "checkpoint.safetensors").exists()
    assert env.engine.calls[-1] == "close"


@pytest.mark.parametrize(
    ("changed", "error", "words"),
    [
        (
            "agent.name=evolution",
            CapabilityError,
            "train ppo, recurrent-ppo, reinforce, or train o",
        ),
        ("engine.name=jax", ConfigError, "training.workers is for engines that are not"),
        ("agent.swarms=3", ConfigError, "2 workers cannot share 3 rollouts"),
        ("engine.name=link", ConfigError, "'link' is hardware"),
        ("training.workers=0", ConfigError, "at least 1"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_touched(changed, error, words, tmp_path):
    tables = {
        "scenario": {"name": "Chemotaxis-v0", "colloids": 2, "horizon": 8},
        "engine": {"name": "espresso"},
        "training": {"workers": 2},
    }
    if changed.startswith("agent.swarms"):
        tables["agent"] = {"minibatches": 1, "rollout": 8}
    with pytest.raises(error, match=words):
        make_learner(load_experiment(tables, [changed]))


def test_a_laboratory_at_a_link_is_learned_in(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    peer = [sys.executable, "-W", "error", str(HERE.parents[2] / "examples" / "lab_peer.py")]
    tables = {
        "scenario": {"name": "Chemotaxis-v0", "colloids": 20, "horizon": 4, "history": 1},
        "engine": {"name": "link", "port": port, "silence": "60 s"}
        | dict.fromkeys(("stop_timeout", "state_timeout", "connect_timeout"), "60 s"),
        "agent": {"hidden": [4], "swarms": 2, "minibatches": 1, "rollout": 4},
        "training": {"updates": 2},
    }
    learner = make_learner(load_experiment(tables))
    with subprocess.Popen(
        [*peer, "Chemotaxis-v0", "--pace", "0", "--port", str(port)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as laboratory:
        try:
            state, figures = run_updates(learner, 2)
            learner.close()
            said, _ = laboratory.communicate(timeout=60)
        finally:
            laboratory.kill()
    assert laboratory.returncode == 0, said
    assert said.strip().endswith("outputs are safe")
    assert [f["faults"] for f in figures] == [0, 0]
    assert [int(f["episodes"]) for f in figures] == [2, 2]
    assert not state.streams.decided.any()


@pytest.mark.skipif(
    not espresso_build.is_installed(), reason="ESPResSo (espressomd) is not installed"
)
def test_on_espresso_a_resumed_run_ends_bit_equal():
    tables = {
        "scenario": {"name": "Chemotaxis-v0", "colloids": 3, "horizon": 8},
        "engine": {"name": "espresso"},
        "agent": {"swarms": 1, "minibatches": 1, "rollout": 4},
    }
    learner = make_learner(load_experiment(tables))
    first, _ = run_updates(learner, 1)
    whole, _ = learner.update(first, 0)
    learner.close()
    again, _ = learner.update(first, 0)
    learner.close()
    for a, b in zip(jax.tree.leaves(again), jax.tree.leaves(whole), strict=True):
        np.testing.assert_array_equal(a, b)
