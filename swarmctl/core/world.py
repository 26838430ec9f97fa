"""What is simulated or watched.

Box, fluid, species, contacts. Plain values, hashable, no arrays, no JAX.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from swarmctl.core.bodies import Body
from swarmctl.core.config import key
from swarmctl.core.disturbances import Disturbances
from swarmctl.core.errors import ConfigError, PlacementError, require_positive
from swarmctl.core.fields import Flow, Potential, check_fields
from swarmctl.core.friction import AxialFriction, spheroid_friction
from swarmctl.core.grids import Chemical, check_chemicals
from swarmctl.core.hydrodynamics import Hydrodynamics
from swarmctl.core.species import Placement, Species
from swarmctl.core.units import BOLTZMANN
from swarmctl.core.wall_geometry import WallGeometry, compile_walls
from swarmctl.core.walls import Wall

__all__ = [
    "Body",
    "Boundary",
    "Box",
    "Fluid",
    "GlobalField",
    "Placement",
    "Species",
    "World",
    "steps_per_interval",
]

Boundary = Literal["periodic", "open", "hard"]


@dataclass(frozen=True)
class Fluid:
    """A Newtonian fluid at rest."""

    viscosity: float = key(1e-3, "dynamic viscosity", "Pa*s")
    temperature: float = key(300.0, "temperature; 0 switches thermal noise off", "K")

    def __post_init__(self) -> None:
        require_positive("fluid", viscosity=self.viscosity)
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
            require_positive("box", size=length)
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
class GlobalField:
    """What the coils or electrodes can do at most; commands of a field are held against it.

    Magnetic in mT with moments in pN µm/mT; for an electric field read mT as its unit throughout.
    """

    strength_max: float = key(10.0, "largest strength of bias and amplitude together", "mT")
    gradient_max: float = key(0.0, "largest gradient (Frobenius norm)", "mT/um")
    frequency_max: float = key(100.0, "highest frequency", "Hz")

    def __post_init__(self) -> None:
        require_positive("field", strength_max=self.strength_max, frequency_max=self.frequency_max)
        if not (math.isfinite(self.gradient_max) and self.gradient_max >= 0):
            raise ConfigError(f"field: gradient_max must be at least 0, got {self.gradient_max}.")


@dataclass(frozen=True)
class World:
    """Box, fluid, species and bodies with the time step of their motion.

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
    bodies: tuple[Body, ...] = key((), "rigid bodies")
    walls: tuple[Wall, ...] = key((), "walls: segments, circles, polygons, mazes")
    flows: tuple[Flow, ...] = key((), "flows of the fluid; several add")
    potentials: tuple[Potential, ...] = key((), "traps and other potentials; several add")
    chemicals: tuple[Chemical, ...] = key((), "substances that diffuse, decay and are secreted")
    hydrodynamics: Hydrodynamics | None = key(None, "flows between colloids, if resolved")
    field: GlobalField | None = key(None, "a global magnetic or electric field, if there is one")
    dynamics: Literal["brownian", "langevin"] = key(
        "brownian", "brownian: overdamped; langevin: with mass and inertia"
    )
    disturbances: Disturbances | None = key(None, "drift, sticking, delay, errors of tracking, ...")

    def __post_init__(self) -> None:
        require_positive("world", time_step=self.time_step, contact_energy=self.contact_energy)
        if not self.species:
            raise ConfigError("world: at least one species is needed.")
        names = [s.name for s in self.species] + [b.name for b in self.bodies]
        if len(set(names)) != len(names):
            raise ConfigError(f"world: names of species and bodies must be unique, got {names}.")
        for species in self.species:
            self._check_placement(species, f"species {species.name!r}")
            if species.force and len(species.force) != self.dimension:
                raise ConfigError(
                    f"species {species.name!r}: force has {len(species.force)} numbers in a "
                    f"{self.dimension}D box."
                )
            if self.walls and self.dimension == 3 and species.aspect_ratio < 1:
                raise ConfigError(
                    f"species {species.name!r}: oblate spheroids do not touch walls in 3D; "
                    "use an aspect_ratio of at least 1, or hard box faces instead of walls."
                )
            self._check_box(species)
            self._check_room(species)
        self.wall_geometry  # noqa: B018 - refuses walls that do not fit
        check_fields(self.flows, self.potentials, self.box, tuple(s.name for s in self.species))
        check_chemicals(self.chemicals, self.box, len(self.species))
        if self.disturbances is not None:
            self.disturbances.check(self.dimension)
        if self.hydrodynamics is not None:
            self.hydrodynamics.check(self.dimension)
        for body in self.bodies:
            body.check(self.dimension)
            self._check_placement(body, f"body {body.name!r}")
            self._check_body_box(body)

    def _check_placement(self, species: Species | Body, where: str) -> None:
        dimension = self.box.dimension
        placement = species.placement
        things = "colloids" if isinstance(species, Species) else "bodies"
        for label, points in (("position", placement.positions), ("director", placement.directors)):
            for point in points:
                if not all(math.isfinite(x) for x in point):
                    raise ConfigError(f"{where}: a {label} is not finite: {point}.")
                if len(point) != dimension:
                    raise ConfigError(
                        f"{where}: a {label} has {len(point)} numbers in a {dimension}D box."
                    )
            if points and len(points) != species.count:
                raise ConfigError(f"{where}: {len(points)} {label}s for {species.count} {things}.")
        if any(all(x == 0 for x in director) for director in placement.directors):
            raise ConfigError(f"{where}: a director has no length; give a direction.")
        if placement.centre is not None and len(placement.centre) != dimension:
            raise ConfigError(
                f"{where}: centre has {len(placement.centre)} numbers in a {dimension}D box."
            )

    def _check_body_box(self, body: Body) -> None:
        """Refuse boxes in which a body meets itself or does not fit."""
        thickest = max(
            [2 * other.radius * max(1, other.aspect_ratio) for other in self.species]
            + [2 * other.bead_radius for other in self.bodies]
        )
        for axis, (length, kind) in enumerate(zip(self.box.size, self.box.boundaries, strict=True)):
            needed = 2 * body.reach + (thickest if kind == "periodic" else 0)
            if kind != "open" and length < needed and not (axis == 2 and kind == "hard"):
                raise ConfigError(
                    f"body {body.name!r}: it is {2 * body.reach:g} µm across and needs "
                    f"{needed:g} µm on axis {axis}, where the box has {length:g} µm; "
                    "enlarge the box."
                )

    def _check_box(self, species: Species) -> None:
        """Refuse boxes in which a colloid sticks out or meets itself."""
        where, diameter = f"species {species.name!r}", 2 * species.largest_radius
        largest = max(other.largest_radius for other in self.species)
        for axis, (length, kind) in enumerate(zip(self.box.size, self.box.boundaries, strict=True)):
            if kind == "hard" and length < diameter:
                raise ConfigError(
                    f"{where}: its diameter of {diameter:g} µm does not fit between hard faces "
                    f"{length:g} µm apart (axis {axis}); enlarge the box."
                )
            if (
                kind == "periodic"
                and self.contacts
                and length <= 2 * (species.largest_radius + largest)
            ):
                raise ConfigError(
                    f"{where}: a periodic box of {length:g} µm (axis {axis}) is too small for the "
                    f"minimum image: it must exceed twice the largest contact distance, "
                    f"{2 * (species.largest_radius + largest):g} µm."
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
    def wall_geometry(self) -> WallGeometry | None:
        """What the walls are made of, None without walls."""
        if not self.walls:
            return None
        radii = [s.largest_radius for s in self.species] + [b.bead_radius for b in self.bodies]
        return compile_walls(self.walls, self.box, max(radii) + max(w.half for w in self.walls))

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
        """γ in pN s/µm: 6πηa of a sphere, Perrin's across the director of a spheroid, or given."""
        if species.friction is not None:
            return species.friction
        if species.aspect_ratio == 1:
            return 6 * math.pi * self.fluid.viscosity * species.radius
        return self._perrin(species).across

    def friction_along(self, species: Species) -> float:
        """γ along the director in pN s/µm; equal to `friction` for spheres."""
        if species.friction_along is not None:
            return species.friction_along
        if species.aspect_ratio == 1:
            return self.friction(species)
        return self._perrin(species).along

    def rotational_friction(self, species: Species) -> float:
        """γ_r of the director in pN s µm: 8πηa³ of a sphere, Perrin's of a spheroid, or given."""
        if species.rotational_friction is not None:
            return species.rotational_friction
        if species.aspect_ratio == 1:
            return 8 * math.pi * self.fluid.viscosity * species.radius**3
        return self._perrin(species).rotation_across

    def _perrin(self, species: Species) -> AxialFriction:
        return spheroid_friction(species.radius, species.aspect_ratio, self.fluid.viscosity)

    def diffusion(self, species: Species) -> float:
        """D_t in µm²/s: k_B T/γ, averaged over the orientations of a spheroid."""
        across, along = (
            self.fluid.thermal_energy / friction
            for friction in (self.friction(species), self.friction_along(species))
        )
        return (along + (self.dimension - 1) * across) / self.dimension

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
    require_positive("control interval", interval=interval, time_step=time_step)
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
