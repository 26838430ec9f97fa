"""Several species with different agents in one world."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp

from swarmctl.core.contracts import Agent, AgentInputs
from swarmctl.core.errors import CapabilityError, ConfigError
from swarmctl.core.spec import AgentSpec
from swarmctl.core.tree import pytree, static

Array = jax.Array


@pytree
class Team(Agent):
    """One agent per species. All see the whole swarm; each decides for its own species.

    Attributes:
        members: an agent per species, in the order of the engine's species.
        species: their names.
        sources: registered name of every member that was made by its name, "" for the others.
    """

    output: ClassVar[Literal["action", "command"]] = "action"
    members: tuple[Agent, ...]
    species: tuple[str, ...] = static()
    sources: tuple[str, ...] = static(default=())

    def check(self, spec: AgentSpec) -> None:
        """Raise ConfigError for other species, CapabilityError for members that do not fit."""
        if spec.engine.species != self.species:
            raise ConfigError(
                f"this team has agents for {', '.join(self.species)}; {spec.scenario} has the "
                f"species {', '.join(spec.engine.species)}. Give one agent for each of them."
            )
        for name, member in zip(self.species, self.members, strict=True):
            if member.output != "action":
                raise CapabilityError(
                    f"the agent of {name!r}, {type(member).__name__}, returns commands; members "
                    f"of a team return actions of {spec.scenario}. Use it alone, for all species."
                )
            member.check(spec)

    def init_memory(self, spec: AgentSpec) -> Any:
        """One memory per member, with rows for all colloids."""
        return tuple(member.init_memory(spec) for member in self.members)

    def act(
        self, inputs: AgentInputs, memory: Any, key: Array, deterministic: bool = False
    ) -> tuple[Any, Any]:
        """Return every colloid the action of its species' agent."""
        keys = jax.random.split(key, len(self.members))
        results = [
            member.act(inputs, own, own_key, deterministic)
            for member, own, own_key in zip(self.members, memory, keys, strict=True)
        ]
        action = results[0][0]
        for index, (other, _) in enumerate(results[1:], start=1):
            mine = inputs.state.species == index
            action = jnp.where(mine.reshape((-1,) + (1,) * (other.ndim - 1)), other, action)
        return action, tuple(own for _, own in results)


def make_team(spec: AgentSpec, agents: Mapping[str, Agent], sources: Mapping[str, str]) -> Team:
    """Return the team of an environment from agents by the name of their species.

    Raises ConfigError for species that are missing or not there.
    """
    species = spec.engine.species
    if set(agents) != set(species):
        raise ConfigError(
            f"agents for {', '.join(agents)} were given; {spec.scenario} has the species "
            f"{', '.join(species)}. Give one agent for each of them, such as "
            f"{','.join(f'{name}=random' for name in species)}."
        )
    team = Team(
        tuple(agents[name] for name in species),
        species,
        tuple(sources.get(name, "") for name in species),
    )
    team.check(spec)
    return team
