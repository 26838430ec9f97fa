"""Tunes the hand-written gradient climber on Chemotaxis-v0, so that PPO is compared with its best.

python benchmarks/tune_climber.py [--episodes 512]

A coordinate search over the four keys, on starts and noise that no evaluation uses; prints every
step and the best keys.
"""

from __future__ import annotations

import argparse

from swarmctl.agents.options import make_agent
from swarmctl.envs.make import make_env
from swarmctl.training.evaluate import evaluate_agent

GRID = {
    "acceptance": (0.3, 0.4, 0.5, 0.6, 0.8),
    "noise": (0.003, 0.01, 0.02, 0.05, 0.1),
    "forgetting": (0.0, 0.0005, 0.002, 0.005, 0.02),
    "prior": (0.05, 0.2, 1.0),
}


def main() -> None:
    """Search and print."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--episodes", type=int, default=512)
    options.add_argument("--seed", type=int, default=77)
    chosen = options.parse_args()
    env = make_env("Chemotaxis-v0")
    keys = {"acceptance": 0.5, "noise": 0.02, "forgetting": 0.002, "prior": 0.2}

    def score(trial: dict[str, float]) -> float:
        agent = make_agent("gradient-climber", env.spec, **trial)
        result = evaluate_agent(env, agent, chosen.episodes, chosen.seed)
        error = result.returns.std() / chosen.episodes**0.5
        print(f"{trial}: {result.returns.mean():.4f} +- {error:.4f}", flush=True)
        return float(result.returns.mean())

    value = score(keys)
    for _ in range(2):
        for name, candidates in GRID.items():
            scores = {c: score({**keys, name: c}) for c in candidates if c != keys[name]}
            winner = max(scores, key=lambda c: scores[c])
            if scores[winner] > value:
                keys[name], value = winner, scores[winner]
    print(f"best: {keys}, return {value:.4f}")


if __name__ == "__main__":
    main()
