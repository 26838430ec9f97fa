"""The training program of PPO.

Rollout, advantages and update in one jitted function over many swarms.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import optax

from swarmctl.agents.deep.policy import Policy, init_policy
from swarmctl.agents.deep.ppo import Batch, PPOConfig, advantages, loss
from swarmctl.core.errors import ConfigError
from swarmctl.core.state import mean_present
from swarmctl.core.tree import pytree
from swarmctl.envs.functional import AutoReset, EnvState, SwarmEnv, stagger

Array = jax.Array


@pytree
class ObservationMoments:
    """Running count [], mean [F] and summed squared deviation [F] of observations."""

    count: Array
    mean: Array
    square: Array


@pytree
class TrainState:
    """Everything that the next update depends on; saving it allows an exact resume.

    `earned` f [B] is the return of the running episodes, `whole` bool [B] whether they are seen
    from their start.
    """

    policy: Policy
    optimiser: Any
    moments: ObservationMoments
    env: EnvState
    observation: Array
    earned: Array
    whole: Array
    key: Array
    update: Array


class Learner:
    """PPO on a functional environment.

    Args:
        env: the environment; its engine must be made of pure functions.
        config: keys of PPO.
        updates: how many updates the learning-rate schedule spans.
    Raises ConfigError if the rollout does not fit the horizon.
    """

    def __init__(self, env: SwarmEnv, config: PPOConfig, updates: int) -> None:
        horizon = env.scenario.horizon
        if horizon % config.rollout and config.rollout % horizon:
            divisors = [d for d in range(1, horizon + 1) if horizon % d == 0]
            nearest = min(divisors, key=lambda d: abs(d - config.rollout))
            raise ConfigError(
                f"ppo: a rollout of {config.rollout} decisions does not divide the horizon of "
                f"{horizon}; "
                f"use {nearest}, so that episodes end with rollouts."
            )
        if updates < 1:
            raise ConfigError(f"training needs at least 1 update, got {updates}.")
        self.env, self.config, self.updates = env, config, updates
        self.params = env.params()
        self.auto = AutoReset(env, config.swarms)
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
        return self._jit_update(state, self._pools[seed])

    def _pool(self, seed: int) -> Any:
        return self._jit_pool(jax.random.fold_in(jax.random.key(seed), 1), self.params)

    def _init(self, key: Array, pool: Any) -> TrainState:
        policy_key, draw_key, key = jax.random.split(jax.random.fold_in(key, 0), 3)
        config, spec = self.config, self.env.spec
        policy = init_policy(policy_key, spec, config.hidden, config.log_std)
        observation, env = self.auto.draw(draw_key, pool)
        horizon = self.env.scenario.horizon
        # Ages in whole rollouts: episodes end when rollouts do, and some end with each of them.
        groups = max(horizon // config.rollout, 1)
        ages = (jnp.arange(config.swarms) % groups) * min(config.rollout, horizon)
        dtype = observation.dtype
        size = spec.observation_size
        return TrainState(
            policy=policy,
            optimiser=self.optimiser.init(_trainable(policy)),
            moments=ObservationMoments(
                jnp.asarray(0, dtype), jnp.zeros(size, dtype), jnp.zeros(size, dtype)
            ),
            env=stagger(env, ages),
            observation=observation,
            earned=jnp.zeros(config.swarms, dtype),
            whole=ages == 0,
            key=jax.random.key_data(key),
            update=jnp.asarray(0, jnp.int32),
        )

    def _update(self, state: TrainState, pool: Any) -> tuple[TrainState, dict[str, Array]]:
        key, rollout_key = jax.random.split(jax.random.wrap_key_data(state.key))
        policy = state.policy
        carry = (state.env, state.observation, state.earned, state.whole)
        keys = jax.random.split(rollout_key, self.config.rollout)

        def decide(carry: Any, step_key: Array) -> tuple[Any, tuple[Any, ...]]:
            return self._decide(policy, pool, carry, step_key)

        (env, observation, earned, whole), steps = jax.lax.scan(decide, carry, keys)
        batch, episodes = self._batch(policy, steps, observation)
        moments = state.moments
        trained, optimiser, figures = self._improve(policy, state.optimiser, batch)
        if self.config.normalise:
            moments = _merge_moments(moments, batch)
            trained = dataclasses.replace(
                trained,
                mean=moments.mean,
                deviation=jnp.sqrt(moments.square / jnp.maximum(moments.count, 1) + 1e-8),
            )
        new_state = TrainState(
            trained,
            optimiser,
            moments,
            env,
            observation,
            earned,
            whole,
            jax.random.key_data(key),
            state.update + 1,
        )
        figures = {
            **figures,
            **episodes,
            "explained_variance": _explained(batch),
        }
        return new_state, figures

    def _decide(
        self, policy: Policy, pool: Any, carry: Any, key: Array
    ) -> tuple[Any, tuple[Any, ...]]:
        env, observation, earned, whole = carry
        act_key, step_key = jax.random.split(key)
        scaled = policy.scale(observation)
        raw, log_prob = policy.sample(policy.actor(scaled), act_key)
        value = policy.critic(scaled)[..., 0]
        new_observation, env, reward, terminated, truncated, info = self.auto.step(
            step_key, env, policy.squash(raw), self.params, pool
        )
        cut = truncated[:, None] & info["active"] & ~terminated
        # Only at a truncation the final observation differs from the next one and has a value.
        final_value = jax.lax.cond(
            truncated.any(),
            lambda: jnp.where(cut, policy.value(info["final_obs"]), 0),
            lambda: jnp.zeros_like(value),
        )
        weight = info["active"].astype(reward.dtype)
        earned = earned + jnp.sum(reward, -1) / jnp.maximum(jnp.sum(weight, -1), 1)
        done = info["done"]
        flags = info["flags"]
        measured = jnp.where(done, self._measure(info["final_state"]), 0)
        log = {
            "measured": jnp.sum(measured),
            "ended": jnp.sum(done.astype(jnp.int32)),
            "returned": jnp.sum(jnp.where(done & whole, earned, 0)),
            "episodes": jnp.sum((done & whole).astype(jnp.int32)),
            "failed": jnp.any(flags.failed),
        }
        carry = (env, new_observation, jnp.where(done, 0, earned), whole | done)
        ends = terminated | done[:, None]
        return carry, (
            observation,
            raw,
            log_prob,
            value,
            reward,
            ends,
            final_value,
            weight,
            log,
        )

    def _measure(self, states: EnvState) -> Array:
        """Mean of the scenario's measure over the present colloids of every swarm, [B]."""
        space = self.env.space(self.params)

        def one(state: EnvState) -> Array:
            swarm = self.env.swarm(state, self.params)
            return mean_present(self.env.scenario.measure(swarm, space), swarm.present)

        return jax.vmap(one)(states)

    def _batch(
        self, policy: Policy, steps: tuple[Any, ...], last: Array
    ) -> tuple[Batch, dict[str, Array]]:
        observation, raw, log_prob, value, reward, ends, final_value, weight, log = steps
        following = jnp.concatenate([value[1:], policy.value(last)[None]])
        bootstrap = jnp.where(ends, final_value, following)
        advantage = advantages(
            reward, value, bootstrap, ends, self.config.discount, self.config.gae_lambda
        )
        batch = Batch(observation, raw, log_prob, advantage, advantage + value, weight)
        count = jnp.sum(log["episodes"])
        episodes = {
            "episode_return": jnp.sum(log["returned"]) / count,
            "episodes": count,
            "final_measure": jnp.sum(log["measured"]) / jnp.sum(log["ended"]),
            "reward": jnp.sum(reward) / jnp.maximum(jnp.sum(weight), 1),
            "failed": jnp.any(log["failed"]),
        }
        return batch, episodes

    def _improve(
        self, policy: Policy, optimiser: Any, batch: Batch
    ) -> tuple[Policy, Any, dict[str, Array]]:
        config = self.config
        size = config.swarms // config.minibatches
        gradient = jax.grad(
            lambda trainable, part: loss(_with(policy, trainable), part, config), has_aux=True
        )

        def minibatch(carry: Any, index: Array) -> tuple[Any, dict[str, Array]]:
            trainable, optimiser = carry
            start = (index % config.minibatches) * size
            part = jax.tree.map(
                lambda leaf: jax.lax.dynamic_slice_in_dim(leaf, start, size, axis=1), batch
            )
            gradients, figures = gradient(trainable, part)
            changes, optimiser = self.optimiser.update(gradients, optimiser, trainable)
            return (optax.apply_updates(trainable, changes), optimiser), figures

        (trainable, optimiser), figures = jax.lax.scan(
            minibatch,
            (_trainable(policy), optimiser),
            jnp.arange(config.epochs * config.minibatches),
        )
        last = {name: values[-config.minibatches :].mean() for name, values in figures.items()}
        return _with(policy, trainable), optimiser, last


def _trainable(policy: Policy) -> Any:
    return policy.actor, policy.critic, policy.log_std


def _with(policy: Policy, trainable: Any) -> Policy:
    actor, critic, log_std = trainable
    return dataclasses.replace(policy, actor=actor, critic=critic, log_std=log_std)


def _merge_moments(moments: ObservationMoments, batch: Batch) -> ObservationMoments:
    """Chan's parallel update of mean and variance with the weighted observations of a batch."""
    weight = batch.weight[..., None]
    axes = tuple(range(batch.weight.ndim))
    count = jnp.sum(batch.weight)
    safe = jnp.maximum(count, 1)
    mean = jnp.sum(batch.observation * weight, axes) / safe
    square = jnp.sum((batch.observation - mean) ** 2 * weight, axes)
    total = moments.count + count
    share = count / jnp.maximum(total, 1)
    delta = mean - moments.mean
    return ObservationMoments(
        total,
        moments.mean + delta * share,
        moments.square + square + delta**2 * moments.count * share,
    )


def _explained(batch: Batch) -> Array:
    """1 - Var(target - value)/Var(target) over the weighted samples."""
    total = jnp.maximum(jnp.sum(batch.weight), 1)

    def variance(x: Array) -> Array:
        centre = jnp.sum(x * batch.weight) / total
        return jnp.sum((x - centre) ** 2 * batch.weight) / total

    return 1 - variance(batch.advantage) / jnp.maximum(variance(batch.target), 1e-12)
