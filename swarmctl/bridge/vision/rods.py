"""Bright rods in a frame, with their axes and lengths."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from swarmctl.bridge.vision import bodies
from swarmctl.bridge.vision.detections import Bools, Detections, Detector, Floats, Frame, Image
from swarmctl.bridge.vision.search import Search, SearchMemory, without_duplicates
from swarmctl.core.config import key
from swarmctl.core.errors import ConfigError, require_positive

_FIRST_ROUNDS, _ROUNDS = 3, 5
_SMOOTHING = 0.6  # of a rod's width
_FLANK = 1.6  # widths beside the ridge of a rod
_ALONG, _ACROSS = 0.6, 1.2  # of length and width: two starts closer than both are of one rod
_BESIDE = 0.6  # of a rod's height: a line that crosses it has less
_FAINT = 0.4  # of a rod's height: what fits live on or leave over beside it is less


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
    explained: float = key(0.6, "least share of the variance on a rod that its shape explains")

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
        from swarmctl.bridge.vision import compiled_bodies, compiled_fits  # noqa: F401

        self.config = config
        self._loops = compiled_bodies
        self._memory = SearchMemory()
        # Half a step turns the end of a rod by half its width.
        count = max(6, int(np.ceil(np.pi * config.length / (2 * config.sigma))))
        self._angles = np.arange(count) * np.pi / count
        reach = config.length / 4  # half pixels
        along = np.linspace(-reach, reach, int(np.ceil(reach)) + 1)  # smoothed: every other one
        unit = np.column_stack([np.cos(self._angles), np.sin(self._angles)])
        self._flank = max(1, round(_FLANK * config.sigma / 2))
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

    def _starts(self, search: Search, least: float) -> Floats:
        """What may be rods, brightest first: peaks of means along lines. See `bodies.fit`."""
        config = self.config
        # A line that lies on a rod with one half has half of the rod's mean: no start.
        place, mean, which = search.line_peaks(
            self._lines, self._flank, least / 2, config.separation
        )
        length = np.full(len(place), config.length)
        start = np.column_stack([mean, length, place, self._angles[which]])
        start = np.ascontiguousarray(start[np.argsort(-start[:, 0], kind="stable")])
        # What is faint beside a rod is its own light, or is found when that is taken out.
        return start[self._apart(start, _BESIDE)]

    def _apart(self, start: Floats, faint: float) -> Bools:
        """Mark [M] what does not lie on one before, and is not fainter and beside it."""
        config, apart = self.config, np.empty(len(start), np.bool_)
        along, across = _ALONG * config.length, _ACROSS * config.sigma
        self._loops.mark_apart(start, along, across, faint, apart)
        return apart

    def _fit(self, search: Search, start: Floats, least: float) -> Detections:
        """Fit all rods; then look once for those that stand out of what the rods leave over."""
        config = self.config
        fits, good = self._try(search, start, _FIRST_ROUNDS)
        if not good.all():
            # What is no rod took light from its neighbours.
            fits, good = self._try(search, fits.known[good], _ROUNDS)
        known = fits.known[good]
        count = len(known)
        search.smooth(_SMOOTHING * config.sigma / 2)
        if count:
            least = max(least, _FAINT * float(np.median(known[:, 0])))
        both = np.concatenate([known, self._starts(search, least)])
        apart = self._apart(both, 0.0)
        apart[:count] = True
        if apart[count:].any():
            more, fine = self._try(search, both[apart], _ROUNDS)
            # Pieces of a rod that is not shaped as expected would spoil it.
            if fine[:count].all():
                fits, good = more, fine
        none = np.zeros(len(good), np.bool_)
        height, length = fits.known[:, 0].copy(), fits.known[:, 1].copy()
        return bodies.detections(fits, height, none, ~none, length).take(good)

    def _try(self, search: Search, start: Floats, rounds: int) -> tuple[bodies.Fits, Bools]:
        """Fit what may be rods; also mark [M] those that are."""
        config = self.config
        fits = bodies.fit(search, False, config.length, config.sigma, start, rounds)
        good = np.abs(fits.known[:, 1] / config.length - 1) < config.tolerance
        good &= (fits.known[:, 0] >= config.lowest) & (fits.explained > config.explained)
        # A faint one lives on the light of the rods beside it.
        order = np.argsort(-fits.known[:, 0], kind="stable")
        good[order] &= self._apart(np.ascontiguousarray(fits.known[order]), _FAINT)
        return fits, good
