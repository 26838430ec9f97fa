"""What the verb `lab replay` is told, without JAX."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from swarmctl.core.config import key
from swarmctl.core.errors import ConfigError, require_positive


@dataclass(frozen=True)
class ReplayConfig:
    """Run an agent against a recording and compare its commands with the recorded ones."""

    recording: Path | None = key(
        None, "the folder of a run, or a file of its trajectory", positional=True
    )
    agent: str = key("", "a registered name, or the folder of a run or policy")
    scenario: str = key("", "scenario id or experiment file; that of the recording if left out")
    set: tuple[str, ...] = key((), "changed keys, such as scenario.radius='3 um'")
    episode: int | None = key(None, "of the recording; the longest if left out")
    against: Literal["applied", "requested"] = key(
        "applied", "compare with what was done, or with what was asked for then"
    )
    tolerance: float = key(0.01, "share of a channel's range within which commands agree")
    seed: int = key(0, "seed of the agent's choices")
    deterministic: bool = key(True, "policies take their likeliest action")
    out: Path | None = key(None, "folder for the comparison and the agent's commands")
    overwrite: bool = key(False, "delete a run that is in `out`")

    def __post_init__(self) -> None:
        for name in ("recording", "out"):
            if isinstance(getattr(self, name), str):
                object.__setattr__(self, name, Path(getattr(self, name)))
        if self.recording is None:
            raise ConfigError("lab replay: which recording? Give the folder of a run.")
        if not self.agent:
            raise ConfigError("lab replay: which agent? Give a name or the folder of a policy.")
        require_positive("lab replay", tolerance=self.tolerance)
