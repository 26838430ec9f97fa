"""Metrics of a run: one JSON object a line, appended, and the same scalars for TensorBoard."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from swarmctl.core.errors import RecordError
from swarmctl.core.files import cannot_write
from swarmctl.records.files import plain, write_all, write_bytes_atomic


class MetricsLog:
    """An append-only file of JSON lines; a row is safe from a kill as soon as `write` returns.

    Opening removes a last line that a kill cut short, so that the next row begins on its own line.

    Args:
        path: the file, made if need be.

    Raises RecordError if it cannot be written.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0)
            self._handle = os.open(self.path, flags, 0o666)
            whole = self.path.read_bytes().rpartition(b"\n")
            self._end = len(whole[0] + whole[1])
            os.ftruncate(self._handle, self._end)
        except OSError as error:
            raise cannot_write(self.path, error) from error

    def write(self, row: Mapping[str, Any]) -> None:
        """Append a row of numbers, texts or lists of them; NumPy and JAX values become plain ones.

        Raises RecordError, with the file as it was, if the row cannot be written.
        """
        if self._handle < 0:
            raise RecordError(f"{self.path}: this log is closed. Open a new one.")
        try:
            data = (json.dumps(dict(row), default=plain) + "\n").encode()
        except (TypeError, ValueError) as error:
            raise RecordError(f"{self.path}: row not written: {error}. Give numbers.") from error
        try:
            write_all(self._handle, data)
        except OSError as error:
            os.ftruncate(self._handle, self._end)
            raise cannot_write(self.path, error) from error
        self._end += len(data)

    def close(self) -> None:
        """Close the file; closing twice does nothing."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    def __enter__(self) -> MetricsLog:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def read_metrics(path: str | Path) -> list[dict[str, Any]]:
    """Read all rows; a last line that is being written, or that a kill cut short, is left out.

    Raises RecordError if there is no such file or a line before the last is damaged.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise RecordError(f"{path}: no such file. Check the path of the run.") from error
    except OSError as error:
        raise RecordError(f"{path}: cannot be read ({error.strerror or error}).") from error
    rows = []
    lines = data.split(b"\n")[:-1]
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
            if not isinstance(row, dict):
                raise ValueError("not an object")
        except ValueError as error:
            raise RecordError(
                f"{path}: line {number} is damaged ({error}). Remove that line to read the others."
            ) from error
        rows.append(row)
    return rows


def truncate_metrics(path: str | Path, key: str, last: float) -> int:
    """Drop the rows whose `key` is beyond `last`, whole or not at all; return how many.

    For a resumed run, which writes the rows after its checkpoint once more. Rows without `key`
    stay. Without a file there is nothing to drop. No log may be open on the file. Raises
    RecordError as `read_metrics`.
    """
    path = Path(path)
    if not path.exists():
        return 0
    rows = read_metrics(path)
    kept = [row for row in rows if not (key in row and row[key] > last)]
    text = "".join(json.dumps(row) + "\n" for row in kept)
    write_bytes_atomic(path, text.encode())
    return len(rows) - len(kept)


class TensorBoardLog:
    """Scalars for TensorBoard.

    Args:
        folder: where TensorBoard looks.
        purge_from: when resuming, the first step that will be written once more; what an earlier
            process logged from there on is hidden.

    Raises RecordError if the folder cannot be written.
    """

    def __init__(self, folder: str | Path, purge_from: int | None = None) -> None:
        # Slow to import, and most runs of the command line need no log.
        from tensorboardX import SummaryWriter

        try:
            # Its own file name has whole seconds: two logs begun in one second would share a file.
            self._writer = SummaryWriter(
                str(folder), purge_step=purge_from, filename_suffix=f".{time.time_ns():020d}"
            )
        except OSError as error:
            raise cannot_write(Path(folder), error) from error

    def scalars(self, step: int, values: Mapping[str, Any]) -> None:
        """Log scalars at `step`: name -> number (or array of one element)."""
        for name, value in values.items():
            self._writer.add_scalar(name, float(value), int(step))

    def close(self) -> None:
        """Write what is pending and close."""
        self._writer.close()
