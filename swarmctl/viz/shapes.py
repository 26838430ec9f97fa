"""Geometry of what is drawn: Janus discs, their periodic images, trails that do not streak."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import Collection, PathCollection
from matplotlib.path import Path

from swarmctl.viz import style

_LEVELS = 24
_PATHS_PER_DISC = 3


@cache
def _circle() -> Path:
    angle = np.linspace(0, 2 * np.pi, 49)
    return Path(np.stack([np.cos(angle), np.sin(angle)], axis=1), closed=True)


@cache
def _cap(level: int) -> Path:
    """The back half of a sphere seen along z; its axis has n_z = level/_LEVELS, front is +x."""
    rise = level / _LEVELS
    angle = np.linspace(np.pi / 2, 3 * np.pi / 2, 25)
    rim = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    angle = np.linspace(-np.pi / 2, np.pi / 2, 25)
    terminator = np.stack([-rise * np.cos(angle), np.sin(angle)], axis=1)
    points = np.concatenate([rim, terminator, rim[:1]])
    return Path(points, closed=True)


class JanusDiscs(Collection):
    """Discs with a dark back half, drawn one after the other so that overlaps look right.

    Sizes are in inches, right at every resolution; places are in data coordinates.
    """

    def __init__(self, axes: Axes, outline: float) -> None:
        """Empty discs with an outline of so many points."""
        super().__init__(
            offset_transform=axes.transData,
            linewidths=[0.0, 0.0, outline],
        )
        figure = axes.get_figure(root=True)
        assert figure is not None
        self.set_transform(figure.dpi_scale_trans)
        self.set_offsets(np.zeros((0, 2)))
        self._disc_transforms = np.zeros((0, 3, 3))
        self._half_line = outline / 2 / 72

    def get_transforms(self) -> Any:
        """One 3x3 matrix per path (called by matplotlib when it draws)."""
        return self._disc_transforms

    def set_discs(
        self,
        place: np.ndarray,
        radius: np.ndarray,
        director: np.ndarray,
        rgba: np.ndarray,
        aspect: np.ndarray | None = None,
    ) -> None:
        """Place the discs.

        Args:
            place: [M,2] µm, in the order in which they are drawn.
            radius: [M] inches.
            director: [M,2 or 3]; a row of zeros or NaN means that the heading is not known: no cap.
            rgba: [M,4] colour of the front; the cap is a dark shade of it.
            aspect: [M], length of spheroids along the director over their width; 1 if left out.
        """
        count = len(place)
        planar = director[:, :2]
        length = np.hypot(planar[:, 0], planar[:, 1])
        known = np.isfinite(director).all(axis=1) & (np.abs(director).sum(axis=1) > 0)
        upright = ~(length > 0)
        axis = np.where(
            upright[:, None], (1.0, 0.0), planar / np.where(upright, 1.0, length)[:, None]
        )
        # The line lies inside, so that the outer rim is true to scale.
        stretch = np.ones(count) if aspect is None else projected_aspect(aspect, director)
        along = np.maximum(radius * stretch - self._half_line, 0.0)
        radius = np.maximum(radius - self._half_line, 0.0)
        matrices = np.zeros((count, 3, 3))
        matrices[:, 0, 0], matrices[:, 0, 1] = along * axis[:, 0], -radius * axis[:, 1]
        matrices[:, 1, 0], matrices[:, 1, 1] = along * axis[:, 1], radius * axis[:, 0]
        matrices[:, 2, 2] = 1.0
        self._disc_transforms = np.repeat(matrices, _PATHS_PER_DISC, axis=0)
        level = np.zeros(count, int)
        if director.shape[1] == 3:
            norm = np.linalg.norm(director, axis=1)
            rise = np.divide(director[:, 2], norm, out=np.zeros(count), where=known)
            level = np.rint(rise * _LEVELS).astype(int)
        disc = _circle()
        self.set_paths([path for item in level for path in (disc, _cap(int(item)), disc)])
        self.set_offsets(np.repeat(place, _PATHS_PER_DISC, axis=0))

        front, back, rim = rgba.copy(), rgba.copy(), rgba.copy()
        front[:, :3] = style.mix(rgba[:, :3], style.PAPER, 0.12)
        back[:, :3] = style.mix(0.25 * rgba[:, :3], "#10161c", 0.6)
        back[~known, 3] = 0.0
        rim[:, :3] = style.mix(0.25 * rgba[:, :3], "#10161c", 0.4)
        nothing = np.zeros_like(rgba)
        faces: Any = np.stack([front, back, nothing], axis=1).reshape(-1, 4)
        edges: Any = np.stack([nothing, nothing, rim], axis=1).reshape(-1, 4)
        self.set_facecolor(faces)
        self.set_edgecolor(edges)


def projected_aspect(aspect: np.ndarray, director: np.ndarray) -> np.ndarray:
    """Length over width [M] of the shadow along z of spheroids with this aspect ratio [M].

    director [M,2 or 3], of any length; where it is not known the shadow is that of a sphere.
    """
    if director.shape[1] == 2:
        known = np.isfinite(director).all(axis=1) & (np.abs(director).sum(axis=1) > 0)
        return np.where(known, aspect, 1.0)
    square = np.sum(director**2, axis=1)
    known = np.isfinite(square) & (square > 0)
    rise = np.divide(director[:, 2] ** 2, square, out=np.ones(len(aspect)), where=known)
    return np.sqrt(np.where(known, aspect**2 * (1 - rise) + rise, 1.0))


def periodic_images(
    position: np.ndarray,
    radius: np.ndarray,
    size: tuple[float, ...],
    periodic: tuple[bool, ...],
) -> tuple[np.ndarray, np.ndarray]:
    """Wrap positions [N,D] µm and add the images that reach over a periodic edge.

    Returns (place [M,2] µm, index [M] of the colloid each one belongs to), the originals first.
    """
    place = np.array(position[:, :2], float)
    index = np.arange(len(place))
    for axis in (0, 1):
        if not periodic[axis]:
            continue
        length = size[axis]
        place[:, axis] = np.mod(place[:, axis], length)
        for shift, near in (
            (length, place[:, axis] < radius[index]),
            (-length, place[:, axis] > length - radius[index]),
        ):
            copy = place[: len(near)][near].copy()
            copy[:, axis] += shift
            place, index = (
                np.concatenate([place, copy]),
                np.concatenate([index, index[: len(near)][near]]),
            )
    return place, index


def trail_segments(
    points: np.ndarray, size: tuple[float, ...], periodic: tuple[bool, ...]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cut paths [K,N,D] µm (wrapped or not, NaN where unknown) into segments inside the box.

    A step across a periodic edge becomes two segments, one that leaves and one that enters, to be
    clipped by the view: no streak. Steps must be shorter than half a periodic box length, as
    wrapped points cannot tell.

    Returns (segments [M,2,2] µm, age int [M] = index of the step, colloid int [M]).
    """
    flags = np.array(periodic[:2])
    lengths = np.array(size[:2], float)
    flat = np.asarray(points, float)[..., :2]
    wrapped = np.where(flags, np.mod(flat, lengths), flat)
    start, end = wrapped[:-1], wrapped[1:]
    step = end - start
    shortest = np.where(flags, step - lengths * np.round(step / lengths), step)
    crosses = (np.abs(step - shortest) > 1e-9 * lengths).any(axis=-1)
    known = np.isfinite(step).all(axis=-1)
    leaving = np.stack([start, start + shortest], axis=-2)
    entering = np.stack([end - shortest, end], axis=-2)
    age, colloid = np.indices(known.shape)
    both = known & crosses
    return (
        np.concatenate([leaving[known], entering[both]]),
        np.concatenate([age[known], age[both]]),
        np.concatenate([colloid[known], colloid[both]]),
    )


def draw_groups(
    collection: PathCollection,
    segments: np.ndarray,
    group: np.ndarray,
    rgba: np.ndarray,
    widths: np.ndarray,
) -> None:
    """Put segments [M,2,2] into `collection` as one path per group: far faster than one path each.

    `group` int [M] indexes `rgba` [G,4] and `widths` [G] (points); groups are drawn in order.
    """
    order = np.argsort(group, kind="stable")
    used, first = np.unique(group[order], return_index=True)
    paths = []
    for part in np.split(segments[order], first[1:]) if len(order) else []:
        codes = np.tile(np.array([Path.MOVETO, Path.LINETO], np.uint8), len(part))
        paths.append(Path(part.reshape(-1, 2), codes))
    collection.set_paths(paths)
    collection.set_edgecolor(rgba[used])
    collection.set_linewidth(widths[used] if len(used) else [1.0])
