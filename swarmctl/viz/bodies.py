"""Rigid bodies of beads: thick lines through the beads, discs and polygons filled."""

from __future__ import annotations

import itertools

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.colors import to_rgba
from matplotlib.path import Path

from swarmctl.viz import style
from swarmctl.viz.scene import BodyShape, Scene

Colour = tuple[float, float, float, float]


class BodyPaths(PathCollection):
    """All bodies of a scene, each with a dark rim, true to scale."""

    def __init__(self, axes: Axes, points_per_um: float, line: float) -> None:
        """Empty, in axes with this scale; `line` is the width of the rim in points."""
        super().__init__([], capstyle="round", joinstyle="round")
        self.set_transform(axes.transData)
        axes.add_collection(self, autolim=False)
        self._scale = points_per_um
        self._line = line

    def place(self, scene: Scene, beads: np.ndarray | None, alpha: float = 1.0) -> None:
        """Put the bodies where their beads [B,D] µm are; none if left out or NaN."""
        paths: list[Path] = []
        widths: list[float] = []
        edges: list[Colour] = []
        faces: list[Colour] = []

        def add(path: Path, width: float, edge: Colour, face: Colour) -> None:
            paths.append(path)
            widths.append(max(width, 0.3))
            edges.append(edge)
            faces.append(face)

        nothing: Colour = (0.0, 0.0, 0.0, 0.0)
        rim = to_rgba(style.WALL_EDGE, alpha)
        for body in scene.bodies if beads is not None else ():
            assert beads is not None
            colour = style.BODY_COLOURS[body.kind % len(style.BODY_COLOURS)]
            pale = style.mix(np.array(to_rgba(colour)[:3]), style.PAPER, 0.55)
            inside = (float(pale[0]), float(pale[1]), float(pale[2]), 0.8 * alpha)
            width = 2 * body.radius * self._scale
            for shift in _shifts(scene, body, beads):
                path, dot = _path(body, beads[:, :2] + shift)
                add(path, width, rim, nothing)
                face = inside if body.closed else nothing
                add(path, width - 2 * self._line, to_rgba(colour, alpha), face)
                if body.mark:
                    add(dot, 0.35 * width, rim, nothing)
        self.set_paths(paths)
        if paths:
            self.set_linewidth(widths)
            self.set_edgecolor(edges)
            self.set_facecolor(faces)


def _path(body: BodyShape, beads: np.ndarray) -> tuple[Path, Path]:
    """The lines of a body, and the dot on its first bead."""
    points, codes = [], []
    for line in body.lines:
        part = beads[list(line)]
        code = [Path.MOVETO, *[Path.LINETO] * (len(part) - 1)]
        if len(part) == 1:
            # A line without length would not be drawn.
            part = np.concatenate([part, part + 1e-6])
            code.append(Path.LINETO)
        if body.closed:
            part = np.concatenate([part, part[:1]])
            code.append(Path.CLOSEPOLY)
        points.append(part)
        codes += code
    first = beads[body.lines[0][0]]
    dot = Path(np.stack([first, first + 1e-6]))
    return Path(np.concatenate(points), codes), dot


def _shifts(scene: Scene, body: BodyShape, beads: np.ndarray) -> list[np.ndarray]:
    """By how much a body is moved so that it, and what of it reaches over a face, is in the box."""
    own = beads[body.beads][:, :2]
    if not np.isfinite(own).all():
        return []
    size, flags = np.array(scene.size[:2]), np.array(scene.periodic[:2])
    middle = own.mean(axis=0)
    home = np.where(flags, np.mod(middle, size) - middle, 0.0)
    low, high = own.min(axis=0) + home - body.radius, own.max(axis=0) + home + body.radius
    ranges = [
        [
            step
            for step in ((-1, 0, 1) if flags[axis] else (0,))
            if high[axis] + step * size[axis] > 0 and low[axis] + step * size[axis] < size[axis]
        ]
        if flags[axis]
        else [0]
        for axis in (0, 1)
    ]
    return [home + np.array(steps) * size for steps in itertools.product(*ranges)]
