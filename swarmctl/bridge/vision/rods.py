"""Bright rods in a frame, with their axes and lengths."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from swarmctl.bridge.vision import bodies
from swarmctl.bridge.vision.detections import Detections, Detector, Frame, Image
from swarmctl.bridge.vision.search import Search, SearchMemory, to_half, without_duplicates
from swarmctl.core.config import key
from swarmctl.core.errors import ConfigError, require_positive

_SMOOTHING = 0.6  # of a rod's width
_ALONG, _ACROSS = 0.6, 1.2  # of length and width: two starts closer than both are of one rod


@dataclass(frozen=True)
class RodDetectorConfig:
    """Bright rods of about equal length and width, as in fluorescence.

    Their two ends look alike, so that the axis is seen, and not which end is ahead.
    """

    kind: ClassVar[str] = "rods"

    length: float = key(20.0, "of a rod, from half height to half height, px")
    sigma: float = key(2.5, "standard deviation across a rod, px")
    tolerance: float = key(0.4, "largest departure from the length, as a share of it")
    separation: float = key(5.0, "the middles of two rods are never closer, px")
    threshold: float = key(6.0, "least height of a smoothed rod, in standard deviations of noise")
    lowest: float = key(2.0, "least height of a rod, counts")
    explained: float = key(0.7, "least share of the variance on a rod that its shape explains")

    def __post_init__(self) -> None:
        require_positive(
            "rods",
            length=self.length,
            sigma=self.sigma,
            separation=self.separation,
            threshold=self.threshold,
            lowest=self.lowest,
        )
        for name in ("tolerance", "explained"):
            if not 0 < getattr(self, name) < 1:
                raise ConfigError(f"rods: {name} must lie between 0 and 1.")
        if self.length < 3 * self.sigma:
            raise ConfigError(
                f"rods: an axis is seen from a length of 3 sigma on, got {self.length} px and "
                f"sigma {self.sigma} px; use the detector 'spots'."
            )

    def build(self) -> Detector:
        """Return the detector; machine code is ready then. Raises MissingExtraError."""
        return RodDetector(self)


class RodDetector:
    """Peaks of means along lines, of those directions that give most; then all are fitted."""

    def __init__(self, config: RodDetectorConfig) -> None:
        """Load the machine code and draw the lines."""
        from swarmctl.bridge.vision import compiled_bodies

        self.config = config
        self._loops = compiled_bodies
        self._memory = SearchMemory()
        # Half a step turns the end of a rod by half its width.
        count = max(6, int(np.ceil(np.pi * config.length / (2 * config.sigma))))
        self._angles = np.arange(count) * np.pi / count
        reach = config.length / 4  # half pixels
        along = np.linspace(-reach, reach, 2 * int(np.ceil(reach)) + 1)
        unit = np.column_stack([np.cos(self._angles), np.sin(self._angles)])
        self._lines = np.rint(along[:, None] * unit[:, None]).astype(np.int64)

    def __call__(self, frame: Frame | Image) -> Detections:
        """Find rods. A frame without contrast gives none. Raises FrameError."""
        config = self.config
        search = self._memory.of(frame)
        search.load(frame, _SMOOTHING * config.sigma / 2)
        level, noise = search.level_and_noise()
        search.half -= np.float32(level)
        least = max(config.threshold * noise, config.lowest / (1 + _SMOOTHING**2) ** 0.5)
        found = self._fit(search, *self._starts(search, least))
        return without_duplicates(found, config.separation, search.shape)

    def _starts(self, search: Search, least: float) -> tuple[bodies.Floats, ...]:
        """Places [M,2] px, angles [M] and heights [M] of what may be a rod, brightest first."""
        config = self.config
        mean, which = np.empty_like(search.half), np.empty(search.half.shape, np.int64)
        self._loops.line_means(search.half, least / 2, self._lines, mean, which)
        search.half[...] = mean
        # Behind a rod's ends its line holds half of it; what is less is no rod.
        place = search.peaks(least / 2, config.separation)
        i, j = np.rint(to_half(place)).astype(int).T
        order = np.argsort(-mean[j, i], kind="stable")
        place, angle, height = place[order], self._angles[which[j, i]][order], mean[j, i][order]
        apart = np.empty(len(place), np.bool_)
        self._loops.mark_apart(place, angle, _ALONG * config.length, _ACROSS * config.sigma, apart)
        return place[apart], angle[apart], height[apart].astype(np.float64)

    def _fit(
        self, search: Search, place: bodies.Floats, angle: bodies.Floats, height: bodies.Floats
    ) -> Detections:
        config = self.config
        for _ in range(2):
            fits = bodies.fit(search, False, config.length, config.sigma, place, angle, height)
            good = np.abs(fits.second / config.length - 1) < config.tolerance
            good &= (fits.height >= config.lowest) & (fits.explained > config.explained)
            if good.all():
                break
            # What is no rod took light from its neighbours.
            place, angle, height = fits.position[good], fits.angle[good], fits.height[good]
        none = np.zeros(len(good), np.bool_)
        found = bodies.detections(fits, fits.height, none, ~none, fits.second)
        return found.take(good)
