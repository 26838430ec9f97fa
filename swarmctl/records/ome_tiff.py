"""OME-TIFF files that grow page by page and can be read wherever they are cut.

tifffile writes the OME-XML when a file is closed, so that a kill leaves none. Here the XML has a
fixed size and stands in the first page from the start; every page adds its element to it and then
raises the count. Nothing that is there already moves, so that a full disk costs no earlier page.

BigTIFF as in https://www.awaresystems.be/imaging/tiff/bigtiff.html, metadata as in the OME schema
2016-06.
"""

from __future__ import annotations

import math
import os
import struct
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol
from xml.sax.saxutils import escape, quoteattr

from swarmctl import __version__

PLANE_BYTES = 112
"""Room for the XML element of one plane."""
_COUNT_BYTES = 16
_FIRST = 16
_SHORT, _LONG, _ASCII, _RATIONAL, _LONG8 = 3, 4, 2, 5, 16
_FORMAT = {_SHORT: "<H", _LONG: "<I", _LONG8: "<Q"}
_NAMESPACE = "http://www.openmicroscopy.org/Schemas/OME/2016-06"


class RandomFile(Protocol):
    """What is needed of a file: the place where tests put a disk that is full."""

    def write_at(self, data: bytes | memoryview, offset: int) -> None:
        """Write all of it. Raises OSError."""

    def cut(self, length: int) -> None:
        """Make the file so long."""

    def close(self) -> None:
        """Make the file durable and close it."""


class DiskFile:
    """A new file on a disk. Raises OSError if it cannot be made, or is there already."""

    def __init__(self, path: Path) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
        self._handle = os.open(path, flags, 0o666)

    def write_at(self, data: bytes | memoryview, offset: int) -> None:
        """Write all of it. Raises OSError."""
        os.lseek(self._handle, offset, os.SEEK_SET)
        view = memoryview(data)
        while view:
            view = view[os.write(self._handle, view) :]

    def cut(self, length: int) -> None:
        """Make the file so long."""
        os.ftruncate(self._handle, length)

    def close(self) -> None:
        """Make the file durable and close it."""
        try:
            os.fsync(self._handle)
        finally:
            os.close(self._handle)


@dataclass(frozen=True)
class PlaneFormat:
    """What all planes of a file have in common.

    Attributes:
        height, width: px.
        bits: 8 or 16, unsigned counts.
        pixel_size: µm of the sample.
        exposure: s; None if unknown.
        start: the moment at which the times of the planes are 0, in UTC.
        name: of the image.
    """

    height: int
    width: int
    bits: int
    pixel_size: float
    exposure: float | None
    start: datetime
    name: str

    @property
    def plane_bytes(self) -> int:
        """Size of the pixels of one plane."""
        return self.height * self.width * self.bits // 8


class OmeTiff:
    """One file of at most `planes` planes, empty at first."""

    def __init__(self, file: RandomFile, form: PlaneFormat, planes: int) -> None:
        self._file, self._form = file, form
        before, after = _xml(form)
        self._count_at = len(before[0])
        self._planes_at = sum(map(len, before)) + _COUNT_BYTES
        blank = b" " * (planes * PLANE_BYTES)
        self._xml = before[0] + b" " * _COUNT_BYTES + before[1] + blank + after
        self._xml_at = 0
        self._planes = planes
        self._end = 0
        self._link = 0
        self.count = 0

    @property
    def full(self) -> bool:
        """Whether no further plane has room."""
        return self.count == self._planes

    def append(self, pixels: bytes | memoryview, time: float, number: int) -> None:
        """Append a plane: its pixels row by row, little-endian, the time in s, the camera's number.

        Raises OSError, with the file as it was, if there is no room for it.
        """
        begun = self._end
        try:
            if self.count == 0:
                self._write_first(pixels, time, number)
            else:
                self._write_next(pixels, time, number)
        except OSError:
            self._end = begun
            if self.count:
                self._file.write_at(bytes(8), self._link)
            self._file.cut(begun)
            raise
        self.count += 1

    def _write_first(self, pixels: bytes | memoryview, time: float, number: int) -> None:
        size = _directory_bytes(len(_tags(self._form, 0, 0, (0, 0))))
        self._xml_at = _FIRST + size
        text = bytearray(self._xml)
        text[self._count_at : self._count_at + _COUNT_BYTES] = count_text(1)
        text[self._planes_at : self._planes_at + PLANE_BYTES] = self._element(0, time)
        text += b"\0"
        start = _aligned(self._xml_at + len(text))
        directory = _directory(_tags(self._form, start, number, (len(text), self._xml_at)))
        self._file.write_at(pixels, start)
        self._file.write_at(directory + text, _FIRST)
        # With these bytes it becomes a TIFF.
        self._file.write_at(struct.pack("<2sHHHQ", b"II", 43, 8, 0, _FIRST), 0)
        self._link = _FIRST + size - 8
        self._end = _aligned(start + len(pixels))

    def _write_next(self, pixels: bytes | memoryview, time: float, number: int) -> None:
        begin = self._end
        size = _directory_bytes(len(_tags(self._form, 0, 0, None)))
        start = _aligned(begin + size)
        directory = _directory(_tags(self._form, start, number, None))
        self._file.write_at(pixels, start)
        self._file.write_at(directory, begin)
        # From here on the page is found; before, it was no part of the file.
        self._file.write_at(struct.pack("<Q", begin), self._link)
        # Its first byte last: text without it is no XML that could be torn. The bytes of the count
        # lie in one block of the disk, which is written whole.
        element, place = self._element(self.count, time), self.count * PLANE_BYTES
        self._file.write_at(element[1:], self._xml_at + self._planes_at + place + 1)
        self._file.write_at(element[:1], self._xml_at + self._planes_at + place)
        self._file.write_at(count_text(self.count + 1), self._xml_at + self._count_at)
        self._link = begin + size - 8
        self._end = _aligned(start + len(pixels))

    def _element(self, index: int, time: float) -> bytes:
        exposure = self._form.exposure
        exposed = "" if exposure is None else f' ExposureTime="{exposure:.7g}"'
        text = f'<Plane TheZ="0" TheT="{index}" TheC="0" DeltaT="{time:.6f}"{exposed}/>'
        return text.encode().ljust(PLANE_BYTES)

    def close(self) -> None:
        """Close the file; what was appended is safe from a power cut, too."""
        self._file.close()


def count_text(count: int) -> bytes:
    """The attribute with the count of planes; blanks after it leave room for a larger number."""
    return f'SizeT="{count}"'.encode().ljust(_COUNT_BYTES)


def _xml(form: PlaneFormat) -> tuple[tuple[bytes, bytes], bytes]:
    """The text before and after the count, and after the planes."""
    when = form.start.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="milliseconds")
    size = f"{form.pixel_size:.9g}"
    head = (
        '<?xml version="1.0" encoding="UTF-8"?>'
        f'<OME xmlns="{_NAMESPACE}" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" '
        f'xsi:schemaLocation="{_NAMESPACE} {_NAMESPACE}/ome.xsd" '
        f'UUID="urn:uuid:{uuid.uuid4()}" Creator="swarmctl {__version__}">'
        f'<Image ID="Image:0" Name={quoteattr(form.name)}>'
        f"<AcquisitionDate>{escape(when)}Z</AcquisitionDate>"
        '<Pixels ID="Pixels:0" DimensionOrder="XYZCT" BigEndian="false" '
        f'Type="uint{form.bits}" SizeX="{form.width}" SizeY="{form.height}" SizeZ="1" SizeC="1" '
    )
    rest = (
        f' PhysicalSizeX="{size}" PhysicalSizeXUnit="µm" '
        f'PhysicalSizeY="{size}" PhysicalSizeYUnit="µm">'
        '<Channel ID="Channel:0:0" SamplesPerPixel="1"/><TiffData/>'
    )
    return (head.encode(), rest.encode()), b"</Pixels></Image></OME>"


def _tags(
    form: PlaneFormat, start: int, number: int, text: tuple[int, int] | None
) -> list[tuple[int, int, int, bytes]]:
    """Tags in order: number, type, count, value of 8 bytes; `text` is length, place of the XML."""

    def value(tag: int, kind: int, content: int) -> tuple[int, int, int, bytes]:
        return tag, kind, 1, struct.pack(_FORMAT[kind], content).ljust(8, b"\0")

    # Pixels per centimetre, as a fraction of two numbers of 32 bits.
    parts = 10 ** max(0, min(6, 9 - math.ceil(math.log10(1e4 / form.pixel_size))))
    resolution = struct.pack("<II", min(round(1e4 / form.pixel_size * parts), 2**32 - 1), parts)
    tags = [
        value(256, _LONG, form.width),
        value(257, _LONG, form.height),
        value(258, _SHORT, form.bits),
        value(259, _SHORT, 1),  # not compressed
        value(262, _SHORT, 1),  # 0 is black
        value(273, _LONG8, start),
        value(277, _SHORT, 1),
        value(278, _LONG, form.height),
        value(279, _LONG8, form.plane_bytes),
        (282, _RATIONAL, 1, resolution),
        (283, _RATIONAL, 1, resolution),
        value(296, _SHORT, 3),  # centimetres
        value(339, _SHORT, 1),  # unsigned
        value(37393, _LONG8, number),  # ImageNumber
    ]
    if text is not None:
        tags.insert(5, (270, _ASCII, text[0], struct.pack("<Q", text[1])))
    return tags


def _directory_bytes(tags: int) -> int:
    return 8 + 20 * tags + 8


def _directory(tags: list[tuple[int, int, int, bytes]]) -> bytes:
    """A directory of which no other follows yet."""
    entries = b"".join(struct.pack("<HHQ8s", *tag) for tag in tags)
    return struct.pack("<Q", len(tags)) + entries + struct.pack("<Q", 0)


def _aligned(offset: int) -> int:
    return -(-offset // 16) * 16
