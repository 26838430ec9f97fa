"""What was found in a frame, in pixels of the image."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
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
    """

    position: Floats
    signal: Floats
    direction: Floats
    direction_error: Floats
    quality: Floats

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
        return Detections(
            self.position[index],
            self.signal[index],
            self.direction[index],
            self.direction_error[index],
            self.quality[index],
        )

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
