"""What is not known exactly of a world, as distributions from which every swarm of a training draws
its own numbers: domain randomisation.

Numbers are in µm, s and rad.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias

from swarmctl.core.actuator import Actuator
from swarmctl.core.config import key
from swarmctl.core.disturbances import Delay, Disturbances, Drift, Localisation
from swarmctl.core.errors import ConfigError, UnknownNameError, nearest, require_finite
from swarmctl.core.species import Species
from swarmctl.core.world import World

CUT = 3.0
"""Normal and lognormal numbers are drawn within so many standard deviations."""


@dataclass(frozen=True)
class Normal:
    """A normal distribution, cut at three standard deviations."""

    kind: ClassVar[str] = "normal"
    mean: float = key(dataclasses.MISSING, "mean")
    deviation: float = key(dataclasses.MISSING, "standard deviation")

    def __post_init__(self) -> None:
        require_finite("randomise", mean=self.mean, deviation=self.deviation)
        if self.deviation < 0:
            raise ConfigError(f"randomise: deviation must be at least 0, got {self.deviation}.")

    @property
    def middle(self) -> float:
        """The mean."""
        return self.mean

    @property
    def range(self) -> tuple[float, float]:
        """Lowest and highest number that is drawn."""
        return self.mean - CUT * self.deviation, self.mean + CUT * self.deviation


@dataclass(frozen=True)
class Lognormal:
    """A number whose logarithm is normal, cut at three standard deviations; always positive."""

    kind: ClassVar[str] = "lognormal"
    median: float = key(dataclasses.MISSING, "median")
    spread: float = key(dataclasses.MISSING, "standard deviation of the logarithm")

    def __post_init__(self) -> None:
        require_finite("randomise", median=self.median, spread=self.spread)
        if self.median <= 0 or self.spread < 0:
            raise ConfigError(
                "randomise: a lognormal number needs a positive median and a spread of at least 0, "
                f"got {self.median} and {self.spread}."
            )

    @property
    def middle(self) -> float:
        """The median."""
        return self.median

    @property
    def range(self) -> tuple[float, float]:
        """Lowest and highest number that is drawn."""
        factor = math.exp(CUT * self.spread)
        return self.median / factor, self.median * factor


@dataclass(frozen=True)
class Uniform:
    """Any number between two, all equally likely."""

    kind: ClassVar[str] = "uniform"
    low: float = key(dataclasses.MISSING, "lowest")
    high: float = key(dataclasses.MISSING, "highest")

    def __post_init__(self) -> None:
        require_finite("randomise", low=self.low, high=self.high)
        if self.low > self.high:
            raise ConfigError(f"randomise: low {self.low} exceeds high {self.high}.")

    @property
    def middle(self) -> float:
        """The mean."""
        return (self.low + self.high) / 2

    @property
    def range(self) -> tuple[float, float]:
        """Lowest and highest number that is drawn."""
        return self.low, self.high


Spread: TypeAlias = float | Normal | Lognormal | Uniform
"""A number, or a distribution of it."""


def middle(spread: Spread) -> float:
    """The number, or the middle of its distribution."""
    return spread if isinstance(spread, (int, float)) else spread.middle


def bounds(spread: Spread) -> tuple[float, float]:
    """Lowest and highest number that is drawn."""
    return (spread, spread) if isinstance(spread, (int, float)) else spread.range


def extreme(spread: Spread) -> float:
    """The number furthest from 0 that is drawn."""
    return max(bounds(spread), key=abs)


def _check_range(where: str, spread: Spread, positive: bool) -> None:
    low, high = bounds(spread)
    if not (math.isfinite(low) and math.isfinite(high)):
        raise ConfigError(f"randomise: {where} must be finite, got {spread}.")
    if low < 0 or (positive and low == 0):
        least = "positive" if positive else "at least 0"
        raise ConfigError(
            f"randomise: {where} can be {low:.4g}, but must be {least}; take a lognormal "
            "distribution or a narrower one."
        )


@dataclass(frozen=True)
class SpeciesRange:
    """What is not known of a species; what is left out stays as the world has it."""

    name: str = key("", "of which species; of all if left out")
    speed_gain: Spread | None = key(None, "true speed over commanded speed")
    turn_gain: Spread | None = key(None, "true turn rate over commanded one")
    diffusion: Spread | None = key(None, "translational diffusion coefficient, in µm²/s")
    rotational_diffusion: Spread | None = key(None, "rotational one, in 1/s")
    slope: Spread | None = key(None, "of the speed over the power of light, see the actuator")
    threshold: Spread | None = key(None, "power below which nothing swims")
    speed_max: Spread | None = key(None, "speed at which light saturates, in µm/s")
    steering: Spread | None = key(None, "turning by the offset of a spot, see the actuator")

    def __post_init__(self) -> None:
        for name in ("diffusion", "rotational_diffusion", "slope", "speed_max", "threshold"):
            value = getattr(self, name)
            if value is not None:
                _check_range(name, value, positive=name != "threshold")


@dataclass(frozen=True)
class Randomise:
    """What is not known of a world; what is left out stays as the world has it.

    Every swarm draws one number for each, independently of the others.
    """

    species: tuple[SpeciesRange, ...] = key((), "numbers of the species")
    delay: Spread | None = key(None, "from a command to its effect, in s")
    drift: tuple[Spread, ...] = key((), "velocity of a flow that carries all, an axis each, µm/s")
    position_noise: Spread | None = key(None, "error of a tracked position along an axis, in µm")
    heading_noise: Spread | None = key(None, "error of a tracked heading, in rad")

    def __post_init__(self) -> None:
        for name in ("delay", "position_noise", "heading_noise"):
            value = getattr(self, name)
            if value is not None:
                _check_range(name, value, positive=False)
        names = [s.name for s in self.species]
        if len(set(names)) != len(names) or ("" in names and len(names) > 1):
            raise ConfigError(
                f"randomise: name every species once, or let one entry be for all; got {names}."
            )

    def of(self, species: Species) -> SpeciesRange:
        """What is not known of a species."""
        return next((s for s in self.species if s.name in ("", species.name)), SpeciesRange())


def delay_length(randomise: Randomise, interval: float) -> int:
    """Control intervals that the longest delay takes, rounded up; 0 without a delay."""
    if randomise.delay is None:
        return 0
    return math.ceil(bounds(randomise.delay)[1] / interval - 1e-9)


def delay_weights(delay: float, interval: float, length: int) -> tuple[float, ...]:
    """Probabilities of 0, ..., `length` intervals with the mean `delay` s: of the two next to it.

    Commands that hold for an interval and come late by part of it are, on average, a mixture of the
    two before; drawn at random the mixture is right on average and adds a little noise.

    >>> delay_weights(0.25, 0.1, 3)
    (0.0, 0.0, 0.5, 0.5)
    """
    late = min(max(delay / interval, 0.0), float(length))
    return tuple(max(0.0, 1 - abs(k - late)) for k in range(length + 1))


def middle_world(
    world: World,
    randomise: Randomise,
    interval: float,
    pick: Callable[[Spread], float] = middle,
) -> World:
    """The world with the middle of every distribution, and with room for all that can be drawn.

    `interval` is the control interval in s; `pick` chooses other numbers than the middle. Raises
    ConfigError or UnknownNameError for what does not fit the world.
    """
    known = [s.name for s in world.species]
    for entry in randomise.species:
        if entry.name and entry.name not in known:
            raise UnknownNameError(
                f"randomise: unknown species {entry.name!r}. {nearest(entry.name, known)}"
            )
    species = tuple(_species(world, s, randomise.of(s), pick) for s in world.species)
    found = world.disturbances or Disturbances()
    changes: dict[str, Any] = {}
    if randomise.delay is not None:
        length = max(delay_length(randomise, interval), 1)
        weights = delay_weights(pick(randomise.delay), interval, length)
        changes["delay"] = Delay(probabilities=weights)
    if randomise.drift:
        drift = found.drift or Drift()
        velocity = tuple(pick(part) for part in randomise.drift)
        changes["drift"] = dataclasses.replace(drift, velocity=velocity)
    errors = {
        name: pick(spread)
        for name, spread in (
            ("position", randomise.position_noise),
            ("heading", randomise.heading_noise),
        )
        if spread is not None
    }
    if errors:
        changes["localisation"] = dataclasses.replace(
            found.localisation or Localisation(), **errors
        )
    disturbances = dataclasses.replace(found, **changes) if changes else world.disturbances
    return dataclasses.replace(world, species=species, disturbances=disturbances)


def _species(
    world: World, species: Species, entry: SpeciesRange, pick: Callable[[Spread], float]
) -> Species:
    where = f"randomise: species {species.name!r}"
    changes: dict[str, Any] = {}
    for name in ("speed_gain", "turn_gain"):
        if (spread := getattr(entry, name)) is not None:
            changes[name] = pick(spread)
    thermal = world.fluid.thermal_energy
    pairs = (("diffusion", "friction"), ("rotational_diffusion", "rotational_friction"))
    for name, friction in pairs:
        spread = getattr(entry, name)
        if spread is None:
            continue
        if thermal == 0:
            raise ConfigError(f"{where}: {name} needs a temperature above 0.")
        if species.uniaxial:
            raise ConfigError(f"{where}: {name} can be given of spheres only.")
        changes[friction] = thermal / pick(spread)
    light: dict[str, Any] = {
        name: pick(spread)
        for name in ("slope", "threshold", "steering")
        if (spread := getattr(entry, name)) is not None
    }
    if light and species.actuator is None:
        raise ConfigError(
            f"{where}: {', '.join(light)} belong to light, which does not drive it; give it an "
            "actuator."
        )
    if entry.speed_max is not None:
        changes["speed_max"] = pick(entry.speed_max)
    if light:
        changes["actuator"] = dataclasses.replace(species.actuator or Actuator(), **light)
    return dataclasses.replace(species, **changes)
