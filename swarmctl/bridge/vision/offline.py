"""Detection and linking of recordings: by our tracker, or by trackpy and LapTrack."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from swarmctl.bridge.vision.detections import Detections, Detector, Floats, Frame, Image
from swarmctl.bridge.vision.frames import check_frame
from swarmctl.bridge.vision.linking import Ints
from swarmctl.bridge.vision.tracker import NOBODY, Tracker, TrackerConfig
from swarmctl.core.config import key
from swarmctl.core.errors import ConfigError, FrameError, LinkingError, require_positive
from swarmctl.core.extras import import_extra
from swarmctl.optics.affine import Affine

Linker = Callable[[Sequence[Floats], Sequence[float]], list[Ints]]
"""Takes places [M,2] µm and the time in s of every frame; returns identities [M] for every frame,
NOBODY where there is none. Raises FrameError and LinkingError."""

_SAMPLE = Affine(((1.0, 0.0), (0.0, 1.0)))


@dataclass(frozen=True)
class TrackpyDetectorConfig:
    """Bright spots by trackpy.locate (Crocker and Grier 1996)."""

    kind: ClassVar[str] = "trackpy"

    diameter: int = key(13, "of a spot, px; odd")
    separation: float = key(6.0, "two spots are never closer, px")
    minmass: float = key(0.0, "least brightness of a spot, summed; with 0 noise is found, too")

    def __post_init__(self) -> None:
        require_positive("trackpy", separation=self.separation)
        if self.diameter < 3 or self.diameter % 2 == 0:
            raise ConfigError(f"trackpy: diameter must be odd and at least 3, got {self.diameter}.")

    def build(self) -> Detector:
        """Return the detector. Raises MissingExtraError."""
        trackpy = import_extra("tracking", "trackpy")

        def detect(frame: Frame | Image) -> Detections:
            check_frame(frame)
            if frame.min() == frame.max():  # trackpy warns of these
                return Detections.of_spots(np.empty((0, 2)))
            with warnings.catch_warnings():  # trackpy 0.7 uses what pandas 3 will drop
                warnings.simplefilter("ignore", DeprecationWarning)
                table = trackpy.locate(
                    frame, self.diameter, minmass=self.minmass, separation=self.separation
                )
            table = table.sort_values("mass", ascending=False)
            return Detections.of_spots(table[["x", "y"]].to_numpy(), table["signal"].to_numpy())

        return detect


@dataclass(frozen=True)
class TrackerLinkerConfig:
    """The tracker of the loop; the first sighting counts already."""

    kind: ClassVar[str] = "tracker"

    tracker: TrackerConfig = key(TrackerConfig(confirm=1), "how colloids move")

    def build(self) -> Linker:
        """Return the linker."""

        def run(places: Sequence[Floats], times: Sequence[float]) -> list[Ints]:
            follow, identities = Tracker(self.tracker, _SAMPLE), []
            tracks = follow.start()
            for place, time in zip(_checked(places, times), times, strict=True):
                tracks = follow.update(tracks, Detections.of_spots(place), time)
                identity = np.full(len(place), NOBODY, np.int64)
                used = tracks.detection >= 0
                identity[tracks.detection[used]] = tracks.identity[used]
                identities.append(identity)
            return identities

        return run


@dataclass(frozen=True)
class TrackpyLinkerConfig:
    """trackpy.link_iter; where it is crowded it looks less far."""

    kind: ClassVar[str] = "trackpy"

    reach: float = key(2.0, "no colloid moves further between two sightings", "um")
    memory: int = key(5, "frames for which a colloid may be missing")
    shortest: float = key(0.2, "reach, down to which is gone where it is crowded", "um")

    def __post_init__(self) -> None:
        require_positive("trackpy", reach=self.reach, shortest=self.shortest)

    def build(self) -> Linker:
        """Return the linker. Raises MissingExtraError."""
        trackpy = import_extra("tracking", "trackpy")
        crowded = import_extra("tracking", "trackpy.linking.utils").SubnetOversizeException

        def run(places: Sequence[Floats], times: Sequence[float]) -> list[Ints]:
            frames = _checked(places, times)
            trackpy.quiet()
            try:
                linked = list(
                    trackpy.link_iter(
                        frames,
                        self.reach,
                        memory=self.memory,
                        adaptive_stop=self.shortest,
                        adaptive_step=0.8,
                    )
                )
            except crowded as error:
                raise LinkingError(
                    f"trackpy cannot link colloids that are so crowded ({error}); choose a reach "
                    f"below {self.reach} µm or a shortest one below {self.shortest} µm, or take "
                    "the linker 'tracker'."
                ) from None
            return [np.asarray(identity, np.int64) for _, identity in linked]

        return run


@dataclass(frozen=True)
class LaptrackLinkerConfig:
    """LapTrack (Jaqaman et al. 2008) without merging and splitting."""

    kind: ClassVar[str] = "laptrack"

    reach: float = key(2.0, "no colloid moves further between two frames", "um")
    memory: int = key(5, "frames for which a colloid may be missing")

    def __post_init__(self) -> None:
        require_positive("laptrack", reach=self.reach)

    def build(self) -> Linker:
        """Return the linker. Raises MissingExtraError."""
        laptrack = import_extra("tracking", "laptrack")

        def run(places: Sequence[Floats], times: Sequence[float]) -> list[Ints]:
            frames = _checked(places, times)
            linker = laptrack.LapTrack(
                cutoff=self.reach**2,
                gap_closing_cutoff=self.reach**2,
                gap_closing_max_frame_count=self.memory,
                splitting_cutoff=False,
                merging_cutoff=False,
            )
            identities = [np.full(len(frame), NOBODY, np.int64) for frame in frames]
            before = {}
            tree = linker.predict(frames)
            for (from_frame, i), (to_frame, j) in tree.edges:
                before[to_frame, j] = (from_frame, i)
            following = 0
            for number, frame in enumerate(frames):
                for j in range(len(frame)):
                    if (number, j) in before:
                        earlier, i = before[number, j]
                        identities[number][j] = identities[earlier][i]
                    else:
                        identities[number][j] = following
                        following += 1
            return identities

        return run


def _checked(places: Sequence[Floats], times: Sequence[float]) -> list[Floats]:
    if len(places) != len(times):
        raise FrameError(f"{len(places)} frames have {len(times)} times; give one for each.")
    frames = [np.asarray(place, np.float64).reshape(-1, 2) for place in places]
    if not all(np.isfinite(frame).all() for frame in frames):
        raise FrameError("a place is not finite; leave out what was not found.")
    return frames
