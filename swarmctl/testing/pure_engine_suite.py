"""The contract of engines that are made of pure functions."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from swarmctl.core.contracts import PureEngine
from swarmctl.testing.motion import random_command, state_faults
from swarmctl.testing.report import NotApplicableError, Suite
from swarmctl.testing.trees import Watch, describe_shape, differences, host, stack, take

STEPS = 3


class PureCase:
    """A pure engine with a run in a Python loop of compiled calls."""

    def __init__(self, engine: PureEngine) -> None:
        self.engine, self.params = engine, engine.params()
        keys = jax.random.split(jax.random.key(3), 2 * STEPS + 1)
        self.keys = keys[: STEPS + 1]
        self.commands = stack([random_command(k, engine.spec) for k in keys[STEPS + 1 :]])
        self.jit_init = jax.jit(engine.init)
        self.jit_advance = jax.jit(self.advance)

    def advance(self, key: Any, state: Any, command: Any, params: Any) -> tuple[Any, ...]:
        """Advance and observe."""
        state, applied, flags = self.engine.advance(key, state, command, params)
        return state, applied, flags, self.engine.observe_state(state, params)

    @functools.cached_property
    def loop(self) -> tuple[Any, list[Any]]:
        """(first state, [results of advance])."""
        first = state = self.jit_init(self.keys[0], self.params)
        seen = []
        for t in range(STEPS):
            seen.append(
                self.jit_advance(self.keys[t + 1], state, take(self.commands, t), self.params)
            )
            state = seen[-1][0]
        return first, seen


suite: Suite[PureCase] = Suite("pure-engine")


@suite.rule(
    "closed",
    "advance returns a state of the structure, shapes and dtypes that init made",
    "keep every leaf's shape and dtype, so that a scan can carry the state",
)
def closed(case: PureCase) -> Iterator[str]:
    """Compare the abstract states."""
    state = jax.eval_shape(case.engine.init, case.keys[0], case.params)
    after = jax.eval_shape(
        case.engine.advance, case.keys[0], state, take(case.commands, 0), case.params
    )[0]
    if jax.tree.map(describe_shape, state) != jax.tree.map(describe_shape, after):
        yield "the state after advance is built differently"


@suite.rule(
    "not-changed",
    "init, advance and observe_state change nothing that they were given",
    "return new values; write into no array, dict or attribute",
    needs=["closed"],
)
def not_changed(case: PureCase) -> Iterator[str]:
    """Trace around a concrete state and look at it afterwards."""
    state = case.jit_init(case.keys[0], case.params)
    watches = [Watch("state", state, case.engine), Watch("parameters", case.params)]
    jax.eval_shape(
        lambda k, c: case.advance(k, state, c, case.params), case.keys[0], take(case.commands, 0)
    )
    for watch in watches:
        yield from watch.changes()


@suite.rule(
    "keys-used-once",
    "init and advance use their key once",
    "split the key: one part for every draw",
    needs=["closed"],
)
def keys_used_once(case: PureCase) -> Iterator[str]:
    """Let JAX follow the keys."""
    words = jax.random.key_data(case.keys[:2])

    def run(first: Any, second: Any, command: Any, params: Any) -> Any:
        return case.advance(second, case.engine.init(first, params), command, params)[3]

    with jax.debug_key_reuse(True):
        try:
            keys = [jax.random.wrap_key_data(row) for row in words]
            jax.jit(run)(*keys, take(case.commands, 0), case.params)
        except jax.errors.KeyReuseError as error:
            yield f"a key is used twice: {str(error).splitlines()[0]}"


@suite.rule(
    "seeded",
    "equal keys give equal results, other keys others if there is noise",
    "draw from the key alone",
    needs=["closed"],
)
def seeded(case: PureCase) -> Iterator[str]:
    """Repeat a step with the same key and with another."""
    first, seen = case.loop
    command = take(case.commands, 0)
    again = case.jit_advance(case.keys[1], first, command, case.params)
    for text in differences(seen[0], again, exact=True):
        yield f"equal keys: {text}"
    world = getattr(case.engine, "world", None)
    if world is not None and world.fluid.temperature > 0:
        other = case.jit_advance(case.keys[2], first, command, case.params)
        if np.array_equal(other[3].position, seen[0][3].position):
            yield "two keys end at the same positions though the temperature is above 0 K"


@suite.rule(
    "scan",
    "lax.scan gives the same run as a Python loop",
    "make advance depend on its arguments alone",
    needs=["closed", "seeded"],
)
def scan(case: PureCase) -> Iterator[str]:
    """Compare a scan with the loop."""
    first, seen = case.loop

    def run(state: Any, keys: Any, commands: Any, params: Any) -> Any:
        def body(state: Any, given: Any) -> Any:
            results = case.advance(given[0], state, given[1], params)
            return results[0], results[1:]

        return jax.lax.scan(body, state, (keys, commands))[1]

    rows = jax.jit(run)(first, case.keys[1:], case.commands, case.params)
    for t, result in enumerate(seen):
        for text in differences(result[1:], take(rows, t)):
            yield f"step {t}: {text}"


@suite.rule(
    "vmap",
    "vmap over keys, states, commands and parameters gives the rows of single calls",
    "write advance for one swarm, or give it a batching rule that keeps rows apart",
    needs=["closed", "seeded"],
)
def vmap(case: PureCase) -> Iterator[str]:
    """Compare what a batch of two shows with single calls; the second's parameters are 1 % larger.

    The engine's own state may hold rounding remainders, which need not agree.
    """
    first, seen = case.loop
    larger = jax.tree.map(
        lambda x: x * 1.01 if jax.numpy.issubdtype(x.dtype, jax.numpy.floating) else x, case.params
    )
    params = [case.params, larger]
    states = [first, seen[0][0]]
    singles = [
        case.jit_advance(case.keys[i + 1], states[i], take(case.commands, i), params[i])
        for i in range(2)
    ]
    batch = jax.jit(jax.vmap(case.advance))(
        case.keys[1:3], stack(states), take(case.commands, slice(2)), stack(params)
    )
    shared = jax.jit(jax.vmap(case.advance, (0, 0, 0, None)))(
        case.keys[1:3], stack(states), take(case.commands, slice(2)), case.params
    )
    for i, single in enumerate(singles):
        for text in differences(single[1:], take(batch[1:], i)):
            yield f"row {i}, parameters batched: {text}"
    for text in differences(singles[0][1:], take(shared[1:], 0)):
        yield f"row 0, parameters shared: {text}"


@suite.rule(
    "shell",
    "reset and step give what init, advance and observe_state give: valid states of the same spec",
    "let the stateful engine be a thin shell on the pure functions",
    needs=["closed"],
)
def shell(case: PureCase) -> Iterator[str]:
    """Look at the observed states."""
    first, seen = case.loop
    states = [case.engine.observe_state(first, case.params), *(result[3] for result in seen)]
    for t, found in enumerate(states):
        for text in state_faults(found, case.engine.spec):
            yield f"after {t} steps: {text}"
    if any(np.any(host(result[2]).diverged) for result in seen):
        raise NotApplicableError("the run diverged")
