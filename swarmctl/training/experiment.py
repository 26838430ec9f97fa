"""Experiments: scenario, engine, agent and training as one typed configuration, from TOML or from
names.
"""

from __future__ import annotations

import dataclasses
import json
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from swarmctl.agents.options import AgentConfig, agent_config
from swarmctl.core import registry
from swarmctl.core.config import apply_overrides, build, key, parse_override, to_dict
from swarmctl.core.contracts import PureEngine
from swarmctl.core.errors import ConfigError, UnknownNameError, nearest
from swarmctl.core.randomise import Randomise, middle_world
from swarmctl.envs.functional import SwarmEnv
from swarmctl.envs.make import make_engine, make_env, scenario_config
from swarmctl.envs.scenario import Scenario, ScenarioConfig
from swarmctl.training.engine_episodes import EngineEnv


@dataclass(frozen=True)
class TrainingConfig:
    """Keys of training."""

    updates: int = key(100, "updates per seed")
    seeds: tuple[int, ...] = key((0,), "training seeds, one policy each")
    checkpoint_every: int = key(10, "updates between checkpoints")
    goal: float | None = key(None, "episode return that counts as reached; its policy is kept")
    stop_at_goal: bool = key(False, "end a seed's training when the goal is reached")
    start: Path | None = key(
        None, "folder of a run or policy whose policy is the first one; untrained if left out"
    )
    workers: int = key(
        1, "engines side by side, in processes of their own; 1 for those made of pure functions"
    )

    def __post_init__(self) -> None:
        if isinstance(self.start, str):
            object.__setattr__(self, "start", Path(self.start))
        if self.updates < 1 or self.checkpoint_every < 1:
            raise ConfigError("training: updates and checkpoint_every must be at least 1.")
        if self.workers < 1:
            raise ConfigError(f"training: workers must be at least 1, got {self.workers}.")
        if not self.seeds or len(set(self.seeds)) != len(self.seeds) or min(self.seeds) < 0:
            raise ConfigError(
                f"training: seeds must be different numbers from 0 on, got {self.seeds}."
            )
        if self.stop_at_goal and self.goal is None:
            raise ConfigError("training: stop_at_goal needs a goal.")


@dataclass(frozen=True)
class Experiment:
    """Everything that fixes a run: scenario, engine, agent, training.

    `engine_config` holds the engine's keys, None for an engine without any; `randomise` what is not
    known exactly of the world, None if all is.
    """

    scenario: ScenarioConfig
    engine: str
    agent: AgentConfig
    training: TrainingConfig
    engine_config: Any = None
    randomise: Randomise | None = None

    def built(self) -> Scenario:
        """Build the scenario; its world has the middle of what is randomised."""
        scenario = self.scenario.build()
        if self.randomise is None:
            return scenario
        world = middle_world(scenario.world, self.randomise, scenario.control_interval)
        return dataclasses.replace(scenario, world=world)

    def env(self) -> SwarmEnv:
        """Build the functional environment. Raises CapabilityError on an engine that is not made
        of pure functions.
        """
        return make_env(self.built(), self.engine)

    def any_env(self) -> SwarmEnv | EngineEnv:
        """Build the functional environment, or one that steps on an engine of another kind."""
        scenario = self.built()
        keys = vars(self.engine_config) if self.engine_config is not None else {}
        engine = make_engine(self.engine, scenario, **keys)
        if isinstance(engine, PureEngine):
            return SwarmEnv(scenario, engine)
        return EngineEnv(scenario, engine)

    def tables(self) -> dict[str, Any]:
        """Nested tables, as in an experiment file, with every key."""
        engine_keys = to_dict(self.engine_config) if self.engine_config is not None else {}
        tables = {
            "scenario": {"name": self.scenario.id, **to_dict(self.scenario)},
            "engine": {"name": self.engine, **engine_keys},
            "agent": {"name": self.agent.name, **to_dict(self.agent)},
            "training": to_dict(self.training),
        }
        if self.randomise is not None:
            tables["randomise"] = to_dict(self.randomise)
        return tables


SECTIONS = ("scenario", "engine", "agent", "training", "randomise")


def experiment_from_tables(data: Mapping[str, Any]) -> Experiment:
    """Build an experiment from nested tables.

    Unknown sections and keys are refused with the nearest name.
    """
    for section, table in data.items():
        if section not in SECTIONS:
            raise UnknownNameError(
                f"Unknown section [{section}]. {nearest(section, SECTIONS)} "
                "Keys belong to a section, such as training.updates."
            )
        if not isinstance(table, Mapping):
            raise ConfigError(f"[{section}] must be a table, got {table!r}.")
    tables = {section: dict(data.get(section, {})) for section in SECTIONS}
    scenario_name = tables["scenario"].pop("name", "Chemotaxis-v0")
    engine_name = tables["engine"].pop("name", "jax")
    agent_name = tables["agent"].pop("name", "ppo")
    return Experiment(
        scenario=_section("scenario", lambda: scenario_config(scenario_name, tables["scenario"])),
        engine=registry.engines[engine_name].name,
        agent=_section("agent", lambda: agent_config(agent_name, tables["agent"])),
        training=build(TrainingConfig, tables["training"], "training"),
        engine_config=_engine_config(engine_name, tables["engine"]),
        randomise=build(Randomise, tables["randomise"], "randomise")
        if tables["randomise"]
        else None,
    )


def _engine_config(name: str, table: Mapping[str, Any]) -> Any:
    """Keys of an engine, in the configuration that its class names as `config_class`."""
    config_class = getattr(registry.engines[name].load(), "config_class", None)
    if config_class is not None:
        return build(config_class, table, "engine")
    if table:
        unknown = next(iter(table))
        raise UnknownNameError(f"Unknown key 'engine.{unknown}'. {nearest(unknown, ['name'])}")
    return None


def _section(name: str, make: Any) -> Any:
    try:
        return make()
    except UnknownNameError as error:
        raise UnknownNameError(f"[{name}] {error}") from None
    except ConfigError as error:
        raise type(error)(f"[{name}] {error}") from None


def with_engine(overrides: Iterable[str], engine: str) -> tuple[str, ...]:
    """Return `a.b=value` texts with the engine of this name, if one is given, added to them."""
    return (*overrides, f"engine.name={engine}") if engine else tuple(overrides)


def with_start(overrides: Iterable[str], start: Path | None) -> tuple[str, ...]:
    """Return `a.b=value` texts with the policy to start from, if one is given, added to them."""
    text = json.dumps(str(start), ensure_ascii=False)
    return (*overrides, f"training.start={text}") if start else tuple(overrides)


def check_heeded(verb: str, overrides: Iterable[str]) -> None:
    """Raise ConfigError for `a.b=value` texts that change nothing in a verb that does not train."""
    for text in overrides:
        path, _ = parse_override(text)
        if path[0] in ("agent", "training"):
            raise ConfigError(
                f"{verb}: --set {text} would change nothing: agents act as they were saved, or by "
                "their names, with the keys that they have. Change keys of scenario or engine "
                "here, and those of agent and training with `swarmctl train`."
            )


def load_experiment(
    source: str | Path | Mapping[str, Any], overrides: Iterable[str] = ()
) -> Experiment:
    """Read an experiment: a TOML file, a run's folder, a scenario id, or tables.

    Then lay `a.b=value` texts over it.
    """
    tables = dict(source) if isinstance(source, Mapping) else _read(source)
    return experiment_from_tables(apply_overrides(tables, overrides))


def _read(source: str | Path) -> dict[str, Any]:
    path = Path(source)
    if path.is_dir():
        path = path / "config.toml"
    if path.suffix == ".toml":
        try:
            with path.open("rb") as file:
                return tomllib.load(file)
        except FileNotFoundError:
            raise ConfigError(f"{path}: no such experiment file.") from None
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise ConfigError(f"{path}: cannot be read as TOML ({error}).") from None
    return {"scenario": {"name": registry.scenarios[str(source).removeprefix("swarmctl/")].name}}
