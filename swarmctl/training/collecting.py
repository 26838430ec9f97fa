"""Rollouts on any engine, decision by decision: the loop that owns the engine during training.

On engines made of pure functions `swarmctl.training.learner` does the same for many swarms in one
compiled call.
"""

from __future__ import annotations

import dataclasses
import warnings
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from swarmctl.agents.deep.actor_critic import ActorCriticConfig
from swarmctl.core.state import mean_present
from swarmctl.core.tree import pytree
from swarmctl.envs.episode import EngineEpisode
from swarmctl.tasks.algebra import with_progress
from swarmctl.training.decisions import Decisions, Outcome, Steps
from swarmctl.training.engine_episodes import EngineEnv
from swarmctl.training.members import Member, Mind, make_groups

Array = jax.Array


@pytree
class Stream:
    """Where W engines are in their episodes: enough to come there again, as long as equal seeds and
    actions give equal episodes.

    Attributes:
        minds: what all agents remember; leaves have W rows.
        observation: [W,N,F], what is seen.
        earned: [W,1+S], return of the running episode, of all colloids and of every species.
        begun: i32 [W], episodes so far.
        decided: i32 [W], decisions in the running episode; 0 while none is running.
        action: [W,T,N,...], what was decided in it.
        progress: [W,T], share of the training that was done then.
    """

    minds: tuple[Mind, ...]
    observation: Array
    earned: Array
    begun: Array
    decided: Array
    action: Array
    progress: Array


@dataclass(frozen=True)
class Order:
    """What a collector is asked for: rollouts with these policies, from `stream` (W = 1) on.

    `seed` and `number` (of the engine) fix the starts of episodes, `key` the draws of the policies.
    """

    members: tuple[Member, ...]
    stream: Stream
    progress: Any
    key: Any
    seed: int
    number: int


@dataclass(frozen=True)
class Collected:
    """K rollouts of T decisions, one after the other, with leading axes [K T,1] or [K T].

    `before` are the memories [K,1,n,H] of the policies before every rollout, `faults` what was
    wrong with the engine.
    """

    steps: tuple[Steps, ...]
    log: dict[str, Any]
    before: tuple[Any, ...]
    stream: Stream
    faults: tuple[str, ...]


def fresh_streams(
    decisions: Decisions, members: tuple[Member, ...], horizon: int, engines: int
) -> Stream:
    """Streams before the first decision. `members` are those that learn."""
    spec, dtype = decisions.spec, jnp.dtype(decisions.spec.engine.dtype)
    capacity = spec.engine.capacity
    policies = tuple(member.policy for member in members)
    kind = policies[0].action(jnp.zeros(spec.action_space.shape, dtype)).dtype
    if not spec.action_space.shape:
        kind = jnp.dtype(jnp.int32)
    return Stream(
        minds=decisions.rest(policies, engines),
        observation=jnp.zeros((engines, capacity, spec.observation_size), dtype),
        earned=jnp.zeros((engines, 1 + len(spec.engine.species)), dtype),
        begun=jnp.zeros(engines, jnp.int32),
        decided=jnp.zeros(engines, jnp.int32),
        action=jnp.zeros((engines, horizon, capacity, *spec.action_space.shape), kind),
        progress=jnp.zeros((engines, horizon), dtype),
    )


class Collector:
    """Makes rollouts on one engine.

    An episode that is over stops the engine; the next one begins with the next decision. An engine
    that goes on by itself (hardware, which has no time step) is not left in the middle of an
    episode: one that is running after the last decision is cut there, as if time were up.

    Args:
        env: the scenario on its engine.
        config: keys of the agent.
        rollouts: how many rollouts, K, at a time.
    """

    def __init__(self, env: EngineEnv, config: ActorCriticConfig, rollouts: int) -> None:
        self._env, self._config, self._rollouts = env, config, rollouts
        self._waits = env.spec.engine.time_step is not None
        self._episode = EngineEpisode(env.scenario, env.engine)
        self._task = self._episode.rules.task
        self._decisions = Decisions(env.spec, config, make_groups(env, config))
        self._think = jax.jit(self._think_one)
        self._keep = jax.jit(self._decisions.keep)
        self._measure = jax.jit(
            lambda swarm: mean_present(env.scenario.measure(swarm, env.space), swarm.present)
        )
        self._now: _Position | None = None

    def collect(self, order: Order) -> Collected:
        """Go on from the order's stream.

        Raises what the engine raises, such as PhysicsError; a fault ends the episode only.
        """
        stream = jax.tree.map(np.asarray, order.stream)
        now = self._arrive(stream, order)
        self._now = None  # until all went well
        members = tuple(_acting(member) for member in order.members)
        learning = range(len(members))
        minds, earned, begun = stream.minds, stream.earned, int(stream.begun[0])
        if now is None and stream.decided[0]:
            minds, earned = self._rest(members), np.zeros_like(earned)
        # The draws of the world are the engine's own: its half of every key is not used.
        keys = np.asarray(_act_keys(order.key, self._rollouts * self._config.rollout))
        progress = np.asarray(order.progress, stream.progress.dtype)
        steps, logs, before, faults = [], [], [], []
        for t, key in enumerate(keys):
            if now is None:
                begun += 1
                now = self._begin(order, begun)
            if t % self._config.rollout == 0:
                before.append(tuple(minds[index].memory for index in learning))
            self._set_progress(progress)
            action, thought, known = self._think(
                members,
                progress,
                (now.observation, now.active),
                self._episode.swarm if self._decisions.looks else None,
                minds,
                key,
            )
            outcome, fault = self._move(now, np.asarray(action), progress, t + 1 == len(keys))
            if fault is not None:
                faults.append(
                    f"engine {self._env.spec.engine.name!r}, episode {begun}, decision "
                    f"{now.decided} of {self._env.scenario.horizon}: {fault}"
                )
            minds, earned, kept, log = self._keep(members, thought, known, outcome, earned)
            steps.append(jax.tree.map(np.asarray, kept))
            logs.append(jax.tree.map(np.asarray, log))
            if outcome.done[0]:
                self._env.engine.stop("the episode is over")
                now = None
        self._now = now
        return Collected(
            steps=_stack(steps),
            log=_stack(logs),
            before=_stack(before),
            stream=self._leave(stream, now, minds, earned, begun),
            faults=tuple(faults),
        )

    def close(self) -> None:
        """Make the engine safe and close it."""
        self._env.engine.close()

    def _think_one(
        self, members: Any, progress: Any, seen: Any, swarm: Any, minds: Any, key: Any
    ) -> Any:
        one = jax.tree.map(lambda leaf: leaf[None], (seen, swarm))
        return self._decisions.think(
            members,
            self._config.exploration(progress),
            one[0],
            (one[1], self._env.space),
            minds,
            jax.random.wrap_key_data(key),
        )

    def _rest(self, members: tuple[Member, ...]) -> tuple[Mind, ...]:
        return self._decisions.rest(tuple(member.policy for member in members), 1)

    def _set_progress(self, progress: Any) -> None:
        task = with_progress(self._task, progress)
        self._episode.rules = dataclasses.replace(self._episode.rules, task=task)

    def _begin(self, order: Order, begun: int) -> _Position:
        """Start an episode."""
        horizon, space = self._env.scenario.horizon, self._env.spec.action_space
        capacity, stream = self._env.spec.engine.capacity, order.stream
        observation = self._episode.reset(episode_seed(order.seed, order.number, begun))
        assert self._episode.swarm is not None
        return _Position(
            order.seed,
            order.number,
            begun,
            0,
            np.zeros((horizon, capacity, *space.shape), stream.action.dtype),
            np.zeros(horizon, stream.progress.dtype),
            np.asarray(observation),
            np.asarray(self._episode.swarm.present),
        )

    def _move(
        self, now: _Position, action: np.ndarray, progress: Any, last: bool
    ) -> tuple[Outcome, str | None]:
        """Do what was decided (action [1,N,...]); `now` goes on."""
        before = self._episode.swarm
        observation, reward, terminated, truncated, info = self._episode.step(action[0])
        swarm = self._episode.swarm
        assert before is not None
        assert swarm is not None
        acted, fault = info["active"], info.get("fault")
        now.action[now.decided], now.progress[now.decided] = action[0], progress
        now.decided += 1
        now.observation, now.active = np.asarray(observation), np.asarray(info["remaining"])
        finished = bool(truncated) or not now.active.any()
        cut = last and not finished and not self._waits
        done = finished or cut
        renewed = np.asarray(swarm.identity) != np.asarray(before.identity)
        found = {
            "reward": reward,
            "acted": acted,
            "terminated": terminated,
            "truncated": bool(truncated) or cut,
            "done": done,
            # Of an episode that was cut short the return says nothing.
            "counted": fault is None and not cut,
            "renewed": renewed | done,
            "final": now.observation,
            "measured": self._measure(swarm) if done else np.zeros((), reward.dtype),
            "failed": False,
        }
        rows: dict[str, Any] = {name: np.asarray(value)[None] for name, value in found.items()}
        return Outcome(**rows), fault

    def _arrive(self, stream: Stream, order: Order) -> _Position | None:
        """Come to where a stream is, by deciding once more as it did; None between episodes, and
        if the engine does not come there again.
        """
        decided, begun = int(stream.decided[0]), int(stream.begun[0])
        if not decided:
            return None
        here, action = self._now, np.asarray(stream.action[0])
        if (
            here is not None
            and (here.seed, here.number, here.begun) == (order.seed, order.number, begun)
            and here.decided == decided
            and np.array_equal(here.action[:decided], action[:decided])
        ):
            return here
        now, fault = self._begin(order, begun), None
        while now.decided < decided and fault is None:
            progress = stream.progress[0, now.decided]
            self._set_progress(progress)
            _, fault = self._move(now, action[now.decided][None], progress, False)
        if fault is None and np.array_equal(now.observation, stream.observation[0]):
            return now
        warnings.warn(
            f"engine {self._env.spec.engine.name!r} did not repeat its episode {begun} to decision "
            f"{decided}, where the checkpoint is ({fault or 'other observations'}). Training goes "
            "on with a new episode, and not bit-equal to a run without interruption.",
            stacklevel=2,
        )
        self._env.engine.stop("the episode is given up")
        return None

    def _leave(
        self, stream: Stream, now: _Position | None, minds: Any, earned: Any, begun: int
    ) -> Stream:
        """The stream that leads to where the engine is now."""
        left: dict[str, Any] = {
            name: np.zeros_like(getattr(stream, name))
            for name in ("observation", "decided", "action", "progress")
        }
        if now is not None:
            left = {
                name: np.array(getattr(now, name), leaf.dtype)[None] for name, leaf in left.items()
            }
        left |= {"earned": np.asarray(earned), "begun": np.full_like(stream.begun, begun)}
        return Stream(minds=jax.tree.map(np.asarray, minds), **left)


@dataclass
class _Position:
    """Where the engine is: decision `decided` of its episode number `begun`."""

    seed: int
    number: int
    begun: int
    decided: int
    action: np.ndarray
    progress: np.ndarray
    observation: np.ndarray
    active: np.ndarray


def episode_seed(seed: int, number: int, begun: int) -> int:
    """Seed of the episode `begun` on the engine `number` in the training of a seed."""
    return int(np.random.SeedSequence([seed, number, begun]).generate_state(1)[0] >> 1)


def _acting(member: Member) -> Member:
    """What decides, without what the next update needs besides."""
    return Member(member.policy, (), member.moments, member.curiosity)


def _act_keys(key: Any, count: int) -> Array:
    """Data of the keys of `count` decisions, as the pure program draws them."""
    keys = jax.random.split(jax.random.wrap_key_data(key), count)
    return jax.random.key_data(jax.vmap(lambda k: jax.random.split(k)[0])(keys))


def _stack(values: list[Any]) -> Any:
    return jax.tree.map(lambda *leaves: np.stack(leaves), *values)
