"""PettingZoo's view: one agent per colloid, its own tests, and members that are lost."""

from __future__ import annotations

import dataclasses
import functools
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pettingzoo.test import max_cycles_test, parallel_api_test, parallel_seed_test, render_test

from swarmctl.core.command import Command
from swarmctl.core.contracts import ActionMap, Task
from swarmctl.core.errors import CommandError, ConfigError, SwarmctlError
from swarmctl.core.spec import Continuous, EngineSpec
from swarmctl.core.tree import pytree
from swarmctl.core.world import Box, Placement, Species, World
from swarmctl.engines.jax_engine import JaxEngine
from swarmctl.envs import parallel_env
from swarmctl.envs.gym_env import SwarmGymEnv
from swarmctl.envs.make import make_scenario
from swarmctl.envs.parallel_env import SwarmParallelEnv
from swarmctl.testing.parallel_suite import check_parallel_env
from swarmctl.viz import window

QUICK: dict[str, Any] = {"colloids": 3, "horizon": 6, "control_interval": 0.05}
SPEEDS = (2.0, 2.0, 5.0)


@pytest.fixture(scope="module", autouse=True)
def _quick_compiles() -> Any:
    """What is tested does not depend on how well programs are optimised."""
    before = jax.config.values["jax_disable_most_optimizations"]
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", before)


@pytree
class Swim(ActionMap):
    """One number in [-1, 1]: the speed, from 0 to `speed` [N] µm/s."""

    speed: Any

    @property
    def space(self) -> Continuous:
        return Continuous(1)

    @property
    def names(self) -> tuple[str, ...]:
        return ("speed",)

    @property
    def channels(self) -> frozenset[str]:
        return frozenset({"speed"})

    def to_command(self, action: Any, spec: EngineSpec) -> Command:
        return Command(speed=self.speed * 0.5 * (action[:, 0] + 1))


@pytree
class Leave(Task):
    """Pays the number of the step; colloid i is done after i + 2 steps."""

    def init(self, state: Any, space: Any) -> Any:
        return jnp.zeros(state.capacity, jnp.int32)

    def evaluate(self, state: Any, memory: Any, space: Any) -> Any:
        count = memory + 1
        reward = jnp.where(state.present, count, 0).astype(state.position.dtype)
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


def two_species(task: Any = None) -> Any:
    """Two slow colloids and a fast one, at rest without their action, without noise."""
    scenario = make_scenario("Chemotaxis-v0", **QUICK)
    species = tuple(
        Species(name, count, speed_max=speed, placement=Placement("points", positions=places))
        for name, count, speed, places in (
            ("slow", 2, 2.0, ((20.0, 20.0), (20.0, 40.0))),
            ("fast", 1, 5.0, ((60.0, 60.0),)),
        )
    )
    world = World(
        Box((100.0, 100.0)),
        dataclasses.replace(scenario.world.fluid, temperature=0.0),
        species,
        time_step=0.005,
        contacts=False,
    )
    actions = Swim(jnp.asarray(SPEEDS))
    return dataclasses.replace(scenario, world=world, actions=actions, task=task or Leave())


def everyone(env: SwarmParallelEnv, value: float = 1.0) -> dict[str, Any]:
    return {agent: np.asarray([value], np.float32) for agent in env.agents}


@functools.cache
def leaving() -> SwarmParallelEnv:
    return SwarmParallelEnv(two_species())


@pytest.mark.parametrize("name", ["Chemotaxis-v0", "ChemotaxisContinuous-v0"])
def test_view_keeps_its_contract(name: str) -> None:
    scenario = make_scenario(name, **QUICK)
    world = dataclasses.replace(scenario.world, contacts=False)
    scenario = dataclasses.replace(scenario, world=world)
    report = check_parallel_env(lambda: SwarmParallelEnv(scenario, render_mode="rgb_array"))
    assert report.ok, str(report)
    assert not report.skipped


def test_tests_of_pettingzoo_pass_while_members_leave() -> None:
    parallel_api_test(leaving(), num_cycles=20)
    parallel_seed_test(lambda: SwarmParallelEnv(two_species()), num_cycles=2)


def test_horizon_is_given_as_max_cycles() -> None:
    keys = {"scenario": "Chemotaxis-v0", "colloids": 2, "control_interval": 0.05}
    module = SimpleNamespace(
        parallel_env=functools.partial(parallel_env.parallel_env, **keys),
        env=functools.partial(parallel_env.env, **keys),
    )
    max_cycles_test(module)


@pytest.mark.filterwarnings("ignore:FigureCanvasAgg is non-interactive")
def test_render_modes(monkeypatch: pytest.MonkeyPatch) -> None:
    from matplotlib import pyplot

    pyplot.switch_backend("agg")
    monkeypatch.setattr(window, "_interactive_backend", lambda: "stub")
    render_test(functools.partial(parallel_env.env, scenario="Chemotaxis-v0", **QUICK))
    pyplot.close("all")
    with pytest.raises(ConfigError, match="render_mode 'ansi'"):
        SwarmParallelEnv("Chemotaxis-v0", render_mode="ansi")


def test_species_have_names_and_speeds_of_their_own() -> None:
    env = leaving()
    env.reset(seed=0)
    assert env.agents == ["slow_0", "slow_1", "fast_0"]
    start = np.asarray(env.swarm.position)
    env.step(everyone(env))
    moved = np.linalg.norm(np.asarray(env.swarm.position) - start, axis=1)
    np.testing.assert_allclose(moved, np.asarray(SPEEDS) * 0.05, rtol=1e-3)


def test_members_end_one_by_one_and_rest_in_the_world() -> None:
    env = leaving()
    env.reset(seed=0)
    for t in range(1, 5):
        there, start = list(env.agents), np.asarray(env.swarm.position)
        observations, rewards, terminated, truncated, infos = env.step(everyone(env))
        keys = [set(part) for part in (observations, rewards, terminated, truncated, infos)]
        assert keys == [set(there)] * 5
        assert set(rewards.values()) == {float(t)}
        left = [f"slow_{i}" for i in range(2) if t <= i + 1] + ["fast_0"] * (t <= 3)
        assert [agent for agent in there if terminated[agent]] == [
            agent for agent in there if agent not in env.agents
        ]
        assert env.agents == left
        assert not any(truncated.values())
        moved = np.linalg.norm(np.asarray(env.swarm.position) - start, axis=1)
        acted = np.asarray([name in there for name in env.possible_agents])
        np.testing.assert_allclose(moved, np.asarray(SPEEDS) * 0.05 * acted, atol=1e-4)
    assert env.agents == []
    with pytest.raises(SwarmctlError, match="call reset"):
        env.step({})


def test_a_lost_colloid_is_truncated_and_never_comes_back() -> None:
    scenario = two_species(make_scenario("Chemotaxis-v0", **QUICK).task)
    env = SwarmParallelEnv(scenario, Losing(scenario.world, scenario.control_interval))
    env.reset(seed=0)
    for t in range(1, 7):
        observations, rewards, terminated, truncated, _ = env.step(everyone(env))
        assert not any(terminated.values())
        if t == 2:
            assert truncated == {"slow_0": True, "slow_1": False, "fast_0": False}
            assert not observations["slow_0"].any()
            assert rewards["slow_0"] == 0
        if t > 2:
            assert truncated == dict.fromkeys(("slow_1", "fast_0"), t == 6)
    assert np.asarray(env.swarm.present).all(), "another one is there, and unused"
    assert env.agents == []


def test_it_is_the_world_of_the_gymnasium_view() -> None:
    scenario = make_scenario("Chemotaxis-v0", **QUICK)
    one, many = SwarmGymEnv(scenario), SwarmParallelEnv(scenario)
    flat, rows = one.reset(seed=4)[0], many.reset(seed=4)[0]
    for t in range(3):
        np.testing.assert_array_equal(flat, np.concatenate(list(rows.values())))
        np.testing.assert_array_equal(flat, many.state())
        action = np.asarray([t, 1, 2]) % 4
        flat, _, _, _, info = one.step(action)
        rows, rewards, _, _, _ = many.step(dict(zip(many.agents, action, strict=True)))
        np.testing.assert_array_equal(list(rewards.values()), info["agent_reward"])


def test_actions_are_refused_with_a_word() -> None:
    env = leaving()
    env.reset(seed=0)
    good = everyone(env)
    for bad, says in (
        ({"slow_0": good["slow_0"]}, "missing: fast_0, slow_1; not in the episode: none"),
        ({**good, "slow_9": good["slow_0"]}, "missing: none; not in the episode: slow_9"),
        ({**good, "fast_0": np.zeros(2)}, "action of fast_0: expected numbers of shape"),
        ({**good, "fast_0": np.asarray([np.nan])}, "action: nan at index"),
    ):
        with pytest.raises(CommandError, match=says):
            env.step(bad)
