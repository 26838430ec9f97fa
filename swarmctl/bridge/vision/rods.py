"""Bright rods in a frame, with their axes and lengths."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from swarmctl.bridge.vision import bodies
from swarmctl.bridge.vision.detections import Bools, Detections, Detector, Floats, Frame, Image
from swarmctl.bridge.vision.search import Search, SearchMemory, to_half, without_duplicates
from swarmctl.core.config import key
from swarmctl.core.errors import ConfigError, require_positive

_SMOOTHING = 0.6  # of a rod's width
_ALONG, _ACROSS = 0.6, 1.2  # of length and width: two starts closer than both are of one rod
_FAINT = 0.4  # of the usual height: what the fits leave over beside rods is less

Starts = tuple[Floats, Floats, Floats]
"""Places [M,2] px, angles [M] rad and heights [M] of what may be a rod."""


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
        search.level_fine()
        found = self._fit(search, self._starts(search, least), least)
        return without_duplicates(found, config.separation, search.shape)

    def _starts(self, search: Search, least: float) -> Starts:
        """Peaks of the means along lines, brightest first."""
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

    def _apart(self, place: Floats, angle: Floats) -> Bools:
        """Mark [M] what does not lie on one before."""
        config, apart = self.config, np.empty(len(place), np.bool_)
        along, across = _ALONG * config.length, _ACROSS * config.sigma
        self._loops.mark_apart(place, angle, along, across, apart)
        return apart

    def _fit(self, search: Search, start: Starts, least: float) -> Detections:
        """Fit all rods; then look once for those that stand out of what the rods leave over."""
        config = self.config
        fits, good = self._try(search, start)
        if not good.all():
            # What is no rod took light from its neighbours.
            fits, good = self._try(search, _kept(fits, good))
        known = _kept(fits, good)
        search.smooth(_SMOOTHING * config.sigma / 2)
        if len(known[0]):
            least = max(least, _FAINT * float(np.median(known[2])))
        more = self._starts(search, least)
        both = [np.concatenate([a, b]) for a, b in zip(known, more, strict=True)]
        apart = self._apart(both[0], both[1])
        apart[: len(known[0])] = True
        if len(more[0]) and apart[len(known[0]) :].any():
            new, fine = self._try(search, (both[0][apart], both[1][apart], both[2][apart]))
            # Pieces of a rod that is not shaped as expected would spoil it.
            if fine[: len(known[0])].all():
                fits, good = new, fine
        none = np.zeros(len(good), np.bool_)
        return bodies.detections(fits, fits.height, none, ~none, fits.second).take(good)

    def _try(self, search: Search, start: Starts) -> tuple[bodies.Fits, Bools]:
        """Fit what may be rods; also mark [M] those that are."""
        config = self.config
        fits = bodies.fit(search, False, config.length, config.sigma, *start)
        good = np.abs(fits.second / config.length - 1) < config.tolerance
        good &= (fits.height >= config.lowest) & (fits.explained > config.explained)
        return fits, good


def _kept(fits: bodies.Fits, good: Bools) -> Starts:
    return fits.position[good], fits.angle[good], fits.height[good]
