"""Checking scenarios: their functional environment, and the options of registered ones."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from swarmctl.core import registry
from swarmctl.core.config import build, describe
from swarmctl.core.errors import ConfigError, SwarmctlError, UnitError, UnknownNameError
from swarmctl.envs.functional import SwarmEnv
from swarmctl.envs.make import make_env
from swarmctl.envs.scenario import Scenario, ScenarioConfig
from swarmctl.testing import functional_suite
from swarmctl.testing.report import Report, Suite
from swarmctl.testing.rollout import FunctionalCase, FunctionalEnv

options_suite: Suite[type[ScenarioConfig]] = Suite("options")


def check_scenario(
    scenario: str | Scenario | ScenarioConfig | FunctionalEnv, **options: Any
) -> Report:
    """Check a scenario, or an environment in functional form, against decision 0001.

    Args:
        scenario: id of a registered scenario, a Scenario or its configuration (run on the JAX
            engine), or an object
            with the functional interface (`reset`, `step`, `params`, `space`, `swarm`, `spec`,
            `scenario`).
        options: keys of a registered scenario.
    The episode is run to its horizon, so that a short horizon makes a quick check.
    """
    if isinstance(scenario, ScenarioConfig):
        scenario = scenario.build()
    if isinstance(scenario, str):
        name = scenario.removeprefix("swarmctl/")
        config_class = registry.scenarios[name].load()
        return check_functional(make_env(name, **options)) + check_options(config_class)
    if isinstance(scenario, Scenario):
        return check_functional(make_env(scenario))
    return check_functional(scenario)


def check_functional(env: SwarmEnv | FunctionalEnv) -> Report:
    """Check an object with the functional interface of an environment."""
    return functional_suite.suite.run(env.scenario.id, FunctionalCase(env))


def check_options(config_class: type[ScenarioConfig]) -> Report:
    """Check how a scenario's configuration answers to bad options."""
    return options_suite.run(config_class.__name__, config_class)


@options_suite.rule(
    "unknown-key",
    "a key that does not exist is refused with the nearest one",
    "build the configuration by swarmctl.core.config.build and nothing else",
)
def unknown_key(config_class: type[ScenarioConfig]) -> Iterator[str]:
    """Misspell every key."""
    for name, *_ in describe(config_class):
        wrong = f"{name}x"
        try:
            build(config_class, {wrong: 1})
        except UnknownNameError as error:
            if repr(name.split(".")[0]) not in str(error) and name not in str(error):
                yield f"{wrong!r} is refused without a hint at {name!r}"
        else:
            yield f"{wrong!r} was accepted"


@options_suite.rule(
    "units",
    "a quantity takes text in its unit and refuses text without a unit or with a unit of another "
    "dimension",
    "declare the key by key(default, doc, unit)",
)
def units(config_class: type[ScenarioConfig]) -> Iterator[str]:
    """Give every quantity with a unit a wrong one."""
    for name, unit, default, _ in describe(config_class):
        if not _is_number(default) or unit in ("float", "int", "str", "bool"):
            continue
        value = float(default)
        same = getattr(build(config_class, {name: f"{value!r} {unit}"}), name)
        if not math.isclose(same, value, rel_tol=1e-12):
            yield f"{name} = '{value} {unit}' is read as {same}"
        for wrong in (f"{value!r}", f"{value!r} candela", "fast"):
            try:
                build(config_class, {name: wrong})
            except UnitError:
                continue
            yield f"{name} = {wrong!r} was accepted"


@options_suite.rule(
    "bad-values",
    "NaN, wrong types, no colloids, no horizon and an interval that is no whole number of steps "
    "are refused",
    "raise ConfigError, or another SwarmctlError, in build()",
)
def bad_values(config_class: type[ScenarioConfig]) -> Iterator[str]:
    """Give bad values to the keys that every scenario of ours has, and NaN to every number."""
    from swarmctl.envs.make import make_engine

    table = {name: (kind, default) for name, kind, default, _ in describe(config_class)}
    trials: list[dict[str, Any]] = [
        {name: math.nan}
        for name, (kind, default) in table.items()
        if _is_number(default) and kind != "int"
    ]
    trials += [{name: bad} for name in ("colloids", "horizon") if name in table for bad in (0, "x")]
    if {"time_step", "control_interval"} <= table.keys():
        step = float(table["time_step"][1])
        trials.append({"control_interval": 1.5 * step})
    for trial in trials:
        try:
            scenario = build(config_class, trial).build()
            make_engine("jax", scenario)
        except SwarmctlError as error:
            if not isinstance(error, (ConfigError, ValueError)):
                yield f"{trial} raised {type(error).__name__}, which is no ValueError"
        else:
            yield f"{trial} was accepted"


def _is_number(default: str) -> bool:
    try:
        float(default)
    except ValueError:
        return False
    return True
