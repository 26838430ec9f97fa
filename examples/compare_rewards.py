"""What Chemotaxis pays under its two rewards: the change of the concentration, or increases only.

Prints the table of decision 0004. Run it from any folder: python compare_rewards.py [--train]
"""

from __future__ import annotations

import argparse
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp

import swarmctl
from swarmctl.core.contracts import Agent, AgentInputs
from swarmctl.core.tree import pytree
from swarmctl.training.experiment import experiment_from_tables
from swarmctl.training.learner import Learner

EPISODES = 256
SEED = 7


@pytree
class ToAndFro(Agent):
    """Swims towards the middle of the box for `half` decisions, then away for as many, and so on.

    Memory: decisions so far, i32 [N].
    """

    output: ClassVar[Literal["action", "command"]] = "action"
    half: jax.Array

    def init_memory(self, spec: Any) -> Any:
        return jnp.zeros(spec.engine.capacity, jnp.int32)

    def act(
        self, inputs: AgentInputs, memory: Any, key: jax.Array, deterministic: bool = False
    ) -> tuple[Any, Any]:
        state, space = inputs.state, inputs.space
        way = jnp.where((memory // self.half) % 2 == 0, 1.0, -1.0)[:, None]
        to = way * space.displacement(state.position, space.size / 2)
        n = state.director
        angle = jnp.arctan2(n[:, 0] * to[:, 1] - n[:, 1] * to[:, 0], jnp.sum(n * to, axis=1))
        turn = jnp.where(angle > 0, 0, 2)  # turn left, turn right
        return jnp.where(jnp.abs(angle) > 0.3, turn, 1), memory + 1  # else swim


def compare() -> None:
    """Print the return and the final distance of controllers that need no training."""
    agents = {
        "rests": ("constant", {"action": "rest"}),
        "random": ("random", {}),
        "swims to and fro": None,
        "steers to the source": ("steer-to-source", {}),
    }
    print("horizon  controller            change        only increases  final distance (µm)")
    for horizon in (256, 1024):
        plain = swarmctl.make_env("Chemotaxis-v0", horizon=horizon)
        rectified = swarmctl.make_env("Chemotaxis-v0", horizon=horizon, rectified=True)
        for label, named in agents.items():
            agent = (
                swarmctl.make_agent(named[0], plain.spec, **named[1])
                if named
                else ToAndFro(jnp.asarray(20))
            )
            a = swarmctl.evaluate_agent(plain, agent, EPISODES, SEED)
            b = swarmctl.evaluate_agent(rectified, agent, EPISODES, SEED)
            print(
                f"{horizon:7}  {label:20}  {a.returns.mean():6.2f}        {b.returns.mean():6.2f}"
                f"          {a.final_measure.mean():6.1f}"
            )


def train(seeds: int = 4, updates: int = 60) -> None:
    """Train PPO under both rewards and print where the policies end."""
    print(f"\nPPO, {seeds} seeds, {updates} updates: final distance (µm) per seed")
    judge = swarmctl.make_env("Chemotaxis-v0")
    for rectified in (False, True):
        experiment = experiment_from_tables(
            {"scenario": {"rectified": rectified}, "training": {"updates": updates}}
        )
        learner = Learner(experiment.env(), experiment.agent, updates)
        ends = []
        for seed in range(seeds):
            state = learner.init(seed)
            for _ in range(updates):
                state, _ = learner.update(state, seed)
            result = swarmctl.evaluate_agent(judge, state.policy, EPISODES, SEED)
            ends.append(result.final_measure.mean())
        label = "only increases" if rectified else "change"
        print(f"{label:16}" + "  ".join(f"{end:6.1f}" for end in ends))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--train", action="store_true", help="also train under both rewards")
    options = parser.parse_args()
    compare()
    if options.train:
        train()
