"""The contracts of the parts of a scenario: observables, tasks and action maps, each in a small
world of its own.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from swarmctl.core.command import check_command
from swarmctl.core.contracts import ActionMap, Observable, Task
from swarmctl.core.spec import AgentSpec, Continuous, Discrete
from swarmctl.core.state import Space
from swarmctl.core.world import Box, Species, World
from swarmctl.engines.jax_engine import JaxEngine
from swarmctl.testing.motion import random_command
from swarmctl.testing.poison import without
from swarmctl.testing.report import NotApplicableError, Report, Suite
from swarmctl.testing.rollout import random_actions
from swarmctl.testing.trees import Watch, describe_shape, differences, host, stack, take

Piece = Observable | Task
STEPS = 6
SMALL = World(Box((60.0, 60.0)), species=(Species(count=4, speed_max=2.0),))


@functools.lru_cache(maxsize=4)
def drive(world: World) -> tuple[Any, Any, JaxEngine]:
    """(states [STEPS + 1,...] under random commands, space, engine) of a world."""
    engine = JaxEngine(world, 20 * world.time_step)
    params = engine.params()

    def run(key: Any) -> Any:
        keys = jax.random.split(key, 2 * STEPS + 1)
        state = engine.init(keys[0], params)

        def body(state: Any, given: Any) -> Any:
            command = random_command(given[1], engine.spec)
            state, _, _ = engine.advance(given[0], state, command, params)
            return state, engine.observe_state(state, params)

        first = engine.observe_state(state, params)
        rest = jax.lax.scan(body, state, (keys[1 : STEPS + 1], keys[STEPS + 1 :]))[1]
        return jax.tree.map(lambda a, b: jnp.concatenate([a[None], b]), first, rest)

    return jax.jit(run)(jax.random.key(6)), engine.space(params), engine


class PieceCase:
    """An observable or a task in front of recorded states."""

    def __init__(self, piece: Piece, world: World) -> None:
        self.states, self.space, self.engine = drive(world)
        dtype = self.engine.spec.dtype

        def convert(leaf: Any) -> Any:
            array = jnp.asarray(leaf)
            return array.astype(dtype) if jnp.issubdtype(array.dtype, jnp.floating) else array

        self.piece: Piece = jax.tree.map(convert, piece)
        self.count = world.capacity
        self.jit_look = jax.jit(self.look)

    def look(self, piece: Piece, state: Any, memory: Any, space: Space) -> tuple[Any, Any]:
        """(values, memory): the observation, or (reward, terminated)."""
        if isinstance(piece, Task):
            reward, terminated, memory = piece.evaluate(state, memory, space)
            return (reward, terminated), memory
        return piece.observe(state, memory, space)

    @functools.cached_property
    def memory(self) -> Any:
        """Memory at the start."""
        return jax.tree.map(jnp.asarray, self.piece.init(take(self.states, 0), self.space))

    @functools.cached_property
    def loop(self) -> list[tuple[Any, Any]]:
        """(values, memory) for every state, in a Python loop; a task starts with the state after
        the first action.
        """
        memory, seen = self.memory, []
        for t in range(1 if isinstance(self.piece, Task) else 0, STEPS + 1):
            seen.append(self.jit_look(self.piece, take(self.states, t), memory, self.space))
            memory = seen[-1][1]
        return seen


suite: Suite[PieceCase] = Suite("piece")


def check_observable(observable: Observable, world: World = SMALL) -> Report:
    """Check an observable in a world (two dimensions unless another is given) under random
    commands.
    """
    return suite.run(type(observable).__name__, PieceCase(observable, world))


def check_task(task: Task, world: World = SMALL) -> Report:
    """Check a task in a world (two dimensions unless another is given) under random commands."""
    return suite.run(type(task).__name__, PieceCase(task, world))


@suite.rule(
    "shapes",
    "an observation is f[N,F] with one name per number; a task gives reward f[N] and terminated "
    "bool[N]",
    "return one row per colloid in the dtype of the positions",
)
def shapes(case: PieceCase) -> Iterator[str]:
    """Look at values and memories of every state."""
    spec, n = case.engine.spec, case.count
    for values, memory in case.loop:
        if isinstance(case.piece, Task):
            wanted: list[Any] = [(values[0], spec.dtype, (n,)), (values[1], "bool", (n,))]
        else:
            size = len(case.piece.names(spec))
            wanted = [(values, spec.dtype, (n, size))]
            if case.piece.size(spec) != size:
                yield f"size is {case.piece.size(spec)} for {size} names"
        for leaf, dtype, shape in wanted:
            if str(leaf.dtype) != dtype or leaf.shape != shape:
                yield f"{describe_shape(leaf)} instead of {dtype}{list(shape)}"
        if jax.tree.map(describe_shape, memory) != jax.tree.map(describe_shape, case.memory):
            yield "the memory changes its structure, shape or dtype"


@suite.rule(
    "finite",
    "values are finite for every state of a swarm under random commands",
    "look for 0/0, log(0) and the norm of a zero vector",
    needs=["shapes"],
)
def finite(case: PieceCase) -> Iterator[str]:
    """Look for NaN and infinity."""
    for t, (values, _) in enumerate(case.loop):
        if not all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(values)):
            yield f"look {t} has values that are not finite"


@suite.rule(
    "memory-rows",
    "memory leaves have N rows",
    "give every leaf of the memory the leading axis N",
)
def memory_rows(case: PieceCase) -> Iterator[str]:
    """Look at the first memory."""
    for path, leaf in jax.tree_util.tree_flatten_with_path(case.memory)[0]:
        if leaf.ndim == 0 or leaf.shape[0] != case.count:
            name = f"memory{jax.tree_util.keystr(path)}"
            yield f"{name} is {describe_shape(leaf)}, not [{case.count},...]"


@suite.rule(
    "not-changed",
    "nothing that was handed in is changed",
    "keep memory explicit: return it, store nothing on the object",
)
def not_changed(case: PieceCase) -> Iterator[str]:
    """Trace around concrete values."""
    state, memory = take(case.states, 1), jax.tree.map(jnp.array, case.memory)
    watches = [Watch("object", case.piece, case.piece), Watch("memory", memory)]
    watches.append(Watch("state", state))
    jax.eval_shape(lambda space: case.look(case.piece, state, memory, space), case.space)
    for watch in watches:
        yield from watch.changes()


@suite.rule(
    "scan-vmap",
    "lax.scan and vmap (over swarms and over the object's own numbers) give what a Python loop "
    "gives",
    "write on arrays, without Python branches on values",
    needs=["shapes", "finite"],
)
def scan_vmap(case: PieceCase) -> Iterator[str]:
    """Compare."""
    start = 1 if isinstance(case.piece, Task) else 0
    states = take(case.states, slice(start, None))

    def body(memory: Any, state: Any) -> Any:
        values, memory = case.look(case.piece, state, memory, case.space)
        return memory, (values, memory)

    rows = jax.jit(lambda m, s: jax.lax.scan(body, m, s)[1])(case.memory, states)
    for t, result in enumerate(case.loop):
        for text in differences(result, take(rows, t)):
            yield f"loop and scan, look {t}: {text}"
    memories = stack([case.memory, case.loop[0][1]])
    batch = jax.jit(jax.vmap(case.look, (0, 0, 0, None)))(
        stack([case.piece] * 2), take(states, slice(2)), memories, case.space
    )
    for i in range(2):
        for text in differences(case.loop[i], take(batch, i)):
            yield f"single and vmapped, row {i}: {text}"


@suite.rule(
    "absent-rows",
    "rows of absent colloids are zero, and what is unknown (NaN) of them changes nothing for the "
    "others",
    "mask with jnp.where(state.present, ...), also what a memory adds to the row",
    needs=["shapes", "finite"],
)
def absent_rows(case: PieceCase) -> Iterator[str]:
    """Take the first colloid out of the last state."""
    last, memory = take(case.states, STEPS), case.loop[-2][1]
    results = [
        host(case.jit_look(case.piece, without(last, 0, number), memory, case.space)[0])
        for number in (float("nan"), 1.0)
    ]
    if any(np.any(leaf[0] != 0) for leaf in jax.tree.leaves(results[0])):
        yield "the row of an absent colloid is not zero"
    others = [jax.tree.map(lambda leaf: leaf[1:], result) for result in results]
    for text in differences(others[0], others[1], exact=True):
        yield f"rows of the others: {text}"


action_suite: Suite[ActionMap] = Suite("actions")


def check_action_map(actions: ActionMap) -> Report:
    """Check an action map against an engine in two dimensions."""
    return action_suite.run(type(actions).__name__, actions)


@action_suite.rule(
    "space",
    "the space is Discrete or Continuous and has one name per action or number",
    "return swarmctl.core.spec.Discrete(n) or Continuous(size)",
)
def space(actions: ActionMap) -> Iterator[str]:
    """Look at the space and count the names."""
    found = actions.space
    if not isinstance(found, Discrete | Continuous):
        yield f"space is {found!r}"
        return
    count = found.n if isinstance(found, Discrete) else found.size
    if len(actions.names) != count:
        yield f"{len(actions.names)} names for {count} actions"


@action_suite.rule(
    "commands",
    "every action becomes a finite command in the declared channels, in a loop as under vmap",
    "return one row per colloid in the channels that are named",
    needs=["space"],
)
def commands(actions: ActionMap) -> Iterator[str]:
    """Turn random and extreme actions into commands."""
    engine = drive(SMALL)[2].spec
    if not actions.channels <= engine.capabilities:
        raise NotApplicableError(f"the JAX engine does not take {sorted(actions.channels)}")
    spec = AgentSpec("", 0, (), actions.space, actions.names, engine)
    drawn = random_actions(jax.random.key(0), spec, (4,))
    if isinstance(actions.space, Continuous):
        drawn = jnp.concatenate([drawn, jnp.sign(drawn)])
    batch = jax.jit(jax.vmap(lambda a: actions.to_command(a, engine)))(drawn)
    for i, action in enumerate(drawn):
        command = actions.to_command(action, engine)
        check_command(command, engine)
        if command.channels != actions.channels:
            yield f"declared {sorted(actions.channels)}, used {sorted(command.channels)}"
        for text in differences(command, take(batch, i)):
            yield f"single and vmapped: {text}"
