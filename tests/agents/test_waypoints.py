"""Waypoints: visited in order, by a PID controller on the heading."""

from __future__ import annotations

import math
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from swarmctl.agents.classical.waypoints import WaypointsConfig
from swarmctl.agents.options import make_agent
from swarmctl.core.errors import CapabilityError, ConfigError
from swarmctl.core.fields import ShearFlow
from swarmctl.core.world import Box, Fluid, Placement, Species, World

CORNERS = ((70.0, 30.0), (70.0, 70.0), (30.0, 70.0))


def world_of(flows: tuple[Any, ...] = ()) -> World:
    place = Placement("points", positions=((30.0, 30.0),), directors=((1.0, 0.0),))
    species = Species(count=1, speed_max=4.0, turn_rate_max=2.0, placement=place)
    return World(
        Box((100.0, 100.0), "open"),
        Fluid(temperature=0.0),
        (species,),
        time_step=0.01,
        flows=flows,
    )


def test_points_are_visited_in_order_and_the_last_is_kept(drive: Any) -> None:
    """Three sides of 40 µm at 4 µm/s take 30 s, but for the corners, then it rests within reach."""
    fleet = drive(world_of(), 0.1, WaypointsConfig(points=CORNERS, reach=1.0))
    path = fleet.run(400, lambda state, command: state.position[0])[:, 0]
    visits = [int(np.argmax(np.linalg.norm(path - corner, axis=-1) < 1.2)) for corner in CORNERS]
    assert 0 < visits[0] < visits[1] < visits[2] < 330
    assert np.abs(path[visits[2] + 5 :] - path[-1]).max() < 1e-3


def test_integral_takes_away_the_lag_in_a_turning_flow(drive: Any) -> None:
    """In shear the fluid turns it at -γ̇/2 = 0.05/s. With K_p = 0.5/s alone it heads 0.1 rad off
    its goal, with an integral in the end not at all.
    """
    flow = (ShearFlow(-0.1, centre=(0.0, 30.0)),)
    for integral, lag in ((0.0, 0.1), (0.2, 0.0)):
        config = WaypointsConfig(
            points=((1e6, 30.0),), proportional=0.5, integral=integral, speed=1e-3
        )
        fleet = drive(world_of(flow), 0.05, config)
        n = fleet.run(800, lambda state, command: state.director[0])[-1, 0]
        assert math.atan2(n[1], n[0]) == pytest.approx(lag, abs=4e-3)


def test_gains_by_their_formula(controller_spec: Any, controller_inputs: Any) -> None:
    """ω = K_p e + K_i ∫e dt + K_d ė, with e = -0.4 after -0.5, and 0.2 rad s before."""
    agent = make_agent(
        "waypoints",
        controller_spec(1),
        points=((90, 50),),
        proportional=0.5,
        integral=0.3,
        derivative=0.1,
    )
    memory = (jnp.zeros(1, jnp.int32), jnp.asarray([0.2]), jnp.asarray([-0.5]), jnp.ones(1, bool))
    command, after = agent.act(controller_inputs([[50, 50]], [0.4]), memory, None)
    wanted = 0.5 * -0.4 + 0.3 * (0.2 - 0.04) + 0.1 * (0.1 / 0.1)
    assert float(command.turn_rate[0]) == pytest.approx(wanted, abs=1e-6)
    assert float(command.speed[0]) == pytest.approx(2 * math.cos(0.4))
    assert float(after[1][0]) == pytest.approx(0.16)


def test_it_begins_again_with_loop(controller_spec: Any, controller_inputs: Any) -> None:
    spec = controller_spec(1)
    for loop, following in ((True, 0), (False, 1)):
        agent = make_agent("waypoints", spec, points=((10, 10), (50, 50)), reach=2.0, loop=loop)
        memory = (jnp.ones(1, jnp.int32), *agent.init_memory(spec)[1:])
        command, after = agent.act(controller_inputs([[50, 49]], [0.0]), memory, None)
        assert after[0].tolist() == [following]
        assert (float(command.speed[0]) == 0) == (not loop) or loop


def test_it_refuses_what_does_not_fit(controller_spec: Any) -> None:
    with pytest.raises(CapabilityError, match="3D"):
        make_agent("waypoints", controller_spec(1, dimension=3))
    with pytest.raises(ConfigError, match="point"):
        make_agent("waypoints", controller_spec(1), points=((1, 2, 3),))
    for name in ("reach", "proportional", "integral", "derivative", "speed"):
        with pytest.raises(ConfigError, match=name):
            make_agent("waypoints", controller_spec(1), **{name: math.nan})
