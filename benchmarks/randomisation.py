"""What domain randomisation costs: time of a training's update with it and without, as a ratio.

    python benchmarks/randomisation.py

Both learners run in turns in the same process, on Chemotaxis-v0 with the keys of PPO; the world
has the same disturbances in both, so that the ratio is that of swarms with their own numbers to
swarms with common ones. The row without disturbances is what a training without any of it takes.
"""

from __future__ import annotations

import time
from typing import Any

import jax
from common import parser, report

from swarmctl.agents.deep.ppo import PPOConfig
from swarmctl.core.randomise import Lognormal, Normal, Randomise, SpeciesRange, Uniform
from swarmctl.training.experiment import Experiment, load_experiment
from swarmctl.training.learner import Learner

KNOWN = Randomise(
    species=(
        SpeciesRange(speed_gain=0.9, turn_gain=0.9, diffusion=0.1, rotational_diffusion=0.02),
    ),
    delay=0.1,
    drift=(0.1, 0.1),
    position_noise=0.05,
    heading_noise=0.05,
)
UNKNOWN = Randomise(
    species=(
        SpeciesRange(
            speed_gain=Normal(0.9, 0.05),
            turn_gain=Normal(0.9, 0.05),
            diffusion=Lognormal(0.1, 0.1),
            rotational_diffusion=Lognormal(0.02, 0.1),
        ),
    ),
    delay=Uniform(0.0, 0.2),
    drift=(Normal(0.1, 0.1), Normal(0.1, 0.1)),
    position_noise=Lognormal(0.05, 0.1),
    heading_noise=Lognormal(0.05, 0.1),
)


def learner(randomise: Randomise | None, drawn: bool) -> Any:
    plain = load_experiment({"scenario": {"name": "Chemotaxis-v0"}})
    experiment = Experiment(
        plain.scenario, plain.engine, plain.agent, plain.training, randomise=randomise
    )
    assert isinstance(experiment.agent, PPOConfig)
    return Learner(experiment.env(), experiment.agent, 100, randomise if drawn else None)


def main() -> None:
    given = parser(__doc__).parse_args()
    learners = {
        "no disturbances": learner(None, False),
        "disturbances, common numbers": learner(KNOWN, False),
        "disturbances, own numbers": learner(UNKNOWN, True),
    }
    states, best = {}, dict.fromkeys(learners, float("inf"))
    for name, made in learners.items():
        states[name], _ = made.update(made.init(0), 0)
    for _ in range(given.repeats):
        for name, made in learners.items():
            started = time.perf_counter()
            states[name], figures = made.update(states[name], 0)
            jax.block_until_ready(figures)
            best[name] = min(best[name], time.perf_counter() - started)
    common = best["disturbances, common numbers"]
    rows = [
        {
            "swarms": name,
            "s an update": seconds,
            "M agent steps/s": learners[name].steps_per_update / seconds / 1e6,
            "ratio to common numbers": seconds / common,
        }
        for name, seconds in best.items()
    ]
    report("An update of PPO on Chemotaxis-v0", rows, given.json)


if __name__ == "__main__":
    main()
