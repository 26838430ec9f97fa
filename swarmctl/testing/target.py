"""One front door: check whatever a registered name or `file.py:Thing` stands for."""

from __future__ import annotations

import contextlib
import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from swarmctl.core import registry
from swarmctl.core.contracts import ActionMap, Agent, Engine, Observable, Task
from swarmctl.core.errors import ConfigError, UnknownNameError, nearest
from swarmctl.core.extras import has_extra
from swarmctl.testing.report import Report

SUPPORTED = (
    "a Scenario or ScenarioConfig, an Engine, an Agent or AgentConfig, an Observable, a Task, an "
    "ActionMap, a gymnasium.Env, a gymnasium VectorEnv, a PettingZoo ParallelEnv, a VecEnv of "
    "Stable-Baselines3 that has a scenario, or an object with the functional interface of an "
    "environment (reset, step, params, space, swarm, spec, scenario)"
)
_FUNCTIONAL = ("reset", "step", "params", "space", "swarm", "spec", "scenario")


def check(target: str, scenario: str = "Chemotaxis-v0", **options: Any) -> Report:
    """Check a registered scenario, engine or agent, or something from a file of your own.

    Args:
        target: a registered name, with or without "swarmctl/" in front, or ``"my_file.py:Thing"``,
            where Thing is an
            instance, a class or a function without arguments that makes one. Supported are
            scenarios and their
            configurations, engines, agents and their configurations, observables, tasks, action
            maps, environments of Gymnasium (single and vector), PettingZoo (parallel) and
            Stable-Baselines3, and functional environments.
        scenario: where engines and agents are tried.
        options: keys of that scenario, or of the target if it is one. A short `horizon` makes a
            quick check.

    Raises UnknownNameError for a name that is not registered, and ConfigError for a file or
    attribute that is not there or
    is nothing of the above.
    """
    path, colon, attribute = target.rpartition(":")
    if target.endswith(".py") or (colon and path.endswith(".py")):
        if not colon or target.endswith(".py"):
            raise ConfigError(f"{target!r}: say which thing in the file, as in '{target}:Thing'.")
        with loaded_file(Path(path)) as module:
            return check_thing(registry.attribute_of(module, path, attribute), scenario, **options)
    return _check_name(target.removeprefix("swarmctl/"), scenario, options)


def _check_name(name: str, scenario: str, options: dict[str, Any]) -> Report:
    from swarmctl.testing.agent_suite import check_agent
    from swarmctl.testing.engine_suite import check_engine

    if name in registry.scenarios:
        return _check_views(name, options)
    if name in registry.engines:
        from swarmctl.envs.make import make_engine, make_scenario

        engine = make_engine(name, make_scenario(scenario, **options))
        engine.reset(0)  # one that cannot start is one error, not one for every rule
        return check_engine(engine)
    if name in registry.agents:
        return check_agent(name, scenario, **options)
    names = [
        n for kind in (registry.scenarios, registry.engines, registry.agents) for n in kind.names()
    ]
    raise UnknownNameError(
        f"{name!r} is no scenario, engine or agent. {nearest(name, names)} "
        "For something of your own write 'my_file.py:Thing'."
    )


def _check_views(name: str, options: dict[str, Any]) -> Report:
    """Check a registered scenario in all its views."""
    import gymnasium

    import swarmctl.envs  # noqa: F401 - registers the scenarios with Gymnasium
    from swarmctl.envs.make import make_parallel, make_sb3
    from swarmctl.envs.vector_env import SwarmVectorEnv
    from swarmctl.testing import parallel_suite, sb3_suite
    from swarmctl.testing.gym_suite import check_gym_env
    from swarmctl.testing.scenario_suite import check_scenario
    from swarmctl.testing.vector_suite import check_vector_env

    def single() -> Any:
        return gymnasium.make(f"swarmctl/{name}", **options)

    def batch(mode: Any) -> Any:
        return SwarmVectorEnv(name, num_envs=3, autoreset_mode=mode, **options)

    report = (
        check_scenario(name, **options) + check_gym_env(single()) + check_vector_env(batch, single)
    )
    if has_extra("marl"):
        report += parallel_suite.check_parallel_env(lambda: make_parallel(name, **options))
    if has_extra("sb3"):
        report += sb3_suite.check_sb3_env(
            lambda **keys: make_sb3(name, swarms=2, pool=4, **{**options, **keys})
        )
    return report


@contextlib.contextmanager
def loaded_file(path: Path) -> Iterator[ModuleType]:
    """Import a file for the duration of a block; afterwards no trace of it is left in `sys`.

    Files in its folder can be imported by it. Raises ConfigError if there is no such file or if it
    cannot be imported.
    """
    path = registry.find_file(path)
    name = f"_swarmctl_checked_{path.stem}"
    before, folder = set(sys.modules), str(path.parent)
    sys.path.insert(0, folder)
    try:
        yield registry.import_file(path, name)
    finally:
        if folder in sys.path:
            sys.path.remove(folder)
        for other in set(sys.modules) - before:
            origin = getattr(sys.modules[other], "__file__", None)
            if other == name or (origin and Path(origin).parent == path.parent):
                del sys.modules[other]


def check_thing(thing: Any, scenario: str = "Chemotaxis-v0", **options: Any) -> Report:
    """Check an instance, or what a class or a function without arguments makes.

    Raises ConfigError for what is not supported, saying what is.
    """
    from gymnasium import Env
    from gymnasium.vector import VectorEnv

    from swarmctl.agents.options import AgentConfig
    from swarmctl.envs.make import make_env
    from swarmctl.envs.scenario import Scenario, ScenarioConfig
    from swarmctl.testing import (
        agent_suite,
        engine_suite,
        gym_suite,
        parallel_suite,
        piece_suite,
        sb3_suite,
        scenario_suite,
        vector_suite,
    )

    if inspect.isclass(thing) and issubclass(thing, VectorEnv):
        return vector_suite.check_vector_env(
            lambda mode: thing(num_envs=3, autoreset_mode=mode)  # type: ignore[call-arg]
        )
    made = _make(thing)
    if _is_a(made, "pettingzoo", "ParallelEnv"):
        if made is thing:
            raise ConfigError(
                "a parallel environment is checked together with an equal one; give its class, or "
                "a function that makes one, not one that is made already."
            )
        made.close()
        return parallel_suite.check_parallel_env(thing)
    if _is_a(made, "stable_baselines3.common.vec_env", "VecEnv"):
        if made is thing or not _takes_horizon(thing):
            raise ConfigError(
                "an environment of Stable-Baselines3 is compared with one of a longer horizon; "
                "give a function that makes one, with the argument `horizon` and a default."
            )
        made.close()
        return sb3_suite.check_sb3_env(thing)
    if isinstance(made, VectorEnv):
        raise ConfigError(
            "a vector environment is checked in every autoreset mode; give its class, or a "
            "function with the argument "
            "autoreset_mode that makes one, not one that is made already."
        )
    if isinstance(made, ScenarioConfig):
        report = scenario_suite.check_scenario(made)
        return report + scenario_suite.check_options(type(made))
    if isinstance(made, Scenario):
        return scenario_suite.check_scenario(made)
    if isinstance(made, Engine):
        return engine_suite.check_engine(made)
    if isinstance(made, Agent | AgentConfig):
        return agent_suite.check_agent(made, make_env(scenario, **options))
    if isinstance(made, Observable):
        return piece_suite.check_observable(made)
    if isinstance(made, Task):
        return piece_suite.check_task(made)
    if isinstance(made, ActionMap):
        return piece_suite.check_action_map(made)
    if isinstance(made, Env):
        return gym_suite.check_gym_env(made)
    if callable(made) and "autoreset_mode" in inspect.signature(made).parameters:
        return vector_suite.check_vector_env(lambda mode: made(autoreset_mode=mode))
    if all(hasattr(made, name) for name in _FUNCTIONAL):
        return scenario_suite.check_functional(made)
    raise ConfigError(f"{made!r} cannot be checked. Supported are {SUPPORTED}.")


def _is_a(thing: Any, module: str, name: str) -> bool:
    """Whether a thing is of a class of an optional package, which is not imported for that."""
    loaded = sys.modules.get(module)
    return loaded is not None and isinstance(thing, getattr(loaded, name))


def _takes_horizon(thing: Any) -> bool:
    return any(
        p.name == "horizon" or p.kind is p.VAR_KEYWORD
        for p in inspect.signature(thing).parameters.values()
    )


def _make(thing: Any) -> Any:
    """Call a class or a function without required arguments; hand on everything else."""
    if not (inspect.isclass(thing) or inspect.isroutine(thing)):
        return thing
    required = [
        p.name
        for p in inspect.signature(thing).parameters.values()
        if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    ]
    if "autoreset_mode" in inspect.signature(thing).parameters:
        return thing
    if required:
        raise ConfigError(
            f"{thing.__name__} needs arguments ({', '.join(required)}); write a function without "
            f"arguments that makes "
            f"one, and check that. Supported are {SUPPORTED}."
        )
    return thing()
