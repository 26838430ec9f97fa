"""Episodes of one swarm behind the views that return arrays: the same calls on any engine."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from swarmctl.core.command import Command, rest_others
from swarmctl.core.contracts import Engine, PureEngine, raise_flags
from swarmctl.core.state import Space, SwarmState
from swarmctl.envs.functional import (
    Episode,
    SwarmEnv,
    begin_episode,
    continue_episode,
    make_rules,
)
from swarmctl.envs.scenario import Scenario

Array = jax.Array


def make_episodes(scenario: Scenario, engine: Engine) -> FusedEpisode | EngineEpisode:
    """Return the episodes of a scenario on an engine, in one compiled call where that is pure."""
    if isinstance(engine, PureEngine):
        return FusedEpisode(SwarmEnv(scenario, engine))
    return EngineEpisode(scenario, engine)


class FusedEpisode:
    """Episodes on a pure engine: action, motion, observation and reward in one compiled call."""

    def __init__(self, env: SwarmEnv) -> None:
        self._env = env
        self._params = env.params()
        self._reset = jax.jit(self._reset_function)
        self._step = jax.jit(self._step_function)
        self._state: Any = None
        self._key: Any = None
        self.swarm: SwarmState | None = None

    def _reset_function(self, seed: Array, params: Any) -> Any:
        reset_key, key = jax.random.split(jax.random.key(seed))
        observation, state = self._env.reset(reset_key, params)
        return observation, state, self._env.swarm(state, params), key

    def _step_function(
        self, key: Array, state: Any, action: Array, acts: Array, params: Any
    ) -> Any:
        step_key, next_key = jax.random.split(key)
        command = params.rules.actions.swarm_command(
            action, acts & state.episode.active, self._env.engine.spec
        )
        observation, state, reward, terminated, truncated, info = self._env.step_command(
            step_key, state, command, params
        )
        swarm = self._env.swarm(state, params)
        return observation, state, reward, terminated, truncated, info, swarm, next_key

    def reset(self, seed: int) -> Array:
        """Start an episode; return the observation [N,F]."""
        observation, self._state, self.swarm, self._key = self._reset(
            np.uint32(seed % 2**32), self._params
        )
        self._env.engine.check_start(self._state.engine)
        return observation

    def step(self, action: np.ndarray, acts: np.ndarray | None = None) -> tuple[Any, ...]:
        """Act for one control interval; only colloids for which `acts` bool [N] holds, or all.

        Returns (observation [N,F], reward [N], terminated bool [N], truncated, info); info holds
        `active` and `limited` bool [N], and `remaining` bool [N], who is still in the episode.
        """
        everyone = np.ones(self._env.engine.spec.capacity, bool) if acts is None else acts
        observation, state, reward, terminated, truncated, info, swarm, key = self._step(
            self._key, self._state, action, everyone, self._params
        )
        raise_flags(info["flags"], self._env.engine.spec)
        self._state, self._key, self.swarm = state, key, swarm
        out = {
            "active": np.asarray(info["active"]),
            "limited": np.asarray(info["flags"].limited),
            "remaining": state.episode.active,
        }
        return observation, np.asarray(reward), np.asarray(terminated), bool(truncated), out


class EngineEpisode:
    """Episodes on any other engine.

    The loop commands it and evaluates the states that it returns. `rules` may be exchanged for
    others with the same shapes between two decisions, as a curriculum does.
    """

    def __init__(self, scenario: Scenario, engine: Engine) -> None:
        self._engine, self._scenario = engine, scenario
        spec = engine.spec
        rules = make_rules(scenario, jax.numpy.asarray(spec.box, spec.dtype))
        space = Space(rules.size, spec.periodic)
        self._begin = jax.jit(lambda state, rules: begin_episode(state, rules, space))
        self._continue = jax.jit(
            lambda state, episode, rules: continue_episode(
                state, episode, rules, space, scenario.horizon
            )
        )
        self._command = jax.jit(
            lambda action, acts: rules.actions.swarm_command(action, acts, spec)
        )
        self.rules = rules
        self._rest = jax.jit(rest_others)
        self._episode: Episode | None = None
        self.swarm: SwarmState | None = None
        self.asked: Command | None = None
        self.applied: Command | None = None

    def reset(self, seed: int) -> Array:
        """Start an episode; return the observation [N,F]."""
        self.swarm = self._engine.reset(seed)
        observation, self._episode = self._begin(self.swarm, self.rules)
        return observation

    def step(self, action: np.ndarray, acts: np.ndarray | None = None) -> tuple[Any, ...]:
        """As `FusedEpisode.step`; info has what the engine says besides, and `fault` after one."""
        return self._move(self._command(action, self._acting(acts)))

    def obey(self, command: Command, acts: np.ndarray | None = None) -> tuple[Any, ...]:
        """As `step`, for a command instead of actions."""
        return self._move(self._rest(command, self._acting(acts)))

    def _move(self, command: Command) -> tuple[Any, ...]:
        """Have the engine do a command; what was asked and done stays in `asked`, `applied`."""
        active = self._acting(None)
        assert self._episode is not None
        transition = self._engine.step(command)
        self.asked = command
        self.applied = transition.applied
        observation, self._episode, reward, terminated, truncated = self._continue(
            transition.state, self._episode, self.rules
        )
        self.swarm = transition.state
        status = transition.status
        cut = status.info.get("limited", np.zeros_like(active))
        limited = status.flags.limited if status.flags else cut
        out = {
            **status.info,
            "active": active,
            "limited": np.asarray(limited),
            "remaining": self._episode.active,
        }
        if status.fault:
            out["fault"] = status.fault
        return (
            observation,
            np.asarray(reward),
            np.asarray(terminated),
            bool(truncated) or status.fault is not None,
            out,
        )

    def _acting(self, acts: np.ndarray | None) -> np.ndarray:
        assert self._episode is not None
        active = np.asarray(self._episode.active)
        return active if acts is None else active & acts
