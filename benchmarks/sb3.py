"""Stable-Baselines3 on swarms: how fast they are stepped, and what its algorithms learn.

python benchmarks/sb3.py [--part throughput|learning] [--seeds 3] [--only SAC] [--json FILE]

Throughput: agent-steps per second of the environment alone (random actions that are drawn before),
and with the same policy acting in a VecEnv of slots and in a DummyVecEnv of single swarms.
Learning: PPO, DQN, SAC and TD3 of Stable-Baselines3 on ReachGoal beside this package's PPO on the
same scenario; all are evaluated by `evaluate_agent` on equal starts and noise. Torch has one
thread.
"""

from __future__ import annotations

import time
from typing import Any

import jax
import numpy as np
from common import best, parser, report

from swarmctl.agents.deep.ppo import PPOConfig
from swarmctl.agents.options import make_agent
from swarmctl.agents.sb3 import from_sb3
from swarmctl.envs.make import make, make_env, make_sb3
from swarmctl.training.evaluate import evaluate_agent
from swarmctl.training.learner import Learner

COLLOIDS = 48
STEPS = 60
EPISODES = 512
SLOTS = 32


def _falling(remaining: float) -> float:
    """Learning rate that falls linearly to zero."""
    return 1e-3 * remaining


OFF_POLICY: dict[str, Any] = {
    "learning_starts": 4_000,
    "buffer_size": 100_000,
    "batch_size": 256,
    "train_freq": 1,
    "gamma": 0.99,
}
ALGORITHMS: dict[str, tuple[str, int, dict[str, Any]]] = {
    "PPO": (
        "ReachGoal-v0",
        400_000,
        {
            "n_steps": 200,
            "batch_size": 800,
            "n_epochs": 5,
            "learning_rate": 1e-3,
            "policy_kwargs": {"net_arch": [32, 32]},
        },
    ),
    "DQN": (
        "ReachGoal-v0",
        300_000,
        {
            **OFF_POLICY,
            "learning_rate": _falling,
            "gradient_steps": 1,
            "target_update_interval": 16_000,
            "exploration_fraction": 0.5,
            "exploration_final_eps": 0.05,
            "policy_kwargs": {"net_arch": [64, 64]},
        },
    ),
    "SAC": (
        "ReachGoalContinuous-v0",
        160_000,
        {
            **OFF_POLICY,
            "learning_rate": 1e-3,
            "gradient_steps": 1,
            "ent_coef": 0.01,
            "policy_kwargs": {"net_arch": [64, 64]},
        },
    ),
    "TD3": (
        "ReachGoalContinuous-v0",
        160_000,
        {
            **OFF_POLICY,
            "learning_rate": 1e-3,
            "gradient_steps": 1,
            "policy_kwargs": {"net_arch": [64, 64]},
        },
    ),
}
"""Scenario, agent-steps and keys of every algorithm."""


def environment_rate(swarms: int, interval: float, repeats: int) -> float:
    """Agent-steps per second that the environment hands over."""
    env = make_sb3(
        "Chemotaxis-v0", swarms=swarms, colloids=COLLOIDS, control_interval=interval, pool=16
    )
    env.seed(0)
    env.reset()
    actions = np.random.default_rng(0).integers(0, 4, (STEPS, env.num_envs))
    env.step(actions[0])

    def run() -> None:
        for action in actions:
            env.step(action)

    return STEPS * env.num_envs / best(run, repeats)


def policy_rates(swarms: int, colloids: int, repeats: int) -> tuple[float, float]:
    """Agent-steps per second of one policy in slots, and in a DummyVecEnv of single swarms."""
    import torch
    from stable_baselines3 import PPO
    from stable_baselines3.common.vec_env import DummyVecEnv

    torch.set_num_threads(1)
    keys = {"colloids": colloids, "control_interval": 0.025}
    slots = make_sb3("Chemotaxis-v0", swarms=swarms, pool=16, **keys)
    dummy = DummyVecEnv([lambda: make("Chemotaxis-v0", **keys)] * swarms)
    model = PPO("MlpPolicy", slots, device="cpu")
    size = slots.agent_spec.observation_size
    rates = []
    for env, shape in ((slots, (-1,)), (dummy, (swarms, colloids))):
        env.seed(0)
        seen = [env.reset()]

        def run(env: Any = env, shape: Any = shape, seen: Any = seen, steps: int = STEPS) -> None:
            for _ in range(steps):
                action, _ = model.predict(np.reshape(seen[0], (-1, size)))
                seen[0] = env.step(action.reshape(shape))[0]

        run(steps=2)
        rates.append(STEPS * swarms * colloids / best(run, repeats))
    return rates[0], rates[1]


def throughput(repeats: int) -> list[dict[str, Any]]:
    """Rows of the first table."""
    rows = []
    for swarms in (1, 64):
        for interval in (0.025, 0.2):
            rows.append(
                {
                    "what": "environment alone",
                    "swarms": swarms,
                    "colloids": COLLOIDS,
                    "physics steps per decision": round(interval / 0.005),
                    "slots (agent-steps/s)": environment_rate(swarms, interval, repeats),
                }
            )
    for swarms in (1, 16):
        slots, dummy = policy_rates(swarms, 10, repeats)
        rows.append(
            {
                "what": "with a policy",
                "swarms": swarms,
                "colloids": 10,
                "physics steps per decision": 5,
                "slots (agent-steps/s)": slots,
                "DummyVecEnv": dummy,
                "ratio": slots / dummy,
            }
        )
    return rows


def returns_of(scenario: str, agent: Any) -> float:
    """Mean return of an agent, deterministic, on equal starts and noise."""
    env = make_env(scenario)
    found = evaluate_agent(env, agent(env.spec) if callable(agent) else agent, EPISODES, 10**6)
    return float(found.returns.mean())


def learn_here(scenario: str, seed: int) -> tuple[Any, float, int]:
    """Train this package's PPO; return (policy, seconds, agent-steps)."""
    start = time.perf_counter()
    config = PPOConfig(swarms=128, rollout=100)
    learner = Learner(make_env(scenario), config, 60)
    state = learner.init(seed)
    for _ in range(60):
        state, figures = learner.update(state, seed)
    jax.block_until_ready(figures)
    return state.policy, time.perf_counter() - start, 60 * learner.steps_per_update


def learn_there(name: str, seed: int) -> tuple[Any, float, int]:
    """Train an algorithm of Stable-Baselines3; return (policy of ours, seconds, agent-steps)."""
    import stable_baselines3

    scenario, steps, keys = ALGORITHMS[name]
    env = make_sb3(scenario, swarms=SLOTS)
    buffer = env.on_policy_buffer() if name == "PPO" else env.off_policy_buffer()
    if name == "TD3":
        noise = stable_baselines3.common.noise
        one = noise.NormalActionNoise(np.zeros(2), np.full(2, 0.3))
        keys = {**keys, "action_noise": noise.VectorizedActionNoise(one, env.num_envs)}
    start = time.perf_counter()
    algorithm = getattr(stable_baselines3, name)
    model = algorithm("MlpPolicy", env, seed=seed, device="cpu", **buffer, **keys)
    model.learn(steps)
    return from_sb3(model, env.agent_spec), time.perf_counter() - start, steps


def learning(seeds: int, names: list[str]) -> list[dict[str, Any]]:
    """Rows of the second table."""
    import torch

    torch.set_num_threads(1)
    rows, reference = [], {}
    for scenario in dict.fromkeys(ALGORITHMS[name][0] for name in names):
        found = [learn_here(scenario, seed) for seed in range(seeds)]
        values = [returns_of(scenario, policy) for policy, *_ in found]
        reference[scenario] = float(np.mean(values))
        floor = returns_of(scenario, lambda spec: make_agent("random", spec))
        rows.append(_row("PPO of this package", scenario, found, values, 1.0))
        rows[-1]["random"] = floor
        print(rows[-1], flush=True)
    for name in names:
        scenario = ALGORITHMS[name][0]
        found = [learn_there(name, seed) for seed in range(seeds)]
        values = [returns_of(scenario, policy) for policy, *_ in found]
        share = min(values) / reference[scenario]
        rows.append(_row(f"{name} of Stable-Baselines3", scenario, found, values, share))
        print(rows[-1], flush=True)
    return rows


def _row(
    what: str, scenario: str, found: list[Any], values: list[float], share: float
) -> dict[str, Any]:
    return {
        "what": what,
        "scenario": scenario,
        "agent-steps": found[0][2],
        "seconds a seed": float(np.mean([seconds for _, seconds, _ in found])),
        "return per seed": " ".join(f"{value:.3f}" for value in values),
        "worst seed / PPO here": share,
    }


def main() -> None:
    """Measure and print the tables."""
    options = parser(__doc__.splitlines()[0])
    options.add_argument("--part", choices=["throughput", "learning"], help="one of both")
    options.add_argument("--seeds", type=int, default=3)
    options.add_argument("--only", nargs="*", default=list(ALGORITHMS), choices=list(ALGORITHMS))
    chosen = options.parse_args()
    if chosen.part != "learning":
        report("Slots of Stable-Baselines3", throughput(chosen.repeats), chosen.json)
    if chosen.part != "throughput":
        path = chosen.json and chosen.json.with_suffix(".learning.json")
        report("Learning with Stable-Baselines3", learning(chosen.seeds, chosen.only), path)


if __name__ == "__main__":
    main()
