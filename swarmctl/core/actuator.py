"""How light drives a species: from the power and place of a spot to swimming and turning."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from swarmctl.core.config import key
from swarmctl.core.errors import ConfigError, require_positive

__all__ = ["Actuator"]


@dataclass(frozen=True)
class Actuator:
    """What illumination does to the colloids of a species, and what the light source can do.

    With P the power that reaches a colloid, it swims at v = slope (P - threshold), not below 0 and
    saturating at the species' speed_max; and it turns at steering v/a² (n̂ × d) for a spot whose
    centre is d away from a colloid of radius a. Powers are in W/µm² or, throughout, in the
    laboratory's unit.
    """

    slope: float = key(1.0, "swim speed per power above the threshold", "um^3/W/s")
    threshold: float = key(0.0, "power below which nothing swims", "W/um^2")
    saturation: Literal["sharp", "smooth"] = key(
        "sharp", "sharp: min(v, speed_max); smooth: speed_max (1 - exp(-v/speed_max))"
    )
    gain_spread: float = key(
        0.0, "relative standard deviation of the slope from colloid to colloid (lognormal)"
    )
    rise_time: float = key(0.0, "time constant of the response when power rises", "s")
    fall_time: float = key(0.0, "time constant of the response when power falls", "s")
    steering: float = key(
        0.0, "turning by the offset of the spot; positive: towards it, negative: away from it"
    )
    spot: Literal["gaussian", "top-hat"] = key(
        "gaussian", "profile of a spot: exp(-2 d^2/w^2), or even up to d = w"
    )
    spot_radius: float | None = key(
        None,
        "radius w of a spot; if left out, a spot lights its own colloid alone and evenly",
        "um",
    )
    sharing: Literal["none", "time"] = key(
        "none", "time: one beam visits all lit colloids in turn, each has 1/n of the time"
    )
    dwell: float = key(0.0, "shortest time of a shared beam on a colloid, per interval", "s")
    power_max: float = key(10.0, "highest power on a colloid", "W/um^2")
    power_total: float | None = key(
        None, "highest power summed over the species; any if left out", "W/um^2"
    )
    offset_max: float = key(5.0, "largest offset of a spot from its colloid", "um")
    turning_needs_light: bool = key(
        False, "a commanded turn rate is done only of colloids that are lit or swim"
    )

    def __post_init__(self) -> None:
        where = "actuator"
        require_positive(
            where,
            slope=self.slope,
            power_max=self.power_max,
            power_total=self.power_total,
            spot_radius=self.spot_radius,
        )
        for name in (
            "threshold", "gain_spread", "rise_time", "fall_time", "dwell", "offset_max",
        ):  # fmt: skip
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise ConfigError(f"{where}: {name} must be at least 0 and finite, got {value}.")
        if not math.isfinite(self.steering):
            raise ConfigError(f"{where}: steering must be finite, got {self.steering}.")
        choices = {
            "saturation": ("sharp", "smooth"),
            "spot": ("gaussian", "top-hat"),
            "sharing": ("none", "time"),
        }
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise ConfigError(
                    f"{where}: {name} {getattr(self, name)!r}; allowed: {', '.join(allowed)}."
                )
        if self.threshold >= self.power_max:
            raise ConfigError(
                f"{where}: threshold {self.threshold:g} is not below power_max "
                f"{self.power_max:g}, so nothing would ever swim; raise power_max."
            )
        if self.dwell > 0 and self.sharing == "none":
            raise ConfigError(
                f"{where}: a dwell of {self.dwell:g} s belongs to a shared beam; "
                "set sharing to time, or leave dwell out."
            )
