"""Scenarios: a world, what is seen, what is paid, what can be done, how often and for how long.

Engine-free.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import ClassVar

import jax
import numpy as np

from swarmctl.core.contracts import ActionMap, Engine, Observable, Task
from swarmctl.core.errors import ConfigError
from swarmctl.core.spec import AgentSpec, EngineSpec, Requirements
from swarmctl.core.state import Space, SwarmState
from swarmctl.core.world import World

Array = jax.Array


@dataclasses.dataclass(frozen=True)
class Picture:
    """How a scenario is drawn: a scalar background, points to mark, and what to call them."""

    field: Callable[[np.ndarray], np.ndarray] | None = None
    field_label: str = ""
    markers: Mapping[str, tuple[float, ...]] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, eq=False)
class Scenario:
    """The same scenario runs on every engine; an environment is Scenario x Engine.

    Attributes:
        id: registry name with version, such as "Chemotaxis-v0".
        world: what is simulated.
        observable, task, actions: what is seen, paid and possible.
        control_interval: s between decisions.
        horizon: decisions until an episode is truncated.
        baselines: role ("random", "best", "oracle") to the registry name of an agent.
        measure_name: what people look at, with its unit, such as "distance from the source (µm)".
        measure: (state, space) -> f [N], that quantity for every colloid.
        picture: how to draw it.
    """

    id: str
    world: World
    observable: Observable
    task: Task
    actions: ActionMap
    control_interval: float
    horizon: int
    baselines: Mapping[str, str]
    measure_name: str
    measure: Callable[[SwarmState, Space], Array]
    picture: Picture = Picture()

    def __post_init__(self) -> None:
        if self.horizon < 1:
            raise ConfigError(
                f"{self.id}: horizon must be at least 1 decision, got {self.horizon}."
            )

    @property
    def requirements(self) -> Requirements:
        """What the scenario needs of an engine."""
        return Requirements(
            self.world.capacity, self.world.dimension, self.control_interval, self.actions.channels
        )

    def agent_spec(self, engine: EngineSpec) -> AgentSpec:
        """What an agent is told."""
        names = self.observable.names(engine)
        return AgentSpec(self.id, len(names), names, self.actions.space, self.actions.names, engine)


class ScenarioConfig(ABC):
    """A frozen dataclass of a scenario's keys, with units; `build` makes the scenario."""

    id: ClassVar[str]

    @abstractmethod
    def build(self) -> Scenario:
        """Return the scenario. Raises ConfigError for values out of range."""


def check_engine(scenario: Scenario, engine: Engine) -> None:
    """Raise CapabilityError or ConfigError unless the engine can run the scenario."""
    scenario.requirements.check(engine.spec)
    for part in (scenario.observable, scenario.task, scenario.actions):
        part.check(engine.spec)
