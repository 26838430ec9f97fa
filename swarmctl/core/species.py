"""The kinds of colloids of a world: what they are, what they can do at most, where they start."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from swarmctl.core.actuator import Actuator
from swarmctl.core.config import key
from swarmctl.core.errors import ConfigError, require_finite, require_positive


@dataclass(frozen=True)
class Placement:
    """Where a species is before time 0. Directors are isotropic unless given."""

    region: Literal["box", "ball", "points"] = key(
        "box", "box: anywhere; ball: a disc (2D) or ball (3D); points: as listed"
    )
    centre: tuple[float, ...] | None = key(
        None, "centre of the ball; the box centre if left out", "um"
    )
    radius: float | None = key(None, "radius of the ball that holds the colloids' centres", "um")
    inner_radius: float = key(0.0, "centres stay out of this radius around the centre", "um")
    positions: tuple[tuple[float, ...], ...] = key(
        (), "one point per colloid, for region points", "um"
    )
    directors: tuple[tuple[float, ...], ...] = key((), "one director per colloid, any length but 0")

    def __post_init__(self) -> None:
        if self.region == "ball":
            if self.radius is None:
                raise ConfigError("placement: region ball needs a radius.")
            require_positive("placement", radius=self.radius)
            if not 0 <= self.inner_radius < self.radius:
                raise ConfigError(
                    f"placement: inner_radius {self.inner_radius} must lie in [0, {self.radius})."
                )
        if not self.inner_radius >= 0:
            raise ConfigError(
                f"placement: inner_radius must be at least 0, got {self.inner_radius}."
            )
        if self.region == "points" and not self.positions:
            raise ConfigError("placement: region points needs positions.")


@dataclass(frozen=True)
class Species:
    """One kind of colloid, a sphere or a spheroid, and what it can do at most.

    A spheroid has the radius across its director and aspect_ratio times that along it.
    """

    name: str = key("colloid", "name, unique in the world")
    count: int = key(10, "number of colloids")
    radius: float = key(1.0, "radius", "um")
    aspect_ratio: float = key(1.0, "length along the director over the width across it")
    friction: float | None = key(
        None, "translational friction; 6 pi eta a, or Perrin's across the director", "pN*s/um"
    )
    friction_along: float | None = key(
        None, "friction along the director; as across it for spheres, Perrin's else", "pN*s/um"
    )
    rotational_friction: float | None = key(
        None, "rotational friction; 8 pi eta a^3, or Perrin's for the director", "pN*s*um"
    )
    density: float = key(1050.0, "mass density, for Langevin dynamics", "kg/m^3")
    mass: float | None = key(None, "mass; of density and volume if left out", "pN*s^2/um")
    inertia: float | None = key(
        None, "moment of inertia across the director; of mass and shape if left out", "pN*s^2*um"
    )
    force: tuple[float, ...] = key((), "constant force on every colloid, one number an axis", "pN")
    magnetic_moment: float = key(0.0, "moment along the director, in a global field", "pN*um/mT")
    dipole: float = key(
        0.0, "force dipole at top speed, in hydrodynamics; positive for pushers", "pN*um"
    )
    rolling: float = key(0.0, "rolling coefficient: v = rolling * radius * spin x z at the floor")
    speed_max: float = key(5.0, "highest swim speed", "um/s")
    speed_min: float = key(0.0, "lowest swim speed; negative if it can swim backwards", "um/s")
    turn_rate_max: float = key(2 * math.pi, "highest turn rate, either way", "rad/s")
    speed_gain: float = key(1.0, "true speed over commanded speed")
    turn_gain: float = key(1.0, "true turn rate over commanded one; negative: the other way")
    placement: Placement = key(Placement(), "where it starts")
    actuator: Actuator | None = key(None, "how light drives it, if light does")

    def __post_init__(self) -> None:
        where = f"species {self.name!r}"
        require_positive(
            where,
            radius=self.radius,
            friction=self.friction,
            aspect_ratio=self.aspect_ratio,
            friction_along=self.friction_along,
            rotational_friction=self.rotational_friction,
            density=self.density,
            mass=self.mass,
            inertia=self.inertia,
        )
        if not 0.1 <= self.aspect_ratio <= 10:
            raise ConfigError(
                f"{where}: an aspect_ratio of {self.aspect_ratio:g} is out of range; spheroids go "
                "from 1/10 to 10. Use a rigid rod of beads for longer ones."
            )
        for name in ("magnetic_moment", "dipole", "rolling", "force", "speed_gain", "turn_gain"):
            require_finite(where, **{name: getattr(self, name)})
        if self.count < 1:
            raise ConfigError(f"{where}: count must be at least 1, got {self.count}.")
        if not (math.isfinite(self.speed_max) and self.speed_max >= 0):
            raise ConfigError(f"{where}: speed_max must be at least 0, got {self.speed_max}.")
        if not (math.isfinite(self.speed_min) and self.speed_min <= self.speed_max):
            raise ConfigError(
                f"{where}: speed_min {self.speed_min} exceeds speed_max {self.speed_max}."
            )
        if not (math.isfinite(self.turn_rate_max) and self.turn_rate_max >= 0):
            raise ConfigError(
                f"{where}: turn_rate_max must be at least 0, got {self.turn_rate_max}."
            )

    @property
    def uniaxial(self) -> bool:
        """Whether motion along the director differs from motion across it."""
        return self.aspect_ratio != 1 or self.friction_along is not None

    @property
    def volume(self) -> float:
        """Volume in µm³."""
        return 4 / 3 * math.pi * self.aspect_ratio * self.radius**3

    @property
    def largest_radius(self) -> float:
        """Longest semi-axis in µm."""
        return self.radius * max(1.0, self.aspect_ratio)

    @property
    def mass_or_default(self) -> float:
        """Mass in pN s²/µm (1e-6 kg)."""
        return self.mass if self.mass is not None else self.density * 1e-12 * self.volume

    @property
    def inertia_or_default(self) -> float:
        """Moment of inertia across the director in pN s² µm; of a homogeneous spheroid."""
        if self.inertia is not None:
            return self.inertia
        return self.mass_or_default * self.radius**2 * (1 + self.aspect_ratio**2) / 5
