"""What was identified under light is a world that is simulated, and ranges to train in."""

from __future__ import annotations

import dataclasses
import tomllib
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from swarmctl.core.actuator import Actuator
from swarmctl.core.command import Command
from swarmctl.core.config import build, dump_toml, to_dict
from swarmctl.core.contracts import ActionMap
from swarmctl.core.randomise import Randomise
from swarmctl.core.spec import ActionSpace, Continuous, EngineSpec
from swarmctl.core.tree import pytree
from swarmctl.engines.jax_engine import JaxEngine
from swarmctl.envs.chemotaxis import ChemotaxisConfig
from swarmctl.envs.scenario import Scenario
from swarmctl.lab.identified import Identified, Quantity, SpeciesFit
from swarmctl.training.experiment import Experiment, load_experiment
from swarmctl.training.randomised import draw_env_params
from swarmctl.training.train import make_learner
from swarmctl.training.world_file import Run, Simulation, load_simulation

INTERVAL = 0.2
TRUTH = {
    "slope": (1.5, 0.05),
    "threshold": (0.4, 0.02),
    "speed_max": (2.0, 0.02),
    "steering": (-0.5, 0.02),
    "diffusion": (0.1, 0.01),
    "rotational_diffusion": (0.05, 0.02),
    "delay": (0.2, 0.002),
}
FOUND = Identified(
    species=(
        SpeciesFit(
            "",
            20,
            100.0,
            0.1,
            quantities=tuple(
                Quantity(name, "", value, value - 2 * error, value + 2 * error, error)
                for name, (value, error) in TRUTH.items()
            ),
        ),
    )
)


@pytree
class PowerAndSpot(ActionMap):
    """Power from 0 to 2, and the offset of the spot up to 1 µm, from three numbers in [-1, 1]."""

    @property
    def space(self) -> ActionSpace:
        return Continuous(3)

    @property
    def names(self) -> tuple[str, ...]:
        return ("power", "x", "y")

    @property
    def channels(self) -> frozenset[str]:
        return frozenset({"power", "spot_offset"})

    def to_command(self, action: jax.Array, spec: EngineSpec) -> Command:
        return Command(power=action[:, 0] + 1, spot_offset=action[:, 1:])


@dataclasses.dataclass(frozen=True)
class LitConfig(ChemotaxisConfig):
    """Chemotaxis of colloids that light drives."""

    id = "LitChemotaxis-v0"

    def build(self) -> Scenario:
        scenario = super().build()
        (species,) = scenario.world.species
        lit = dataclasses.replace(species, actuator=Actuator(power_max=2.0, offset_max=1.0))
        world = dataclasses.replace(scenario.world, species=(lit,))
        return dataclasses.replace(scenario, world=world, actions=PowerAndSpot())


LIT = LitConfig(colloids=3, horizon=8, time_step=5e-3, control_interval=INTERVAL)


def test_the_world_of_a_light_fit_moves_by_its_law(tmp_path: Path) -> None:
    """Written, read, simulated: without noise colloids swim at slope (P - threshold), at most
    speed_max, an interval after the command, and turn by steering v/a² (n̂ × d).
    """
    world = FOUND.world(LIT.build().world, INTERVAL)
    file = tmp_path / "world.toml"
    run = Run(time=1.0, interval=INTERVAL, every=INTERVAL)
    file.write_text(dump_toml(Simulation(world, run).tables()))
    read = load_simulation(file).world
    assert read == world
    actuator = read.species[0].actuator
    assert actuator is not None
    for name in ("slope", "threshold", "steering"):
        assert getattr(actuator, name) == TRUTH[name][0]

    cold = dataclasses.replace(read, fluid=dataclasses.replace(read.fluid, temperature=0.0))
    engine = JaxEngine(cold, INTERVAL)
    params = engine.params()
    start, key = engine.init(jax.random.key(0), params), jax.random.key(1)
    command = Command(
        power=jnp.array([0.3, 1.0, 2.0]), spot_offset=jnp.tile(jnp.array([[0.4, 0.0]]), (3, 1))
    )
    state = engine.advance(key, start, command, params)[0]
    before = engine.observe_state(state, params)
    after = engine.observe_state(engine.advance(key, state, command, params)[0], params)
    way = np.linalg.norm(np.asarray(after.position - before.position), axis=1)
    np.testing.assert_allclose(way, np.array([0.0, 0.9, 2.0]) * INTERVAL, atol=2e-3)
    angle = [np.unwrap(np.arctan2(*np.asarray(s.director).T[::-1])) for s in (before, after)]
    middle = 0.5 * (angle[0] + angle[1])
    turn = -0.5 * np.array([0.0, 0.9, 2.0]) / 2.14**2 * -np.sin(middle) * 0.4 * INTERVAL
    np.testing.assert_allclose(angle[1] - angle[0], turn, atol=1e-4)


def test_the_ranges_of_a_light_fit_are_trained_in() -> None:
    """An update draws laws of light from the fit's distributions, every swarm its own."""
    ranges = build(Randomise, tomllib.loads(dump_toml(to_dict(FOUND.randomise()))))
    assert ranges == FOUND.randomise()
    agent = {"name": "ppo", "swarms": 8, "rollout": 8, "minibatches": 2, "hidden": [8]}
    base = load_experiment({"scenario": {"name": "Chemotaxis-v0"}, "agent": agent})
    experiment = Experiment(LIT, "jax", base.agent, base.training, None, ranges)
    env = experiment.env()
    drawn = draw_env_params(env, env.params(), ranges, jax.random.split(jax.random.key(0), 400))
    law = drawn.engine.actuator
    assert law is not None
    for values, name in ((law.threshold, "threshold"), (law.steering, "steering")):
        value, error = TRUTH[name]
        assert np.mean(values[:, 0]) == pytest.approx(value, abs=4 * error / 20)
        assert np.std(values[:, 0]) == pytest.approx(error, rel=0.15)
    logarithm = np.log(np.asarray(law.slope[:, 0]) / TRUTH["slope"][0])
    assert np.std(logarithm) == pytest.approx(TRUTH["slope"][1], rel=0.15)

    learner = make_learner(experiment)
    _, figures = learner.update(learner.init(0), 0)
    assert not figures["failed"]
