"""The files of a trajectory, their names, and what closes and repairs them."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from swarmctl.core.errors import RecordError
from swarmctl.core.files import TEMPORARY_SUFFIX
from swarmctl.records.files import FileLock
from swarmctl.records.h5md import SegmentContent, read_heading, read_segment, write_segment
from swarmctl.records.journal import (
    JournalContent,
    journal_header,
    read_journal,
    record_dtype,
)

T = TypeVar("T")
SEGMENT_BYTES = 2**28
"""A journal is closed in segments of this size at most, so that closing it fits in memory."""


@dataclass(frozen=True)
class RepairReport:
    """What `repair` did.

    Attributes:
        path: the trajectory.
        frames: frames in it now.
        dropped: frames that were torn or damaged.
        actions: what was done, in words; empty if nothing was to be done.
    """

    path: Path
    frames: int
    dropped: int = 0
    actions: tuple[str, ...] = ()


@dataclass(frozen=True)
class TrajectoryFiles:
    """The files of one trajectory."""

    folder: Path
    stem: str

    @classmethod
    def of(cls, path: str | Path) -> TrajectoryFiles:
        """Find the trajectory meant by a folder, by a file of it, or by a name to be."""
        path = Path(path)
        if path.is_dir():
            return cls(path, "trajectory")
        return cls(path.parent, re.sub(r"((\.\d{4,})?\.h5md|\.part)$", "", path.name))

    @property
    def journal(self) -> Path:
        """The journal, which is there while frames are being written."""
        return self.folder / f"{self.stem}.part"

    @property
    def lock(self) -> FileLock:
        """A new lock, not yet held."""
        return FileLock(self.folder / f"{self.stem}.lock")

    def segment(self, index: int) -> Path:
        """The closed file number `index`."""
        number = f".{index:04d}" if index else ""
        return self.folder / f"{self.stem}{number}.h5md"

    def closed(self) -> list[Path]:
        """Segments in order. Raises RecordError if one is missing in between."""
        pattern = re.compile(re.escape(self.stem) + r"(?:\.(\d{4,}))?\.h5md")
        found: dict[int, Path] = {}
        if self.folder.is_dir():
            for path in self.folder.iterdir():
                if match := pattern.fullmatch(path.name):
                    found[int(match[1] or 0)] = path
        for index in range(len(found)):
            if index not in found:
                raise RecordError(
                    f"{self.segment(index)}: this segment is missing, but later ones are there. "
                    "Put it back, or rename the later ones."
                )
        return [found[index] for index in range(len(found))]

    def leftovers(self) -> list[Path]:
        """Temporary files that a killed writer of this trajectory left."""
        stem, suffix = re.escape(self.stem), re.escape(TEMPORARY_SUFFIX)
        pattern = re.compile(rf"\.{stem}(\.\d{{4,}})?\.(h5md|part)\.[^.]*{suffix}")
        return sorted(path for path in self.folder.iterdir() if pattern.fullmatch(path.name))


def live_journal(files: TrajectoryFiles) -> JournalContent | None:
    """Read the journal, None if there is none. Raises RecordError if it cannot be read."""
    return _reading(files, read_journal)


def _reading(files: TrajectoryFiles, read: Callable[[Path], T]) -> T | None:
    """Read something of the journal, None if there is none."""
    try:
        return read(files.journal)
    except FileNotFoundError:
        return None
    except RecordError:
        raise
    except OSError as error:
        raise RecordError(
            f"{files.journal}: cannot be read ({error.strerror or error}). "
            "Check that it may be read."
        ) from error


def close_journal(files: TrajectoryFiles) -> tuple[list[str], int]:
    """Turn the journal into segments and remove it; return what was done and how many frames fell.

    One segment as a rule; several if the journal is larger than SEGMENT_BYTES. The caller holds the
    lock. Raises RecordError, with the journal as it was, if a segment cannot be written.
    """
    found = _reading(files, journal_header)
    if found is None:
        return [], 0
    header, records = found
    at_once = max(1, SEGMENT_BYTES // record_dtype(header.spec).itemsize)
    actions, dropped, first, index = [], 0, 0, header.index
    while first < records or (first == 0 and index == header.index):
        target = files.segment(index)
        if target.exists():
            # The kill came between the rename and the removal: these frames are in the segment.
            last = int(read_segment(target).frames[-1])
            actions.append(f"removed {files.journal.name}, which {target.name} already holds")
            first, index = last + 1 - header.first_frame, index + 1
            continue
        content = read_journal(files.journal, first, at_once)
        dropped += len(content.damaged) + bool(content.torn_bytes)
        if content.torn_bytes:
            actions.append(
                f"dropped the torn end of {files.journal.name} ({content.torn_bytes} bytes)"
            )
        if content.damaged:
            actions.append(f"dropped damaged frames {list(content.damaged)}")
        if len(content.frames):
            write_segment(
                target, SegmentContent(index, header.spec, content.frames, content.payload)
            )
            actions.append(f"closed {len(content.frames)} frames into {target.name}")
            index += 1
        elif first == 0:
            actions.append(f"removed {files.journal.name}, which has no frame")
        first += at_once
    files.journal.unlink(missing_ok=True)
    return actions, dropped


def repair_held(files: TrajectoryFiles) -> RepairReport:
    """Do what `repair` does; the caller holds the lock."""
    actions, dropped = close_journal(files)
    for path in files.leftovers():
        path.unlink(missing_ok=True)
        actions.append(f"removed the unfinished {path.name}")
    frames = sum(len(read_heading(path).frames) for path in files.closed())
    return RepairReport(files.segment(0), frames, dropped, tuple(actions))


def repair(path: str | Path) -> RepairReport:
    """Close what a killed writer left: the journal becomes H5MD, a torn last frame is dropped.

    Raises RecordError if a process is still writing the trajectory, or there is none.
    """
    files = TrajectoryFiles.of(path)
    if not files.journal.exists() and not files.closed():
        raise nothing_there(files)
    lock = files.lock
    if not lock.acquire():
        raise RecordError(
            f"{files.segment(0)}: {lock.owner()} is writing this trajectory; "
            "there is nothing to repair. Read it as it is, or end that process first."
        )
    try:
        return repair_held(files)
    finally:
        lock.release()


def find_journals(folder: str | Path) -> list[Path]:
    """Return the journals below a folder: of writers at work, and of killed ones."""
    return sorted(Path(folder).rglob("*.part"))


def nothing_there(files: TrajectoryFiles) -> RecordError:
    """Return the error for a trajectory that does not exist."""
    return RecordError(
        f"{files.segment(0)}: no trajectory there, "
        f"nor a journal {files.journal.name}. Check the path: a run's folder, or its .h5md file."
    )
