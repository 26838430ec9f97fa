"""The training program of actor and critic on pure functions.

Rollout, advantages and update in one jitted function over many swarms.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from swarmctl.agents.deep.actor_critic import ActorCriticConfig
from swarmctl.agents.deep.exploration import Exploration
from swarmctl.agents.deep.policy import Policy
from swarmctl.core.contracts import Agent
from swarmctl.core.errors import ConfigError
from swarmctl.core.randomise import Randomise
from swarmctl.core.state import mean_present
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
from swarmctl.training.decisions import Decisions, Outcome
from swarmctl.training.figures import episode_figures
from swarmctl.training.improving import Improver
from swarmctl.training.members import Member, Mind, as_agent, make_groups
from swarmctl.training.randomised import drawn_params, env_axes
from swarmctl.training.warm_start import started_members

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


def check_program(config: ActorCriticConfig, horizon: int, updates: int) -> None:
    """Raise ConfigError if rollouts do not fit the horizon, or there is no update."""
    if horizon % config.rollout and config.rollout % horizon:
        divisors = [d for d in range(1, horizon + 1) if horizon % d == 0]
        nearest = min(divisors, key=lambda d: abs(d - config.rollout))
        raise ConfigError(
            f"{config.name}: a rollout of {config.rollout} decisions does not divide the "
            f"horizon of {horizon}; use {nearest}, so that episodes end with rollouts."
        )
    if updates < 1:
        raise ConfigError(f"training needs at least 1 update, got {updates}.")


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
        check_program(config, env.scenario.horizon, updates)
        self.env, self.config, self.updates = env, config, updates
        self.groups = make_groups(env, config)
        config.build(env.spec)  # keys that do not fit the actions are refused here
        self.decisions = Decisions(env.spec, config, self.groups)
        self.improver = Improver(env.spec, config, self.decisions.learning, updates)
        self.params = env.params()
        self.randomise = randomise
        self.auto = AutoReset(env, config.swarms, axes=env_axes(env, randomise))
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

    def started(self, state: TrainState, agent: Agent) -> TrainState:
        """Return a first state (arrays or shapes) with the policies of `agent`.

        Raises PolicyFileError if they do not fit.
        """
        learning = self.decisions.learning
        members = started_members(state.members, learning, agent, self.env.spec)
        return dataclasses.replace(state, members=members)

    def agent(self, state: TrainState) -> Agent:
        """Return the policy of a training state, or the team of all species' agents."""
        return as_agent(self.env, self.groups, tuple(m.policy for m in state.members))

    def close(self) -> None:
        """Nothing is held: the engine's functions are pure."""

    def _pool(self, seed: int) -> Any:
        return self._jit_pool(jax.random.fold_in(jax.random.key(seed), 1), self.params)

    def _init(self, key: Array, pool: Any) -> TrainState:
        policy_key, draw_key, key = jax.random.split(jax.random.fold_in(key, 0), 3)
        config = self.config
        observation, env = self.auto.draw(draw_key, pool)
        ages = staggered_ages(config.swarms, config.rollout, self.env.scenario.horizon)
        members = self.improver.new_members(policy_key, observation.dtype)
        species = len(self.env.spec.engine.species)
        return TrainState(
            members=members,
            minds=self.decisions.rest(tuple(m.policy for m in members), config.swarms),
            env=stagger(env, ages),
            observation=observation,
            earned=jnp.zeros((config.swarms, 1 + species), observation.dtype),
            whole=ages == 0,
            key=jax.random.key_data(key),
            update=jnp.asarray(0, jnp.int32),
        )

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
        learning = range(len(self.decisions.learning))
        members, figures = self.improver.learn(
            state.members,
            steps,
            (observation, tuple(minds[index].memory for index in learning)),
            jax.tree.map(lambda x: x[None], tuple(state.minds[index].memory for index in learning)),
            exploration,
        )
        figures = episode_figures(log, self.env.spec.engine.species) | figures
        new_state = TrainState(
            members,
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
        swarms = None
        if self.decisions.looks:
            swarms = jax.vmap(lambda state: self.env.swarm(state, self.params))(env)
        action, thought, known = self.decisions.think(
            members,
            exploration,
            (observation, env.episode.active),
            (swarms, self.env.space(self.params)),
            minds,
            act_key,
        )
        new_observation, env_after, reward, terminated, truncated, info = self.auto.step(
            step_key, env, action, params, pool
        )
        done = info["done"]
        outcome = Outcome(
            reward=reward,
            acted=info["active"],
            terminated=terminated,
            truncated=truncated,
            done=done,
            counted=whole,
            renewed=(env_after.episode.identity != env.episode.identity) | done[:, None],
            final=info["final_obs"],
            measured=self._measure(info["final_state"]),
            failed=jnp.any(info["flags"].failed),
        )
        minds, earned, steps, log = self.decisions.keep(members, thought, known, outcome, earned)
        return (env_after, new_observation, minds, earned, whole | done), (steps, log)

    def _measure(self, states: EnvState) -> Array:
        """Mean of the scenario's measure over the present colloids of every swarm, [B]."""
        space = self.env.space(self.params)

        def one(state: EnvState) -> Array:
            swarm = self.env.swarm(state, self.params)
            return mean_present(self.env.scenario.measure(swarm, space), swarm.present)

        return jax.vmap(one)(states)
