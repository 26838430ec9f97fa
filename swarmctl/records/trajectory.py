"""Trajectories: written frame by frame, readable meanwhile, whole after a kill, open in MDAnalysis.

See docs/decisions/0003-trajectories.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from swarmctl.core.errors import RecordError
from swarmctl.core.files import cannot_write
from swarmctl.records.h5md import SegmentContent, read_heading, read_segment, write_segment
from swarmctl.records.journal import Journal, JournalHeader
from swarmctl.records.layout import (
    Channel,
    FrameEncoder,
    TrajectorySpec,
    body_frame,
    body_layout,
    channels_like,
    fields_of,
)
from swarmctl.records.store import (
    RepairReport,
    TrajectoryFiles,
    close_journal,
    find_journals,
    live_journal,
    nothing_there,
    repair,
    repair_held,
)

__all__ = [
    "BodyTrajectory",
    "Channel",
    "RepairReport",
    "SegmentInfo",
    "Trajectory",
    "TrajectorySpec",
    "TrajectoryWriter",
    "body_frame",
    "body_layout",
    "channels_like",
    "export_trajectory",
    "find_journals",
    "read_trajectory",
    "repair",
    "segments",
]


@dataclass(frozen=True)
class SegmentInfo:
    """A closed file or the journal: its first and last frame, how many frames, its metadata."""

    path: Path
    first_frame: int
    last_frame: int
    frames: int
    metadata: Mapping[str, Any]


@dataclass(frozen=True)
class BodyTrajectory:
    """Rigid bodies of a trajectory: T frames, M bodies of B beads in all; NaN where not recorded.

    Attributes:
        name: of every body.
        centre: [T,M,D] µm, unwrapped.
        orientation: [T,M] rad in 2D; quaternion (w, x, y, z) [T,M,4] in 3D.
        velocity: [T,M,D] µm/s.
        angular_velocity: rad/s, [T,M] in 2D, [T,M,3] in 3D.
        bead: [T,B,D] µm, unwrapped with their body.
        bead_force: [T,B,D] pN, mean over the last control interval.
        bead_radius: [B] µm.
        body_of_bead: i32 [B].
    """

    name: tuple[str, ...]
    centre: np.ndarray
    orientation: np.ndarray
    velocity: np.ndarray
    angular_velocity: np.ndarray
    bead: np.ndarray
    bead_force: np.ndarray
    bead_radius: np.ndarray
    body_of_bead: np.ndarray


@dataclass(frozen=True)
class Trajectory:
    """A trajectory in memory: T frames, N colloids, D = 2 or 3.

    Attributes:
        frame: i64 [T], number of the frame since the record began; gaps are frames that were
            damaged.
        time: f64 [T] s.
        step: i64 [T], control intervals since the episode began.
        episode: i32 [T], number of the episode.
        position: [T,N,D] µm, unwrapped; NaN where the colloid is not present.
        velocity: [T,N,D] µm/s, NaN where not present or not recorded.
        director: [T,N,D] unit vectors, likewise.
        identity: i32 [T,N], -1 where not present.
        species: i32 [T,N].
        present, oriented, controllable: bool [T,N].
        reward: [T,N], NaN where not recorded.
        requested, applied: command channel -> [T, ...]; NaN where a frame had no command.
        observables: name -> [T, ...].
        size: [D] µm, box lengths.
        periodic: [D].
        units: name of an array -> unit.
        metadata: of the first segment; every segment has its own in `segments`.
        segments: the files it was read from.
        notes: what was left out, in words: frames that are damaged.
        bodies: rigid bodies, None if there are none.
    """

    frame: np.ndarray
    time: np.ndarray
    step: np.ndarray
    episode: np.ndarray
    position: np.ndarray
    velocity: np.ndarray
    director: np.ndarray
    identity: np.ndarray
    species: np.ndarray
    present: np.ndarray
    oriented: np.ndarray
    controllable: np.ndarray
    reward: np.ndarray
    requested: Mapping[str, np.ndarray]
    applied: Mapping[str, np.ndarray]
    observables: Mapping[str, np.ndarray]
    size: np.ndarray
    periodic: tuple[bool, ...]
    units: Mapping[str, str]
    metadata: Mapping[str, Any]
    segments: tuple[SegmentInfo, ...] = ()
    notes: tuple[str, ...] = ()
    bodies: BodyTrajectory | None = None

    def __len__(self) -> int:
        return len(self.time)


class TrajectoryWriter:
    """Writes a trajectory frame by frame; a frame is safe from a kill as soon as `write` returns.

    Args:
        path: an existing folder (then the trajectory is `trajectory.h5md` in it), or the file's
            name.
        spec: what every frame holds.
        frames_per_segment: after so many frames the journal becomes an H5MD file. That takes a
            moment (about 5 ms a MB): a control loop that cannot wait sets it beyond its
            length, and closes afterwards.
        append: go on with the trajectory that is there instead of refusing to touch it.

    Raises RecordError if the folder cannot be written, another process is writing there, or a
    trajectory is there already (or, with `append`, has another specification).
    """

    def __init__(
        self,
        path: str | Path,
        spec: TrajectorySpec,
        frames_per_segment: int = 1000,
        append: bool = False,
    ) -> None:
        if frames_per_segment < 1:
            raise RecordError(f"frames_per_segment is {frames_per_segment}; give 1 or more.")
        self.spec = spec
        self._files = TrajectoryFiles.of(path)
        self._encoder = FrameEncoder(spec)
        self._journal: Journal | None = None
        self._frames_per_segment = frames_per_segment
        try:
            self._files.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise cannot_write(self._files.folder, error) from error
        self._lock = self._files.lock
        if not self._lock.acquire():
            raise RecordError(
                f"{self.path}: {self._lock.owner()} is writing this trajectory. "
                "Wait until it ends, or give another file."
            )
        try:
            self._index, self._next = self._begin(append)
            self._open_journal()
        except BaseException:
            self._lock.release()
            raise

    @property
    def path(self) -> Path:
        """The first (or only) H5MD file, which exists once a segment is closed."""
        return self._files.segment(0)

    @property
    def frames(self) -> int:
        """Number of the next frame: how many there are, also from before an `append`."""
        return self._next

    def _begin(self, append: bool) -> tuple[int, int]:
        closed = self._files.closed()
        if not append:
            existing = [*closed, *([self._files.journal] if self._files.journal.exists() else [])]
            if existing:
                raise RecordError(
                    f"{existing[0]}: there is a trajectory already. "
                    "Give append=True to go on with it, or another file."
                )
            return 0, 0
        repair_held(self._files)
        closed = self._files.closed()
        if not closed:
            return 0, 0
        last = read_heading(closed[-1])
        if difference := last.spec.difference(self.spec):
            raise RecordError(
                f"{closed[-1]}: cannot go on with this trajectory, "
                f"the new one has {difference}. Give another file."
            )
        return len(closed), int(last.frames[-1]) + 1

    def _open_journal(self) -> Journal:
        if self._journal is None:
            header = JournalHeader(self._index, self._next, self.spec)
            self._journal = Journal(self._files.journal, header)
        return self._journal

    def write(self, frame: Mapping[str, Any]) -> int:
        """Append a frame and return its number.

        Args:
            frame: "time" s, "step" and "position" [N,D] µm (unwrapped) are required; "velocity",
                "director" [N,D], "identity", "species", "present", "oriented", "controllable",
                "reward" [N] and "episode" [] may be left out; "requested" and "applied" map command
                channels, "observables" further names to arrays as in the specification; "bodies"
                maps the names of a BodyTrajectory (see `layout.body_frame`). None stands for left
                out.

        Raises RecordError for a frame that does not fit the specification and if it cannot be
        written; the frames before it are safe in both cases.
        """
        if not self._lock.held:
            raise RecordError(f"{self.path}: this writer is closed. Open a new one, append=True.")
        record = self._encoder.encode(frame)
        journal = self._open_journal()
        number = journal.append(record)
        self._next = number + 1
        if journal.count >= self._frames_per_segment:
            self._close_segment()
        return number

    def sync(self) -> None:
        """Make all frames survive a power cut, too (closed segments do already)."""
        if self._journal is not None:
            self._journal.sync()

    def _close_segment(self) -> None:
        if self._journal is None:
            return
        self._journal.close()
        self._journal = None
        try:
            close_journal(self._files)
        except RecordError as error:
            # Going on would need a second journal in the place of this one.
            self._lock.release()
            raise RecordError(
                f"{error} All frames are safe in {self._files.journal}; when the cause is removed, "
                "swarmctl.records.trajectory.repair closes it."
            ) from error
        self._index = len(self._files.closed())

    def close(self) -> None:
        """Turn the journal into an H5MD file and let others write; closing twice does nothing."""
        if not self._lock.held:
            return
        try:
            self._close_segment()
        finally:
            self._lock.release()

    def __enter__(self) -> TrajectoryWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _read_parts(
    files: TrajectoryFiles, read: Callable[[Path], SegmentContent] = read_segment
) -> tuple[list[SegmentContent], list[Path], list[str]]:
    # The journal first: while segments are being listed it may become one, and is then found there.
    live = live_journal(files)
    paths = files.closed()
    parts = [read(path) for path in paths]
    notes = []
    if live is not None:
        closed = live.header.index < len(parts)
        # A kill may have come while the journal was being closed: some of it may be in segments.
        new = live.frames > (parts[-1].frames[-1] if closed else -1)
    if live is not None and (new.any() or not closed):
        header = live.header
        parts.append(SegmentContent(len(parts), header.spec, live.frames[new], live.payload[new]))
        paths.append(files.journal)
        if live.damaged:
            notes.append(f"{files.journal}: frames {list(live.damaged)} are damaged, left out")
    if not parts:
        raise nothing_there(files)
    return parts, paths, notes


def _info(path: Path, part: SegmentContent) -> SegmentInfo:
    frames = part.frames
    first, last = (int(frames[0]), int(frames[-1])) if len(frames) else (0, -1)
    return SegmentInfo(path, first, last, len(frames), part.spec.metadata)


def segments(path: str | Path) -> tuple[SegmentInfo, ...]:
    """Return the files of a trajectory in order, the journal last.

    Raises RecordError as `read_trajectory`.
    """
    parts, paths, _ = _read_parts(TrajectoryFiles.of(path), read_heading)
    return tuple(_info(p, part) for p, part in zip(paths, parts, strict=True))


def read_trajectory(path: str | Path) -> Trajectory:
    """Read all frames, closed segments and journal together, also while another process writes.

    Args:
        path: the folder, or any file of the trajectory.

    Raises RecordError if there is none, a file is damaged or of another program, or a segment is
    missing.
    """
    parts, paths, notes = _read_parts(TrajectoryFiles.of(path))
    return _assemble(parts, paths, notes)


def _assemble(
    parts: Sequence[SegmentContent], paths: Sequence[Path], notes: Sequence[str]
) -> Trajectory:
    spec = parts[0].spec
    columns = {
        f.name: np.concatenate([part.payload[f.name] for part in parts]) for f in fields_of(spec)
    }
    groups: dict[str, dict[str, np.ndarray]] = {
        name: {} for name in ("requested", "applied", "observables", "bodies")
    }
    arrays: dict[str, np.ndarray] = {}
    for name, values in columns.items():
        group, dot, rest = name.partition(".")
        values = np.ascontiguousarray(values)
        if dot:
            groups[group][rest] = values
        else:
            arrays[name] = values
    return Trajectory(
        frame=np.concatenate([part.frames for part in parts]),
        requested=groups["requested"],
        applied=groups["applied"],
        observables=groups["observables"],
        size=np.array(spec.size),
        periodic=spec.periodic,
        units={f.name: f.unit for f in fields_of(spec)},
        metadata=spec.metadata,
        segments=tuple(_info(p, part) for p, part in zip(paths, parts, strict=True)),
        notes=tuple(notes),
        bodies=_bodies(spec, groups["bodies"]),
        **arrays,
    )


def _bodies(spec: TrajectorySpec, arrays: Mapping[str, np.ndarray]) -> BodyTrajectory | None:
    if not spec.bodies:
        return None
    return BodyTrajectory(
        name=spec.bodies,
        bead_radius=np.array(spec.bead_radius),
        body_of_bead=np.array(spec.body_of_bead, np.int32),
        **arrays,
    )


def export_trajectory(path: str | Path, target: str | Path) -> None:
    """Write all segments and the journal into one H5MD file; the trajectory stays as it is.

    Raises RecordError as `read_trajectory`, and if `target` exists.
    """
    target = Path(target)
    if target.exists():
        raise RecordError(f"{target}: exists already. Give another name.")
    parts, _, _ = _read_parts(TrajectoryFiles.of(path))
    content = SegmentContent(
        0,
        parts[0].spec,
        np.concatenate([part.frames for part in parts]),
        np.concatenate([part.payload for part in parts]),
    )
    write_segment(target, content)
