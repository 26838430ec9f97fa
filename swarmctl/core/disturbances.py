"""What a laboratory adds to a world: drift, sticking, delay, and what the camera gets wrong.

Everything is off unless it is given.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

from swarmctl.core.config import key
from swarmctl.core.errors import ConfigError, require_positive

__all__ = [
    "Delay",
    "Disturbances",
    "Drift",
    "DroppedFrames",
    "Localisation",
    "Losses",
    "StageDrift",
    "Sticking",
]


def _at_least_zero(where: str, **values: float) -> None:
    for name, value in values.items():
        if not (math.isfinite(value) and value >= 0):
            raise ConfigError(f"{where}: {name} must be at least 0 and finite, got {value}.")


def _check_vector(where: str, name: str, vector: tuple[float, ...], dimension: int) -> None:
    if vector and len(vector) != dimension:
        raise ConfigError(f"{where}: {name} has {len(vector)} numbers in a {dimension}D box.")
    if not all(math.isfinite(x) for x in vector):
        raise ConfigError(f"{where}: {name} is not finite: {vector}.")


@dataclass(frozen=True)
class Drift:
    """A uniform flow that carries everything: a constant part and a slowly fluctuating one.

    The fluctuating part is an Ornstein-Uhlenbeck process along every axis, in equilibrium from the
    start. It is constant within a control interval, with the mean of the process there.
    """

    velocity: tuple[float, ...] = key((), "constant part, one number an axis", "um/s")
    amplitude: float = key(0.0, "standard deviation of the fluctuating part along an axis", "um/s")
    correlation_time: float = key(10.0, "correlation time of the fluctuating part", "s")

    def __post_init__(self) -> None:
        _at_least_zero("drift", amplitude=self.amplitude)
        require_positive("drift", correlation_time=self.correlation_time)

    def check(self, dimension: int) -> None:
        """Raise ConfigError if it does not fit a box."""
        _check_vector("drift", "velocity", self.velocity, dimension)


@dataclass(frozen=True)
class StageDrift:
    """The stage moves under the camera: what is observed shifts, what is true does not."""

    velocity: tuple[float, ...] = key((), "steady part, one number an axis", "um/s")
    diffusion: float = key(0.0, "diffusion coefficient of the random part", "um^2/s")

    def __post_init__(self) -> None:
        _at_least_zero("stage drift", diffusion=self.diffusion)

    def check(self, dimension: int) -> None:
        """Raise ConfigError if it does not fit a box."""
        _check_vector("stage drift", "velocity", self.velocity, dimension)


@dataclass(frozen=True)
class Sticking:
    """Colloids stick to the glass and come free again; stuck ones neither move nor turn."""

    on_rate: float = key(0.0, "rate at which a free colloid sticks", "1/s")
    off_rate: float = key(0.0, "rate at which a stuck colloid is released", "1/s")

    def __post_init__(self) -> None:
        _at_least_zero("sticking", on_rate=self.on_rate, off_rate=self.off_rate)


@dataclass(frozen=True)
class Delay:
    """A command acts some control intervals after it was given.

    Either always `intervals` of them, or each command draws its own number k with
    probabilities[k], k = 0, 1, ...; the newest command that has arrived acts. Until the first one
    arrives nothing is done.
    """

    intervals: int = key(0, "control intervals between giving a command and its effect")
    probabilities: tuple[float, ...] = key(
        (), "instead: probability of a delay of 0, 1, 2, ... intervals"
    )

    def __post_init__(self) -> None:
        if self.intervals < 0:
            raise ConfigError(f"delay: intervals must be at least 0, got {self.intervals}.")
        if not self.probabilities:
            return
        if self.intervals:
            raise ConfigError("delay: give either intervals or probabilities, not both.")
        for p in self.probabilities:
            if not (math.isfinite(p) and p >= 0):
                raise ConfigError(f"delay: a probability must be at least 0, got {p}.")
        if not math.isclose(sum(self.probabilities), 1, rel_tol=1e-6):
            raise ConfigError(
                f"delay: the probabilities add up to {sum(self.probabilities):g}; make it 1."
            )

    @property
    def distribution(self) -> tuple[float, ...]:
        """Probability of a delay of 0, 1, 2, ... intervals."""
        return self.probabilities or (0.0,) * self.intervals + (1.0,)


@dataclass(frozen=True)
class Localisation:
    """Errors of the tracking, new in every frame and independent: normal, the same for all axes."""

    position: float = key(0.0, "standard deviation of a position along an axis", "um")
    heading: float = key(0.0, "standard deviation of a heading, about each axis of turning", "rad")

    def __post_init__(self) -> None:
        _at_least_zero("localisation", position=self.position, heading=self.heading)


@dataclass(frozen=True)
class Losses:
    """Tracks are lost, and found again under a new identity. A lost colloid gets no commands."""

    lose_rate: float = key(0.0, "rate at which a track is lost", "1/s")
    find_rate: float = key(0.0, "rate at which a lost colloid is found again", "1/s")

    def __post_init__(self) -> None:
        _at_least_zero("losses", lose_rate=self.lose_rate, find_rate=self.find_rate)


@dataclass(frozen=True)
class DroppedFrames:
    """Some frames never arrive: the last one is seen again."""

    probability: float = key(0.0, "probability that a frame is dropped")

    def __post_init__(self) -> None:
        if not 0 <= self.probability < 1:
            raise ConfigError(
                f"dropped frames: probability must lie in [0, 1), got {self.probability}."
            )


@dataclass(frozen=True)
class Disturbances:
    """What disturbs motion, command and observation; each part is off if left out."""

    drift: Drift | None = key(None, "a uniform flow with fluctuations")
    sticking: Sticking | None = key(None, "colloids that stick for a while")
    delay: Delay | None = key(None, "commands act later")
    stage: StageDrift | None = key(None, "the observed positions drift")
    localisation: Localisation | None = key(None, "errors of observed positions and headings")
    losses: Losses | None = key(None, "tracks that are lost and found again")
    frames: DroppedFrames | None = key(None, "frames that are dropped")

    @property
    def none(self) -> bool:
        """Whether nothing is disturbed."""
        return all(getattr(self, f.name) is None for f in dataclasses.fields(self))

    def check(self, dimension: int) -> None:
        """Raise ConfigError if a part does not fit a box of `dimension` axes."""
        for part in (self.drift, self.stage):
            if part is not None:
                part.check(dimension)
