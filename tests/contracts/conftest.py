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
CHANGED: dict[str, dict[str, Any]] = {
    "PredatorPrey-v0": {"predators": 1},
    "RotateRod-v0": {"control_interval": 0.045},
    "SpeciesSearch-v0": {"control_interval": 0.04},
    "Forage-v0": {"control_interval": 0.04},
    "TransportRod-v0": {"control_interval": 0.045},
}
"""Keys of scenarios that cannot have those of QUICK, or need others as well."""


def quick(name: str) -> dict[str, Any]:
    return QUICK | CHANGED.get(name, {})


@functools.cache
def functional(name: str) -> SwarmEnv:
    return make_env(name, **quick(name))


@functools.cache
def free(name: str) -> SwarmEnv:
    """The same without contacts, which compiles faster."""
    scenario = make_scenario(name, **quick(name))
    world = dataclasses.replace(scenario.world, contacts=False)
    return make_env(dataclasses.replace(scenario, world=world))


@functools.cache
def vector(name: str, mode: AutoresetMode) -> SwarmVectorEnv:
    return SwarmVectorEnv(name, num_envs=3, autoreset_mode=mode, **quick(name))


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
    return lambda name, **more: gymnasium.make(f"swarmctl/{name}", **quick(name), **more)
