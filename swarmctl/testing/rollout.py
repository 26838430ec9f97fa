"""What functional environments are asked to do by their suite, and an independent account of
what they should say.
"""

from __future__ import annotations

import functools
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from swarmctl.core.spec import AgentSpec, Discrete
from swarmctl.core.state import Space, SwarmState, renew_rows
from swarmctl.core.tree import pytree
from swarmctl.envs.functional import make_rules
from swarmctl.envs.scenario import Scenario
from swarmctl.testing.trees import host

Array = jax.Array

SEED = 20240229
BEYOND = 2
"""Steps that are taken beyond the horizon."""


class FunctionalEnv(Protocol):
    """The functional view of an environment, as decision 0001 has it; `SwarmEnv` is one."""

    scenario: Scenario
    spec: AgentSpec

    def params(self) -> Any:
        """Return the parameters as arrays."""

    def space(self, params: Any) -> Space:
        """Return the space that belongs to `params`."""

    def swarm(self, state: Any, params: Any) -> SwarmState:
        """Return what is observed of the swarm."""

    def reset(self, key: Array, params: Any) -> tuple[Array, Any]:
        """Start an episode."""

    def step(
        self, key: Array, state: Any, action: Array, params: Any
    ) -> tuple[Array, Any, Array, Array, Array, dict[str, Any]]:
        """Act for one control interval."""


def random_actions(key: Array, spec: AgentSpec, lead: tuple[int, ...] = ()) -> Array:
    """Uniform actions [*lead,N] or [*lead,N,A] of a scenario."""
    space, shape = spec.action_space, (*lead, spec.engine.capacity)
    if isinstance(space, Discrete):
        return jax.random.randint(key, shape, 0, space.n, jnp.int32)
    return jax.random.uniform(key, (*shape, space.size), spec.engine.dtype, -1, 1)


def _copy(tree: Any) -> Any:
    return jax.tree.map(lambda leaf: leaf, tree)


@pytree
class Step:
    """What one step showed, or, with a leading axis, all steps of an episode."""

    observation: Any
    reward: Any
    terminated: Any
    truncated: Any
    active: Any
    swarm: Any
    flags: Any
    applied: Any


@pytree
class Expected:
    """What the scenario says of the same swarms: raw values [T,...] of its task and observable."""

    observation: Any
    reward: Any
    terminated: Any


class FunctionalCase:
    """A functional environment with a recorded episode; everything is computed once, when it is
    first needed.
    """

    def __init__(self, env: FunctionalEnv, name: str | None = None) -> None:
        self.env, self.spec, self.name = env, env.spec, name
        self.horizon = env.scenario.horizon
        self.count = env.spec.engine.capacity
        self.params = env.params()
        self.length = self.horizon + BEYOND
        action_key, run_key = jax.random.split(jax.random.key(SEED))
        self.keys = jax.random.split(run_key, self.length + 1)
        self.actions = random_actions(action_key, env.spec, (self.length,))
        self.jit_step = jax.jit(env.step)
        self.jit_reset = jax.jit(env.reset)
        self.compiled_anew: Any = None

    @functools.cached_property
    def start(self) -> tuple[Array, Any]:
        """(observation, state) of a compiled reset."""
        return self.jit_reset(self.keys[0], self.params)

    @functools.cached_property
    def shapes(self) -> tuple[Any, Any]:
        """Abstract results of reset and step."""
        reset = jax.eval_shape(self.env.reset, self.keys[0], self.params)
        step = jax.eval_shape(self.env.step, self.keys[0], reset[1], self.actions[0], self.params)
        return reset, step

    def traced_anew(self) -> tuple[Any, Any]:
        """Trace, compile and run reset and two steps together; return what reset and the first
        step returned.
        """

        def run(keys: tuple[Array, ...], actions: Array, params: Any) -> tuple[Any, Any]:
            # States are handed over as copies, so that a step that writes into its own spoils
            # nothing here.
            observation, state = self.env.reset(keys[0], params)
            second = self.env.step(keys[1], _copy(state), actions[0], params)
            third = self.env.step(keys[2], _copy(second[1]), actions[1], params)
            # The third result keeps the second step from being left out of the program.
            return (observation, state), (second, third[0])

        words = jax.random.key_data(self.keys[:3])
        keys = tuple(jax.random.wrap_key_data(row) for row in words)
        first, (second, _) = jax.jit(run)(keys, self.actions[:2], self.params)
        return first, second

    def loop(self, steps: int) -> tuple[list[Any], Any]:
        """Step in a Python loop; return ([everything that step returned], last state)."""
        state, seen = self.start[1], []
        for key, action in zip(self.keys[1 : steps + 1], self.actions[:steps], strict=True):
            result = self.jit_step(key, state, action, self.params)
            seen.append(result)
            state = result[1]
        return seen, state

    @functools.cached_property
    def episode(self) -> tuple[Array, SwarmState, Step]:
        """(first observation, first swarm, steps [T,...]) of an episode inside one scan, on the
        host.
        """
        env = self.env

        def run(keys: Array, actions: Array, params: Any) -> Any:
            observation, state = env.reset(keys[0], params)
            swarm = env.swarm(state, params)

            def body(state: Any, given: tuple[Array, Array]) -> tuple[Any, Step]:
                key, action = given
                seen, state, reward, terminated, truncated, info = env.step(
                    key, state, action, params
                )
                return state, Step(
                    seen,
                    reward,
                    terminated,
                    truncated,
                    info["active"],
                    env.swarm(state, params),
                    info.get("flags"),
                    info.get("applied"),
                )

            return observation, swarm, jax.lax.scan(body, state, (keys[1:], actions))[1]

        return host(jax.jit(run)(self.keys, self.actions, self.params))

    @functools.cached_property
    def expected(self) -> Expected:
        """The scenario's own account of the recorded swarms, computed apart from the
        environment.
        """
        _, first, steps = self.episode
        space = self.env.space(self.params)
        rules = make_rules(self.env.scenario, space.size)

        def run(first: SwarmState, swarms: SwarmState) -> Expected:
            memory = rules.observable.init(first, space)
            _, memory = rules.observable.observe(first, memory, space)
            carry = (memory, rules.task.init(first, space), first.identity)

            def body(carry: Any, swarm: SwarmState) -> tuple[Any, Expected]:
                memory, paid, identity = carry
                renewed = swarm.identity != identity
                memory = renew_rows(memory, rules.observable.init(swarm, space), renewed)
                paid = renew_rows(paid, rules.task.init(swarm, space), renewed)
                observation, memory = rules.observable.observe(swarm, memory, space)
                reward, terminated, paid = rules.task.evaluate(swarm, paid, space)
                return (memory, paid, swarm.identity), Expected(observation, reward, terminated)

            return jax.lax.scan(body, carry, swarms)[1]

        return host(jax.jit(run)(first, steps.swarm))

    @functools.cached_property
    def accounts(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(reward, terminated, active before the step) [T,N] that the scenario demands."""
        _, first, steps = self.episode
        active, identity = np.asarray(first.present), np.asarray(first.identity)
        rows = []
        for t in range(self.length):
            present, new_identity = steps.swarm.present[t], steps.swarm.identity[t]
            renewed = new_identity != identity
            counts = active & present & ~renewed
            terminated = self.expected.terminated[t] & counts
            rows.append((np.where(counts, self.expected.reward[t], 0), terminated, active))
            active = np.where(renewed, present, active & present & ~terminated)
            identity = new_identity
        reward, ended, before = (np.stack(column) for column in zip(*rows, strict=True))
        return reward, ended, before
