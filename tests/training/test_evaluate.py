"""One function evaluates every agent, with equal starts and noise, as a Python loop would."""

import dataclasses
import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from swarmctl.agents.deep.ppo import PPOConfig
from swarmctl.agents.options import make_agent
from swarmctl.agents.saving import save_agent
from swarmctl.core.contracts import Agent, AgentInputs
from swarmctl.core.errors import (
    CapabilityError,
    ConfigError,
    PhysicsError,
    PolicyFileError,
    UnknownNameError,
)
from swarmctl.core.state import Space
from swarmctl.core.tree import pytree
from swarmctl.core.world import Placement
from swarmctl.engines.jax_engine import JaxEngine
from swarmctl.envs.functional import SwarmEnv
from swarmctl.envs.gym_env import SwarmGymEnv
from swarmctl.envs.make import make_env, make_scenario
from swarmctl.training.configs import EvaluateConfig, RenderConfig
from swarmctl.training.evaluate import (
    act_and_step,
    evaluate,
    evaluate_agent,
    find_agent,
    record_episode,
)
from swarmctl.training.experiment import experiment_from_tables
from swarmctl.training.record import render

KEYS = {"colloids": 3, "horizon": 24}
SMALL = ("scenario.colloids=3", "scenario.horizon=24")


@pytest.fixture(scope="module", autouse=True)
def quick_compilation():
    """These programs are small: compiling takes far longer than running them."""
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", before)


@pytest.fixture(scope="module")
def env():
    return make_env("Chemotaxis-v0", **KEYS)


def test_equal_seeds_give_equal_results_and_others_differ(env):
    agent = make_agent("gradient-climber", env.spec)
    one, again, other = (evaluate_agent(env, agent, 6, seed) for seed in (5, 5, 6))
    np.testing.assert_array_equal(one.returns, again.returns)
    np.testing.assert_array_equal(one.measure, again.measure)
    assert not np.array_equal(one.returns, other.returns)
    assert one.returns.shape == (6,)
    assert one.measure.shape == (6, 24)
    np.testing.assert_allclose(one.final_measure, one.measure[:, -6:].mean(axis=1))
    assert len(set(one.returns)) == 6


def test_every_agent_meets_the_same_starts_and_the_same_noise(env):
    """Turning on the spot moves nobody, so the paths must be those of resting colloids."""
    rest, turn = (
        evaluate_agent(env, make_agent("constant", env.spec, action=action), 6, 3)
        for action in ("rest", "turn left")
    )
    np.testing.assert_allclose(rest.measure, turn.measure, atol=1e-3)
    np.testing.assert_allclose(rest.returns, turn.returns, atol=1e-4)
    assert rest.measure.std() > 0


def test_returns_are_the_rewards_and_the_measure_that_of_the_states(env):
    """The unrectified reward telescopes: a return is the climb of the mean concentration."""
    agent = make_agent("random", env.spec)
    rollout = record_episode(env, agent, seed=4)
    assert rollout.reward.shape == (24, 3)
    field = env.scenario.task.field
    params = env.params()
    values = [
        np.asarray(field.value(jnp.asarray(rollout.states.position[t]), env.space(params)))
        for t in (0, -1)
    ]
    scale = float(env.scenario.task.scale)
    np.testing.assert_allclose(
        rollout.reward.sum(axis=0), scale * (values[1] - values[0]), atol=1e-4
    )
    # Frame t + 1 is what followed the observation of frame t.
    assert rollout.states.step.tolist() == list(range(25))
    change = rollout.observation[1:, :, 0]
    speed = 2.0 * 0.2 / 50.0
    np.testing.assert_allclose(change * speed * scale, rollout.reward[:-1], atol=1e-4)


def fixed_start(name, boundary="periodic"):
    """A scenario without noise that always starts from the same places and directions."""
    scenario = make_scenario(name, temperature=0.0, boundary=boundary, **KEYS)
    (species,) = scenario.world.species
    placement = Placement(
        "points",
        positions=((80.0, 80.0), (170.0, 120.0), (110.0, 190.0)),
        directors=((1.0, 0.3), (-0.2, 1.0), (-1.0, -1.0)),
    )
    world = dataclasses.replace(
        scenario.world, species=(dataclasses.replace(species, placement=placement),)
    )
    return dataclasses.replace(scenario, world=world)


@pytest.mark.parametrize(
    ("name", "agent_name"),
    [
        ("Chemotaxis-v0", "gradient-climber"),
        ("ChemotaxisContinuous-v0", "steer-to-source"),
    ],
)
def test_a_python_loop_around_the_gymnasium_environment_earns_the_same(name, agent_name):
    scenario = fixed_start(name)
    env = make_env(scenario)
    agent = make_agent(agent_name, env.spec)
    expected = evaluate_agent(env, agent, 2, seed=0).returns
    assert expected[0] == pytest.approx(expected[1], abs=1e-5)
    assert abs(expected[0]) > 0.01

    gym = SwarmGymEnv(scenario)
    space = Space(jnp.asarray(gym.engine.spec.box, jnp.float32), gym.engine.spec.periodic)
    act = jax.jit(agent.act, static_argnames="deterministic")
    flat, _ = gym.reset(seed=1)
    memory, total, truncated = agent.init_memory(env.spec), 0.0, False
    while not truncated:
        inputs = AgentInputs(gym.swarm, jnp.asarray(flat.reshape(3, -1)), space)
        action, memory = act(inputs, memory, jax.random.key(0), deterministic=True)
        flat, reward, terminated, truncated, _ = gym.step(np.asarray(action))
        assert not terminated
        total += reward
    gym.close()
    assert total == pytest.approx(expected[0], abs=2e-3)


class Relay(JaxEngine):
    """From its second decision on, another colloid is in slot 1."""

    def observe_state(self, state, params):
        seen = super().observe_state(state, params)
        other = jnp.where(state.step >= 2, 100, 0) * (jnp.arange(3) == 1)
        return dataclasses.replace(seen, identity=seen.identity + other.astype(jnp.int32))


@pytree
class Counting(Agent):
    """Counts its decisions per colloid, and rests."""

    output = "action"

    def init_memory(self, spec):
        return {"decisions": jnp.zeros(spec.engine.capacity, jnp.int32)}

    def act(self, inputs, memory, key, deterministic=False):
        return jnp.full(3, 3), {"decisions": memory["decisions"] + 1}


def test_a_newcomer_does_not_inherit_memory():
    scenario = make_scenario("Chemotaxis-v0", **KEYS)
    env = SwarmEnv(scenario, Relay(scenario.world, scenario.control_interval))
    params, agent = env.params(), Counting()
    observation, state = env.reset(jax.random.key(0), params)
    carry = (observation, state, agent.init_memory(env.spec))
    step = jax.jit(lambda carry, key: act_and_step(env, agent, params, True, carry, key))
    counts = []
    for t in range(4):
        carry, _ = step(carry, jax.random.key(t))
        counts.append(carry[2]["decisions"].tolist())
    assert counts == [[1, 1, 1], [2, 0, 2], [3, 1, 3], [4, 2, 4]]


def test_agents_do_not_influence_one_another_and_figures_are_written(tmp_path):
    out = tmp_path / "new" / "figures.json"
    names = ("random", "gradient-climber")
    one = evaluate(EvaluateConfig(names, set=SMALL, episodes=5, out=out))
    assert list(one) == list(names)
    alone = evaluate(EvaluateConfig(names[1:], set=SMALL, episodes=5))
    assert alone == {names[1]: one[names[1]]}
    written = json.loads(out.read_text())
    assert written["scenario"] == "Chemotaxis-v0"
    assert written["episodes"] == 5
    for name in names:
        mean, low, high = written["results"][name]["return"]
        assert (mean, low, high) == one[name]["return"]
        assert low < mean < high


@pytest.mark.parametrize("changed", ["agent.hidden=[4]", "training.updates=3"])
def test_keys_that_an_evaluation_would_not_heed_are_refused(changed, tmp_path):
    with pytest.raises(ConfigError, match=r"evaluate: --set .* would change nothing.*train"):
        evaluate(EvaluateConfig(("random",), set=(*SMALL, changed)))
    with pytest.raises(ConfigError, match=r"render: --set .* would change nothing"):
        render(RenderConfig("random", tmp_path / "out", set=(changed,)))
    assert not (tmp_path / "out").exists()


def test_a_single_episode_has_no_interval_and_its_file_is_still_json(tmp_path):
    out = tmp_path / "figures.json"
    found = evaluate(EvaluateConfig(("random",), set=SMALL, episodes=1, out=out))
    assert np.isnan(found["random"]["return"][1:]).all()

    def forbidden(name):
        raise AssertionError(f"{name} is not JSON")

    written = json.loads(out.read_text(), parse_constant=forbidden)
    assert written["results"]["random"]["return"][1:] == [None, None]


def test_a_policy_takes_its_scenario_with_it_wherever_it_is_copied(tmp_path):
    tables = {"scenario": {"name": "Chemotaxis-v0", "colloids": 2, "horizon": 8, "history": 1}}
    experiment = experiment_from_tables(tables)
    policy = PPOConfig(hidden=(4,)).build(experiment.env().spec)
    folder = save_agent(policy, tmp_path / "run" / "policy", experiment.tables())
    moved = shutil.copytree(folder, tmp_path / "elsewhere" / "mine")
    # What happens to lie around there is not asked.
    (tmp_path / "elsewhere" / "config.toml").write_text('title = "my website"\n')
    expected = evaluate_agent(experiment.env(), policy, 4, seed=7)
    found = evaluate(EvaluateConfig((str(moved),), episodes=4, seed=7))
    assert found[str(moved)]["return"][0] == pytest.approx(expected.returns.mean(), abs=1e-6)


def test_agents_are_found_by_name_or_folder_and_mistakes_are_named(env, tmp_path):
    assert find_agent("constant", env, {"action": "rest"}).action == 3
    with pytest.raises(ConfigError, match="'ppo' must be trained first; give the folder"):
        find_agent("ppo", env)
    with pytest.raises(UnknownNameError, match="Did you mean 'gradient-climber'"):
        find_agent("gradient-climbr", env)
    with pytest.raises(UnknownNameError, match="Did you mean 'gradient-climber'"):
        evaluate(EvaluateConfig(("gradient-climbr",)))
    with pytest.raises(PolicyFileError, match="no such file or folder"):
        find_agent(str(tmp_path / "none"), env)
    with pytest.raises(ConfigError, match="episodes must be at least 1, got 0"):
        evaluate_agent(env, make_agent("random", env.spec), 0)
    policy = PPOConfig(hidden=(4,)).build(make_env("ChemotaxisContinuous-v0", **KEYS).spec)
    folder = save_agent(policy, tmp_path / "policy")
    for act in (
        lambda: find_agent(str(folder), env),
        lambda: evaluate_agent(env, policy, 2),
        lambda: record_episode(env, policy),
    ):
        with pytest.raises(PolicyFileError, match=r"Continuous\(size=2\).*Discrete\(n=4\)"):
            act()
    with pytest.raises((CapabilityError, ConfigError), match="action"):
        find_agent("constant", env, {"action": "jump"})


class Breaking(JaxEngine):
    """Reports an overlap in its third interval."""

    def advance(self, key, state, command, params):
        state, applied, flags = super().advance(key, state, command, params)
        return state, applied, dataclasses.replace(flags, overlap=state.step == 3)


def test_a_motion_that_failed_gives_no_figures():
    scenario = make_scenario("Chemotaxis-v0", **KEYS)
    env = SwarmEnv(scenario, Breaking(scenario.world, scenario.control_interval))
    agent = make_agent("random", env.spec)
    with pytest.raises(PhysicsError, match="overlapped or diverged in 2 of 2 swarms"):
        evaluate_agent(env, agent, 2)
    with pytest.raises(PhysicsError, match="overlapped or diverged"):
        record_episode(env, agent)
