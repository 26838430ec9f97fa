"""Configurations: built from tables, written back, described; mistakes answered with a remedy."""

from __future__ import annotations

import dataclasses
import random
import tomllib
from pathlib import Path
from typing import Any, Literal

import pytest

from swarmctl.core import config
from swarmctl.core.config import key
from swarmctl.core.errors import ConfigError, UnitError, UnknownNameError
from swarmctl.core.world import Box, Fluid, Placement, Species, World


@dataclasses.dataclass(frozen=True)
class Part:
    width: float = key(1.5, "how wide", "um")
    corners: tuple[float, ...] = key((1.0, 2.0), "corners", "um")
    kind: Literal["round", "square"] = key("round", "which shape")


PART = Part()


@dataclasses.dataclass(frozen=True)
class Whole:
    steps: int = key(dataclasses.MISSING, "how many steps")
    rate: float = key(0.5, "a pure number")
    title: str = key("a title", "text")
    loud: bool = key(False, "yes or no")
    folder: Path | None = key(None, "where to write")
    limit: float | None = key(None, "an optional duration", "s")
    hidden: tuple[int, ...] = key((12, 12), "layer sizes")
    pair: tuple[int, float] = key((1, 2.0), "two values")
    part: Part = key(PART, "a part")
    parts: tuple[Part, ...] = key((), "more parts")


def test_a_table_becomes_a_configuration() -> None:
    built = config.build(
        Whole,
        {
            "steps": 3.0,
            "limit": "2 min",
            "folder": "runs/a",
            "hidden": [4, 5, 6],
            "part": {"width": "3 nm", "corners": ["1 mm", 2]},
            "parts": [{"kind": "square"}, {}],
        },
    )
    assert built == Whole(
        steps=3,
        limit=120.0,
        folder=Path("runs/a"),
        hidden=(4, 5, 6),
        part=Part(width=3e-3, corners=(1000.0, 2.0)),
        parts=(Part(kind="square"), Part()),
    )
    assert isinstance(built.steps, int)
    assert hash(built) == hash(dataclasses.replace(built))


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        ({"steps": 1, "titel": "x"}, UnknownNameError, "'titel'.*Did you mean 'title'"),
        ({"steps": 1, "part": {"widht": 1}}, UnknownNameError, "'part.widht'.*'width'"),
        ({}, ConfigError, "missing.*steps"),
        ({"steps": 1.5}, ConfigError, "steps: expected int"),
        ({"steps": "3"}, ConfigError, "steps: expected int"),
        ({"steps": True}, ConfigError, "steps: expected int"),
        ({"steps": 1, "loud": 1}, ConfigError, "loud: expected bool"),
        ({"steps": 1, "title": 3}, ConfigError, "title: expected str"),
        ({"steps": 1, "rate": "fast"}, UnitError, "rate"),
        ({"steps": 1, "rate": float("nan")}, UnitError, "NaN"),
        ({"steps": 1, "limit": "3 um"}, UnitError, "limit"),
        ({"steps": 1, "part": {"kind": "rund"}}, ConfigError, "part.kind.*'round'"),
        ({"steps": 1, "part": 3}, ConfigError, "part: expected a table"),
        ({"steps": 1, "hidden": "12"}, ConfigError, "hidden: expected a list"),
        ({"steps": 1, "hidden": [1, "a"]}, ConfigError, r"hidden\[1\]"),
        ({"steps": 1, "pair": [1]}, ConfigError, "pair: expected 2 values"),
        ({"steps": 1, "parts": [{"width": "1 s"}]}, UnitError, r"parts\[0\].width"),
    ],
)
def test_mistakes_name_the_key_and_the_remedy(
    data: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        config.build(Whole, data)


def test_an_unknown_name_is_answered_with_the_nearest_and_all() -> None:
    with pytest.raises(UnknownNameError) as raised:
        config.build(Part, {"kinds": "round"})
    assert "Did you mean 'kind'? Allowed: corners, kind, width." in str(raised.value)


def random_world(draw: random.Random) -> World:
    dimension = draw.choice((2, 3))
    size = tuple(draw.uniform(50, 500) for _ in range(dimension))
    boundary = draw.choice(
        ("periodic", "hard", tuple(draw.choice(("periodic", "open")) for _ in range(dimension)))
    )
    points = tuple(tuple(draw.uniform(5, 40) for _ in size) for _ in range(3))
    placements = (
        Placement(),
        Placement("ball", radius=draw.uniform(10, 20), centre=(24.0,) * dimension),
        Placement("points", positions=points, directors=points),
    )
    species = tuple(
        Species(
            name,
            3,
            radius=draw.uniform(0.1, 1),
            friction=draw.choice((None, draw.uniform(0.1, 1))),
            speed_min=-draw.uniform(0, 1),
            placement=placement,
        )
        for name, placement in zip(("a", 'quoted "b"', "µ-c\\"), placements, strict=True)
    )
    return World(
        Box(size, boundary),
        Fluid(draw.uniform(1e-4, 1e-2), draw.uniform(0, 400)),
        species,
        time_step=draw.uniform(1e-6, 1e-3),
        contacts=draw.random() < 0.5,
        contact_energy=draw.choice((None, draw.uniform(1e-3, 1))),
    )


@pytest.mark.parametrize("seed", range(10))
def test_toml_round_trip_is_exact(seed: int) -> None:
    """build(parse(dump(to_dict(x)))) == x, for worlds of all kinds, bit for bit."""
    world = random_world(random.Random(seed))
    text = config.dump_toml(config.to_dict(world))
    assert config.build(World, tomllib.loads(text)) == world


def test_round_trip_of_the_other_types() -> None:
    whole = Whole(3, folder=Path("a/b"), loud=True, limit=0.1 + 0.2, parts=(Part(), Part(2.0)))
    text = config.dump_toml(config.to_dict(whole))
    assert 'limit = "0.30000000000000004 s"' in text
    assert config.build(Whole, tomllib.loads(text)) == whole


def test_delete_character_survives_toml() -> None:
    text = config.dump_toml({"title": "\x7f"})
    assert tomllib.loads(text) == {"title": "\x7f"}


def test_control_characters_survive_toml() -> None:
    whole = Whole(1, title='tab\t, line\nfeed, "quotes", back\\slash, \x01 and é')
    text = config.dump_toml(config.to_dict(whole))
    assert config.build(Whole, tomllib.loads(text)) == whole


def test_description_covers_every_key() -> None:
    rows = {name: (kind, default, doc) for name, kind, default, doc in config.describe(World)}
    assert rows["time_step"][0] == "s"
    assert rows["time_step"][1] == "0.001"
    assert rows["fluid.viscosity"][0] == "Pa*s"
    assert rows["box.size"][0] == "um"
    assert {"contacts", "contact_energy", "species", "fluid.temperature"} <= set(rows)
    assert all(doc for _, _, doc in rows.values())
    assert {row[0]: row[2] for row in config.describe(Whole)}["steps"] == "required"


def test_defaults_must_be_immutable() -> None:
    with pytest.raises(TypeError):
        key([], "a list")


# Overrides


@pytest.mark.parametrize(
    ("text", "path", "value"),
    [
        ("a=1", ["a"], 1),
        ("a.b = 2.5", ["a", "b"], 2.5),
        ("a=true", ["a"], True),
        ("a=[1, 2]", ["a"], [1, 2]),
        ("a=2 um", ["a"], "2 um"),
        ('a="3"', ["a"], "3"),
        ("a=x=y", ["a"], "x=y"),
        ("a=", ["a"], ""),
    ],
)
def test_override_texts(text: str, path: list[str], value: object) -> None:
    assert config.parse_override(text) == (path, value)


@pytest.mark.parametrize("text", ["a", "=3", " = 3", ""])
def test_override_texts_that_say_nothing(text: str) -> None:
    with pytest.raises(ConfigError, match="key=value"):
        config.parse_override(text)


def test_overrides_are_laid_over_a_copy() -> None:
    data = {"part": {"width": 1.0}, "steps": 1}
    result = config.apply_overrides(
        data, ["part.width=2 um", "steps=5", "part.kind=square", "steps=6"]
    )
    assert config.build(Whole, result) == Whole(6, part=Part(2.0, kind="square"))
    assert data == {"part": {"width": 1.0}, "steps": 1}
    with pytest.raises(ConfigError, match="'steps' is not a table"):
        config.apply_overrides(data, ["steps.more=1"])
