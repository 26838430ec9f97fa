"""Trajectories open in MDAnalysis by one call, and the missing package is one clear error."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from swarmctl.core.errors import MissingExtraError, RecordError
from swarmctl.records.analysis import open_universe
from swarmctl.records.trajectory import TrajectorySpec, TrajectoryWriter, export_trajectory

SPEC = TrajectorySpec(colloids=3, size=(50.0, 50.0), periodic=(True, True))


def write(path: Path, frames: int, per_segment: int) -> np.ndarray:
    position = np.random.default_rng(0).uniform(0, 50, (frames, 3, 2)).astype(np.float32)
    with TrajectoryWriter(path, SPEC, frames_per_segment=per_segment) as writer:
        for t in range(frames):
            writer.write({"time": 0.1 * t, "step": t, "position": position[t]})
    return position


def test_universe_has_every_frame(tmp_path: Path) -> None:
    position = write(tmp_path / "trajectory.h5md", 7, 100)
    universe = open_universe(tmp_path)
    read = np.stack([step.positions.copy() for step in universe.trajectory])
    np.testing.assert_allclose(read[..., :2], position * 1e4, rtol=1e-6)
    assert universe.trajectory[3].time == pytest.approx(0.3e12)
    universe.trajectory.close()


def test_several_segments_are_merged_first(tmp_path: Path) -> None:
    write(tmp_path / "trajectory.h5md", 7, 3)
    with pytest.raises(RecordError, match="export_trajectory"):
        open_universe(tmp_path)
    export_trajectory(tmp_path, tmp_path / "all.h5md")
    universe = open_universe(tmp_path / "all.h5md")
    assert len(universe.trajectory) == 7
    universe.trajectory.close()


def test_missing_package_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "trajectory.h5md", 2, 10)
    monkeypatch.setitem(sys.modules, "MDAnalysis", None)
    with pytest.raises(MissingExtraError, match=r'pip install "swarmctl\[analysis\]"'):
        open_universe(tmp_path)


def test_nothing_to_open_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="no closed segment"):
        open_universe(tmp_path)
    writer = TrajectoryWriter(tmp_path / "trajectory.h5md", SPEC)
    writer.write({"time": 0.0, "step": 0, "position": np.zeros((3, 2), np.float32)})
    with pytest.raises(RecordError, match="swarmctl info"):
        open_universe(tmp_path)
    writer.close()
