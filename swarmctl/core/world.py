"""What is simulated or watched.

Box, fluid, species, contacts. Plain values, hashable, no arrays, no JAX.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from swarmctl.core.config import key
from swarmctl.core.errors import ConfigError, PlacementError
from swarmctl.core.units import BOLTZMANN

Boundary = Literal["periodic", "open", "hard"]


def _require_positive(where: str, **values: float | None) -> None:
    for name, value in values.items():
        if value is not None and not (math.isfinite(value) and value > 0):
            raise ConfigError(f"{where}: {name} must be positive and finite, got {value}.")


@dataclass(frozen=True)
class Fluid:
    """A Newtonian fluid at rest."""

    viscosity: float = key(1e-3, "dynamic viscosity", "Pa*s")
    temperature: float = key(300.0, "temperature; 0 switches thermal noise off", "K")

    def __post_init__(self) -> None:
        _require_positive("fluid", viscosity=self.viscosity)
        if not (math.isfinite(self.temperature) and self.temperature >= 0):
            raise ConfigError(f"fluid: temperature must be at least 0 K, got {self.temperature}.")

    @property
    def thermal_energy(self) -> float:
        """k_B T in pN µm."""
        return BOLTZMANN * self.temperature


@dataclass(frozen=True)
class Box:
    """A rectangular box [0, L) per axis, its number of lengths being the dimension (2 or 3)."""

    size: tuple[float, ...] = key((1000.0, 1000.0), "side lengths, 2 or 3 of them", "um")
    boundary: Boundary | tuple[Boundary, ...] = key(
        "periodic", "periodic, open or hard; one for all axes or one per axis"
    )

    def __post_init__(self) -> None:
        if len(self.size) not in (2, 3):
            raise ConfigError(f"box: size needs 2 or 3 lengths, got {len(self.size)}.")
        for length in self.size:
            _require_positive("box", size=length)
        for kind in self.boundaries:
            if kind not in ("periodic", "open", "hard"):
                raise ConfigError(f"box: boundary {kind!r}; allowed: periodic, open, hard.")
        if len(self.boundaries) != self.dimension:
            raise ConfigError(
                f"box: {len(self.boundaries)} boundaries for {self.dimension} axes; "
                "give one for all or one per axis."
            )

    @property
    def dimension(self) -> int:
        """2 or 3."""
        return len(self.size)

    @property
    def boundaries(self) -> tuple[Boundary, ...]:
        """The boundary of every axis."""
        if isinstance(self.boundary, str):
            return (self.boundary,) * len(self.size)
        return self.boundary

    @property
    def periodic(self) -> tuple[bool, ...]:
        """Which axes are periodic."""
        return tuple(kind == "periodic" for kind in self.boundaries)


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
            _require_positive("placement", radius=self.radius)
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
    """One kind of spherical colloid and what it can do at most."""

    name: str = key("colloid", "name, unique in the world")
    count: int = key(10, "number of colloids")
    radius: float = key(1.0, "radius", "um")
    friction: float | None = key(None, "translational friction; 6 pi eta a if left out", "pN*s/um")
    rotational_friction: float | None = key(
        None, "rotational friction; 8 pi eta a^3 if left out", "pN*s*um"
    )
    speed_max: float = key(5.0, "highest swim speed", "um/s")
    speed_min: float = key(0.0, "lowest swim speed; negative if it can swim backwards", "um/s")
    turn_rate_max: float = key(2 * math.pi, "highest turn rate, either way", "rad/s")
    placement: Placement = key(Placement(), "where it starts")

    def __post_init__(self) -> None:
        where = f"species {self.name!r}"
        _require_positive(
            where,
            radius=self.radius,
            friction=self.friction,
            rotational_friction=self.rotational_friction,
        )
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


@dataclass(frozen=True)
class World:
    """Box, fluid and species with the time step of their motion.

    The default contact energy is max(k_B T, γ v_max (r_i + r_j)), so that a pushing swimmer sinks
    in by about 1 % of a diameter.
    """

    box: Box = key(Box(), "box and boundaries")
    fluid: Fluid = key(Fluid(), "the fluid")
    species: tuple[Species, ...] = key((Species(),), "the species table")
    time_step: float = key(1e-3, "time step of the motion", "s")
    contacts: bool = key(True, "colloids repel one another (WCA)")
    contact_energy: float | None = key(
        None, "WCA energy; max(k_B T, friction*speed_max*(r_i+r_j)) if left out", "pN*um"
    )

    def __post_init__(self) -> None:
        _require_positive("world", time_step=self.time_step, contact_energy=self.contact_energy)
        if not self.species:
            raise ConfigError("world: at least one species is needed.")
        names = [species.name for species in self.species]
        if len(set(names)) != len(names):
            raise ConfigError(f"world: species names must be unique, got {names}.")
        for species in self.species:
            self._check_placement(species)

    def _check_placement(self, species: Species) -> None:
        dimension = self.box.dimension
        placement, where = species.placement, f"species {species.name!r}"
        for label, points in (("position", placement.positions), ("director", placement.directors)):
            for point in points:
                if not all(math.isfinite(x) for x in point):
                    raise ConfigError(f"{where}: a {label} is not finite: {point}.")
                if len(point) != dimension:
                    raise ConfigError(
                        f"{where}: a {label} has {len(point)} numbers in a {dimension}D box."
                    )
            if points and len(points) != species.count:
                raise ConfigError(f"{where}: {len(points)} {label}s for {species.count} colloids.")
        if any(all(x == 0 for x in director) for director in placement.directors):
            raise ConfigError(f"{where}: a director has no length; give a direction.")
        if placement.centre is not None and len(placement.centre) != dimension:
            raise ConfigError(
                f"{where}: centre has {len(placement.centre)} numbers in a {dimension}D box."
            )
        self._check_box(species)
        self._check_room(species)

    def _check_box(self, species: Species) -> None:
        """Refuse boxes in which a colloid sticks out or meets itself."""
        where, diameter = f"species {species.name!r}", 2 * species.radius
        largest = max(other.radius for other in self.species)
        for axis, (length, kind) in enumerate(zip(self.box.size, self.box.boundaries, strict=True)):
            if kind == "hard" and length < diameter:
                raise ConfigError(
                    f"{where}: its diameter of {diameter:g} µm does not fit between hard faces "
                    f"{length:g} µm apart (axis {axis}); enlarge the box."
                )
            if kind == "periodic" and self.contacts and length <= 2 * (species.radius + largest):
                raise ConfigError(
                    f"{where}: a periodic box of {length:g} µm (axis {axis}) is too small for the "
                    f"minimum image: it must exceed twice the largest contact distance, "
                    f"{2 * (species.radius + largest):g} µm."
                )
        self._check_ball(species)

    def _check_ball(self, species: Species) -> None:
        placement = species.placement
        if placement.region != "ball":
            return
        assert placement.radius is not None
        centre = placement.centre or tuple(length / 2 for length in self.box.size)
        for axis, kind in enumerate(self.box.boundaries):
            reach = placement.radius + species.radius
            low, high = centre[axis] - reach, centre[axis] + reach
            if kind == "hard" and (low < 0 or high > self.box.size[axis]):
                raise ConfigError(
                    f"species {species.name!r}: a ball of radius {placement.radius:g} µm around "
                    f"{centre} µm reaches past a hard face (axis {axis}); take a smaller radius."
                )

    def _check_room(self, species: Species) -> None:
        """Refuse what cannot fit: random placement works up to these volume fractions."""
        dimension, placement = self.box.dimension, species.placement
        if not self.contacts or placement.region == "points":
            return
        if placement.region == "ball":
            assert placement.radius is not None
            room = _ball_volume(placement.radius + species.radius, dimension)
            inner = placement.inner_radius - species.radius
            room -= _ball_volume(inner, dimension) if inner > 0 else 0.0
            place = f"a {'disc' if dimension == 2 else 'ball'} of radius {placement.radius:g} µm"
        else:
            room, place = math.prod(self.box.size), f"a box of {self.box.size} µm"
        filled = species.count * _ball_volume(species.radius, dimension)
        allowed = 0.7 if dimension == 2 else 0.5
        if filled > allowed * room:
            most = int(allowed * room / _ball_volume(species.radius, dimension))
            raise PlacementError(
                f"species {species.name!r}: {species.count} colloids of radius {species.radius:g} "
                "µm do not fit "
                f"in {place}: at most {most} can be placed at random without overlap. "
                "Take fewer or smaller colloids, or more room."
            )

    @property
    def dimension(self) -> int:
        """2 or 3."""
        return self.box.dimension

    @property
    def capacity(self) -> int:
        """Number of colloid slots N."""
        return sum(species.count for species in self.species)

    @property
    def species_of_slot(self) -> tuple[int, ...]:
        """Index into the species table for every slot."""
        return tuple(i for i, species in enumerate(self.species) for _ in range(species.count))

    def friction(self, species: Species) -> float:
        """γ in pN s/µm; Stokes' 6πηa unless given."""
        if species.friction is not None:
            return species.friction
        return 6 * math.pi * self.fluid.viscosity * species.radius

    def rotational_friction(self, species: Species) -> float:
        """γ_r in pN s µm; 8πηa³ unless given."""
        if species.rotational_friction is not None:
            return species.rotational_friction
        return 8 * math.pi * self.fluid.viscosity * species.radius**3

    def diffusion(self, species: Species) -> float:
        """D_t = k_B T/γ in µm²/s."""
        return self.fluid.thermal_energy / self.friction(species)

    def rotational_diffusion(self, species: Species) -> float:
        """D_r = k_B T/γ_r in 1/s."""
        return self.fluid.thermal_energy / self.rotational_friction(species)


def _ball_volume(radius: float, dimension: int) -> float:
    return math.pi * radius**2 if dimension == 2 else 4 / 3 * math.pi * radius**3


def steps_per_interval(interval: float, time_step: float) -> int:
    """Number of time steps in a control interval. Raises ConfigError unless it is a whole number.

    >>> steps_per_interval(0.1, 0.001)
    100
    """
    _require_positive("control interval", interval=interval, time_step=time_step)
    ratio = interval / time_step
    steps = round(ratio)
    if steps < 1 or abs(ratio - steps) > 1e-6 * max(steps, 1):
        lower, upper = max(1, math.floor(ratio)), max(1, math.ceil(ratio))
        raise ConfigError(
            f"control interval {interval:g} s is {ratio:.6g} time steps of {time_step:g} s; it "
            "must be a whole number. "
            f"Nearest time steps that fit: {interval / upper:.6g} s or {interval / lower:.6g} s."
        )
    return steps
