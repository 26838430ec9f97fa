"""Bright dimers in a frame: two spots that are one body, with its axis."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from swarmctl.bridge.vision import bodies
from swarmctl.bridge.vision.detections import Detections, Detector, Floats, Frame, Image
from swarmctl.bridge.vision.linking import Ints
from swarmctl.bridge.vision.search import Search, SearchMemory, to_half, without_duplicates
from swarmctl.bridge.vision.spots import SpotDetectorConfig
from swarmctl.core.config import key
from swarmctl.core.errors import ConfigError, require_positive
from swarmctl.core.extras import import_extra

_ROUNDS = 4
_SURE = 3.0  # standard deviations, from which on one spot is brighter
_CLOSEST = 3.0  # widths of a spot: closer ones have no two peaks
_LEAST_EXPLAINED = 0.5  # of the variance about a dimer

_TURN = np.arange(24) * np.pi / 12
_AROUND = np.column_stack([np.cos(_TURN), np.sin(_TURN)])


@dataclass(frozen=True)
class DimerDetectorConfig:
    """Pairs of bright spots at a fixed distance, as in fluorescence."""

    kind: ClassVar[str] = "dimers"

    distance: float = key(10.0, "between the two spots, px")
    sigma: float = key(3.0, "standard deviation of a spot, px")
    tolerance: float = key(0.15, "largest departure from the distance, as a share of it")
    ratio: float = key(0.3, "least height of the dimmer spot, relative to the brighter one")
    polar: bool = key(
        False, "whether the spots differ on purpose: a dimer points from bright to dim"
    )
    threshold: float = key(6.0, "least height of a smoothed spot, in standard deviations of noise")
    lowest: float = key(2.0, "least height of a spot, counts")

    def __post_init__(self) -> None:
        require_positive(
            "dimers",
            distance=self.distance,
            sigma=self.sigma,
            threshold=self.threshold,
            lowest=self.lowest,
        )
        if not 0 < self.tolerance < 0.5:
            raise ConfigError("dimers: tolerance must lie between 0 and 0.5.")
        if not 0 < self.ratio <= 1:
            raise ConfigError("dimers: ratio must lie between 0 and 1.")
        if self.distance < _CLOSEST * self.sigma:
            raise ConfigError(
                f"dimers: two spots are told apart from {_CLOSEST:g} sigma on, got a distance of "
                f"{self.distance} px and sigma {self.sigma} px; use the detector 'rods'."
            )

    def build(self) -> Detector:
        """Return the detector; machine code is ready then. Raises MissingExtraError."""
        return DimerDetector(self)


class DimerDetector:
    """Spots, taken together by their distance; then all pairs are fitted."""

    def __init__(self, config: DimerDetectorConfig) -> None:
        """Load the machine code."""
        from swarmctl.bridge.vision import compiled_fits  # noqa: F401 (compiled before the loop)

        import_extra("vision", "scipy.spatial")  # loaded before the loop, too
        self.config = config
        self._spots = SpotDetectorConfig(
            sigma=config.sigma,
            separation=0.6 * config.distance,
            threshold=config.threshold,
            lowest=config.lowest,
        ).build()
        self._memory = SearchMemory()

    def __call__(self, frame: Frame | Image) -> Detections:
        """Find dimers. A frame without contrast gives none. Raises FrameError."""
        config = self.config
        search = self._memory.of(frame)
        spots = self._spots.coarse(search, frame)
        pair = pairs_at(spots.position, config.distance, config.tolerance * config.distance)
        ends = self._with_hidden(search, spots.position, pair)
        along = ends[:, 0] - ends[:, 1]
        height = np.full(len(ends), np.median(spots.signal) if len(spots) else 0.0)
        start = np.column_stack(
            [height, height, ends.mean(axis=1), np.arctan2(along[:, 1], along[:, 0])]
        )
        fits = bodies.fit(search, True, config.distance, config.sigma, start, _ROUNDS)
        # The spot ahead is the first; a dimer points from bright to dim.
        turn = config.polar & (fits.unequal > 0)
        axial = ~(config.polar & (np.abs(fits.unequal) > _SURE))
        signal = fits.known[:, :2].mean(axis=1)
        length = np.full(len(signal), config.distance)
        found = bodies.detections(fits, signal, turn, axial, length)
        dim, bright = np.sort(fits.known[:, :2]).T
        good = (dim >= config.lowest) & (dim >= config.ratio * bright)
        found = found.take(good & (fits.explained > _LEAST_EXPLAINED))
        return without_duplicates(found, config.distance / 2, search.shape)

    def _with_hidden(self, search: Search, spots: Floats, pair: Ints) -> Floats:
        """Both spots [P,2,2] px of all pairs, and of single spots with what is bright beside them.

        On the flank of a bright spot a dim one has no peak of its own.
        """
        distance = self.config.distance
        alone = np.setdiff1d(np.arange(len(spots)), pair)
        ends = spots[pair]
        if not len(alone):
            return ends
        partner = spots[alone, None] + distance * _AROUND
        i, j = np.moveaxis(np.rint(to_half(partner)).astype(int), -1, 0)
        height, width = search.half.shape
        light = search.half[np.clip(j, 0, height - 1), np.clip(i, 0, width - 1)].copy()
        light[(i < 0) | (j < 0) | (i >= width) | (j >= height)] = -np.inf
        # What is bright there may be a spot that is known.
        spatial = import_extra("vision", "scipy.spatial")
        light[spatial.cKDTree(spots).query(partner)[0] < distance / 2] = -np.inf
        best = np.argmax(light, axis=1)
        hidden = np.stack([spots[alone], partner[np.arange(len(alone)), best]], axis=1)
        return np.concatenate([ends, hidden])


def pairs_at(position: Floats, distance: float, tolerance: float) -> Ints:
    """Return pairs [P,2] of positions [M,2] that are `distance` apart, each position in one only.

    Those with one possible partner come first; of several, the pair with the best distance.
    """
    none = np.empty((0, 2), np.int64)
    if len(position) < 2:
        return none
    spatial = import_extra("vision", "scipy.spatial")
    pairs = spatial.cKDTree(position).query_pairs(distance + tolerance, output_type="ndarray")
    away = np.linalg.norm(position[pairs[:, 0]] - position[pairs[:, 1]], axis=1) - distance
    near = np.abs(away) <= tolerance
    pairs, away = pairs[near].astype(np.int64), np.abs(away[near])
    taken = [none]
    while len(pairs):
        partners = np.bincount(pairs.ravel(), minlength=len(position))[pairs]
        sure = partners.max(axis=1) == 1
        if not sure.any():
            sure[np.lexsort([away, partners.min(axis=1) > 1])[0]] = True
        taken.append(pairs[sure])
        rest = ~np.isin(pairs, pairs[sure]).any(axis=1)
        pairs, away = pairs[rest], away[rest]
    return np.concatenate(taken)
