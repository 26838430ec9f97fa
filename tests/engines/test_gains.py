"""Gains: what a colloid makes of a commanded speed and turn rate."""

from __future__ import annotations

import numpy as np
import pytest

from swarmctl.core.actuator import Actuator
from swarmctl.core.command import Command
from swarmctl.core.errors import CapabilityError, ConfigError
from swarmctl.core.world import Box, Fluid, Placement, Species, World
from swarmctl.engines.espresso_limits import check_world
from swarmctl.engines.jax_engine import JaxEngine


def world(**changes: object) -> World:
    place = Placement("points", positions=((10.0, 10.0), (30.0, 30.0)), directors=((1.0, 0.0),) * 2)
    species = Species(count=2, speed_max=5.0, turn_rate_max=2.0, placement=place, **changes)
    box, fluid = Box((100.0, 100.0)), Fluid(temperature=0.0)
    return World(box, fluid, (species,), time_step=1e-3, contacts=False)


def moved(made: World, command: Command) -> tuple[np.ndarray, np.ndarray, Command]:
    """Displacements along x and angles after 0.1 s, and what was applied."""
    engine = JaxEngine(made)
    start = np.asarray(engine.reset(0).position)
    after = engine.step(command)
    director = np.asarray(after.state.director)
    return (
        np.asarray(after.state.position)[:, 0] - start[:, 0],
        np.arctan2(director[:, 1], director[:, 0]),
        after.applied,
    )


def test_motion_is_gain_times_command_and_the_command_is_recorded_as_it_was() -> None:
    made = world(speed_gain=1.5, turn_gain=-0.5)
    way, _, applied = moved(made, Command(speed=np.array([4.0, 0.0]), turn_rate=np.zeros(2)))
    assert way == pytest.approx([0.6, 0.0], abs=1e-4)
    assert np.asarray(applied.speed).tolist() == [4.0, 0.0]
    _, angle, applied = moved(made, Command(turn_rate=np.array([2.0, -1.0])))
    assert angle == pytest.approx([-0.1, 0.05], abs=1e-5)
    assert np.asarray(applied.turn_rate).tolist() == [2.0, -1.0]


def test_limits_hold_for_the_command() -> None:
    way, _, applied = moved(world(speed_gain=2.0), Command(speed=np.array([9.0, 1.0])))
    assert np.asarray(applied.speed).tolist() == [5.0, 1.0]
    assert way == pytest.approx([1.0, 0.2], abs=1e-4)


def test_light_is_not_changed_by_them() -> None:
    actuator = Actuator(slope=2.0)
    plain, gained = (
        moved(world(actuator=actuator, speed_gain=gain), Command(power=np.array([1.0, 2.0])))[0]
        for gain in (1.0, 3.0)
    )
    assert gained == pytest.approx(plain)
    assert plain == pytest.approx([0.2, 0.4], abs=1e-4)


def test_without_gains_nothing_is_added() -> None:
    params = JaxEngine(world()).params()
    assert params.speed_gain is None
    assert params.turn_gain is None


def test_they_are_refused_where_they_cannot_be_had() -> None:
    with pytest.raises(ConfigError, match="speed_gain"):
        world(speed_gain=float("nan"))
    with pytest.raises(CapabilityError, match="gains of 'colloid'"):
        check_world(world(turn_gain=0.9))
