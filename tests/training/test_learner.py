"""The training loop on a toy swarm whose rewards, ages and ends can be written down in full."""

import dataclasses
import itertools
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from swarmctl.agents.deep.evolution import EvolutionConfig
from swarmctl.agents.deep.ppo import PPOConfig, RecurrentPPOConfig
from swarmctl.agents.deep.reinforce import ReinforceConfig
from swarmctl.agents.options import make_agent
from swarmctl.agents.saving import load_agent, save_agent
from swarmctl.agents.team import Team
from swarmctl.core.command import Command
from swarmctl.core.contracts import ActionMap, Flags, Observable, PureEngine, Task
from swarmctl.core.errors import ConfigError, PhysicsError, PolicyFileError, UnknownNameError
from swarmctl.core.spec import Continuous, Discrete, EngineSpec
from swarmctl.core.state import SwarmState
from swarmctl.core.tree import pytree, static
from swarmctl.core.world import Box, Species, World
from swarmctl.envs.functional import SwarmEnv
from swarmctl.envs.scenario import Scenario
from swarmctl.training import train as training
from swarmctl.training.configs import TrainConfig
from swarmctl.training.evaluate import evaluate_agent, record_episode
from swarmctl.training.evolution import EvolutionLearner
from swarmctl.training.learner import Learner
from swarmctl.training.train import train

COUNT, HORIZON = 3, 6


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
    position: jax.Array
    speed: jax.Array
    step: jax.Array


class ToyEngine(PureEngine):
    """Colloids that stay where they are and show the speed they were last told."""

    def __init__(self, overlap_at=-1, species=("colloid",)):
        self.overlap_at = overlap_at
        of_slot = (0,) * (COUNT - 1) + (len(species) - 1,)
        each = (1.0,) * len(species)
        self.spec = EngineSpec(
            name="toy",
            capacity=COUNT,
            dimension=2,
            dtype="float32",
            species=species,
            species_of_slot=of_slot,
            radius=each,
            speed_min=(-1.0,) * len(species),
            speed_max=each,
            turn_rate_max=each,
            box=(10.0, 10.0),
            periodic=(True, True),
            control_interval=0.1,
            capabilities=frozenset({"speed"}),
        )

    def params(self):
        return ToyParams(jnp.full(2, 10.0))

    def init(self, key, params):
        position = jax.random.uniform(key, (COUNT, 2)) * params.size
        return ToyState(position, jnp.zeros(COUNT), jnp.asarray(0, jnp.int32))

    def advance(self, key, state, command, params):
        no = jnp.asarray(False)
        flags = Flags(state.step == self.overlap_at, no, no, no, jnp.zeros(COUNT, bool))
        return ToyState(state.position, command.speed, state.step + 1), command, flags

    def observe_state(self, state, params):
        ahead = jnp.broadcast_to(jnp.asarray([1.0, 0.0]), (COUNT, 2))
        there = jnp.ones(COUNT, bool)
        return SwarmState(
            position=state.position,
            image=jnp.zeros((COUNT, 2), jnp.int32),
            director=ahead,
            velocity=state.speed[:, None] * ahead,
            angular_velocity=jnp.zeros(COUNT),
            species=jnp.asarray(self.spec.species_of_slot, jnp.int32),
            identity=jnp.arange(COUNT, dtype=jnp.int32),
            present=there,
            oriented=there,
            controllable=there,
            bodies=None,
            step=state.step,
            time=state.step * 0.1,
            interval=jnp.asarray(0.1),
        )

    def reset(self, seed):
        raise NotImplementedError

    def step(self, command):
        raise NotImplementedError

    def stop(self, reason):
        raise NotImplementedError

    def close(self):
        raise NotImplementedError


@pytree
class Clock(Observable):
    """Decisions since the episode began, their parity as ±1, and where the colloid is."""

    def names(self, spec):
        return ("age", "sign", "x")

    def init(self, state, space):
        return jnp.full(COUNT, -1.0)

    def observe(self, state, memory, space):
        age = memory + 1
        return jnp.stack([age, sign_of(age), state.position[:, 0]], -1), age


@pytree
class Where(Observable):
    """Where the colloid is, and nothing of the time."""

    def names(self, spec):
        return ("x",)

    def init(self, state, space):
        return ()

    def observe(self, state, memory, space):
        return state.position[:, :1], memory


def sign_of(age):
    return 1 - 2 * (age % 2)


@pytree
class Toy(Task):
    """Pays the speed of the last interval, times ±1 in turn if `alternating`, plus `bonus` [].

    The second species is paid the opposite of the first. Colloid n is done after `lifespan[n]`
    decisions.
    """

    bonus: jax.Array
    lifespan: jax.Array
    alternating: bool = static(default=True)

    def init(self, state, space):
        return jnp.zeros(COUNT)

    def evaluate(self, state, memory, space):
        forward = jnp.sum(state.velocity * state.director, -1)
        sign = sign_of(memory) if self.alternating else 1.0
        sign = sign * (1 - 2 * state.species)
        return forward * sign + self.bonus, memory + 1 >= self.lifespan, memory + 1


@pytree
class Go(ActionMap):
    """0 rests and 1 goes; or one number."""

    space = property(lambda self: Continuous(1) if self.continuous else Discrete(2))
    names = property(lambda self: ("speed",) if self.continuous else ("rest", "go"))
    channels = property(lambda self: frozenset({"speed"}))
    continuous: bool = static(default=False)

    def to_command(self, action, spec):
        return Command(speed=action[:, 0] if self.continuous else action.astype(jnp.float32))


def toy_env(
    bonus=0.0,
    lifespan=(1e9,) * COUNT,
    alternating=True,
    continuous=False,
    observable=None,
    **engine,
):
    scenario = Scenario(
        id="Toy-v0",
        world=World(Box((10.0, 10.0)), species=(Species(count=COUNT, radius=0.1),)),
        observable=observable or Clock(),
        task=Toy(jnp.asarray(bonus), jnp.asarray(lifespan), alternating),
        actions=Go(continuous),
        control_interval=0.1,
        horizon=HORIZON,
        baselines={"random": "random"},
        measure_name="x (µm)",
        measure=lambda state, space: state.position[:, 0],
    )
    return SwarmEnv(scenario, ToyEngine(**engine))


plain_loss = PPOConfig.loss

KEYS = PPOConfig(
    hidden=(8,), swarms=8, rollout=3, epochs=1, minibatches=1, discount=0.9, normalise=False
)


def eager_critic(state):
    """The same state with a critic that has an opinion, so that bootstrapping shows."""
    critic = state.policy.critic
    grown = dataclasses.replace(
        critic,
        weights=tuple(3 * w for w in critic.weights),
        biases=tuple(b + 0.7 for b in critic.biases),
    )
    (member,) = state.members
    policy = dataclasses.replace(state.policy, critic=grown)
    return dataclasses.replace(state, members=(dataclasses.replace(member, policy=policy),))


@pytest.fixture
def batches(monkeypatch):
    """The batches that the loss is given, in order; with one minibatch and epoch: rollouts."""
    seen = []

    def watched(config, policy, batch, exploration):
        jax.debug.callback(
            lambda b: seen.append(jax.tree.map(np.asarray, b)),
            jax.lax.stop_gradient(batch),
            ordered=True,
        )
        return plain_loss(config, policy, batch, exploration)

    monkeypatch.setattr(PPOConfig, "loss", watched)
    return seen


def run_updates(learner, count, change=lambda state: state, seed=0):
    """(state, figures per update, policies that acted)"""
    state = change(learner.init(seed))
    figures, policies = [], []
    for _ in range(count):
        policies.append(jax.tree.map(jnp.copy, state.policy))
        state, found = learner.update(state, seed)
        figures.append({name: np.asarray(value).item() for name, value in found.items()})
    jax.effects_barrier()
    return state, figures, policies


def expected_targets(batch, policy, lifespan=np.inf, bonus=0.0):
    """r + γ V(what comes next in this episode), 0 after the end of a life; from the batch alone."""
    age = batch.observation[..., 0]
    sign = sign_of(age)
    reward = batch.action * sign + bonus
    following = np.stack([age + 1, -sign, batch.observation[..., 2]], -1)
    value = np.asarray(policy.value(jnp.asarray(following, jnp.float32)))
    ended = age + 1 >= lifespan
    return reward + KEYS.discount * np.where(ended, 0, value)


@pytest.mark.parametrize("rollout", [3, 12])
def test_targets_pair_actions_with_their_rewards_and_final_observations(batches, rollout):
    """With λ = 0 a target is r(o_t, a_t) + γ V(o_{t+1}), at a truncation with the final o_{t+1}."""
    keys = dataclasses.replace(KEYS, rollout=rollout, gae_lambda=0.0)
    learner = Learner(toy_env(), keys, 10)
    _, figures, policies = run_updates(learner, 3, eager_critic)
    assert len(batches) == 3
    ended = 0
    for batch, policy in zip(batches, policies, strict=True):
        assert batch.target.shape == (rollout, 8, COUNT)
        assert (batch.weight == 1).all()
        assert set(np.unique(batch.action)) == {0, 1}
        np.testing.assert_allclose(batch.target, expected_targets(batch, policy), atol=2e-5)
        value = np.asarray(policy.value(jnp.asarray(batch.observation)))
        np.testing.assert_allclose(batch.advantage, batch.target - value, atol=2e-5)
        age = batch.observation[..., 0]
        assert np.isin(np.diff(age, axis=0), [1, -(HORIZON - 1)]).all()
        ended += (age == HORIZON - 1).sum()
    assert ended > 0
    # The value of a fresh start is another one: mixing the two would have shown.
    fresh = policies[0].value(jnp.asarray([0.0, 1.0, 5.0]))
    final = policies[0].value(jnp.asarray([6.0, 1.0, 5.0]))
    assert abs(float(fresh - final)) > 0.1
    assert not any(f["failed"] for f in figures)


def test_episodes_end_staggered_and_only_whole_ones_are_reported(batches):
    """One is paid per decision: an episode that is seen whole returns the horizon exactly."""
    learner = Learner(toy_env(bonus=1.0, alternating=False), KEYS, 10)
    state, figures, policies = run_updates(learner, 4)
    # Half of the swarms are half an episode old at the start, and end first, but not seen whole.
    assert [f["episodes"] for f in figures] == [0, 4, 4, 4]
    assert np.isnan(figures[0]["episode_return"])
    for batch, f in zip(batches, figures, strict=True):
        assert f["reward"] == pytest.approx(1 + batch.action.mean(), abs=1e-5)
        assert 0 < f["final_measure"] < 10
    # Actions of the two rollouts that make up the episodes that end with the second one.
    both = np.concatenate([batches[0].action, batches[1].action])
    ending = batches[1].observation[-1, :, 0, 0] == HORIZON - 1
    assert ending.sum() == 4
    expected = HORIZON + both[:, ending].mean(axis=2).sum(axis=0).mean()
    assert figures[1]["episode_return"] == pytest.approx(expected, abs=1e-4)
    # Every update made the loss of its own batch smaller, from a policy with which nothing is
    # clipped and nothing has diverged.
    for batch, f, (acted, improved) in zip(
        batches, figures, itertools.pairwise([*policies, state.policy]), strict=True
    ):
        before, after = (
            float(plain_loss(KEYS, p, jax.tree.map(jnp.asarray, batch))[0])
            for p in (acted, improved)
        )
        assert after < before
        assert f["clipped"] == 0
        assert f["kl"] == pytest.approx(0, abs=1e-6)


def test_a_colloid_that_is_done_leaves_the_episode_and_a_done_swarm_restarts(batches):
    lifespan = np.array([1.0, 3.0, 4.0])
    env = toy_env(bonus=1.0, lifespan=lifespan)
    keys = dataclasses.replace(KEYS, rollout=6, gae_lambda=0.0, normalise=True)
    state, figures, policies = run_updates(Learner(env, keys, 10), 3, eager_critic)
    ages = np.concatenate([b.observation[..., 0] for b in batches])
    # All are done after four decisions: the horizon of six is never reached.
    np.testing.assert_array_equal(
        ages, np.broadcast_to(np.arange(18)[:, None, None] % 4, ages.shape)
    )
    for batch, policy in zip(batches, policies, strict=True):
        age = batch.observation[..., 0]
        np.testing.assert_array_equal(batch.weight, (age < lifespan).astype(np.float32))
        inside = batch.weight == 1
        expected = expected_targets(batch, policy, lifespan, bonus=1.0)
        np.testing.assert_allclose(batch.target[inside], expected[inside], atol=2e-5)
    assert [f["episodes"] for f in figures] == [8, 16, 8]
    # Observations are scaled by what those who were in an episode saw in all rollouts.
    seen = np.concatenate([b.observation[b.weight == 1] for b in batches]).astype(float)
    assert float(state.members[0].moments.count) == len(seen)
    np.testing.assert_allclose(state.policy.mean, seen.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(state.policy.deviation, seen.std(axis=0), rtol=1e-4)
    first = batches[0].observation[batches[0].weight == 1].astype(float)
    np.testing.assert_allclose(policies[1].mean, first.mean(axis=0), rtol=1e-5)


def test_a_long_return_is_cut_at_ends_of_lives_and_episodes(batches):
    """γ = λ = 1: a target is the sum of the rewards to the end, plus V where time was up."""
    lifespan = np.array([2.0, 5.0, 1e9])
    keys = dataclasses.replace(KEYS, rollout=12, discount=1.0, gae_lambda=1.0)
    learner = Learner(toy_env(bonus=0.5, lifespan=lifespan), keys, 10)
    _, _, policies = run_updates(learner, 1, eager_critic)
    (batch,) = batches
    age, x = batch.observation[..., 0], batch.observation[..., 2]
    reward = (batch.action * sign_of(age) + 0.5) * batch.weight
    for n in range(COUNT):
        last = int(min(lifespan[n], HORIZON))
        for start in (0, HORIZON):
            rest = reward[start : start + last, :, n]
            end = np.stack([np.full(8, HORIZON), np.ones(8), x[start, :, n]], -1)
            value = policies[0].value(jnp.asarray(end, jnp.float32))
            goes_on = np.where(lifespan[n] > HORIZON, np.asarray(value), 0)
            expected = np.cumsum(rest[::-1], axis=0)[::-1] + goes_on
            found = batch.target[start : start + last, :, n]
            np.testing.assert_allclose(found, expected, atol=5e-5)


def test_equal_seeds_train_bit_equal_policies_and_different_seeds_others():
    learner = Learner(toy_env(), dataclasses.replace(KEYS, epochs=2, minibatches=2), 10)
    one, two, other = (run_updates(learner, 3, seed=s)[0] for s in (7, 7, 8))
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(two), strict=True):
        np.testing.assert_array_equal(a, b)
    weights = [s.policy.actor.weights[0] for s in (one, other)]
    assert not np.array_equal(*weights)
    assert int(one.update) == 3
    assert jax.tree.structure(learner.shapes()) == jax.tree.structure(one)
    for shape, leaf in zip(jax.tree.leaves(learner.shapes()), jax.tree.leaves(one), strict=True):
        assert (shape.shape, shape.dtype) == (leaf.shape, leaf.dtype)


@pytest.mark.parametrize("continuous", [False, True])
def test_what_is_right_alternates_and_is_learned(continuous):
    """Go at even decisions, not at odd ones: paired off by one, the opposite would be learned."""
    env = toy_env(continuous=continuous)
    keys = PPOConfig(hidden=(16,), swarms=32, rollout=6, minibatches=4, learning_rate=1e-2)
    state, _, _ = run_updates(Learner(env, keys, 60), 60)
    best = HORIZON if continuous else HORIZON / 2
    learned = evaluate_agent(env, state.policy, 64)
    assert learned.returns.mean() >= 0.95 * best
    chance = evaluate_agent(env, make_agent("random", env.spec), 64)
    assert abs(chance.returns.mean()) < 0.25 * best


def learned_return(env, keys, updates=60, make=Learner, seed=0):
    """Mean return of what was learned, and the learner with its last state."""
    learner = make(env, keys, updates)
    state = learner.init(seed)
    for _ in range(updates):
        state, _ = learner.update(state, seed)
    return evaluate_agent(env, learner.agent(state), 64).returns.mean(), learner, state


SMALL = {"hidden": (16,), "swarms": 32, "rollout": 6, "minibatches": 4, "learning_rate": 1e-2}


def test_what_cannot_be_seen_must_be_remembered():
    """Without a clock only a recurrent policy can tell even decisions from odd ones."""
    env = toy_env(observable=Where())
    forgetful, _, _ = learned_return(env, PPOConfig(**SMALL))
    remembering, _, _ = learned_return(env, RecurrentPPOConfig(**SMALL, memory=8))
    assert abs(forgetful) < 0.3 * HORIZON / 2
    assert remembering >= 0.95 * HORIZON / 2


@pytest.mark.parametrize(
    ("keys", "continuous", "make"),
    [
        (ReinforceConfig(hidden=(16,), swarms=32, rollout=6), False, Learner),
        (EvolutionConfig(population=16, swarms=2), False, EvolutionLearner),
        (EvolutionConfig(population=16, swarms=2), True, EvolutionLearner),
        (PPOConfig(**SMALL, central=True, epsilon=0.3, curiosity=0.01), False, Learner),
        (PPOConfig(**SMALL, correlation=0.6), True, Learner),
    ],
)
def test_every_way_of_learning_learns(keys, continuous, make):
    found, _, _ = learned_return(toy_env(continuous=continuous), keys, 60, make)
    assert found >= 0.9 * (HORIZON if continuous else HORIZON / 2)


def test_species_with_opposite_aims_need_policies_of_their_own(tmp_path):
    env = toy_env(species=("runner", "rester"))
    shared, _, _ = learned_return(env, PPOConfig(**SMALL))
    # Two runners earn what one rester loses.
    assert shared < 0.5 * HORIZON / 2
    keys = PPOConfig(**SMALL, species=("rester=",))
    apart, learner, state = learned_return(env, keys)
    assert apart >= 0.95 * HORIZON / 2
    team = learner.agent(state)
    assert isinstance(team, Team)
    again = load_agent(save_agent(team, tmp_path / "policy"))
    np.testing.assert_array_equal(
        evaluate_agent(env, again, 8).returns, evaluate_agent(env, team, 8).returns
    )
    with pytest.raises(ConfigError, match="agents for runner, rester; Toy-v0 has the species col"):
        again.check(toy_env().spec)


def test_a_species_with_an_agent_is_not_trained(tmp_path):
    env = toy_env(species=("runner", "rester"))
    learner = Learner(env, PPOConfig(**SMALL, species=("rester=random",)), 40)
    state = learner.init(0)
    for _ in range(40):
        state, figures = learner.update(state, 0)
    assert len(state.members) == 1
    assert float(figures["runner/episode_return"]) > 0.8 * HORIZON / 2
    assert abs(float(figures["rester/episode_return"])) < 0.5
    saved = save_agent(learner.agent(state), tmp_path / "policy")
    again = load_agent(saved, env.spec)
    assert again.sources == ("", "random")
    with pytest.raises(PolicyFileError, match=r"'rester' is made by its name; give .*spec"):
        load_agent(saved)


@pytest.mark.parametrize(
    ("species", "words"),
    [
        (("hunter=random",), "species 'hunter' is not in Toy-v0, which has runner, rester"),
        (("runner=random", "rester=random"), "nothing is left to learn"),
        (("runner",), "species 'runner' must be name=agent"),
        (("runner=", "runner=random"), "each name once"),
        (("runner=randon",), "randon"),
    ],
)
def test_species_that_do_not_fit_are_refused(species, words):
    env = toy_env(species=("runner", "rester"))
    with pytest.raises((ConfigError, UnknownNameError), match=words):
        Learner(env, PPOConfig(species=species, rollout=6), 3)


@pytest.mark.parametrize(
    ("keys", "continuous", "words"),
    [
        ({"epsilon": 0.1}, True, "epsilon is for discrete actions"),
        ({"correlation": 0.1}, False, "correlation is for continuous actions"),
        ({"epsilon": 1.0}, False, r"epsilon must lie in \[0, 1\)"),
        ({"curiosity": -1.0}, False, "curiosity must be at least 0"),
        ({"memory": -1}, False, "memory must be at least 0"),
    ],
)
def test_keys_that_do_not_fit_the_actions_are_refused(keys, continuous, words):
    with pytest.raises(ConfigError, match=words):
        Learner(toy_env(continuous=continuous), PPOConfig(**keys, rollout=6), 3)


def test_an_evaluation_pays_nothing_after_the_end():
    lifespan = (1.0, 3.0, 4.0)
    env = toy_env(bonus=1.0, lifespan=lifespan)
    agent = PPOConfig(hidden=(4,)).build(env.spec)
    bare = dataclasses.replace(agent, actor=jax.tree.map(jnp.zeros_like, agent.actor))
    # It rests; who is left earns 1 per decision, and nobody is left after four.
    np.testing.assert_allclose(evaluate_agent(env, bare, 3).returns, 4.0)
    rollout = record_episode(env, bare)
    np.testing.assert_array_equal(rollout.reward.sum(axis=0), lifespan)


def test_a_step_is_a_decision_of_one_colloid():
    learner = Learner(toy_env(), dataclasses.replace(KEYS, rollout=6), 10)
    assert learner.steps_per_update == 8 * 6 * COUNT


def test_a_rollout_that_does_not_fit_the_horizon_is_refused_with_one_that_does():
    for rollout, better in ((4, 3), (5, 6), (9, 6), (7, 6)):
        with pytest.raises(
            ConfigError, match=f"rollout of {rollout} .*horizon of 6; use {better},"
        ):
            Learner(toy_env(), dataclasses.replace(KEYS, rollout=rollout), 10)
    for rollout in (1, 2, 3, 6, 12):
        Learner(toy_env(), dataclasses.replace(KEYS, rollout=rollout), 10)
    with pytest.raises(ConfigError, match="at least 1 update, got 0"):
        Learner(toy_env(), KEYS, 0)


def test_a_physical_failure_ends_the_training_and_is_written_down(tmp_path, monkeypatch):
    learner = Learner(toy_env(overlap_at=4), KEYS, 4)
    monkeypatch.setattr(training, "make_learner", lambda experiment: learner)
    out = Path(tmp_path / "run")
    with pytest.raises(PhysicsError, match=r"seed 0, update \d: colloids overlapped or diverged"):
        train(TrainConfig(out=out, set=("training.updates=4",), progress=False))
    info = json.loads((out / "run.json").read_text())
    assert info["status"] == "failed"
    assert info["reason"].startswith("PhysicsError: seed 0, update 1")
    assert len((out / "metrics.jsonl").read_text().splitlines()) == 1
