"""Frames of a camera as OME-TIFF, written by a process of its own, so that the loop never waits.

    with ImageWriter(folder / "images.ome.tif", ImageConfig(height=1024, width=1024)) as images:
        images.put(frame, time, number)   # False: dropped, and counted
        images.status().fault             # None, or why no image is written any more

`put` copies a frame into shared memory and returns. If the disk is slower than the camera the
memory fills up, and frames are dropped. The times of the planes (DeltaT) are those that `put` was
given; the camera's numbers stand in the tag ImageNumber of every page. A loop that is killed loses
no frame that it has put; a writer that is killed leaves a file that opens, too.
"""

from __future__ import annotations

import contextlib
import math
import subprocess
import sys
import time
from dataclasses import MISSING, dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Literal

import numpy as np
import numpy.typing as npt

from swarmctl.core.config import key
from swarmctl.core.errors import ConfigError, FrameError, RecordError, require_positive
from swarmctl.core.files import cannot_write
from swarmctl.records.image_process import Orders
from swarmctl.records.image_ring import FAILED, STARTING, Ring
from swarmctl.records.ome_tiff import PlaneFormat

SLOTS_MAX = 10_000
NAME_MAX = 200
"""Characters, so that the count of planes lies in the first block of the file."""
START_TIMEOUT = 30.0
"""s in which the writer's process must be ready."""


@dataclass(frozen=True)
class ImageConfig:
    """What the frames of a camera are, and how many may wait for the disk."""

    height: int = key(MISSING, "rows of a frame, px")
    width: int = key(MISSING, "columns of a frame, px")
    dtype: Literal["uint8", "uint16"] = key("uint16", "counts of a pixel: uint8 or uint16")
    pixel_size: float = key(1.0, "side of a pixel in the sample", "um")
    exposure: float | None = key(None, "exposure time", "s")
    slots: int = key(32, "frames that may wait for the disk; more are dropped")
    planes: int = key(4000, "frames in one file; then the next file begins")
    name: str = key("swarm", "name of the image")

    def __post_init__(self) -> None:
        require_positive("images", pixel_size=self.pixel_size, exposure=self.exposure)
        for name, most in (("height", 2**20), ("width", 2**20), ("planes", 10**6)):
            if not 1 <= getattr(self, name) <= most:
                raise ConfigError(
                    f"images: {name} must be from 1 to {most}, got {getattr(self, name)}."
                )
        if len(self.name) > NAME_MAX:
            raise ConfigError(
                f"images: name has {len(self.name)} characters, {NAME_MAX} are allowed."
            )
        if not 2 <= self.slots <= SLOTS_MAX:
            raise ConfigError(f"images: slots must be from 2 to {SLOTS_MAX}, got {self.slots}.")


@dataclass(frozen=True)
class ImageStatus:
    """How the images stand.

    Attributes:
        written: frames in the files.
        waiting: frames that are still to be written.
        dropped: frames that are in no file and never will be: no room in memory, or a fault.
        fault: why nothing is written any more; None if all is well.
    """

    written: int
    waiting: int
    dropped: int
    fault: str | None


class ImageWriter:
    """Writes frames to `path` and, once that is full, to further files beside it.

    Args:
        path: the first file, which ends in .ome.tif.
        config: what the frames are.
        start: the moment at which the times given to `put` are 0; now if left out.

    Raises RecordError if the file cannot be written, or is there already.
    """

    def __init__(
        self, path: str | Path, config: ImageConfig, start: datetime | None = None
    ) -> None:
        self.path, self.config = Path(path), config
        if not self.path.name.endswith(".ome.tif"):
            raise RecordError(f"{path}: name the file of the images so that it ends in .ome.tif.")
        if self.path.exists():
            raise RecordError(f"{path}: exists already. Give another name.")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise cannot_write(self.path, error) from error
        form = PlaneFormat(
            config.height,
            config.width,
            8 * np.dtype(config.dtype).itemsize,
            config.pixel_size,
            config.exposure,
            start or datetime.now(UTC),
            config.name,
        )
        self._shape = (config.height, config.width)
        self._dtype = np.dtype(config.dtype).newbyteorder("<")
        self._refused = 0
        self._fault: str | None = None
        self._ring = Ring.create(config.slots, form.plane_bytes)
        try:
            self._slots = [self._array(k) for k in range(config.slots)]
            orders = Orders(
                str(self._ring.path), config.slots, str(self.path.absolute()), config.planes, form
            )
            self._process = _start(orders, self._ring)
        finally:
            self._ring.unlink()

    def _array(self, index: int) -> npt.NDArray[np.uint8 | np.uint16]:
        array = np.frombuffer(self._ring.slot(index), self._dtype).reshape(self._shape)
        array.fill(0)  # the memory is at hand before the first frame comes
        return array

    @property
    def pid(self) -> int:
        """Process number of the writer."""
        return self._process.pid

    def put(self, frame: npt.NDArray[np.uint8 | np.uint16], time: float, number: int) -> bool:
        """Hand a frame over without waiting; False if it is dropped.

        Args:
            frame: [H,W] counts.
            time: s since `start`, of mid-exposure.
            number: of the frame, as the camera counts.

        Raises FrameError for a frame of another shape or type or a time that is not finite, and
        RecordError after `close`.
        """
        if frame.shape != self._shape or frame.dtype != self._dtype:
            raise FrameError(
                f"images: a frame is {frame.dtype}{list(frame.shape)}, expected "
                f"{self._dtype}{list(self._shape)}; give the camera's frames as they are."
            )
        if not (math.isfinite(time) and abs(time) < 1e9):
            raise FrameError(f"images: the time of a frame is {time} s; give that of its exposure.")
        if number < 0:
            raise FrameError(f"images: the number of a frame is {number}; count from 0.")
        stdin, ring = self._process.stdin, self._ring
        if stdin is None or stdin.closed:
            raise RecordError(f"{self.path}: this writer is closed. Open a new one.")
        if self._look() is not None or ring.put - ring.taken >= ring.slots:
            self._refused += 1
            return False
        np.copyto(self._slots[ring.put % ring.slots], frame)
        ring.announce(number, time)
        return True

    def _look(self) -> str | None:
        """The fault, if there is one."""
        ended = self._process.poll()
        if self._fault is None and self._ring.state == FAILED:
            self._fault = self._ring.text
        elif self._fault is None and ended:
            self._fault = f"{self.path}: the process that writes images has ended ({ended})."
        return self._fault

    def status(self) -> ImageStatus:
        """How the images stand."""
        over = self._look() is not None or self._process.poll() is not None
        left = self._ring.put - self._ring.written
        lost = left if over else 0
        return ImageStatus(self._ring.written, left - lost, self._refused + lost, self._fault)

    def close(self, timeout: float = 60.0) -> ImageStatus:
        """Wait until all frames are written, `timeout` s at most; closing twice does nothing."""
        stdin = self._process.stdin
        if stdin is not None and not stdin.closed:
            stdin.close()
            try:
                self._process.wait(timeout)
            except subprocess.TimeoutExpired:
                self._fault = f"{self.path}: the disk took longer than {timeout:g} s."
                self._process.kill()
                self._process.wait()
        return self.status()

    def __enter__(self) -> ImageWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _start(orders: Orders, ring: Ring) -> subprocess.Popen[bytes]:
    """Start the process and wait until it can write. Raises RecordError if it cannot."""
    process = subprocess.Popen(
        [sys.executable, "-m", "swarmctl.records.image_process"],
        stdin=subprocess.PIPE,
        bufsize=0,
        # Ctrl-C is for the loop, which ends the input.
        start_new_session=True,
    )
    assert process.stdin is not None
    problem, deadline = "", time.monotonic() + START_TIMEOUT
    try:
        with contextlib.suppress(BrokenPipeError):  # it has ended; why is said below
            process.stdin.write(orders.to_line())
        while ring.state == STARTING and process.poll() is None and not problem:
            time.sleep(0.005)
            if time.monotonic() > deadline:
                problem = f"the process that writes images was not ready in {START_TIMEOUT:g} s"
    except BaseException:
        process.kill()
        process.wait()
        raise
    if ring.state == FAILED:
        problem = ring.text
    elif ring.state == STARTING and not problem:
        problem = f"the process that writes images has ended ({process.returncode})"
    if problem:
        process.kill()
        process.stdin.close()
        process.wait()
        raise RecordError(f"{orders.path}: {problem}")
    return process
