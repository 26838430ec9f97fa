"""Small environments that the contract tests share, so that each is compiled once."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import gymnasium
import pytest
from gymnasium.vector import AutoresetMode

import swarmctl.envs  # noqa: F401 - registers the scenarios with Gymnasium
from swarmctl.envs.functional import SwarmEnv
from swarmctl.envs.make import make_env, make_scenario
from swarmctl.envs.vector_env import SwarmVectorEnv

QUICK: dict[str, Any] = {"colloids": 3, "horizon": 5, "control_interval": 0.05}


@functools.cache
def functional(name: str) -> SwarmEnv:
    return make_env(name, **QUICK)


@functools.cache
def free(name: str) -> SwarmEnv:
    """The same without contacts, which compiles faster."""
    scenario = make_scenario(name, **QUICK)
    world = dataclasses.replace(scenario.world, contacts=False)
    return make_env(dataclasses.replace(scenario, world=world))


@functools.cache
def vector(name: str, mode: AutoresetMode) -> SwarmVectorEnv:
    return SwarmVectorEnv(name, num_envs=3, autoreset_mode=mode, **QUICK)


@pytest.fixture
def quick_env() -> Any:
    """Return the functional environment of a scenario, small and with a short horizon."""
    return functional


@pytest.fixture
def free_env() -> Any:
    """Return the functional environment of a scenario without contacts, which compiles faster."""
    return free


@pytest.fixture
def quick_vector() -> Any:
    """Return a vector environment of a scenario in an autoreset mode."""
    return vector


@pytest.fixture
def quick_gym() -> Any:
    """Make a Gymnasium environment of a scenario."""
    return lambda name, **more: gymnasium.make(f"swarmctl/{name}", **QUICK, **more)
