"""Where a point of the sample lies in the image, and back.

Sample: µm, y points up. Image: px, x is the column, y the row and points down; the centre of the
first pixel is (0, 0).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from swarmctl.core.config import key
from swarmctl.core.errors import ConfigError, require_finite, require_positive

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Affine:
    """The map from the sample to the image: image = matrix · sample + offset."""

    matrix: tuple[tuple[float, float], tuple[float, float]] = key(
        ((1.0, 0.0), (0.0, -1.0)), "rows (to column, to row) in px/µm"
    )
    offset: tuple[float, float] = key((0.0, 0.0), "where the sample's origin lies, px (x, y)")

    def __post_init__(self) -> None:
        for row in (*self.matrix, self.offset):
            require_finite("affine", entries=row)
        if abs(np.linalg.det(self.matrix)) < 1e-12:
            raise ConfigError(f"affine: the matrix {self.matrix} cannot be inverted.")

    @property
    def pixel_size(self) -> float:
        """Side of a square of one pixel's area, µm."""
        return 1 / math.sqrt(abs(float(np.linalg.det(self.matrix))))

    def to_image(self, position: npt.ArrayLike) -> Floats:
        """Turn sample positions [...,2] µm into image positions [...,2] px."""
        return _points(position) @ np.transpose(self.matrix) + self.offset

    def to_sample(self, position: npt.ArrayLike) -> Floats:
        """Turn image positions [...,2] px into sample positions [...,2] µm."""
        return (_points(position) - self.offset) @ np.linalg.inv(np.transpose(self.matrix))

    def direction_to_image(self, direction: npt.ArrayLike) -> Floats:
        """Turn directions [...,2] of the sample into unit vectors of the image; 0 stays 0."""
        return _unit(_points(direction) @ np.transpose(self.matrix))

    def direction_to_sample(self, direction: npt.ArrayLike) -> Floats:
        """Turn directions [...,2] of the image into unit vectors of the sample; 0 stays 0."""
        return _unit(_points(direction) @ np.linalg.inv(np.transpose(self.matrix)))


def _points(values: npt.ArrayLike) -> Floats:
    points = np.asarray(values, dtype=np.float64)
    if points.ndim == 0 or points.shape[-1] != 2:
        raise ConfigError(f"affine: expected points [...,2], got shape {points.shape}.")
    return points


def _unit(vectors: Floats) -> Floats:
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / np.where(length > 0, length, 1.0)


@dataclass(frozen=True)
class ViewConfig:
    """What of the sample a camera sees, and how it is turned."""

    pixel_size: float = key(0.2, "side of a pixel in the sample", "um")
    rotation: float = key(0.0, "from the sample's x axis to the image's, counterclockwise", "rad")
    mirror: bool = key(False, "whether left and right are exchanged in the image")
    centre: tuple[float, float] = key((0.0, 0.0), "what is seen in the middle", "um")

    def __post_init__(self) -> None:
        require_positive("view", pixel_size=self.pixel_size)
        require_finite("view", rotation=self.rotation, centre=self.centre)

    def affine(self, width: int, height: int) -> Affine:
        """Return the map onto an image of this many pixels."""
        cosine, sine = math.cos(self.rotation), math.sin(self.rotation)
        turn = np.array([[cosine, sine], [-sine, cosine]])
        flip = np.diag([-1.0 if self.mirror else 1.0, -1.0])
        matrix = flip @ turn / self.pixel_size
        middle = np.array([(width - 1) / 2, (height - 1) / 2])
        offset = middle - matrix @ np.asarray(self.centre)
        (a, b), (c, d) = matrix.tolist()
        return Affine(((a, b), (c, d)), (float(offset[0]), float(offset[1])))


def fit_affine(sample: npt.ArrayLike, image: npt.ArrayLike) -> tuple[Affine, float]:
    """Fit the map to K >= 3 pairs of points, sample [K,2] µm and image [K,2] px, by least squares.

    Returns it with the root mean square residual in px (per point, both axes). Raises ConfigError
    if the points do not match, are not finite, or lie on a line.
    """
    source, target = _points(sample), _points(image)
    if source.ndim != 2 or source.shape != target.shape or len(source) < 3:
        raise ConfigError(
            f"affine: needs at least 3 pairs of points, got {source.shape} and {target.shape}."
        )
    if not (np.isfinite(source).all() and np.isfinite(target).all()):
        raise ConfigError("affine: a point is not finite; leave out what was not found.")
    middle = source.mean(axis=0)
    spread = np.linalg.svd(source - middle, compute_uv=False)
    if spread[1] < 1e-6 * spread[0] or spread[0] == 0:
        raise ConfigError("affine: the points lie on a line; use at least three that do not.")
    design = np.column_stack([source - middle, np.ones(len(source))])
    found, *_ = np.linalg.lstsq(design, target, rcond=None)
    residual = target - design @ found
    matrix = found[:2].T
    offset = found[2] - matrix @ middle
    (a, b), (c, d) = matrix.tolist()
    affine = Affine(((a, b), (c, d)), (float(offset[0]), float(offset[1])))
    return affine, float(np.sqrt(np.mean(np.sum(residual**2, axis=1))))
