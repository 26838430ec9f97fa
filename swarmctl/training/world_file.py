"""World files: a world and how it is run, as one typed configuration from TOML."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from swarmctl.core.config import apply_overrides, build, key, to_dict
from swarmctl.core.errors import ConfigError, SwarmctlError, require_positive
from swarmctl.core.species import Species
from swarmctl.core.world import World, steps_per_interval

PATH_KEYS = ("values", "image", "function", "control")
"""Keys that may name a file, beside the world file."""
CHANNELS = {"speed": "µm/s", "turn_rate": "rad/s", "power": "W/µm²"}
"""Channels of a drive that may differ between species, with their units."""


@dataclass(frozen=True)
class FieldDrive:
    """A global field: bias + amplitude, turning about the axis, or oscillating without an axis."""

    bias: tuple[float, ...] = key((), "constant part, one number an axis; none if left out", "mT")
    amplitude: tuple[float, ...] = key((), "part that turns or oscillates", "mT")
    axis: tuple[float, float, float] = key((0.0, 0.0, 0.0), "axis of rotation; 0 0 0: oscillates")
    frequency: float = key(0.0, "frequency", "Hz")
    phase: float = key(0.0, "phase at time 0", "rad")
    gradient: tuple[tuple[float, ...], ...] = key(
        (), "gradient, row j column i: how the component j changes along axis i", "mT/um"
    )

    def check(self, world: World) -> None:
        """Raise ConfigError unless the field fits the world and its limits."""
        d, limits = world.dimension, world.field
        if limits is None:
            raise ConfigError(
                "run.drive.field: the world has no global field; add a table [field] with its "
                "largest strength."
            )
        for name in ("bias", "amplitude", "gradient"):
            value = getattr(self, name)
            if value and len(value) != d:
                raise ConfigError(f"run.drive.field: {name} has {len(value)} entries in {d}D.")
        if any(len(row) != d for row in self.gradient):
            raise ConfigError(f"run.drive.field: gradient needs {d} rows of {d} numbers.")
        strength = float(np.linalg.norm(self.bias) + np.linalg.norm(self.amplitude))
        steepness = float(np.linalg.norm(self.gradient))
        for name, value, most, unit in (
            ("bias and amplitude together", strength, limits.strength_max, "mT"),
            ("gradient", steepness, limits.gradient_max, "mT/µm"),
            ("frequency", abs(self.frequency), limits.frequency_max, "Hz"),
        ):
            if not value <= most * (1 + 1e-6):
                raise ConfigError(
                    f"run.drive.field: {name}: {value:g} {unit} is above what [field] allows, "
                    f"{most:g} {unit}."
                )


@dataclass(frozen=True)
class Drive:
    """What is asked of the colloids, the same at all times; nothing if left out."""

    speed: float | tuple[float, ...] | None = key(
        None, "swim speed, one for all species or one each", "um/s"
    )
    turn_rate: float | tuple[float, ...] | None = key(
        None, "turn rate, one for all species or one each; about z in 3D", "rad/s"
    )
    power: float | tuple[float, ...] | None = key(
        None, "power of the light, one for all species or one each", "W/um^2"
    )
    field: FieldDrive | None = key(None, "a global field")
    control: str = key(
        "", "instead: 'file.py:name', a function (SwarmState, Space) -> Command on JAX arrays"
    )

    def per_species(self, name: str, world: World) -> tuple[float, ...] | None:
        """Speeds, turn rates or powers of the species, None if not driven. Raises ConfigError."""
        value = getattr(self, name)
        if value is None:
            return None
        values: tuple[float, ...] = (
            value if isinstance(value, tuple) else (value,) * len(world.species)
        )
        if len(values) != len(world.species):
            raise ConfigError(
                f"run.drive: {len(values)} values of {name} for {len(world.species)} species; "
                "give one for all or one each."
            )
        return values

    def check(self, world: World) -> None:
        """Raise ConfigError unless the world can be driven so."""
        given = [n for n in (*CHANNELS, "field") if getattr(self, n) is not None]
        if self.control and given:
            raise ConfigError(
                f"run.drive: control gives all commands itself; leave {', '.join(given)} out."
            )
        for name, unit in CHANNELS.items():
            values = self.per_species(name, world)
            for species, value in zip(world.species, values or (), strict=False):
                least, most = _range(name, species)
                if not least <= value <= most:
                    raise ConfigError(
                        f"run.drive: {name} {value:g} {unit} is not within {least:g} and "
                        f"{most:g} {unit} of species {species.name!r}; change it, or {name}_max."
                    )
        if self.field is not None:
            self.field.check(world)


def _range(name: str, species: Species) -> tuple[float, float]:
    """Least and most that a species takes of a channel."""
    if name == "speed":
        return species.speed_min, species.speed_max
    if name == "turn_rate":
        return -species.turn_rate_max, species.turn_rate_max
    return 0.0, species.actuator.power_max if species.actuator else 0.0


@dataclass(frozen=True)
class Run:
    """How long a world is simulated, and what is recorded."""

    time: float = key(60.0, "simulated time", "s")
    interval: float = key(0.1, "control interval; a whole number of time steps", "s")
    every: float = key(1.0, "time between recorded frames; whole number of intervals", "s")
    seed: int = key(0, "seed of start and noise")
    title: str = key("", "line above the pictures")
    engine: str = key("jax", "engine that simulates it")
    drive: Drive = key(Drive(), "what is asked of the colloids")

    def __post_init__(self) -> None:
        require_positive("run", time=self.time, interval=self.interval, every=self.every)
        if self.seed < 0:
            raise ConfigError(f"run: seed must be at least 0, got {self.seed}.")

    @property
    def intervals_per_frame(self) -> int:
        """Control intervals between recorded frames. Raises ConfigError unless whole."""
        return _whole("every", self.every, "control intervals", self.interval)

    @property
    def frames(self) -> int:
        """Recorded frames after the first one. Raises ConfigError unless whole."""
        return _whole("time", self.time, "recorded frames (every)", self.every)


def _whole(name: str, value: float, what: str, part: float) -> int:
    ratio = value / part
    count = round(ratio)
    if count < 1 or abs(ratio - count) > 1e-6 * max(count, 1):
        nearest = sorted({max(1, int(ratio)), max(1, int(ratio) + 1)})
        raise ConfigError(
            f"run: {name} {value:g} s is {ratio:.6g} {what} of {part:g} s; it must be a whole "
            f"number. Nearest that fit: {' or '.join(f'{n * part:g} s' for n in nearest)}."
        )
    return count


@dataclass(frozen=True)
class Simulation:
    """A world and how it is run."""

    world: World
    run: Run

    def __post_init__(self) -> None:
        steps_per_interval(self.run.interval, self.world.time_step)
        _ = self.run.intervals_per_frame, self.run.frames
        self.run.drive.check(self.world)

    def tables(self) -> dict[str, Any]:
        """Nested tables, as in a world file, with every key."""
        return {**to_dict(self.world), "run": to_dict(self.run)}


def load_simulation(
    source: str | Path | Mapping[str, Any],
    overrides: Iterable[str] = (),
    changes: Mapping[str, Any] | None = None,
) -> Simulation:
    """Read a world file, the folder of a simulation, or tables; lay `a.b=value` texts over it.

    `changes` are keys of the table [run], such as time, with dots for inner tables. Raises
    ConfigError, UnknownNameError or UnitError, which name the file.
    """
    tables = dict(source) if isinstance(source, Mapping) else _read(source)
    tables = apply_overrides(tables, overrides)
    for name, value in (changes or {}).items():
        inner: Any = tables.setdefault("run", {})
        *path, last = name.split(".")
        for part in path:
            inner = inner.setdefault(part, {}) if isinstance(inner, dict) else {}
        if isinstance(inner, dict):
            inner[last] = value
    run = tables.pop("run", {})
    try:
        if not isinstance(run, Mapping):
            raise ConfigError(f"run: expected a table [run], got {run!r}.")
        return Simulation(build(World, tables), build(Run, run, "run"))
    except SwarmctlError as error:
        if isinstance(source, Mapping):
            raise
        raise type(error)(f"{source}: {error}") from None


def _read(source: str | Path) -> dict[str, Any]:
    path = Path(source)
    if path.is_dir():
        path = path / "config.toml"
    try:
        with path.open("rb") as file:
            tables = tomllib.load(file)
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such world file.") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read as TOML ({error}).") from None
    found = _absolute(tables, path.parent)
    assert isinstance(found, dict)
    return found


def _absolute(value: Any, folder: Path, name: str = "") -> Any:
    """Files that lie beside the world file are found from anywhere."""
    if isinstance(value, dict):
        return {inner: _absolute(item, folder, inner) for inner, item in value.items()}
    if isinstance(value, list):
        return [_absolute(item, folder) for item in value]
    if name in PATH_KEYS and isinstance(value, str):
        file, colon, function = value.rpartition(":") if name in PATH_KEYS[2:] else (value, "", "")
        beside = folder / file
        if file and beside.is_file():
            return f"{beside.resolve()}{colon}{function}"
    return value
