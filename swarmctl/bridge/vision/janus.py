"""Discs with a dark and a bright half in bright field, with their orientation."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from swarmctl.bridge.vision.detections import Detections, Detector, Floats, Frame, Image
from swarmctl.bridge.vision.search import (
    Search,
    SearchMemory,
    from_half,
    to_half,
    without_duplicates,
)
from swarmctl.core.config import key
from swarmctl.core.errors import require_positive

_LARGEST_ERROR = 1.0  # rad
_LARGE = 9.0  # px: from this radius on half the resolution is enough
_POOR = 0.9  # of the usual share that is explained: no disc
_ALONE = 0.985  # of the usual share: less is explained where another disc was missed
_SURE = 0.95  # of the usual share: no other fit is tried
_PROVISIONAL = 0.6  # of the usual share: enough to keep its pixels from its neighbours
_ROUNDS = 6  # at most, in piles
_ATTEMPTS = 3  # to fit a disc, beginning ahead of its middle and the other way round, too
_LEAST_EXPLAINED = 0.5  # of the variance around a disc

_TURN = np.arange(8) * np.pi / 4
_AROUND = np.column_stack([np.cos(_TURN), np.sin(_TURN)])


@dataclass(frozen=True)
class JanusDetectorConfig:
    """Discs whose halves are brighter and darker than the ground, as in bright field."""

    kind: ClassVar[str] = "janus"

    radius: float = key(6.0, "of a disc, px")
    edge: float = key(2.0, "half the width over which edges are blurred, px")
    separation: float = key(9.0, "two centres are never closer, px")
    threshold: float = key(8.0, "least smoothed deviation, in standard deviations of its noise")
    lowest: float = key(2.0, "least mean deviation of a disc, counts")
    bright_ahead: bool = key(True, "whether colloids point to their bright half")

    def __post_init__(self) -> None:
        require_positive(
            "janus",
            radius=self.radius,
            edge=self.edge,
            separation=self.separation,
            threshold=self.threshold,
            lowest=self.lowest,
        )

    def build(self) -> Detector:
        """Return the detector; machine code is ready then. Raises MissingExtraError."""
        return JanusDetector(self)


class JanusDetector:
    """Peaks of the deviation from the ground, each refined by a fit of a disc with two halves."""

    def __init__(self, config: JanusDetectorConfig) -> None:
        """Load the machine code."""
        from swarmctl.bridge.vision import compiled_discs

        self.config = config
        self._loops = compiled_discs
        self._smaller: JanusDetector | None = None
        if config.radius >= _LARGE:
            halves = {n: getattr(config, n) / 2 for n in ("radius", "edge", "separation")}
            self._smaller = JanusDetector(replace(config, **halves))
        self._memory = SearchMemory()

    def __call__(self, frame: Frame | Image) -> Detections:
        """Find discs. A frame without contrast gives none. Raises FrameError."""
        return self._find(self._memory.of(frame), frame)

    def _find(self, search: Search, frame: Frame | Image) -> Detections:
        """Find discs in a frame that was checked."""
        config = self.config
        if self._smaller is not None:
            half = search.halved(frame)
            found = self._smaller._find(self._smaller._memory.of_shape(half.shape), half)
            return replace(found, position=from_half(found.position))
        search.load(frame, max(0.7, config.radius / 8))
        np.abs(search.half, out=search.half)
        gap = max(1, round(config.edge / 2))
        height = search.silhouettes(config.threshold * search.level_and_noise()[1], gap)
        search.smooth(config.radius / 7)
        level, spread = search.level_and_noise()
        least = min(level + config.threshold * spread, (level + height) / 2)
        # Silhouettes are no higher than `height`, however strong the discs are.
        least = max(least, level + min(config.lowest, height) / 2)
        start = search.peaks(least, config.separation / 2)
        found = self._fit(search, start, start)
        found = self._with_hidden(search, found, level, height)
        return self._in_piles(search, found, level, height)

    def _in_piles(
        self, search: Search, found: Detections, level: float, height: float
    ) -> Detections:
        """Look again as long as there is somebody new: in a pile one tells the next.

        Where many are missing, their neighbours are explained badly, and stand all the same until
        all are there. Once nothing else helps others are begun around doubtful fits, which may lie
        on halves of two discs.
        """
        radius = self.config.radius
        found, near, stalled = self._unique(search, found), None, False
        for _ in range(_ROUNDS):
            usual = np.median(found.quality) if len(found) else 0.0
            sure = found.quality > _SURE * usual
            around = (found.position[~sure][:, None] + radius * _AROUND).reshape(-1, 2)
            left = search.places_left(found.position, radius, level, height, near)
            near = np.concatenate([around, left])
            if not len(near):
                break
            stalled |= not len(left)
            again = self._fit(search, near if stalled else left, found.position[sure], attempts=1)
            more = self._unique(search, found.joined(again))
            if not stalled or _better(more, found, usual):
                more = self._with_hidden(search, more, level, height, _PROVISIONAL, near)
                more = self._unique(search, more)
            before, found = found, more
            new = _better(found, before, usual)
            if stalled and not new:
                break
            stalled = not new
        return found

    def _unique(self, search: Search, found: Detections) -> Detections:
        """Return those that are discs, each once."""
        real = (found.signal >= self.config.lowest) & (found.quality > _LEAST_EXPLAINED)
        return without_duplicates(found.take(real), self.config.separation, search.shape)

    def _with_hidden(
        self,
        search: Search,
        found: Detections,
        level: float,
        height: float,
        poor: float = _POOR,
        near: Floats | None = None,
    ) -> Detections:
        """Add discs without a peak of their own, where none is found yet.

        `poor` is the share of the usual that somebody explains at least who is there. Only what
        lies about `near` [M,2] px is looked at, if given.
        """
        found = found.take(found.quality > _LEAST_EXPLAINED)
        if not len(found):
            return found
        radius, usual = self.config.radius, np.median(found.quality)
        sure = found.position[found.quality > poor * usual]
        beside = search.peaks_beside(sure, radius, level, height, near)
        added = self._fit(search, beside, np.concatenate([sure, beside]))
        added = added.take(added.quality > poor * usual)
        everyone = np.concatenate([sure, added.position])
        unsure = found.position[found.quality < _ALONE * usual]
        again = self._fit(search, np.concatenate([unsure, added.position]), everyone)
        return found.joined(added).joined(again)

    def _fit(
        self, search: Search, start: Floats, others: Floats, attempts: int = _ATTEMPTS
    ) -> Detections:
        """Fit discs, at half the resolution, to what lies about positions [M,2] px."""
        config, place = self.config, to_half(start)
        angle, contrast, error, explained = (np.empty(len(place)) for _ in range(4))
        self._loops.fit_discs(
            search.fine_half,
            config.radius / 2,
            max(config.edge / 2, 0.75),
            attempts,
            to_half(others),
            place,
            angle,
            contrast,
            error,
            explained,
        )
        seen = error < _LARGEST_ERROR
        turn = 0.0 if config.bright_ahead else np.pi
        direction = np.column_stack([np.cos(angle + turn), np.sin(angle + turn)])
        return Detections(
            from_half(place),
            contrast,
            np.where(seen[:, None], direction, 0.0),
            np.where(seen, error, np.inf),
            explained,
        )


def _better(found: Detections, before: Detections, usual: float) -> bool:
    """Whether there are more discs than before, or more that are sure."""
    return len(found) > len(before) or bool(
        np.sum(found.quality > _SURE * usual) > np.sum(before.quality > _SURE * usual)
    )
