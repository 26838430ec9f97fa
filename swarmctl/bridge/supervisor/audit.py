"""The audit log: what was asked, cut and sent, and what happened, as lines that are only appended.

A line is {"chain": C, "record": R}; C is the SHA-256 of the chain before it and R's text, so a line
that was changed, left out or put in shows when the log is read. What is cut off at the end does not
show. A writer thread appends; whoever records waits for no disk.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import queue
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
import numpy.typing as npt

from swarmctl.bridge.orders import Spots, Values
from swarmctl.core.errors import RecordError
from swarmctl.core.files import cannot_write, sync_folder
from swarmctl.records.files import plain, write_all

HEAD = '{"chain": "'
MIDDLE = '", "record": '
WAITING_MAX, LATE = 2000, 2.0
"""Records that may wait for the disk, and s that one may take."""
SYNCED = ("fault", "close")
"""Events after which the disk itself is waited for; all else survives the end of the process."""
FIRST_CHAIN = "0" * 64


@final
class AuditLog:
    """An audit log that is open. One file for one life of a supervisor.

    Args:
        path: the file, which must not exist.
        notify: called from the writer thread after a failure.

    Raises RecordError if the file exists or cannot be made.
    """

    def __init__(self, path: Path, notify: Callable[[], None]) -> None:
        self.path = path
        self.error = ""
        self._notify = notify
        self._chain = FIRST_CHAIN
        self._end = 0
        self._dropped = 0
        self._writing: float | None = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
            sync_folder(path.parent)
        except OSError as error:
            raise cannot_write(path, error) from error
        self._queue: queue.Queue[Mapping[str, Any] | None] = queue.Queue(WAITING_MAX)
        self._thread = threading.Thread(target=self._run, name="audit log", daemon=True)
        self._thread.start()

    def record(self, event: str, **content: Any) -> None:
        """Append a record with both clocks; returns at once.

        Spots and values are written compactly. A failure shows in `error`.
        """
        record = {"event": event, "time": time.monotonic(), "wall": time.time(), **content}
        try:
            self._queue.put_nowait(record)
        except queue.Full:
            self._fail("the disk does not keep up with it")

    def look(self, now: float) -> None:
        """Fail if the disk does not return from writing; `now` is s of time.monotonic()."""
        since = self._writing
        if since is not None and now > since + LATE:
            self._say(f"the disk has not taken a record for {now - since:.1f} s")

    @property
    def idle(self) -> bool:
        """Whether nothing waits for the disk."""
        return self._queue.unfinished_tasks == 0

    def retry(self) -> None:
        """Forget a failure: the next record is tried again, after one that says what is missing."""
        dropped, self._dropped, self.error = self._dropped, 0, ""
        if dropped:
            self.record("missing", records=dropped)

    def close(self, timeout: float = 2.0) -> None:
        """Write what waits, for `timeout` s at most, and close the file; may be called twice."""
        if self._thread.is_alive():
            try:
                self._queue.put(None, timeout=timeout)
            except queue.Full:
                return
            self._thread.join(timeout)

    def _fail(self, why: str) -> None:
        self._dropped += 1
        self._say(why)

    def _say(self, why: str) -> None:
        if not self.error:
            self.error = f"audit log {self.path}: {why}"
            self._notify()

    def _run(self) -> None:
        while (record := self._queue.get()) is not None:
            self._writing = time.monotonic()
            try:
                self._append(record)
            except (OSError, RecordError) as error:
                self._fail(str(error))
            except (TypeError, ValueError) as error:
                self._fail(f"{record.get('event')}: {error}")
            finally:
                self._writing = None
                self._queue.task_done()
        os.close(self._handle)

    def _append(self, record: Mapping[str, Any]) -> None:
        text = json.dumps(record, default=_compact)
        chain = _next_chain(self._chain, text)
        data = f"{HEAD}{chain}{MIDDLE}{text}}}\n".encode()
        try:
            write_all(self._handle, data)
            if record["event"] in SYNCED:
                os.fsync(self._handle)
        except OSError as error:
            # A part of a line may be there.
            os.ftruncate(self._handle, self._end)
            os.lseek(self._handle, self._end, os.SEEK_SET)
            raise cannot_write(self.path, error) from error
        self._end += len(data)
        self._chain = chain


@dataclass(frozen=True)
class AuditTrail:
    """What an audit log says.

    Attributes:
        records: in the order in which they were written; spots and values as such.
        torn: whether the last line is incomplete, as after a power cut; it is left out.
    """

    records: tuple[dict[str, Any], ...]
    torn: bool


def read_audit(path: str | Path) -> AuditTrail:
    """Read an audit log and verify its chain, also while it is written.

    Raises RecordError if it cannot be read or, with the number of the line, if it was changed.
    """
    try:
        lines = Path(path).read_bytes().split(b"\n")
    except OSError as error:
        raise RecordError(f"{path}: cannot be read ({error.strerror or error}).") from error
    chain = FIRST_CHAIN
    records = []
    for number, line in enumerate(lines[:-1], 1):
        try:
            whole = line.decode()
            text = whole[len(HEAD) + 64 + len(MIDDLE) : -1]
            chain = _next_chain(chain, text)
            if whole != f"{HEAD}{chain}{MIDDLE}{text}}}":
                raise ValueError("its chain does not fit the line before and its text")
            records.append(json.loads(text, object_hook=_expand))
        except (ValueError, KeyError, TypeError) as error:
            raise RecordError(f"{path}: line {number} was changed or damaged: {error}.") from None
    return AuditTrail(tuple(records), lines[-1] != b"")


def _next_chain(chain: str, text: str) -> str:
    return hashlib.sha256(f"{chain}{text}".encode()).hexdigest()


def _compact(value: Any) -> Any:
    if isinstance(value, (Spots, Values)):
        return {"as": type(value).__name__, **vars(value)}
    if isinstance(value, np.ndarray) and value.dtype.kind in "fi":
        # Single precision and 32 bits are enough to tell what was done, in half the room.
        code = "<f4" if value.dtype.kind == "f" else "<i8" if _is_wide(value) else "<i4"
        data = base64.b64encode(value.astype(code).tobytes()).decode()
        return {"type": code, "shape": value.shape, "data": data}
    return plain(value)


def _is_wide(value: npt.NDArray[Any]) -> bool:
    return bool(np.any(np.abs(value) > np.iinfo(np.int32).max))


def _expand(value: dict[str, Any]) -> Any:
    if "as" in value:
        made = {"Spots": Spots, "Values": Values}[value.pop("as")]
        return made(**value)
    if value.keys() == {"type", "shape", "data"}:
        array = np.frombuffer(base64.b64decode(value["data"]), value["type"])
        return array.reshape(value["shape"]).astype("f8" if value["type"] == "<f4" else "i8")
    return value
