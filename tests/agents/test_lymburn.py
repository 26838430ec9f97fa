"""The model of Lymburn et al. 2021: each of its five forces, and its memory."""

from __future__ import annotations

import math
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from swarmctl.agents.options import make_agent
from swarmctl.core.errors import CapabilityError, ConfigError

OFF = {"align": 0.0, "repel": 0.0, "home": 0.0, "friction": 0.0, "predators": 0.0}
DT = 0.1


def step(spec: Any, inputs: Any, memory: Any = None, **keys: Any) -> np.ndarray:
    """Velocities after one decision."""
    agent = make_agent("lymburn", spec, **{**OFF, "speed": 1.0, **keys})
    command, after = agent.act(inputs, agent.init_memory(spec) if memory is None else memory, None)
    moving = np.asarray(command.speed)[:, None] * np.asarray(command.heading)
    length = np.linalg.norm(np.asarray(command.heading), axis=-1, keepdims=True)
    assert moving / np.where(length > 0, length, 1) == pytest.approx(np.asarray(after[0]), abs=1e-6)
    return np.asarray(after[0])


def test_each_force_by_its_formula(controller_spec: Any, controller_inputs: Any) -> None:
    """From the swim velocity s n, one step adds Δt times the force."""
    spec = controller_spec(2)
    place = np.array([[50.0, 50.0], [53.0, 54.0]])
    n = np.array([[1.0, 0.0], [0.0, 1.0]])
    inputs = controller_inputs(place, n)
    gap = place[0] - place[1]
    assert step(spec, inputs)[0] == pytest.approx(n[0], abs=1e-6)
    assert step(spec, inputs, align=0.3)[0] == pytest.approx(n[0] + DT * 0.3 * (n[1] - n[0]))
    assert step(spec, inputs, repel=2.0)[0] == pytest.approx(n[0] + DT * 2 * gap / 25, abs=1e-6)
    away = step(spec, inputs, repel=2.0, reach=4.9)[0]
    assert away == pytest.approx(n[0], abs=1e-6), "farther than reach"
    home = step(spec, inputs, home=0.01, place=(60.0, 50.0))[0]
    assert home == pytest.approx(n[0] + DT * 0.01 * np.array([10.0, 0.0]), abs=1e-6)


def test_friction_leads_to_the_wanted_speed(controller_spec: Any, controller_inputs: Any) -> None:
    """v̇ = -K v (v - s)/s: from 1.6 s at once down by K·1.6·0.6 Δt, in the end to s."""
    spec = controller_spec(1)
    inputs = controller_inputs([[50.0, 50.0]], [0.0])
    memory = (jnp.asarray([[1.6, 0.0]]), jnp.ones(1, bool))
    assert step(spec, inputs, memory, friction=0.5)[0, 0] == pytest.approx(1.6 - DT * 0.48)
    for _ in range(120):
        velocity = step(spec, inputs, memory, friction=0.8)
        memory = (jnp.asarray(velocity), jnp.ones(1, bool))
    assert velocity[0] == pytest.approx([1, 0], abs=1e-3)


def test_predators_are_fled_and_rest(controller_spec: Any, controller_inputs: Any) -> None:
    spec = controller_spec(
        2,
        species=("prey", "hunter"),
        species_of_slot=(0, 1),
        radius=(1.0, 1.0),
        speed_min=(0.0, 0.0),
        speed_max=(2.0, 2.0),
        turn_rate_max=(1.0, 1.0),
    )
    inputs = controller_inputs([[50, 50], [50, 46]], [0.0, 0.0], species=jnp.asarray([0, 1]))
    after = step(spec, inputs, predators=8.0, repel=5.0, predator="hunter")
    assert after[0] == pytest.approx([1, DT * 8 / 4], abs=1e-6), "a predator is no neighbour"
    assert after[1].tolist() == [0, 0]
    with pytest.raises(ConfigError, match=r"no species 'fox'.*prey"):
        make_agent("lymburn", spec, predator="fox")


def test_it_refuses_what_does_not_fit(controller_spec: Any) -> None:
    with pytest.raises(CapabilityError, match="lymburn commands heading"):
        make_agent("lymburn", controller_spec(1, capabilities=frozenset({"speed"})))
    for name in ("align", "repel", "home", "friction", "predators", "reach", "sight", "speed"):
        with pytest.raises(ConfigError, match=name):
            make_agent("lymburn", controller_spec(1), **{name: math.nan})
