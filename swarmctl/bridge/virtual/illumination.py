"""From the pattern of a projector to the light on every colloid, and to the light in the image."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from swarmctl.optics.affine import Affine

Floats = npt.NDArray[np.float64]
Pattern = npt.NDArray[np.uint8]
Image = npt.NDArray[np.float32]

POINTS = 128
"""Points of a colloid's disc at which the light is looked up."""


def disc_points(count: int) -> Floats:
    """Points [count,2] that fill a disc of radius 1 evenly, centred exactly.

    A sunflower: radius √((k+½)/count), angle k times the golden angle. Vogel, Mathematical
    Biosciences 44 (1979), 179.
    """
    k = np.arange(count)
    radius, angle = np.sqrt((k + 0.5) / count), k * math.pi * (3 - math.sqrt(5))
    points = radius[:, None] * np.column_stack([np.cos(angle), np.sin(angle)])
    return points - points.mean(axis=0)


class LightOnDiscs:
    """What discs receive of a pattern; nothing is lit beside it."""

    def __init__(self, projector: Affine, radius: Floats) -> None:
        """Take the map from the sample to the pattern, and the radii [N] µm of the discs."""
        self._projector = projector
        self._around = radius[:, None, None] * disc_points(POINTS)
        self._reach = self._around @ np.transpose(projector.matrix)

    def received(self, pattern: Pattern, position: Floats) -> tuple[Floats, Floats]:
        """Light of a pattern [H,W] on discs at positions [N,2] µm.

        Returns its mean [N] as a share of a full pixel, and its centre [N,2] µm relative to the
        disc's; 0 in the dark.
        """
        place = self._projector.to_image(position)[:, None, :] + self._reach
        light = _at(pattern, place) / 255.0
        total = light.sum(axis=1)
        centre = np.einsum("nk,nkd->nd", light, self._around)
        scale = 1 / np.where(total > 0, total, 1.0)
        return total / POINTS, centre * scale[:, None]


def _at(pattern: Pattern, place: Floats) -> Pattern:
    """Values [...] of the pixels in which places [...,2] px lie; 0 beside the pattern."""
    height, width = pattern.shape
    nearest = np.floor(place + 0.5)
    column, row = nearest[..., 0], nearest[..., 1]
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    index = np.where(inside, row * width + column, 0).astype(np.intp)
    return np.asarray(np.where(inside, pattern.ravel()[index], 0), np.uint8)


class ProjectionOnCamera:
    """How a pattern appears in the camera's image; each image pixel sees one pattern pixel."""

    def __init__(
        self,
        camera: Affine,
        projector: Affine,
        image_shape: tuple[int, int],
        pattern_shape: tuple[int, int],
    ) -> None:
        """Look up which pixel of the pattern every pixel [H,W] of the image sees."""
        row, column = np.indices(image_shape)
        place = projector.to_image(camera.to_sample(np.stack([column, row], axis=-1)))
        x, y = np.rint(place[..., 0]).astype(int), np.rint(place[..., 1]).astype(int)
        height, width = pattern_shape
        inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
        # One more pixel, which is always dark, stands for all places beside the pattern.
        self._index = np.where(inside, y * width + x, height * width).astype(np.intp)

    def image(self, pattern: Floats | Pattern, electrons: float) -> Image:
        """Return the electrons [H,W] that a pattern [h,w] adds; a full pixel adds `electrons`."""
        table = np.zeros(pattern.size + 1, np.float32)
        table[:-1] = pattern.ravel()
        table *= electrons / 255.0
        return table[self._index]
