"""Rigid bodies of beads: rods, crosses, discs and polygons that colloids push and that diffuse.

A body moves as one: its beads keep their places in the body's frame, whose x axis is the director
that its placement gives. Translational friction differs between the body's axes; the centre is the
centre of friction, which for these shapes is the centroid.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np

from swarmctl.core.config import key
from swarmctl.core.errors import ConfigError, require_finite, require_positive
from swarmctl.core.friction import bead_friction
from swarmctl.core.species import Placement


@dataclass(frozen=True)
class Rod:
    """Beads in a row along the body's x axis."""

    kind: ClassVar[str] = "rod"
    length: float = key(100.0, "length from tip to tip", "um")
    diameter: float = key(5.0, "diameter of the beads", "um")
    beads: int | None = key(None, "number of beads; as many as fit side by side if left out")

    def __post_init__(self) -> None:
        require_positive("rod", length=self.length, diameter=self.diameter, beads=self.beads)
        if self.length < self.diameter:
            raise ConfigError(
                f"rod: its length of {self.length:g} µm is below its diameter of "
                f"{self.diameter:g} µm."
            )

    def outline(self) -> np.ndarray:
        """Centres [B,3] µm of the beads that colloids touch."""
        count = self.beads or max(1, round(self.length / self.diameter))
        half = (self.length - self.diameter) / 2
        x = np.linspace(-half, half, count) if count > 1 else np.zeros(1)
        return np.stack([x, 0 * x, 0 * x], axis=-1)

    @property
    def hole(self) -> float:
        """Radius in µm around the centre that the outline encloses, 0 if it is open."""
        return 0.0

    def filled(self) -> np.ndarray:
        """Centres [B,3] µm of the beads that the fluid feels."""
        return self.outline()


@dataclass(frozen=True)
class Cross:
    """Two equal rods at right angles, in the body's x-y plane."""

    kind: ClassVar[str] = "cross"
    length: float = key(60.0, "length of each bar from tip to tip", "um")
    diameter: float = key(5.0, "diameter of the beads", "um")

    def __post_init__(self) -> None:
        require_positive("cross", length=self.length, diameter=self.diameter)
        if self.length < 3 * self.diameter:
            raise ConfigError(
                f"cross: bars of {self.length:g} µm are below three bead diameters of "
                f"{self.diameter:g} µm."
            )

    def outline(self) -> np.ndarray:
        """Centres [B,3] µm of the beads that colloids touch."""
        half = (self.length - self.diameter) / 2
        arm = max(1, round(half / self.diameter))
        x = np.linspace(-half, half, 2 * arm + 1)
        bar = np.stack([x, 0 * x, 0 * x], axis=-1)
        return np.concatenate([bar, np.delete(bar, arm, axis=0)[:, [1, 0, 2]]])

    @property
    def hole(self) -> float:
        """Radius in µm around the centre that the outline encloses, 0 if it is open."""
        return 0.0

    def filled(self) -> np.ndarray:
        """Centres [B,3] µm of the beads that the fluid feels."""
        return self.outline()


@dataclass(frozen=True)
class Disc:
    """A flat disc in the body's x-y plane, its rim made of beads."""

    kind: ClassVar[str] = "disc"
    radius: float = key(15.0, "radius to the outer edge of the rim", "um")
    diameter: float = key(5.0, "diameter of the beads", "um")

    def __post_init__(self) -> None:
        require_positive("disc", radius=self.radius, diameter=self.diameter)
        if self.radius < self.diameter:
            raise ConfigError(
                f"disc: its radius of {self.radius:g} µm is below the bead diameter of "
                f"{self.diameter:g} µm."
            )

    def _ring(self, radius: float) -> np.ndarray:
        count = max(1, math.floor(math.pi / math.asin(min(1.0, self.diameter / 2 / radius))))
        angle = 2 * np.pi * np.arange(count) / count
        return np.stack([radius * np.cos(angle), radius * np.sin(angle), 0 * angle], axis=-1)

    def outline(self) -> np.ndarray:
        """Centres [B,3] µm of the beads that colloids touch."""
        return self._ring(self.radius - self.diameter / 2)

    @property
    def hole(self) -> float:
        """Radius in µm around the centre that the outline encloses, 0 if it is open."""
        return self.radius - self.diameter / 2

    def filled(self) -> np.ndarray:
        """Centres [B,3] µm of the beads that the fluid feels."""
        rim = self.radius - self.diameter / 2
        rings = [self._ring(r) for r in np.arange(rim, self.diameter * 0.75, -self.diameter)]
        return np.concatenate([*rings, np.zeros((1, 3))])


@dataclass(frozen=True)
class Ngon:
    """A flat regular polygon in the body's x-y plane, its edges made of beads."""

    kind: ClassVar[str] = "polygon"
    sides: int = key(3, "number of sides, 3 or more")
    radius: float = key(20.0, "distance of the corner beads' centres from the middle", "um")
    diameter: float = key(5.0, "diameter of the beads", "um")

    def __post_init__(self) -> None:
        require_positive("polygon", radius=self.radius, diameter=self.diameter)
        if self.sides < 3:
            raise ConfigError(f"polygon: {self.sides} sides; give 3 or more.")
        if 2 * self.radius * math.sin(math.pi / self.sides) < self.diameter:
            raise ConfigError(
                f"polygon: an edge of {2 * self.radius * math.sin(math.pi / self.sides):.3g} µm "
                f"is shorter than the bead diameter of {self.diameter:g} µm."
            )

    def _ring(self, radius: float) -> np.ndarray:
        angle = 2 * np.pi * np.arange(self.sides + 1) / self.sides
        corner = np.stack([radius * np.cos(angle), radius * np.sin(angle), 0 * angle], axis=-1)
        edge = 2 * radius * math.sin(math.pi / self.sides)
        count = max(1, math.floor(edge / self.diameter + 1e-9))
        part = np.arange(count)[None, :, None] / count
        return (corner[:-1, None] * (1 - part) + corner[1:, None] * part).reshape(-1, 3)

    def outline(self) -> np.ndarray:
        """Centres [B,3] µm of the beads that colloids touch."""
        return self._ring(self.radius)

    @property
    def hole(self) -> float:
        """Radius in µm around the centre that the outline encloses, 0 if it is open."""
        return self.radius * math.cos(math.pi / self.sides)

    def filled(self) -> np.ndarray:
        """Centres [B,3] µm of the beads that the fluid feels."""
        inset = self.diameter / math.cos(math.pi / self.sides)
        rings = [self._ring(r) for r in np.arange(self.radius, 0.75 * inset, -inset)]
        return np.concatenate([*rings, np.zeros((1, 3))])


Shape = Rod | Cross | Disc | Ngon


@lru_cache(maxsize=64)
def _bead_frictions(shape: Shape, viscosity: float) -> tuple[np.ndarray, np.ndarray]:
    found = bead_friction(shape.filled(), shape.diameter / 2, viscosity)
    return np.diag(found.translation), np.diag(found.rotation)


@dataclass(frozen=True)
class Body:
    """Rigid bodies of one shape.

    Friction that is left out is that of the beads in an unbounded fluid, with their hydrodynamic
    interaction (see `swarmctl.core.friction.bead_friction`).
    """

    name: str = key("rod", "name, unique in the world")
    shape: Shape = key(Rod(), "rod, cross, disc or polygon")
    count: int = key(1, "number of such bodies")
    pinned: bool = key(False, "the centre does not move; the body still turns")
    friction: tuple[float, ...] | None = key(
        None, "translational friction along the body's axes, one number each", "pN*s/um"
    )
    rotational_friction: tuple[float, ...] | None = key(
        None, "rotational friction: about z in 2D, about the body's axes in 3D", "pN*s*um"
    )
    density: float = key(1050.0, "mass density of the beads, for Langevin dynamics", "kg/m^3")
    force: tuple[float, ...] = key((), "constant force on every body, one number an axis", "pN")
    torque: tuple[float, ...] = key(
        (), "constant torque on every body: one number in 2D, three in 3D", "pN*um"
    )
    placement: Placement = key(Placement(), "where it starts; directors are its x axis")

    def __post_init__(self) -> None:
        where = f"body {self.name!r}"
        if self.count < 1:
            raise ConfigError(f"{where}: count must be at least 1, got {self.count}.")
        require_positive(where, density=self.density)
        for name in ("friction", "rotational_friction"):
            for value in getattr(self, name) or ():
                require_positive(where, **{name: value})
        require_finite(where, force=self.force, torque=self.torque)

    def check(self, dimension: int) -> None:
        """Raise ConfigError unless every vector has the right number of components."""
        turns = 1 if dimension == 2 else 3
        for name, wanted in (
            ("friction", dimension),
            ("rotational_friction", turns),
            ("force", dimension),
            ("torque", turns),
        ):
            value = getattr(self, name)
            if value and len(value) != wanted:
                raise ConfigError(
                    f"body {self.name!r}: {name} has {len(value)} numbers; "
                    f"{wanted} are needed in {dimension}D."
                )

    @property
    def bead_radius(self) -> float:
        """Radius of the beads in µm."""
        return self.shape.diameter / 2

    @property
    def reach(self) -> float:
        """Distance in µm from the centre to the farthest point of the surface."""
        return float(np.linalg.norm(self.shape.outline(), axis=-1).max()) + self.bead_radius

    def frictions(self, viscosity: float, dimension: int) -> tuple[np.ndarray, np.ndarray]:
        """Friction [D] pN s/µm along the body's axes, and [1 or 3] pN s µm about them."""
        translation: Any = self.friction
        rotation: Any = self.rotational_friction
        if translation is None or rotation is None:
            along, about = _bead_frictions(self.shape, viscosity)
            translation = along[:dimension] if translation is None else translation
            rotation = (about[2:] if dimension == 2 else about) if rotation is None else rotation
        return np.asarray(translation, float), np.asarray(rotation, float)

    def masses(self, dimension: int) -> tuple[float, np.ndarray]:
        """Mass in pN s²/µm and moments of inertia [1 or 3] pN s² µm about the body's axes."""
        beads, radius = self.shape.filled(), self.bead_radius
        bead = self.density * 1e-12 * 4 / 3 * math.pi * radius**3
        square = beads**2
        own = 0.4 * bead * radius**2
        about = np.array(
            [bead * (square.sum() - square[:, axis].sum()) + len(beads) * own for axis in range(3)]
        )
        return bead * len(beads), about[2:] if dimension == 2 else about
