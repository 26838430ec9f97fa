"""What does not change from frame to frame: box, colloids, field, markers, labels."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from swarmctl.core.errors import ConfigError
from swarmctl.viz import check

Field = Callable[[np.ndarray], np.ndarray]


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
        if self.value_range is not None:
            low, high = check.array("scene: value_range", self.value_range, (2,))
            if not low < high:
                raise ConfigError(f"scene: value_range needs low < high, got {self.value_range}.")

    @property
    def dimension(self) -> int:
        """2 or 3."""
        return len(self.size)

    @property
    def count(self) -> int:
        """Number of colloid slots N."""
        return len(self.radii)

    @property
    def window(self) -> tuple[float, float, float, float]:
        """What is seen: (xmin, xmax, ymin, ymax) µm."""
        if self.view is not None:
            return self.view
        return (0.0, self.size[0], 0.0, self.size[1])

    def evaluate_field(self, points: np.ndarray) -> np.ndarray:
        """The field [K] at points [K,2] µm; in 3D at half the height of the box."""
        assert self.field is not None
        if self.dimension == 3:
            height = np.full((len(points), 1), self.size[2] / 2)
            points = np.concatenate([points, height], axis=1)
        return check.array("scene: field(points)", self.field(points), (len(points),), finite=False)


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
