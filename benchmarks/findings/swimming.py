"""One swimmer: drift towards a far point, and arrival under noise."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
import numpy as np
from common import EVALUATION, Row, first_arrival, row, trained

from swarmctl.agents.classical.steering import best_acceptance
from swarmctl.agents.deep.ppo import PPOConfig
from swarmctl.core.contracts import Agent, AgentInputs, Observable, Task
from swarmctl.core.statistics import t_interval
from swarmctl.core.tree import pytree
from swarmctl.core.world import Box, Fluid, Species, World
from swarmctl.envs.actions import TurnSwimRest
from swarmctl.envs.functional import SwarmEnv
from swarmctl.envs.make import make_env
from swarmctl.envs.reach_goal import ReachGoalConfig
from swarmctl.envs.scenario import Scenario
from swarmctl.training.evaluate import evaluate_agent, find_agent


@pytree
class Bearing(Observable):
    """Cosine and sine of the heading; the far point lies along x."""

    def names(self, spec: Any) -> tuple[str, ...]:
        return ("cos", "sin")

    def init(self, state: Any, space: Any) -> Any:
        return ()

    def observe(self, state: Any, memory: Any, space: Any) -> tuple[jax.Array, Any]:
        return jnp.where(state.present[:, None], state.director, 0), memory


@pytree
class Drift(Task):
    """Pays the displacement along x over the longest possible one."""

    step: jax.Array

    def init(self, state: Any, space: Any) -> Any:
        return state.unwrapped(space)[:, 0]

    def evaluate(self, state: Any, memory: Any, space: Any) -> tuple[jax.Array, jax.Array, Any]:
        x = state.unwrapped(space)[:, 0]
        reward = jnp.where(state.present, (x - memory) / self.step, 0)
        return reward, jnp.zeros(reward.shape, bool), x


@pytree
class OptimalRule(Agent):
    """Swims iff the far point lies within θ* of the director, else turns towards it."""

    output: ClassVar[Literal["action", "command"]] = "action"
    acceptance: jax.Array

    def init_memory(self, spec: Any) -> Any:
        return ()

    def act(
        self, inputs: AgentInputs, memory: Any, key: Any, deterministic: bool = False
    ) -> tuple[Any, Any]:
        angle = jnp.arctan2(inputs.state.director[:, 1], inputs.state.director[:, 0])
        turn = jnp.where(angle > 0, 2, 0)
        return jnp.where(jnp.abs(angle) < self.acceptance, 1, turn).astype(jnp.int32), memory


DRIFTS = ((1.0, 0.4534), (5.0, 0.7177), (25.0, 0.8880))
"""κ, and the drift of the ideal rule over v."""
SHORT = PPOConfig(swarms=64, rollout=60, minibatches=4, discount=0.99, entropy=0.0005)
LONG = PPOConfig(swarms=64, rollout=60, minibatches=4, discount=0.995, gae_lambda=0.9, entropy=0.0)
"""At κ = 25 a decision lasts 1/800 of 1/D_r: what turning is worth shows after many more of them,
under more noise.
"""


def drift(seeds: int, cases: tuple[tuple[float, float], ...] = DRIFTS) -> list[Row]:
    rows = []
    for kappa, ideal in cases:
        keys, updates = (LONG, 300) if kappa > 10 else (SHORT, 100)
        interval = 0.03 / max(kappa, 1.0)
        speed, fluid = 1.0, Fluid()
        world = World(
            Box((1000.0, 1000.0)),
            fluid,
            (
                Species(
                    count=16,
                    radius=0.1,
                    friction=fluid.thermal_energy / 1e-4,
                    rotational_friction=fluid.thermal_energy,
                    speed_max=speed,
                    turn_rate_max=kappa,
                ),
            ),
            time_step=interval / 3,
            contacts=False,
        )
        scenario = Scenario(
            id="Drift",
            world=world,
            observable=Bearing(),
            task=Drift(jnp.asarray(speed * interval)),
            actions=TurnSwimRest(jnp.asarray(speed), jnp.asarray(kappa)),
            control_interval=interval,
            horizon=600,
            baselines={"random": "random"},
            measure_name="heading (cos)",
            measure=lambda state, space: state.director[:, 0],
        )
        env = make_env(scenario)

        def drifts(env: SwarmEnv, agent: Agent) -> float:
            # The first half is the way from a random heading.
            long = dataclasses.replace(env.scenario, horizon=4000)
            task = evaluate_agent(make_env(long), agent, 24, EVALUATION)
            half = dataclasses.replace(env.scenario, horizon=400)
            start = evaluate_agent(make_env(half), agent, 24, EVALUATION)
            return float((task.returns.sum() - start.returns.sum()) / 24 / 3600)

        rule = drifts(env, OptimalRule(jnp.asarray(best_acceptance(kappa))))
        found = [drifts(env, trained(env, keys, updates, seed)) / rule for seed in range(seeds)]
        low = t_interval(found)[1]
        rows.append(
            row(
                f"κ = {kappa:g}: drift of PPO over that of the optimal rule",
                found,
                "≥ 0.95",
                bool(np.mean(found) >= 0.95),
                f"the rule drifts at {rule:.4f} v, ideally {ideal}; lower limit {low:.3f}",
            )
        )
    return rows


def arrival(seeds: int) -> list[Row]:
    keys = ReachGoalConfig()
    ideal = keys.optimum()
    rows = []
    for name, learning in (
        ("ReachGoal-v0", PPOConfig(swarms=512, rollout=40, discount=0.99)),
        ("ReachGoalContinuous-v0", PPOConfig(swarms=512, rollout=40, discount=0.99, entropy=0.0)),
        ("ReachGoalField-v0", PPOConfig(swarms=512, rollout=40, discount=0.99)),
    ):
        env = make_env(name)
        best = find_agent(env.scenario.baselines["best"], env)
        by_hand = first_arrival(env, best, keys.arrival, 4096)
        found = [
            first_arrival(env, trained(env, learning, 120, seed), keys.arrival, 4096) / ideal
            for seed in range(seeds)
        ]
        rows.append(
            row(
                f"{name}: time of arrival over the optimum",
                found,
                "≤ 1.05",
                bool(np.mean(found) <= 1.05),
                f"optimum {ideal:.3f} s; by hand {by_hand / ideal:.3f} of it",
            )
        )
    return rows
