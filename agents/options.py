"""How agents are configured: a frozen dataclass of keys whose `build` makes the agent."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from swarmctl.core import registry
from swarmctl.core.config import build
from swarmctl.core.contracts import Agent
from swarmctl.core.spec import AgentSpec


class AgentConfig(ABC):
    """Keys of an agent; `learner` is where its training program lives, as "module:class", for an
    agent that must be trained before it can act well, and `engine_learner` that for engines that
    are not made of pure functions, if there is one.
    """

    name: ClassVar[str]
    learner: ClassVar[str] = ""
    engine_learner: ClassVar[str] = ""

    def by_species(self) -> dict[str, str]:
        """Agents of single species, by their names; {} if one agent is for all."""
        return {}

    @abstractmethod
    def build(self, spec: AgentSpec) -> Agent:
        """Return the agent for an environment.

        Raises ConfigError or CapabilityError if it does not fit.
        """


def agent_config(name: str, options: Mapping[str, Any] | None = None) -> AgentConfig:
    """Return the configuration of a registered agent with some keys changed."""
    return build(registry.agents[name].load(), dict(options or {}), "")


def make_agent(name: str, spec: AgentSpec, **options: Any) -> Agent:
    """Build a registered agent for an environment.

    Raises UnknownNameError with the nearest name.
    """
    agent = agent_config(name, options).build(spec)
    agent.check(spec)
    return agent
