"""Planted defects are found by exactly the right rule, and a healthy twin gives no alarm."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium
import jax
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

from swarmctl.testing import check_functional, check_gym_env, check_vector_env
from swarmctl.testing.functional_suite import suite
from swarmctl.testing.rollout import FunctionalCase
from swarmctl.testing.target import loaded_file

NAME = "Chemotaxis-v0"


@pytest.fixture(scope="module", autouse=True)
def _quick_compiles() -> Iterator[None]:
    """Defects do not depend on how well their programs are optimised."""
    before = jax.config.values["jax_disable_most_optimizations"]
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", before)


@pytest.fixture(scope="module")
def broken() -> Iterator[Any]:
    with loaded_file(Path(__file__).with_name("broken_chemotaxis.py")) as module:
        yield module


def test_healthy_twin_gives_no_alarm(free_env: Any, broken: Any) -> None:
    report = check_functional(broken.Twin(free_env(NAME)))
    assert report.ok, str(report)
    assert not report.skipped


@pytest.mark.parametrize(
    ("defect", "rule", "says"),
    [
        ("Swapped", "terminated-truncated", "swapped"),
        ("RewardLate", "reward-timing", "one step late"),
        ("KeyTwice", "keys-used-once", "used twice"),
        ("KeyKept", "noise-fresh", "different keys"),
        ("NotFinite", "finite-observation", "nan"),
        ("InPlace", "state-not-changed", "state that was handed in"),
        ("WrongShape", "shapes", r"reward is float32\[3, 1\], not float32\[3\]"),
        ("Unseeded", "seeded", "compiled anew"),
    ],
)
def test_planted_defect_is_found_by_its_rule_alone(
    defect: str, rule: str, says: str, free_env: Any, broken: Any
) -> None:
    report = check_functional(getattr(broken, defect)(free_env(NAME)))
    assert report.broken == {f"functional.{rule}"}, str(report)
    assert any(re.search(says, finding.message) for finding in report.findings), str(report)
    assert all(finding.remedy for finding in report.findings)


@pytest.mark.parametrize(
    ("defect", "rule", "says"),
    [
        ("ResetsItself", "never-resets", "says step 0"),
        ("Hidden", "state-not-changed", "attribute 'count'"),
    ],
)
def test_other_defects_break_the_rule_that_names_them(
    defect: str, rule: str, says: str, free_env: Any, broken: Any
) -> None:
    case = FunctionalCase(getattr(broken, defect)(free_env(NAME)))
    check = {r.name: r.check for r in suite.rules}[f"functional.{rule}"]
    assert any(says in message for message in check(case))


def test_wrong_number_of_names_is_found(free_env: Any, broken: Any) -> None:
    case = FunctionalCase(broken.replace_names(free_env(NAME), ("one", "two")))
    check = {r.name: r.check for r in suite.rules}["functional.names"]
    assert list(check(case)) == ["2 names for 12 numbers"]


def test_lost_final_observation_is_found_by_its_rule_alone(quick_vector: Any, broken: Any) -> None:
    spoilt = quick_vector(NAME, AutoresetMode.SAME_STEP)
    broken.lose_final_observation(spoilt)
    try:
        report = check_vector_env(lambda mode: quick_vector(NAME, mode))
    finally:
        del spoilt.step
    assert report.broken == {"vector.final-observation"}, str(report)
    assert "that of the new episode" in str(report)


class _Reused(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Returns the same array from every call."""

    def __init__(self, env: Any) -> None:
        super().__init__(env)
        self.buffer = np.zeros(env.observation_space.shape, np.float32)

    def reset(self, **kwargs: Any) -> Any:
        observation, info = self.env.reset(**kwargs)
        self.buffer[:] = observation
        return self.buffer, info

    def step(self, action: Any) -> Any:
        observation, *rest = self.env.step(action)
        self.buffer[:] = observation
        return self.buffer, *rest


class _Clipping(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Clips bad actions silently."""

    def step(self, action: Any) -> Any:
        action = np.nan_to_num(np.resize(action, self.action_space.shape), nan=0.0)
        return self.env.step(np.clip(action, 0, 3).astype(np.int64))


@pytest.mark.parametrize(("wrapper", "rule"), [(_Reused, "own-arrays"), (_Clipping, "refusals")])
def test_broken_gymnasium_environment_is_found(wrapper: Any, rule: str, quick_gym: Any) -> None:
    report = check_gym_env(wrapper(quick_gym(NAME)))
    assert report.broken == {f"gym.{rule}"}, str(report)
