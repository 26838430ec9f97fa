"""Worlds: what is inconsistent is refused with the place and the remedy."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest

from swarmctl.core.errors import CapabilityError, ConfigError, PlacementError
from swarmctl.core.spec import EngineSpec, Requirements
from swarmctl.core.world import Box, Fluid, Placement, Species, World

BAD_VALUES = (0.0, -1.0, math.nan, math.inf)


@pytest.mark.parametrize("value", BAD_VALUES)
@pytest.mark.parametrize("name", ["radius", "friction", "rotational_friction"])
def test_species_lengths_and_frictions_are_positive(name: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"species 'x'.*{name}"):
        Species("x", **{name: value})


@pytest.mark.parametrize(
    "values",
    [
        {"count": 0},
        {"count": -3},
        {"speed_max": -1.0},
        {"speed_max": math.nan},
        {"speed_max": math.inf},
        {"speed_min": 11.0},
        {"speed_min": -math.inf},
        {"turn_rate_max": -0.1},
        {"turn_rate_max": math.nan},
    ],
)
def test_species_limits(values: dict[str, Any]) -> None:
    (name,) = values
    with pytest.raises(ConfigError, match=name):
        Species(**values)


@pytest.mark.parametrize("value", BAD_VALUES)
def test_box_fluid_and_time_step_are_positive(value: float) -> None:
    with pytest.raises(ConfigError, match="size"):
        Box((10.0, value))
    with pytest.raises(ConfigError, match="viscosity"):
        Fluid(viscosity=value)
    with pytest.raises(ConfigError, match="time_step"):
        World(time_step=value)
    with pytest.raises(ConfigError, match="contact_energy"):
        World(contact_energy=value)


@pytest.mark.parametrize("value", [-1e-9, math.nan, math.inf])
def test_temperature(value: float) -> None:
    with pytest.raises(ConfigError, match="temperature"):
        Fluid(temperature=value)
    assert Fluid(temperature=0.0).thermal_energy == 0


def test_box_shapes_and_boundaries() -> None:
    for size in ((), (1.0,), (1.0,) * 4):
        with pytest.raises(ConfigError, match="2 or 3 lengths"):
            Box(size)
    with pytest.raises(ConfigError, match="2 boundaries for 3 axes"):
        Box((1.0,) * 3, ("hard", "open"))
    with pytest.raises(ConfigError, match="'soft'; allowed: periodic, open, hard"):
        Box((1.0, 1.0), "soft")  # type: ignore[arg-type]
    box = Box((1.0, 2.0, 3.0), ("hard", "periodic", "open"))
    assert box.boundaries == ("hard", "periodic", "open")
    assert box.periodic == (False, True, False)
    assert Box((1.0, 2.0), "hard").boundaries == ("hard", "hard")


POINTS = ((5.0, 5.0), (9.0, 9.0))


@pytest.mark.parametrize(
    ("placement", "message"),
    [
        (Placement("points", positions=POINTS[:1]), "1 positions for 2 colloids"),
        (Placement("points", positions=((1.0,) * 3,) * 2), "3 numbers in a 2D box"),
        (Placement("points", positions=POINTS, directors=((0.0, 0.0), (1.0, 0.0))), "no length"),
        (
            Placement("points", positions=POINTS, directors=((1.0,), (1.0,))),
            "director has 1 numbers",
        ),
        (Placement(directors=((1.0, 0.0),)), "1 directors for 2 colloids"),
        (Placement("ball", radius=5.0, centre=(1.0, 2.0, 3.0)), "centre has 3 numbers"),
    ],
)
def test_placements_that_do_not_match_the_world(placement: Placement, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        World(species=(Species(count=2, placement=placement),))


def test_placements_that_make_no_sense() -> None:
    with pytest.raises(ConfigError, match="needs a radius"):
        Placement("ball")
    with pytest.raises(ConfigError, match="radius"):
        Placement("ball", radius=-1.0)
    for inner in (-1.0, 5.0, 6.0, math.nan):
        with pytest.raises(ConfigError, match="inner_radius"):
            Placement("ball", radius=5.0, inner_radius=inner)
    with pytest.raises(ConfigError, match="needs positions"):
        Placement("points")


def test_species_table() -> None:
    with pytest.raises(ConfigError, match="at least one species"):
        World(species=())
    with pytest.raises(ConfigError, match="unique"):
        World(species=(Species("a", 1), Species("a", 2)))
    world = World(species=(Species("a", 2), Species("b", 1)))
    assert world.capacity == 3
    assert world.species_of_slot == (0, 0, 1)
    assert hash(world) == hash(dataclasses.replace(world))


def test_room_counts_what_may_stick_out_of_a_ball() -> None:
    """Centres lie in the ball, so surfaces reach one radius farther: 70 % of that disc at most."""
    placement = Placement("ball", radius=9.0)
    World(species=(Species(count=70, radius=1.0, placement=placement),))
    with pytest.raises(PlacementError, match="at most 70 can be placed"):
        World(species=(Species(count=71, radius=1.0, placement=placement),))
    World(species=(Species(count=71, radius=1.0, placement=placement),), contacts=False)


SPEC = EngineSpec(
    name="some",
    capacity=2,
    dimension=2,
    dtype="float32",
    species=("a",),
    species_of_slot=(0, 0),
    radius=(1.0,),
    speed_min=(0.0,),
    speed_max=(1.0,),
    turn_rate_max=(1.0,),
    box=(10.0, 10.0),
    periodic=(True, True),
    control_interval=0.1,
    capabilities=frozenset({"speed"}),
)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"capacity": 3}, CapabilityError, "capacity 3, engine 'some' has 2"),
        ({"dimension": 3}, CapabilityError, "dimension 3"),
        ({"control_interval": 0.2}, ConfigError, "every 0.2 s, engine 'some' every 0.1 s"),
        ({"channels": frozenset({"speed", "power"})}, CapabilityError, "commands power"),
    ],
)
def test_requirements_name_both_sides(
    changes: dict[str, Any], error: type[Exception], message: str
) -> None:
    good = Requirements(2, 2, 0.1, frozenset({"speed"}))
    good.check(SPEC)
    with pytest.raises(error, match=message):
        dataclasses.replace(good, **changes).check(SPEC)


@pytest.mark.parametrize(
    ("box", "species", "message"),
    [
        (
            Box((100.0, 1.5), ("periodic", "hard")),
            Species(count=1),
            "does not fit between hard faces",
        ),
        (Box((100.0, 3.9)), Species(count=1), "too small for the minimum image"),
        (
            Box((50.0, 50.0), "hard"),
            Species(count=2, placement=Placement("ball", radius=24.5)),
            "reaches past a hard face",
        ),
        (
            Box((50.0, 50.0)),
            Species(count=1, placement=Placement("points", positions=((float("nan"), 1.0),))),
            "not finite",
        ),
    ],
)
def test_worlds_that_cannot_be_are_refused(box: Box, species: Species, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        World(box=box, species=(species,))


def test_inner_radius_is_not_negative() -> None:
    with pytest.raises(ConfigError, match="inner_radius must be at least 0"):
        Placement("box", inner_radius=-1.0)


def test_the_default_world_can_be_simulated() -> None:
    from swarmctl.engines.jax_engine import JaxEngine

    assert JaxEngine(World()).reset(0).position.shape == (10, 2)
