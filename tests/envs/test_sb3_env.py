"""Stable-Baselines3's view: every colloid a slot, ends and padding told apart, learners agree."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from stable_baselines3 import DQN, PPO
from stable_baselines3.common.env_checker import check_env
from stable_baselines3.common.vec_env import VecMonitor, VecNormalize

import swarmctl.envs  # noqa: F401 - registers the scenarios with Gymnasium
from swarmctl.core.contracts import Task
from swarmctl.core.errors import ConfigError, MissingExtraError, SwarmctlError
from swarmctl.core.extras import import_extra
from swarmctl.core.tree import pytree
from swarmctl.engines.jax_engine import JaxEngine
from swarmctl.envs.make import make_sb3, make_scenario
from swarmctl.envs.sb3_env import SwarmVecEnv
from swarmctl.testing.sb3_suite import check_sb3_env

QUICK: dict[str, Any] = {"colloids": 3, "horizon": 5, "control_interval": 0.05}
N, SWARMS, HORIZON = 3, 2, 6


@pytest.fixture(scope="module", autouse=True)
def _quick_compiles() -> Any:
    """What is tested does not depend on how well programs are optimised."""
    before = jax.config.values["jax_disable_most_optimizations"]
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", before)


@pytree
class Leave(Task):
    """Pays 1 for every step; colloid i is done after i + 2 of them."""

    def init(self, state: Any, space: Any) -> Any:
        return jnp.zeros(state.capacity, jnp.int32)

    def evaluate(self, state: Any, memory: Any, space: Any) -> Any:
        count = memory + 1
        reward = jnp.where(state.present, 1.0, 0.0).astype(state.position.dtype)
        return reward, state.present & (count == jnp.arange(state.capacity) + 2), count


class Losing(JaxEngine):
    """Loses sight of colloid 0 after 2 steps, and finds another one there after 4."""

    def observe_state(self, state: Any, params: Any) -> Any:
        swarm = super().observe_state(state, params)
        first = jnp.arange(swarm.capacity) == 0
        gone = first & (swarm.step >= 2) & (swarm.step < 4)
        new = jnp.where(first & (swarm.step >= 4), swarm.capacity, 0)
        return dataclasses.replace(
            swarm, present=swarm.present & ~gone, identity=swarm.identity + new
        )


class Replacing(JaxEngine):
    """From step 2 on, another colloid is where colloid 0 was."""

    def observe_state(self, state: Any, params: Any) -> Any:
        swarm = super().observe_state(state, params)
        new = jnp.where((jnp.arange(swarm.capacity) == 0) & (swarm.step >= 2), swarm.capacity, 0)
        return dataclasses.replace(swarm, identity=swarm.identity + new)


def leaving(colloids: int = N, horizon: int = HORIZON) -> Any:
    scenario = make_scenario(
        "Chemotaxis-v0", colloids=colloids, horizon=horizon, control_interval=0.05, history=1
    )
    world = dataclasses.replace(scenario.world, contacts=False)
    return dataclasses.replace(scenario, task=Leave(), world=world)


@functools.cache
def leaving_env() -> SwarmVecEnv:
    return SwarmVecEnv(leaving(), SWARMS, pool=3)


def run(env: Any, steps: int, action: int = 1) -> list[Any]:
    env.seed(0)
    results: list[Any] = [env.reset()]
    return results + [env.step(np.full(env.num_envs, action)) for _ in range(steps)]


@pytest.mark.parametrize("name", ["Chemotaxis-v0", "ChemotaxisContinuous-v0"])
def test_central_controller_passes_the_checker_of_sb3(name: str) -> None:
    env = gymnasium.make(f"swarmctl/{name}", render_mode="rgb_array", **QUICK).unwrapped
    check_env(env)
    env.close()


@pytest.mark.parametrize("name", ["Chemotaxis-v0", "ChemotaxisContinuous-v0"])
def test_slots_keep_their_contract(name: str) -> None:
    def make(**changes: Any) -> SwarmVecEnv:
        scenario = make_scenario(name, **{**QUICK, **changes})
        world = dataclasses.replace(scenario.world, contacts=False)
        scenario = dataclasses.replace(scenario, world=world)
        return SwarmVecEnv(scenario, 2, render_mode="rgb_array", pool=3)

    report = check_sb3_env(make)
    assert report.ok, str(report)
    assert set(report.skipped) == {"sb3.padding"}


def test_slots_with_early_ends_keep_their_contract() -> None:
    report = check_sb3_env(lambda horizon=4: SwarmVecEnv(leaving(5, horizon), 2, pool=3))
    assert report.ok, str(report)
    assert not report.skipped


def test_an_episode_ends_once_and_padding_is_marked_until_the_swarm_restarts() -> None:
    """Colloid i is done after i + 2 steps; when the last is, after 4, the swarm restarts."""
    results = run(leaving_env(), 10)
    for t, (observation, reward, done, infos) in enumerate(results[1:], 1):
        now = (t - 1) % 4 + 1
        inside = now <= np.tile(np.arange(N) + 2, SWARMS)
        ends = now == np.tile(np.arange(N) + 2, SWARMS)
        np.testing.assert_array_equal(done, ends)
        np.testing.assert_array_equal(reward, inside.astype(np.float32))
        assert [info.get("padding", False) for info in infos] == (~inside).tolist()
        assert [info.get("TimeLimit.truncated") for info in infos] == [
            False if end else None for end in ends
        ]
        idle = (ends | ~inside) & (now < 4)
        assert not observation[idle].any()
        assert observation[~idle & (now < 4)].any(axis=1).all()


def test_actions_of_padding_move_nothing() -> None:
    env = leaving_env()
    run(env, 2)
    before = np.asarray(env.swarm_states.director)[:, 0]
    env.step(np.zeros(env.num_envs, int))
    after = np.asarray(env.swarm_states.director)
    turned = np.arccos(np.clip(np.sum(before * after[:, 0], -1), -1, 1))
    assert (turned < 0.1).all(), "only diffusion is left; a turn would be 0.16 rad"


def test_a_lost_colloid_is_truncated_and_the_next_one_there_is_new() -> None:
    scenario = make_scenario("Chemotaxis-v0", **{**QUICK, "horizon": 8})
    env = SwarmVecEnv(scenario, engine=Losing(scenario.world, scenario.control_interval), pool=2)
    results = run(env, 8)
    rewards, dones = (np.stack([r[k] for r in results[1:]]) for k in (1, 2))
    # Slot 0: lost in step 2, padding in 3 and 4, seen again after 4, ends at the horizon.
    assert np.flatnonzero(dones[:, 0]).tolist() == [1, 7]
    assert np.flatnonzero(dones[:, 1]).tolist() == [7]
    info = results[2][3][0]
    assert info["TimeLimit.truncated"] is True
    np.testing.assert_array_equal(info["terminal_observation"], results[1][0][0])
    assert [r[3][0].get("padding", False) for r in results[1:]] == [0, 0, 1, 1, 0, 0, 0, 0]
    assert not rewards[1:4, 0].any()
    assert rewards[4:, 0].all()


def test_a_colloid_that_another_replaces_ends_at_once() -> None:
    scenario = make_scenario("Chemotaxis-v0", **{**QUICK, "horizon": 4})
    env = SwarmVecEnv(scenario, engine=Replacing(scenario.world, scenario.control_interval), pool=2)
    results = run(env, 4)
    assert [bool(r[2][0]) for r in results[1:]] == [False, True, False, True]
    np.testing.assert_array_equal(results[2][3][0]["terminal_observation"], results[1][0][0])
    assert not any("padding" in r[3][0] for r in results[1:])
    assert results[2][1][0] == 0, "the step in which it was lost pays nothing"


def test_live_rollouts_hold_no_padding_and_the_same_advantages() -> None:
    env = VecMonitor(leaving_env())
    sizes = {"n_steps": 8, "batch_size": 6, "n_epochs": 1, "policy_kwargs": {"net_arch": [4]}}
    plain, live = (
        PPO("MlpPolicy", env, seed=1, **buffer, **sizes).learn(8 * env.num_envs)
        for buffer in ({}, leaving_env().on_policy_buffer())
    )
    # 2 + 3 + 4 steps of 3 x 4 in every episode.
    buffer = live.rollout_buffer
    assert int(buffer.live.sum()) == 2 * SWARMS * 9
    handed = list(buffer.get(6))
    assert sum(len(part.returns) for part in handed) == 2 * SWARMS * 9
    assert all(np.isin(part.returns.numpy(), buffer.returns).all() for part in handed)
    flat = plain.rollout_buffer.swap_and_flatten(buffer.live).reshape(-1)
    np.testing.assert_array_equal(
        plain.rollout_buffer.advantages.reshape(-1)[flat], buffer.advantages.reshape(-1)[flat]
    )


def test_live_replay_holds_no_padding() -> None:
    env = leaving_env()
    model = DQN(
        "MlpPolicy",
        env,
        buffer_size=50,
        learning_starts=10**6,
        policy_kwargs={"net_arch": [4]},
        **env.off_policy_buffer(),
    )
    env.seed(0)
    model.learn(8 * env.num_envs)
    buffer = model.replay_buffer
    assert buffer.size() == 2 * SWARMS * 9
    assert (buffer.rewards[: buffer.size()] == 1).all()
    assert buffer.dones[: buffer.size()].sum() == 2 * SWARMS * N
    model.learn(8 * env.num_envs, reset_num_timesteps=False)
    assert buffer.full
    assert (buffer.rewards == 1).all()
    assert buffer.sample(64).observations.shape == (64, 3)


def test_a_model_with_these_buffers_is_saved_and_learns_on(tmp_path: Any) -> None:
    env = leaving_env()
    kwargs = env.on_policy_buffer()
    model = PPO("MlpPolicy", env, n_steps=4, batch_size=24, **kwargs)
    model.save(tmp_path / "model")
    again = PPO.load(tmp_path / "model", env, **kwargs)
    again.learn(4 * env.num_envs)
    assert again.rollout_buffer.live.any()


def test_buffer_of_another_environment_is_refused() -> None:
    other = SwarmVecEnv(leaving(2), 1, pool=1)
    with pytest.raises(ConfigError, match="slots are those of an environment with 2"):
        PPO("MlpPolicy", leaving_env(), **other.on_policy_buffer())


def test_normalised_and_monitored_slots_are_learned_from() -> None:
    env = VecNormalize(VecMonitor(leaving_env()))
    model = PPO("MlpPolicy", env, n_steps=8, batch_size=24, n_epochs=1).learn(48)
    assert model.ep_info_buffer is not None
    assert sorted(info["r"] for info in model.ep_info_buffer) == [2] * 4 + [3] * 4 + [4] * 4


def test_bad_arguments_and_wrong_order_are_refused() -> None:
    for options in ({"swarms": 0}, {"pool": 0}, {"swarms": 1.5}, {"render_mode": "human"}):
        with pytest.raises(ConfigError, match=next(iter(options))):
            make_sb3("Chemotaxis-v0", **options)
    env = SwarmVecEnv(leaving(), pool=1)
    with pytest.raises(SwarmctlError, match="call reset"):
        env.step(np.zeros(N, int))
    with pytest.raises(ConfigError, match="leave indices out"):
        env.set_attr("remark", 1, indices=0)


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "stable_baselines3", None)
    with pytest.raises(MissingExtraError, match=r'pip install "swarmctl\[sb3\]"'):
        import_extra("sb3")
