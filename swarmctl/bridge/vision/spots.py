"""Bright spots in a frame, to a part of a pixel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from swarmctl.bridge.vision.detections import Detections, Floats, Frame, Image
from swarmctl.bridge.vision.search import (
    Search,
    SearchMemory,
    from_half,
    to_half,
    without_duplicates,
)
from swarmctl.core.config import key
from swarmctl.core.errors import require_positive

_ROUNDS = 4
_SMOOTHING = 0.6  # of a spot's width; more would merge spots that touch
_COARSE_ROUNDS = 2


@dataclass(frozen=True)
class SpotDetectorConfig:
    """Bright spots of about equal width, as in fluorescence."""

    kind: ClassVar[str] = "spots"

    sigma: float = key(3.0, "standard deviation of a spot, px")
    separation: float = key(6.0, "two spots are never closer, px")
    threshold: float = key(6.0, "least height of a smoothed spot, in standard deviations of noise")
    lowest: float = key(2.0, "least height of a spot, counts")

    def __post_init__(self) -> None:
        require_positive(
            "spots",
            sigma=self.sigma,
            separation=self.separation,
            threshold=self.threshold,
            lowest=self.lowest,
        )

    def build(self) -> SpotDetector:
        """Return the detector; machine code is ready then. Raises MissingExtraError."""
        return SpotDetector(self)


class SpotDetector:
    """Peaks at half the resolution, each refined by a Gaussian-weighted centroid."""

    def __init__(self, config: SpotDetectorConfig) -> None:
        """Load the machine code."""
        from swarmctl.bridge.vision import compiled_spots

        self.config = config
        self._refine = compiled_spots.refine_spots
        self._memory = SearchMemory()

    def __call__(self, frame: Frame | Image) -> Detections:
        """Find spots. A frame without contrast gives none. Raises FrameError."""
        config = self.config
        search = self._memory.of(frame)
        position = self._peaks(search, frame)
        height = position[:, 0].copy()
        self._refine(np.ascontiguousarray(frame), config.sigma, _ROUNDS, position, height)
        return self._spots(search, position, height)

    def coarse(self, search: Search, frame: Frame | Image) -> Detections:
        """Find spots about where they are, at half the resolution, in a frame that was checked.

        The search has taken the frame then, and the ground from its `half` and `fine_half`.
        """
        position = self._peaks(search, frame)
        search.level_fine()
        height, place = position[:, 0].copy(), to_half(position)
        sigma = float(np.sqrt(self.config.sigma**2 + 0.25)) / 2
        self._refine(search.fine_half, sigma, _COARSE_ROUNDS, place, height)
        return self._spots(search, from_half(place), height)

    def _peaks(self, search: Search, frame: Frame | Image) -> Floats:
        config = self.config
        search.load(frame, _SMOOTHING * config.sigma / 2)
        level, noise = search.level_and_noise()
        least = max(config.threshold * noise, config.lowest / (1 + _SMOOTHING**2))
        return search.peaks(level + least, config.separation)

    def _spots(self, search: Search, position: Floats, height: Floats) -> Detections:
        found = Detections.of_spots(position, height)
        found = found.take(found.signal >= self.config.lowest)
        return without_duplicates(found, self.config.separation, search.shape)
