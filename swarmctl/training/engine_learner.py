"""The training program of actor and critic on engines that are not made of pure functions.

Rollouts are made decision by decision, on one engine or on several in worker processes; what is
learned from them is what `swarmctl.training.learner` learns.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from swarmctl.agents.deep.actor_critic import ActorCriticConfig
from swarmctl.agents.deep.policy import Policy
from swarmctl.core.contracts import Agent
from swarmctl.core.errors import ConfigError
from swarmctl.core.tree import pytree
from swarmctl.training.collecting import Collected, Collector, Order, Stream, fresh_streams
from swarmctl.training.decisions import Decisions, folded
from swarmctl.training.engine_episodes import EngineEnv
from swarmctl.training.engine_workers import WorkerCollector
from swarmctl.training.figures import episode_figures
from swarmctl.training.improving import Improver
from swarmctl.training.learner import check_program
from swarmctl.training.members import Member, as_agent, make_groups
from swarmctl.training.warm_start import started_members

Array = jax.Array


@pytree
class EngineTrainState:
    """Everything that the next update depends on; saving it allows an exact resume on an engine
    that repeats its episodes.

    `members` are the policies that learn, `streams` where the W engines are.
    """

    members: tuple[Member, ...]
    streams: Stream
    key: Array
    update: Array

    @property
    def policy(self) -> Policy:
        """The first policy that learns, and mostly the only one."""
        return self.members[0].policy


class EngineLearner:
    """PPO or REINFORCE on any engine.

    The `swarms` rollouts of an update are made one after the other, shared out evenly among the
    engines, and learned from side by side.

    Args:
        env: the scenario on an engine.
        config: keys of the agent.
        updates: how many updates the learning-rate schedule spans.
        workers: engines. One is that of `env`; more are in processes of their own.
        make: makes the environment of a worker; it must be picklable. Needed for several workers.
    Raises ConfigError if workers, rollout or keys do not fit.
    """

    def __init__(
        self,
        env: EngineEnv,
        config: ActorCriticConfig,
        updates: int,
        workers: int = 1,
        make: Callable[[], EngineEnv] | None = None,
    ) -> None:
        check_program(config, env.scenario.horizon, updates)
        check_workers(env, config, workers)
        if workers > 1 and make is None:
            raise ConfigError(f"{workers} workers need `make`, which makes the engine of each.")
        self.env, self.config, self.updates, self.workers = env, config, updates, workers
        self.groups = make_groups(env, config)
        config.build(env.spec)  # keys that do not fit the actions are refused here
        self.decisions = Decisions(env.spec, config, self.groups)
        self.improver = Improver(env.spec, config, self.decisions.learning, updates)
        self._make = make
        self._collectors: list[Collector | WorkerCollector] = []
        self._jit_init = jax.jit(self._init)
        self._jit_learn = jax.jit(self._learn)

    @property
    def steps_per_update(self) -> int:
        """Agent steps (decisions of single colloids) in an update."""
        return self.config.swarms * self.config.rollout * self.env.spec.engine.capacity

    def init(self, seed: int) -> EngineTrainState:
        """Return the state before the first update; no engine is touched."""
        return self._jit_init(jax.random.key(seed))

    def shapes(self) -> EngineTrainState:
        """Return the shapes and types of a training state; nothing is computed."""
        return jax.eval_shape(self._init, jax.random.key(0))

    def update(self, state: EngineTrainState, seed: int) -> tuple[EngineTrainState, dict[str, Any]]:
        """Rollouts and their passes. Returns (state, figures).

        An engine that is not where `state` left it repeats its episode first. Raises
        WorkerDiedError and what the engine raises.
        """
        key, rollout_key = jax.random.split(jax.random.wrap_key_data(state.key))
        progress = np.asarray(state.update / self.updates)
        orders = [
            Order(
                state.members,
                jax.tree.map(lambda leaf, w=number: leaf[w : w + 1], state.streams),
                progress,
                jax.random.key_data(folded(rollout_key, number)),
                seed,
                number,
            )
            for number in range(self.workers)
        ]
        found = self._collect(orders)
        faults = [fault for collected in found for fault in collected.faults]
        streams = jax.tree.map(lambda *x: np.concatenate(x), *(c.stream for c in found))
        steps = jax.tree.map(lambda *x: np.concatenate(x, axis=1), *(c.steps for c in found))
        before = jax.tree.map(lambda *x: np.concatenate(x, axis=1), *(c.before for c in found))
        log = jax.tree.map(lambda *x: np.concatenate(x), *(c.log for c in found))
        members, figures = self._jit_learn(state.members, steps, streams, before, log, progress)
        figures |= {"faults": len(faults), "fault": faults[-1] if faults else None}
        state = EngineTrainState(members, streams, jax.random.key_data(key), state.update + 1)
        return state, figures

    def started(self, state: EngineTrainState, agent: Agent) -> EngineTrainState:
        """Return a first state (arrays or shapes) with the policies of `agent`.

        Raises PolicyFileError if they do not fit.
        """
        learning = self.decisions.learning
        members = started_members(state.members, learning, agent, self.env.spec)
        return dataclasses.replace(state, members=members)

    def agent(self, state: EngineTrainState) -> Agent:
        """Return the policy of a training state, or the team of all species' agents."""
        return as_agent(self.env, self.groups, tuple(m.policy for m in state.members))

    def close(self) -> None:
        """Make the engines safe, close them and end the workers; may be called twice."""
        collectors, self._collectors = self._collectors, []
        for collector in collectors:
            collector.close()

    def _collect(self, orders: list[Order]) -> list[Collected]:
        rollouts = self.config.swarms // self.workers
        if not self._collectors:
            if self.workers == 1:
                self._collectors = [Collector(self.env, self.config, rollouts)]
            else:
                assert self._make is not None
                make = partial(_make_collector, self._make, self.config, rollouts)
                for number in range(self.workers):
                    self._collectors.append(WorkerCollector(make, number))
        pairs = list(zip(self._collectors, orders, strict=True))
        for collector, order in pairs:
            if isinstance(collector, WorkerCollector):
                collector.ask(order)
        return [
            c.answer() if isinstance(c, WorkerCollector) else c.collect(order) for c, order in pairs
        ]

    def _init(self, key: Array) -> EngineTrainState:
        policy_key, _, key = jax.random.split(jax.random.fold_in(key, 0), 3)
        members = self.improver.new_members(policy_key, jnp.dtype(self.env.spec.engine.dtype))
        return EngineTrainState(
            members,
            fresh_streams(self.decisions, members, self.env.scenario.horizon, self.workers),
            jax.random.key_data(key),
            jnp.asarray(0, jnp.int32),
        )

    def _learn(
        self, members: Any, steps: Any, streams: Stream, before: Any, log: Any, progress: Array
    ) -> tuple[tuple[Member, ...], dict[str, Array]]:
        memories = tuple(streams.minds[index].memory for index in range(len(members)))
        last = streams.observation, memories
        exploration = self.config.exploration(progress)
        members, figures = self.improver.learn(members, steps, last, before, exploration)
        return members, episode_figures(log, self.env.spec.engine.species) | figures


def check_workers(env: EngineEnv, config: ActorCriticConfig, workers: int) -> None:
    """Raise ConfigError unless the rollouts can be shared out among so many engines."""
    if config.swarms % workers:
        raise ConfigError(
            f"training: {workers} workers cannot share {config.swarms} rollouts evenly; use an "
            "agent.swarms that is a multiple of training.workers."
        )
    if workers > 1 and env.spec.engine.time_step is None:
        raise ConfigError(
            f"training: engine {env.spec.engine.name!r} is hardware, of which there is one; use "
            "training.workers=1."
        )


def _make_collector(
    make: Callable[[], EngineEnv], config: ActorCriticConfig, rollouts: int
) -> Collector:
    return Collector(make(), config, rollouts)
