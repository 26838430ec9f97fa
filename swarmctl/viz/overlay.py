"""A frame of a camera with what is known drawn over it: colloids, headings, light, goals, words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from swarmctl.core.errors import ConfigError
from swarmctl.viz.style import SPECIES_COLOURS

Floats = npt.NDArray[np.float64]

SEEN, DIM = SPECIES_COLOURS[1], "#9aa7b3"
LIGHT = SPECIES_COLOURS[2]
GOAL = SPECIES_COLOURS[6]


@dataclass(frozen=True)
class Overlay:
    """What to draw, in px of the image (x to the right, y down).

    Attributes:
        place: [K,2] colloids.
        radius: px, of a colloid.
        heading: [K,2] unit vectors, 0 where none is known.
        driven: bool [K], whether an agent acts on it.
        light: [L,3] spots of light: x, y, radius.
        goal: [G,3] circles to mark: x, y, radius.
        lines: words, from the top left.
        alarm: a sentence in red, "" for none.
    """

    place: Floats
    radius: float
    heading: Floats
    driven: npt.NDArray[np.bool_]
    light: Floats
    goal: Floats
    lines: Sequence[str] = ()
    alarm: str = ""


def draw_overlay(
    frame: npt.NDArray[np.uint8 | np.uint16], over: Overlay, width: int = 720
) -> npt.NDArray[np.uint8]:
    """Draw over a frame [H,W] and return uint8 [h,w,3], about `width` px wide.

    Grey values are stretched from the 1st to the 99.8th percentile. Raises ConfigError for a frame
    of another shape.
    """
    if frame.ndim != 2:
        raise ConfigError(f"overlay: a frame is a grey image [H,W], got {frame.shape}.")
    low, high = np.percentile(frame[::4, ::4], [1.0, 99.8])
    grey = np.clip((frame - low) / max(high - low, 1.0), 0, 1)
    scale = width / frame.shape[1]
    size = (2 * (width // 2), 2 * round(frame.shape[0] * scale / 2))
    picture = Image.fromarray((235 * grey).astype(np.uint8)).resize(size).convert("RGB")
    draw = ImageDraw.Draw(picture)

    def circle(x: float, y: float, radius: float, colour: str, line: int) -> None:
        box = [
            scale * (x - radius),
            scale * (y - radius),
            scale * (x + radius),
            scale * (y + radius),
        ]
        draw.ellipse(box, outline=colour, width=line)

    for x, y, radius in over.goal:
        circle(x, y, radius, GOAL, 2)
    for x, y, radius in over.light:
        circle(x, y, radius, LIGHT, 2)
    for (x, y), (u, v), driven in zip(over.place, over.heading, over.driven, strict=True):
        colour = SEEN if driven else DIM
        circle(x, y, over.radius, colour, 1)
        if u or v:
            start, end = 0.4 * over.radius, 1.6 * over.radius
            line = [x + start * u, y + start * v, x + end * u, y + end * v]
            draw.line([scale * value for value in line], fill=colour, width=2)
    _words(draw, size, over)
    return np.asarray(picture, np.uint8)


def _words(draw: ImageDraw.ImageDraw, size: tuple[int, int], over: Overlay) -> None:
    font = ImageFont.load_default(max(12, size[0] // 48))
    step = max(15, size[0] // 38)
    for row, line in enumerate(over.lines):
        place = (10, 8 + row * step)
        draw.text(place, line, fill="white", font=font, stroke_width=2, stroke_fill="black")
    if over.alarm:
        draw.rectangle([0, size[1] - 2 * step, size[0], size[1]], fill="#b3261e")
        draw.text((10, size[1] - 1.6 * step), over.alarm, fill="white", font=font)
