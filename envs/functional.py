"""The functional view of an environment: pure functions that can be jitted, vmapped and scanned."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from swarmctl.core.command import rest_others
from swarmctl.core.contracts import ActionMap, Observable, PureEngine, Task
from swarmctl.core.errors import ConfigError
from swarmctl.core.spec import AgentSpec
from swarmctl.core.state import Space, SwarmState, renew_rows
from swarmctl.core.tree import pytree
from swarmctl.envs.scenario import Scenario, check_engine

Array = jax.Array


@pytree
class Rules:
    """What turns states into observations and rewards: pytrees whose numbers one may vmap over."""

    observable: Observable
    task: Task
    actions: ActionMap
    size: Array


@pytree
class EnvParams:
    """Parameters of an environment: the engine's and the rules'."""

    engine: Any
    rules: Rules


@pytree
class Episode:
    """Memory of an episode.

    Of the observable and of the task, who is still in it bool [N], identities i32 [N], decisions so
    far i32 [].
    """

    observable: Any
    task: Any
    active: Array
    identity: Array
    step: Array


@pytree
class EnvState:
    """State of a functional environment: the engine's and the episode's."""

    engine: Any
    episode: Episode


def begin_episode(state: SwarmState, rules: Rules, space: Space) -> tuple[Array, Episode]:
    """Return (observation [N,F], episode) of the first state of an episode."""
    memory = rules.observable.init(state, space)
    observation, memory = rules.observable.observe(state, memory, space)
    if observation.ndim != 2 or observation.shape[0] != state.capacity:
        raise ConfigError(
            f"observable {type(rules.observable).__name__}: it returns shape {observation.shape}; "
            f"it must be ({state.capacity}, F), one row per colloid."
        )
    task = rules.task.init(state, space)
    return _of_present(observation, state), Episode(
        memory, task, state.present, state.identity, jnp.asarray(0, jnp.int32)
    )


def continue_episode(
    state: SwarmState, episode: Episode, rules: Rules, space: Space, horizon: int
) -> tuple[Array, Episode, Array, Array, Array]:
    """Return (observation, episode, reward [N], terminated [N], truncated []) from the state after
    an action.

    A colloid that was lost, or whose slot another took over, earns nothing in this step; a newcomer
    starts afresh and is in the episode from the next step on.
    """
    renewed = state.identity != episode.identity
    observable = renew_rows(episode.observable, rules.observable.init(state, space), renewed)
    task = renew_rows(episode.task, rules.task.init(state, space), renewed)
    observation, observable = rules.observable.observe(state, observable, space)
    reward, terminated, task = rules.task.evaluate(state, task, space)
    _check_paid(rules.task, reward, terminated, state.capacity)
    counts = episode.active & state.present & ~renewed
    reward = jnp.where(counts, reward, 0)
    terminated = terminated & counts
    step = episode.step + 1
    truncated = step >= horizon
    active = jnp.where(renewed, state.present, episode.active & state.present & ~terminated)
    return (
        _of_present(observation, state),
        Episode(observable, task, active, state.identity, step),
        reward,
        terminated,
        truncated,
    )


def _check_paid(task: Task, reward: Array, terminated: Array, count: int) -> None:
    """Raise ConfigError for rewards and terminations of a wrong shape or type."""
    name = type(task).__name__
    for what, values, wanted, kind in (
        ("reward", reward, "floats", jnp.floating),
        ("terminated", terminated, "booleans", jnp.bool_),
    ):
        shape, dtype = jnp.shape(values), jnp.result_type(values)
        if shape != (count,) or not jnp.issubdtype(dtype, kind):
            raise ConfigError(
                f"task {name}: {what} is {dtype} of shape {shape}; it must be {wanted} of shape "
                f"({count},), one per colloid."
            )


def _of_present(observation: Array, state: SwarmState) -> Array:
    """Zero rows for absent colloids, also where an observable remembers what they saw when they
    were present.
    """
    return jnp.where(state.present[:, None], observation, 0)


class SwarmEnv:
    """Scenario x pure engine as pure functions.

    Raises CapabilityError or ConfigError if the engine does not fit the scenario.
    """

    def __init__(self, scenario: Scenario, engine: PureEngine) -> None:
        check_engine(scenario, engine)
        self.scenario = scenario
        self.engine = engine
        self.spec: AgentSpec = scenario.agent_spec(engine.spec)

    def params(self) -> EnvParams:
        """Return the parameters; `jax.vmap` may map over any of them."""
        engine = self.engine.params()
        return EnvParams(engine, make_rules(self.scenario, engine.size))

    def space(self, params: EnvParams) -> Space:
        """Return the space that belongs to `params`."""
        return Space(params.engine.size, self.engine.spec.periodic)

    def swarm(self, state: EnvState, params: EnvParams) -> SwarmState:
        """Return what is observed of the swarm in an environment state."""
        return self.engine.observe_state(state.engine, params.engine)

    def reset(self, key: Array, params: EnvParams) -> tuple[Array, EnvState]:
        """Start an episode; return (observation [N,F], state)."""
        engine = self.engine.init(key, params.engine)
        swarm = self.engine.observe_state(engine, params.engine)
        observation, episode = begin_episode(swarm, params.rules, self.space(params))
        return observation, EnvState(engine, episode)

    def step(
        self, key: Array, state: EnvState, action: Array, params: EnvParams
    ) -> tuple[Array, EnvState, Array, Array, Array, dict[str, Any]]:
        """Act for one control interval; never resets.

        Returns (observation f [N,F], state, reward f [N], terminated bool [N], truncated bool [],
        info); info holds `active` bool [N] (who was in the episode when it acted), `applied`
        (Command) and `flags`.
        """
        command = params.rules.actions.swarm_command(action, state.episode.active, self.engine.spec)
        return self.step_command(key, state, command, params)

    def step_command(
        self, key: Array, state: EnvState, command: Any, params: EnvParams
    ) -> tuple[Array, EnvState, Array, Array, Array, dict[str, Any]]:
        """Like `step`, for agents that return commands.

        Colloids that have left the episode are asked for nothing.
        """
        command = rest_others(command, state.episode.active)
        engine, applied, flags = self.engine.advance(key, state.engine, command, params.engine)
        swarm = self.engine.observe_state(engine, params.engine)
        observation, episode, reward, terminated, truncated = continue_episode(
            swarm, state.episode, params.rules, self.space(params), self.scenario.horizon
        )
        info = {"active": state.episode.active, "applied": applied, "flags": flags}
        return observation, EnvState(engine, episode), reward, terminated, truncated, info


def make_rules(scenario: Scenario, size: Array) -> Rules:
    """Collect what a scenario observes, pays and allows, its floating-point numbers in the dtype of
    `size`.
    """

    def convert(leaf: Any) -> Array:
        array = jnp.asarray(leaf)
        return array.astype(size.dtype) if jnp.issubdtype(array.dtype, jnp.floating) else array

    rules = Rules(scenario.observable, scenario.task, scenario.actions, size)
    return jax.tree.map(convert, rules)


def swarm_done(episode: Episode, truncated: Array) -> Array:
    """Whether a swarm's episode is over: truncated, or nobody is left in it."""
    return truncated | ~episode.active.any()


class AutoReset:
    """Batched environment that restarts finished swarms from a pool of prepared initial states.

    Placement is not computed in the step: a pool of `pool` starts is prepared once, and a finished
    swarm draws one of them. The observation of the state that ended the episode is in
    `info["final_obs"]`; a step's own observation is that of the new episode. `axes` are those of
    the parameters in `step`, as for `jax.vmap`, where swarms have some of their own.
    """

    def __init__(self, env: SwarmEnv, swarms: int, pool: int = 256, axes: Any = None) -> None:
        self.env, self.swarms, self.pool_size, self.axes = env, swarms, pool, axes

    def prepare(self, key: Array, params: EnvParams) -> tuple[Array, EnvState]:
        """Return the pool: (observations [P,N,F], states)."""
        keys = jax.random.split(key, self.pool_size)
        return jax.vmap(self.env.reset, (0, None))(keys, params)

    def draw(self, key: Array, pool: tuple[Array, EnvState]) -> tuple[Array, EnvState]:
        """Draw one start per swarm."""
        index = jax.random.randint(key, (self.swarms,), 0, self.pool_size)
        return jax.tree.map(lambda leaf: leaf[index], pool)

    def step(
        self,
        key: Array,
        state: EnvState,
        action: Array,
        params: EnvParams,
        pool: tuple[Array, EnvState],
    ) -> tuple[Array, EnvState, Array, Array, Array, dict[str, Any]]:
        """Step all swarms [B,...].

        Finished ones restart. Adds `final_obs` [B,N,F], `final_state` and `done` [B].
        """
        step_key, draw_key = jax.random.split(key)
        keys = jax.random.split(step_key, self.swarms)
        final, moved, reward, terminated, truncated, info = jax.vmap(
            self.env.step, (0, 0, 0, self.axes)
        )(keys, state, action, params)
        done = jax.vmap(swarm_done)(moved.episode, truncated)

        def restart(_: Any) -> tuple[Array, EnvState]:
            fresh = self.draw(draw_key, pool)
            return jax.tree.map(
                lambda new, old: jnp.where(done.reshape((-1,) + (1,) * (old.ndim - 1)), new, old),
                fresh,
                (final, moved),
            )

        observation, state = jax.lax.cond(done.any(), restart, lambda _: (final, moved), None)
        info = {**info, "final_obs": final, "final_state": moved, "done": done}
        return observation, state, reward, terminated, truncated, info


def stagger(state: EnvState, ages: Array) -> EnvState:
    """Set how many decisions old the episodes [B] are, so that not all swarms end at once."""
    episode = dataclasses.replace(state.episode, step=ages.astype(jnp.int32))
    return EnvState(state.engine, episode)


def staggered_ages(swarms: int, rollout: int, horizon: int) -> Array:
    """Decisions i32 [B] that episodes are old at the start of a training, in whole rollouts.

    They then end when rollouts do, and some end with each of them.
    """
    return (jnp.arange(swarms) % max(horizon // rollout, 1)) * min(rollout, horizon)
