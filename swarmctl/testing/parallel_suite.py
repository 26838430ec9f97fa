"""The contract of PettingZoo's parallel environments: its own tests and what they do not ask."""

from __future__ import annotations

import contextlib
import copy
import functools
import io
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from gymnasium.utils.env_checker import data_equivalence

from swarmctl.core.errors import CommandError, SwarmctlError
from swarmctl.core.extras import import_extra
from swarmctl.testing.report import NotApplicableError, Report, Suite, describe_error

MOST_STEPS = 5000
"""Steps that an episode is followed for."""


class ParallelCase:
    """A factory of parallel environments, one of them, and a recorded episode."""

    def __init__(self, factory: Callable[[], Any]) -> None:
        self.factory = factory
        self.env = factory()
        self.scenario = getattr(self.env, "scenario", None)
        self.tests = import_extra("marl", "pettingzoo.test")

    @property
    def limit(self) -> int:
        """Steps until an episode must have ended."""
        return MOST_STEPS if self.scenario is None else int(self.scenario.horizon)

    def sample(self) -> dict[str, Any]:
        """One random action for every agent that is left."""
        return {agent: self.env.action_space(agent).sample() for agent in self.env.agents}

    def run(self, seed: int | None, steps: int) -> list[Any]:
        """Reset and take the same random actions every time; stop when nobody is left."""
        for number, agent in enumerate(self.env.possible_agents):
            self.env.action_space(agent).seed(100 + number)
        results: list[Any] = [copy.deepcopy(self.env.reset(seed=seed))]
        while self.env.agents and len(results) <= steps:
            results.append(copy.deepcopy(self.env.step(self.sample())))
        return results

    @functools.cached_property
    def episode(self) -> list[Any]:
        """What reset and every step of one episode returned."""
        return self.run(7, self.limit)


suite: Suite[ParallelCase] = Suite("parallel")


def check_parallel_env(factory: Callable[[], Any]) -> Report:
    """Check a PettingZoo ParallelEnv by PettingZoo's tests and by the rules of this package.

    `factory` makes equal environments. Raises MissingExtraError without PettingZoo.
    """
    case = ParallelCase(factory)
    try:
        return suite.run(type(case.env).__name__, case)
    finally:
        case.env.close()


def _listen(test: Callable[[], Any]) -> Iterator[str]:
    """Run one of PettingZoo's tests; a failure and every warning counts."""
    with warnings.catch_warnings(record=True) as caught, contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("always")
        try:
            test()
        except Exception as error:  # the test raises whatever the environment raises
            yield describe_error(error)
    for warning in caught:
        yield str(warning.message).splitlines()[0]


@suite.rule(
    "api",
    "pettingzoo.test.parallel_api_test neither fails nor warns",
    "read the message; it is PettingZoo's own",
)
def api(case: ParallelCase) -> Iterator[str]:
    """Run PettingZoo's test of the interface."""
    env = case.factory()
    yield from _listen(lambda: case.tests.parallel_api_test(env, num_cycles=min(case.limit, 200)))
    env.close()


@suite.rule(
    "seeds",
    "pettingzoo.test.parallel_seed_test neither fails nor warns; other seeds give other episodes",
    "draw everything from the generator or key that reset(seed=...) sets",
)
def seeds(case: ParallelCase) -> Iterator[str]:
    """Run PettingZoo's test of seeds, and compare seeds and unseeded resets."""
    yield from _listen(lambda: case.tests.parallel_seed_test(case.factory, num_cycles=3))
    if data_equivalence(case.run(3, 3), case.run(4, 3), exact=True):
        yield "two seeds give the same episode"
    case.env.reset(seed=3)
    if data_equivalence(case.run(None, 3), case.run(None, 3), exact=True):
        yield "reset() without a seed repeats the last episode"


@suite.rule(
    "rows",
    "observations lie in their spaces, rewards are finite numbers, ends are booleans",
    "return one entry for every agent that acted",
)
def rows(case: ParallelCase) -> Iterator[str]:
    """Look at every step of an episode."""
    spaces = {agent: case.env.observation_space(agent) for agent in case.env.possible_agents}
    for t, result in enumerate(case.episode):
        for agent, observation in result[0].items():
            if not spaces[agent].contains(observation) or not np.isfinite(observation).all():
                yield f"step {t}: the observation of {agent} is not in its space"
        for agent in result[1] if t else ():
            if not np.isfinite(result[1][agent]):
                yield f"step {t}: the reward of {agent} is {result[1][agent]}"
            for ends in result[2:4]:
                if not isinstance(ends[agent], (bool, np.bool_)):
                    yield f"step {t}: the end of {agent} is {ends[agent]!r}, no boolean"


@suite.rule(
    "ends-once",
    "an agent ends once, by termination or by truncation, and is gone from then on",
    "remove it from `agents` in the step that ends it, and never put it back",
)
def ends_once(case: ParallelCase) -> Iterator[str]:
    """Follow every agent through an episode."""
    gone: set[str] = set()
    for t, (_, reward, terminated, truncated, _) in enumerate(case.episode[1:], 1):
        back = sorted(gone & set(reward))
        if back:
            yield f"step {t}: {', '.join(back)} had ended"
        both = [a for a in terminated if terminated[a] and truncated[a]]
        if both:
            yield f"step {t}: {', '.join(both)} terminated and was truncated"
        gone |= {a for a in terminated if terminated[a] or truncated[a]}


@suite.rule(
    "horizon",
    "whoever is left at the scenario's horizon is truncated there",
    "truncate at the horizon; terminate only as the task says",
)
def horizon(case: ParallelCase) -> Iterator[str]:
    """Act at random until the end."""
    if case.scenario is None:
        raise NotApplicableError("the environment has no scenario")
    if case.env.agents and len(case.episode) - 1 < case.limit:
        yield f"the episode stopped after {len(case.episode) - 1} steps with agents left"
    if len(case.episode) - 1 == case.limit:
        _, _, terminated, truncated, _ = case.episode[-1]
        left = [a for a in terminated if not (terminated[a] or truncated[a])]
        if left:
            yield f"{', '.join(left)} went on after {case.limit} steps"


@suite.rule(
    "refusals",
    "missing, foreign and bad actions raise CommandError and do not move the swarm",
    "check actions before they are used; clip nothing silently",
)
def refusals(case: ParallelCase) -> Iterator[str]:
    """Give bad actions."""
    env = case.env
    env.reset(seed=8)
    good = case.sample()
    first = env.agents[0]
    value = np.asarray(good[first])
    bad: dict[str, dict[str, Any]] = {
        "a missing action": {agent: good[agent] for agent in env.agents[1:]},
        "an unknown agent": {**good, "nobody": good[first]},
        "a wrong shape": {**good, first: np.zeros((*value.shape, 2), value.dtype)},
        "a value above": {**good, first: value * 0 + 1000},
        "NaN": {**good, first: np.full(value.shape, np.nan)},
    }
    for name, actions in bad.items():
        try:
            env.step(actions)
        except CommandError:
            continue
        except Exception as error:  # anything else is the wrong answer
            yield f"{name}: raised {describe_error(error)}, not CommandError"
        else:
            yield f"{name}: accepted"
        env.reset(seed=8)
    after = copy.deepcopy(env.step(good))
    env.reset(seed=8)
    if not data_equivalence(after[0], env.step(good)[0], exact=True):
        yield "a refused action has moved the swarm"


@suite.rule(
    "step-after-end",
    "step raises after the last agent has gone and works again after reset",
    "raise SwarmctlError until reset() is called",
)
def step_after_end(case: ParallelCase) -> Iterator[str]:
    """Step once more than there is."""
    case.run(7, case.limit)
    if case.env.agents:
        raise NotApplicableError("the episode did not end")
    try:
        case.env.step({})
    except SwarmctlError:
        pass
    else:
        yield "a step without agents was accepted"
    case.env.reset(seed=1)
    case.env.step(case.sample())


@suite.rule(
    "render",
    "mode rgb_array gives pictures u8 [H,W,3] that are not one plain colour",
    "return the picture of the present state",
)
def render(case: ParallelCase) -> Iterator[str]:
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
def close(case: ParallelCase) -> Iterator[str]:
    """Close twice."""
    case.env.close()
    case.env.close()
    return iter(())
