"""The process that writes images: `python -m swarmctl.records.image_process`, without JAX.

Its standard input brings a line of JSON (see `Orders`) and then nothing. At the end of the input,
also when the loop was killed, it writes what is in the ring and ends.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from swarmctl.core.files import cannot_write
from swarmctl.records.image_ring import CLOSED, FAILED, READY, Ring
from swarmctl.records.ome_tiff import DiskFile, OmeTiff, PlaneFormat

POLL = 0.003
"""s between two looks for a frame."""


@dataclass(frozen=True)
class Orders:
    """What the process is told.

    Attributes:
        ring: file of the shared memory. slots: how many it has.
        path: of the first file.
        planes: in one file at most.
        form: of the planes.
    """

    ring: str
    slots: int
    path: str
    planes: int
    form: PlaneFormat

    def to_line(self) -> bytes:
        """One line of JSON."""
        return json.dumps(asdict(self), default=str).encode() + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> Orders:
        """What `to_line` gave."""
        data = json.loads(line)
        form = data.pop("form")
        form["start"] = datetime.fromisoformat(form["start"])
        return cls(form=PlaneFormat(**form), **data)


def image_file(first: Path, index: int) -> Path:
    """Path of a file of a series: images.ome.tif, images.0001.ome.tif, ...

    >>> image_file(Path("images.ome.tif"), 1).name
    'images.0001.ome.tif'
    """
    if index == 0:
        return first
    stem = first.name.removesuffix(".ome.tif")
    return first.with_name(f"{stem}.{index:04d}.ome.tif")


def frames_in(ring: Ring, ended: threading.Event) -> Iterator[int]:
    """Yield slots that are to be written, until the loop has ended and there are no more."""
    while True:
        # First of all: what was put before the end is seen after it.
        over = ended.is_set()
        if ring.taken < ring.put:
            yield ring.taken % ring.slots
        elif over:
            return
        else:
            ended.wait(POLL)


def write_images(orders: Orders, ring: Ring, ended: threading.Event) -> None:
    """Write every frame that is put into the ring until the loop has ended. Raises OSError."""
    index = 0
    file = OmeTiff(DiskFile(Path(orders.path)), orders.form, orders.planes)
    ring.enter(READY)
    try:
        for slot in frames_in(ring, ended):
            number, time = ring.label(slot)
            if file.full:
                file.close()
                index += 1
                path = image_file(Path(orders.path), index)
                file = OmeTiff(DiskFile(path), orders.form, orders.planes)
            with ring.slot(slot) as pixels:
                file.append(pixels, time, number)
            ring.count(written=True)
    finally:
        file.close()
    if index == 0 and file.count == 0:
        Path(orders.path).unlink()


def main() -> int:
    """Do as the standard input says; returns the exit status."""
    if hasattr(os, "nice"):
        os.nice(5)  # where both want the same core, the loop goes first
    orders = Orders.from_line(sys.stdin.buffer.readline())
    ended = threading.Event()

    def wait_for_end() -> None:
        # Not through the buffer, whose lock would be held when the process ends for another reason.
        while os.read(sys.stdin.fileno(), 1):
            pass
        ended.set()

    threading.Thread(target=wait_for_end, daemon=True).start()
    ring = Ring(Path(orders.ring), orders.slots, orders.form.plane_bytes)
    try:
        write_images(orders, ring, ended)
    except OSError as error:
        ring.enter(FAILED, str(cannot_write(Path(orders.path), error)))
        return 1
    ring.enter(CLOSED)
    return 0


if __name__ == "__main__":
    sys.exit(main())
