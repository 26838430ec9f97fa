"""What fills the box besides colloids: flows of the fluid, external potentials, sources of light or
of a chemical.

Several flows add, and so do several potentials. A centre that is left out is the box centre; places
are seen from the centre by the minimum image along periodic axes.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import MISSING, dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias

import numpy as np

from swarmctl.core.config import key
from swarmctl.core.errors import ConfigError, nearest, require_finite, require_positive
from swarmctl.core.grids import MATCH, Grid, content_key, load_function, owned, uncompared

if TYPE_CHECKING:
    from swarmctl.core.world import Box

GAUSSIAN_REACH = 5.0
"""Core radii from its centre at which a Gaussian vortex has died out: exp(-25) of its rate."""


def _one_of(where: str, name: str, value: str, *allowed: str) -> None:
    if value not in allowed:
        raise ConfigError(f"{where}: {name} {value!r}; allowed: {', '.join(allowed)}.")


def _lengths(where: str, box: Box, **values: tuple[float, ...] | None) -> None:
    for name, value in values.items():
        if value is not None and len(value) != box.dimension:
            raise ConfigError(
                f"{where}: {name} has {len(value)} numbers in a {box.dimension}D box."
            )


def _two_axes(where: str, box: Box, first: int, second: int) -> None:
    for axis in (first, second):
        if axis not in range(box.dimension):
            raise ConfigError(
                f"{where}: axis {axis} is not in a {box.dimension}D box; allowed: 0 to "
                f"{box.dimension - 1}."
            )
    if first == second:
        raise ConfigError(f"{where}: two different axes are needed, got {first} twice.")


def _no_jump(where: str, box: Box, axis: int) -> None:
    if box.periodic[axis]:
        raise ConfigError(
            f"{where}: its velocity would jump at the periodic face of axis {axis}; make the box "
            "open or hard along that axis, or take a flow that is periodic itself."
        )


@dataclass(frozen=True)
class UniformFlow:
    """The same velocity everywhere."""

    kind: ClassVar[str] = "uniform"
    velocity: tuple[float, ...] = key(MISSING, "velocity", "um/s")

    def __post_init__(self) -> None:
        require_finite("uniform flow", velocity=self.velocity)

    def check(self, box: Box) -> None:
        """Raise ConfigError unless the flow fits the box."""
        _lengths("uniform flow", box, velocity=self.velocity)


@dataclass(frozen=True)
class ShearFlow:
    """Simple shear: u = rate x (distance from the centre along `gradient_axis`) along `axis`."""

    kind: ClassVar[str] = "shear"
    rate: float = key(MISSING, "shear rate", "1/s")
    axis: int = key(0, "axis along which it flows")
    gradient_axis: int = key(1, "axis along which the velocity grows")
    centre: tuple[float, ...] | None = key(None, "where the fluid rests; the box centre", "um")

    def __post_init__(self) -> None:
        require_finite("shear flow", rate=self.rate, centre=self.centre)

    def check(self, box: Box) -> None:
        """Raise ConfigError unless the flow fits the box."""
        _two_axes("shear flow", box, self.axis, self.gradient_axis)
        _lengths("shear flow", box, centre=self.centre)
        _no_jump("shear flow", box, self.gradient_axis)


@dataclass(frozen=True)
class PoiseuilleFlow:
    """Flow through a slit or a tube: u = speed_max (1 - 4y²/width²), at rest outside.

    y is the distance from the middle plane (slit) or from the axis (tube, 3D only).
    """

    kind: ClassVar[str] = "poiseuille"
    speed_max: float = key(MISSING, "velocity in the middle", "um/s")
    width: float = key(MISSING, "distance between the walls, or diameter of the tube", "um")
    axis: int = key(0, "axis along which it flows")
    gradient_axis: int = key(1, "axis from wall to wall, for a slit")
    shape: Literal["slit", "tube"] = key("slit", "slit, or tube in 3D")
    centre: tuple[float, ...] | None = key(None, "a place in the middle; the box centre", "um")

    def __post_init__(self) -> None:
        require_finite("poiseuille flow", speed_max=self.speed_max, centre=self.centre)
        require_positive("poiseuille flow", width=self.width)
        _one_of("poiseuille flow", "shape", self.shape, "slit", "tube")

    def check(self, box: Box) -> None:
        """Raise ConfigError unless the flow fits the box."""
        _two_axes("poiseuille flow", box, self.axis, self.gradient_axis)
        _lengths("poiseuille flow", box, centre=self.centre)
        if self.shape == "tube" and box.dimension == 2:
            raise ConfigError("poiseuille flow: a tube needs a 3D box; take a slit in 2D.")
        across = {self.gradient_axis}
        if self.shape == "tube":
            across = {0, 1, 2} - {self.axis}
        for axis in sorted(across):
            if box.periodic[axis] and self.width > box.size[axis] * (1 + MATCH):
                raise ConfigError(
                    f"poiseuille flow: its width of {self.width:g} µm exceeds the periodic box of "
                    f"{box.size[axis]:g} µm (axis {axis})."
                )


@dataclass(frozen=True)
class VortexFlow:
    """A vortex about its centre in the plane of two axes; u = Ω g(r²/core²) r, counter-clockwise.

    lamb-oseen: g(q) = (1 - e^-q)/q; rankine: 1 inside the core, 1/q outside; gaussian: e^-q, which
    dies out. The first two have the circulation 2π core² Ω.
    """

    kind: ClassVar[str] = "vortex"
    rate: float = key(MISSING, "angular velocity Ω of the fluid at the centre", "rad/s")
    core: float = key(MISSING, "core radius", "um")
    profile: Literal["lamb-oseen", "rankine", "gaussian"] = key(
        "lamb-oseen", "lamb-oseen, rankine or gaussian"
    )
    axes: tuple[int, int] = key((0, 1), "axes of its plane; it turns the first to the second")
    centre: tuple[float, ...] | None = key(None, "centre; the box centre if left out", "um")

    def __post_init__(self) -> None:
        require_finite("vortex flow", rate=self.rate, centre=self.centre)
        require_positive("vortex flow", core=self.core)
        _one_of("vortex flow", "profile", self.profile, "lamb-oseen", "rankine", "gaussian")

    def check(self, box: Box) -> None:
        """Raise ConfigError unless the flow fits the box."""
        _two_axes("vortex flow", box, *self.axes)
        _lengths("vortex flow", box, centre=self.centre)
        for axis in self.axes:
            if self.profile != "gaussian":
                _no_jump(f"{self.profile} vortex flow", box, axis)
            elif box.periodic[axis] and box.size[axis] < 2 * GAUSSIAN_REACH * self.core:
                raise ConfigError(
                    f"vortex flow: a Gaussian vortex of core {self.core:g} µm needs a periodic box "
                    f"of {2 * GAUSSIAN_REACH * self.core:g} µm or more (axis {axis})."
                )


@dataclass(frozen=True)
class TaylorGreenFlow:
    """Cells of vortices in the plane of two axes: u = speed [-cos x sin z, sin x cos z].

    x and z are distances from the centre over `length`, so that the flow repeats after 2π length.
    """

    kind: ClassVar[str] = "taylor-green"
    speed: float = key(MISSING, "highest velocity", "um/s")
    length: float = key(MISSING, "period over 2π", "um")
    axes: tuple[int, int] = key((0, 1), "axes of its plane, x and z of the formula")
    centre: tuple[float, ...] | None = key(None, "x = z = 0; the box centre if left out", "um")

    def __post_init__(self) -> None:
        require_finite("taylor-green flow", speed=self.speed, centre=self.centre)
        require_positive("taylor-green flow", length=self.length)

    def check(self, box: Box) -> None:
        """Raise ConfigError unless the flow fits the box."""
        _two_axes("taylor-green flow", box, *self.axes)
        _lengths("taylor-green flow", box, centre=self.centre)
        for axis in self.axes:
            cells = box.size[axis] / (2 * math.pi * self.length)
            if box.periodic[axis] and (round(cells) < 1 or abs(cells - round(cells)) > MATCH):
                fitting = box.size[axis] / (2 * math.pi * max(1, round(cells)))
                raise ConfigError(
                    f"taylor-green flow: its period of {2 * math.pi * self.length:g} µm does not "
                    f"fit into the periodic box of {box.size[axis]:g} µm (axis {axis}); take a "
                    f"length of {fitting:.9g} µm."
                )


@dataclass(frozen=True)
class GridFlow:
    """Velocities in µm/s on a grid, [nx, ny, 2] or [nx, ny, nz, 3], interpolated linearly."""

    kind: ClassVar[str] = "grid"
    grid: Grid = key(MISSING, "the velocities")

    def check(self, box: Box) -> None:
        """Raise ConfigError unless the grid matches the box."""
        self.grid.check(box, "grid flow", components=True)


@dataclass(frozen=True)
class CallableFlow:
    """Velocity [D] in µm/s as a function (position [D] µm, time s[, parameters]) of one place.

    The function is made of jax.numpy operations. Along periodic axes it is given places inside the
    box, and must itself be periodic there.
    """

    kind: ClassVar[str] = "callable"
    function: Any = key(MISSING, "the function, or 'file.py:name', or 'package.module:name'")
    parameters: Any = uncompared(
        None, "third argument: numbers or arrays, or tables or lists of them; none if left out"
    )
    resolved: Any = dataclasses.field(init=False, repr=False)
    content: Any = dataclasses.field(init=False, repr=False)

    def __post_init__(self) -> None:
        _resolve(self, "callable flow")

    def check(self, box: Box) -> None:
        """Whether its result fits is seen when it is traced."""


def _resolve(config: CallableFlow | CallablePotential, where: str) -> None:
    object.__setattr__(config, "resolved", load_function(config.function, where))
    copied = None if config.parameters is None else owned(config.parameters)
    object.__setattr__(config, "parameters", copied)
    object.__setattr__(config, "content", content_key(copied))


@dataclass(frozen=True)
class ConstantForce:
    """The same force on every colloid, such as gravity less buoyancy."""

    kind: ClassVar[str] = "constant"
    force: tuple[float, ...] = key(MISSING, "force", "pN")
    species: tuple[str, ...] = key((), "names of the species that feel it; all if empty")

    def __post_init__(self) -> None:
        require_finite("constant force", force=self.force)

    @property
    def stiffness_max(self) -> float:
        """Largest second derivative of the potential in pN/µm."""
        return 0.0

    def check(self, box: Box) -> None:
        """Raise ConfigError unless the force fits the box."""
        _lengths("constant force", box, force=self.force)


@dataclass(frozen=True)
class HarmonicTrap:
    """U = ½ Σ k_i (r_i - c_i)², with one stiffness or one per axis (0: free along that axis)."""

    kind: ClassVar[str] = "harmonic"
    stiffness: float | tuple[float, ...] = key(
        MISSING, "stiffness, one for all axes or one per axis", "pN/um"
    )
    centre: tuple[float, ...] | None = key(None, "centre; the box centre if left out", "um")
    species: tuple[str, ...] = key((), "names of the species that feel it; all if empty")

    def __post_init__(self) -> None:
        require_finite("harmonic trap", stiffness=self.stiffness, centre=self.centre)

    def stiffnesses(self, dimension: int) -> tuple[float, ...]:
        """Stiffness of every axis in pN/µm."""
        if isinstance(self.stiffness, tuple):
            return self.stiffness
        return (self.stiffness,) * dimension

    @property
    def stiffness_max(self) -> float:
        """Largest second derivative of the potential in pN/µm."""
        return max(map(abs, self.stiffnesses(1)))

    def check(self, box: Box) -> None:
        """Raise ConfigError unless the trap fits the box."""
        stiffness = self.stiffnesses(box.dimension)
        _lengths("harmonic trap", box, centre=self.centre, stiffness=stiffness)


@dataclass(frozen=True)
class DoubleWell:
    """U = barrier ((x/a)² - 1)² + ½ stiffness (distance from the axis)², with minima at x = ±a."""

    kind: ClassVar[str] = "double-well"
    barrier: float = key(MISSING, "height of the barrier between the wells", "pN*um")
    distance: float = key(MISSING, "distance 2a of the two minima", "um")
    stiffness: float = key(0.0, "stiffness across the axis", "pN/um")
    axis: int = key(0, "axis through both wells")
    centre: tuple[float, ...] | None = key(None, "top of the barrier; the box centre", "um")
    species: tuple[str, ...] = key((), "names of the species that feel it; all if empty")

    def __post_init__(self) -> None:
        require_finite("double well", stiffness=self.stiffness, centre=self.centre)
        require_positive("double well", barrier=self.barrier, distance=self.distance)

    @property
    def stiffness_max(self) -> float:
        """Largest second derivative of the potential in pN/µm up to its wells."""
        return max(32 * self.barrier / self.distance**2, abs(self.stiffness))

    def check(self, box: Box) -> None:
        """Raise ConfigError unless the wells fit the box."""
        _two_axes("double well", box, self.axis, (self.axis + 1) % box.dimension)
        _lengths("double well", box, centre=self.centre)


@dataclass(frozen=True)
class GridPotential:
    """Energies in pN µm on a grid, [nx, ny] or [nx, ny, nz], interpolated linearly.

    The force is the exact gradient of the interpolated energy, so it steps where cells meet.
    """

    kind: ClassVar[str] = "grid"
    grid: Grid = key(MISSING, "the energies")
    species: tuple[str, ...] = key((), "names of the species that feel it; all if empty")

    @property
    def stiffness_max(self) -> float:
        """Largest second difference of the energies along an axis in pN/µm."""
        values = self.grid.array
        bends = [
            float(np.abs(np.diff(values, 2, axis)).max(initial=0.0)) / step**2
            for axis, step in zip(range(values.ndim), self.grid.spacings(values.ndim), strict=False)
        ]
        return max(bends, default=0.0)

    def check(self, box: Box) -> None:
        """Raise ConfigError unless the grid matches the box."""
        self.grid.check(box, "grid potential", components=False)


@dataclass(frozen=True)
class CallablePotential:
    """Energy in pN µm as a function (position [D] µm, time s[, parameters]) of one place.

    Made of jax.numpy operations, periodic along periodic axes; the force is its gradient.
    """

    kind: ClassVar[str] = "callable"
    function: Any = key(MISSING, "the function, or 'file.py:name', or 'package.module:name'")
    parameters: Any = uncompared(
        None, "third argument: numbers or arrays, or tables or lists of them; none if left out"
    )
    species: tuple[str, ...] = key((), "names of the species that feel it; all if empty")
    resolved: Any = dataclasses.field(init=False, repr=False)
    content: Any = dataclasses.field(init=False, repr=False)

    def __post_init__(self) -> None:
        _resolve(self, "callable potential")

    @property
    def stiffness_max(self) -> float:
        """Not known: 0."""
        return 0.0

    def check(self, box: Box) -> None:
        """Whether its result fits is seen when it is traced."""


Flow: TypeAlias = (
    UniformFlow
    | ShearFlow
    | PoiseuilleFlow
    | VortexFlow
    | TaylorGreenFlow
    | GridFlow
    | CallableFlow
)
Potential: TypeAlias = ConstantForce | HarmonicTrap | DoubleWell | GridPotential | CallablePotential


@dataclass(frozen=True)
class Sources:
    """A scalar field, such as light or a concentration: Σ strength f(d/length) over points.

    f(q) of the distance q is 1/(1 + q) for hyperbolic, e^-q for exponential, e^(-q²/2) for
    gaussian, and 1/max(q, 1) for inverse: diffusion from spheres of radius `length` in 3D.
    """

    points: tuple[tuple[float, ...], ...] = key(MISSING, "places of the sources", "um")
    length: float = key(MISSING, "range of every source", "um")
    kernel: Literal["hyperbolic", "exponential", "gaussian", "inverse"] = key(
        "hyperbolic", "hyperbolic, exponential, gaussian or inverse"
    )
    strength: float | tuple[float, ...] = key(1.0, "strength, one for all sources or one each")

    def __post_init__(self) -> None:
        if not self.points:
            raise ConfigError("sources: at least one point is needed.")
        require_positive("sources", length=self.length)
        require_finite("sources", strength=self.strength)
        for point in self.points:
            require_finite("sources", points=point)
        kernels = ("hyperbolic", "exponential", "gaussian", "inverse")
        _one_of("sources", "kernel", self.kernel, *kernels)
        if isinstance(self.strength, tuple) and len(self.strength) != len(self.points):
            raise ConfigError(
                f"sources: {len(self.strength)} strengths for {len(self.points)} points; give one "
                "for all or one each."
            )

    def check(self, box: Box) -> None:
        """Raise ConfigError unless the points fit the box."""
        for point in self.points:
            _lengths("sources", box, points=point)


def check_fields(
    flows: Sequence[Flow], potentials: Sequence[Potential], box: Box, species: Sequence[str]
) -> None:
    """Raise ConfigError unless all flows and potentials fit the box and name species that exist."""
    for part in (*flows, *potentials):
        part.check(box)
    for potential in potentials:
        for name in potential.species:
            if name not in species:
                raise ConfigError(
                    f"potential {potential.kind!r}: no species {name!r}. {nearest(name, species)}"
                )
