"""Frames of a sample while an output does something for a while: for calibration and checks."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from swarmctl.bridge.devices.contract import Camera, Shot
from swarmctl.bridge.gatekeeper import Gatekeeper
from swarmctl.bridge.microscope.steering import Sent
from swarmctl.bridge.orders import Order, Receipt, Spots, Standing
from swarmctl.bridge.rig import Rig
from swarmctl.core.errors import ArmingError, DeviceTimeoutError

Floats = npt.NDArray[np.floating[Any]]

STOPPED = "the operator pressed the emergency stop"
_SHOWN = 0.4
"""Least share of the light around a point that has to be seen for a spot to be there."""


@dataclass(frozen=True)
class Probe:
    """Frames under an order: when it was first sent, and what became of all of its orders."""

    shots: list[Shot]
    issued: float
    receipts: list[Receipt]


class Bench:
    """Holds outputs for so many frames, by an order per frame, with heartbeats in between.

    Args:
        camera: connected and started.
        gatekeeper: ARMED or ACTIVE; it is made ACTIVE.
        rig: whose detector counts colloids, as the supervisor wants to be told of them.
        clock: s.
        heartbeat: s, longest time between heartbeats.
        frame_timeout: s, longest wait for a frame.
        first: number of the last order before.
        stopped: is asked between frames; True is an emergency stop.
    """

    def __init__(
        self,
        camera: Camera,
        gatekeeper: Gatekeeper,
        rig: Rig,
        clock: Callable[[], float],
        heartbeat: float = 0.02,
        frame_timeout: float = 1.0,
        first: int = 0,
        stopped: Callable[[], bool] | None = None,
    ) -> None:
        self._camera, self._gatekeeper, self._clock = camera, gatekeeper, clock
        self._detector, self._expiry = rig.detector.build(), rig.supervisor.expiry
        self._heartbeat, self._frame_timeout = heartbeat, frame_timeout
        self._shot: Shot | None = None
        self._stopped = stopped
        self.number = first

    @property
    def frame_shape(self) -> tuple[int, int]:
        """Rows and columns of the camera."""
        return self._camera.spec.height, self._camera.spec.width

    def shots(self, count: int) -> list[Shot]:
        """Return the next `count` frames; outputs are left as they are."""
        return [self._next() for _ in range(count)]

    def colloids(self) -> Floats:
        """Where colloids are in the last frame, [M,2] px; the first frame is waited for."""
        shot = self._shot or self._next()
        return self._detector(shot.frame).position

    def hold(self, outputs: Sent, count: int) -> Probe:
        """Let outputs do something for `count` frames. Raises ArmingError in FAULT.

        The first frame may have been exposed before the output acted. Outputs are ACTIVE
        afterwards: whoever computes for more than a moment calls `rest` first.
        """
        if self._gatekeeper.report().standing is Standing.ARMED:
            # Machine code is compiled at rest, and the order does not begin with an old frame.
            self._detector((self._shot or self._next()).frame)
            self._next()
            self._gatekeeper.activate()
        self._gatekeeper.receipts()
        shots: list[Shot] = []
        receipts: list[Receipt] = []
        begin = self._send(outputs)
        while len(shots) < count:
            shots.append(self._next())
            receipts += self._gatekeeper.receipts()
            if len(shots) < count:
                self._send(outputs)
        return Probe(shots, begin, receipts)

    def probe(self, operator: str) -> None:
        """Let a person arm the outputs for probing, anew if they are: its time begins now.

        Raises ArmingError.
        """
        self.rest("probing begins anew")
        self._gatekeeper.arm(operator, None)

    def rest(self, reason: str) -> None:
        """Let the outputs come to rest, and wait for it: ARMED. Raises ArmingError in FAULT."""
        if self._gatekeeper.report().standing is not Standing.ACTIVE:
            return
        self._gatekeeper.rest(reason)
        while self._gatekeeper.report().standing is Standing.ACTIVE:
            self._next()

    def _send(self, outputs: Sent) -> float:
        shot = self._shot
        assert shot is not None
        found = len(self.colloids())
        self.number += 1
        now = self._clock()
        self._gatekeeper.send(
            Order(
                number=self.number,
                frame=shot.number,
                exposed=shot.exposed,
                issued=now,
                expires=now + self._expiry,
                found=found,
                outputs=outputs,
            )
        )
        return now

    def _next(self) -> Shot:
        begin = self._clock()
        while True:
            if self._stopped is not None and self._stopped():
                self._gatekeeper.stop(STOPPED)
                raise ArmingError(f"{STOPPED}.")
            report = self._gatekeeper.report()
            if report.standing is Standing.FAULT:
                raise ArmingError(f"the supervisor is in FAULT: {report.fault}.")
            try:
                shot = self._camera.newest(self._heartbeat)
            except DeviceTimeoutError:
                if self._shot is not None:
                    self._gatekeeper.beat(self._shot.number, self._shot.exposed)
                if self._clock() - begin > self._frame_timeout:
                    raise
                continue
            self._gatekeeper.beat(shot.number, shot.exposed)
            self._shot = shot
            return shot

    def difference(self, output: str, spots: Spots, frames: int, hidden: float) -> Floats:
        """Return what spots add to the image [H,W], averaged over `frames` with and without.

        The first two frames of each are left out: the light may have changed while they were taken.
        Colloids move, so that the difference is nan up to `hidden` px around each of them, before
        and after, and from the edges of the image, where half of one is not found. Outputs are at
        rest afterwards.
        """
        self.rest("the field is seen without the spot")
        dark = self.shots(frames + 2)
        before = self.colloids()
        lit = self.hold({output: spots}, frames + 2)
        self.rest("the spot has been seen")
        # Not while there is light, in which a spot may be taken for a colloid.
        self.shots(2)
        places = np.concatenate([before, self.colloids()])
        change = np.asarray(mean_frame(lit.shots[2:]) - mean_frame(dark[2:]), np.float32)
        _hide(change, places, hidden)
        edge = math.ceil(hidden)
        inner = change[edge:-edge, edge:-edge].copy()
        change[:] = np.nan
        change[edge:-edge, edge:-edge] = inner
        return change


def _hide(image: Floats, places: Floats, radius: float) -> None:
    """Put nan into discs of a radius (px) around places [M,2] px of an image [H,W]."""
    reach = math.ceil(radius)
    span = np.arange(-reach, reach + 1)
    disc = span[:, None] ** 2 + span**2 <= radius**2
    rows, columns = (axis[disc] for axis in np.meshgrid(span, span, indexing="ij"))
    for x, y in np.rint(places).astype(int):
        row, column = y + rows, x + columns
        inside = (row >= 0) & (row < image.shape[0]) & (column >= 0) & (column < image.shape[1])
        image[row[inside], column[inside]] = np.nan


def one_spot(place: Floats, radius: float, power: float) -> Spots:
    """A spot at a place [2] px of the pattern, for nobody."""
    return Spots(
        np.asarray(place, np.float64)[None],
        np.array([radius]),
        np.array([power]),
        np.array([-1], np.int64),
    )


def mean_frame(shots: list[Shot]) -> Floats:
    """Average the frames of shots, [H,W]."""
    total = np.zeros(shots[0].frame.shape)
    for shot in shots:
        total += shot.frame
    return total / len(shots)


def find_spot(difference: Floats, radius: float) -> tuple[Floats, float] | None:
    """Find where a difference of images [H,W] is bright by a spot of about the radius w (px).

    Pixels that are nan are not looked at. Where the difference, smoothed, is highest, a Gaussian
    with a ground is fitted by least squares, exp(-2 r²/w²), w up to 2.5 times as large or small.
    Returns its position [2] px and its height over the noise of the smoothed difference; None where
    that is under 6, or where the image cuts the spot off. It takes tens of milliseconds: not while
    outputs are held.
    """
    from scipy.ndimage import gaussian_filter

    shown = np.isfinite(difference)
    level = np.where(shown, difference - np.median(difference[shown]), 0.0)
    share = gaussian_filter(shown.astype(np.float64), radius / 2)
    enough = share > _SHOWN
    smooth = np.where(enough, gaussian_filter(level, radius / 2) / np.maximum(share, _SHOWN), 0.0)
    noise = 1.4826 * float(np.median(np.abs(smooth[enough]))) + 1e-12
    row, column = np.unravel_index(int(np.argmax(smooth)), smooth.shape)
    height = float(smooth[row, column])
    if height < 6 * noise:
        return None
    start = np.array([column, row, radius, 2 * height, 0.0])
    here, width = _fit_spot(np.where(shown, level, np.nan), start)
    moved = float(np.linalg.norm(here - start[:2]))
    margin = np.minimum(here, np.array(smooth.shape[::-1]) - 1 - here).min()
    good = moved < 2 * radius and margin > 0.7 * width
    return (here, height / noise) if good else None


def _fit_spot(level: Floats, start: Floats) -> tuple[Floats, float]:
    """Position [2] px and radius of a Gaussian near a start (x, y, w, height, ground)."""
    from scipy.optimize import least_squares

    reach = math.ceil(2.5 * start[2])
    column, row = int(start[0]), int(start[1])
    top, left = max(row - reach, 0), max(column - reach, 0)
    part = level[top : row + reach + 1, left : column + reach + 1]
    y, x = np.mgrid[top : top + part.shape[0], left : left + part.shape[1]]
    seen = np.isfinite(part)
    x, y, light = x[seen], y[seen], part[seen]

    def rest(values: Floats) -> Floats:
        square = (x - values[0]) ** 2 + (y - values[1]) ** 2
        return np.asarray(values[3] * np.exp(-2 * square / values[2] ** 2) + values[4] - light)

    far = 2.5
    low = [left, top, start[2] / far, 0.0, -np.inf]
    high = [left + part.shape[1], top + part.shape[0], start[2] * far, np.inf, np.inf]
    found = least_squares(rest, start, bounds=(low, high), x_scale=[1, 1, 1, start[3], start[3]])
    return np.asarray(found.x[:2], np.float64), float(found.x[2])
