"""The rule of Bäuerle et al. 2020: whom it heeds, and the swirls it makes."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from swarmctl.agents.classical.baeuerle import BaeuerleConfig
from swarmctl.agents.options import make_agent
from swarmctl.core.errors import CapabilityError, ConfigError
from swarmctl.core.world import Box, Placement, Species, World

KEY = jax.random.key(0)


def turns(agent: Any, inputs: Any) -> np.ndarray:
    return np.asarray(agent.act(inputs, (), KEY)[0].turn_rate)


@pytest.mark.parametrize("heading", [0.3, -0.4])
def test_torque_is_the_sine_of_the_angle_to_the_aim(
    heading: float, controller_spec: Any, controller_inputs: Any
) -> None:
    """Of two, the other is the centroid P; the aim is the one of P ± Δ nearer both directors."""
    delta = math.radians(30)
    agent = make_agent("baeuerle", controller_spec(2), deviation=delta, one_way=0)
    # The first is at the left, so P = 0 for it; the second is out of its orientation zone.
    inputs = controller_inputs([[20, 50], [60, 50]], [heading, 0.0])
    aim = delta * np.sign(heading)
    assert turns(agent, inputs)[0] == pytest.approx(math.sin(aim - heading), abs=1e-6)
    with_peer = controller_inputs([[20, 50], [40, 50]], [heading, -np.sign(heading) * 1.2])
    side = np.sign(np.sin(heading) + np.sin(-np.sign(heading) * 1.2))
    assert turns(agent, with_peer)[0] == pytest.approx(
        math.sin(side * delta - heading), abs=1e-6
    ), "a neighbour within 25 µm has a say"


def test_repulsion_overrides_all_else_and_looks_ahead_only(
    controller_spec: Any, controller_inputs: Any
) -> None:
    agent = make_agent("baeuerle", controller_spec(3), deviation=0.0)
    # One is near ahead and to the left, one far to the right.
    near = controller_inputs([[50, 50], [54, 53], [50, 20]], [0.0, 0.0, 0.0])
    away = math.atan2(-3, -4)
    assert turns(agent, near)[0] == pytest.approx(math.sin(away), abs=1e-6)
    # The same neighbour behind does not repel: the aim is the centroid of both.
    behind = controller_inputs([[50, 50], [46, 53], [50, 20]], [0.0, 0.0, 0.0])
    centre = math.atan2(3 - 30, -4)
    assert turns(agent, behind)[0] == pytest.approx(math.sin(centre), abs=1e-6)


def test_alone_it_swims_straight_on(controller_spec: Any, controller_inputs: Any) -> None:
    agent = make_agent("baeuerle", controller_spec(1))
    command = agent.act(controller_inputs([[50, 50]], [1.0]), (), KEY)[0]
    assert command.turn_rate.tolist() == [0.0]
    assert command.speed.tolist() == [2.0]


def test_it_refuses_what_it_cannot_do(controller_spec: Any) -> None:
    with pytest.raises(CapabilityError, match=r"baeuerle commands turn_rate.*'none'"):
        make_agent("baeuerle", controller_spec(2, capabilities=frozenset({"speed"})))
    with pytest.raises(CapabilityError, match="3D"):
        make_agent("baeuerle", controller_spec(2, dimension=3))
    with pytest.raises(ConfigError, match="deviation"):
        make_agent("baeuerle", controller_spec(2), deviation=4.0)
    for name in ("repulsion", "orientation", "attraction", "one_way"):
        with pytest.raises(ConfigError, match=name):
            make_agent("baeuerle", controller_spec(2), **{name: math.nan})


@pytest.mark.parametrize(("degrees", "order", "slack"), [(0, 0.10, 0.05), (75, 0.955, 0.02)])
def test_order_of_swirls(
    degrees: float, order: float, slack: float, drive: Any, thermal: float
) -> None:
    """|O_R| of 48 colloids, 300 to 600 s after a random start; references of validation case 11."""
    species = Species(
        count=48,
        radius=3.15,
        friction=thermal / 0.014,
        rotational_friction=thermal / 0.0028,
        speed_max=0.5,
        turn_rate_max=0.07,
        placement=Placement("ball", radius=45.0),
    )
    world = World(Box((400.0, 400.0), "open"), species=(species,), time_step=0.025)
    config = BaeuerleConfig(deviation=math.radians(degrees), one_way=600.0)

    def measure(state: Any, command: Any) -> Any:
        offset = state.position - state.position.mean(0)
        radial = offset / jnp.linalg.norm(offset, axis=-1, keepdims=True)
        cross = radial[:, 0] * state.director[:, 1] - radial[:, 1] * state.director[:, 0]
        return cross.mean()

    found = drive(world, 0.2, config, swarms=4).run(3000, measure)[1500:]
    assert np.abs(found).mean() == pytest.approx(order, abs=slack)
