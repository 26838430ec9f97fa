"""The training program of actor and critic: one jitted function over many swarms."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from swarmctl.agents.deep.actor_critic import ActorCriticConfig
from swarmctl.agents.deep.batch import Batch, advantages
from swarmctl.agents.deep.curiosity import init_curiosity
from swarmctl.agents.deep.exploration import Exploration
from swarmctl.agents.deep.policy import Policy
from swarmctl.core.contracts import Agent, AgentInputs
from swarmctl.core.errors import ConfigError
from swarmctl.core.randomise import Randomise
from swarmctl.core.state import mean_present, renew_rows
from swarmctl.core.tree import pytree
from swarmctl.envs.functional import (
    AutoReset,
    EnvParams,
    EnvState,
    SwarmEnv,
    stagger,
    staggered_ages,
)
from swarmctl.tasks.algebra import with_progress
from swarmctl.training.figures import episode_figures, explained_variance, mean_rewards
from swarmctl.training.members import (
    Group,
    Member,
    Mind,
    ObservationMoments,
    as_agent,
    make_groups,
)
from swarmctl.training.randomised import drawn_params, env_axes

Array = jax.Array


@pytree
class TrainState:
    """Everything that the next update depends on; saving it allows an exact resume.

    `members` are the policies that learn, `minds` what all agents remember. `earned` f [B,1+S] is
    the return of the running episodes, of all colloids and of every species, `whole` bool [B]
    whether they are seen from their start.
    """

    members: tuple[Member, ...]
    minds: tuple[Mind, ...]
    env: EnvState
    observation: Array
    earned: Array
    whole: Array
    key: Array
    update: Array

    @property
    def policy(self) -> Policy:
        """The first policy that learns, and mostly the only one."""
        return self.members[0].policy


class Learner:
    """PPO or REINFORCE on a functional environment.

    Args:
        env: the environment; its engine must be made of pure functions.
        config: keys of the agent.
        updates: how many updates the learning-rate schedule spans.
        randomise: what every swarm draws anew for each of its episodes, None for nothing.
    Raises ConfigError if the rollout does not fit the horizon, or keys do not fit the scenario.
    """

    def __init__(
        self,
        env: SwarmEnv,
        config: ActorCriticConfig,
        updates: int,
        randomise: Randomise | None = None,
    ) -> None:
        horizon = env.scenario.horizon
        if horizon % config.rollout and config.rollout % horizon:
            divisors = [d for d in range(1, horizon + 1) if horizon % d == 0]
            nearest = min(divisors, key=lambda d: abs(d - config.rollout))
            raise ConfigError(
                f"{config.name}: a rollout of {config.rollout} decisions does not divide the "
                f"horizon of {horizon}; "
                f"use {nearest}, so that episodes end with rollouts."
            )
        if updates < 1:
            raise ConfigError(f"training needs at least 1 update, got {updates}.")
        self.env, self.config, self.updates = env, config, updates
        self.groups = make_groups(env, config)
        self.learning = tuple(group for group in self.groups if group.agent is None)
        config.build(env.spec)  # keys that do not fit the actions are refused here
        self.params = env.params()
        self.randomise = randomise
        self.auto = AutoReset(env, config.swarms, axes=env_axes(env, randomise))
        schedule = optax.linear_schedule(
            config.learning_rate,
            config.final_learning_rate,
            updates * config.epochs * config.minibatches,
        )
        self.optimiser = optax.chain(
            optax.clip_by_global_norm(config.gradient_norm), optax.adam(schedule, eps=1e-5)
        )
        self._jit_init = jax.jit(self._init)
        self._jit_update = jax.jit(self._update, donate_argnums=0)
        self._jit_pool = jax.jit(self.auto.prepare)
        self._pools: dict[int, Any] = {}

    @property
    def steps_per_update(self) -> int:
        """Agent steps (decisions of single colloids) in an update."""
        return self.config.swarms * self.config.rollout * self.env.spec.engine.capacity

    def init(self, seed: int) -> TrainState:
        """Return the state before the first update."""
        self._pools = {seed: self._pool(seed)}
        return self._jit_init(jax.random.key(seed), self._pools[seed])

    def shapes(self) -> TrainState:
        """Return the shapes and types of a training state; nothing is computed."""
        key = jax.random.key(0)
        return jax.eval_shape(self._init, key, jax.eval_shape(self.auto.prepare, key, self.params))

    def update(self, state: TrainState, seed: int) -> tuple[TrainState, dict[str, Array]]:
        """One rollout and its passes; `state` is consumed. Returns (state, figures)."""
        if seed not in self._pools:
            self._pools = {seed: self._pool(seed)}
        return self._jit_update(state, self._pools[seed], np.uint32(seed % 2**32))

    def agent(self, state: TrainState) -> Agent:
        """Return the policy of a training state, or the team of all species' agents."""
        return as_agent(self.env, self.groups, tuple(m.policy for m in state.members))

    def _pool(self, seed: int) -> Any:
        return self._jit_pool(jax.random.fold_in(jax.random.key(seed), 1), self.params)

    def _init(self, key: Array, pool: Any) -> TrainState:
        policy_key, draw_key, key = jax.random.split(jax.random.fold_in(key, 0), 3)
        config = self.config
        observation, env = self.auto.draw(draw_key, pool)
        ages = staggered_ages(config.swarms, config.rollout, self.env.scenario.horizon)
        members = tuple(
            self._new_member(_folded(policy_key, index), observation.dtype)
            for index in range(len(self.learning))
        )
        species = len(self.env.spec.engine.species)
        return TrainState(
            members=members,
            minds=self._new_minds(tuple(member.policy for member in members)),
            env=stagger(env, ages),
            observation=observation,
            earned=jnp.zeros((config.swarms, 1 + species), observation.dtype),
            whole=ages == 0,
            key=jax.random.key_data(key),
            update=jnp.asarray(0, jnp.int32),
        )

    def _new_member(self, key: Array, dtype: Any) -> Member:
        config, spec = self.config, self.env.spec
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

    def _new_minds(self, policies: tuple[Policy, ...]) -> tuple[Mind, ...]:
        swarms, minds = self.config.swarms, []
        exploration = self.config.exploration(jnp.asarray(0.0))
        for index, group in enumerate(self.groups):
            if group.agent is None:
                policy, lead = policies[index], (swarms, len(group.slots))
                minds.append(Mind(policy.rest(*lead), exploration.start(policy, *lead)))
            else:
                memory = group.agent.init_memory(self.env.spec)
                spread = jax.tree.map(lambda x: jnp.broadcast_to(x, (swarms, *x.shape)), memory)
                minds.append(Mind(spread))
        return tuple(minds)

    def _update(
        self, state: TrainState, pool: Any, seed: Array
    ) -> tuple[TrainState, dict[str, Array]]:
        key, rollout_key = jax.random.split(jax.random.wrap_key_data(state.key))
        progress = state.update / self.updates
        exploration = self.config.exploration(progress)
        rules = self.params.rules
        rules = dataclasses.replace(rules, task=with_progress(rules.task, progress))
        params = dataclasses.replace(self.params, rules=rules)
        params = drawn_params(self.env, params, self.randomise, self.config, seed, state.update)
        carry = (state.env, state.observation, state.minds, state.earned, state.whole)
        keys = jax.random.split(rollout_key, self.config.rollout)

        def decide(carry: Any, step_key: Array) -> tuple[Any, Any]:
            return self._decide(state.members, exploration, params, pool, carry, step_key)

        (env, observation, minds, earned, whole), (steps, log) = jax.lax.scan(decide, carry, keys)
        members, figures = [], episode_figures(log, self.env.spec.engine.species)
        for index, group in enumerate(self.learning):
            last = group.rows(observation), minds[index].memory
            batch = self._batch(state.members[index], steps[index], last, state.minds[index])
            member, found = self._improve(state.members[index], batch, exploration)
            members.append(member)
            found["explained_variance"] = explained_variance(batch)
            prefix = f"{'+'.join(group.species)}/" if len(self.learning) > 1 else ""
            figures |= {f"{prefix}{name}": value for name, value in found.items()}
        new_state = TrainState(
            tuple(members),
            minds,
            env,
            observation,
            earned,
            whole,
            jax.random.key_data(key),
            state.update + 1,
        )
        return new_state, figures

    def _decide(
        self,
        members: tuple[Member, ...],
        exploration: Exploration,
        params: EnvParams,
        pool: Any,
        carry: Any,
        key: Array,
    ) -> tuple[Any, Any]:
        env, observation, minds, earned, whole = carry
        act_key, step_key = jax.random.split(key)
        active = env.episode.active
        decided, thought, known = [], [], []
        for index, group in enumerate(self.groups):
            own_key, mind = _folded(act_key, index), minds[index]
            if group.agent is not None:
                chosen, memory = self._follow(group, env, observation, mind, own_key)
                decided.append(group.rows(chosen))
                thought.append(Mind(memory))
                continue
            policy, seen = members[index].policy, group.rows(observation)
            features, memory = policy.features(policy.scale(seen), mind.memory)
            head = policy.actor(features)
            acting, explored = exploration.apply(policy, head, mind.noise)
            raw, log_prob = acting.sample(explored, own_key)
            value = policy.judge(features, group.rows(active))
            decided.append(policy.action(raw))
            thought.append(Mind(memory, exploration.follow(head, raw, mind.noise)))
            known.append((seen, raw, log_prob, value, mind.noise))
        new_observation, env_after, reward, terminated, truncated, info = self.auto.step(
            step_key, env, self._gather(decided), params, pool
        )
        done = info["done"]
        renewed = (env_after.episode.identity != env.episode.identity) | done[:, None]
        cut = truncated[:, None] & info["active"] & ~terminated
        ends = terminated | done[:, None]
        weight = info["active"].astype(reward.dtype)
        steps = tuple(
            (
                *what,
                self._paid(members[index], group, reward, info),
                group.rows(ends),
                self._final_value(members[index], group, thought[index], info, cut, truncated),
                group.rows(weight),
                group.rows(renewed),
            )
            for index, (group, what) in enumerate(zip(self.learning, known, strict=True))
        )
        earned = earned + mean_rewards(reward, weight, self.env.spec.engine)
        measured = jnp.where(done, self._measure(info["final_state"]), 0)
        log = {
            "measured": jnp.sum(measured),
            "ended": jnp.sum(done.astype(jnp.int32)),
            "returned": jnp.sum(jnp.where((done & whole)[:, None], earned, 0), axis=0),
            "episodes": jnp.sum((done & whole).astype(jnp.int32)),
            "reward": jnp.sum(reward),
            "weight": jnp.sum(weight),
            "failed": jnp.any(info["flags"].failed),
        }
        rested = self._new_minds(tuple(member.policy for member in members))
        minds = tuple(
            _renew(mind, fresh, renewed if group.agent is not None else group.rows(renewed))
            for group, mind, fresh in zip(self.groups, thought, rested, strict=True)
        )
        earned = jnp.where(done[:, None], 0, earned)
        return (env_after, new_observation, minds, earned, whole | done), (steps, log)

    def _follow(
        self, group: Group, env: EnvState, seen: Array, mind: Mind, key: Array
    ) -> tuple[Array, Any]:
        """Actions [B,N] and memory of an agent that does not learn."""
        assert group.agent is not None
        agent, space = group.agent, self.env.space(self.params)

        def act(state: EnvState, seen: Array, memory: Any, key: Array) -> tuple[Any, Any]:
            inputs = AgentInputs(self.env.swarm(state, self.params), seen, space)
            return agent.act(inputs, memory, key)

        keys = jax.random.split(key, self.config.swarms)
        return jax.vmap(act)(env, seen, mind.memory, keys)

    def _gather(self, decided: list[Array]) -> Array:
        """Actions [B,N,...] of all slots from those of the groups."""
        if len(decided) == 1:
            return decided[0]
        first = decided[0]
        shape = (self.config.swarms, self.env.spec.engine.capacity, *first.shape[2:])
        action = jnp.zeros(shape, first.dtype)
        for group, part in zip(self.groups, decided, strict=True):
            action = action.at[:, group.slots].set(part.astype(first.dtype))
        return action

    def _paid(self, member: Member, group: Group, reward: Array, info: dict[str, Any]) -> Array:
        paid = group.rows(reward)
        if member.curiosity is None:
            return paid
        found = member.curiosity.bonus(member.policy.scale(group.rows(info["final_obs"])))
        return paid + self.config.curiosity * jnp.where(group.rows(info["active"]), found, 0)

    def _final_value(
        self,
        member: Member,
        group: Group,
        mind: Mind,
        info: dict[str, Any],
        cut: Array,
        truncated: Array,
    ) -> Array:
        """Value [B,n] of the final observations where time was up, 0 elsewhere."""
        cut = group.rows(cut)

        def value() -> Array:
            final, active = group.rows(info["final_obs"]), group.rows(info["active"])
            return jnp.where(cut, member.policy.value(final, mind.memory, active), 0)

        # Only at a truncation the final observation differs from the next one and has a value.
        return jax.lax.cond(
            truncated.any(), value, lambda: jnp.zeros(cut.shape, member.policy.mean.dtype)
        )

    def _measure(self, states: EnvState) -> Array:
        """Mean of the scenario's measure over the present colloids of every swarm, [B]."""
        space = self.env.space(self.params)

        def one(state: EnvState) -> Array:
            swarm = self.env.swarm(state, self.params)
            return mean_present(self.env.scenario.measure(swarm, space), swarm.present)

        return jax.vmap(one)(states)

    def _batch(
        self, member: Member, steps: tuple[Any, ...], last: tuple[Array, Any], before: Mind
    ) -> Batch:
        observation, raw, log_prob, value, noise, reward, ends, final, weight, renewed = steps
        policy = member.policy
        seen, memory = last
        following = jnp.concatenate([value[1:], policy.value(seen, memory, weight[-1] > 0)[None]])
        bootstrap = jnp.where(ends, final, following)
        advantage = advantages(
            reward, value, bootstrap, ends, self.config.discount, self.config.gae_lambda
        )
        recurrent = policy.cell is not None
        return Batch(
            observation,
            raw,
            log_prob,
            advantage,
            advantage + value,
            weight,
            noise,
            before.memory[None] if recurrent else (),
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


def _folded(key: Array, index: int) -> Array:
    return jax.random.fold_in(key, index) if index else key


def _renew(mind: Mind, fresh: Mind, renewed: Array) -> Mind:
    return jax.vmap(renew_rows)(mind, fresh, renewed) if jax.tree.leaves(mind) else mind


def _trainable(policy: Policy) -> Any:
    return policy.cell, policy.actor, policy.critic, policy.log_std


def _with(policy: Policy, trainable: Any) -> Policy:
    cell, actor, critic, log_std = trainable
    return dataclasses.replace(policy, cell=cell, actor=actor, critic=critic, log_std=log_std)
