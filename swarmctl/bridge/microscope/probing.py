"""Frames of a sample while an output does something for a while: for calibration and checks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from swarmctl.bridge.devices.contract import Camera, Shot
from swarmctl.bridge.gatekeeper import Gatekeeper
from swarmctl.bridge.microscope.steering import Sent
from swarmctl.bridge.orders import Order, Receipt, Standing
from swarmctl.bridge.rig import Rig
from swarmctl.core.errors import ArmingError, DeviceTimeoutError

Floats = npt.NDArray[np.float64]


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
    ) -> None:
        self._camera, self._gatekeeper, self._clock = camera, gatekeeper, clock
        self._detector, self._expiry = rig.detector.build(), rig.supervisor.expiry
        self._heartbeat, self._frame_timeout = heartbeat, frame_timeout
        self._shot: Shot | None = None
        self.number = first

    @property
    def frame_shape(self) -> tuple[int, int]:
        """Rows and columns of the camera."""
        return self._camera.spec.height, self._camera.spec.width

    def shots(self, count: int) -> list[Shot]:
        """Return the next `count` frames; outputs are left as they are."""
        return [self._next() for _ in range(count)]

    def hold(self, outputs: Sent, count: int) -> Probe:
        """Let outputs do something for `count` frames. Raises ArmingError in FAULT.

        The first frame may have been exposed before the output acted.
        """
        if self._shot is None:
            self._next()
        self._gatekeeper.receipts()
        if self._gatekeeper.report().standing is Standing.ARMED:
            self._gatekeeper.activate()
        shots: list[Shot] = []
        receipts: list[Receipt] = []
        begin = self._send(outputs)
        while len(shots) < count:
            shots.append(self._next())
            receipts += self._gatekeeper.receipts()
            if len(shots) < count:
                self._send(outputs)
        return Probe(shots, begin, receipts)

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
        found = len(self._detector(shot.frame))
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


def mean_frame(shots: list[Shot]) -> Floats:
    """Average the frames of shots, [H,W]."""
    total = np.zeros(shots[0].frame.shape)
    for shot in shots:
        total += shot.frame
    return total / len(shots)


def find_spot(lit: Floats, dark: Floats, radius: float) -> tuple[Floats, float] | None:
    """Find where an image [H,W] is brighter by a spot of radius w (px, to 1/e²).

    Returns its position [2] px and its height over the noise of the smoothed difference; None where
    that is under 6. The centroid is weighted by a Gaussian of the spot's width, which is moved to
    it until it rests.
    """
    from scipy.ndimage import gaussian_filter

    sigma = radius / 2
    difference = lit - dark
    difference = difference - np.median(difference)
    smooth = gaussian_filter(difference, sigma)
    noise = 1.4826 * float(np.median(np.abs(smooth - np.median(smooth)))) + 1e-12
    row, column = np.unravel_index(int(np.argmax(smooth)), smooth.shape)
    height = float(smooth[row, column])
    if height < 6 * noise:
        return None
    y, x = np.mgrid[: lit.shape[0], : lit.shape[1]]
    here = np.array([float(column), float(row)])
    for _ in range(20):
        window = np.exp(-((x - here[0]) ** 2 + (y - here[1]) ** 2) / (2 * sigma**2))
        weight = window * np.maximum(difference, 0.0)
        total = weight.sum()
        # A Gaussian under a Gaussian window of its own width: the centroid goes half the way.
        step = 2 * (np.array([(weight * x).sum(), (weight * y).sum()]) / total - here)
        here = here + step
        if np.abs(step).max() < 1e-3:
            break
    return here, height / noise
