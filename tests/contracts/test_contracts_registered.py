"""Every registered scenario, engine and agent keeps its contract."""

from __future__ import annotations

from typing import Any

import pytest

from swarmctl.core import registry
from swarmctl.core.errors import CapabilityError
from swarmctl.core.world import Box, Species, World
from swarmctl.engines.jax_engine import JaxEngine
from swarmctl.testing import (
    Report,
    check_agent,
    check_engine,
    check_functional,
    check_gym_env,
    check_options,
    check_vector_env,
)

SCENARIOS = registry.scenarios.names()
WORLDS = {
    "2D": World(
        Box((40.0, 40.0)),
        species=(Species("a", 2, speed_max=3), Species("b", 2, radius=1.5, speed_max=3)),
    ),
    "3D": World(Box((30.0, 30.0, 30.0)), species=(Species(count=3, speed_max=3),)),
}
ENGINES = {"jax": JaxEngine}


def assert_clean(report: Report, may_skip: frozenset[str] = frozenset()) -> None:
    assert report.ok, str(report)
    assert report.skipped.keys() <= may_skip, str(report)
    assert report.passed


@pytest.mark.parametrize("name", SCENARIOS)
def test_scenario_keeps_the_functional_contract(name: str, quick_env: Any) -> None:
    assert_clean(check_functional(quick_env(name)))


@pytest.mark.parametrize("name", SCENARIOS)
def test_scenario_refuses_bad_options(name: str) -> None:
    assert_clean(check_options(registry.scenarios[name].load()))


@pytest.mark.parametrize("name", SCENARIOS)
def test_gymnasium_view_keeps_its_contract(name: str, quick_gym: Any) -> None:
    assert_clean(check_gym_env(quick_gym(name, render_mode="rgb_array")))


@pytest.mark.parametrize("name", SCENARIOS)
def test_vector_view_keeps_its_contract(name: str, quick_vector: Any, quick_gym: Any) -> None:
    assert_clean(check_vector_env(lambda mode: quick_vector(name, mode), lambda: quick_gym(name)))


def test_no_engine_is_left_out() -> None:
    assert set(registry.engines.names()) == ENGINES.keys()


@pytest.mark.parametrize("dimension", WORLDS)
@pytest.mark.parametrize("name", ENGINES)
def test_engine_keeps_its_contract(name: str, dimension: str) -> None:
    assert registry.engines[name].load() is ENGINES[name]
    assert_clean(check_engine(ENGINES[name](WORLDS[dimension], 0.02)))


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize("name", registry.agents.names())
def test_agent_keeps_its_contract(name: str, scenario: str, quick_env: Any) -> None:
    report = check_agent(name, quick_env(scenario))
    assert_clean(report, frozenset({"agent.memory-rows"}))


def test_agent_that_does_not_fit_says_so() -> None:
    """The suite does not hide an agent's own refusal."""
    from swarmctl.envs.make import make_env

    env = make_env("Chemotaxis-v0", colloids=2, history=1)
    blind = type(env.spec)(**{**vars(env.spec), "observation_names": ("a", "b", "c")})
    with pytest.raises(CapabilityError, match="field change"):
        registry.agents["run-and-tumble"].load()().build(blind)
