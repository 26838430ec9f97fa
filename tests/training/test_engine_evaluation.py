"""The verb `evaluate` on an engine that is no pure function: a simulated laboratory at a link."""

import dataclasses
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from swarmctl.core.contracts import Engine, Status, Transition
from swarmctl.core.errors import ConfigError, SwarmctlError, UnknownNameError
from swarmctl.core.species import Placement
from swarmctl.engines.jax_engine import JaxEngine
from swarmctl.envs.make import make_env, make_scenario
from swarmctl.training.configs import EvaluateConfig
from swarmctl.training.engine_episodes import EngineEnv
from swarmctl.training.evaluate import evaluate, evaluate_agent, find_agent
from swarmctl.training.experiment import experiment_from_tables

KEYS = {"colloids": 3, "horizon": 8, "control_interval": 0.1, "temperature": 0.0}
EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "lab_peer.py"


class Plain(Engine):
    """The JAX engine without its pure functions; `fault` ends the n-th step."""

    def __init__(self, scenario, fault=None):
        self.inner = JaxEngine(scenario.world, scenario.control_interval)
        self.spec, self.fault, self.stopped, self.count = self.inner.spec, fault, 0, 0

    def reset(self, seed):
        return self.inner.reset(0)

    def step(self, command):
        self.count += 1
        moved = self.inner.step(command)
        fault = "the lamp went out" if self.count == self.fault else None
        return Transition(moved.state, moved.applied, Status(fault=fault))

    def stop(self, reason):
        self.stopped += 1

    def close(self):
        self.inner.close()


def fixed_start():
    """A scenario without noise that always starts from the same places and directions."""
    scenario = make_scenario("Chemotaxis-v0", **KEYS)
    (species,) = scenario.world.species
    placement = Placement(
        "points",
        positions=((80.0, 80.0), (170.0, 120.0), (110.0, 190.0)),
        directors=((1.0, 0.3), (-0.2, 1.0), (-1.0, -1.0)),
    )
    placed = (dataclasses.replace(species, placement=placement),)
    return dataclasses.replace(scenario, world=dataclasses.replace(scenario.world, species=placed))


def test_a_python_loop_and_a_scan_earn_the_same():
    scenario = fixed_start()
    env = EngineEnv(scenario, Plain(scenario))
    agent = find_agent("steer-to-source", env)
    found = evaluate_agent(env, agent, 2, seed=0)
    scanned = evaluate_agent(make_env(scenario), agent, 1, seed=0)
    np.testing.assert_allclose(found.returns, [scanned.returns[0]] * 2, atol=1e-5)
    np.testing.assert_allclose(found.measure, [scanned.measure[0]] * 2, rtol=1e-5)
    np.testing.assert_array_equal(found.returns, found.species_returns[:, 0])
    assert abs(found.returns[0]) > 1e-3
    assert env.engine.stopped == 2


def test_a_fault_is_no_result():
    scenario = fixed_start()
    env = EngineEnv(scenario, Plain(scenario, fault=3))
    with pytest.raises(SwarmctlError, match="after 3 of 8 decisions: the lamp went out"):
        evaluate_agent(env, find_agent("random", env), 2)
    assert env.engine.stopped == 1
    with pytest.raises(ConfigError, match="at least 1"):
        evaluate_agent(env, find_agent("random", env), episodes=0)


def test_evaluate_takes_a_link_by_its_name_as_the_guide_has_it(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    peer = [sys.executable, "-W", "error", EXAMPLE, "Chemotaxis-v0", "--pace", "0"]
    out = tmp_path / "figures.json"
    link = ("engine.name=link", f"engine.port={port}", "engine.silence=10 s")
    keys = (*link, "engine.stop_timeout=10 s", "scenario.horizon=4")
    config = EvaluateConfig(("steer-to-source",), "Chemotaxis-v0", keys, episodes=2, out=out)
    with subprocess.Popen(
        [*peer, "--port", str(port)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as laboratory:
        try:
            results = evaluate(config)
            said, _ = laboratory.communicate(timeout=20)
        finally:
            laboratory.kill()
    assert laboratory.returncode == 0, said
    assert said.strip().endswith("outputs are safe")
    assert results["steer-to-source"]["return"][0] > 0
    assert out.exists()


def test_keys_of_an_engine_go_into_the_experiment_and_back():
    tables = {"engine": {"name": "link", "port": 4000, "state_timeout": "500 ms"}}
    experiment = experiment_from_tables(tables)
    assert experiment.engine_config.state_timeout == 0.5
    again = experiment_from_tables(experiment.tables())
    assert again == experiment
    assert experiment.any_env().engine.config == experiment.engine_config
    with pytest.raises(UnknownNameError, match=r"engine\.prot.*port"):
        experiment_from_tables({"engine": {"name": "link", "prot": 1}})
    with pytest.raises(UnknownNameError, match=r"engine\.port.*name"):
        experiment_from_tables({"engine": {"name": "jax", "port": 1}})
