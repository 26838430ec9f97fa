"""Swarms: whose push turned the rod, and where chemotaxis can be learned."""

from __future__ import annotations

import dataclasses

import numpy as np
from common import EVALUATION, Row, learn, row, trained

from swarmctl.agents.deep.ppo import PPOConfig
from swarmctl.core.statistics import t_interval
from swarmctl.envs.make import make_env, make_scenario
from swarmctl.training.evaluate import evaluate_agent, find_agent

CEILING = 0.0904
"""Angular velocity in rad/s of a rod of m = 3 that 14 robots push, in the model of case 3."""


def credit(seeds: int) -> list[Row]:
    learning = PPOConfig(swarms=32, rollout=25, discount=0.97)
    speeds: dict[str, np.ndarray] = {}
    for kind in ("own", "equal"):
        env = make_env("RotateRod-v0", credit=kind)
        speeds[kind] = np.asarray(
            [
                [
                    float(evaluate_agent(env, agent, 16, EVALUATION).final_measure.mean())
                    for agent in learn(env, learning, 60, seed, 15)
                ]
                for seed in range(seeds)
            ]
        )
    own = speeds["own"]
    rows = [
        row(
            "mean rotation with counterfactual reward after 60 updates, rad/s",
            list(own[:, -1]),
            f"≥ {CEILING / 2:.4f}, half the ceiling",
            bool(own[:, -1].mean() >= CEILING / 2),
        )
    ]
    for index, updates in enumerate((15, 30, 45, 60)):
        more = list(own[:, index] - speeds["equal"][:, index])
        rows.append(
            row(
                f"how much more than with the team's reward, {updates} updates, rad/s",
                more,
                "> 0, the whole interval",
                bool(t_interval(more)[1] > 0) if seeds > 1 else False,
                f"{own[:, index].mean():.4f} against {speeds['equal'][:, index].mean():.4f}",
            )
        )
    return rows


CRITICAL = 0.247 / 0.5**2
"""v_c in µm/s of a swimmer with a = 0.5 µm: v_c a² = 0.247 µm³/s at 300 K and 0.89 mPa·s."""


def peclet(seeds: int) -> list[Row]:
    learning = PPOConfig(swarms=128, rollout=16)
    rows = []
    for factor in (0.1, 0.3, 1.0, 3.0, 10.0):
        speed = factor * CRITICAL
        scenario = make_scenario(
            "Chemotaxis-v0",
            radius=0.5,
            viscosity=0.89e-3,
            speed=speed,
            turn_rate=10.0,
            control_interval=0.1,
            time_step=0.01,
            horizon=512,
            start_inner=20.0,
            start_outer=40.0,
        )
        alone = dataclasses.replace(scenario.world, contacts=False)
        env = make_env(dataclasses.replace(scenario, world=alone))
        chance = evaluate_agent(env, find_agent("random", env), 64, EVALUATION)
        away = chance.final_measure.mean()
        found = []
        for seed in range(seeds):
            policy = trained(env, learning, 80, seed)
            near = evaluate_agent(env, policy, 64, EVALUATION).final_measure.mean()
            found.append(1 - near / away)
        passed = {0.1: np.mean(found) < 0.2, 10.0: np.mean(found) > 0.8}.get(factor, True)
        wanted = {0.1: "near 0 (< 0.2)", 10.0: "near 1 (> 0.8)"}.get(factor, "in between")
        rows.append(
            row(
                f"v = {factor:g} v_c: success", found, wanted, bool(passed), f"v = {speed:.3g} µm/s"
            )
        )
    return rows
