"""Registries of engines, scenarios and agents: a name, where it lives, and one line about it."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from swarmctl.core.errors import ConfigError, DuplicateNameError, UnknownNameError, nearest


@dataclass(frozen=True)
class Entry:
    """One registered thing.

    `target` is ``"module:attribute"``, resolved when it is first needed.
    """

    name: str
    target: str
    summary: str

    def load(self) -> Any:
        """Import the target and return it."""
        return load_target(self.target)


def load_target(target: str) -> Any:
    """Import ``"module:attribute"``. Raises ConfigError with what was wrong."""
    module_name, _, attribute = target.partition(":")
    if not attribute:
        raise ConfigError(f"{target!r} is not of the form 'module:attribute'.")
    try:
        return getattr(importlib.import_module(module_name), attribute)
    except AttributeError as error:
        raise ConfigError(f"{target!r}: {error}.") from None


class Registry:
    """Names of one kind; duplicates are refused, unknown names answered with the nearest one."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._entries: dict[str, Entry] = {}

    def register(self, name: str, target: str, summary: str) -> None:
        """Add a name. Raises DuplicateNameError if it is taken by another target."""
        if name in self._entries:
            raise DuplicateNameError(
                f"{self.kind} {name!r} is already registered as {self._entries[name].target!r}; "
                "choose another name or version."
            )
        self._entries[name] = Entry(name, target, summary)

    def __getitem__(self, name: str) -> Entry:
        try:
            return self._entries[name]
        except KeyError:
            raise UnknownNameError(
                f"Unknown {self.kind} {name!r}. {nearest(name, self._entries)}"
            ) from None

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[Entry]:
        return iter(sorted(self._entries.values(), key=lambda entry: entry.name))

    def names(self) -> list[str]:
        """Return all names, sorted."""
        return sorted(self._entries)


engines = Registry("engine")
scenarios = Registry("scenario")
agents = Registry("agent")

engines.register(
    "jax",
    "swarmctl.engines.jax_engine:JaxEngine",
    "active Brownian particles on JAX: batched, jitted, 2D and 3D; the default",
)

scenarios.register(
    "Chemotaxis-v0",
    "swarmctl.envs.chemotaxis:ChemotaxisConfig",
    "climb a concentration gradient by temporal sensing; four actions",
)
scenarios.register(
    "ChemotaxisContinuous-v0",
    "swarmctl.envs.chemotaxis:ChemotaxisContinuousConfig",
    "climb a concentration gradient; speed and turn rate are continuous",
)

agents.register(
    "random", "swarmctl.agents.classical.simple:RandomConfig", "uniform actions; the floor"
)
agents.register(
    "constant",
    "swarmctl.agents.classical.simple:ConstantConfig",
    "the same action for all, always",
)
agents.register(
    "run-and-tumble",
    "swarmctl.agents.classical.gradient:RunAndTumbleConfig",
    "run while the field rises, tumble when it falls",
)
agents.register(
    "gradient-climber",
    "swarmctl.agents.classical.gradient:GradientClimberConfig",
    "estimates the gradient from what it sensed and did, and climbs it",
)
agents.register(
    "steer-to-source",
    "swarmctl.agents.classical.steering:SteerToSourceConfig",
    "sees everything and steers to a point; the ceiling for sensing agents",
)
agents.register(
    "ppo",
    "swarmctl.agents.deep.ppo:PPOConfig",
    "proximal policy optimisation; one policy shared by all colloids",
)
