"""What was found in a frame, in pixels of the image."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Image = npt.NDArray[np.float32]
Frame = npt.NDArray[np.uint8 | np.uint16]


@dataclass(frozen=True)
class Detections:
    """M colloids of a frame, clearest first.

    Attributes:
        position: [M,2] px, x to the right and y down, the centre of the first pixel at (0, 0).
        signal: [M] counts over the ground: a spot's height, a disc's mean deviation.
        direction: [M,2] unit vectors of the image, 0 where no orientation can be seen.
        direction_error: [M] rad, standard deviation of the direction; inf where it is not seen.
        quality: [M] by which the detector ranks them: a spot's height, the share of the variance
            that a disc explains.
        axial: bool [M], whether of the direction only the axis is seen: its sign is arbitrary. It
            may be left out: none is.
        length: [M] px from end to end, NaN where it is not measured. It may be left out.
    """

    position: Floats
    signal: Floats
    direction: Floats
    direction_error: Floats
    quality: Floats
    axial: Bools = field(default_factory=lambda: np.empty(0, np.bool_))
    length: Floats = field(default_factory=lambda: np.empty(0))

    def __post_init__(self) -> None:
        for name, missing in (("axial", False), ("length", np.nan)):
            if len(getattr(self, name)) != len(self):
                object.__setattr__(self, name, np.full(len(self), missing))

    @classmethod
    def of_spots(cls, position: npt.ArrayLike, signal: npt.ArrayLike | None = None) -> Detections:
        """Return detections without orientation; the signal is 1 unless it is given."""
        places = np.asarray(position, np.float64).reshape(-1, 2)
        count = len(places)
        strength = np.ones(count) if signal is None else np.asarray(signal, np.float64)
        return cls(places, strength, np.zeros((count, 2)), np.full(count, np.inf), strength)

    def __len__(self) -> int:
        return len(self.signal)

    def take(self, index: npt.NDArray[np.bool_] | npt.NDArray[np.int64]) -> Detections:
        """Return some of them."""
        return Detections(*(getattr(self, f.name)[index] for f in dataclasses.fields(self)))

    def joined(self, other: Detections) -> Detections:
        """Return these and the others."""
        return Detections(
            *(
                np.concatenate([getattr(self, f.name), getattr(other, f.name)])
                for f in dataclasses.fields(self)
            )
        )


Detector = Callable[[Frame | Image], Detections]
"""Finds colloids in a frame [H,W] of bytes or words, or in a flattened image [H,W] of float32."""
