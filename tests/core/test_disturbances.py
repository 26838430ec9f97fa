"""What disturbances may be."""

from __future__ import annotations

from typing import Any

import pytest

from swarmctl.core.config import build, to_dict
from swarmctl.core.disturbances import (
    Delay,
    Disturbances,
    Drift,
    DroppedFrames,
    Localisation,
    Losses,
    StageDrift,
    Sticking,
)
from swarmctl.core.errors import ConfigError
from swarmctl.core.world import Box, World


def test_they_are_hashable_and_go_through_tables() -> None:
    given = Disturbances(
        drift=Drift((1.0, 0.0), 0.2, 3.0),
        sticking=Sticking(0.1, 0.5),
        delay=Delay(probabilities=(0.5, 0.5)),
        stage=StageDrift(diffusion=0.01),
        localisation=Localisation(0.05, 0.1),
        losses=Losses(0.1, 1.0),
        frames=DroppedFrames(0.05),
    )
    world = World(disturbances=given)
    assert hash(world) == hash(World(disturbances=given))
    assert build(World, to_dict(world)) == world
    assert not given.none


def test_nothing_is_disturbed_by_default() -> None:
    assert World().disturbances is None
    assert Disturbances().none


def test_quantities_carry_units() -> None:
    table = {"drift": {"velocity": ["100 nm/s", 0], "correlation_time": "1 min"}}
    drift = build(Disturbances, table).drift
    assert drift == Drift((pytest.approx(0.1), 0.0), 0.0, 60.0)


def test_a_delay_is_a_distribution() -> None:
    assert Delay(2).distribution == (0.0, 0.0, 1.0)
    assert Delay().distribution == (1.0,)
    assert Delay(probabilities=(0.25, 0.75)).distribution == (0.25, 0.75)


@pytest.mark.parametrize(
    ("part", "options", "words"),
    [
        (Drift, {"amplitude": -1.0}, "amplitude must be at least 0"),
        (Drift, {"correlation_time": 0.0}, "correlation_time must be positive"),
        (StageDrift, {"diffusion": -1.0}, "diffusion must be at least 0"),
        (Sticking, {"on_rate": -1.0}, "on_rate must be at least 0"),
        (Sticking, {"off_rate": float("inf")}, "off_rate must be at least 0 and finite"),
        (Delay, {"intervals": -1}, "intervals must be at least 0"),
        (Delay, {"intervals": 1, "probabilities": (1.0,)}, "either intervals or probabilities"),
        (Delay, {"probabilities": (0.5, 0.6)}, "add up to 1.1; make it 1"),
        (Delay, {"probabilities": (1.5, -0.5)}, "probability must be at least 0"),
        (Localisation, {"position": -1.0}, "position must be at least 0"),
        (Localisation, {"heading": float("nan")}, "heading must be at least 0"),
        (Losses, {"lose_rate": -1.0}, "lose_rate must be at least 0"),
        (Losses, {"find_rate": -1.0}, "find_rate must be at least 0"),
        (DroppedFrames, {"probability": 1.0}, r"probability must lie in \[0, 1\)"),
    ],
)
def test_what_cannot_be_is_refused(part: Any, options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        part(**options)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (Disturbances(drift=Drift((1.0,))), "drift: velocity has 1 numbers in a 2D box"),
        (Disturbances(stage=StageDrift((1.0, 0.0, 0.0))), "velocity has 3 numbers in a 2D box"),
        (Disturbances(drift=Drift((float("nan"), 0.0))), "velocity is not finite"),
    ],
)
def test_a_world_refuses_what_does_not_fit_its_box(given: Disturbances, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        World(Box((50.0, 50.0)), disturbances=given)
