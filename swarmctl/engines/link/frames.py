"""The framed protocol on bytes: layouts, checksums and sequence numbers; no sockets, no clocks.

Everything is little-endian. A frame is a header of 32 bytes, a payload, and the CRC-32 of both.
Byte by byte: docs/reference/link-protocols.md.
"""

from __future__ import annotations

import enum
import math
import struct
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from swarmctl.core.errors import LinkClosedError, LinkError
from swarmctl.engines.link.sightings import ID_MAX, Sighting, make_sighting

MAGIC = b"SWLK"
VERSION = 1
HEADER = struct.Struct("<4sHHIIQd")
CRC = struct.Struct("<I")
TEXT_MAX = 1024
"""Longest text in a frame, bytes of UTF-8."""
NEVER = 2**64 - 1

HELLO = struct.Struct("<HHIIIddd32s")
START = struct.Struct("<Q")
STATE = struct.Struct("<dQII")
COMMAND = struct.Struct("<dII")
STATE_ROW = np.dtype(
    [("id", "<i4"), ("type", "<i4"), ("flags", "<u4"), ("reserved", "<u4")]
    + [(name, "<f8") for name in ("x", "y", "theta")]
)
COMMAND_VALUES = ("speed", "turn_rate", "heading", "v_x", "v_y", "power", "d_x", "d_y")
COMMAND_ROW = np.dtype(
    [("id", "<i4"), ("action", "<u4"), ("flags", "<u4"), ("reserved", "<u4")]
    + [(name, "<f8") for name in COMMAND_VALUES]
)
CHANNELS = ("speed", "turn_rate", "heading", "velocity", "power", "spot_offset")
"""Bit k of a set of channels stands for the k-th of these."""
PRESENT, ORIENTED, CONTROLLABLE = 1, 2, 4
HAS_HEADING = 1
EXPIRED = 1
"""Flag of a state: the command's time ran out, and the outputs went to their safe values."""


class Kind(enum.IntEnum):
    """What a frame says."""

    HELLO = 1
    START = 2
    STATE = 3
    COMMAND = 4
    APPLIED = 5
    HEARTBEAT = 6
    STOP = 7
    SAFE = 8
    FAULT = 9
    BYE = 10


class Role(enum.IntEnum):
    """Who speaks: the one who decides, or the one who moves colloids."""

    CONTROLLER = 1
    LABORATORY = 2


TEXTS = frozenset({Kind.STOP, Kind.SAFE, Kind.FAULT, Kind.BYE})
HEARD_FROM = {
    Role.CONTROLLER: frozenset({Kind.START, Kind.COMMAND, Kind.STOP}),
    Role.LABORATORY: frozenset({Kind.STATE, Kind.APPLIED, Kind.SAFE, Kind.FAULT}),
}
"""What only one of the two may say; HELLO, HEARTBEAT and BYE are for both."""


@dataclass(frozen=True)
class Frame:
    """A frame as it was read: kind, sequence number, the sender's clock (s, Unix), payload."""

    kind: Kind
    sequence: int
    time: float
    payload: bytes


@dataclass(frozen=True)
class Hello:
    """Who somebody is, said first by both.

    Attributes:
        role: controller or laboratory.
        channels: what the controller commands, or the laboratory takes.
        capacity: colloids at most.
        control_interval: s.
        heartbeat: s between two frames at most, while the sender waits.
        silence: s without a frame after which the sender takes the other for gone.
        name: for people, at most 32 bytes.
    """

    role: Role
    channels: frozenset[str]
    capacity: int
    control_interval: float
    heartbeat: float
    silence: float
    name: str

    def pack(self) -> bytes:
        """The payload of a HELLO."""
        name = self.name.encode("utf-8")[:32]
        return HELLO.pack(
            self.role, 0, channel_bits(self.channels), self.capacity, 0,
            self.control_interval, self.heartbeat, self.silence, name,
        )  # fmt: skip


def read_hello(payload: bytes) -> Hello:
    """Read a HELLO. Raises LinkError for numbers out of range."""
    role, _, bits, capacity, _, interval, heartbeat, silence, name = HELLO.unpack(payload)
    if role not in (1, 2):
        raise LinkError(f"the peer's role is {role}; it is 1 (controller) or 2 (laboratory).")
    for label, value in (
        ("control interval", interval), ("heartbeat", heartbeat), ("silence", silence)
    ):  # fmt: skip
        if not (math.isfinite(value) and value > 0):
            raise LinkError(f"the peer's {label} is {value:g} s; it must be positive.")
    text = name.rstrip(b"\0").decode("utf-8", "replace")
    return Hello(Role(role), channel_set(bits), capacity, interval, heartbeat, silence, text)


def channel_bits(channels: frozenset[str]) -> int:
    """Channels as bits."""
    return sum(1 << k for k, name in enumerate(CHANNELS) if name in channels)


def channel_set(bits: int) -> frozenset[str]:
    """Bits as channels. Raises LinkError for bits without a meaning."""
    if bits >> len(CHANNELS):
        raise LinkError(f"the peer names channels {bits:#x}; known are {', '.join(CHANNELS)}.")
    return frozenset(name for k, name in enumerate(CHANNELS) if bits >> k & 1)


def pack_state(time: float, answered: int, expired: bool, rows: np.ndarray) -> bytes:
    """The payload of a STATE: mid-exposure `time` s, the sequence number that it answers, rows."""
    head = STATE.pack(time, answered, EXPIRED if expired else 0, len(rows))
    return head + rows.astype(STATE_ROW).tobytes()


@dataclass(frozen=True)
class StateReport:
    """A STATE: `time` s of the laboratory's clock, which frame it answers, what was seen."""

    time: float
    answered: int
    expired: bool
    sighting: Sighting


def read_state(payload: bytes) -> StateReport:
    """Read a STATE. Raises LinkError for wrong lengths, numbers or ids."""
    rows, (time, answered, flags) = _rows(payload, STATE, STATE_ROW, "STATE")
    if not math.isfinite(time):
        raise LinkError(f"the laboratory's STATE is of the time {time} s.")
    _check_ids(rows["id"])
    present = rows["flags"] & PRESENT > 0
    oriented = present & (rows["flags"] & ORIENTED > 0)
    if not np.isfinite(rows["theta"][oriented]).all():
        raise LinkError("the laboratory sent an angle that is not finite.")
    sighting = make_sighting(
        label=rows["id"].astype(float),
        identity=rows["id"].astype(np.int64),
        position=np.stack([rows["x"], rows["y"]], axis=1),
        angle=np.where(oriented, rows["theta"], np.nan),
        type=rows["type"].astype(np.int64),
        present=present,
        controllable=present & (rows["flags"] & CONTROLLABLE > 0),
    )
    return StateReport(time, answered, bool(flags & EXPIRED), sighting)


def pack_command(expiry: float, channels: frozenset[str], rows: np.ndarray) -> bytes:
    """The payload of a COMMAND or APPLIED: valid for `expiry` s after it was read."""
    head = COMMAND.pack(expiry, channel_bits(channels), len(rows))
    return head + rows.astype(COMMAND_ROW).tobytes()


@dataclass(frozen=True)
class CommandReport:
    """A COMMAND or APPLIED: `expiry` s, the channels whose numbers count, rows (COMMAND_ROW)."""

    expiry: float
    channels: frozenset[str]
    rows: np.ndarray


def read_command(payload: bytes) -> CommandReport:
    """Read a COMMAND or APPLIED. Raises LinkError for wrong lengths, numbers or ids."""
    rows, (expiry, bits) = _rows(payload, COMMAND, COMMAND_ROW, "COMMAND")
    if not (math.isfinite(expiry) and expiry > 0):
        raise LinkError(f"the peer's COMMAND expires after {expiry} s; it must be positive.")
    _check_ids(rows["id"])
    if not all(np.isfinite(rows[name]).all() for name in COMMAND_VALUES):
        raise LinkError("the peer's COMMAND holds a number that is not finite.")
    return CommandReport(expiry, channel_set(bits), rows)


def _rows(
    payload: bytes, head: struct.Struct, row: np.dtype, name: str
) -> tuple[np.ndarray, tuple[Any, ...]]:
    if len(payload) < head.size:
        raise LinkError(f"the peer's {name} has {len(payload)} bytes, fewer than {head.size}.")
    *values, count = head.unpack_from(payload)
    expected = head.size + count * row.itemsize
    if len(payload) != expected:
        raise LinkError(
            f"the peer's {name} with {count} rows has {len(payload)} bytes, not {expected}."
        )
    return np.frombuffer(payload, row, offset=head.size), tuple(values)


def _check_ids(ids: np.ndarray) -> None:
    if (ids < 0).any():
        raise LinkError(f"the peer sent the id {ids.min()}; ids go from 0 to {ID_MAX}.")
    if len(np.unique(ids)) != len(ids):
        raise LinkError("the peer sent an id twice in one frame.")


def read_text(payload: bytes) -> str:
    """Read the text of STOP, SAFE, FAULT or BYE; what is no UTF-8 becomes a mark."""
    return payload.decode("utf-8", "replace")


class FrameWriter:
    """Numbers frames from 0 on and makes their bytes."""

    def __init__(self) -> None:
        self.sequence = 0

    def frame(self, kind: Kind, payload: bytes, time: float) -> tuple[bytes, int]:
        """Return the bytes of the next frame and its sequence number."""
        number, self.sequence = self.sequence, self.sequence + 1
        head = HEADER.pack(MAGIC, VERSION, kind, len(payload), 0, number, time)
        return head + payload + CRC.pack(zlib.crc32(payload, zlib.crc32(head))), number


class FrameReader:
    """Takes bytes in pieces of any size and gives complete frames, checked."""

    def __init__(self, colloids_max: int) -> None:
        self._longest = {
            kind: TEXT_MAX if kind in TEXTS else 0 for kind in Kind
        } | {
            Kind.HELLO: HELLO.size,
            Kind.START: START.size,
            Kind.STATE: STATE.size + colloids_max * STATE_ROW.itemsize,
            Kind.COMMAND: COMMAND.size + colloids_max * COMMAND_ROW.itemsize,
            Kind.APPLIED: COMMAND.size + colloids_max * COMMAND_ROW.itemsize,
        }  # fmt: skip
        self._buffer = bytearray()
        self._sequence = 0

    def feed(self, data: bytes) -> list[Frame]:
        """Take bytes and return the frames that are complete now.

        Raises LinkError for another magic, version, kind, length, checksum or sequence number; the
        reader is of no use afterwards. Never keeps more than one frame besides `data`.
        """
        self._buffer += data
        frames = []
        while (frame := self._take()) is not None:
            frames.append(frame)
        return frames

    def finish(self) -> None:
        """Say that no more bytes come. Raises LinkClosedError, which says what was left over."""
        if self._buffer:
            raise LinkClosedError(
                f"the peer closed the connection in the middle of a frame, after "
                f"{len(self._buffer)} bytes of it."
            )
        raise LinkClosedError("the peer closed the connection.")

    def _take(self) -> Frame | None:
        buffer = self._buffer
        start = bytes(buffer[:4])
        if start != MAGIC[: len(start)]:
            raise LinkError(
                f"the peer sent {start!r} where a frame begins with {MAGIC!r}; it does not speak "
                "the framed protocol."
            )
        if len(buffer) < HEADER.size:
            return None
        _, version, number, length, _, sequence, time = HEADER.unpack_from(buffer)
        if version != VERSION:
            raise LinkError(f"the peer speaks version {version}; this is version {VERSION}.")
        if number not in self._longest:
            raise LinkError(f"the peer sent a frame of the unknown kind {number}.")
        kind = Kind(number)
        fixed = kind in (Kind.HELLO, Kind.START)
        if length > self._longest[kind] or (fixed and length != self._longest[kind]):
            raise LinkError(
                f"the peer announces a {kind.name} of {length} bytes; it may have "
                f"{'' if fixed else 'at most '}{self._longest[kind]}."
            )
        end = HEADER.size + length
        if len(buffer) < end + CRC.size:
            return None
        body = bytes(buffer[: end + CRC.size])
        del buffer[: end + CRC.size]
        (checksum,) = CRC.unpack_from(body, end)
        if checksum != zlib.crc32(body[:end]):
            raise LinkError(f"the checksum of the peer's {kind.name} is wrong.")
        if sequence != self._sequence:
            raise LinkError(
                f"the peer's {kind.name} has the sequence number {sequence}, expected was "
                f"{self._sequence}: a frame was lost or repeated."
            )
        if not math.isfinite(time):
            raise LinkError(f"the peer's {kind.name} is of the time {time} s.")
        self._sequence += 1
        return Frame(kind, sequence, time, body[HEADER.size : end])
