"""Zermelo's problem: its solver against closed forms, and the controller against the solver."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from swarmctl.agents.classical.extremals import fastest_route, heading_map
from swarmctl.agents.classical.zermelo import ZermeloConfig
from swarmctl.agents.options import make_agent
from swarmctl.core.errors import CapabilityError, ConfigError
from swarmctl.core.fields import PoiseuilleFlow, ShearFlow, UniformFlow, VortexFlow
from swarmctl.core.world import Box, Fluid, Placement, Species, World

BOX = Box((20.0, 20.0), "open")
GOAL = (10.0, 10.0)


def test_shear_of_bryson_and_ho() -> None:
    """ẋ = cos θ - y, ẏ = sin θ from (3.66, -1.86) to 0 (Applied Optimal Control, 1975, 2.7); there
    tan θ grows by 1 per unit of time.
    """
    route = fastest_route((ShearFlow(-1.0, centre=GOAL),), BOX, (13.66, 8.14), GOAL, 1.0)
    assert math.degrees(route.departure) == pytest.approx(105.019, abs=1e-3)
    assert math.degrees(route.arrival) == pytest.approx(239.982, abs=1e-3)
    assert route.time == pytest.approx(5.45787, abs=1e-5)
    growth = math.tan(route.arrival) - math.tan(route.departure)
    assert growth == pytest.approx(route.time, rel=1e-6)
    assert route.position[0] == pytest.approx((13.66, 8.14), abs=1e-6)
    assert route.position[-1] == pytest.approx(GOAL, abs=1e-9)


def test_uniform_flow_and_a_vortex() -> None:
    """In u = (w, 0), straight across, it heads upstream by asin(w/v) and takes L/√(v² - w²). Round
    a vortex the way there and the way back, turned by 180°, take equally long.
    """
    w, v, way = 0.6, 1.0, 5.0
    route = fastest_route((UniformFlow((w, 0.0)),), BOX, (10.0, 5.0), GOAL, v, rays=180)
    assert route.time == pytest.approx(way / math.sqrt(v**2 - w**2), rel=1e-6)
    assert math.cos(route.departure) == pytest.approx(-w / v, abs=1e-6)
    vortex = (VortexFlow(0.8, 2.0, centre=(12.0, 10.0)),)
    there = fastest_route(vortex, BOX, (14.0, 10.0), GOAL, v, rays=180)
    back = fastest_route(vortex, BOX, GOAL, (14.0, 10.0), v, rays=180)
    assert there.time == pytest.approx(back.time, rel=1e-6)
    assert there.time < 4.0, "it is carried along"


def test_no_way_against_a_flow_that_is_too_strong() -> None:
    with pytest.raises(ConfigError, match="no way from"):
        fastest_route((UniformFlow((2.0, 0.0)),), BOX, (12.0, 10.0), GOAL, 1.0)


def test_map_tells_what_cannot_be_reached() -> None:
    """With the flow twice as fast as the swimmer, only a wedge of half angle 30° upstream of the
    goal can reach it.
    """
    _, time = heading_map((UniformFlow((2.0, 0.0)),), BOX, GOAL, 1.0, cells=40, rays=720)
    x, y = np.meshgrid(*[(np.arange(40) + 0.5) * 0.5 - 10] * 2, indexing="ij")
    outside = (np.sqrt(3) * np.abs(y) + x) / 2
    assert np.isinf(time[outside > 0.5]).all()
    assert np.isfinite(time[outside < -0.5]).all()


@pytest.mark.parametrize(
    ("flow", "start"),
    [
        (ShearFlow(-0.25, centre=(100.0, 100.0)), (173.2, 62.8)),
        (PoiseuilleFlow(3.0, 80.0, centre=(100.0, 100.0)), (150.0, 110.0)),
    ],
    ids=["shear", "poiseuille"],
)
def test_controller_is_as_fast_as_the_solution(flow: Any, start: Any, drive: Any) -> None:
    """Without noise, deciding every 0.2 s, it comes within 4 µm of the goal in 1.01 of the time."""
    goal, box = (100.0, 100.0), Box((200.0, 200.0), "open")
    species = Species(count=1, speed_max=5.0, placement=Placement("points", positions=(start,)))
    world = World(
        box, Fluid(temperature=0.0), (species,), time_step=0.02, contacts=False, flows=(flow,)
    )
    route = fastest_route((flow,), box, start, goal, 5.0)
    fleet = drive(world, 0.2, ZermeloConfig(flows=(flow,), rays=720))
    path = fleet.run(150, lambda state, command: state.position[0])[:, 0]
    away = np.linalg.norm(path - goal, axis=-1)
    best = np.linalg.norm(route.position - goal, axis=-1)
    wanted = route.time * np.argmax(best < 4) / (len(best) - 1)
    index = np.argmax(away < 4)
    share = (away[index - 1] - 4) / (away[index - 1] - away[index])
    assert 0.2 * (index - 1 + share) < 1.01 * wanted


def test_it_must_know_the_flow(controller_spec: Any) -> None:
    with pytest.raises(CapabilityError, match=r"know the flow.*'none'"):
        make_agent("zermelo", controller_spec(1))
    flow = (UniformFlow((0.1, 0.0)),)
    with pytest.raises(ConfigError, match="goal"):
        make_agent("zermelo", controller_spec(1), flows=flow, goal=(1.0, 2.0, 3.0))
    with pytest.raises(CapabilityError, match="3D"):
        make_agent("zermelo", controller_spec(1, dimension=3), flows=flow)
