"""Frames before anything is looked for: checked, flattened, freed of what does not move."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from swarmctl.bridge.vision.detections import Frame, Image
from swarmctl.core.errors import FrameError, require_positive

SMALLEST = 16
"""Fewest pixels of a side."""


def check_frame(frame: Frame | Image, shape: tuple[int, int] | None = None) -> None:
    """Raise FrameError unless a frame is [H,W] of uint8, uint16 or finite float32.

    `shape` is what it has to be, if it is known.
    """
    if not isinstance(frame, np.ndarray) or frame.ndim != 2:
        raise FrameError(
            f"a frame is a grey image [H,W], got {getattr(frame, 'shape', type(frame).__name__)}; "
            "take one channel of a colour camera."
        )
    if frame.dtype not in (np.uint8, np.uint16, np.float32):
        raise FrameError(f"a frame has bytes, words or float32, got {frame.dtype}; convert it.")
    if min(frame.shape) < SMALLEST:
        raise FrameError(f"a frame has at least {SMALLEST} x {SMALLEST} px, got {frame.shape}.")
    if shape is not None and frame.shape != shape:
        raise FrameError(
            f"expected frames of {shape[0]} rows and {shape[1]} columns, got {frame.shape[0]} and "
            f"{frame.shape[1]}; has the camera's region or binning changed?"
        )
    if frame.dtype == np.float32 and not np.isfinite(frame.sum(dtype=np.float64)):
        raise FrameError("a frame holds values that are not finite.")


def saturated_share(frame: Frame, bits: int) -> float:
    """Share of the pixels that are at the top of a camera of so many bits."""
    check_frame(frame)
    return float(np.count_nonzero(frame >= 2**bits - 1)) / frame.size


@dataclass(frozen=True)
class Flattening:
    """Takes out what camera and illumination add: image = (frame - dark) · gain, each [H,W]."""

    dark: Image
    gain: Image

    def __post_init__(self) -> None:
        for part in (self.dark, self.gain):
            check_frame(part, self.dark.shape)
            if part.dtype != np.float32:
                raise FrameError("dark and gain are float32.")

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.dark.shape

    @classmethod
    def none(cls, shape: tuple[int, int]) -> Flattening:
        """Return one that only converts to float32."""
        return cls(np.zeros(shape, np.float32), np.ones(shape, np.float32))

    @classmethod
    def from_frames(
        cls, dark: Sequence[Frame | Image] = (), flat: Sequence[Frame | Image] = ()
    ) -> Flattening:
        """Average frames without light and of an empty, lit field; either may be missing.

        The gain is 1 on average. Raises FrameError if shapes differ, or if the lit field is hardly
        brighter than the dark one somewhere (under 5 % of the mean).
        """
        frames = [*dark, *flat]
        if not frames:
            raise FrameError("flattening needs dark frames, or frames of an empty field, or both.")
        shape = frames[0].shape
        for frame in frames:
            check_frame(frame, shape)
        floor = _mean(dark) if len(dark) else np.zeros(shape, np.float32)
        if not len(flat):
            return cls(floor, np.ones(shape, np.float32))
        light = _mean(flat) - floor
        dim = light < 0.05 * max(float(light.mean()), 1e-6)
        if dim.any():
            raise FrameError(
                f"{np.count_nonzero(dim)} px of the lit field are not brighter than without light; "
                "check the lamp, mask what is never lit, or choose a smaller region."
            )
        return cls(floor, np.asarray(light.mean() / light, np.float32))

    def apply(self, frame: Frame | Image, out: Image | None = None) -> Image:
        """Return the flattened image [H,W], written to `out` if it is given. Raises FrameError."""
        from swarmctl.bridge.vision import compiled_images

        check_frame(frame, self.shape)
        image = np.empty(self.shape, np.float32) if out is None else out
        compiled_images.flatten(np.ascontiguousarray(frame), self.dark, self.gain, image)
        return image


def _mean(frames: Sequence[Frame | Image]) -> Image:
    total = np.zeros(frames[0].shape, np.float64)
    for frame in frames:
        total += frame
    return np.asarray(total / len(frames), np.float32)


def median_background(images: Sequence[Frame | Image]) -> Image:
    """Return the median [H,W] of images in which everything of interest has moved."""
    if not len(images):
        raise FrameError("a background needs at least one image.")
    for image in images:
        check_frame(image, images[0].shape)
    return np.asarray(np.median(np.stack(list(images)), axis=0), np.float32)


@dataclass(frozen=True)
class RunningMedian:
    """Follows the background by at most `step` counts per frame, towards every pixel's median.

    What rests for long becomes background: use it where everything of interest moves.
    Source: McFarlane and Schofield, Machine Vision and Applications 8 (1995), 187.
    """

    step: float = 0.5

    def __post_init__(self) -> None:
        require_positive("running median", step=self.step)

    def update(self, background: Image, image: Image) -> None:
        """Move the background [H,W] towards a flattened image, in place. Raises FrameError."""
        from swarmctl.bridge.vision import compiled_images

        for part in (image, background):
            check_frame(part, background.shape)
            if part.dtype != np.float32:
                raise FrameError("a running median follows flattened images, float32.")
        compiled_images.follow_median(image, background, self.step)
