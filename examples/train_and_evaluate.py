"""Train a policy, compare it with controllers written by hand, save it, load it, use it elsewhere.

Run it from any folder: python train_and_evaluate.py [--updates 60] [--out runs/example]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

import swarmctl
from swarmctl.training.configs import TrainConfig
from swarmctl.training.train import train

EPISODES = 128


def main(updates: int, out: Path) -> None:
    # Train. The same as: swarmctl train Chemotaxis-v0 --set training.updates=60 --out runs/example
    result = train(
        TrainConfig("Chemotaxis-v0", out=out, set=(f"training.updates={updates}",), overwrite=True)
    )
    policy = result.policies[0]

    # Compare: equal starts and equal noise for everyone.
    env = swarmctl.make_env("Chemotaxis-v0")
    agents = {
        name: swarmctl.make_agent(name, env.spec)
        for name in ("random", "run-and-tumble", "gradient-climber", "steer-to-source")
    }
    agents["PPO"] = policy
    print(f"\n{'':18}return  final distance (µm)")
    for name, agent in agents.items():
        figures = swarmctl.evaluate_agent(env, agent, EPISODES, seed=1)
        print(f"{name:18}{figures.returns.mean():6.2f}  {figures.final_measure.mean():6.1f}")

    # Save and load: arrays as safetensors, the rest as JSON. What comes back acts the same.
    folder = swarmctl.save_agent(policy, out / "my-policy", about={"seed": result.seeds[0]})
    again = swarmctl.load_agent(folder)
    first = swarmctl.record_episode(env, policy, seed=2)
    second = swarmctl.record_episode(env, again, seed=2)
    assert np.array_equal(first.reward, second.reward)
    print(f"\nsaved in {folder}; the loaded policy earns the same, to the last bit")

    # Use it where it was not trained: forty colloids in a fluid five times as viscous.
    crowd = swarmctl.make_env("Chemotaxis-v0", colloids=40, viscosity="5 mPa*s")
    figures = swarmctl.evaluate_agent(crowd, again, EPISODES, seed=1)
    print(f"40 colloids at 5 mPa s: return {figures.returns.mean():.2f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--updates", type=int, default=60, help="updates of the policy")
    parser.add_argument("--out", type=Path, default=Path("runs/example"), help="run folder")
    options = parser.parse_args()
    main(options.updates, options.out)
