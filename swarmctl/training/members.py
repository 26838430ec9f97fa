"""Who learns and who does not: the species of a swarm, and the agents that steer them."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from swarmctl.agents.deep.actor_critic import ActorCriticConfig
from swarmctl.agents.deep.batch import Batch
from swarmctl.agents.deep.curiosity import Curiosity
from swarmctl.agents.deep.policy import Policy
from swarmctl.agents.team import Team
from swarmctl.core.contracts import Agent
from swarmctl.core.errors import ConfigError
from swarmctl.core.tree import pytree
from swarmctl.envs.functional import SwarmEnv
from swarmctl.training.engine_episodes import EngineEnv
from swarmctl.training.evaluate import find_agent

Array = jax.Array


@pytree
class ObservationMoments:
    """Running count [], mean [F] and summed squared deviation [F] of observations."""

    count: Array
    mean: Array
    square: Array

    def merge(self, batch: Batch) -> ObservationMoments:
        """Chan's parallel update of mean and variance with a batch's weighted observations."""
        weight = batch.weight[..., None]
        axes = tuple(range(batch.weight.ndim))
        count = jnp.sum(batch.weight)
        safe = jnp.maximum(count, 1)
        mean = jnp.sum(batch.observation * weight, axes) / safe
        square = jnp.sum((batch.observation - mean) ** 2 * weight, axes)
        total = self.count + count
        share = count / jnp.maximum(total, 1)
        delta = mean - self.mean
        return ObservationMoments(
            total,
            self.mean + delta * share,
            self.square + square + delta**2 * self.count * share,
        )

    def scale(self, policy: Policy) -> Policy:
        """Return the policy with these moments as the scaling of its observations."""
        deviation = jnp.sqrt(self.square / jnp.maximum(self.count, 1) + 1e-8)
        return dataclasses.replace(policy, mean=self.mean, deviation=deviation)


@pytree
class Member:
    """A policy that learns, with what its next update depends on; `curiosity` or None."""

    policy: Policy
    optimiser: Any
    moments: ObservationMoments
    curiosity: Curiosity | None


@pytree
class Mind:
    """What B swarms' colloids remember: the recurrent `memory` [B,n,H] and the exploration `noise`
    [B,n,A], or nothing. For agents that do not learn, `memory` is theirs.
    """

    memory: Any
    noise: Any = ()


@dataclass(frozen=True)
class Group:
    """The slots that one agent steers: `agent` is None for a policy that learns."""

    species: tuple[str, ...]
    slots: np.ndarray
    agent: Agent | None
    source: str

    def rows(self, values: Array) -> Array:
        """Values [B,N,...] of the group's slots."""
        return values if len(self.slots) == values.shape[1] else values[:, self.slots]


def make_groups(env: SwarmEnv | EngineEnv, config: ActorCriticConfig) -> tuple[Group, ...]:
    """Divide the species of an environment: those that learn first.

    Raises ConfigError for species that are not there, or if nothing is left to learn.
    """
    engine, table = env.spec.engine, config.by_species()
    unknown = sorted(set(table) - set(engine.species))
    if unknown:
        raise ConfigError(
            f"{config.name}: species {unknown[0]!r} is not in {env.scenario.id}, which has "
            f"{', '.join(engine.species)}."
        )
    of_slot = np.asarray([engine.species[index] for index in engine.species_of_slot])

    def group(names: tuple[str, ...], agent: Agent | None = None, source: str = "") -> Group:
        return Group(names, np.flatnonzero(np.isin(of_slot, names)), agent, source)

    shared = tuple(name for name in engine.species if name not in table)
    learning = [group(shared)] if shared else []
    learning += [group((name,)) for name, source in table.items() if not source]
    if not learning:
        raise ConfigError(
            f"{config.name}: every species has an agent ({', '.join(config.species)}) and nothing "
            "is left to learn; leave one out."
        )
    frozen = []
    for name, source in table.items():
        if not source:
            continue
        agent = find_agent(source, env)
        if isinstance(agent, Team):
            agent = agent.members[agent.species.index(name)]
        if agent.output != "action":
            raise ConfigError(
                f"{config.name}: {source} returns commands, and cannot act beside a policy; give "
                f"{name!r} an agent that returns actions."
            )
        frozen.append(group((name,), agent, source))
    return (*learning, *frozen)


def as_agent(
    env: SwarmEnv | EngineEnv, groups: tuple[Group, ...], policies: tuple[Policy, ...]
) -> Agent:
    """Return the policy, or the team, that acts in all slots."""
    if len(groups) == 1:
        return policies[0]
    agents: dict[str, tuple[Agent, str]] = {}
    for index, group in enumerate(groups):
        agent = policies[index] if group.agent is None else group.agent
        agents |= dict.fromkeys(group.species, (agent, group.source))
    species = env.spec.engine.species
    return Team(
        tuple(agents[name][0] for name in species),
        species,
        tuple(agents[name][1] for name in species),
    )
