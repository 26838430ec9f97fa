"""Trajectories in the hands of other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from swarmctl.core.errors import RecordError
from swarmctl.core.extras import import_extra
from swarmctl.records.store import TrajectoryFiles, live_journal


def open_universe(path: str | Path) -> Any:
    """Open a trajectory as an MDAnalysis Universe (lengths in Å, times in ps).

    Raises MissingExtraError without MDAnalysis, and RecordError if no segment is closed yet or
    there are several, which MDAnalysis would chain without their times.
    """
    mda = import_extra("analysis")
    files = TrajectoryFiles.of(path)
    closed = files.closed()
    if len(closed) > 1:
        raise RecordError(
            f"{path}: has {len(closed)} segments; merge them into one file first: "
            "swarmctl.records.trajectory.export_trajectory(path, target)."
        )
    if not closed:
        hint = (
            "it is still being written, or a kill left it: `swarmctl info RUN` closes it"
            if live_journal(files) is not None
            else "there is no trajectory"
        )
        raise RecordError(f"{path}: no closed segment to open; {hint}.")
    # Colloids have no masses or elements that could be guessed.
    return mda.Universe(str(closed[0]), to_guess=())
