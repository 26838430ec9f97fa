"""Images and numbers that processes share without copies through a socket. No JAX.

Every segment is a file without a name, whose descriptor is handed over by the socket: nothing is
left behind, however a process ends. One process writes a ring, others read it: a reader that was
overtaken while it copied sees that by the serial number and takes a newer image.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from swarmctl.core.errors import DeviceError

_MAGIC = 0x53574D52_00000001  # "SWMR" and the version of this layout
_PAGE = 4096
_HEAD = 5  # words: magic, slots, height, width, bytes of a pixel
_NEWEST = 5  # word with the serial number of the newest image
_SLOT = 64  # bytes before every image: serial, number, time, due
_TRIES = 8

Image = npt.NDArray[Any]


@dataclass(frozen=True)
class Entry:
    """An image [H,W] of a ring.

    Attributes:
        serial: counts all images of the ring from 1.
        number: as its writer numbers it.
        time, due: s, as its writer means them.
        image: a copy.
    """

    serial: int
    number: int
    time: float
    due: float
    image: Image


def new_segment(size: int) -> int:
    """Return the descriptor of shared memory of `size` bytes, which vanishes with its users."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("swarmctl")
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    os.ftruncate(descriptor, size)
    return descriptor


def pixel_type(bits: int) -> type[np.uint8 | np.uint16]:
    """Return the type of a pixel of so many bits, at most 16."""
    return np.uint8 if bits <= 8 else np.uint16


class Ring:
    """The newest images of a stream, in shared memory."""

    def __init__(self, descriptor: int, shape: tuple[int, int], kind: type, slots: int) -> None:
        """Map a segment that `create` made; raises DeviceError if it is of another kind."""
        self.descriptor = descriptor
        self.shape, self.kind, self.slots = shape, np.dtype(kind), slots
        if os.fstat(descriptor).st_size < _size(shape, kind, slots):
            raise DeviceError("the shared memory of the virtual laboratory is too small.")
        memory = mmap.mmap(descriptor, _size(shape, kind, slots))
        self._head = np.frombuffer(memory, np.uint64, _PAGE // 8)
        stride = _stride(shape, kind)
        body = np.frombuffer(memory, np.uint8, slots * stride, _PAGE).reshape(slots, stride)
        heads = [row[:_SLOT] for row in body]
        self._words = [head.view(np.uint64) for head in heads]
        self._times = [head.view(np.float64) for head in heads]
        count = shape[0] * shape[1] * self.kind.itemsize
        self._images = [row[_SLOT : _SLOT + count].view(self.kind).reshape(shape) for row in body]

    @classmethod
    def create(cls, shape: tuple[int, int], kind: type, slots: int) -> Ring:
        """Make a ring for images [H,W] of bytes or words."""
        descriptor = new_segment(_size(shape, kind, slots))
        ring = cls(descriptor, shape, kind, slots)
        ring._head[:_HEAD] = [_MAGIC, slots, *shape, ring.kind.itemsize]
        return ring

    def check(self) -> None:
        """Raise DeviceError unless the segment holds what was expected."""
        expected = [_MAGIC, self.slots, *self.shape, self.kind.itemsize]
        if self._head[:_HEAD].tolist() != expected:
            raise DeviceError(
                "the shared memory of the virtual laboratory has another layout; use the same "
                "version of swarmctl on both sides."
            )

    @property
    def newest(self) -> int:
        """Serial number of the newest image; 0 before the first."""
        return int(self._head[_NEWEST])

    def write(self, image: Image, number: int, time: float, due: float) -> int:
        """Add an image and return its serial number. Only one process may write."""
        serial = self.newest + 1
        slot = (serial - 1) % self.slots
        self._words[slot][0] = 0
        self._images[slot][...] = image
        self._words[slot][1] = number
        self._times[slot][2:4] = time, due
        self._words[slot][0] = serial
        self._head[_NEWEST] = serial
        return serial

    def read(self, serial: int) -> Entry | None:
        """Return an image, None if it is not there, or not any more."""
        slot = (serial - 1) % self.slots
        words = self._words[slot]
        if int(words[0]) != serial:
            return None
        number, (time, due) = int(words[1]), self._times[slot][2:4].tolist()
        image = self._images[slot].copy()
        return Entry(serial, number, time, due, image) if int(words[0]) == serial else None

    def latest(self, after: int) -> Entry | None:
        """Return the newest image if it came after the one with this serial number."""
        for _ in range(_TRIES):
            serial = self.newest
            if serial <= after:
                return None
            found = self.read(serial)
            if found is not None:
                return found
        raise DeviceError("images come faster than they can be read.")

    def since(self, after: int) -> list[Entry]:
        """Return the images that are still there and came after this one, oldest first."""
        newest = self.newest
        first = max(after + 1, newest - self.slots + 1)
        found = [self.read(serial) for serial in range(first, newest + 1)]
        return [entry for entry in found if entry is not None]


def _stride(shape: tuple[int, int], kind: type) -> int:
    count = _SLOT + shape[0] * shape[1] * np.dtype(kind).itemsize
    return -(-count // 64) * 64


def _size(shape: tuple[int, int], kind: type, slots: int) -> int:
    return _PAGE + slots * _stride(shape, kind)


class Board:
    """A few numbers that the sample's process writes and everybody reads."""

    def __init__(self, descriptor: int) -> None:
        """Map a segment that `create` made."""
        self.descriptor = descriptor
        self._words = np.frombuffer(mmap.mmap(descriptor, _PAGE), np.float64)

    @classmethod
    def create(cls) -> Board:
        """Make one; all numbers are 0."""
        return cls(new_segment(_PAGE))

    @property
    def clock(self) -> float:
        """Time of the sample in s of time.monotonic(), or of the made-up clock."""
        return float(self._words[0])

    @property
    def alive(self) -> float:
        """s of time.monotonic() when the process last came round."""
        return float(self._words[1])

    @property
    def shown(self) -> int:
        """Serial number of the pattern that lights the sample; 0 before the first."""
        return int(self._words[2])

    @property
    def interlock(self) -> bool:
        """Whether it is closed."""
        return bool(self._words[3])

    @property
    def driven(self) -> int:
        """Serial number of the values that the coils' supply has; 0 before the first."""
        return int(self._words[4])

    @property
    def resting(self) -> bool:
        """Whether the coils' supply has gone to its safe values by itself."""
        return bool(self._words[5])

    def write(
        self,
        clock: float,
        alive: float,
        shown: int,
        interlock: bool,
        driven: int = 0,
        resting: bool = False,
    ) -> None:
        """Set all numbers."""
        self._words[:6] = clock, alive, shown, interlock, driven, resting
