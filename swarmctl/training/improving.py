"""What a rollout teaches: targets, passes of the optimiser, and the scaling of observations."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax

from swarmctl.agents.deep.actor_critic import ActorCriticConfig
from swarmctl.agents.deep.batch import Batch, advantages
from swarmctl.agents.deep.curiosity import init_curiosity
from swarmctl.agents.deep.exploration import Exploration
from swarmctl.agents.deep.policy import Policy
from swarmctl.core.spec import AgentSpec
from swarmctl.training.decisions import Steps, folded
from swarmctl.training.figures import explained_variance
from swarmctl.training.members import Group, Member, ObservationMoments

Array = jax.Array


class Improver:
    """PPO or REINFORCE on what was decided, as pure functions.

    Args:
        spec: of the environment.
        config: keys of the agent.
        learning: the groups that learn.
        updates: how many updates the learning-rate schedule spans.
    """

    def __init__(
        self, spec: AgentSpec, config: ActorCriticConfig, learning: tuple[Group, ...], updates: int
    ) -> None:
        self.spec, self.config, self.learning = spec, config, learning
        schedule = optax.linear_schedule(
            config.learning_rate,
            config.final_learning_rate,
            updates * config.epochs * config.minibatches,
        )
        self.optimiser = optax.chain(
            optax.clip_by_global_norm(config.gradient_norm), optax.adam(schedule, eps=1e-5)
        )

    def new_members(self, key: Array, dtype: Any) -> tuple[Member, ...]:
        """Untrained policies, one per group that learns; observations are of type `dtype`."""
        return tuple(
            self._new_member(folded(key, index), dtype) for index in range(len(self.learning))
        )

    def _new_member(self, key: Array, dtype: Any) -> Member:
        config, spec = self.config, self.spec
        policy = config.fresh(key, spec)
        size = spec.observation_size
        zeros = jnp.zeros(size, dtype)
        curiosity = None
        if config.curiosity:
            curiosity = init_curiosity(jax.random.fold_in(key, 3), size, config.hidden, dtype)
        trainable = _trainable(policy), None if curiosity is None else curiosity.predictor
        return Member(
            policy,
            self.optimiser.init(trainable),
            ObservationMoments(jnp.asarray(0, dtype), zeros, zeros),
            curiosity,
        )

    def learn(
        self,
        members: tuple[Member, ...],
        steps: tuple[Steps, ...],
        last: tuple[Array, tuple[Any, ...]],
        before: tuple[Any, ...],
        exploration: Exploration,
    ) -> tuple[tuple[Member, ...], dict[str, Array]]:
        """Return (members, figures) after the passes over K rollouts of W swarms, one after the
        other.

        `steps` have leading axes [K T,W,n]; `last` are the observations [W,N,F] after them and the
        memories [W,n,H] of the policies; `before` their memories [K,W,n,H] before every rollout.
        """
        improved: list[Member] = []
        figures: dict[str, Array] = {}
        for index, group in enumerate(self.learning):
            seen = group.rows(last[0]), last[1][index]
            batch = self._batch(members[index], steps[index], seen, before[index])
            member, found = self._improve(members[index], batch, exploration)
            improved.append(member)
            found["explained_variance"] = explained_variance(batch)
            prefix = f"{'+'.join(group.species)}/" if len(self.learning) > 1 else ""
            figures |= {f"{prefix}{name}": value for name, value in found.items()}
        return tuple(improved), figures

    def _batch(self, member: Member, steps: Steps, last: tuple[Array, Any], before: Any) -> Batch:
        policy, (seen, memory), value = member.policy, last, steps.value
        following = policy.value(seen, memory, steps.weight[-1] > 0)[None]
        bootstrap = jnp.where(steps.ends, steps.final, jnp.concatenate([value[1:], following]))
        advantage = advantages(
            steps.reward,
            value,
            bootstrap,
            steps.ends,
            self.config.discount,
            self.config.gae_lambda,
        )
        count = len(value) // self.config.rollout
        recurrent = policy.cell is not None
        fold = partial(_side_by_side, count=count)
        renewed = fold(steps.renewed)
        return Batch(
            fold(steps.observation),
            fold(steps.action),
            fold(steps.log_prob),
            fold(advantage),
            fold(advantage + value),
            fold(steps.weight),
            jax.tree.map(fold, steps.noise),
            before.reshape(1, -1, *before.shape[2:]) if recurrent else (),
            jnp.concatenate([jnp.zeros_like(renewed[:1]), renewed[:-1]]) if recurrent else None,
        )

    def _improve(
        self, member: Member, batch: Batch, exploration: Exploration
    ) -> tuple[Member, dict[str, Array]]:
        config, policy, curiosity = self.config, member.policy, member.curiosity
        size = config.swarms // config.minibatches

        def loss(trainable: Any, part: Batch) -> tuple[Array, dict[str, Array]]:
            total, figures = config.loss(_with(policy, trainable[0]), part, exploration)
            if curiosity is not None:
                learned = dataclasses.replace(curiosity, predictor=trainable[1])
                error = part.mean(learned.error(policy.scale(part.observation)))
                total, figures = total + error, {**figures, "unfamiliar": error}
            return total, figures

        def minibatch(carry: Any, index: Array) -> tuple[Any, dict[str, Array]]:
            trainable, optimiser = carry
            start = (index % config.minibatches) * size
            part = jax.tree.map(
                lambda leaf: jax.lax.dynamic_slice_in_dim(leaf, start, size, axis=1), batch
            )
            gradients, figures = jax.grad(loss, has_aux=True)(trainable, part)
            changes, optimiser = self.optimiser.update(gradients, optimiser, trainable)
            return (optax.apply_updates(trainable, changes), optimiser), figures

        start = (_trainable(policy), None if curiosity is None else curiosity.predictor)
        ((trainable, predictor), optimiser), figures = jax.lax.scan(
            minibatch,
            (start, member.optimiser),
            jnp.arange(config.epochs * config.minibatches),
        )
        last = {name: values[-config.minibatches :].mean() for name, values in figures.items()}
        trained, moments = _with(policy, trainable), member.moments
        if curiosity is not None and predictor is not None:
            error = curiosity.error(policy.scale(batch.observation))
            curiosity = dataclasses.replace(
                curiosity,
                predictor=predictor,
                square=curiosity.square + jnp.sum(error**2 * batch.weight),
                count=curiosity.count + jnp.sum(batch.weight),
            )
        if config.normalise:
            moments = moments.merge(batch)
            trained = moments.scale(trained)
        return Member(trained, optimiser, moments, curiosity), last


def _side_by_side(x: Array, count: int) -> Array:
    """[K T,W,...] of `count` K rollouts one after the other, as [T,K W,...]."""
    if count == 1:
        return x
    apart = x.reshape(count, -1, *x.shape[1:]).swapaxes(0, 1)
    return apart.reshape(apart.shape[0], -1, *apart.shape[3:])


def _trainable(policy: Policy) -> Any:
    return policy.cell, policy.actor, policy.critic, policy.log_std


def _with(policy: Policy, trainable: Any) -> Policy:
    cell, actor, critic, log_std = trainable
    return dataclasses.replace(policy, cell=cell, actor=actor, critic=critic, log_std=log_std)
