"""Front doors: scenarios by id, environments as functions or as Gymnasium environments."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

from swarmctl.core import registry
from swarmctl.core.config import build, key
from swarmctl.core.contracts import Engine, PureEngine
from swarmctl.core.errors import CapabilityError, ConfigError
from swarmctl.envs.functional import SwarmEnv
from swarmctl.envs.scenario import Scenario, ScenarioConfig


def scenario_config(name: str, options: Mapping[str, Any] | None = None) -> ScenarioConfig:
    """Return the configuration of a scenario with some keys changed; quantities may be texts with
    units.

    `name` is a scenario id, with or without "swarmctl/" in front, or ``"my_file.py:MyConfig"``,
    which adds the key `sha256`: see `own_config`. Raises UnknownNameError with the nearest name.
    """
    config_class = registry.scenarios[name.removeprefix("swarmctl/")].load()
    if registry.is_file_target(name):
        path, _, attribute = name.rpartition(":")
        file = registry.load_file(path)
        config_class = own_config(config_class, f"{file.path}:{attribute}", file.sha256)
    return build(config_class, dict(options or {}), "")


@functools.cache
def own_config(
    config_class: type[ScenarioConfig], target: str, digest: str
) -> type[ScenarioConfig]:
    """Return the configuration of a user's file in a form that a run folder can keep.

    Its id is `target`, the full path and name, by which it is found again; the scenario that it
    builds keeps its own id. The key `sha256` is that of the file: with another one, from a run
    that was made before the file changed, it raises ConfigError. Raises ConfigError for a class
    that is no frozen dataclass with an id.
    """
    name = config_class.__name__
    if not (dataclasses.is_dataclass(config_class) and hasattr(config_class, "id")):
        raise ConfigError(
            f"{target}: {name} must be a frozen dataclass with `id: ClassVar[str]`, as in "
            "examples/own_scenario.py."
        )

    def check(self: Any) -> None:
        before = getattr(config_class, "__post_init__", None)
        if before is not None:
            before(self)
        if self.sha256 not in ("", digest):
            raise ConfigError(
                f"{target.rpartition(':')[0]} has changed since the run was made (its sha256 is "
                f"{digest[:12]}…, the run says {self.sha256[:12]}…). Put it back as it was, or use "
                'it as it is now with scenario.sha256="".'
            )
        object.__setattr__(self, "sha256", digest)

    def build_own(self: Any) -> Scenario:
        scenario = config_class.build(self)
        own = config_class.id if scenario.id == target else scenario.id
        return dataclasses.replace(scenario, id=own)

    try:
        return dataclasses.make_dataclass(
            name,
            [("sha256", str, key(digest, "checksum of the file; empty for whatever it is now"))],
            bases=(config_class,),
            namespace={
                "id": target,
                "build": build_own,
                "__post_init__": check,
                "__doc__": config_class.__doc__,
                "__module__": config_class.__module__,
            },
            frozen=True,
        )
    except TypeError as error:
        raise ConfigError(f"{target}: {name} must be a frozen dataclass ({error}).") from None


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
            "Gymnasium environment, or swarmctl.make_workers for several swarms."
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


def make_workers(scenario: str, num_envs: int = 1, engine: str = "espresso", **options: Any) -> Any:
    """Return a Gymnasium vector environment of swarms in worker processes, one process each.

    For engines that are not made of pure functions; `autoreset_mode`, `render_mode` and the
    scenario's keys are options. A worker that dies raises WorkerDiedError. As with every use of
    processes, call it under ``if __name__ == "__main__":``.
    """
    from swarmctl.envs.worker_env import WorkerVectorEnv

    return WorkerVectorEnv(scenario, num_envs, engine, **options)


def make_parallel(scenario: str | Scenario, engine: str = "jax", **options: Any) -> Any:
    """Return the PettingZoo environment, in which every colloid is an agent of its own.

    `render_mode` and the scenario's keys are options. Raises MissingExtraError without PettingZoo.

    >>> env = make_parallel("Chemotaxis-v0", colloids=2)
    >>> observations, infos = env.reset(seed=0)
    >>> {name: row.shape for name, row in observations.items()}
    {'colloid_0': (12,), 'colloid_1': (12,)}
    """
    from swarmctl.envs.parallel_env import SwarmParallelEnv

    return SwarmParallelEnv(scenario, engine, **options)


def make_sb3(scenario: str | Scenario, swarms: int = 1, engine: str = "jax", **options: Any) -> Any:
    """Return the vector environment of Stable-Baselines3, one slot per colloid of every swarm.

    `render_mode`, `pool` and the scenario's keys are options. Raises MissingExtraError without
    Stable-Baselines3.

    >>> env = make_sb3("Chemotaxis-v0", swarms=2, colloids=3)
    >>> env.num_envs, env.reset().shape
    (6, (6, 12))
    """
    from swarmctl.envs.sb3_env import SwarmVecEnv

    return SwarmVecEnv(scenario, swarms, engine, **options)
