"""How commands of a swarm become orders to the outputs of a rig."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from swarmctl.bridge.orders import Profile
from swarmctl.core.config import key
from swarmctl.core.errors import ConfigError, require_positive

LIGHT_CHANNELS = ("speed", "turn_rate", "heading", "velocity", "power", "spot_offset")
FIELD_CHANNELS = ("field",)
DIRECT = frozenset({"power", "spot_offset"})


@dataclass(frozen=True)
class SteeringConfig:
    """Which output drives colloids, by which commands, and how."""

    output: str = key("light", "name of the output that drives colloids")
    channels: tuple[str, ...] = key(
        (),
        "commands that are taken: speed, turn_rate, heading, velocity; or power, spot_offset; or "
        "field. If left out: speed and turn_rate of light, field of other outputs",
    )
    spot_radius: float = key(3.0, "radius w of a spot in the sample", "um")
    profile: Profile = key("gaussian", "profile of a spot: exp(-2 d^2/w^2), or even up to d = w")
    feels: Literal["disc", "point"] = key(
        "disc",
        "disc: the mean light over a colloid, turned by the centre of that light; point: the light "
        "at its centre, turned by the offset of the spot",
    )
    turning: Literal["offset", "quadrants"] = key(
        "offset", "offset: one spot beside the centre; quadrants: four spots of unequal power"
    )
    quadrant_radius: float = key(1.0, "radius of a spot on a quadrant", "um")
    offset_max: float = key(2.0, "largest offset of a spot from its colloid", "um")
    turning_speed: float = key(
        0.0, "light turns only what swims: speed of a colloid that is asked to turn only", "um/s"
    )
    heading_time: float = key(0.5, "time in which a commanded heading is turned to", "s")
    lead: float | None = key(
        None, "spots are drawn where colloids will be; if left out, the measured delay", "s"
    )
    spot_error_max: float = key(
        3.0, "how far a projected spot may lie from where it should, px of the image"
    )
    blind: int = key(1, "frames in a row in which a colloid may be missing and keeps its light")
    bias: tuple[str, ...] = key((), "channels of the supply for steady currents, one per coil")
    amplitude: tuple[str, ...] = key((), "channels for amplitudes of currents, one per coil")
    phase: tuple[str, ...] = key((), "channels for phases of currents (rad), one per coil")
    frequency: str | None = key(None, "channel for the frequency of all currents (Hz)")

    def __post_init__(self) -> None:
        require_positive(
            "steering",
            spot_radius=self.spot_radius,
            quadrant_radius=self.quadrant_radius,
            heading_time=self.heading_time,
            spot_error_max=self.spot_error_max,
        )
        for name in ("offset_max", "turning_speed"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise ConfigError(f"steering: {name} is at least 0, got {value}.")
        if self.blind < 0:
            raise ConfigError(f"steering: blind is at least 0, got {self.blind}.")
        if self.lead is not None and not 0 <= self.lead <= 1:
            raise ConfigError(f"steering: lead is 0 to 1 s, got {self.lead}.")
        known = LIGHT_CHANNELS + FIELD_CHANNELS
        unknown = [name for name in self.channels if name not in known]
        if unknown:
            raise ConfigError(f"steering: channels {unknown}; allowed: {', '.join(known)}.")
        if DIRECT & set(self.channels) and set(self.channels) - DIRECT:
            raise ConfigError(
                f"steering: channels {self.channels}: power and spot_offset say what the light "
                "does, the others what colloids do; take one kind."
            )
        if "spot_offset" in self.channels and "power" not in self.channels:
            raise ConfigError("steering: spot_offset needs power, of which it is the place.")
        if self.turning == "quadrants" and self.feels == "point":
            raise ConfigError("steering: quadrants act on a disc; set feels to disc.")
        waves = (len(self.amplitude), len(self.phase))
        if any(waves) and (set(waves) != {len(self.bias)} or self.frequency is None):
            raise ConfigError(
                "steering: bias, amplitude and phase need one channel per coil each, and frequency "
                f"one; got {len(self.bias)}, {waves[0]}, {waves[1]} and {self.frequency!r}."
            )
