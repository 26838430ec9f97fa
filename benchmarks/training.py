"""Agent-steps per second of training with PPO updates included, beside PPO in PyTorch on VMAS.

python benchmarks/training.py [--peer-python PYTHON] [--json FILE]

Ten colloids a swarm, five physics steps per decision, rollouts of 32 decisions, equal networks,
epochs, minibatches and swarms on both sides. The peer steps the `dispersion` scenario of VMAS with
ten agents (one physics step per decision, its default) and updates by the same number of Adam
steps of the same clipped loss. It is another world, so the ratio compares the cost of a decision,
not what was learned.
"""

from __future__ import annotations

import time

import jax
from common import best, parser, peer, report

from swarmctl.agents.deep.ppo import PPOConfig
from swarmctl.envs.make import make_env
from swarmctl.training.learner import Learner

CASES = [
    ((12, 12), 256, 2, 16),
    ((12, 12), 256, 4, 16),
    ((64, 64), 256, 2, 32),
    ((64, 64), 256, 4, 32),
]


def training_rate(
    hidden: tuple[int, ...], swarms: int, epochs: int, minibatches: int, repeats: int
) -> tuple[float, float]:
    """Return (agent-steps/s, seconds from building to the first finished update)."""
    start = time.perf_counter()
    env = make_env("Chemotaxis-v0", control_interval=0.025)
    assert env.engine.config.steps == 5
    config = PPOConfig(hidden=hidden, swarms=swarms, epochs=epochs, minibatches=minibatches)
    learner = Learner(env, config, updates=10_000)
    state, figures = learner.update(learner.init(0), 0)
    jax.block_until_ready(figures)
    first = time.perf_counter() - start
    box = [state]

    def run() -> None:
        for _ in range(4):
            box[0], figures = learner.update(box[0], 0)
        jax.block_until_ready(figures)

    return 4 * learner.steps_per_update / best(run, repeats), first


def main() -> None:
    """Measure every case and print the table."""
    chosen = parser(__doc__.splitlines()[0]).parse_args()
    rows = []
    for hidden, swarms, epochs, minibatches in CASES:
        rate, first = training_rate(hidden, swarms, epochs, minibatches, chosen.repeats)
        found = peer(chosen.peer_python, "vmas_ppo.py", hidden[0], swarms, 32, epochs, minibatches)
        vmas = found and found["agent_steps_per_s"]
        rows.append(
            {
                "network": "x".join(map(str, hidden)),
                "swarms": swarms,
                "epochs": epochs,
                "minibatches": minibatches,
                "swarmctl (agent-steps/s)": rate,
                "first update (s)": first,
                "VMAS + PyTorch": vmas,
                "ratio": vmas and rate / vmas,
            }
        )
        print(rows[-1], flush=True)
    report("Training, agent-steps per second with PPO updates", rows, chosen.json)


if __name__ == "__main__":
    main()
