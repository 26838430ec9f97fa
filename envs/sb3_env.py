"""The view of Stable-Baselines3: every colloid of every swarm is a slot of one shared policy."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np

from swarmctl.core.contracts import PureEngine, raise_flags
from swarmctl.core.errors import ConfigError, SwarmctlError
from swarmctl.core.extras import import_extra
from swarmctl.core.state import SwarmState
from swarmctl.envs.functional import AutoReset, EnvState, SwarmEnv
from swarmctl.envs.gym_env import check_action, colloid_action_space, observation_space
from swarmctl.envs.make import as_scenario, make_env
from swarmctl.envs.picture import SwarmPainter
from swarmctl.envs.sb3_buffers import Slots, off_policy_buffer, on_policy_buffer
from swarmctl.envs.scenario import Scenario

if TYPE_CHECKING:
    from stable_baselines3.common.vec_env import VecEnv
else:
    VecEnv = import_extra("sb3", "stable_baselines3.common.vec_env").VecEnv

Array = jax.Array

LEAST_POOL = 64


class SwarmVecEnv(VecEnv):
    """B swarms of N colloids as a VecEnv of B N slots; slot b N + i is colloid i of swarm b.

    Observations float32 [B N, F], actions Discrete or Box [A] in [-1, 1], rewards float32 [B N],
    each colloid's own. All swarms move in one compiled call; the engine is made of pure functions.

    A swarm restarts in the step in which its episode ends: at the horizon, or when no colloid is
    left in it. It starts from one of `pool` starts that are prepared once.

    A colloid's episode ends once. In that step `dones` is True, and the slot's info has
    `terminal_observation` and `TimeLimit.truncated`: False if the task ended it, True at the
    horizon and for a colloid that was lost from sight, whose terminal observation is the last one
    in which it was seen. If that is before its swarm restarts, the slot is padding until then: it
    observes 0, earns 0, its action does nothing, `dones` stays False and its info is
    `{"padding": True}`. Stable-Baselines3 learns from padding like from anything else, unless it
    is given `**env.on_policy_buffer()` or `**env.off_policy_buffer()`, which leave it out.
    A newcomer in a slot is in the episode from the step on in which it is first observed.

    Args:
        scenario: an id such as "Chemotaxis-v0", or a Scenario.
        swarms: number of swarms B.
        engine: the name of an engine made of pure functions, or one that is made already.
        render_mode: "rgb_array" or None; `get_images` gives one picture per swarm.
        pool: prepared starts; the larger of 64 and B if left out.
        options: keys of the scenario.
    """

    def __init__(
        self,
        scenario: str | Scenario,
        swarms: int = 1,
        engine: str | PureEngine = "jax",
        render_mode: str | None = None,
        pool: int | None = None,
        **options: Any,
    ) -> None:
        for name, value in {"swarms": swarms, "pool": 1 if pool is None else pool}.items():
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ConfigError(f"{name} must be a whole number of at least 1, got {value!r}.")
        if render_mode not in (None, "rgb_array"):
            raise ConfigError(
                f"render_mode {render_mode!r} is not known; allowed: rgb_array, None."
            )
        made = as_scenario(scenario, options)
        built = make_env(made, engine).engine if isinstance(engine, str) else engine
        self.env = SwarmEnv(made, built)
        self.swarms = swarms
        self.agent_spec = spec = self.env.spec
        self.render_mode = render_mode
        self.slots = Slots(swarms * spec.engine.capacity)
        self._auto = AutoReset(self.env, swarms, max(LEAST_POOL, swarms) if pool is None else pool)
        self._params = self.env.params()
        self._jit_prepare = jax.jit(self._auto.prepare)
        self._jit_begin = jax.jit(self._begin)
        self._jit_step = jax.jit(self._step_all)
        self._jit_swarm = jax.jit(jax.vmap(self.env.swarm, (0, None)))
        self._entropy = int(np.random.SeedSequence().generate_state(1)[0])
        self._resets = 0
        self._pool: Any = None
        self._state: Any = None
        self._shown: Any = None
        self._key: Any = None
        self._actions: np.ndarray | None = None
        self._painters: list[SwarmPainter] = []
        super().__init__(
            self.slots.count,
            observation_space(spec.observation_size),
            colloid_action_space(spec.action_space),
        )
        self.metadata = {"render_modes": ["rgb_array"]}

    @property
    def scenario(self) -> Scenario:
        """The scenario."""
        return self.env.scenario

    @property
    def swarm_states(self) -> SwarmState:
        """The present states of all swarms, leaves [B,...]. Raises SwarmctlError before reset."""
        if self._state is None:
            raise SwarmctlError("call reset() before reading the swarms.")
        return self._jit_swarm(self._state, self._params)

    def on_policy_buffer(self) -> dict[str, Any]:
        """Arguments of PPO and A2C with which they learn from no padding."""
        return on_policy_buffer(self.slots)

    def off_policy_buffer(self) -> dict[str, Any]:
        """Arguments of DQN, SAC and TD3 with which they remember no padding."""
        return off_policy_buffer()

    def reset(self) -> np.ndarray:
        """Start all swarms; after `seed(s)` equal numbers s give equal runs."""
        if self._seeds[0] is not None:
            self._entropy, self._resets, self._pool = int(self._seeds[0]) % 2**32, 0, None
            self._reset_seeds()
        self._reset_options()
        root = jax.random.key(np.uint32(self._entropy))
        if self._pool is None:
            self._pool = self._jit_prepare(jax.random.fold_in(root, 0), self._params)
            self.env.engine.check_start(self._pool[1].engine)
        self._resets += 1
        key = jax.random.key_data(jax.random.fold_in(root, self._resets))
        self._shown, self._state, self._key = self._jit_begin(key, self._pool)
        self.slots.acted = np.zeros(self.num_envs, bool)
        self._actions = None
        for painter in self._painters:
            painter.forget()
        return np.array(self._shown)

    def _begin(self, key: Array, pool: Any) -> tuple[Array, Any, Array]:
        draw_key, key = jax.random.split(jax.random.wrap_key_data(key))
        observation, state = self._auto.draw(draw_key, pool)
        return self._rows(observation, state), state, jax.random.key_data(key)

    def _rows(self, observation: Array, state: EnvState) -> Array:
        """Observations float32 [B N,F] of those in the episode, and 0 for padding."""
        seen = jnp.where(state.episode.active[..., None], observation, 0)
        return seen.reshape(-1, seen.shape[-1]).astype(jnp.float32)

    def step_async(self, actions: np.ndarray) -> None:
        """Take actions [B N] or [B N,A]. Raises CommandError for bad ones."""
        if self._state is None:
            raise SwarmctlError("call reset() before step().")
        space = self.agent_spec.action_space
        self._actions = check_action(actions, space, (self.num_envs,)).reshape(
            self.swarms, -1, *space.shape
        )

    def step_wait(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[dict[str, Any]]]:
        """Move; return observations, rewards, dones, infos. Raises PhysicsError if that failed."""
        if self._actions is None:
            raise SwarmctlError("call step_async() before step_wait().")
        actions, self._actions = self._actions, None
        shown, state, key, out = self._jit_step(
            self._key, self._state, self._shown, actions, self._params, self._pool
        )
        if out["failed"]:
            raise_flags(out["flags"], self.agent_spec.engine)
        self._shown, self._state, self._key = shown, state, key
        acted, dones = np.array(out["acted"]), np.array(out["done"])
        self.slots.acted = acted
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        if dones.any():
            final, limit = np.array(out["final"]), np.asarray(out["limit"])
            for slot in np.flatnonzero(dones):
                infos[slot] = {
                    "terminal_observation": final[slot],
                    "TimeLimit.truncated": bool(limit[slot]),
                }
        if not acted.all():
            for slot in np.flatnonzero(~acted):
                infos[slot]["padding"] = True
        self._remember(np.asarray(out["restarted"]))
        return np.array(shown), np.array(out["reward"]), dones, infos

    def _step_all(
        self, key: Array, state: EnvState, shown: Array, actions: Array, params: Any, pool: Any
    ) -> tuple[Array, EnvState, Array, dict[str, Any]]:
        step_key, next_key = jax.random.split(jax.random.wrap_key_data(key))
        seen, new, reward, terminated, _, info = self._auto.step(
            step_key, state, actions, params, pool
        )
        before, after = state.episode, info["final_state"].episode
        renewed = after.identity != before.identity
        lost = before.active & ~terminated & (renewed | ~after.active)
        done = before.active & (terminated | lost | info["done"][:, None])
        # A lost colloid is not seen any more, or another one is in its place.
        final = jnp.where(
            lost.reshape(-1, 1), shown, info["final_obs"].reshape(shown.shape).astype(shown.dtype)
        )
        out = {
            "final": final,
            "reward": reward.reshape(-1).astype(jnp.float32),
            "done": done.reshape(-1),
            "limit": (done & ~terminated).reshape(-1),
            "acted": before.active.reshape(-1),
            "restarted": info["done"],
            "failed": info["flags"].failed.any(),
            "flags": info["flags"],
        }
        return self._rows(seen, new), new, jax.random.key_data(next_key), out

    def get_images(self) -> Sequence[np.ndarray | None]:
        """One picture u8 [H,W,3] per swarm in mode rgb_array."""
        if self.render_mode != "rgb_array":
            return [None] * self.swarms
        if not self._painters:
            self._painters = [SwarmPainter(self.scenario) for _ in range(self.swarms)]
        return [
            painter.draw(state) for painter, state in zip(self._painters, self._each(), strict=True)
        ]

    def _each(self) -> list[SwarmState]:
        states = jax.tree.map(np.asarray, self.swarm_states)
        return [jax.tree.map(lambda x, i=index: x[i], states) for index in range(self.swarms)]

    def _remember(self, restarted: np.ndarray) -> None:
        if self._painters:
            for painter, state, new in zip(self._painters, self._each(), restarted, strict=True):
                if new:
                    painter.forget()
                painter.remember(state)

    def close(self) -> None:
        """Close the engine; may be called twice."""
        self.env.engine.close()
        for painter in self._painters:
            painter.close()
        self._painters = []

    def _count(self, indices: int | Iterable[int] | None) -> int:
        return len(list(self._get_indices(indices)))

    def get_attr(self, attr_name: str, indices: int | Iterable[int] | None = None) -> list[Any]:
        """Attribute of this environment, once per slot: all slots share it."""
        return [getattr(self, attr_name)] * self._count(indices)

    def set_attr(
        self, attr_name: str, value: Any, indices: int | Iterable[int] | None = None
    ) -> None:
        """Set an attribute of this environment, which all slots share."""
        if self._count(indices) != self.num_envs:
            raise ConfigError(
                f"set_attr({attr_name!r}): the slots share one environment; leave indices out."
            )
        setattr(self, attr_name, value)

    def env_method(
        self,
        method_name: str,
        *method_args: Any,
        indices: int | Iterable[int] | None = None,
        **method_kwargs: Any,
    ) -> list[Any]:
        """Call a method of this environment once; return its result once per slot."""
        result = getattr(self, method_name)(*method_args, **method_kwargs)
        return [result] * self._count(indices)

    def env_is_wrapped(
        self, wrapper_class: type[gymnasium.Wrapper], indices: int | Iterable[int] | None = None
    ) -> list[bool]:
        """False for every slot: wrappers of single environments do not fit in here."""
        return [False] * self._count(indices)
