"""Front doors: scenarios by id, environments as functions or as Gymnasium environments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from swarmctl.core import registry
from swarmctl.core.config import build
from swarmctl.core.contracts import Engine, PureEngine
from swarmctl.core.errors import CapabilityError, ConfigError
from swarmctl.envs.functional import SwarmEnv
from swarmctl.envs.scenario import Scenario, ScenarioConfig


def scenario_config(name: str, options: Mapping[str, Any] | None = None) -> ScenarioConfig:
    """Return the configuration of a scenario with some keys changed; quantities may be texts with
    units.

    `name` is a scenario id, with or without "swarmctl/" in front. Raises UnknownNameError with the
    nearest name.
    """
    config_class = registry.scenarios[name.removeprefix("swarmctl/")].load()
    return build(config_class, dict(options or {}), "")


def as_scenario(scenario: str | Scenario, options: Mapping[str, Any]) -> Scenario:
    """Return a scenario given by its id and keys, or made already.

    Raises ConfigError for keys beside a scenario that is made already.
    """
    if isinstance(scenario, str):
        return make_scenario(scenario, **options)
    if options:
        raise ConfigError(
            f"{', '.join(options)}: this scenario is made already and takes no keys; give its id "
            "instead, or change it where it is made."
        )
    return scenario


def make_scenario(name: str, **options: Any) -> Scenario:
    """Build a scenario by its id.

    >>> make_scenario("Chemotaxis-v0", colloids=3, radius="1.5 um").world.capacity
    3
    """
    return scenario_config(name, options).build()


def make_engine(name: str, scenario: Scenario, **options: Any) -> Engine:
    """Build an engine by its name for a scenario."""
    engine_class = registry.engines[name].load()
    return engine_class(scenario.world, scenario.control_interval, **options)


def make_env(scenario: str | Scenario, engine: str = "jax", **options: Any) -> SwarmEnv:
    """Return the functional environment: `reset(key, params)` and `step(key, state, action,
    params)`.

    Raises UnknownNameError, ConfigError, or CapabilityError if the engine is not made of pure
    functions.

    >>> import jax
    >>> env = make_env("Chemotaxis-v0", colloids=3)
    >>> params = env.params()
    >>> observation, state = env.reset(jax.random.key(0), params)
    >>> observation.shape
    (3, 12)
    """
    made = as_scenario(scenario, options)
    built = make_engine(engine, made)
    if not isinstance(built, PureEngine):
        raise CapabilityError(
            f"engine {engine!r} is not made of pure functions; use swarmctl.make for its "
            "Gymnasium environment."
        )
    return SwarmEnv(made, built)


def make(scenario: str | Scenario, engine: str = "jax", **options: Any) -> Any:
    """Return the Gymnasium environment of a scenario on an engine; `render_mode` and the scenario's
    keys are options.

    >>> env = make("Chemotaxis-v0", colloids=3)
    >>> observation, info = env.reset(seed=0)
    >>> observation.shape
    (36,)
    """
    from swarmctl.envs.gym_env import SwarmGymEnv

    return SwarmGymEnv(scenario, engine, **options)
