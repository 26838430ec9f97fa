"""The contract of vector environments for Stable-Baselines3 in which every colloid is a slot."""

from __future__ import annotations

import copy
import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from swarmctl.core.errors import CommandError
from swarmctl.core.extras import import_extra
from swarmctl.testing.report import NotApplicableError, Report, Suite, describe_error

Factory = Callable[..., Any]
SEED = 11


@dataclasses.dataclass
class Step:
    """What a step returned: observations, rewards, dones, infos."""

    observation: np.ndarray
    reward: np.ndarray
    done: np.ndarray
    infos: list[dict[str, Any]]

    @property
    def padding(self) -> np.ndarray:
        """Whose slot was padding in this step, bool [n]."""
        return np.asarray([bool(info.get("padding", False)) for info in self.infos])


class SlotCase:
    """A factory of vector environments, one of them, and a recorded run."""

    def __init__(self, factory: Factory) -> None:
        self.factory = factory
        self.env = factory()
        self.horizon = int(self.env.get_attr("scenario")[0].horizon)

    def run(self, env: Any, steps: int, seed: int | None = SEED) -> tuple[np.ndarray, list[Step]]:
        """Seed, reset, and take the same random actions every time."""
        if seed is not None:
            env.seed(seed)
        first = np.array(env.reset())
        return first, [Step(*copy.deepcopy(env.step(self.action(env, t)))) for t in range(steps)]

    def action(self, env: Any, t: int) -> np.ndarray:
        """Random actions of all slots for step t."""
        draws = np.random.default_rng(t)
        if hasattr(env.action_space, "n"):
            return draws.integers(0, env.action_space.n, env.num_envs)
        return draws.uniform(-1, 1, (env.num_envs, *env.action_space.shape)).astype(np.float32)

    @functools.cached_property
    def record(self) -> tuple[np.ndarray, list[Step]]:
        """Two episodes and one step more."""
        return self.run(self.env, 2 * self.horizon + 1)

    @functools.cached_property
    def longer(self) -> list[Step]:
        """The first episode where the horizon is one step later."""
        env = self.factory(horizon=self.horizon + 1)
        try:
            return self.run(env, self.horizon)[1]
        finally:
            env.close()


suite: Suite[SlotCase] = Suite("sb3")


def check_sb3_env(factory: Factory) -> Report:
    """Check a VecEnv in which every colloid is a slot of one shared policy.

    `factory(**keys)` makes the environment, with keys of the scenario changed; `horizon` is asked
    for. Episodes are run to their end, so that a short horizon makes a quick check. Raises
    MissingExtraError without Stable-Baselines3.
    """
    import_extra("sb3")
    case = SlotCase(factory)
    try:
        return suite.run(type(case.env).__name__, case)
    finally:
        case.env.close()


@suite.rule(
    "shapes",
    "observations f32[n,F] lie in the space; rewards f32[n], dones bool[n], n infos; all finite",
    "return fresh, writable arrays with one row per slot in every step",
)
def shapes(case: SlotCase) -> Iterator[str]:
    """Look at every step."""
    first, steps = case.record
    count, space = case.env.num_envs, case.env.observation_space
    for t, observation in enumerate([first, *(step.observation for step in steps)]):
        if observation.shape != (count, *space.shape) or observation.dtype != space.dtype:
            yield f"step {t}: observations are {observation.dtype}{list(observation.shape)}"
        elif not np.isfinite(observation).all() or not all(map(space.contains, observation)):
            yield f"step {t}: an observation is not in the observation space"
    for t, step in enumerate(steps, 1):
        if step.reward.shape != (count,) or step.reward.dtype != np.float32:
            yield f"step {t}: rewards are {step.reward.dtype}{list(step.reward.shape)}"
        elif not np.isfinite(step.reward).all():
            yield f"step {t}: a reward is not finite"
        if step.done.shape != (count,) or step.done.dtype != bool or len(step.infos) != count:
            yield f"step {t}: dones are {step.done.dtype}{list(step.done.shape)}"


@suite.rule(
    "seeding",
    "equal seeds give equal runs, other seeds give others, and reset() goes on from the seed",
    "let seed() fix the next reset and everything after it",
    needs=["shapes"],
)
def seeding(case: SlotCase) -> Iterator[str]:
    """Compare runs."""

    def seen(seed: int | None) -> np.ndarray:
        first, steps = case.run(case.env, 2, seed)
        return np.stack([first, *(step.observation for step in steps)])

    one, again, other, following = seen(3), seen(3), seen(4), seen(None)
    if not np.array_equal(one, again):
        yield "runs with equal seeds differ"
    if np.array_equal(one, other):
        yield "two seeds give the same run"
    if np.array_equal(other, following):
        yield "reset() without a seed repeats the last run"


@suite.rule(
    "ends",
    "a slot that is done has terminal_observation and TimeLimit.truncated in its info, others "
    "have neither",
    "fill the infos of slots that are done, and of no others",
    needs=["shapes"],
)
def ends(case: SlotCase) -> Iterator[str]:
    """Look at the infos of every step."""
    for t, step in enumerate(case.record[1], 1):
        for slot, (done, info) in enumerate(zip(step.done, step.infos, strict=True)):
            found = {"terminal_observation", "TimeLimit.truncated"} & set(info)
            if len(found) != 2 * done:
                yield f"step {t}, slot {slot}: done is {done}, its info has {sorted(found)}"
            elif done and not case.env.observation_space.contains(info["terminal_observation"]):
                yield f"step {t}, slot {slot}: terminal_observation is not in the space"
            elif done and not isinstance(info["TimeLimit.truncated"], (bool, np.bool_)):
                yield f"step {t}, slot {slot}: TimeLimit.truncated is no boolean"


@suite.rule(
    "horizon",
    "at the horizon every slot that has not ended is done, by the time limit unless the task ends "
    "it there; its terminal observation is the one that a longer episode goes on with",
    "keep the last observation before the restart, and tell the limit from the task's end",
    needs=["ends"],
)
def horizon(case: SlotCase) -> Iterator[str]:
    """Compare the first episode with one that is a step longer."""
    steps = case.record[1][: case.horizon]
    ended = np.zeros(case.env.num_envs, bool)
    for t, (step, twin) in enumerate(zip(steps, case.longer, strict=True), 1):
        last = t == case.horizon
        for slot in np.flatnonzero(~ended & ~step.padding):
            done, goes_on = bool(step.done[slot]), not twin.done[slot]
            if done != (last or not goes_on):
                yield f"step {t}, slot {slot}: done is {done}"
                continue
            if not done:
                continue
            info = step.infos[slot]
            other = True if goes_on else twin.infos[slot]["TimeLimit.truncated"]
            if info["TimeLimit.truncated"] != other:
                yield f"step {t}, slot {slot}: TimeLimit.truncated is not {other}"
            row = twin.observation[slot] if goes_on else twin.infos[slot]["terminal_observation"]
            if not np.allclose(info["terminal_observation"], row, rtol=1e-3, atol=1e-4):
                yield f"step {t}, slot {slot}: the terminal observation is another one"
        ended |= step.done


@suite.rule(
    "padding",
    "until its swarm restarts, a slot that ended observes 0, earns 0, is not done again and says "
    "padding in its info",
    "mask by who is in the episode",
    needs=["ends"],
)
def padding(case: SlotCase) -> Iterator[str]:
    """Follow slots from their end to the restart."""
    steps = case.record[1]
    if not any(step.padding.any() for step in steps):
        raise NotApplicableError("no colloid's episode ended before its swarm's")
    for t, step in enumerate(steps[:-1], 1):
        idle = step.padding
        if step.reward[idle].any():
            yield f"step {t}: a slot earned {step.reward[idle].max()} after its end"
        if step.done[idle].any():
            yield f"step {t}: slots {np.flatnonzero(idle & step.done)} ended twice"
        if step.observation[steps[t].padding].any():
            yield f"step {t}: a slot observes something after its end"


@suite.rule(
    "own-arrays",
    "what was returned or handed in is not changed by later steps; arrays can be written to",
    "return copies",
    needs=["shapes"],
)
def own_arrays(case: SlotCase) -> Iterator[str]:
    """Keep copies of what was returned, and compare after the run went on."""
    env = case.env
    env.seed(5)
    kept: list[Any] = [env.reset()]
    action = case.action(env, 0)
    before = action.copy()
    kept += env.step(action)[:3]
    copies = copy.deepcopy(kept)
    env.step(case.action(env, 1))
    env.reset()
    if not np.array_equal(action, before):
        yield "the actions were changed in place"
    for name, one, two in zip(
        ("reset", "observations", "rewards", "dones"), kept, copies, strict=True
    ):
        if not np.array_equal(one, two):
            yield f"{name}: what was returned has changed since"
        if not one.flags.writeable:
            yield f"{name}: the array cannot be written to"


@suite.rule(
    "refusals",
    "actions of a wrong shape, outside the space, or NaN raise CommandError",
    "check actions before they are used; clip nothing silently",
)
def refusals(case: SlotCase) -> Iterator[str]:
    """Give bad actions."""
    case.env.reset()
    good = case.action(case.env, 0)
    bad = {
        "wrong shape": good[1:],
        "above": good * 0 + 1000,
        "NaN": np.full(good.shape, np.nan),
    }
    for name, action in bad.items():
        try:
            case.env.step(action)
        except CommandError:
            continue
        except Exception as error:  # anything else is the wrong answer
            yield f"{name}: raised {describe_error(error)}, not CommandError"
        else:
            yield f"{name}: accepted"


@suite.rule(
    "attributes",
    "get_attr, env_method and env_is_wrapped answer once per slot or index; set_attr sets",
    "answer for `indices` None, a number and a list",
)
def attributes(case: SlotCase) -> Iterator[str]:
    """Ask for attributes."""
    env = case.env
    for indices, count in ((None, env.num_envs), (0, 1), ([0], 1)):
        answers = {
            "get_attr": env.get_attr("render_mode", indices),
            "env_method": env.env_method("get_images", indices=indices),
            "env_is_wrapped": env.env_is_wrapped(object, indices),
        }
        for name, answer in answers.items():
            if len(answer) != count:
                yield f"{name} gives {len(answer)} answers for indices {indices}"
    env.set_attr("remark", 5)
    if env.get_attr("remark") != [5] * env.num_envs:
        yield "set_attr did not set"
    if env.has_attr("no_such_attribute"):
        yield "an attribute that is not there is said to be there"


@suite.rule(
    "wrappers",
    "under VecMonitor an episode's return is the sum of its rewards; under VecNormalize "
    "observations stay within the cut and terminal observations are scaled, too",
    "read the documentation of these wrappers",
    needs=["ends"],
)
def wrappers(case: SlotCase) -> Iterator[str]:
    """Run an episode under both wrappers."""
    module = import_extra("sb3", "stable_baselines3.common.vec_env")
    env = module.VecNormalize(module.VecMonitor(case.env), norm_reward=False, clip_obs=2.0)
    _, steps = case.run(env, case.horizon)
    earned = np.zeros(env.num_envs)
    for t, step in enumerate(steps, 1):
        earned += step.reward
        if np.abs(step.observation).max() > 2.0:
            yield f"step {t}: an observation is beyond the cut"
        for slot in np.flatnonzero(step.done):
            info = step.infos[slot]
            if not np.isclose(info["episode"]["r"], earned[slot], rtol=1e-4, atol=1e-4):
                yield f"slot {slot}: earned {earned[slot]}, VecMonitor says {info['episode']['r']}"
            if np.abs(info["terminal_observation"]).max() > 2.0:
                yield f"slot {slot}: the terminal observation is not scaled"
            earned[slot] = 0


@suite.rule("close", "close may be called twice", "let close do nothing the second time")
def close(case: SlotCase) -> Iterator[str]:
    """Close twice."""
    case.env.close()
    case.env.close()
    return iter(())
