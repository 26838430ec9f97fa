"""The wire between the loop and the supervisor: frames of a JSON header and raw arrays.

A frame is a prefix of 16 bytes, little-endian: the magic SWSV, the version u16, a zero u16, the
lengths of header and body u32. The header is a JSON object with `kind`, `fields` and `arrays`, a
list of name, type and shape; the body is the arrays one after the other, without gaps. Both sides
are of one version of swarmctl on one computer; whatever else comes is an error, never a crash.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, final

import numpy as np
import numpy.typing as npt

from swarmctl.core.errors import LinkError

MAGIC, VERSION = b"SWSV", 1
PREFIX = struct.Struct("<4sHHII")
HEADER_MAX, BODY_MAX = 2**18, 2**22
"""Bytes of a header and of a body at most: some ten thousand spots."""
TYPES = {"f8": np.dtype("<f8"), "i8": np.dtype("<i8")}


@dataclass(frozen=True)
class Message:
    """What one side says: a kind, plain data, and arrays by name."""

    kind: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    arrays: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)


def pack(message: Message) -> bytes:
    """Return the bytes of a message. Raises LinkError if it is too large or holds other arrays."""
    listed, parts = [], []
    for name, array in message.arrays.items():
        code = f"{array.dtype.kind}{array.dtype.itemsize}"
        if code not in TYPES:
            raise LinkError(f"{message.kind}: {name} has type {array.dtype}, f8 or i8 is needed.")
        listed.append([name, code, list(array.shape)])
        parts.append(np.ascontiguousarray(array, TYPES[code]).tobytes())
    header = json.dumps({"kind": message.kind, "fields": message.fields, "arrays": listed}).encode()
    body = b"".join(parts)
    if len(header) > HEADER_MAX or len(body) > BODY_MAX:
        raise LinkError(
            f"{message.kind}: {len(header)} and {len(body)} bytes, at most {HEADER_MAX} and "
            f"{BODY_MAX} are allowed."
        )
    return PREFIX.pack(MAGIC, VERSION, 0, len(header), len(body)) + header + body


@final
class Unpacker:
    """Puts messages together from whatever pieces their bytes come in."""

    def __init__(self) -> None:
        self._data = bytearray()

    def feed(self, data: bytes) -> list[Message]:
        """Return the messages that are complete now. Raises LinkError; then nothing more fits."""
        self._data += data
        found = []
        while len(self._data) >= PREFIX.size:
            magic, version, zero, header, body = PREFIX.unpack_from(self._data)
            if magic != MAGIC or zero != 0:
                raise LinkError(
                    f"a frame begins with {bytes(self._data[:8])!r}, not with {MAGIC!r}."
                )
            if version != VERSION:
                raise LinkError(f"a frame has version {version}, here {VERSION} is spoken.")
            if header > HEADER_MAX or body > BODY_MAX:
                raise LinkError(f"a frame of {header} and {body} bytes is too long.")
            end = PREFIX.size + header + body
            if len(self._data) < end:
                break
            middle = PREFIX.size + header
            found.append(
                _message(bytes(self._data[PREFIX.size : middle]), bytes(self._data[middle:end]))
            )
            del self._data[:end]
        return found


def _message(header: bytes, body: bytes) -> Message:
    try:
        content = json.loads(header)
        kind, fields, listed = content["kind"], content["fields"], content["arrays"]
        if not (isinstance(kind, str) and isinstance(fields, dict)):
            raise TypeError("kind is text, fields are an object")
        arrays, start = {}, 0
        for name, code, shape in listed:
            if not all(type(size) is int and 0 <= size <= BODY_MAX for size in shape):
                raise ValueError(f"shape {shape}")
            count = math.prod(shape)
            if count * 8 > len(body) - start:
                raise ValueError(f"array {name} is longer than the body")
            arrays[str(name)] = np.frombuffer(body, TYPES[code], count, start).reshape(shape)
            start += count * 8
        if start != len(body):
            raise ValueError(f"{len(body) - start} bytes are left")
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise LinkError(f"a frame cannot be read: {type(error).__name__}: {error}.") from None
    return Message(kind, fields, arrays)
