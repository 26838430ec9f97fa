"""The Gymnasium view: one controller for the whole swarm, on any engine."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np

from swarmctl.core.contracts import Engine
from swarmctl.core.errors import CommandError, ConfigError, SwarmctlError
from swarmctl.core.spec import ActionSpace, Discrete
from swarmctl.core.state import SwarmState
from swarmctl.envs.episode import make_episodes
from swarmctl.envs.make import as_scenario, make_engine
from swarmctl.envs.picture import SwarmPainter
from swarmctl.envs.scenario import Scenario, check_engine

RENDER_FPS = 20


class SwarmGymEnv(gymnasium.Env[np.ndarray, np.ndarray]):
    """A swarm as one Gymnasium environment.

    Observation: float32 [N F], all colloids' observations one after the other. Action:
    MultiDiscrete [N], or Box [N A] in [-1, 1]. Reward: mean over the colloids that are in the
    episode. Terminated: every colloid is done; truncated: the horizon, or a fault of the engine.
    `info` holds `agent_reward` [N], `agent_terminated` [N], `active` [N], `limited` [N], and
    `fault` after one.

    Args:
        scenario: an id such as "Chemotaxis-v0", or a Scenario.
        engine: a registered name, or an Engine that is made already; it is closed with the
            environment.
        render_mode: "rgb_array", "human" or None.
        options: keys of the scenario, such as colloids=20 or radius="1.5 um".
    Raises UnknownNameError, ConfigError, UnitError, CapabilityError.
    """

    metadata = {"render_modes": ["human", "rgb_array"], "render_fps": RENDER_FPS}

    def __init__(
        self,
        scenario: str | Scenario,
        engine: str | Engine = "jax",
        render_mode: str | None = None,
        **options: Any,
    ) -> None:
        if render_mode not in (None, *self.metadata["render_modes"]):
            raise ConfigError(
                f"render_mode {render_mode!r} is not known; allowed: human, rgb_array, None."
            )
        self.scenario = as_scenario(scenario, options)
        made = make_engine(engine, self.scenario) if isinstance(engine, str) else engine
        check_engine(self.scenario, made)
        self.engine = made
        self.render_mode = render_mode
        self.agent_spec = self.scenario.agent_spec(made.spec)
        self.observation_space = observation_space(
            made.spec.capacity * self.agent_spec.observation_size
        )
        self.action_space = swarm_action_space(self.agent_spec.action_space, made.spec.capacity)
        self._episode = make_episodes(self.scenario, made)
        self._painter: SwarmPainter | None = None
        self._running = False

    @property
    def swarm(self) -> SwarmState:
        """The present state of the swarm. Raises SwarmctlError before the first reset."""
        if self._episode.swarm is None:
            raise SwarmctlError("call reset() before reading the swarm.")
        return self._episode.swarm

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Start an episode; equal seeds give equal episodes."""
        super().reset(seed=seed)
        drawn = int(self.np_random.integers(2**31 - 1)) if seed is None else int(seed)
        observation = self._episode.reset(drawn)
        self._running = True
        if self._painter is not None:
            self._painter.forget()
        self._show()
        return flat(observation), {"active": np.asarray(self.swarm.present)}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Act for one control interval.

        Raises CommandError for a bad action and PhysicsError if the motion failed.
        """
        if not self._running:
            raise SwarmctlError("call reset() before step(), and after an episode has ended.")
        checked = check_action(
            action, self.agent_spec.action_space, (self.agent_spec.engine.capacity,)
        )
        observation, reward, terminated, truncated, info = self._episode.step(checked)
        counted = np.asarray(info["active"])
        mean = float(np.sum(reward)) / max(int(counted.sum()), 1)
        over = not bool(np.asarray(info.pop("remaining")).any())
        self._running = not (over or truncated)
        info |= {"agent_reward": reward, "agent_terminated": terminated}
        self._show()
        return flat(observation), mean, over, bool(truncated), info

    def render(self) -> Any:
        """Return a picture u8 [H,W,3] in mode rgb_array; None otherwise."""
        if self.render_mode != "rgb_array":
            return None
        swarm = self.swarm
        assert self._painter is not None
        return self._painter.draw(swarm)

    def _show(self) -> None:
        if self.render_mode is None:
            return
        if self._painter is None:
            self._painter = SwarmPainter(self.scenario)
        if self.render_mode == "human":
            self._painter.show(self.swarm)
        else:
            self._painter.remember(self.swarm)

    def close(self) -> None:
        """Close the engine and the window; may be called twice."""
        self.engine.close()
        self._running = False
        if self._painter is not None:
            self._painter.close()
            self._painter = None


def observation_space(size: int) -> gymnasium.spaces.Box:
    """Box of all finite float32 vectors of a length."""
    largest = float(np.finfo(np.float32).max)
    return gymnasium.spaces.Box(-largest, largest, (size,), np.float32)


def colloid_action_space(space: ActionSpace) -> gymnasium.Space[Any]:
    """The action space of one colloid."""
    if isinstance(space, Discrete):
        return gymnasium.spaces.Discrete(space.n)
    return gymnasium.spaces.Box(-1.0, 1.0, (space.size,), np.float32)


def swarm_action_space(space: ActionSpace, count: int) -> gymnasium.Space[Any]:
    """The action space of `count` colloids together."""
    if isinstance(space, Discrete):
        return gymnasium.spaces.MultiDiscrete([space.n] * count)
    return gymnasium.spaces.Box(-1.0, 1.0, (count * space.size,), np.float32)


def check_action(action: Any, space: ActionSpace, lead: tuple[int, ...]) -> np.ndarray:
    """Return actions as an array of shape [*lead] or [*lead,A].

    Raises CommandError for a wrong shape, NaN, or values outside the space: nothing is clipped
    silently.
    """
    array = np.asarray(action)
    shape = (*lead, *space.shape)
    flat_shape = (*lead[:-1], int(np.prod(shape[len(lead) - 1 :])))
    if array.shape not in (shape, flat_shape):
        raise CommandError(
            f"action: expected shape {flat_shape} or {shape}, got {array.shape}: one action per "
            "colloid."
        )
    array = array.reshape(shape)
    if isinstance(space, Discrete):
        if not np.issubdtype(array.dtype, np.integer):
            raise CommandError(
                f"action: expected integers from 0 to {space.n - 1}, got {array.dtype}."
            )
        bad = (array < 0) | (array >= space.n)
    else:
        if not np.issubdtype(array.dtype, np.number):
            raise CommandError(f"action: expected numbers in [-1, 1], got {array.dtype}.")
        bad = ~(np.abs(array) <= 1 + 1e-6)
    if bad.any():
        where = tuple(int(i) for i in np.argwhere(bad)[0])
        allowed = f"0 to {space.n - 1}" if isinstance(space, Discrete) else "[-1, 1]"
        raise CommandError(
            f"action: {array[where]} at index {where} is not in {allowed}; {int(bad.sum())} such "
            "value(s)."
        )
    return array.astype(np.int32 if isinstance(space, Discrete) else np.float32)


def flat(observation: Any) -> np.ndarray:
    """Observations [N,F] as float32 [N F]."""
    return np.asarray(observation, np.float32).reshape(-1)
