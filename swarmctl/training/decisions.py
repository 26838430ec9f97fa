"""Decisions of swarms that learn, and what is kept of them: the same on every engine."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from swarmctl.agents.deep.actor_critic import ActorCriticConfig
from swarmctl.agents.deep.exploration import Exploration
from swarmctl.agents.deep.policy import Policy
from swarmctl.core.contracts import AgentInputs
from swarmctl.core.spec import AgentSpec
from swarmctl.core.state import Space, SwarmState, renew_rows
from swarmctl.core.tree import pytree
from swarmctl.training.figures import mean_rewards
from swarmctl.training.members import Group, Member, Mind

Array = jax.Array
Known = tuple[Array, Array, Array, Array, Any]
"""What is known of decisions when they are made: the first five of `Steps`, in their order."""


@pytree
class Outcome:
    """What the decisions of B swarms led to.

    Attributes:
        reward: [B,N].
        acted: bool [B,N], who was in the episode and acted.
        terminated: bool [B,N].
        truncated: bool [B], whose time was up.
        done: bool [B], whose episode is over.
        counted: bool [B], whose return is reported if the episode is over.
        renewed: bool [B,N], whose colloid is another one now, or begins another episode.
        final: [B,N,F], what is seen after the decision, before any new episode.
        measured: [B], the scenario's measure at the end of the episodes that are over.
        failed: bool [], whether a motion failed.
    """

    reward: Array
    acted: Array
    terminated: Array
    truncated: Array
    done: Array
    counted: Array
    renewed: Array
    final: Array
    measured: Array
    failed: Array


@pytree
class Steps:
    """Decisions of the colloids of a policy that learns; leading axes [B,n], or [T,B,n] of many.

    Attributes:
        observation: [...,F].
        action: raw actions [...] or [...,A].
        log_prob, value: [...], of the policy that acted.
        noise: [...,A], what correlated exploration remembered, or nothing.
        reward: [...], with the bonus for curiosity.
        ends: bool [...], whether the episode ended here for the colloid.
        final: [...], value of the final observation where time was up, else 0.
        weight: [...], 1 where the colloid was in the episode, else 0.
        renewed: bool [...], where the memory was reset afterwards.
    """

    observation: Array
    action: Array
    log_prob: Array
    value: Array
    noise: Any
    reward: Array
    ends: Array
    final: Array
    weight: Array
    renewed: Array


class Decisions:
    """How the groups of a swarm decide while they learn, as pure functions.

    Args:
        spec: of the environment.
        config: keys of the agent.
        groups: who steers which slots, those that learn first.
    """

    def __init__(
        self, spec: AgentSpec, config: ActorCriticConfig, groups: tuple[Group, ...]
    ) -> None:
        self.spec, self.config, self.groups = spec, config, groups
        self.learning = tuple(group for group in groups if group.agent is None)
        self.looks = len(self.learning) < len(groups)
        """Whether anybody looks at more than observations."""

    def rest(self, policies: tuple[Policy, ...], swarms: int) -> tuple[Mind, ...]:
        """What the groups of B swarms remember when episodes begin."""
        minds = []
        exploration = self.config.exploration(jnp.asarray(0.0))
        for index, group in enumerate(self.groups):
            if group.agent is None:
                policy, lead = policies[index], (swarms, len(group.slots))
                minds.append(Mind(policy.rest(*lead), exploration.start(policy, *lead)))
            else:
                memory = group.agent.init_memory(self.spec)
                spread = jax.tree.map(lambda x: jnp.broadcast_to(x, (swarms, *x.shape)), memory)
                minds.append(Mind(spread))
        return tuple(minds)

    def think(
        self,
        members: tuple[Member, ...],
        exploration: Exploration,
        seen: tuple[Array, Array],
        looked: tuple[SwarmState | None, Space],
        minds: tuple[Mind, ...],
        key: Array,
    ) -> tuple[Array, tuple[Mind, ...], tuple[Known, ...]]:
        """Decide for B swarms.

        `seen` are the observations [B,N,F] and who is in the episode, bool [B,N]; `looked` the
        swarms (leaves [B,...]; None unless somebody `looks`) and the space. Returns the actions
        [B,N,...], what is remembered, and what is known of the decisions of those that learn.
        """
        observation, active = seen
        decided, thought, known = [], [], []
        for index, group in enumerate(self.groups):
            own_key, mind = folded(key, index), minds[index]
            if group.agent is not None:
                chosen, memory = _follow(group, looked, observation, mind, own_key)
                decided.append(group.rows(chosen))
                thought.append(Mind(memory))
                continue
            policy, own = members[index].policy, group.rows(observation)
            features, memory = policy.features(policy.scale(own), mind.memory)
            head = policy.actor(features)
            acting, explored = exploration.apply(policy, head, mind.noise)
            raw, log_prob = acting.sample(explored, own_key)
            value = policy.judge(features, group.rows(active))
            decided.append(policy.action(raw))
            thought.append(Mind(memory, exploration.follow(head, raw, mind.noise)))
            known.append((own, raw, log_prob, value, mind.noise))
        return self._gather(decided), tuple(thought), tuple(known)

    def keep(
        self,
        members: tuple[Member, ...],
        thought: tuple[Mind, ...],
        known: tuple[Known, ...],
        outcome: Outcome,
        earned: Array,
    ) -> tuple[tuple[Mind, ...], Array, tuple[Steps, ...], dict[str, Array]]:
        """What decisions of B swarms leave, once it is known what they led to.

        `earned` [B,1+S] are the returns of the running episodes before and after, of all and of
        every species. Returns (minds for the next decision, earned, steps, sums for the log).
        """
        reward, done, acted = outcome.reward, outcome.done, outcome.acted
        weight = acted.astype(reward.dtype)
        ends = outcome.terminated | done[:, None]
        steps = tuple(
            Steps(
                *what,
                self._paid(members[index], group, outcome),
                group.rows(ends),
                _final_value(members[index], group, thought[index], outcome),
                group.rows(weight),
                group.rows(outcome.renewed),
            )
            for index, (group, what) in enumerate(zip(self.learning, known, strict=True))
        )
        earned = earned + mean_rewards(reward, weight, self.spec.engine)
        told = done & outcome.counted
        log = {
            "measured": jnp.sum(jnp.where(done, outcome.measured, 0)),
            "ended": jnp.sum(done.astype(jnp.int32)),
            "returned": jnp.sum(jnp.where(told[:, None], earned, 0), axis=0),
            "episodes": jnp.sum(told.astype(jnp.int32)),
            "reward": jnp.sum(reward),
            "weight": jnp.sum(weight),
            "failed": outcome.failed,
        }
        rested = self.rest(tuple(member.policy for member in members), done.shape[0])
        minds = tuple(
            _renew(mind, fresh, outcome.renewed if group.agent else group.rows(outcome.renewed))
            for group, mind, fresh in zip(self.groups, thought, rested, strict=True)
        )
        return minds, jnp.where(done[:, None], 0, earned), steps, log

    def _gather(self, decided: list[Array]) -> Array:
        """Actions [B,N,...] of all slots from those of the groups."""
        if len(decided) == 1:
            return decided[0]
        first = decided[0]
        shape = (first.shape[0], self.spec.engine.capacity, *first.shape[2:])
        action = jnp.zeros(shape, first.dtype)
        for group, part in zip(self.groups, decided, strict=True):
            action = action.at[:, group.slots].set(part.astype(first.dtype))
        return action

    def _paid(self, member: Member, group: Group, outcome: Outcome) -> Array:
        paid = group.rows(outcome.reward)
        if member.curiosity is None:
            return paid
        found = member.curiosity.bonus(member.policy.scale(group.rows(outcome.final)))
        return paid + self.config.curiosity * jnp.where(group.rows(outcome.acted), found, 0)


def folded(key: Array, index: int) -> Array:
    """The key of a part of what `key` is for; that of the first part is `key` itself."""
    return jax.random.fold_in(key, index) if index else key


def _follow(
    group: Group, looked: tuple[SwarmState | None, Space], seen: Array, mind: Mind, key: Array
) -> tuple[Array, Any]:
    """Actions [B,N] and memory of an agent that does not learn."""
    agent, (swarms, space) = group.agent, looked
    assert agent is not None
    assert swarms is not None

    def act(swarm: SwarmState, seen: Array, memory: Any, key: Array) -> tuple[Any, Any]:
        return agent.act(AgentInputs(swarm, seen, space), memory, key)

    keys = jax.random.split(key, seen.shape[0])
    return jax.vmap(act)(swarms, seen, mind.memory, keys)


def _final_value(member: Member, group: Group, mind: Mind, outcome: Outcome) -> Array:
    """Value [B,n] of the final observations where time was up, 0 elsewhere."""
    acted = group.rows(outcome.acted)
    cut = outcome.truncated[:, None] & acted & ~group.rows(outcome.terminated)

    def value() -> Array:
        final = group.rows(outcome.final)
        return jnp.where(cut, member.policy.value(final, mind.memory, acted), 0)

    # Only at a truncation the final observation differs from the next one and has a value.
    return jax.lax.cond(
        outcome.truncated.any(), value, lambda: jnp.zeros(cut.shape, member.policy.mean.dtype)
    )


def _renew(mind: Mind, fresh: Mind, renewed: Array) -> Mind:
    return jax.vmap(renew_rows)(mind, fresh, renewed) if jax.tree.leaves(mind) else mind
