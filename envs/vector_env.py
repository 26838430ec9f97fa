"""The Gymnasium vector view: many swarms stepped by one compiled call."""

from __future__ import annotations

from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from swarmctl.core.contracts import raise_flags
from swarmctl.core.errors import ConfigError, SwarmctlError
from swarmctl.core.state import SwarmState
from swarmctl.envs.functional import SwarmEnv, swarm_done
from swarmctl.envs.gym_env import RENDER_FPS, check_action, observation_space, swarm_action_space
from swarmctl.envs.make import make_env
from swarmctl.envs.picture import SwarmPainter
from swarmctl.envs.scenario import Scenario

Array = jax.Array


class SwarmVectorEnv(VectorEnv[np.ndarray, np.ndarray, np.ndarray]):
    """B swarms as one Gymnasium vector environment on a pure engine.

    Observations float32 [B, N F], actions MultiDiscrete [B, N] or Box [B, N A], rewards float64 [B]
    (mean over the colloids in the episode), terminations and truncations bool [B]. `infos` holds
    `agent_reward` [B,N], `agent_terminated` [B,N], `active` [B,N], `limited` [B,N].

    The autoreset mode is in `metadata["autoreset_mode"]` and can be chosen:

    - NEXT_STEP (default): the step after an episode's end ignores the action, resets, and pays 0;
    - SAME_STEP: an episode's end resets at once; its last observation is in `infos["final_obs"]`
      and its infos in `infos["final_info"]`, with the mask `infos["_final_obs"]`;
    - DISABLED: call `reset(options={"reset_mask": mask})` for the swarms that ended.

    Args:
        scenario: an id such as "Chemotaxis-v0", or a Scenario.
        num_envs: number of swarms B.
        engine: a registered engine made of pure functions.
        autoreset_mode: see above.
        render_mode: "rgb_array" or None.
        options: keys of the scenario.
    """

    metadata = {
        "render_modes": ["rgb_array"],
        "render_fps": RENDER_FPS,
        "autoreset_mode": AutoresetMode.NEXT_STEP,
    }

    def __init__(
        self,
        scenario: str | Scenario,
        num_envs: int = 1,
        engine: str = "jax",
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        render_mode: str | None = None,
        **options: Any,
    ) -> None:
        if num_envs < 1:
            raise ConfigError(f"num_envs must be at least 1, got {num_envs}.")
        if render_mode not in (None, *self.metadata["render_modes"]):
            raise ConfigError(
                f"render_mode {render_mode!r} is not known; allowed: rgb_array, None."
            )
        self.autoreset_mode = AutoresetMode(autoreset_mode)
        self.metadata = {**self.metadata, "autoreset_mode": self.autoreset_mode}
        self.num_envs = num_envs
        self.render_mode = render_mode
        self.env: SwarmEnv = make_env(scenario, engine, **options)
        spec = self.env.spec
        self.single_observation_space = observation_space(
            spec.engine.capacity * spec.observation_size
        )
        self.single_action_space = swarm_action_space(spec.action_space, spec.engine.capacity)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._params = self.env.params()
        self._jit_reset = jax.jit(self._reset_some)
        self._jit_step = jax.jit(self._step_all)
        self._jit_swarm = jax.jit(jax.vmap(self.env.swarm, (0, None)))
        self._keys: Array | None = None
        self._state: Any = None
        self._observation: Array | None = None
        self._over = np.zeros(num_envs, bool)
        self._painters: list[SwarmPainter] = []

    @property
    def swarms(self) -> SwarmState:
        """The present states of all swarms.

        Leaves [B,...]. Raises SwarmctlError before the first reset.
        """
        if self._state is None:
            raise SwarmctlError("call reset() before reading the swarms.")
        return self._jit_swarm(self._state, self._params)

    def reset(
        self,
        *,
        seed: int | list[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Start episodes: in all swarms, or in those of `options["reset_mask"]` bool [B].

        A number seeds swarm i with seed + i; a list gives each its own, None leaving that swarm's
        stream as it is.
        """
        mask = np.ones(self.num_envs, bool)
        if options is not None and "reset_mask" in options:
            mask = np.asarray(options["reset_mask"])
            if mask.shape != (self.num_envs,) or mask.dtype != bool or not mask.any():
                raise ConfigError(
                    f"reset_mask must be bool [{self.num_envs}] with at least one True, got "
                    f"{mask!r}."
                )
            if self._state is None and not mask.all():
                raise ConfigError("the first reset must reset every swarm; leave reset_mask out.")
        before = self._seed(seed)
        old = (self._observation, self._state) if self._state is not None else None
        fresh, keys = self._jit_reset(before, self._params)
        self._keys = jnp.where(mask[:, None], keys, before)
        self.env.engine.check_start(fresh[1].engine)
        if old is not None:
            fresh = _choose(jnp.asarray(mask), fresh, old)
        self._observation, self._state = fresh
        self._over &= ~mask
        for index in np.flatnonzero(mask):
            self._forget(int(index))
        active = np.asarray(self._state.episode.active)
        return self._flat(self._observation), {"active": active, "_active": mask.copy()}

    def _seed(self, seed: int | list[int | None] | None) -> Array:
        if seed is None and self._keys is not None:
            return self._keys
        if seed is None:
            seed = int(np.random.SeedSequence().generate_state(1)[0])
        seeds = list(range(seed, seed + self.num_envs)) if isinstance(seed, int) else list(seed)
        if len(seeds) != self.num_envs:
            raise ConfigError(f"{len(seeds)} seeds for {self.num_envs} swarms; give one each.")
        if self._keys is None:
            fallback = np.random.SeedSequence().generate_state(self.num_envs)
            self._keys = _key_rows(fallback)
        given = np.asarray([s is not None for s in seeds])
        wanted = _key_rows(np.asarray([(s or 0) % 2**32 for s in seeds], np.uint32))
        self._keys = jnp.where(given[:, None], wanted, self._keys)
        first = next((s for s in seeds if s is not None), None)
        if first is not None:
            self._np_random, self._np_random_seed = gymnasium.utils.seeding.np_random(int(first))
        return self._keys

    def _reset_some(self, keys: Array, params: Any) -> tuple[tuple[Array, Any], Array]:
        split = jax.vmap(jax.random.split)(jax.random.wrap_key_data(keys))
        fresh = jax.vmap(self.env.reset, (0, None))(split[:, 0], params)
        return fresh, jax.random.key_data(split[:, 1])

    def step(
        self, actions: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Act for one control interval in every swarm.

        Raises CommandError for bad actions, PhysicsError if the motion of a swarm failed, and, with
        autoreset disabled, SwarmctlError if a swarm that ended was not reset.
        """
        if self._state is None:
            raise SwarmctlError("call reset() before step().")
        spec = self.env.spec
        lead = (self.num_envs, spec.engine.capacity)
        checked = check_action(actions, spec.action_space, lead)
        if self.autoreset_mode is AutoresetMode.DISABLED and self._over.any():
            ended = np.flatnonzero(self._over).tolist()
            raise SwarmctlError(
                f"swarms {ended} have ended; reset them with "
                f"reset(options={{'reset_mask': mask}}) before the next step."
            )
        result = self._jit_step(
            self._keys, self._state, self._observation, checked, self._over, self._params
        )
        observation, state, keys, out = result
        raise_flags(out["flags"], spec.engine)
        self._observation, self._state, self._keys = observation, state, keys
        host = jax.tree.map(np.asarray, {k: v for k, v in out.items() if k != "flags"})
        restarted = host["done"] if self._mode_same else self._over
        for index in np.flatnonzero(restarted):
            self._forget(int(index))
        self._over = np.zeros_like(self._over) if self._mode_same else host["done"].copy()
        self._remember()
        return (
            self._flat(observation),
            host["mean"].astype(np.float64),
            host["over"],
            host["truncated"],
            self._infos(host, np.asarray(out["flags"].limited)),
        )

    @property
    def _mode_same(self) -> bool:
        return self.autoreset_mode is AutoresetMode.SAME_STEP

    def _step_all(
        self,
        keys: Array,
        state: Any,
        observation: Array,
        actions: Array,
        over: Array,
        params: Any,
    ) -> tuple[Array, Any, Array, dict[str, Any]]:
        # The first two are those of SwarmGymEnv: a row runs like the single one with its seed.
        split = jax.vmap(lambda k: jax.random.split(k, 3))(jax.random.wrap_key_data(keys))
        final, moved, reward, terminated, truncated, info = jax.vmap(
            self.env.step, (0, 0, 0, None)
        )(split[:, 0], state, actions, params)
        counted = jnp.sum(info["active"], axis=-1)
        flags = jax.tree.map(lambda x: x & ~_rows(over, x), info["flags"])
        out = {
            "flags": flags,
            "mean": jnp.where(over, 0, jnp.sum(reward, -1) / jnp.maximum(counted, 1)),
            "reward": jnp.where(over[:, None], 0, reward),
            "terminated": terminated & ~over[:, None],
            "active": info["active"],
            "truncated": truncated & ~over,
            "over": ~moved.episode.active.any(-1) & ~over,
            "final": final,
        }
        out["done"] = jax.vmap(swarm_done)(moved.episode, truncated) & ~over
        restart = out["done"] if self._mode_same else over
        reset_keys = split[:, 2]

        def with_restarts() -> tuple[Array, Any]:
            fresh = jax.vmap(self.env.reset, (0, None))(reset_keys, params)
            return _choose(restart, fresh, (final, moved))

        shown, state = jax.lax.cond(restart.any(), with_restarts, lambda: (final, moved))
        return shown, state, jax.random.key_data(split[:, 1]), out

    def _infos(self, host: dict[str, Any], limited: np.ndarray) -> dict[str, Any]:
        everyone = np.ones(self.num_envs, bool)
        named = {
            "agent_reward": host["reward"],
            "agent_terminated": host["terminated"],
            "active": host["active"],
            "limited": limited,
        }
        infos: dict[str, Any] = {}
        for name, value in named.items():
            infos[name], infos[f"_{name}"] = value, everyone.copy()
        if self._mode_same and host["done"].any():
            done = host["done"]
            final = np.empty(self.num_envs, dtype=object)
            flat = self._flat(host["final"])
            for index in np.flatnonzero(done):
                final[index] = flat[index]
            infos["final_obs"], infos["_final_obs"] = final, done.copy()
            infos["final_info"] = {
                **{name: np.where(_rows(done, v), v, 0) for name, v in named.items()},
                **{f"_{name}": done.copy() for name in named},
            }
            infos["_final_info"] = done.copy()
        return infos

    def _flat(self, observation: Any) -> np.ndarray:
        return np.asarray(observation, np.float32).reshape(self.num_envs, -1)

    def render(self) -> tuple[np.ndarray, ...] | None:
        """Return one picture u8 [H,W,3] per swarm in mode rgb_array; None otherwise."""
        if self.render_mode != "rgb_array":
            return None
        swarms = jax.tree.map(np.asarray, self.swarms)
        if not self._painters:
            self._painters = [SwarmPainter(self.env.scenario) for _ in range(self.num_envs)]
        return tuple(
            painter.draw(jax.tree.map(lambda x, i=index: x[i], swarms))
            for index, painter in enumerate(self._painters)
        )

    def _remember(self) -> None:
        if self._painters:
            swarms = jax.tree.map(np.asarray, self.swarms)
            for index, painter in enumerate(self._painters):
                painter.remember(jax.tree.map(lambda x, i=index: x[i], swarms))

    def _forget(self, index: int) -> None:
        if self._painters:
            self._painters[index].forget()

    def close_extras(self, **kwargs: Any) -> None:
        """Close the engine."""
        self.env.engine.close()
        for painter in self._painters:
            painter.close()
        self._painters = []


def _key_rows(seeds: np.ndarray) -> Array:
    return jax.random.key_data(jax.vmap(jax.random.key)(jnp.asarray(seeds, jnp.uint32)))


def _rows(mask: Any, like: Any) -> Any:
    return mask.reshape((-1,) + (1,) * (like.ndim - 1))


def _choose(mask: Array, new: Any, old: Any) -> Any:
    return jax.tree.map(lambda a, b: jnp.where(_rows(mask, b), a, b), new, old)
