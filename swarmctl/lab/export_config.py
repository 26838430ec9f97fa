"""What exports of recordings are told, without JAX."""

from __future__ import annotations

from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Literal

from swarmctl.core.config import key
from swarmctl.core.errors import ConfigError
from swarmctl.records.exports import TrackpyConfig


@dataclass(frozen=True)
class MinariConfig:
    """Turn episodes of a recording into a data set of Minari, one episode per colloid."""

    recording: Path = key(
        MISSING, "the folder of a run, or a file of its trajectory", positional=True
    )
    dataset: str = key(MISSING, "its name, such as lab/chemotaxis-v0", positional=True)
    scenario: str = key("", "scenario id or experiment file; that of the recording if left out")
    set: tuple[str, ...] = key((), "changed keys, such as scenario.radius='3 um'")
    episode: int = key(0, "which episode of the recording")
    commands: Literal["requested", "applied"] = key(
        "requested", "actions are what was asked for, or what was done"
    )
    folder: Path | None = key(None, "where data sets lie; that of Minari if left out")
    author: str = key("", "who made the recording")

    def __post_init__(self) -> None:
        object.__setattr__(self, "recording", Path(self.recording))
        if isinstance(self.folder, str):
            object.__setattr__(self, "folder", Path(self.folder))


_OF_TRACKS = ("pixel_size", "overwrite")
_OF_MINARI = ("scenario", "set", "commands", "folder", "author")


@dataclass(frozen=True)
class ExportConfig:
    """Write a recording for other programs: a table for trackpy, a data set for Minari, or both."""

    recording: Path | None = key(
        None, "the folder of a run, or a file of its trajectory", positional=True
    )
    tracks: Path | None = key(
        None, "a table with trackpy's columns: a file that ends in .csv or .parquet"
    )
    minari: str = key("", "a data set of Minari by its name, such as lab/chemotaxis-v0")
    episode: int = key(0, "which episode of the recording")
    pixel_size: float = key(1.0, "of the table: side of a pixel; 1 um leaves positions in um", "um")
    overwrite: bool = key(False, "replace a table that is there")
    scenario: str = key(
        "", "of the data set: scenario id or experiment file; that of the recording if left out"
    )
    set: tuple[str, ...] = key((), "of the data set: changed keys, such as scenario.radius='3 um'")
    commands: Literal["requested", "applied"] = key(
        "requested", "of the data set: actions are what was asked for, or what was done"
    )
    folder: Path | None = key(
        None, "of the data set: where data sets lie; that of Minari if left out"
    )
    author: str = key("", "of the data set: who made the recording")

    def __post_init__(self) -> None:
        for name in ("recording", "tracks", "folder"):
            if isinstance(getattr(self, name), str):
                object.__setattr__(self, name, Path(getattr(self, name)))
        if self.recording is None:
            raise ConfigError("lab export: which recording? Give the folder of a run.")
        if self.tracks is None and not self.minari:
            raise ConfigError(
                "lab export: what shall be written? Give --tracks FILE.csv for trackpy, "
                "--minari lab/NAME-v0 for Minari, or both."
            )
        for target, given, names in (
            ("tracks", self.tracks is not None, _OF_TRACKS),
            ("minari", bool(self.minari), _OF_MINARI),
        ):
            odd = [name for name in names if getattr(self, name) != self._default(name)]
            if odd and not given:
                raise ConfigError(
                    f"lab export: {odd[0]} changes nothing without {target}; leave it out, or "
                    f"give {target}."
                )
        self.table()

    def _default(self, name: str) -> object:
        return next(field.default for field in fields(self) if field.name == name)

    def table(self) -> TrackpyConfig | None:
        """What the table is told; None if none is wanted."""
        if self.tracks is None or self.recording is None:
            return None
        return TrackpyConfig(
            self.recording, self.tracks, self.episode, self.pixel_size, self.overwrite
        )

    def dataset(self) -> MinariConfig | None:
        """What the data set is told; None if none is wanted."""
        if not self.minari or self.recording is None:
            return None
        return MinariConfig(
            self.recording,
            self.minari,
            self.scenario,
            self.set,
            self.episode,
            self.commands,
            self.folder,
            self.author,
        )
