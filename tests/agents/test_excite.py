"""Commands that excite: bounded, held for random times, independent of one another."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest

from swarmctl.agents.classical.excite import ExciteConfig
from swarmctl.agents.options import make_agent
from swarmctl.core.errors import CapabilityError, ConfigError

N, T = 40, 1000


def commands(agent: Any, spec: Any, inputs: Any) -> Any:
    """What an agent commands in T decisions, leaves [T,N,...]."""

    def decide(memory: Any, key: Any) -> Any:
        command, memory = agent.act(inputs, memory, key)
        return memory, command

    keys = jax.random.split(jax.random.key(0), T)
    return jax.lax.scan(decide, agent.init_memory(spec), keys)[1]


def test_commands_are_bounded_and_held_for_exponential_times(
    controller_spec: Any, controller_inputs: Any
) -> None:
    """Speeds in [0, v], a share of 1/4 rests; turns in [-ω, ω]; renewal with 1 - exp(-Δ/hold)."""
    spec = controller_spec(N)
    agent = ExciteConfig(hold=0.5, rest=0.25).build(spec)
    inputs = controller_inputs(np.zeros((N, 2)), np.zeros(N))
    command = commands(agent, spec, inputs)
    speed, turn = np.asarray(command.speed), np.asarray(command.turn_rate)
    assert speed.min() == 0
    assert speed.max() <= 2.0
    assert np.abs(turn).max() <= 1.0
    drawn = N * T * (1 - np.exp(-0.2))
    renewed = (np.diff(turn, axis=0) != 0) | (np.diff(speed, axis=0) != 0)
    # A third does not turn and a quarter rests: one in 144 is drawn as it was, doing neither.
    assert renewed.sum() == pytest.approx(drawn * (1 - 1 / 144), rel=0.03)
    assert (speed == 0).mean() == pytest.approx(0.25, abs=0.03)
    assert (np.sign(turn).mean(), speed.mean()) == pytest.approx((0, 0.75), abs=0.05)
    assert abs(np.corrcoef(speed.T)[np.triu_indices(N, 1)]).mean() < 0.1


def test_light_goes_to_spots_at_a_distance(controller_spec: Any, controller_inputs: Any) -> None:
    light = {"power_max": (3.0,), "offset_max": (2.0,)}
    spec = controller_spec(N, capabilities=frozenset({"power", "spot_offset"}), **light)
    agent = make_agent("excite", spec, drive="light", offset=1.5)
    command = commands(agent, spec, controller_inputs(np.zeros((N, 2)), np.zeros(N)))
    power, offset = np.asarray(command.power), np.asarray(command.spot_offset)
    assert power.max() <= 3.0
    assert np.linalg.norm(offset[power > 0], axis=-1) == pytest.approx(1.5, rel=1e-5)
    assert not offset[power == 0].any()


def test_the_absent_get_no_commands(controller_spec: Any, controller_inputs: Any) -> None:
    spec = controller_spec(N)
    inputs = controller_inputs(np.zeros((N, 2)), np.zeros(N), present=np.arange(N) < 30)
    command = commands(ExciteConfig(rest=0.0).build(spec), spec, inputs)
    assert not np.asarray(command.speed)[:, 30:].any()
    assert np.asarray(command.speed)[:, :30].all()


def test_it_refuses_what_does_not_fit(controller_spec: Any) -> None:
    with pytest.raises(CapabilityError, match="light drives no species"):
        make_agent("excite", controller_spec(1), drive="light")
    with pytest.raises(ConfigError, match="speed 9"):
        make_agent("excite", controller_spec(1), speed=9.0)
    with pytest.raises(ConfigError, match="rest"):
        ExciteConfig(rest=1.0)
