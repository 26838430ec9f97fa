"""What the findings share: training, evaluation and rows of the table."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from swarmctl.agents.deep.ppo import PPOConfig
from swarmctl.core.contracts import Agent
from swarmctl.core.statistics import t_interval
from swarmctl.envs.functional import SwarmEnv
from swarmctl.training.evaluate import evaluate_agent
from swarmctl.training.learner import Learner

EVALUATION = 1_000_000

Row = dict[str, Any]


def learn(env: SwarmEnv, keys: PPOConfig, updates: int, seed: int, every: int) -> Iterator[Agent]:
    """The policy after every so many updates."""
    learner = Learner(env, keys, updates)
    state = learner.init(seed)
    for update in range(1, updates + 1):
        state, figures = learner.update(state, seed)
        if bool(figures["failed"]):
            raise RuntimeError(f"{env.scenario.id}: the motion failed; use a shorter time step")
        if update % every == 0:
            yield learner.agent(state)


def trained(env: SwarmEnv, keys: PPOConfig, updates: int, seed: int) -> Agent:
    return next(learn(env, keys, updates, seed, updates))


def row(what: str, values: list[float], reference: str, passed: bool, note: str = "") -> Row:
    mean, low, high = t_interval(values)
    return {
        "what": what,
        "mean": mean,
        "low": low,
        "high": high,
        "seeds": len(values),
        "reference": reference,
        "passed": passed,
        "note": note,
    }


def first_arrival(env: SwarmEnv, agent: Agent, radius: float, episodes: int) -> float:
    """Mean time of the first decision that ends within the radius."""
    measure = evaluate_agent(env, agent, episodes, EVALUATION).measure
    inside = measure < radius
    steps = np.where(inside.any(axis=1), inside.argmax(axis=1) + 1, measure.shape[1])
    return float(steps.mean() * env.scenario.control_interval)
