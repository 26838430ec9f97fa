"""Mazes: walls from rows of text or from an image. Plain values, no JAX."""

from __future__ import annotations

import math
from dataclasses import KW_ONLY, MISSING, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from swarmctl.core.config import key
from swarmctl.core.errors import ConfigError

if TYPE_CHECKING:
    from swarmctl.core.world import Box

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

WALL, FREE = "#", ". "
"""Characters of wall cells and of free cells."""


@dataclass(frozen=True)
class Maze:
    """Square cells, each wall or free: rows of text, or the pixels of an image.

    The first row is the topmost one (largest y). Beyond the maze everything is free, except where
    it reaches a face of the box: behind a hard face there is nothing, and behind a periodic one the
    maze goes on if it fills the box. An image is read when the maze is made and kept as rows, so
    that a record needs no other file.
    """

    kind: ClassVar[str] = "maze"
    rows: tuple[str, ...] = key((), "rows from top to bottom: # is wall, . or space is free")
    _: KW_ONLY
    cell: float = key(MISSING, "side of a cell, or of a pixel", "um")
    origin: tuple[float, float] = key((0.0, 0.0), "lower left corner", "um")
    image: Path | None = key(None, "image to read instead of rows; dark pixels are wall")
    threshold: float = key(0.5, "an image's pixels darker than this (0 black, 1 white) are wall")

    def __post_init__(self) -> None:
        from swarmctl.core.walls import as_point

        if isinstance(self.rows, str):
            object.__setattr__(self, "rows", self.rows.strip("\n").split("\n"))
        object.__setattr__(self, "rows", tuple(self.rows))
        object.__setattr__(self, "origin", as_point(self.origin, "maze: origin"))
        if not (math.isfinite(self.cell) and self.cell > 0):
            raise ConfigError(f"maze: cell must be positive and finite, got {self.cell} µm.")
        if not 0 < self.threshold <= 1:
            raise ConfigError(f"maze: threshold must lie in (0, 1], got {self.threshold}.")
        if (self.image is None) == (not self.rows):
            raise ConfigError("maze: give either rows of text or an image.")
        if self.image is not None:
            object.__setattr__(self, "rows", _read_image(Path(self.image), self.threshold))
            object.__setattr__(self, "image", None)
        self._check_rows()

    def _check_rows(self) -> None:
        widths = {len(row) for row in self.rows}
        if len(widths) != 1 or not all(widths):
            raise ConfigError(
                f"maze: rows must be equally long and not empty, got lengths {sorted(widths)}."
            )
        strange = {c for row in self.rows for c in row} - set(WALL + FREE)
        if strange:
            raise ConfigError(
                f"maze: character(s) {''.join(sorted(strange))!r} in the rows; allowed: # for "
                "wall, . or space for free."
            )
        cells = self.cells
        if cells.all() or not cells.any():
            raise ConfigError("maze: it needs both wall cells (#) and free cells (. or space).")

    @classmethod
    def from_image(
        cls,
        path: str | Path,
        cell: float,
        threshold: float = 0.5,
        origin: tuple[float, float] = (0.0, 0.0),
    ) -> Maze:
        """Read an image: pixels of `cell` µm, wall where darker than `threshold` (0 to 1).

        Transparent pixels are free. Raises ConfigError if the file is no image that can be read.
        """
        return cls(cell=cell, origin=origin, image=Path(path), threshold=threshold)

    @property
    def cells(self) -> Bools:
        """Which cells are wall, [rows, columns] from the lower left corner on."""
        return np.asarray([[c == WALL for c in row] for row in self.rows[::-1]], bool)

    @property
    def half(self) -> float:
        """Half thickness in µm."""
        return 0.0

    @property
    def one_sided(self) -> bool:
        """Whether one side of the faces is solid."""
        return True

    @property
    def corner(self) -> tuple[float, float]:
        """Upper right corner in µm."""
        x, y = self.origin
        return x + len(self.rows[0]) * self.cell, y + len(self.rows) * self.cell

    def faces(self, box: Box) -> Floats:
        """Start and end [S,2,2] µm of the faces between wall and free cells, the free side on their
        left, faces in line joined.
        """
        cells = self.cells
        for axis in (0, 1):
            cells = self._extended(cells, axis, box)
        return self._faces(cells)

    def _faces(self, cells: Bools) -> Floats:
        lower, upper = cells[:-1, 1:-1], cells[1:, 1:-1]
        left, right = cells[1:-1, :-1], cells[1:-1, 1:]
        faces = [
            *((i, j, k, j) for j, i, k in _runs(lower & ~upper)),
            *((k, j, i, j) for j, i, k in _runs(upper & ~lower)),
            *((i, k, i, j) for i, j, k in _runs((left & ~right).T)),
            *((i, j, i, k) for i, j, k in _runs((right & ~left).T)),
        ]
        return np.asarray(self.origin) + self.cell * np.asarray(faces, float).reshape(-1, 2, 2)

    def _extended(self, cells: Bools, axis: int, box: Box) -> Bools:
        """Cells with one more on either end of axis 0 (x) or 1 (y)."""
        length, kind = box.size[axis], box.boundaries[axis]
        low = abs(self.origin[axis]) <= 1e-7 * length
        high = abs(self.corner[axis] - length) <= 1e-7 * length
        along = np.moveaxis(cells, 1 - axis, 0)
        nothing = np.zeros_like(along[:1])
        before, after = nothing, nothing
        if kind == "periodic" and low and high:
            # One of two faces on the boundary is enough: the other one is its image.
            before, after = along[-1:], along[-1:]
        elif kind == "hard":
            before = along[:1] if low else nothing
            after = along[-1:] if high else nothing
        return np.moveaxis(np.concatenate([before, along, after]), 0, 1 - axis)

    def fills(self, points: Floats) -> Bools:
        """Which points [M,2] µm lie on the solid side, thickness left out."""
        cells = self.cells
        column, row = np.floor((points - np.asarray(self.origin)) / self.cell).astype(int).T
        within = (column >= 0) & (column < cells.shape[1]) & (row >= 0) & (row < cells.shape[0])
        return within & cells[np.where(within, row, 0), np.where(within, column, 0)]

    def outlines(self) -> list[Floats]:
        """Lines [P,2] µm of a drawing: closed ones around connected cells."""
        faces = self._faces(np.pad(self.cells, 1))
        by_start: dict[tuple[int, int], list[int]] = {}
        ends = np.round((faces - np.asarray(self.origin)) / self.cell).astype(int)
        for index, (start, _) in enumerate(ends):
            by_start.setdefault((int(start[0]), int(start[1])), []).append(index)
        lines, used = [], np.zeros(len(faces), bool)
        for first in range(len(faces)):
            line, index = [], first
            while not used[index]:
                used[index] = True
                line.append(faces[index, 0])
                nexts = by_start[int(ends[index, 1, 0]), int(ends[index, 1, 1])]
                index = next((i for i in nexts if not used[i]), first)
            if line:
                lines.append(np.asarray([*line, line[0]]))
        return lines


def _runs(mask: Bools) -> list[tuple[int, int, int]]:
    """Runs of true values in the rows of a mask: (row, first, one past the last)."""
    padded = np.zeros((mask.shape[0], mask.shape[1] + 2), np.int8)
    padded[:, 1:-1] = mask
    step = np.diff(padded, axis=1)
    rows, first = np.nonzero(step == 1)
    _, last = np.nonzero(step == -1)
    return list(zip(rows.tolist(), first.tolist(), last.tolist(), strict=True))


def _read_image(path: Path, threshold: float) -> tuple[str, ...]:
    from PIL import Image

    try:
        with Image.open(path) as image:
            pixels: Any = np.asarray(image.convert("RGBA"), np.float64) / 255
    except (OSError, ValueError) as error:
        raise ConfigError(f"maze: cannot read the image {str(path)!r} ({error}).") from None
    alpha = pixels[..., 3:]
    grey = (pixels[..., :3] * alpha + 1 - alpha) @ np.asarray([0.299, 0.587, 0.114])
    return tuple("".join(WALL if dark else "." for dark in row) for row in grey < threshold)
