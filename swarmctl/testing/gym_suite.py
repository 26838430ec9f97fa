"""The contract of Gymnasium environments: Gymnasium's own checker and what it does not ask."""

from __future__ import annotations

import copy
import functools
import itertools
import warnings
from collections.abc import Iterator
from typing import Any

import gymnasium
import numpy as np
from gymnasium.utils.env_checker import check_env, data_equivalence

from swarmctl.core.errors import CommandError, SwarmctlError
from swarmctl.testing.report import NotApplicableError, Report, Suite, describe_error

MOST_STEPS = 5000
"""Steps that an episode is followed for."""


class GymCase:
    """A Gymnasium environment, its scenario where it has one, and a recorded episode."""

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        self.env = env
        self.scenario = getattr(env.unwrapped, "scenario", None)

    def run(self, seed: int | None, steps: int) -> list[Any]:
        """Reset with a seed and take the same random actions every time; stop when the episode
        ends.
        """
        self.env.action_space.seed(1)
        results: list[Any] = [self.env.reset(seed=seed)]
        for _ in range(steps):
            results.append(self.env.step(self.env.action_space.sample()))
            if results[-1][2] or results[-1][3]:
                break
        return results

    @functools.cached_property
    def episode(self) -> list[Any]:
        """What reset and every step of one episode returned."""
        limit = self.scenario.horizon if self.scenario is not None else MOST_STEPS
        return self.run(7, limit)


suite: Suite[GymCase] = Suite("gym")


def check_gym_env(env: gymnasium.Env[Any, Any]) -> Report:
    """Check a Gymnasium environment by Gymnasium's checker and by the rules of this package.

    It is reset and stepped many times, and closed at the end.
    """
    name = env.spec.id if env.spec is not None else type(env.unwrapped).__name__
    return suite.run(name, GymCase(env))


@suite.rule(
    "check_env",
    "gymnasium.utils.env_checker.check_env neither fails nor warns",
    "read the message; it is Gymnasium's own",
)
def gymnasium_checker(case: GymCase) -> Iterator[str]:
    """Run Gymnasium's checker; every warning counts."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            check_env(case.env.unwrapped, skip_render_check=True, skip_close_check=True)
        except Exception as error:  # the checker raises whatever the environment raises
            yield describe_error(error)
    for warning in caught:
        # The whole environment is checked without its wrappers on purpose.
        if "unwrapped" not in str(warning.message):
            yield str(warning.message).splitlines()[0]


@suite.rule(
    "seeding",
    "equal seeds give equal episodes, other seeds give others, and reset() goes on from the seed",
    "draw everything from the generator or key that reset(seed=...) sets",
)
def seeding(case: GymCase) -> Iterator[str]:
    """Compare episodes."""
    first, again, other = (copy.deepcopy(case.run(seed, 3)) for seed in (3, 3, 4))
    for t, (one, two) in enumerate(zip(first, again, strict=True)):
        if not data_equivalence(one, two, exact=True):
            yield f"equal seeds and actions differ at step {t}"
            break
    if _alike(first, other):
        yield "two seeds give the same episode"
    case.env.reset(seed=3)
    unseeded = [copy.deepcopy(case.run(None, 3)) for _ in range(2)]
    if _alike(*unseeded):
        yield "reset() without a seed repeats the last episode"


def _alike(one: list[Any], two: list[Any]) -> bool:
    return all(np.array_equal(a[0], b[0]) for a, b in zip(one, two, strict=False))


@suite.rule(
    "finite",
    "observations lie in the observation space and, like rewards, are finite, in every step",
    "look for 0/0 and for bounds of the space that are too narrow",
)
def finite(case: GymCase) -> Iterator[str]:
    """Look at all observations and rewards of an episode."""
    for t, result in enumerate(case.episode):
        if not np.isfinite(result[0]).all():
            yield f"the observation of step {t} is not finite"
        elif not case.env.observation_space.contains(result[0]):
            yield f"the observation of step {t} is not in the observation space"
        if t and not np.isfinite(result[1]):
            yield f"the reward of step {t} is {result[1]}"


@suite.rule(
    "horizon",
    "an episode of which nobody terminates is truncated at the scenario's horizon, not before",
    "truncate at the horizon; terminate only as the task says",
)
def horizon(case: GymCase) -> Iterator[str]:
    """Act at random until the end."""
    if case.scenario is None:
        raise NotApplicableError("the environment has no scenario")
    steps = len(case.episode) - 1
    _, _, terminated, truncated, info = case.episode[-1]
    everyone = np.all(info["agent_terminated"] | ~np.asarray(info["active"]))
    if terminated and not everyone:
        yield f"terminated after {steps} steps, agent_terminated: {info['agent_terminated']}"
    if truncated != (steps == case.scenario.horizon):
        yield f"truncated is {truncated} after {steps} steps of {case.scenario.horizon}"
    early = [t for t, result in enumerate(case.episode[1:-1], 1) if result[2] or result[3]]
    if early:
        yield f"the episode ended at step {early[0]} and went on"


@suite.rule(
    "reward",
    "the reward is the mean of info['agent_reward'] over the colloids in info['active']",
    "sum over the colloids in the episode and divide by their number, at least 1",
)
def reward(case: GymCase) -> Iterator[str]:
    """Recompute every reward of an episode."""
    if case.scenario is None:
        raise NotApplicableError("the environment has no scenario")
    for t, (_, value, _, _, info) in enumerate(case.episode[1:], 1):
        counted = np.asarray(info["active"])
        rows = np.asarray(info["agent_reward"], float)
        wanted = rows[counted].sum() / max(int(counted.sum()), 1)
        if not np.isclose(value, wanted, rtol=1e-5, atol=1e-6 * max(np.abs(rows).max(), 1e-30)):
            yield f"step {t}: reward {value}, mean {wanted}"


@suite.rule(
    "own-arrays",
    "what was returned or handed in is not changed by later steps",
    "return fresh arrays; do not write into the action",
)
def own_arrays(case: GymCase) -> Iterator[str]:
    """Keep copies of what was returned, and compare after the episode went on and was reset."""
    case.env.action_space.seed(5)
    results: list[Any] = [case.env.reset(seed=5)]
    copies = [copy.deepcopy(results[0])]
    for _ in range(min(3, len(case.episode) - 1)):
        action = case.env.action_space.sample()
        before = copy.deepcopy(action)
        results.append(case.env.step(action))
        copies.append(copy.deepcopy(results[-1]))
        if not np.array_equal(before, action):
            yield "the action was changed in place"
    case.env.reset(seed=6)
    for t, (kept, result) in enumerate(zip(copies, results, strict=True)):
        if not data_equivalence(kept, result, exact=True):
            yield f"what step {t} returned has changed since"
    for t, (one, two) in enumerate(itertools.pairwise(results)):
        if np.shares_memory(one[0], two[0]):
            yield f"the observations of steps {t} and {t + 1} share memory"


@suite.rule(
    "refusals",
    "actions of a wrong shape, outside the space, or NaN raise CommandError and do not move the "
    "swarm",
    "check actions before they are used; clip nothing silently",
)
def refusals(case: GymCase) -> Iterator[str]:
    """Give bad actions."""
    env = case.env
    env.reset(seed=8)
    env.action_space.seed(8)
    good = env.action_space.sample()
    bad: dict[str, Any] = {
        "wrong shape": np.zeros((np.size(good) + 1,), good.dtype),
        "negative or below": good * 0 - 2,
        "above": good * 0 + 1_000_000,
        "NaN": np.full(good.shape, np.nan),
    }
    for name, action in bad.items():
        try:
            env.step(action)
        except CommandError:
            continue
        except Exception as error:  # anything else is the wrong answer
            yield f"{name}: raised {describe_error(error)}, not CommandError"
        else:
            yield f"{name}: accepted"
            env.reset(seed=8)
    after = env.step(good)
    env.reset(seed=8)
    if not np.array_equal(after[0], env.step(good)[0]):
        yield "a refused action has moved the swarm"


@suite.rule(
    "step-after-end",
    "step raises after the episode has ended and works again after reset",
    "raise SwarmctlError until reset() is called",
)
def step_after_end(case: GymCase) -> Iterator[str]:
    """Step once more than there is."""
    limit = len(case.episode) - 1
    results = case.run(7, limit)
    if not (results[-1][2] or results[-1][3]):
        raise NotApplicableError("the episode did not end")
    try:
        case.env.step(case.env.action_space.sample())
    except (SwarmctlError, gymnasium.error.Error):
        pass
    else:
        yield f"step {limit + 1} of an episode of {limit} was accepted"
    case.env.reset(seed=1)
    case.env.step(case.env.action_space.sample())


@suite.rule(
    "render",
    "mode rgb_array gives pictures u8 [H,W,3] that are not one plain colour",
    "return the picture of the present state",
)
def render(case: GymCase) -> Iterator[str]:
    """Draw one picture."""
    if case.env.render_mode != "rgb_array":
        raise NotApplicableError(f"render_mode is {case.env.render_mode}")
    case.env.reset(seed=1)
    picture = np.asarray(case.env.render())
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
        yield f"render returned {picture.dtype}{list(picture.shape)}"
    elif picture.std() == 0:
        yield "the picture is one plain colour"


@suite.rule("close", "close may be called twice", "let close do nothing the second time")
def close(case: GymCase) -> Iterator[str]:
    """Close twice."""
    case.env.close()
    case.env.close()
    return iter(())
