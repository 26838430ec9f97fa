"""The seeing half of the loop: a frame is waited for, colloids are found in it and tracked."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from swarmctl.bridge.devices.contract import Camera, Shot
from swarmctl.bridge.microscope.timing import Timing
from swarmctl.bridge.orders import Order
from swarmctl.bridge.vision.detections import Detections, Detector
from swarmctl.bridge.vision.frames import Flattening, check_frame
from swarmctl.bridge.vision.tracker import Tracker, Tracks
from swarmctl.core.errors import DeviceError, DeviceTimeoutError

SAME_MAX = 3
"""Frames in a row that may be the same as the one before in every pixel: cameras have noise."""


@dataclass(frozen=True)
class Look:
    """A frame and what was made of it.

    Attributes:
        shot: the frame.
        detections: what was found.
        tracks: who is where.
        timing: when.
        dropped: frames that never came since the look before.
    """

    shot: Shot
    detections: Detections
    tracks: Tracks
    timing: Timing
    dropped: int = 0

    @property
    def found(self) -> int:
        """Colloids that were found in this frame, of those who are tracked."""
        return int(self.tracks.seen.sum())


@dataclass(frozen=True)
class FrameRecord:
    """What an observer is told of every frame: the look, and the order that rested on it."""

    look: Look
    order: Order | None


class Eyes:
    """A camera with what reads its frames.

    Args:
        camera: connected and started.
        detector: finds colloids.
        tracker: keeps their identities.
        flattening: applied to frames first, if there is one.
        heartbeat: s, longest wait before `beat` is called.
        frame_timeout: s, longest wait for a frame.
        clock: s.
    """

    def __init__(
        self,
        camera: Camera,
        detector: Detector,
        tracker: Tracker,
        flattening: Flattening | None,
        heartbeat: float,
        frame_timeout: float,
        clock: Callable[[], float],
    ) -> None:
        self._camera, self._detector, self._tracker = camera, detector, tracker
        self._flattening, self._clock = flattening, clock
        self._heartbeat, self._frame_timeout = heartbeat, frame_timeout
        self._last: Shot | None = None
        self._same = 0
        self._tracks = tracker.start()

    def forget(self) -> None:
        """Begin with nobody tracked; no identity is given twice."""
        self._tracks = dataclasses.replace(
            self._tracker.start(), next_identity=self._tracks.next_identity
        )

    def look(self, beat: Callable[[Shot | None], None]) -> Look:
        """Wait for the next frame, calling `beat` with the last one meanwhile, and track.

        Raises DeviceTimeoutError or DeviceError of the camera, FrameError, and what `beat` raises.
        """
        shot = self._wait(beat)
        check_frame(shot.frame, (self._camera.spec.height, self._camera.spec.width))
        image = shot.frame if self._flattening is None else self._flattening.apply(shot.frame)
        found = self._detector(image)
        self._tracks = self._tracker.update(self._tracks, found, shot.exposed)
        dropped = 0 if self._last is None else shot.number - self._last.number - 1
        self._last = shot
        timing = Timing(shot.exposed, shot.received, self._clock())
        return Look(shot, found, self._tracks, timing, dropped)

    def places(self, look: Look) -> np.ndarray:
        """Return where colloids were found in a frame, tracked or not, [M,2] µm in the box."""
        return np.asarray(self._tracker.view.to_sample(look.detections.position), np.float64)

    def _wait(self, beat: Callable[[Shot | None], None]) -> Shot:
        begin = self._clock()
        while True:
            try:
                shot = self._camera.newest(self._heartbeat)
            except DeviceTimeoutError:
                beat(self._last)
                if self._clock() - begin > self._frame_timeout:
                    raise DeviceTimeoutError(
                        f"camera {self._camera.spec.name!r}: no frame for "
                        f"{self._clock() - begin:.2f} s; is it running?"
                    ) from None
                continue
            beat(shot)
            if self._last is not None and shot.number <= self._last.number:
                raise DeviceError(
                    f"camera {self._camera.spec.name!r}: frame {shot.number} came after frame "
                    f"{self._last.number}; its numbers must rise."
                )
            self._same = self._same + 1 if self._is_same(shot) else 0
            if self._same >= SAME_MAX:
                raise DeviceError(
                    f"camera {self._camera.spec.name!r}: {self._same + 1} frames in a row are the "
                    "same in every pixel; it is frozen, although its numbers rise."
                )
            return shot

    def _is_same(self, shot: Shot) -> bool:
        """Whether a frame is the last one once more; a part of it tells nearly always.

        A plain frame, all full or all dark, may well come twice: it is told otherwise.
        """
        if self._last is None:
            return False
        now, before = shot.frame, self._last.frame
        same = np.array_equal(now[::16], before[::16]) and np.array_equal(now, before)
        return same and bool(now.min() < now.max())
