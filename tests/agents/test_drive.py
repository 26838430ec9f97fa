"""A constant drive: circles of radius v/ω."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from swarmctl.agents.classical.drive import ConstantDriveConfig
from swarmctl.agents.options import make_agent
from swarmctl.core.errors import CapabilityError, ConfigError
from swarmctl.core.world import Box, Fluid, Placement, Species, World


def test_circles(drive: Any) -> None:
    """Without noise, v = 2 µm/s and ω = 0.5/s: after half a turn it is 2v/ω = 8 µm to the left."""
    place = Placement("points", positions=((50.0, 50.0),), directors=((1.0, 0.0),))
    species = Species(count=1, speed_max=3.0, placement=place)
    world = World(Box((100.0, 100.0)), Fluid(temperature=0.0), (species,), time_step=0.001)
    interval = 0.01 * math.pi
    world = World(world.box, world.fluid, world.species, time_step=interval / 40)
    fleet = drive(world, interval, ConstantDriveConfig(speed=2.0, turn_rate=0.5))
    path = fleet.run(201, lambda state, command: state.position[0])[:, 0]
    assert path[200] - path[0] == pytest.approx([0, 8], abs=0.01)


def test_axis_of_turning_in_3d(controller_spec: Any, controller_inputs: Any) -> None:
    agent = make_agent(
        "constant-drive", controller_spec(2, dimension=3), turn_rate=0.3, axis=(0, 2, 0)
    )
    inputs = controller_inputs(np.full((2, 3), 50.0), [[1.0, 0, 0]] * 2)
    command = agent.act(inputs, (), None)[0]
    assert np.asarray(command.turn_rate) == pytest.approx(np.array([[0, 0.3, 0]] * 2))
    assert command.speed.tolist() == [2.0, 2.0]


def test_it_refuses_what_does_not_fit(controller_spec: Any) -> None:
    with pytest.raises(CapabilityError, match="constant-drive commands turn_rate"):
        make_agent("constant-drive", controller_spec(1, capabilities=frozenset({"speed"})))
    with pytest.raises(ConfigError, match="axis"):
        make_agent("constant-drive", controller_spec(1, dimension=3), axis=(0, 0, 0))
    with pytest.raises(ConfigError, match="turn_rate"):
        make_agent("constant-drive", controller_spec(1), turn_rate=math.inf)
