"""The contract of vector environments: what happens where an episode ends, in every autoreset
mode.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from swarmctl.testing.report import NotApplicableError, Report, Suite

Factory = Callable[[AutoresetMode], VectorEnv[Any, Any, Any]]
SEED = 11
LEAD = 2
"""Steps by which the other swarms are ahead of the first, so that not all end at once."""
MOST_STEPS = 5000


@dataclasses.dataclass
class Record:
    """One mode's run: per step (observation, reward, terminated, truncated, infos), from the
    second reset on.
    """

    first: np.ndarray
    second: np.ndarray
    steps: Any

    def ends(self, row: int) -> list[int]:
        """Steps at which an episode of a row ended."""
        return [t for t, (_, _, te, tr, _) in enumerate(self.steps) if te[row] or tr[row]]

    def last(self, row: int, mode: AutoresetMode) -> np.ndarray | None:
        """Observation that ended the first episode of a row; None if it is not given."""
        t = self.ends(row)[0]
        observation, _, _, _, infos = self.steps[t]
        if mode is not AutoresetMode.SAME_STEP:
            return np.asarray(observation[row])
        final = infos.get("final_obs")
        return None if final is None or final[row] is None else np.asarray(final[row])


class VectorCase:
    """A factory of vector environments by autoreset mode, with one recorded run per mode."""

    def __init__(
        self, factory: Factory, single: Callable[[], gymnasium.Env[Any, Any]] | None = None
    ) -> None:
        self.factory, self.single = factory, single
        self.envs = {mode: factory(mode) for mode in AutoresetMode}
        self.any = self.envs[AutoresetMode.NEXT_STEP]
        self.rows = self.any.num_envs

    def actions(self, steps: int) -> list[Any]:
        """Random actions, the same for every mode."""
        self.any.action_space.seed(SEED)
        return [self.any.action_space.sample() for _ in range(steps)]

    @functools.cached_property
    def length(self) -> int:
        """Steps until every row of the staggered run has ended once, and one more."""
        env = self.envs[AutoresetMode.NEXT_STEP]
        env.reset(seed=SEED)
        over, count = np.zeros(self.rows, bool), 0
        env.action_space.seed(SEED)
        while not over.all() and count < MOST_STEPS:
            _, _, terminated, truncated, _ = env.step(env.action_space.sample())
            over |= terminated | truncated
            count += 1
        return count + LEAD + 2

    @functools.cached_property
    def records(self) -> dict[AutoresetMode, Record]:
        """A run in every mode: LEAD steps, the first row reset alone, then all until every row
        has ended.
        """
        return {mode: self.run(mode) for mode in self.envs}

    def run(self, mode: AutoresetMode, actions: list[Any] | None = None) -> Record:
        """Run one mode; with autoreset disabled, rows that ended are reset by a mask."""
        env, actions = self.envs[mode], actions or self.actions(self.length)
        first = np.array(env.reset(seed=SEED)[0])
        for action in actions[:LEAD]:
            env.step(action)
        mask = np.arange(self.rows) == 0
        second = np.array(env.reset(options={"reset_mask": mask.copy()})[0])
        steps = []
        for action in actions[LEAD:]:
            steps.append(copy.deepcopy(env.step(action)))
            over = steps[-1][2] | steps[-1][3]
            if mode is AutoresetMode.DISABLED and over.any():
                env.reset(options={"reset_mask": over.copy()})
        return Record(first, second, steps)


suite: Suite[VectorCase] = Suite("vector")


def check_vector_env(
    factory: Factory, single: Callable[[], gymnasium.Env[Any, Any]] | None = None
) -> Report:
    """Check vector environments in all three autoreset modes.

    Args:
        factory: returns a vector environment of at least two rows for an `AutoresetMode`. Episodes
            are run to their
            end, so that a short horizon makes a quick check.
        single: returns one environment; row i seeded with s must then equal it seeded with s + i.
    The environments are closed at the end.
    """
    case = VectorCase(factory, single)
    try:
        return suite.run(type(case.any).__name__, case)
    finally:
        for env in case.envs.values():
            env.close()


@suite.rule(
    "spaces",
    "the spaces are the batch of the single ones, the declared mode is the mode asked for",
    "set observation_space, action_space by batch_space and metadata['autoreset_mode']",
)
def spaces(case: VectorCase) -> Iterator[str]:
    """Compare spaces and metadata."""
    for mode, env in case.envs.items():
        if env.metadata.get("autoreset_mode") is not mode:
            yield f"asked for {mode}, metadata says {env.metadata.get('autoreset_mode')}"
        for name in ("observation_space", "action_space"):
            wanted = batch_space(getattr(env, f"single_{name}"), case.rows)
            if getattr(env, name) != wanted:
                yield f"{name} is {getattr(env, name)}, not {wanted}"
    if case.rows < 2:
        yield f"the check needs at least 2 rows, got {case.rows}"


@suite.rule(
    "shapes",
    "observations lie in the space and are finite; rewards f[B], terminations and truncations "
    "bool[B]",
    "return arrays with one row per environment in every step",
    needs=["spaces"],
)
def shapes(case: VectorCase) -> Iterator[str]:
    """Look at every step of every mode."""
    for mode, record in case.records.items():
        env = case.envs[mode]
        for t, (observation, reward, terminated, truncated, _) in enumerate(record.steps):
            if not env.observation_space.contains(observation):
                yield f"{mode.value}, step {t}: the observation is not in the observation space"
            if not np.isfinite(observation).all() or not np.isfinite(reward).all():
                yield f"{mode.value}, step {t}: an observation or reward is not finite"
            flags = {"terminations": terminated, "truncations": truncated}
            wrong = [k for k, v in flags.items() if v.shape != (case.rows,) or v.dtype != bool]
            if wrong or reward.shape != (case.rows,):
                yield f"{mode.value}, step {t}: wrong shape or dtype of {wrong or 'rewards'}"


@suite.rule(
    "seeding",
    "equal seeds give equal runs; rows differ; row i with seed s equals row 0 with seed s + i",
    "seed row i with seed + i and nothing else",
    needs=["shapes"],
)
def seeding(case: VectorCase) -> Iterator[str]:
    """Compare resets with several seeds."""
    env, rows = case.any, case.rows
    actions = case.actions(3)
    for action in actions:
        action[:] = action[0]

    def start(seed: int | list[int]) -> np.ndarray:
        """Observations [B,T,...] of a few steps in which all rows act alike."""
        seen = [np.array(env.reset(seed=seed)[0])]  # type: ignore[arg-type]
        seen += [np.array(env.step(action)[0]) for action in actions]
        return np.stack(seen, axis=1)

    first, next_seed = start(3), start(4)
    if not np.array_equal(first, start(3)):
        yield "runs with equal seeds differ"
    if any(np.array_equal(first[0], row) for row in first[1:]):
        yield "two rows run alike"
    if not np.array_equal(first[1:], next_seed[:-1]):
        yield "row i with seed s does not run like row i - 1 with seed s + 1"
    if not np.array_equal(first, start(list(range(3, 3 + rows)))):
        yield "a list of seeds s, s + 1, ... does not run like seed s"
    mode = AutoresetMode.NEXT_STEP
    record, repeat = case.records[mode], case.run(mode)
    for t, (one, two) in enumerate(zip(record.steps, repeat.steps, strict=True)):
        if not all(np.array_equal(a, b) for a, b in zip(one[:4], two[:4], strict=True)):
            yield f"two runs with equal seeds differ at step {t}"
            return


@suite.rule(
    "reset-mask",
    "reset(options={'reset_mask': mask}) restarts these rows and leaves the others as they are",
    "choose rows by the mask; keep observation, state and keys of the others",
    needs=["shapes"],
)
def reset_mask(case: VectorCase) -> Iterator[str]:
    """Compare the partial reset of the run with the observations before and after."""
    env = case.envs[AutoresetMode.DISABLED]
    env.reset(seed=SEED)
    before = [np.array(env.step(action)[0]) for action in case.actions(1)][-1]
    mask = np.arange(case.rows) == 0
    handed = {"reset_mask": mask.copy()}
    after = np.array(env.reset(options=handed)[0])
    if np.array_equal(before[0], after[0]):
        yield "the row of the mask was not restarted"
    if not np.array_equal(before[1:], after[1:]):
        yield "rows outside the mask were changed"
    # Gymnasium's own vector environments take the mask out of the options.
    if "reset_mask" in handed and not np.array_equal(handed["reset_mask"], mask):
        yield "the mask was changed in place"


@suite.rule(
    "final-observation",
    "no terminal observation is lost: every mode shows the one that a run without autoreset ends "
    "with",
    "NEXT_STEP and DISABLED return it from step; SAME_STEP puts it into infos['final_obs'] with "
    "its mask",
    needs=["shapes", "seeding"],
)
def final_observation(case: VectorCase) -> Iterator[str]:
    """Compare the last observation of every row's first episode with the run without autoreset."""
    truth = case.records[AutoresetMode.DISABLED]
    for mode in (AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP):
        record = case.records[mode]
        for row in range(case.rows):
            if record.ends(row)[:1] != truth.ends(row)[:1]:
                yield f"{mode.value}: row {row} ends at {record.ends(row)}, not {truth.ends(row)}"
                continue
            found, wanted = record.last(row, mode), truth.last(row, AutoresetMode.DISABLED)
            if found is None:
                yield f"{mode.value}: row {row} has no final observation"
            elif wanted is not None and not np.allclose(found, wanted, rtol=1e-3, atol=1e-4):
                start = record.steps[record.ends(row)[0]][0][row]
                new = " (it is that of the new episode)" if np.array_equal(found, start) else ""
                yield f"{mode.value}: the final observation of row {row} is another one{new}"


@suite.rule(
    "final-masks",
    "SAME_STEP: infos['_final_obs'] and ['_final_info'] mark the rows that ended, and only those "
    "are filled",
    "set both masks to the rows that ended in this step, leave the keys out when none did",
    needs=["shapes"],
)
def final_masks(case: VectorCase) -> Iterator[str]:
    """Look at the infos of every step."""
    for t, step in enumerate(case.records[AutoresetMode.SAME_STEP].steps):
        _, reward, terminated, truncated, infos = step
        over = terminated | truncated
        if not over.any():
            if any(key in infos for key in ("final_obs", "final_info")):
                yield f"step {t}: final infos though no row ended"
            continue
        for key in ("_final_obs", "_final_info"):
            if not np.array_equal(infos.get(key), over):
                yield f"step {t}: {key} is {infos.get(key)}, rows that ended: {over}"
        filled = [row is not None for row in infos.get("final_obs", [None] * case.rows)]
        if filled != over.tolist():
            yield f"step {t}: final_obs is filled for {filled}, rows that ended: {over.tolist()}"
        rows = infos.get("final_info", {}).get("agent_reward")
        if rows is not None:
            means = np.asarray([np.mean(np.asarray(row, float)) for row in rows])
            active = np.asarray([np.all(row) for row in infos["final_info"]["active"]])
            check = over & active
            if not np.allclose(means[check], reward[check], rtol=1e-4, atol=1e-5):
                yield f"step {t}: final_info's agent_reward is not that of the step"


@suite.rule(
    "next-step-reset",
    "NEXT_STEP: the step after an end resets, pays 0, ends nothing and ignores the action",
    "return the first observation of the new episode, reward 0 and False for such rows",
    needs=["shapes", "seeding"],
)
def next_step_reset(case: VectorCase) -> Iterator[str]:
    """Look at the step after every end, and repeat the run with another action there."""
    mode = AutoresetMode.NEXT_STEP
    record, actions = case.records[mode], case.actions(case.length)
    ends = {row: record.ends(row)[0] for row in range(case.rows)}
    for row, t in ends.items():
        if t + 1 >= len(record.steps):
            continue
        observation, reward, terminated, truncated, _ = record.steps[t + 1]
        if reward[row] != 0 or terminated[row] or truncated[row]:
            yield (
                f"row {row} after its end: reward {reward[row]}, terminated {terminated[row]}, "
                f"truncated {truncated[row]}"
            )
        if np.array_equal(observation[row], record.steps[t][0][row]):
            yield f"row {row} was not reset in the step after its end"
    row, t = max(ends.items(), key=lambda item: item[1])
    actions[LEAD + t + 1][row] = _other(actions[LEAD + t + 1][row])
    changed = case.run(mode, actions)
    if not np.array_equal(changed.steps[t + 1][0][row], record.steps[t + 1][0][row]):
        yield f"the action of row {row} at its reset made a difference"


def _other(action: np.ndarray) -> np.ndarray:
    if np.issubdtype(action.dtype, np.integer):
        return np.where(action == 0, 1, 0).astype(action.dtype)
    return -action


@suite.rule(
    "same-step-reset",
    "SAME_STEP: the observation of a step that ends an episode is the first of the next; reward "
    "and flags are the end's",
    "restart ended rows within the step, after reward and flags are taken",
    needs=["shapes", "final-observation"],
)
def same_step_reset(case: VectorCase) -> Iterator[str]:
    """Compare with the run without autoreset."""
    mode = AutoresetMode.SAME_STEP
    record, truth = case.records[mode], case.records[AutoresetMode.DISABLED]
    for row in range(case.rows):
        t = record.ends(row)[0]
        last = record.last(row, mode)
        if last is not None and np.array_equal(record.steps[t][0][row], last):
            yield f"row {row} was not reset in the step that ended it"
        for name, index in (("reward", 1), ("terminated", 2), ("truncated", 3)):
            found, wanted = record.steps[t][index][row], truth.steps[t][index][row]
            if not np.isclose(float(found), float(wanted), rtol=1e-3, atol=1e-5):
                yield f"row {row} at its end: {name} {found}, without autoreset {wanted}"


@suite.rule(
    "disabled-waits",
    "DISABLED: a row that ended is not stepped before it is reset",
    "raise until reset(options={'reset_mask': mask}) has restarted the rows that ended",
    needs=["shapes"],
)
def disabled_waits(case: VectorCase) -> Iterator[str]:
    """Step on after the first end."""
    env = case.envs[AutoresetMode.DISABLED]
    env.reset(seed=SEED)
    for action in case.actions(case.length):
        _, _, terminated, truncated, _ = env.step(action)
        if (terminated | truncated).any():
            break
    try:
        env.step(action)
    except Exception:  # whichever error it is, the step was refused
        return
    yield "a row that ended was stepped"


@suite.rule(
    "equals-single",
    "the first episode of row i with seed s equals that of a single environment with seed s + i",
    "give every row the stream of keys that a single environment with its seed has",
    needs=["shapes", "seeding"],
)
def equals_single(case: VectorCase) -> Iterator[str]:
    """Run single environments with the actions of the rows."""
    if case.single is None:
        raise NotApplicableError("no single environment was given")
    env, single = case.envs[AutoresetMode.NEXT_STEP], case.single()
    actions = case.actions(case.length)
    first = np.array(env.reset(seed=SEED)[0])
    steps = [copy.deepcopy(env.step(action)) for action in actions]
    for row in range(case.rows):
        observation, _ = single.reset(seed=SEED + row)
        if not np.allclose(observation, first[row], rtol=1e-3, atol=1e-4):
            yield f"row {row} starts differently"
            continue
        for t, (seen, reward, terminated, truncated, _) in enumerate(steps):
            one: Any = single.step(actions[t][row])
            same = np.allclose(one[0], seen[row], rtol=1e-3, atol=1e-3)
            same = same and np.isclose(one[1], reward[row], rtol=1e-3, atol=1e-4)
            if not same or (one[2], one[3]) != (terminated[row], truncated[row]):
                yield f"row {row} differs at step {t}"
                break
            if one[2] or one[3]:
                break
    single.close()
