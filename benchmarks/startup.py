"""Time from process start: list, import, first step of a swarm, first PPO update, a solved task.

python benchmarks/startup.py [--peer-python PYTHON] [--json FILE]

Every figure is the whole life of a fresh process. The peer is VMAS: import, build ten agents, one
step.
"""

from __future__ import annotations

import subprocess
import sys

from common import best, parser, report

SNIPPETS = {
    "list of scenarios": "from swarmctl.cli import main; main(['list'])",
    "import": "import swarmctl",
    "first step": (
        "import swarmctl; env = swarmctl.make('Chemotaxis-v0'); env.reset(seed=0); "
        "env.step(env.action_space.sample())"
    ),
    "first PPO update": (
        "import jax; from swarmctl.envs.make import make_env; "
        "from swarmctl.training.learner import Learner; "
        "from swarmctl.agents.deep.ppo import PPOConfig; "
        "l = Learner(make_env('Chemotaxis-v0'), PPOConfig(), 60); "
        "jax.block_until_ready(l.update(l.init(0), 0)[1])"
    ),
    "solved chemotaxis": (
        "import numpy as np; from swarmctl.envs.make import make_env; "
        "from swarmctl.training.learner import Learner; "
        "from swarmctl.training.evaluate import evaluate_agent, find_agent; "
        "from swarmctl.agents.deep.ppo import PPOConfig; env = make_env('Chemotaxis-v0'); "
        "goal = 1.5 * evaluate_agent(env, find_agent('steer-to-source', env), "
        "64).final_measure.mean(); "
        "l = Learner(env, PPOConfig(), 60); s = l.init(0)\n"
        "for u in range(60):\n"
        "    s, f = l.update(s, 0)\n"
        "    if float(f['final_measure']) < goal: break\n"
        "else: raise SystemExit('not solved')\n"
    ),
}
PEER = {
    "import": "import vmas",
    "first step": (
        "import vmas, torch; e = vmas.make_env('dispersion', num_envs=1, n_agents=10); e.reset(); "
        "e.step([torch.zeros(1, 2) for _ in range(10)])"
    ),
}


def seconds(python: str, snippet: str, repeats: int) -> float | None:
    """Shortest life of a fresh process that runs `snippet`; None if it fails."""

    def run() -> None:
        subprocess.run([python, "-c", snippet], check=True, capture_output=True)

    try:
        return best(run, repeats)
    except subprocess.CalledProcessError as error:
        if b"SystemExit" in error.stderr or python == sys.executable:
            raise
        return None


def main() -> None:
    """Measure and print."""
    chosen = parser(__doc__.splitlines()[0]).parse_args()
    rows = []
    for name, snippet in SNIPPETS.items():
        repeats = 1 if name == "solved chemotaxis" else min(chosen.repeats, 3)
        own = seconds(sys.executable, snippet, repeats)
        vmas = seconds(chosen.peer_python, PEER[name], repeats) if name in PEER else None
        ratio = own / vmas if own and vmas else None
        rows.append({"until": name, "swarmctl (s)": own, "VMAS (s)": vmas, "ratio": ratio})
        print(rows[-1], flush=True)
    report("Time from process start", rows, chosen.json)


if __name__ == "__main__":
    main()
