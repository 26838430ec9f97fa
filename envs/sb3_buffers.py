"""Buffers with which Stable-Baselines3 learns only from slots whose colloid is in its episode."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import numpy as np

from swarmctl.core.errors import ConfigError
from swarmctl.core.extras import import_extra

if TYPE_CHECKING:
    from stable_baselines3.common.buffers import ReplayBuffer, RolloutBuffer
    from stable_baselines3.common.type_aliases import RolloutBufferSamples
else:
    _buffers = import_extra("sb3", "stable_baselines3.common.buffers")
    ReplayBuffer, RolloutBuffer = _buffers.ReplayBuffer, _buffers.RolloutBuffer


class Slots:
    """Which slots' colloids were in their episode when they last acted: `acted` bool [n]."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.acted = np.zeros(count, bool)


def on_policy_buffer(slots: Slots) -> dict[str, Any]:
    """Arguments of PPO and A2C for an environment with these slots."""
    return {
        "rollout_buffer_class": LiveRolloutBuffer,
        "rollout_buffer_kwargs": {"slots": slots},
    }


def off_policy_buffer() -> dict[str, Any]:
    """Arguments of DQN, SAC and TD3."""
    return {"replay_buffer_class": LiveReplayBuffer}


class LiveRolloutBuffer(RolloutBuffer):
    """A rollout of which only samples of colloids in their episode are handed out.

    Advantages need no change: an episode's end cuts them off from the padding behind it.
    """

    def __init__(self, *args: Any, slots: Slots, **kwargs: Any) -> None:
        self.slots = slots
        super().__init__(*args, **kwargs)
        if slots.count != self.n_envs:
            raise ConfigError(
                f"the buffer's slots are those of an environment with {slots.count}, this one has "
                f"{self.n_envs}; take on_policy_buffer() of the environment that is learned from."
            )

    def reset(self) -> None:
        """Empty the buffer."""
        super().reset()
        self.live = np.zeros((self.buffer_size, self.n_envs), bool)

    def add(self, *args: Any, **kwargs: Any) -> None:
        """Add a step of all slots, and who was in the episode in it."""
        self.live[self.pos] = self.slots.acted
        super().add(*args, **kwargs)

    def get(self, batch_size: int | None = None) -> Generator[RolloutBufferSamples, None, None]:
        """Yield minibatches of the live samples in random order."""
        assert self.full, "the rollout is not complete"
        live = np.flatnonzero(self.live.swapaxes(0, 1).reshape(-1))
        # The global generator is the one that a model's seed sets.
        chosen = np.random.permutation(live)  # noqa: NPY002
        if not self.generator_ready:
            for name in (
                "observations",
                "actions",
                "values",
                "log_probs",
                "advantages",
                "returns",
            ):
                self.__dict__[name] = self.swap_and_flatten(self.__dict__[name])
            self.generator_ready = True
        size = batch_size or len(chosen)
        for start in range(0, len(chosen), size):
            yield self._get_samples(chosen[start : start + size])


class LiveReplayBuffer(ReplayBuffer):
    """A replay buffer that takes only transitions of colloids in their episode.

    It holds `buffer_size` of them, in one row of slots.
    """

    def __init__(
        self,
        buffer_size: int,
        observation_space: Any,
        action_space: Any,
        device: Any = "auto",
        n_envs: int = 1,
        optimize_memory_usage: bool = False,
        handle_timeout_termination: bool = True,
    ) -> None:
        if optimize_memory_usage:
            raise ConfigError("LiveReplayBuffer: optimize_memory_usage is not possible; leave it.")
        super().__init__(
            max(buffer_size, n_envs),
            observation_space,
            action_space,
            device,
            n_envs=1,
            handle_timeout_termination=handle_timeout_termination,
        )

    def add(
        self,
        obs: np.ndarray,
        next_obs: np.ndarray,
        action: np.ndarray,
        reward: np.ndarray,
        done: np.ndarray,
        infos: list[dict[str, Any]],
    ) -> None:
        """Add the transitions of a step that are no padding."""
        live = np.asarray([not info.get("padding", False) for info in infos])
        places = (self.pos + np.arange(int(live.sum()))) % self.buffer_size
        self.observations[places, 0] = obs[live]
        self.next_observations[places, 0] = next_obs[live]
        self.actions[places, 0] = np.reshape(action, (len(live), self.action_dim))[live]
        self.rewards[places, 0] = reward[live]
        self.dones[places, 0] = done[live]
        if self.handle_timeout_termination:
            limits = np.asarray([info.get("TimeLimit.truncated", False) for info in infos])
            self.timeouts[places, 0] = limits[live]
        self.full = self.full or self.pos + len(places) >= self.buffer_size
        self.pos = (self.pos + len(places)) % self.buffer_size
