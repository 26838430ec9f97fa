"""OME-TIFF files of ours that a power cut left with fewer pages than their metadata count."""

from __future__ import annotations

import os
import re
import struct
from pathlib import Path
from typing import BinaryIO

from swarmctl.core.errors import RecordError
from swarmctl.records.ome_tiff import PLANE_BYTES, count_text

_LINK = struct.Struct("<Q")
_PLANES_FOLLOW = b"<TiffData/>"


def repair_images(path: Path) -> tuple[str, ...]:
    """Make the count of planes that of the whole pages; return what was done, in words.

    A file that is being written is left as it is: it never counts more pages than it has. Raises
    RecordError for a file that is not ours or has no whole page.
    """
    try:
        with path.open("r+b") as file:
            return _repair(path, file)
    except OSError as error:
        raise RecordError(
            f"{path}: cannot be read and written ({error.strerror or error})."
        ) from error


def _repair(path: Path, file: BinaryIO) -> tuple[str, ...]:
    pages, link, text, start = _walk(file)
    found = re.search(rb'SizeT="(\d+)"', text)
    if pages == 0 or found is None:
        raise RecordError(f"{path}: has no whole page, or was not written by swarmctl.")
    counted = int(found[1])
    if counted <= pages:
        return ()
    planes = start + text.index(_PLANES_FOLLOW) + len(_PLANES_FOLLOW)
    _write(file, start + found.start(), count_text(pages))
    _write(file, planes + pages * PLANE_BYTES, b" " * ((counted - pages) * PLANE_BYTES))
    _write(file, link, _LINK.pack(0))
    return (f"dropped {counted - pages} planes that were not whole",)


def _walk(file: BinaryIO) -> tuple[int, int, bytes, int]:
    """Number of whole pages, place of the last one's link, and text and place of the metadata."""
    size = file.seek(0, os.SEEK_END)
    head = _read(file, 0, 16)
    if head[:4] != b"II\x2b\x00":
        return 0, 0, b"", 0
    place = _LINK.unpack(head[8:])[0]
    pages, link, text, start = 0, 8, b"", 0
    while 0 < place < size:
        count = int.from_bytes(_read(file, place, 8), "little")
        directory = _read(file, place + 8, 20 * count + 8) if count < 100 else b""
        if len(directory) < 20 * count + 8 or count == 0:
            break
        entries = [struct.unpack_from("<HHQQ", directory, 20 * k) for k in range(count)]
        values = {tag: (number, value) for tag, _, number, value in entries}
        if not {273, 279} <= values.keys() or values[273][1] + values[279][1] > size:
            break
        if pages == 0 and 270 in values:
            length, start = values[270]
            text = _read(file, start, length)
        pages, link = pages + 1, place + 8 + 20 * count
        place = _LINK.unpack(directory[-8:])[0]
    return pages, link, text, start


def _read(file: BinaryIO, place: int, length: int) -> bytes:
    file.seek(place)
    return file.read(length)


def _write(file: BinaryIO, place: int, data: bytes) -> None:
    file.seek(place)
    file.write(data)
