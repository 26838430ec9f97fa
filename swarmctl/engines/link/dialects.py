"""The predecessor's protocol and its dialects, on bytes: no sockets, no clocks.

A codec takes bytes in pieces of any size and gives complete sightings, and turns orders into the
bytes of an answer. The layouts stand in docs/reference/link-protocols.md.
"""

from __future__ import annotations

import json
import math
import struct
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from swarmctl.core.errors import LinkClosedError, LinkError
from swarmctl.engines.link.sightings import (
    Sighting,
    check_columns,
    make_sighting,
    sighting_of_table,
)

DIGITS = 25
"""Bytes that one number of a text takes at most, with its separator."""


@dataclass(frozen=True)
class Answer:
    """What is asked of every row of a sighting, in its order.

    Attributes:
        label: f64 [R], the ids as they came.
        action: i64 [R], numbers of actions.
        force: f64 [R,2] pN.
    """

    label: np.ndarray
    action: np.ndarray
    force: np.ndarray


class Dialect(ABC):
    """A codec: `feed` bytes, get sightings; `reply` gives the bytes of an answer.

    `forces` says whether it answers with forces; else with numbers of actions.
    """

    forces: ClassVar[bool] = False

    def __init__(self, columns: Sequence[str], colloids_max: int, lost: bool) -> None:
        self.columns = check_columns(columns)
        self.colloids_max, self.lost = colloids_max, lost
        self._buffer = bytearray()

    @property
    def unread(self) -> int:
        """Bytes of a message that is not complete."""
        return len(self._buffer)

    def feed(self, data: bytes) -> list[Sighting]:
        """Take bytes and return the sightings that are complete now.

        Raises LinkError for what the dialect does not allow; the codec is of no use afterwards.
        Never keeps more than one message of `colloids_max` colloids besides `data`.
        """
        self._buffer += data
        found = []
        while (message := self._take(self._buffer)) is not None:
            found.append(message)
        return found

    def finish(self) -> None:
        """Say that no more bytes come. Raises LinkClosedError, which says what was left over."""
        if self._buffer:
            raise LinkClosedError(
                f"the laboratory closed the connection in the middle of a message, after "
                f"{len(self._buffer)} bytes of it."
            )
        raise LinkClosedError("the laboratory closed the connection.")

    @abstractmethod
    def _take(self, buffer: bytearray) -> Sighting | None:
        """Remove one complete message from the front of the buffer, or return None."""

    @abstractmethod
    def reply(self, answer: Answer) -> bytes:
        """Return the bytes of an answer."""

    def _check_count(self, count: int) -> None:
        if count > self.colloids_max:
            raise LinkError(
                f"the laboratory announces {count} colloids; at most {self.colloids_max} are taken "
                "(key colloids_max)."
            )


class Doubles(Dialect):
    """The predecessor's protocol: a length, then a table of doubles.

    In: uint32 little-endian, the number of doubles; then that many float64, row by row. Out: 2 R
    float64 without a header, all ids, then all actions.
    """

    def _take(self, buffer: bytearray) -> Sighting | None:
        if len(buffer) < 4:
            return None
        (doubles,) = struct.unpack_from("<I", buffer)
        width = len(self.columns)
        if doubles % width:
            raise LinkError(
                f"the laboratory announces {doubles} numbers, which are no rows of {width} "
                f"({', '.join(self.columns)}); choose the protocol that has its columns."
            )
        self._check_count(doubles // width)
        end = 4 + 8 * doubles
        if len(buffer) < end:
            return None
        table = np.frombuffer(bytes(buffer[4:end]), "<f8").reshape(-1, width).astype(float)
        del buffer[:end]
        return sighting_of_table(table, self.columns, self.lost)

    def reply(self, answer: Answer) -> bytes:
        """All ids, then all actions, as float64."""
        return np.concatenate([answer.label, answer.action]).astype("<f8").tobytes()


class LabviewText(Dialect):
    """Texts as LabVIEW sends them.

    In: 8 ASCII digits, the number of bytes; then a text, rows divided by semicolons or lines,
    numbers by commas. Out: uint32 big-endian, the number of bytes; then `id,action;id,action;...`.
    """

    def _take(self, buffer: bytearray) -> Sighting | None:
        head = bytes(buffer[:8])
        if not head.isdigit() and head:
            raise LinkError(f"the laboratory sent {head!r} where 8 digits give a text's length.")
        if len(head) < 8:
            return None
        length, most = int(head), self.colloids_max * len(self.columns) * DIGITS
        if length > most:
            raise LinkError(
                f"the laboratory announces a text of {length} bytes; at most {most} are taken "
                "(key colloids_max)."
            )
        if len(buffer) < 8 + length:
            return None
        text = bytes(buffer[8 : 8 + length])
        del buffer[: 8 + length]
        return sighting_of_table(self._table(text), self.columns, self.lost)

    def _table(self, text: bytes) -> np.ndarray:
        try:
            lines = text.decode("ascii").replace("\r", "\n").replace(";", "\n").split("\n")
            rows = [[float(x) for x in line.split(",")] for line in lines if line.strip()]
        except ValueError as error:
            raise LinkError(f"the laboratory sent a text that is no table ({error}).") from None
        width = len(self.columns)
        if any(len(row) != width for row in rows):
            raise LinkError(
                f"the laboratory sent rows of {sorted({len(row) for row in rows})} numbers, not "
                f"of {width} ({', '.join(self.columns)})."
            )
        self._check_count(len(rows))
        return np.array(rows, float).reshape(-1, width)

    def reply(self, answer: Answer) -> bytes:
        """`id,action;id,action`, behind its length."""
        rows = zip(answer.label.tolist(), answer.action.tolist(), strict=True)
        text = ";".join(f"{label:.17g},{action}" for label, action in rows).encode("ascii")
        return struct.pack(">I", len(text)) + text


class JsonLines(Dialect):
    """One JSON object a line, or a message of ZeroMQ; forces are answered.

    In: lists `indices`, `x`, `y`, and `theta` or `v_x` and `v_y`, and `types` if there are some;
    null marks what is lost. `is_finished` true ends the link. Out: `indices`, `f_x`, `f_y`.
    """

    forces: ClassVar[bool] = True
    MOST_LISTS: ClassVar[int] = 8

    def _take(self, buffer: bytearray) -> Sighting | None:
        end = buffer.find(b"\n")
        most = 1000 + self.colloids_max * self.MOST_LISTS * DIGITS
        if (end if end >= 0 else len(buffer)) > most:
            raise LinkError(
                f"the laboratory sent more than {most} bytes of JSON in one message (key "
                "colloids_max)."
            )
        if end < 0:
            return None
        line = bytes(buffer[:end])
        del buffer[: end + 1]
        return self._sighting(_json_object(line))

    def _sighting(self, message: dict[str, Any]) -> Sighting:
        if message.get("is_finished") is True:
            raise LinkClosedError("the laboratory says that it has finished.")
        lists = ("indices", "x", "y", "theta", "v_x", "v_y", "types")
        values = {name: _numbers(message[name], name) for name in lists if name in message}
        missing = [name for name in ("indices", "x", "y") if name not in values]
        if missing or not ({"theta"} <= values.keys() or {"v_x", "v_y"} <= values.keys()):
            raise LinkError(
                f"the laboratory's JSON has {', '.join(sorted(map(str, message))) or 'no keys'}; "
                "it needs indices, x, y, and theta or v_x and v_y."
            )
        count = len(values["indices"])
        self._check_count(count)
        if any(len(column) != count for column in values.values()):
            sizes = ", ".join(f"{name} {len(column)}" for name, column in values.items())
            raise LinkError(f"the laboratory's lists have different lengths: {sizes}.")
        plain = {"x": values["x"], "y": values["y"], "id": values["indices"]}
        angle = values["theta"] if "theta" in values else _headings(values["v_x"], values["v_y"])
        names = ["x", "y", "theta", "id"]
        plain["theta"] = np.zeros(count)
        if "types" in values:
            names.append("type")
            plain["type"] = values["types"]
        table = np.stack([plain[name] for name in names], axis=1)
        seen = sighting_of_table(table, names, lost=True)
        return make_sighting(
            seen.label, seen.identity, seen.position, angle, seen.type, seen.present,
            seen.controllable,
        )  # fmt: skip

    def reply(self, answer: Answer) -> bytes:
        """Forces in pN, in the order of the rows."""
        force = answer.force.tolist()
        said = {
            "indices": [int(x) if math.isfinite(x) else None for x in answer.label.tolist()],
            "f_x": [x for x, _ in force],
            "f_y": [y for _, y in force],
        }
        return json.dumps(said, allow_nan=False, separators=(",", ":")).encode("ascii") + b"\n"


def _headings(v_x: np.ndarray, v_y: np.ndarray) -> np.ndarray:
    """Angle of motion in rad, NaN where nothing moves."""
    return np.where((v_x == 0) & (v_y == 0), np.nan, np.arctan2(v_y, v_x))


def _json_object(line: bytes) -> dict[str, Any]:
    def refuse(name: str) -> Any:
        raise ValueError(f"{name} is no JSON")

    try:
        message = json.loads(line.decode("utf-8"), parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise LinkError(f"the laboratory sent what is no JSON ({error}).") from None
    if not isinstance(message, dict):
        raise LinkError(f"the laboratory sent a JSON {type(message).__name__}, not an object.")
    return message


def _numbers(value: Any, name: str) -> np.ndarray:
    """A list of numbers and nulls as f64, null as NaN."""
    if not isinstance(value, list):
        raise LinkError(f"the laboratory's {name} is no list.")
    for item in value:
        if item is not None and (isinstance(item, bool) or not isinstance(item, (int, float))):
            raise LinkError(
                f"the laboratory's {name} holds {str(item)[:40]!r}, which is no number."
            )
    try:
        return np.array([math.nan if item is None else float(item) for item in value], float)
    except OverflowError:
        raise LinkError(f"the laboratory's {name} holds a number that is too large.") from None


TABLE = ("x", "y", "theta", "id")
DIALECTS: dict[str, tuple[type[Dialect], tuple[str, ...], bool]] = {
    "predecessor": (Doubles, TABLE, False),
    "typed": (Doubles, (*TABLE, "type"), False),
    "lost-as-nan": (Doubles, (*TABLE, "-", "-", "-"), True),
    "labview": (LabviewText, TABLE, False),
    "json": (JsonLines, TABLE, True),
    "zmq": (JsonLines, TABLE, True),
}
"""Name -> (codec, its columns, whether NaN marks a lost colloid)."""


def make_dialect(name: str, colloids_max: int, columns: Sequence[str] = ()) -> Dialect:
    """Return the codec of a dialect, with other columns if some are given."""
    codec, usual, lost = DIALECTS[name]
    return codec(columns or usual, colloids_max, lost)
