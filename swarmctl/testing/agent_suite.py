"""The contract of agents."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from swarmctl.agents.options import AgentConfig, make_agent
from swarmctl.core.command import Command, check_command
from swarmctl.core.contracts import Agent, AgentInputs
from swarmctl.core.spec import Discrete
from swarmctl.core.state import renew_rows
from swarmctl.envs.functional import SwarmEnv
from swarmctl.envs.make import make_env
from swarmctl.envs.scenario import Scenario
from swarmctl.testing.poison import without
from swarmctl.testing.report import NotApplicableError, Report, Suite
from swarmctl.testing.rollout import SEED, random_actions
from swarmctl.testing.trees import Watch, describe_shape, differences, host, stack, take

STEPS = 4


@functools.lru_cache(maxsize=4)
def record_inputs(env: SwarmEnv) -> AgentInputs:
    """What agents see while random actions drive an environment; leaves [STEPS,...]."""
    params = env.params()
    space = env.space(params)

    def run(key: Any, actions: Any) -> Any:
        keys = jax.random.split(key, STEPS + 1)
        _, state = env.reset(keys[0], params)

        def body(state: Any, given: Any) -> Any:
            observation, state, *_ = env.step(given[0], state, given[1], params)
            return state, (env.swarm(state, params), observation)

        return jax.lax.scan(body, state, (keys[1:], actions))[1]

    actions = random_actions(jax.random.key(1), env.spec, (STEPS,))
    swarm, observation = jax.jit(run)(jax.random.key(2), actions)
    return AgentInputs(swarm, observation, stack([space] * STEPS))


class AgentCase:
    """An agent in front of an environment that is driven by random actions."""

    def __init__(self, agent: Agent, env: SwarmEnv) -> None:
        self.agent, self.env, self.spec = agent, env, env.spec
        self.count = env.spec.engine.capacity
        self.jit_act = jax.jit(self.act, static_argnums=4)
        self.keys = jax.random.split(jax.random.key(SEED), STEPS)

    def act(
        self, agent: Agent, inputs: AgentInputs, memory: Any, key: Any, deterministic: bool = False
    ) -> tuple[Any, Any]:
        """Let an agent act; the agent is an argument, as it is for a learner."""
        return agent.act(inputs, memory, key, deterministic)

    @functools.cached_property
    def memory(self) -> Any:
        """Memory at the start of an episode, as arrays."""
        return jax.tree.map(jnp.asarray, self.agent.init_memory(self.spec))

    @property
    def inputs(self) -> AgentInputs:
        """What the agent sees in every step of a recorded run; leaves [STEPS,...]."""
        return record_inputs(self.env)

    @functools.cached_property
    def loop(self) -> list[tuple[Any, Any]]:
        """(output, memory) of every step in a Python loop."""
        memory, seen = self.memory, []
        for t in range(STEPS):
            seen.append(self.jit_act(self.agent, take(self.inputs, t), memory, self.keys[t]))
            memory = seen[-1][1]
        return seen


suite: Suite[AgentCase] = Suite("agent")


def check_agent(
    agent: str | Agent | AgentConfig,
    scenario: str | Scenario | SwarmEnv = "Chemotaxis-v0",
    **options: Any,
) -> Report:
    """Check an agent in front of a scenario on the JAX engine.

    Args:
        agent: registered name, configuration, or an agent that was made for the scenario.
        scenario: id, Scenario, or a functional environment.
        options: keys of the scenario.
    """
    env = scenario if isinstance(scenario, SwarmEnv) else make_env(scenario, **options)
    title = agent if isinstance(agent, str) else type(agent).__name__
    if isinstance(agent, str):
        agent = make_agent(agent, env.spec)
    elif isinstance(agent, AgentConfig):
        agent = agent.build(env.spec)
    return suite.run(f"{title} on {env.scenario.id}", AgentCase(agent, env))


@suite.rule(
    "fits",
    "check(spec) accepts an environment that the agent was made for; output is 'action' or "
    "'command'",
    "say in check what does not fit, and declare output on the class",
)
def fits(case: AgentCase) -> Iterator[str]:
    """Ask the agent."""
    case.agent.check(case.spec)
    if case.agent.output not in ("action", "command"):
        yield f"output is {case.agent.output!r}"


@suite.rule(
    "pytree",
    "an agent is a frozen pytree: flattening and rebuilding it gives an equal one",
    "decorate the class with swarmctl.core.tree.pytree",
)
def is_pytree(case: AgentCase) -> Iterator[str]:
    """Flatten and rebuild."""
    structure: Any
    leaves, structure = jax.tree.flatten(case.agent)
    if any(leaf is case.agent for leaf in leaves):
        yield f"{type(case.agent).__name__} is a leaf, not a tree"
        return
    if any(not hasattr(leaf, "dtype") for leaf in leaves):
        kinds = {type(leaf).__name__ for leaf in leaves if not hasattr(leaf, "dtype")}
        yield f"leaves that are no arrays but {', '.join(sorted(kinds))}: they weaken dtypes"
    rebuilt = jax.tree.unflatten(structure, leaves)
    if type(rebuilt) is not type(case.agent) or jax.tree.structure(rebuilt) != structure:
        yield "the rebuilt agent is another one"


@suite.rule(
    "shapes",
    "outputs have the shape and dtype of the action space and lie in it, or are a command the "
    "engine takes",
    "return i32[N], f[N,A] in [-1, 1], or a Command; keep the memory's shapes and dtypes",
    needs=["fits", "pytree"],
)
def shapes(case: AgentCase) -> Iterator[str]:
    """Look at outputs and memories of a run, drawn and deterministic."""
    space, n, real = case.spec.action_space, case.count, case.spec.engine.dtype
    certain = case.jit_act(case.agent, take(case.inputs, 0), case.memory, case.keys[0], True)
    for output, memory in [*case.loop, certain]:
        if jax.tree.map(describe_shape, memory) != jax.tree.map(describe_shape, case.memory):
            yield "act returns a memory of another structure, shape or dtype than init_memory"
        if case.agent.output == "command":
            if not isinstance(output, Command):
                yield f"output is declared as command, act returned {type(output).__name__}"
                return
            check_command(output, case.spec.engine)
            continue
        dtype, shape = ("int32", (n,)) if isinstance(space, Discrete) else (real, (n, space.size))
        if output.shape != shape or str(output.dtype) != dtype:
            yield f"the action is {describe_shape(output)}, not {dtype}{list(shape)}"
            return
        values = np.asarray(output)
        inside = (
            (values >= 0) & (values < space.n)
            if isinstance(space, Discrete)
            else np.abs(values) <= 1
        )
        if not inside.all():
            yield f"{values[~inside].ravel()[0]} is not in {space}"


@suite.rule(
    "repeatable",
    "equal keys give equal outputs, bit for bit, drawn and deterministic; so do other traces but "
    "for rounding",
    "draw from the key alone",
    needs=["shapes"],
)
def repeatable(case: AgentCase) -> Iterator[str]:
    """Act twice, and once more from a fresh trace."""
    given = (case.agent, take(case.inputs, 1), case.loop[0][1], case.keys[1])
    for deterministic in (False, True):
        one, two = (case.jit_act(*given, deterministic) for _ in range(2))
        for text in differences(one, two, exact=True):
            yield f"deterministic={deterministic}, twice: {text}"
    for text in differences(case.loop[1], jax.jit(lambda *a: case.act(*a))(*given)):
        yield f"compiled anew: {text}"


@suite.rule(
    "keys-used-once",
    "act uses its key at most once",
    "split the key: one part for every draw",
    needs=["fits", "pytree"],
)
def keys_used_once(case: AgentCase) -> Iterator[str]:
    """Let JAX follow the key."""
    words = jax.random.key_data(jax.random.key(4))
    with jax.debug_key_reuse(True):
        try:
            key = jax.random.wrap_key_data(words)
            jax.jit(lambda *a: case.act(*a))(case.agent, take(case.inputs, 0), case.memory, key)
        except jax.errors.KeyReuseError as error:
            yield f"the key is used twice: {str(error).splitlines()[0]}"


@suite.rule(
    "loop-scan-vmap",
    "a Python loop, lax.scan and vmap (over swarms and over agents) give the same outputs",
    "make act depend on its arguments alone, without Python branches on values",
    needs=["shapes", "repeatable"],
)
def loop_scan_vmap(case: AgentCase) -> Iterator[str]:
    """Compare."""

    def body(memory: Any, given: Any) -> Any:
        output, memory = case.act(case.agent, given[0], memory, given[1])
        return memory, (output, memory)

    rows = jax.jit(lambda m, x: jax.lax.scan(body, m, x)[1])(case.memory, (case.inputs, case.keys))
    for t, result in enumerate(case.loop):
        for text in differences(result, take(rows, t)):
            yield f"loop and scan, step {t}: {text}"
    memories = stack([case.memory, case.loop[0][1]])
    batch = jax.jit(jax.vmap(case.act, (0, 0, 0, 0)))(
        stack([case.agent] * 2), take(case.inputs, slice(2)), memories, case.keys[:2]
    )
    for i in range(2):
        for text in differences(case.loop[i], take(batch, i)):
            yield f"single and vmapped, row {i}: {text}"


@suite.rule(
    "not-changed",
    "act changes neither the agent nor what it was given",
    "keep memory explicit: return it, store nothing on the agent",
    needs=["fits", "pytree"],
)
def not_changed(case: AgentCase) -> Iterator[str]:
    """Trace around concrete values and look at them afterwards."""
    inputs, memory = take(case.inputs, 0), jax.tree.map(jnp.array, case.memory)
    watches = [
        Watch("agent", case.agent, case.agent),
        Watch("memory", memory),
        Watch("inputs", inputs),
    ]
    jax.eval_shape(lambda key: case.agent.act(inputs, memory, key), case.keys[0])
    for watch in watches:
        yield from watch.changes()


@suite.rule(
    "memory-rows",
    "memory leaves have N rows, so that a renewed colloid's rows start afresh and the others are "
    "kept",
    "give every leaf of the memory the leading axis N, or keep it in the agent",
    needs=["fits", "pytree"],
)
def memory_rows(case: AgentCase) -> Iterator[str]:
    """Renew the first colloid's rows."""
    leaves = jax.tree_util.tree_flatten_with_path(case.memory)[0]
    if not leaves:
        raise NotApplicableError("the agent has no memory")
    wrong = [
        f"{jax.tree_util.keystr(path)} {describe_shape(leaf)}"
        for path, leaf in leaves
        if leaf.ndim == 0 or leaf.shape[0] != case.count
    ]
    if wrong:
        yield f"without {case.count} rows: {', '.join(wrong)}"
        return
    late = case.loop[-1][1]
    renewed = jnp.arange(case.count) == 0
    mixed = host(renew_rows(late, case.memory, renewed))
    for text in differences(take(mixed, slice(1)), take(case.memory, slice(1)), exact=True):
        yield f"the renewed row is not fresh: {text}"
    for text in differences(take(mixed, slice(1, None)), take(late, slice(1, None)), exact=True):
        yield f"the other rows were not kept: {text}"


@suite.rule(
    "absent",
    "what is unknown (NaN) of an absent colloid changes nothing for the others, and their "
    "outputs are finite",
    "mask by state.present before means, sums and sorts over colloids",
    needs=["shapes", "repeatable"],
)
def absent(case: AgentCase) -> Iterator[str]:
    """Take the first colloid out, with NaN and with 1 in its rows."""
    if case.count < 2:
        raise NotApplicableError("it takes two colloids")
    inputs, memory = take(case.inputs, 1), case.loop[0][1]
    results = []
    for number in (float("nan"), 1.0):
        seen = AgentInputs(
            without(inputs.state, 0, number), inputs.observation.at[0].set(number), inputs.space
        )
        results.append(host(case.jit_act(case.agent, seen, memory, case.keys[1])))
    others = [take(_rows(result, case.count), slice(1, None)) for result in results]
    for text in differences(others[0], others[1], exact=True):
        yield f"rows of the others: {text}"
    for leaf in jax.tree.leaves(others[0]):
        if np.issubdtype(leaf.dtype, np.floating) and not np.isfinite(leaf).all():
            yield "an output or memory of the others is not finite"


def _rows(tree: Any, count: int) -> list[Any]:
    leaves = jax.tree.leaves(tree)
    return [leaf for leaf in leaves if leaf.ndim and leaf.shape[0] == count]
