"""Memory that two processes share: a ring of slots for frames, and what the writer says of itself.

The loop fills slots and counts them; the writer looks every few milliseconds, empties them and
counts those. Neither waits for the other, and the loop wakes nobody: a process that is woken
through a pipe may be run at once, in the place of the loop. The memory has no name once both hold
it, so that nothing is left of it however they end.
"""

from __future__ import annotations

import errno
import mmap
import os
import shutil
import struct
import tempfile
from pathlib import Path

from swarmctl.core.errors import RecordError

STARTING, READY, FAILED, CLOSED = range(4)
"""What the writer says of itself."""
_PAGE = 4096
_TEXT = 64
_STATE, _TAKEN, _WRITTEN, _PUT = range(4)
_LABEL = struct.Struct("<qd")


class Ring:
    """Slots for frames of one size, used in turn. The loop counts `put`, the writer the rest.

    Args:
        path: the file that is shared.
        slots: how many.
        frame_bytes: size of a frame.
    """

    def __init__(self, path: Path, slots: int, frame_bytes: int) -> None:
        self.path, self.slots, self.frame_bytes = path, slots, frame_bytes
        length = ring_bytes(slots, frame_bytes)
        handle = os.open(path, os.O_RDWR)
        try:
            self._memory = mmap.mmap(handle, length)
        finally:
            os.close(handle)
        self._numbers = memoryview(self._memory)[:_TEXT].cast("q")
        self._frames = length - slots * frame_bytes

    @classmethod
    def create(cls, slots: int, frame_bytes: int) -> Ring:
        """Make the shared memory. Raises RecordError if there is not enough of it."""
        # Files in memory, where there are such and they have room: containers give 64 MB. Then any
        # temporary file, which the system keeps in memory as long as it can.
        folders = [Path("/dev/shm"), Path(tempfile.gettempdir())]
        length = ring_bytes(slots, frame_bytes)
        failure: OSError | None = None
        for folder in folders:
            if folder.is_dir() and os.access(folder, os.W_OK):
                try:
                    return cls(_reserve(folder, length), slots, frame_bytes)
                except OSError as error:
                    failure = error
        raise RecordError(
            f"images: {slots} frames of {frame_bytes / 1e6:.3g} MB need {length / 1e6:.0f} MB of "
            f"shared memory, for which there is no room in {' or '.join(map(str, folders))}. Give "
            "fewer slots."
        ) from failure

    def unlink(self) -> None:
        """Take the name away; who holds the memory keeps it."""
        self.path.unlink(missing_ok=True)

    def slot(self, index: int) -> memoryview:
        """The bytes of a slot."""
        start = self._frames + index * self.frame_bytes
        return memoryview(self._memory)[start : start + self.frame_bytes]

    @property
    def put(self) -> int:
        """How many slots the loop has filled since it began."""
        return self._numbers[_PUT]

    def announce(self, number: int, time: float) -> None:
        """Say that the next slot is filled: the camera's number of the frame, and its time in s."""
        count = self.put
        _LABEL.pack_into(self._memory, _PAGE + count % self.slots * _LABEL.size, number, time)
        self._numbers[_PUT] = count + 1

    def label(self, index: int) -> tuple[int, float]:
        """Number and time of the frame in a slot."""
        number, time = _LABEL.unpack_from(self._memory, _PAGE + index * _LABEL.size)
        return number, time

    @property
    def state(self) -> int:
        """STARTING, READY, FAILED or CLOSED."""
        return self._numbers[_STATE]

    @property
    def taken(self) -> int:
        """How many slots the writer has emptied since it began."""
        return self._numbers[_TAKEN]

    @property
    def written(self) -> int:
        """How many frames are in the files."""
        return self._numbers[_WRITTEN]

    @property
    def text(self) -> str:
        """Why the writer failed."""
        data = bytes(self._memory[_TEXT:_PAGE])
        return data.partition(b"\0")[0].decode(errors="replace")

    def enter(self, state: int, text: str = "") -> None:
        """Say how the writer is, and why."""
        data = text.encode()[: _PAGE - _TEXT - 1]
        self._memory[_TEXT : _TEXT + len(data) + 1] = data + b"\0"
        self._numbers[_STATE] = state

    def count(self, written: bool) -> None:
        """Say that a slot is empty again, and whether its frame is in a file."""
        if written:
            self._numbers[_WRITTEN] += 1
        self._numbers[_TAKEN] += 1


def _reserve(folder: Path, length: int) -> Path:
    """Make a file of this length, whose bytes are there. Raises OSError."""
    if shutil.disk_usage(folder).free < length:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    handle, name = tempfile.mkstemp(prefix="swarmctl-frames-", dir=folder)
    try:
        # Otherwise too little memory would be a crash when a slot is first used.
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(handle, 0, length)
        else:
            os.ftruncate(handle, length)
    except OSError:
        os.unlink(name)
        raise
    finally:
        os.close(handle)
    return Path(name)


def ring_bytes(slots: int, frame_bytes: int) -> int:
    """Size of the shared memory."""
    labels = -(-slots * _LABEL.size // _PAGE) * _PAGE
    return _PAGE + labels + slots * frame_bytes
