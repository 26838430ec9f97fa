"""What a fit found: numbers with intervals, what could not be told and why, how well it fits.

A file of it is TOML that a person can read, and leads on to a world for `swarmctl simulate` and to
a section [randomise] for `swarmctl train`.
"""

from __future__ import annotations

import dataclasses
import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from swarmctl.core.config import build, dump_toml, key, to_dict
from swarmctl.core.errors import ConfigError, SwarmctlError
from swarmctl.core.randomise import Lognormal, Normal, Randomise, SpeciesRange, Spread, middle_world
from swarmctl.core.world import World
from swarmctl.records.files import write_text_atomic

UNITS = {
    "speed_gain": "",
    "slope": "um/s per power",
    "threshold": "power",
    "speed_max": "um/s",
    "turn_gain": "",
    "turn_bias": "rad/s",
    "steering": "",
    "diffusion": "um^2/s",
    "rotational_diffusion": "1/s",
    "drift_x": "um/s",
    "drift_y": "um/s",
    "delay": "s",
    "position_noise": "um",
    "heading_noise": "rad",
}
"""Every quantity that is fitted, with its unit."""
POSITIVE = frozenset({"diffusion", "rotational_diffusion", "slope", "speed_max"})
"""Quantities whose uncertainty is given as a factor."""


@dataclass(frozen=True)
class Quantity:
    """A fitted number with its 95 % interval, or why there is none.

    `deviation` is the standard error, over colloids; of the quantities in POSITIVE that of the
    logarithm.
    """

    name: str = key(dataclasses.MISSING, "what it is")
    unit: str = key("", "its unit")
    value: float | None = key(None, "the estimate")
    low: float | None = key(None, "lower end of the 95 % interval")
    high: float | None = key(None, "upper end of the 95 % interval")
    deviation: float | None = key(None, "standard error, of the logarithm for positive numbers")
    reason: str = key("", "why it could not be identified")

    def __post_init__(self) -> None:
        if self.name not in UNITS:
            raise ConfigError(f"identified: unknown quantity {self.name!r}.")
        if (self.value is None) == (not self.reason):
            raise ConfigError(f"identified: {self.name} needs a value or a reason, not both.")

    def spread(self) -> Spread:
        """Its distribution: lognormal for what is positive, else normal.

        Raises ConfigError if it was not identified.
        """
        if self.value is None or self.deviation is None:
            raise ConfigError(f"identified: {self.name} was not identified: {self.reason}.")
        if self.name in POSITIVE:
            return Lognormal(self.value, self.deviation)
        return Normal(self.value, self.deviation)


@dataclass(frozen=True)
class Check:
    """A check of the residuals: what it found, what it should be, and what a miss means."""

    name: str = key(dataclasses.MISSING, "what is checked")
    value: float = key(dataclasses.MISSING, "what was found")
    expected: float = key(dataclasses.MISSING, "what a good fit gives")
    tolerance: float = key(dataclasses.MISSING, "how far off chance alone leads, 99.9 %")
    meaning: str = key("", "what it means if it is further off")

    @property
    def passed(self) -> bool:
        """Whether it is within the tolerance."""
        return abs(self.value - self.expected) <= self.tolerance


@dataclass(frozen=True)
class SpeciesFit:
    """What was found of one species.

    `frames` is the median time between its frames in s.
    """

    name: str = key(dataclasses.MISSING, "name of the species")
    colloids: int = key(dataclasses.MISSING, "colloids (identities) that were used")
    time: float = key(dataclasses.MISSING, "time for which they were seen, summed", "s")
    frames: float = key(dataclasses.MISSING, "time between frames", "s")
    heading_seen: bool = key(True, "whether headings were seen")
    quantities: tuple[Quantity, ...] = key((), "what was fitted")
    checks: tuple[Check, ...] = key((), "how well it fits")

    def __getitem__(self, name: str) -> Quantity:
        for quantity in self.quantities:
            if quantity.name == name:
                return quantity
        found = ", ".join(q.name for q in self.quantities)
        raise ConfigError(f"identified: species {self.name!r} has no {name!r}; it has {found}.")


@dataclass(frozen=True)
class Identified:
    """What was found in a recording."""

    recording: str = key("", "the recording")
    commands: str = key("applied", "which commands were taken: applied or requested")
    radius: tuple[float, ...] = key((), "radius of every species, where it was needed", "um")
    species: tuple[SpeciesFit, ...] = key((), "one entry per species")
    left_out: tuple[str, ...] = key((), "what of the recording was not used")

    def save(self, path: str | Path) -> None:
        """Write it as TOML. Raises RecordError if it cannot be written."""
        write_text_atomic(Path(path), dump_toml(to_dict(self)))

    def randomise(self) -> Randomise:
        """Distributions of all that was identified, for domain randomisation.

        What all species share (delay, drift, errors) is their mean, weighted by precision. Gains
        and threshold are normal, what is positive is lognormal; they are independent, although the
        estimates are correlated a little. A delay or a noise that might be 0 is cut there.
        """
        entries, shared = [], {}
        for fit in self.species:
            names = [f.name for f in dataclasses.fields(SpeciesRange) if f.name != "name"]
            known = {q.name: q for q in fit.quantities if q.value is not None}
            found = {name: known[name].spread() for name in names if name in known}
            if isinstance(spread := found.get("threshold"), Normal):
                found["threshold"] = _at_least_zero(spread)
            entries.append(SpeciesRange(fit.name, **found))
        for name in ("delay", "drift_x", "drift_y", "position_noise", "heading_noise"):
            spread = self._pooled(name)
            if spread is not None:
                shared[name] = spread
        drift = tuple(shared[n] for n in ("drift_x", "drift_y") if n in shared)
        rest = {
            name: _at_least_zero(shared[name])
            for name in ("delay", "position_noise", "heading_noise")
            if name in shared
        }
        return Randomise(tuple(entries), drift=drift if len(drift) == 2 else (), **rest)

    def _pooled(self, name: str) -> Normal | None:
        values, weights = [], []
        for fit in self.species:
            for quantity in fit.quantities:
                if quantity.name == name and quantity.value is not None and quantity.deviation:
                    values.append(quantity.value)
                    weights.append(quantity.deviation**-2)
        if not weights:
            return None
        total = sum(weights)
        mean = sum(v * w for v, w in zip(values, weights, strict=True)) / total
        return Normal(mean, total**-0.5)

    def world(self, base: World, interval: float) -> World:
        """`base` with everything that was identified: gains, friction, light, delay, drift, errors.

        `interval` is the control interval in s of what will be simulated. Raises UnknownNameError
        if the species are not those of the base, ConfigError for what does not fit it.
        """
        return middle_world(base, self.randomise(), interval)

    def describe(self) -> str:
        """A table for people."""
        lines = []
        for fit in self.species:
            lines.append(
                f"species {fit.name}: {fit.colloids} colloids, {fit.time:.0f} colloid-seconds, "
                f"headings {'seen' if fit.heading_seen else 'not seen'}"
            )
            untold: dict[str, list[str]] = {}
            for q in fit.quantities:
                if q.value is None:
                    untold.setdefault(q.reason, []).append(q.name)
                    continue
                interval = f"[{q.low:.4g}, {q.high:.4g}]"
                lines.append(f"  {q.name:<21} {q.value:>10.4g}  {interval} {q.unit}".rstrip())
            for reason, names in untold.items():
                lines.append(f"  not identified: {', '.join(names)}: {reason}")
            for check in fit.checks:
                if not check.passed:
                    lines.append(
                        f"  ! {check.name}: {check.value:.3g} instead of {check.expected:.3g} "
                        f"± {check.tolerance:.2g}: {check.meaning}"
                    )
        lines += [f"left out: {what}" for what in self.left_out]
        return "\n".join(lines)


def _at_least_zero(spread: Normal) -> Spread:
    """The same distribution, or, where it reaches below 0, a lognormal one of like extent."""
    if spread.range[0] >= 0:
        return spread
    # Near 0 the upper end is what is known.
    high = max(spread.range[1], 0.0)
    if high == 0:
        return 0.0
    median = max(spread.mean, high / 10)
    return Lognormal(median, math.log(high / median) / 3)


def load_identified(path: str | Path) -> Identified:
    """Read what `Identified.save` wrote. Raises ConfigError, which names the file."""
    try:
        with Path(path).open("rb") as file:
            tables: Mapping[str, Any] = tomllib.load(file)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read as TOML ({error}).") from None
    try:
        return build(Identified, tables)
    except SwarmctlError as error:
        raise type(error)(f"{path}: {error}") from None
