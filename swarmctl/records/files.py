"""Files that are whole after a kill, the old one or the new one; locks that a kill releases."""

from __future__ import annotations

import errno
import json
import os
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from swarmctl.core.errors import RecordError
from swarmctl.core.files import cannot_write, replacing

_LETTING_GO = 1.0  # s, longest time until the system frees the lock of a process that is gone


def plain(value: Any) -> Any:
    """Turn what JSON does not know (arrays, NumPy numbers, paths, tuples, sets) into what it knows.

    For `json.dumps(default=plain)`. Raises TypeError for anything else.
    """
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray) or hasattr(value, "__array__"):
        return np.asarray(value).tolist()
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    raise TypeError(f"{value!r} cannot be written as JSON")


def write_bytes_atomic(path: str | Path, data: bytes) -> None:
    """Write a file whole or not at all. Raises RecordError if it cannot be written."""
    with replacing(Path(path)) as temporary:
        temporary.write_bytes(data)


def write_text_atomic(path: str | Path, text: str) -> None:
    """Write a text file (UTF-8) whole or not at all. Raises RecordError if it cannot be written."""
    write_bytes_atomic(path, text.encode("utf-8"))


def write_json_atomic(path: str | Path, obj: Any) -> None:
    """Write an object as JSON, indented, whole or not at all.

    NumPy values and paths become plain ones. Raises RecordError if the file cannot be written or
    the object is not plain data.
    """
    try:
        text = json.dumps(obj, indent=2, default=plain, ensure_ascii=False)
    except (TypeError, ValueError) as error:
        raise RecordError(f"{path}: not written: {error}. Give plain data.") from error
    write_text_atomic(path, text + "\n")


def write_all(handle: int, data: bytes) -> None:
    """Write all bytes to an open file; what is written survives the end of the process."""
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view) :]


class FileLock:
    """One process (and one owner in it) may hold `path`; the end of the process releases it.

    Args:
        path: the lock file; made while the lock is held, removed with it.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._handle: int | None = None

    @property
    def held(self) -> bool:
        """Whether this object holds the lock."""
        return self._handle is not None

    def acquire(self) -> bool:
        """Take the lock if it is free; say whether it is held now.

        That of a process that has just been killed is waited for. Raises RecordError if the file
        cannot be made.
        """
        end = time.monotonic() + _LETTING_GO
        while self._handle is None:
            try:
                handle = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)
            except OSError as error:
                raise cannot_write(self.path, error) from error
            if not _lock(handle, self.path):
                os.close(handle)
                if not self._owner_is_gone() or time.monotonic() > end:
                    return False
                time.sleep(0.01)
            elif self._is_current(handle):
                os.ftruncate(handle, 0)
                write_all(handle, f"{os.getpid()}\n".encode())
                self._handle = handle
            else:
                os.close(handle)
        return True

    def _owner_is_gone(self) -> bool:
        if sys.platform == "win32":  # there a signal 0 is no question
            return False
        try:
            os.kill(int(self.path.read_text()), 0)
        except ProcessLookupError:
            return True
        except (OSError, ValueError):
            return False
        return False

    def _is_current(self, handle: int) -> bool:
        # The last owner removes the file: what was opened may no longer be what others will open.
        try:
            return os.path.samestat(os.fstat(handle), os.stat(self.path))
        except FileNotFoundError:
            return False

    def release(self) -> None:
        """Give the lock back; nothing happens if it is not held."""
        if self._handle is None:
            return
        if sys.platform == "win32":
            os.close(self._handle)
        else:
            self.path.unlink(missing_ok=True)
            os.close(self._handle)
        self._handle = None

    def owner(self) -> str:
        """Return who holds the lock, for messages: "process 1234" or "another process"."""
        try:
            text = self.path.read_text().strip()
        except OSError:
            text = ""
        return f"process {text}" if text.isdigit() else "another process"


def _lock(handle: int, path: Path) -> bool:
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP):
            warnings.warn(
                f"{path}: this file system has no locks; nothing keeps a second process out.",
                stacklevel=3,
            )
            return True
        return False
    return True
