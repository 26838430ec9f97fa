"""The training program of evolution strategies: whole episodes of many candidates side by side."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree

from swarmctl.agents.deep.evolution import EvolutionConfig, search_direction
from swarmctl.agents.deep.policy import Policy
from swarmctl.core.contracts import Agent
from swarmctl.core.errors import ConfigError
from swarmctl.core.randomise import Randomise
from swarmctl.core.state import mean_present
from swarmctl.core.tree import pytree
from swarmctl.envs.functional import EnvParams, SwarmEnv
from swarmctl.training.evaluate import act_and_step
from swarmctl.training.randomised import draw_env_params, env_axes
from swarmctl.training.warm_start import policy_of, started_policy

Array = jax.Array


@pytree
class EvolutionState:
    """Everything that the next update depends on: the policy in the middle of the candidates."""

    policy: Policy
    optimiser: Any
    key: Array
    update: Array


class EvolutionLearner:
    """Evolution strategies on a functional environment.

    Every candidate, θ + σ ε and θ - σ ε, steers `swarms` swarms for a whole episode, with the
    same starts and noise for all; Adam follows the search direction of their returns. What is
    randomised is drawn anew in every generation, the same for all candidates.
    Raises ConfigError if `updates` is not positive.
    """

    def __init__(
        self,
        env: SwarmEnv,
        config: EvolutionConfig,
        updates: int,
        randomise: Randomise | None = None,
    ) -> None:
        if updates < 1:
            raise ConfigError(f"training needs at least 1 update, got {updates}.")
        self.env, self.config, self.updates = env, config, updates
        self.params, self.randomise = env.params(), randomise
        self.axes = env_axes(env, randomise)
        schedule = optax.linear_schedule(config.learning_rate, config.final_learning_rate, updates)
        self.optimiser = optax.adam(schedule)
        self._jit_init = jax.jit(self._init)
        self._jit_update = jax.jit(self._update, donate_argnums=0)

    @property
    def steps_per_update(self) -> int:
        """Agent steps (decisions of single colloids) in an update."""
        config, env = self.config, self.env
        return config.population * config.swarms * env.scenario.horizon * env.spec.engine.capacity

    def init(self, seed: int) -> EvolutionState:
        """Return the state before the first update."""
        return self._jit_init(jax.random.key(seed))

    def shapes(self) -> EvolutionState:
        """Return the shapes and types of a training state; nothing is computed."""
        return jax.eval_shape(self._init, jax.random.key(0))

    def update(self, state: EvolutionState, seed: int) -> tuple[EvolutionState, dict[str, Array]]:
        """One generation; `state` is consumed. Returns (state, figures)."""
        return self._jit_update(state, self.params)

    def started(self, state: EvolutionState, agent: Agent) -> EvolutionState:
        """Return a first state (arrays or shapes) with the policy of `agent`, but for its critic.

        Raises PolicyFileError if it does not fit.
        """
        found = policy_of(agent, self.env.spec.engine.species)
        return dataclasses.replace(state, policy=started_policy(state.policy, found, self.env.spec))

    def agent(self, state: EvolutionState) -> Agent:
        """Return the policy in the middle of the candidates."""
        return state.policy

    def close(self) -> None:
        """Nothing is held: the engine's functions are pure."""

    def _init(self, key: Array) -> EvolutionState:
        policy_key, key = jax.random.split(key)
        policy = self.config.fresh(policy_key, self.env.spec)
        weights, _ = ravel_pytree((policy.cell, policy.actor))
        return EvolutionState(
            policy,
            self.optimiser.init(weights),
            jax.random.key_data(key),
            jnp.asarray(0, jnp.int32),
        )

    def _update(
        self, state: EvolutionState, params: EnvParams
    ) -> tuple[EvolutionState, dict[str, Array]]:
        config, policy = self.config, state.policy
        noise_key, run_key, key = jax.random.split(jax.random.wrap_key_data(state.key), 3)
        weights, unravel = ravel_pytree((policy.cell, policy.actor))
        pairs = config.population // 2
        noise = jax.random.normal(noise_key, (pairs, weights.size), weights.dtype)
        steps = config.deviation * jnp.concatenate([noise, -noise])

        def candidate(flat: Array) -> Policy:
            cell, actor = unravel(flat)
            return dataclasses.replace(policy, cell=cell, actor=actor)

        keys = jax.random.split(run_key, config.swarms)
        if self.randomise is not None:
            own = jax.vmap(lambda key: jax.random.fold_in(key, 1))(keys)
            params = draw_env_params(self.env, params, self.randomise, own)
        run = jax.vmap(partial(_episode, self.env), (None, 0, self.axes))
        returned, measured, failed = jax.vmap(lambda flat: run(candidate(flat), keys, params))(
            weights + steps
        )
        fitness = returned.mean(axis=1)
        direction = search_direction(noise, fitness, config.deviation)
        change, optimiser = self.optimiser.update(-direction, state.optimiser, weights)
        weights = (1 - config.decay) * optax.apply_updates(weights, change)
        figures = {
            "episode_return": fitness.mean(),
            "best_candidate": fitness.max(),
            "spread": fitness.std(),
            "final_measure": measured.mean(),
            "episodes": jnp.asarray(returned.size),
            "failed": failed.any(),
        }
        new = EvolutionState(
            candidate(weights), optimiser, jax.random.key_data(key), state.update + 1
        )
        return new, figures


def _episode(
    env: SwarmEnv, policy: Policy, key: Array, params: EnvParams
) -> tuple[Array, Array, Array]:
    """(return, measure at the end, whether the motion failed) of one swarm's episode."""
    reset_key, loop_key = jax.random.split(key)
    observation, state = env.reset(reset_key, params)

    def body(carry: Any, step_key: Array) -> tuple[Any, tuple[Array, Array]]:
        carry, step = act_and_step(env, policy, params, True, carry, step_key)
        counted = jnp.maximum(jnp.sum(step["active"]), 1)
        return carry, (jnp.sum(step["reward"]) / counted, step["flags"].failed)

    start = (observation, state, policy.init_memory(env.spec))
    keys = jax.random.split(loop_key, env.scenario.horizon)
    (_, state, _), (earned, failed) = jax.lax.scan(body, start, keys)
    swarm = env.swarm(state, params)
    measure = env.scenario.measure(swarm, env.space(params))
    return jnp.sum(earned), mean_present(measure, swarm.present), failed.any()
