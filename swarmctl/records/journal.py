"""The journal of a trajectory: records of one size, each with its own check, appended."""

from __future__ import annotations

import json
import os
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from swarmctl.core.errors import RecordError
from swarmctl.core.files import cannot_write
from swarmctl.records.files import plain, write_all, write_bytes_atomic
from swarmctl.records.layout import TrajectorySpec, payload_dtype

_MAGIC = b"SWARMJ01"
_MARK = 0x5EA7_F00D
_PREFIX = struct.Struct("<8sII")


@dataclass(frozen=True)
class JournalHeader:
    """What a journal is of: the segment it will become, its first frame, the specification."""

    index: int
    first_frame: int
    spec: TrajectorySpec


@dataclass(frozen=True)
class JournalContent:
    """What can be read of a journal.

    Attributes:
        header: see JournalHeader.
        frames: i64 [T], numbers of the good frames.
        payload: structured [T], the good frames in the layout of `payload_dtype`.
        torn_bytes: length of the incomplete record at the end.
        damaged: numbers of frames that fail their check though others follow.
    """

    header: JournalHeader
    frames: np.ndarray
    payload: np.ndarray
    torn_bytes: int
    damaged: tuple[int, ...]


def record_dtype(spec: TrajectorySpec) -> np.dtype[Any]:
    """Return the layout of one record: mark, length, frame number, payload, CRC32; no padding."""
    return np.dtype(
        [
            ("mark", "<u4"),
            ("length", "<u4"),
            ("frame", "<i8"),
            ("payload", payload_dtype(spec)),
            ("crc", "<u4"),
        ]
    )


class Journal:
    """A journal open for appending. The header is written at once, whole or not at all.

    Raises RecordError if the file cannot be written.
    """

    def __init__(self, path: Path, header: JournalHeader) -> None:
        self.path = path
        self.header = header
        self._record = np.zeros((), record_dtype(header.spec))
        self._record["mark"] = _MARK
        self._record["length"] = self._record.dtype.itemsize
        if path.exists():
            raise RecordError(f"{path}: there is a journal already. Repair the trajectory first.")
        content = {
            "index": header.index,
            "first_frame": header.first_frame,
            "spec": header.spec.to_dict(),
        }
        try:
            text = json.dumps(content, default=plain).encode()
        except (TypeError, ValueError) as error:
            raise RecordError(f"{path}: metadata: {error}. Give plain data.") from error
        write_bytes_atomic(path, _PREFIX.pack(_MAGIC, len(text), zlib.crc32(text)) + text)
        flags = os.O_WRONLY | os.O_APPEND | getattr(os, "O_BINARY", 0)
        self._handle = os.open(path, flags)
        self._end = _PREFIX.size + len(text)
        self.count = 0

    def append(self, payload: np.ndarray) -> int:
        """Append a frame and return its number; from then on it survives the end of the process.

        Raises RecordError, with the journal as it was, if it cannot be written (a full disk).
        """
        number = self.header.first_frame + self.count
        record = self._record
        record["frame"] = number
        record["payload"] = payload
        record["crc"] = zlib.crc32(record.tobytes()[:-4])
        data = record.tobytes()
        try:
            write_all(self._handle, data)
        except OSError as error:
            os.ftruncate(self._handle, self._end)
            raise cannot_write(self.path, error) from error
        self._end += len(data)
        self.count += 1
        return number

    def sync(self) -> None:
        """Make all frames survive a power cut, too."""
        os.fsync(self._handle)

    def close(self) -> None:
        """Close the file; it stays where it is."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1


def read_journal(path: Path, first: int = 0, count: int | None = None) -> JournalContent:
    """Read every frame of a journal that passes its check, also while it is written.

    Args:
        path: the journal.
        first, count: which records, for a journal that is larger than the memory; all if left out.

    Raises FileNotFoundError if there is none and RecordError if its header cannot be read.
    """
    with path.open("rb") as file:
        header, start = _read_header(path, file)
        dtype = record_dtype(header.spec)
        length = dtype.itemsize
        file.seek(start + first * length)
        data = file.read(-1 if count is None else count * length)
        more = bool(file.read(1))
    whole, torn = divmod(len(data), length)
    records = np.frombuffer(data, dtype, whole)
    good = np.zeros(whole, bool)
    view = memoryview(data)
    for k in range(whole):
        begin = k * length
        good[k] = (
            records["mark"][k] == _MARK
            and records["frame"][k] == header.first_frame + first + k
            and records["crc"][k] == zlib.crc32(view[begin : begin + length - 4])
        )
    # Bad records at the very end were cut short; elsewhere they are damaged.
    last = whole if more else int(np.flatnonzero(good)[-1]) + 1 if good.any() else 0
    begin = header.first_frame + first
    return JournalContent(
        header,
        records["frame"][good].astype(np.int64),
        records["payload"][good],
        torn + (whole - last) * length,
        tuple(int(begin + k) for k in np.flatnonzero(~good[:last])),
    )


def journal_header(path: Path) -> tuple[JournalHeader, int]:
    """What a journal is of, and how many whole records it has. Raises as `read_journal`."""
    with path.open("rb") as file:
        header, start = _read_header(path, file)
        size = file.seek(0, os.SEEK_END)
    return header, (size - start) // record_dtype(header.spec).itemsize


def _read_header(path: Path, file: BinaryIO) -> tuple[JournalHeader, int]:
    problem = RecordError(
        f"{path}: is not the journal of a trajectory, or its first bytes are damaged. "
        "Nothing in it can be read; move it away to read the closed segments beside it."
    )
    prefix = file.read(_PREFIX.size)
    if len(prefix) < _PREFIX.size:
        raise problem
    magic, length, check = _PREFIX.unpack(prefix)
    if magic != _MAGIC:
        raise problem
    text = file.read(length)
    if len(text) != length or zlib.crc32(text) != check:
        raise problem
    content = json.loads(text)
    spec = TrajectorySpec.from_dict(content["spec"])
    return (
        JournalHeader(int(content["index"]), int(content["first_frame"]), spec),
        _PREFIX.size + length,
    )
