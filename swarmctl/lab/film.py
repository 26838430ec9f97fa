"""A film of a run: the camera's frames with what the loop knew drawn over them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from swarmctl.core.extras import import_extra
from swarmctl.viz.movie import write_movie
from swarmctl.viz.overlay import Overlay, draw_overlay

FPS = 10.0
_IMAGE_NUMBER = 37393  # TIFF tag


def recorded_images(folder: Path) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (number, frame [H,W]) of a run's images, in order."""
    tifffile = import_extra("lab", "tifffile")
    for path in sorted(folder.glob("images*.ome.tif")):
        with tifffile.TiffFile(path, is_ome=False) as file:
            for page in file.pages:
                yield int(page.tags[_IMAGE_NUMBER].value), page.asarray()


def write_film(
    folder: Path, overlays: Mapping[int, Overlay], every: int = 2, width: int = 480
) -> tuple[Path, ...]:
    """Write `film.mp4` of every second frame into a run's folder."""

    def frames() -> Iterator[np.ndarray]:
        for count, (number, frame) in enumerate(recorded_images(folder)):
            if number in overlays and count % every == 0:
                yield draw_overlay(frame, overlays[number], width)

    return tuple(write_movie(folder / "film", frames(), FPS, formats=("mp4",)).paths)
