"""Warm start: a policy that was trained before, as the first one of a new training.

Only the policy is taken over: optimiser, schedules and everything else begin anew.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from swarmctl.agents.deep.actor_critic import ActorCriticConfig
from swarmctl.agents.deep.networks import GRU, MLP
from swarmctl.agents.deep.policy import Policy
from swarmctl.agents.options import AgentConfig
from swarmctl.agents.saving import JSON_FILE, describe_policy, load_agent, save_agent
from swarmctl.agents.team import Team
from swarmctl.core.contracts import Agent
from swarmctl.core.errors import PolicyFileError
from swarmctl.core.spec import AgentSpec
from swarmctl.training.members import Group, Member

FOLDER = "start"


def with_kept_scaling(agent: AgentConfig) -> AgentConfig:
    """Return the keys for training from a start: the scaling of observations stays as it is there.

    How many observations made it is not in a policy; a new mean, of few, would change what the
    policy does before it has learned anything.
    """
    if isinstance(agent, ActorCriticConfig):
        return dataclasses.replace(agent, normalise=False)
    return agent


@dataclass(frozen=True)
class Start:
    """What a training starts from: policy or team, its source, what it says of itself."""

    agent: Agent
    source: Path
    about: Mapping[str, Any]


def load_start(source: Path, spec: AgentSpec) -> Start:
    """Read a policy or team as a start. Raises PolicyFileError, which names the key."""
    try:
        agent = load_agent(source, spec)
        return Start(agent, source, describe_policy(source).get("about") or {})
    except PolicyFileError as error:
        raise PolicyFileError(f"training.start: {error}") from None


def keep_start(run: Path, source: Path, start: Start | None, spec: AgentSpec) -> Agent:
    """Return the agent that a run starts from, which is kept in its folder `start` for a resume.

    If there is none yet, `start` is put there, or what is read from `source`; its description says
    how it was trained, and its source.
    """
    folder = run / FOLDER
    if not (folder / JSON_FILE).is_file():
        start = start or load_start(source, spec)
        save_agent(start.agent, folder, {**start.about, "source": str(start.source)})
    return load_start(folder, spec).agent


def started_members(
    members: tuple[Member, ...], groups: Sequence[Group], agent: Agent, spec: AgentSpec
) -> tuple[Member, ...]:
    """Return the members, whose optimisers are fresh, with the policies of `agent` for theirs.

    `groups` are those that learn. A team gives every group the policy of its species; a single
    policy is the start of all groups. Raises PolicyFileError, which says what differs.
    """
    return tuple(
        dataclasses.replace(
            member, policy=started_policy(member.policy, policy_of(agent, group.species), spec)
        )
        for member, group in zip(members, groups, strict=True)
    )


def policy_of(agent: Agent, species: tuple[str, ...]) -> Policy:
    """Return the learned policy that an agent has for species that share one.

    Raises PolicyFileError if it has none, or several.
    """
    found = [agent]
    if isinstance(agent, Team):
        missing = sorted(set(species) - set(agent.species))
        if missing:
            raise PolicyFileError(
                f"training.start: has no agent for the species {missing[0]!r}, only for "
                f"{', '.join(agent.species)}."
            )
        found = [agent.members[agent.species.index(name)] for name in species]
    policies = [one for one in found if isinstance(one, Policy)]
    if len(policies) < len(found):
        raise PolicyFileError(
            f"training.start: the agent for {', '.join(species)} was not learned; only a policy "
            "that was trained can be a start."
        )
    if any(not _equal(policies[0], other) for other in policies[1:]):
        raise PolicyFileError(
            f"training.start: {', '.join(species)} have different policies there and would share "
            f"one here; give each its own, agent.species=[{', '.join(f'{s}=' for s in species)}]."
        )
    return policies[0]


def started_policy(fresh: Policy, start: Policy, spec: AgentSpec) -> Policy:
    """Return `start` as a policy of the kind of `fresh` (arrays or shapes): equal structure, sizes
    and type of numbers. What `fresh` does not have, a critic or a deviation of actions, is left
    out.

    Raises PolicyFileError for other actions, observations or networks, naming both sides.
    """
    try:
        start.check(spec)
    except PolicyFileError as error:
        raise PolicyFileError(f"training.start: {error}") from None
    rows = [
        ("the actor (agent.hidden)", _sizes(start.actor), _sizes(fresh.actor)),
        ("the recurrent cell (agent.memory)", _sizes(start.cell), _sizes(fresh.cell)),
        ("the activation", start.actor.activation, fresh.actor.activation),
        ("what bounds actions", start.squash, fresh.squash),
    ]
    if fresh.critic is not None:
        rows.append(
            ("the critic (agent.hidden, agent.central)", _sizes(start.critic), _sizes(fresh.critic))
        )
    if fresh.log_std is not None:
        rows.append(("the deviation of actions", _known(start.log_std), _known(fresh.log_std)))
    apart = [f"{name} is {there} there, {here} here" for name, there, here in rows if there != here]
    if apart:
        raise PolicyFileError(
            f"training.start: the network is another one: {'; '.join(apart)}. Train with the keys "
            "of the start, or without it."
        )
    kept = dataclasses.replace(
        start,
        critic=None if fresh.critic is None else start.critic,
        log_std=None if fresh.log_std is None else start.log_std,
        sees_swarm=fresh.sees_swarm,
    )
    # Copies: a training consumes its state, and several seeds begin with one start.
    return jax.tree.map(lambda new, old: jnp.array(old, new.dtype), fresh, kept)


def _sizes(network: MLP | GRU | None) -> str:
    return "none" if network is None else "-".join(map(str, network.sizes))


def _known(values: jax.Array | None) -> str:
    return "not known" if values is None else "learned"


def _equal(one: Any, other: Any) -> bool:
    leaves = [jax.tree.leaves(policy) for policy in (one, other)]
    kinds: list[Any] = [jax.tree.structure(policy) for policy in (one, other)]
    return bool(kinds[0] == kinds[1]) and all(
        np.array_equal(a, b) for a, b in zip(*leaves, strict=True)
    )
