"""What the export to Minari is told, without JAX."""

from __future__ import annotations

from dataclasses import MISSING, dataclass
from pathlib import Path
from typing import Literal

from swarmctl.core.config import key


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
