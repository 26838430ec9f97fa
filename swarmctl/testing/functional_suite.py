"""The contract of scenarios and functional environments."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from swarmctl.testing.noise import repeated_noise
from swarmctl.testing.poison import absent_rows
from swarmctl.testing.report import NotApplicableError, Suite
from swarmctl.testing.rollout import FunctionalCase, random_actions
from swarmctl.testing.trees import Watch, describe_shape, differences, host, stack, take, tolerance

suite: Suite[FunctionalCase] = Suite("functional")
LOOP = 4
"""Steps that are compared between a loop, a scan and a batch."""


@suite.rule(
    "shapes",
    "observation f[N,F], reward f[N], terminated bool[N], truncated bool[], all known before "
    "running",
    "return arrays of these shapes and dtypes from reset and step; see decision 0001",
)
def shapes(case: FunctionalCase) -> Iterator[str]:
    """Compare the abstract results of reset and step with the contract."""
    n, size, dtype = case.count, case.spec.observation_size, case.spec.engine.dtype
    (first, state), step = case.shapes
    if len(step) != 6:
        yield f"step returns {len(step)} values, not 6"
        return
    seen, next_state, reward, terminated, truncated, info = step
    wanted = {
        "observation of reset": (first, dtype, (n, size)),
        "observation of step": (seen, dtype, (n, size)),
        "reward": (reward, dtype, (n,)),
        "terminated": (terminated, "bool", (n,)),
        "truncated": (truncated, "bool", ()),
    }
    if "active" in info:
        wanted['info["active"]'] = (info["active"], "bool", (n,))
    else:
        yield 'info has no "active"'
    for name, (found, kind, shape) in wanted.items():
        if found.shape != shape or str(found.dtype) != kind:
            yield f"{name} is {describe_shape(found)}, not {kind}{list(shape)}"
    before, after = (jax.tree.map(describe_shape, tree) for tree in (state, next_state))
    if before != after:
        yield "step returns a state of another structure, shape or dtype than it was given"


@suite.rule(
    "names",
    "an observation has as many names as numbers, an action map as many as actions",
    "let names() of the observable and of the action map say what every number is",
    needs=["shapes"],
)
def names(case: FunctionalCase) -> Iterator[str]:
    """Count the names."""
    spec, size = case.spec, case.shapes[0][0].shape[1]
    if not len(spec.observation_names) == spec.observation_size == size:
        yield f"{len(spec.observation_names)} names for {size} numbers"
    wanted = getattr(spec.action_space, "n", None) or getattr(spec.action_space, "size", 0)
    if len(spec.action_names) != wanted:
        yield f"{len(spec.action_names)} action names for {wanted} actions"


@suite.rule(
    "state-not-changed",
    "reset and step change nothing that they were given, nor the environment itself",
    "return a new state; write into no array, dict or attribute",
    needs=["shapes"],
)
def state_not_changed(case: FunctionalCase) -> Iterator[str]:
    """Trace a step around a concrete state and look at that state afterwards."""
    env, key, action = case.env, case.keys[1], case.actions[0]
    warm = case.jit_reset(case.keys[0], case.params)[1]
    jax.eval_shape(lambda k, a: env.step(k, warm, a, case.params), key, action)
    state = case.jit_reset(case.keys[0], case.params)[1]
    watches = [Watch("state", state, env), Watch("parameters", case.params)]
    jax.eval_shape(lambda k, a: env.step(k, state, a, case.params), key, action)
    jax.eval_shape(lambda k: env.reset(k, case.params), key)
    for watch in watches:
        yield from watch.changes()


@suite.rule(
    "keys-used-once",
    "every function that draws uses each key once, over an episode of several steps as well",
    "split the key: one part for every draw, and a fresh part for the next step",
    needs=["shapes"],
)
def keys_used_once(case: FunctionalCase) -> Iterator[str]:
    """Let JAX follow the keys through reset and two steps."""
    with jax.debug_key_reuse(True):
        try:
            case.compiled_anew = case.traced_anew()
        except jax.errors.KeyReuseError as error:
            yield f"a key is used twice: {str(error).splitlines()[0]}"


@suite.rule(
    "seeded",
    "equal keys give equal results, bit for bit, and those of another trace but for rounding",
    "draw only from the key that is passed in: no numpy generator, clock or global",
    needs=["shapes"],
)
def seeded(case: FunctionalCase) -> Iterator[str]:
    """Run the same reset and step twice, and once more from a fresh trace.

    The engine's own state may hold rounding remainders, which need not agree between traces.
    """
    key, action, params = case.keys[1], case.actions[0], case.params
    first, again = (case.jit_step(key, case.start[1], action, params) for _ in range(2))
    for text in differences(first, again, exact=True):
        yield f"step with equal keys, twice: {text}"
    for text in differences(case.start, case.jit_reset(case.keys[0], params), exact=True):
        yield f"reset with equal keys, twice: {text}"
    reset, step = case.compiled_anew or case.traced_anew()
    for name, one, other in (("reset", case.start, reset), ("step", first, step)):
        for text in differences(shown(case, one), shown(case, other)):
            yield f"{name} with equal keys, compiled anew: {text}"


def shown(case: FunctionalCase, result: Any) -> Any:
    """What a reset or step returned, with the swarm instead of the engine's own state."""
    observation, state, *rest = result
    return observation, case.env.swarm(state, case.params), rest


@suite.rule(
    "loop-scan-vmap",
    "a Python loop, lax.scan, vmap over keys and vmap over parameters give the same episode",
    "make reset and step depend on their arguments alone, without Python branches on values",
    needs=["shapes", "seeded"],
)
def loop_scan_vmap(case: FunctionalCase) -> Iterator[str]:
    """Compare the first steps of an episode."""
    env, steps = case.env, min(LOOP, case.length)
    seen, _ = case.loop(steps)
    _, _, recorded = case.episode
    for t, (observation, state, reward, terminated, truncated, _) in enumerate(seen):
        one = (observation, reward, terminated, truncated, env.swarm(state, case.params))
        row = take(recorded, t)
        other = (row.observation, row.reward, row.terminated, row.truncated, row.swarm)
        for text in differences(one, other):
            yield f"loop and scan, step {t}: {text}"
    states = stack([result[1] for result in seen[:2]])
    rows = (case.keys[2:4], states, case.actions[1:3])
    singles = [case.jit_step(*take(rows, i), case.params) for i in range(len(seen[:2]))]
    both = stack([case.params] * len(singles))
    batch = jax.jit(jax.vmap(env.step))(*take(rows, slice(len(singles))), both)
    for i, single in enumerate(singles):
        for text in differences(shown(case, single), shown(case, take(batch, i))):
            yield f"single and vmapped, row {i}: {text}"


@suite.rule(
    "finite-observation",
    "observations and rewards are finite in every step of an episode under random actions",
    "look for 0/0, log(0) and the norm of a zero vector; guard with jnp.where before and after",
    needs=["shapes"],
)
def finite_observation(case: FunctionalCase) -> Iterator[str]:
    """Look for NaN and infinity."""
    first, _, steps = case.episode
    if not np.isfinite(first).all():
        yield "the observation of reset is not finite"
    for name, values in (("observation", steps.observation), ("reward", steps.reward)):
        bad = ~np.isfinite(values)
        if bad.any():
            where = [int(i) for i in np.argwhere(bad)[0]]
            yield f"{name} is {values[tuple(where)]} at [step, colloid, number] = {where}"


@suite.rule(
    "motion-holds",
    "no step of an episode under random actions raises a flag of failed physics",
    "use a shorter time step, lower speeds, or more room",
    needs=["shapes"],
)
def motion_holds(case: FunctionalCase) -> Iterator[str]:
    """Look at the flags of every step."""
    flags = case.episode[2].flags
    if flags is None:
        raise NotApplicableError("info has no flags")
    for name in ("overlap", "overflow", "diverged", "wall_crossed"):
        if np.any(getattr(flags, name)):
            yield f"{name} in step {int(np.argmax(getattr(flags, name)))}"


@suite.rule(
    "never-resets",
    "step never resets by itself: the swarm's step count is the number of steps, beyond the "
    "horizon too",
    "leave resetting to the caller, or to AutoReset",
    needs=["shapes"],
)
def never_resets(case: FunctionalCase) -> Iterator[str]:
    """Compare the step count of the swarm with the number of steps taken."""
    _, first, steps = case.episode
    counts = np.concatenate([[first.step], steps.swarm.step])
    wrong = counts != np.arange(case.length + 1)
    if wrong.any():
        t = int(wrong.argmax())
        yield f"after {t} steps (horizon {case.horizon}) the swarm says step {int(counts[t])}"


@suite.rule(
    "terminated-truncated",
    "truncated is true at the horizon and not before; terminated is what the task says of the "
    "state after the action",
    "return the task's terminations per colloid and the horizon as truncation, in this order",
    needs=["shapes", "finite-observation"],
)
def terminated_truncated(case: FunctionalCase) -> Iterator[str]:
    """Compare both with the task, evaluated apart, and with the horizon."""
    steps, horizon = case.episode[2], case.horizon
    wanted_end = np.arange(1, horizon + 1) == horizon
    wanted, found = case.accounts[1][:horizon], steps.terminated[:horizon]
    end = steps.truncated[:horizon]
    swapped = np.array_equal(found, np.broadcast_to(wanted_end[:, None], found.shape))
    if swapped and not np.array_equal(found, wanted) and not np.array_equal(end, wanted_end):
        yield "terminated and truncated are swapped: every colloid terminates at the horizon"
        return
    if not np.array_equal(end, wanted_end):
        at = (np.flatnonzero(end) + 1).tolist()
        yield f"truncated after steps {at or 'never'}, the horizon is {horizon}"
    if not np.array_equal(found, wanted):
        t, i = (int(x) for x in np.argwhere(found != wanted)[0])
        yield f"step {t}, colloid {i}: terminated is {found[t, i]}, the task says {wanted[t, i]}"


@suite.rule(
    "active",
    'info["active"] says who was in the episode when it acted',
    "report the mask from before the step",
    needs=["shapes", "terminated-truncated"],
)
def active(case: FunctionalCase) -> Iterator[str]:
    """Compare with the mask that follows from presence and terminations."""
    found, wanted = case.episode[2].active, case.accounts[2]
    if not np.array_equal(found, wanted):
        yield f"differs in {int((found != wanted).any(1).sum())} of {case.length} steps"


@suite.rule(
    "reward-timing",
    "the reward of an action is what the task says of the state that the action led to",
    "evaluate the task on the state after the action and return that value in the same step",
    needs=["shapes", "finite-observation", "terminated-truncated"],
)
def reward_timing(case: FunctionalCase) -> Iterator[str]:
    """Compare with the task, evaluated apart from consecutive states."""
    yield from _timing("reward", case.episode[2].reward, case.accounts[0])


@suite.rule(
    "observation-timing",
    "an observation is what the observable says of the state that the action led to",
    "observe the state after the action and return it in the same step",
    needs=["shapes", "finite-observation", "seeded"],
)
def observation_timing(case: FunctionalCase) -> Iterator[str]:
    """Compare with the observable, evaluated apart from consecutive states."""
    yield from _timing("observation", case.episode[2].observation, case.expected.observation)


def _timing(name: str, found: np.ndarray, wanted: np.ndarray) -> Iterator[str]:
    """Say whether values [T,...] are the wanted ones, or those of the step before or after."""
    slack = tolerance(wanted.dtype) * max(float(np.abs(wanted).max()), 1e-30)

    def same(a: np.ndarray, b: np.ndarray) -> bool:
        return len(a) > 0 and bool(np.abs(a - b).max() <= slack)

    if same(found, wanted):
        return
    if same(found[1:], wanted[:-1]):
        yield f"{name} is one step late: step t returns what belongs to step t-1"
    elif same(found[:-1], wanted[1:]):
        yield f"{name} is one step early: step t returns what belongs to step t+1"
    else:
        off = np.abs(found - wanted).reshape(len(found), -1).max(1)
        many = int((off > slack).sum())
        yield f"{name} differs by up to {off.max():.3g} in {many} of {len(off)} steps"


@suite.rule(
    "noise-fresh",
    "other keys give other noise, and no step repeats the noise of another",
    "derive the noise from the key of the step alone",
    needs=["shapes", "seeded"],
)
def noise_fresh(case: FunctionalCase) -> Iterator[str]:
    """Compare steps that differ in their key, and the noise of all steps of an episode."""
    if case.env.scenario.world.fluid.temperature == 0:
        raise NotApplicableError("there is no noise at 0 K")
    action, state = case.actions[0], case.start[1]
    after = [
        host(case.env.swarm(case.jit_step(key, state, action, case.params)[1], case.params))
        for key in case.keys[1:3]
    ]
    if np.array_equal(after[0].position, after[1].position):
        yield "two steps from the same state with different keys end at the same positions"
    starts = [case.jit_reset(key, case.params)[0:2] for key in case.keys[:2]]
    first, second = (host(case.env.swarm(s[1], case.params)) for s in starts)
    if np.array_equal(first.director, second.director) and not _all_placed(case):
        yield "two resets with different keys give the same directors"
    steps = case.episode[2]
    yield from repeated_noise(steps.swarm, steps.applied)


def _all_placed(case: FunctionalCase) -> bool:
    return all(species.placement.directors for species in case.env.scenario.world.species)


@suite.rule(
    "absent-rows",
    "rows of absent colloids are zero, and what is unknown of them changes nothing for the others",
    "mask with jnp.where(state.present, ...), and choose before computing, since 0 x NaN is NaN",
    needs=["shapes", "finite-observation"],
)
def absent(case: FunctionalCase) -> Iterator[str]:
    """Take one colloid out, with NaN in its rows, and observe and evaluate again."""
    _, first, steps = case.episode
    space = case.env.space(case.params)
    if case.count < 2:
        raise NotApplicableError("it takes two colloids")
    swarms = jax.tree.map(jnp.asarray, (first, take(steps.swarm, 0), take(steps.swarm, 1)))
    yield from absent_rows(case.env.scenario, swarms, space)


@suite.rule(
    "any-action",
    "every action of the space becomes a command that the engine takes, in the declared channels",
    "let to_command return finite numbers in the channels that the action map names",
)
def any_action(case: FunctionalCase) -> Iterator[str]:
    """Turn random and extreme actions into commands."""
    from swarmctl.core.command import check_command

    actions, engine = case.env.scenario.actions, case.spec.engine
    drawn = random_actions(jax.random.key(3), case.spec, (8,))
    if jnp.issubdtype(drawn.dtype, jnp.floating):
        drawn = jnp.concatenate([drawn, jnp.sign(drawn)])
    for action in drawn:
        command = actions.to_command(action, engine)
        check_command(command, engine)
        if command.channels != actions.channels:
            yield f"declared {sorted(actions.channels)}, used {sorted(command.channels)}"
            return
