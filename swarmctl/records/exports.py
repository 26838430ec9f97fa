"""Trajectories as the tables that people of particle tracking read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from swarmctl.core.config import key
from swarmctl.core.errors import ConfigError, RecordError, require_positive
from swarmctl.core.extras import import_extra
from swarmctl.core.files import replacing
from swarmctl.records.trajectory import Trajectory, read_trajectory

COLUMNS = ("y", "x", "mass", "size", "ecc", "signal", "raw_mass", "ep", "frame", "particle")
"""Columns of a table of trackpy (http://soft-matter.github.io/trackpy), in their order."""
WHOLE = ("frame", "particle")


@dataclass(frozen=True)
class TrackpyConfig:
    """Write an episode of a trajectory as a table of trackpy, in CSV or Parquet."""

    recording: Path = key(
        MISSING, "the folder of a run, or a file of its trajectory", positional=True
    )
    out: Path = key(MISSING, "the table: a file that ends in .csv or .parquet", positional=True)
    episode: int = key(0, "which episode of the recording")
    pixel_size: float = key(1.0, "side of a pixel; 1 um leaves positions in um", "um")
    overwrite: bool = key(False, "replace a table that is there")

    def __post_init__(self) -> None:
        for name in ("recording", "out"):
            object.__setattr__(self, name, Path(getattr(self, name)))
        require_positive("trackpy table", pixel_size=self.pixel_size)
        if self.out.suffix not in (".csv", ".parquet"):
            raise ConfigError(f"trackpy table: {self.out} must end in .csv or .parquet.")


def export_trackpy(config: TrackpyConfig) -> int:
    """Write the table; returns the number of its rows.

    A row is a colloid that is present in a frame: `y` and `x` in pixels (unwrapped; y as in the
    recording, up), `frame` the number of the decision from 0 on, `particle` the identity. What a
    trajectory does not know of images (mass, size, ecc, signal, raw_mass, ep) is NaN, an empty cell
    of CSV. Raises RecordError, also if there is such a file already; ConfigError without such an
    episode or with three dimensions; MissingExtraError for Parquet without pyarrow.
    """
    if config.out.exists() and not config.overwrite:
        raise RecordError(
            f"{config.out}: is there already. Give another file, or overwrite to replace it."
        )
    arrow = import_extra("parquet") if config.out.suffix == ".parquet" else None
    table = trackpy_table(read_trajectory(config.recording), config.episode, config.pixel_size)
    with replacing(config.out) as temporary:
        if arrow is None:
            _write_csv(temporary, table)
        else:
            parquet = import_extra("parquet", "pyarrow.parquet")
            parquet.write_table(arrow.table(dict(table)), temporary)
    return len(table["frame"])


def trackpy_table(
    trajectory: Trajectory, episode: int, pixel_size: float = 1.0
) -> dict[str, np.ndarray]:
    """Return the columns of the table; see `export_trackpy`."""
    if trajectory.position.shape[-1] != 2:
        raise ConfigError("trackpy table: the recording is in 3D; tables of this kind are in 2D.")
    rows = np.flatnonzero(trajectory.episode == episode)
    if not len(rows):
        known = ", ".join(map(str, np.unique(trajectory.episode).tolist()))
        raise ConfigError(f"trackpy table: there is no episode {episode}; there are {known}.")
    step = trajectory.step[rows] - trajectory.step[rows[0]]
    if not (np.diff(step) > 0).all():
        raise RecordError("trackpy table: the steps of the recording do not increase.")
    frame, slot = np.nonzero(trajectory.present[rows])
    place = trajectory.position[rows][frame, slot] / pixel_size
    nothing = np.full(len(frame), np.nan)
    known_columns = {
        "y": place[:, 1].astype(float),
        "x": place[:, 0].astype(float),
        "frame": step[frame].astype(np.int64),
        "particle": trajectory.identity[rows][frame, slot].astype(np.int64),
    }
    return {name: known_columns.get(name, nothing) for name in COLUMNS}


def _write_csv(path: Path, table: Mapping[str, np.ndarray]) -> None:
    def texts(name: str, values: np.ndarray) -> list[str]:
        if name in WHOLE:
            return [str(value) for value in values.tolist()]
        return ["" if value != value else repr(value) for value in values.tolist()]

    columns: list[Any] = [texts(name, table[name]) for name in COLUMNS]
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.write(",".join(COLUMNS) + "\n")
        file.writelines(",".join(row) + "\n" for row in zip(*columns, strict=True))
