"""Chemotaxis with one planted defect each: what the suites must find, by the right rule and no
other.
"""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from swarmctl.core.tree import pytree
from swarmctl.envs.functional import EnvState, SwarmEnv

Array = jax.Array


class Twin:
    """The healthy environment behind an object of its own; the defects differ from it in one
    method.
    """

    def __init__(self, env: SwarmEnv) -> None:
        self.env, self.scenario, self.spec = env, env.scenario, env.spec

    def params(self) -> Any:
        return self.env.params()

    def space(self, params: Any) -> Any:
        return self.env.space(params)

    def swarm(self, state: Any, params: Any) -> Any:
        return self.env.swarm(state, params)

    def reset(self, key: Array, params: Any) -> tuple[Array, Any]:
        return self.env.reset(key, params)

    def step(self, key: Array, state: Any, action: Array, params: Any) -> tuple[Any, ...]:
        return self.env.step(key, state, action, params)


class Swapped(Twin):
    """Returns truncated for terminated and the other way round, each in the shape of the other."""

    def step(self, key: Array, state: Any, action: Array, params: Any) -> tuple[Any, ...]:
        seen, state, reward, terminated, truncated, info = super().step(key, state, action, params)
        every = jnp.broadcast_to(truncated, terminated.shape)
        return seen, state, reward, every, terminated.all(), info


@pytree
class WithReward:
    """A state that remembers the last reward [N]."""

    inner: EnvState
    reward: Array


class RewardLate(Twin):
    """Pays for an action one step later."""

    def swarm(self, state: Any, params: Any) -> Any:
        return super().swarm(state.inner, params)

    def reset(self, key: Array, params: Any) -> tuple[Array, Any]:
        seen, state = super().reset(key, params)
        return seen, WithReward(state, jnp.zeros(seen.shape[0], seen.dtype))

    def step(self, key: Array, state: Any, action: Array, params: Any) -> tuple[Any, ...]:
        seen, inner, reward, *rest = super().step(key, state.inner, action, params)
        return seen, WithReward(inner, reward), state.reward, *rest


class KeyTwice(Twin):
    """Lets an action slip now and then, by the key that also moves the swarm."""

    def step(self, key: Array, state: Any, action: Array, params: Any) -> tuple[Any, ...]:
        slips = jax.random.bernoulli(key, 0.2, action.shape)
        return super().step(key, state, jnp.where(slips, 3, action), params)


class KeyKept(Twin):
    """Moves the swarm by the same key in every step, whatever key it is given."""

    def step(self, key: Array, state: Any, action: Array, params: Any) -> tuple[Any, ...]:
        return super().step(jax.random.key(0), state, action, params)


class NotFinite(Twin):
    """Observes 0/0 from the third step on."""

    def step(self, key: Array, state: Any, action: Array, params: Any) -> tuple[Any, ...]:
        seen, state, *rest = super().step(key, state, action, params)
        zero = jnp.where(state.episode.step >= 3, 0.0, 1.0).astype(seen.dtype)
        return seen.at[0, 0].set(seen[0, 0] * zero / zero), state, *rest


class InPlace(Twin):
    """Keeps its state in a dictionary and writes into the one that it was given."""

    def swarm(self, state: Any, params: Any) -> Any:
        return super().swarm(state["env"], params)

    def reset(self, key: Array, params: Any) -> tuple[Array, Any]:
        seen, state = super().reset(key, params)
        return seen, {"env": state}

    def step(self, key: Array, state: Any, action: Array, params: Any) -> tuple[Any, ...]:
        seen, state["env"], *rest = super().step(key, state["env"], action, params)
        return seen, state, *rest


class Hidden(Twin):
    """Counts its steps in an attribute."""

    count = 0

    def step(self, key: Array, state: Any, action: Array, params: Any) -> tuple[Any, ...]:
        self.count += 1
        return super().step(key, state, action, params)


class WrongShape(Twin):
    """Pays [N,1] instead of [N]."""

    def step(self, key: Array, state: Any, action: Array, params: Any) -> tuple[Any, ...]:
        seen, state, reward, *rest = super().step(key, state, action, params)
        return seen, state, reward[:, None], *rest


class Unseeded(Twin):
    """Adds noise to what is seen, from a generator that no key seeds."""

    # Two draws must never agree by chance: from 1 on, and each 1 or more above the last.
    drawn = itertools.count(1)

    def step(self, key: Array, state: Any, action: Array, params: Any) -> tuple[Any, ...]:
        seen, *rest = super().step(key, state, action, params)
        return seen + next(self.drawn) + np.random.default_rng().uniform(0, 0.1), *rest


class ResetsItself(Twin):
    """Starts over at the horizon, so that the last observation is lost."""

    def step(self, key: Array, state: Any, action: Array, params: Any) -> tuple[Any, ...]:
        step_key, reset_key = jax.random.split(key)
        seen, moved, reward, terminated, truncated, info = super().step(
            step_key, state, action, params
        )
        fresh = self.reset(reset_key, params)
        seen, moved = jax.tree.map(lambda a, b: jnp.where(truncated, a, b), fresh, (seen, moved))
        return seen, moved, reward, terminated, truncated, info


def lose_final_observation(env: Any) -> Any:
    """Let a vector environment report the first observation of the new episode as the last one
    of the old.
    """
    healthy = env.step

    def step(actions: np.ndarray) -> Any:
        seen, reward, terminated, truncated, infos = healthy(actions)
        if "final_obs" in infos:
            final = np.empty(len(seen), object)
            for row in np.flatnonzero(infos["_final_obs"]):
                final[row] = seen[row].copy()
            infos = {**infos, "final_obs": final}
        return seen, reward, terminated, truncated, infos

    env.step = step
    return env


def replace_names(env: SwarmEnv, names: tuple[str, ...]) -> Any:
    """Let an environment claim other names for what it observes."""
    twin = Twin(env)
    twin.spec = dataclasses.replace(env.spec, observation_names=names)
    return twin
