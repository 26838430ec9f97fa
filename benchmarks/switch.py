"""How often the watch trips without a fault, and how soon it finds faults.

    python benchmarks/switch.py [--hours 1] [--faults 10]

The hardware is a simulation whose colloids differ from one another by 10 % in speed and turn rate,
and from the twin by 5 % on average. An agent drives with random commands. Beside it stands a watch
that looks at the error of the twin alone, with the lowest bound that never trips in that time.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from swarmctl.bridge.switch.bridge import Bridge, with_delay
from swarmctl.bridge.switch.modes import GuardConfig, Mode
from swarmctl.bridge.switch.plant import EnginePlant
from swarmctl.core.command import Command
from swarmctl.core.disturbances import Disturbances, Localisation
from swarmctl.core.world import Box, Species, World
from swarmctl.engines.jax_engine import JaxEngine
from swarmctl.testing.hidden_engine import HiddenEngine

INTERVAL = 0.1
DELAY = 0.2
OUT = Path(__file__).parents[1] / "docs" / "data" / "switch.json"
SWARMS = {
    "30 at 5 µm/s": Species(count=30, radius=1.5, speed_max=5.0, turn_rate_max=2.0),
    "30 at 1 µm/s": Species(count=30, radius=1.5, speed_max=1.0, turn_rate_max=1.0),
    "48 at 0.5 µm/s": Species(count=48, radius=3.15, speed_max=0.5, turn_rate_max=0.2),
}
FAULTS = {"half the speed": (0.5, 1.0, 1), "mirrored turning": (1.0, -1.0, 1)}
FAULTS["twice the delay"] = (1.0, 1.0, 2)


def world(species: Species) -> World:
    return World(
        box=Box((400.0, 400.0), "open"),
        species=(species,),
        disturbances=Disturbances(localisation=Localisation(0.05, 0.05)),
    )


def commands(species: Species, random: np.random.Generator) -> Command:
    n = species.count
    return Command(
        speed=jnp.asarray(species.speed_max * (random.random(n) < 0.7)),
        turn_rate=jnp.asarray(species.turn_rate_max * random.choice([-1.0, 0.0, 1.0], n)),
    )


def spread(count: int, seed: int) -> np.ndarray:
    """Factors [N] around 1.05 with a standard deviation of 10 %."""
    random = np.random.default_rng(seed)
    return 1.05 * np.exp(0.1 * random.standard_normal(count))


class Trial:
    """A bridge that drives a hidden swarm."""

    def __init__(self, species: Species, delay: float = DELAY) -> None:
        self.species, self.known = species, world(species)
        self.hidden = HiddenEngine(JaxEngine(with_delay(self.known, delay, INTERVAL), INTERVAL))
        self.bridge = Bridge(EnginePlant(self.hidden, DELAY), self.known, INTERVAL)

    def run(
        self, seconds: float, seed: int, guards: GuardConfig, speed: float = 1.0, turn: float = 1.0
    ) -> tuple[float | None, np.ndarray]:
        """Drive; return when it tripped, s or None, and the errors frame by frame."""
        bridge, random = self.bridge, np.random.default_rng(seed)
        bridge.guards = guards
        n = self.species.count
        self.hidden.speed = speed * spread(n, 2 * seed)
        self.hidden.turn = turn * spread(n, 2 * seed + 1)
        bridge.clear("benchmark")
        bridge.reset(seed)
        bridge.mode = Mode.DRIVE  # without the probe, which would refuse
        errors = []
        for k in range(round(seconds / INTERVAL)):
            if k % 10 == 0:
                command = commands(self.species, random)
            status = bridge.step(command).status
            errors.append(status.info["twin_error"])
            if status.fault is not None:
                return (k + 1) * INTERVAL, np.asarray(errors)
        return None, np.asarray(errors)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hours", type=float, default=1.0)
    parser.add_argument("--faults", type=int, default=10)
    options = parser.parse_args()
    table: dict[str, object] = {"hours": options.hours, "faults": options.faults, "swarms": {}}
    for name, species in SWARMS.items():
        usual, slow = Trial(species), Trial(species, 2 * DELAY)
        trips, highest, left, seed = 0, 0.0, options.hours * 3600, 100
        while left > 1:
            trip, errors = usual.run(min(left, 600.0), seed, GuardConfig())
            trips += trip is not None
            highest = max(highest, float(np.nanmax(errors[20:])))
            left -= len(errors) * INTERVAL
            seed += 1
        row: dict[str, object] = {"false trips": trips, "largest error": highest}
        print(f"{name}: {trips} false trips in {options.hours:g} h, error up to {highest:.2f}")
        for fault, (speed, turn, delay) in FAULTS.items():
            trial, seeds = slow if delay > 1 else usual, range(options.faults)
            rules = (GuardConfig(), GuardConfig(margin=1e9, error_max=highest))
            both, alone = (
                [trial.run(60.0, seed, rule, speed, turn)[0] or np.inf for seed in seeds]
                for rule in rules
            )
            print(
                f"  {fault}: found after {np.median(both):.1f} s (slowest {max(both):.1f} s); by "
                f"the error alone after {np.median(alone):.1f} s (slowest {max(alone):.1f} s)"
            )
            row[fault] = {
                "median": float(np.median(both)),
                "slowest": max(both),
                "error alone, median": float(np.median(alone)),
            }
        table["swarms"][name] = row  # type: ignore[index]
        usual.bridge.close()
    OUT.write_text(json.dumps(table, indent=1, allow_nan=True) + "\n")


if __name__ == "__main__":
    main()
