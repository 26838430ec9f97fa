"""What does not change from frame to frame: box, colloids, field, markers, labels."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from swarmctl.core.errors import ConfigError
from swarmctl.viz import check

Field = Callable[[np.ndarray], np.ndarray]
Mask = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class BodyShape:
    """How a rigid body of beads is drawn.

    Attributes:
        radius: of the beads in µm.
        lines: indices into all beads of the scene; the beads of a line are joined in this order.
        closed: the first and the last bead are joined as well, and the inside is filled.
        kind: chooses the colour, equal for bodies of one name.
        mark: draw a dot on the first bead, by which a turn is seen.
    """

    radius: float
    lines: tuple[tuple[int, ...], ...]
    closed: bool = False
    kind: int = 0
    mark: bool = True

    @property
    def beads(self) -> np.ndarray:
        """Indices of its beads."""
        return np.unique(np.concatenate([np.asarray(line, int) for line in self.lines]))


@dataclass(frozen=True)
class Marker:
    """A labelled point, such as the source of a concentration. `position` [D] µm."""

    position: tuple[float, ...]
    label: str = ""


@dataclass(frozen=True)
class SceneStyle:
    """How a scene looks.

    Attributes:
        smallest_radius_px: colloids whose radius is less than this on screen are drawn enlarged,
            and the picture says so.
        enlarged_radius_px: the radius on screen of the smallest colloid if they are enlarged.
        time_decimals: decimals of the time stamp (s).
        value_colormap: matplotlib's name of the colour map of per-colloid values.
    """

    smallest_radius_px: float = 3.0
    enlarged_radius_px: float = 5.0
    time_decimals: int = 1
    value_colormap: str = "plasma"


@dataclass(frozen=True, eq=False)
class Scene:
    """The stage: N colloids in a box of D = 2 or 3 axes.

    Attributes:
        size: box lengths µm, one per axis; the box starts at the origin.
        periodic: which axes are periodic, one flag per axis.
        radii: [N] µm.
        species: int [N], index into `species_names`; all of one species if left out.
        species_names: names for the legend.
        field: maps points [K,D] µm to a scalar [K] (a concentration), or None.
        field_label, field_units: for the field's colour bar.
        markers: labelled points.
        title: one line above the picture.
        view: (xmin, xmax, ymin, ymax) µm; the box if left out. For open boundaries see `fit_view`.
        walls: with a view, draw the edges of the box where they are not periodic; leave it off
            if the boundaries are open.
        value_label: what the values are that colour the colloids (with units).
        value_range: (low, high) of those values; the same for all frames so that colours can be
            compared.
        style: how it looks.
        aspects: [N], length of spheroids along their director over their width, which is twice the
            radius; 1 if left out.
        bodies: rigid bodies; where their beads are comes with every frame.
        outlines: lines [P,2] µm of walls.
        solid: maps points [K,2] µm to bool [K], whether they lie inside the material of walls.
        flow: maps points [K,D] µm to velocities [K,D] µm/s of the fluid, drawn as arrows.
        field_range: (low, high) of the field's colours, for a field that changes: without contour
            lines, and `FrameRenderer.draw` may be given new values.
    """

    size: tuple[float, ...]
    periodic: tuple[bool, ...]
    radii: np.ndarray
    species: np.ndarray | None = None
    species_names: tuple[str, ...] = ("colloid",)
    field: Field | None = None
    field_label: str = "concentration"
    field_units: str = ""
    markers: tuple[Marker, ...] = ()
    title: str = ""
    view: tuple[float, float, float, float] | None = None
    walls: bool = False
    value_label: str = "value"
    value_range: tuple[float, float] | None = None
    style: SceneStyle = SceneStyle()
    aspects: np.ndarray | None = None
    bodies: tuple[BodyShape, ...] = ()
    outlines: tuple[np.ndarray, ...] = ()
    solid: Mask | None = None
    flow: Field | None = None
    field_range: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        dimension = len(self.size)
        if dimension not in (2, 3) or not all(math.isfinite(x) and x > 0 for x in self.size):
            raise ConfigError(
                f"scene: size must be 2 or 3 positive lengths in µm, got {self.size}."
            )
        if len(self.periodic) != dimension:
            raise ConfigError(
                f"scene: {len(self.periodic)} periodic flags for {dimension} axes; "
                "give one per axis."
            )
        radii = check.array("scene: radii", self.radii, ("N",))
        if (radii <= 0).any():
            raise ConfigError(f"scene: radii must be positive, the smallest is {radii.min():g} µm.")
        species = np.zeros(len(radii), int) if self.species is None else self.species
        species = check.array("scene: species", species, (len(radii),), dtype=int)
        if len(species) and not 0 <= species.min() <= species.max() < len(self.species_names):
            raise ConfigError(
                f"scene: species indices {species.min()}..{species.max()} for "
                f"{len(self.species_names)} species_names; "
                f"expected 0..{len(self.species_names) - 1}."
            )
        aspects = np.ones(len(radii)) if self.aspects is None else self.aspects
        aspects = check.array("scene: aspects", aspects, (len(radii),))
        if (aspects <= 0).any():
            raise ConfigError(
                f"scene: aspects must be positive, the smallest is {aspects.min():g}."
            )
        for number, line in enumerate(self.outlines):
            check.array(f"scene: outline {number}", line, ("P", 2))
        object.__setattr__(self, "aspects", aspects)
        object.__setattr__(self, "radii", radii)
        object.__setattr__(self, "species", species)
        for marker in self.markers:
            check.array(f"scene: marker {marker.label!r}", marker.position, (dimension,))
        if self.view is not None:
            x_low, x_high, y_low, y_high = check.array("scene: view", self.view, (4,))
            if not (x_low < x_high and y_low < y_high):
                raise ConfigError(
                    f"scene: view is (xmin, xmax, ymin, ymax) with min < max, got {self.view}."
                )
        for name in ("value_range", "field_range"):
            if (given := getattr(self, name)) is not None:
                low, high = check.array(f"scene: {name}", given, (2,))
                if not low < high:
                    raise ConfigError(f"scene: {name} needs low < high, got {given}.")

    @property
    def dimension(self) -> int:
        """2 or 3."""
        return len(self.size)

    @property
    def count(self) -> int:
        """Number of colloid slots N."""
        return len(self.radii)

    @property
    def beads(self) -> int:
        """Number of beads B of all bodies."""
        return sum(len(body.beads) for body in self.bodies)

    @property
    def window(self) -> tuple[float, float, float, float]:
        """What is seen: (xmin, xmax, ymin, ymax) µm."""
        if self.view is not None:
            return self.view
        return (0.0, self.size[0], 0.0, self.size[1])

    def evaluate_field(self, points: np.ndarray) -> np.ndarray:
        """The field [K] at points [K,2] µm; in 3D at half the height of the box."""
        assert self.field is not None
        points = self._lifted(points)
        return check.array("scene: field(points)", self.field(points), (len(points),), finite=False)

    def evaluate_flow(self, points: np.ndarray) -> np.ndarray:
        """The flow [K,2] µm/s in the plane at points [K,2] µm; in 3D at half the height."""
        assert self.flow is not None
        points = self._lifted(points)
        return check.array("scene: flow(points)", self.flow(points), points.shape)[:, :2]

    def _lifted(self, points: np.ndarray) -> np.ndarray:
        if self.dimension == 2:
            return points
        height = np.full((len(points), 1), self.size[2] / 2)
        return np.concatenate([points, height], axis=1)


def fit_view(
    positions: np.ndarray | Sequence[Sequence[float]], margin: float = 0.08, smallest: float = 10.0
) -> tuple[float, float, float, float]:
    """A square view (xmin, xmax, ymin, ymax) µm that holds all positions [...,D] µm.

    Args:
        positions: all points that must be seen, D = 2 or 3; NaN are skipped.
        margin: free share of the side on every edge.
        smallest: shortest side in µm.
    """
    points = np.asarray(positions, float)
    if points.ndim < 2 or points.shape[-1] not in (2, 3):
        raise ConfigError(f"fit_view: expected positions [..., 2 or 3], got {list(points.shape)}.")
    points = points.reshape(-1, points.shape[-1])[:, :2]
    points = points[np.isfinite(points).all(axis=1)]
    if not len(points):
        raise ConfigError("fit_view: no position is finite; nothing to fit.")
    low, high = points.min(axis=0), points.max(axis=0)
    side = max(float((high - low).max()) / (1 - 2 * margin), smallest)
    (x, y) = (low + high) / 2
    return (float(x - side / 2), float(x + side / 2), float(y - side / 2), float(y + side / 2))
