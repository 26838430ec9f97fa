"""What the verbs of `swarmctl lab` are told, without JAX."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from swarmctl.core.config import key
from swarmctl.core.errors import ConfigError, require_positive


def _as_paths(config: object, *names: str) -> None:
    for name in names:
        if isinstance(getattr(config, name), str):
            object.__setattr__(config, name, Path(getattr(config, name)))


@dataclass(frozen=True)
class DevicesConfig:
    """List device drivers, what each can do, and what is connected."""

    rig: Path | None = key(None, "a rig file, to list its devices", positional=True)
    cfg: Path | None = key(None, "a configuration of Micro-Manager, to list its devices")

    def __post_init__(self) -> None:
        _as_paths(self, "rig", "cfg")


@dataclass(frozen=True)
class CheckRigConfig:
    """Look at a rig without any light: file, devices, camera, detector, calibration, limits."""

    rig: Path = key(Path("rig.toml"), "the rig file", positional=True)
    frames: int = key(60, "frames that are watched")
    hours: float = key(1.0, "length of a recording for which there has to be room")
    radius: float = key(1.0, "of a colloid", "um")

    def __post_init__(self) -> None:
        _as_paths(self, "rig")
        if self.frames < 10 or not 0 <= self.hours < math.inf:
            raise ConfigError(
                f"lab check: at least 10 frames, and hours from 0 on; got {self.frames} and "
                f"{self.hours:g}."
            )
        require_positive("lab check", radius=self.radius)


@dataclass(frozen=True)
class StopConfig:
    """Emergency stop: bring every output of a running rig to its safe value."""

    rig: Path = key(Path("rig.toml"), "the rig file", positional=True)

    def __post_init__(self) -> None:
        _as_paths(self, "rig")


@dataclass(frozen=True)
class RecordConfig:
    """Record a swarm at a microscope: at rest, or while an agent such as `excite` drives it.

    Without an operator the outputs stay safe.
    """

    rig: Path = key(Path("rig.toml"), "the rig file", positional=True)
    scenario: str = key("", "scenario id, experiment file or folder of a run: slots and limits")
    set: tuple[str, ...] = key((), "changed keys, such as scenario.colloids=20")
    agent: str = key("excite", "a registered name, or the folder of a run or policy")
    operator: str = key("", "who answers for the outputs; without one they stay safe")
    seconds: float = key(60.0, "how long", "s")
    images: bool = key(False, "keep the camera's frames")
    seed: int = key(0, "seed of the agent's choices")
    out: Path = key(Path("runs/record"), "folder for the recording")
    overwrite: bool = key(False, "delete a run that is in `out`")

    def __post_init__(self) -> None:
        _as_paths(self, "rig", "out")
        require_positive("lab record", seconds=self.seconds)
        if not self.scenario:
            raise ConfigError("lab record: which scenario? It says how many colloids, and limits.")


@dataclass(frozen=True)
class FitConfig:
    """Identify a laboratory from a recording."""

    recording: str = key(
        "", "a trajectory (.h5md), or the folder of a run that has one", positional=True
    )
    out: Path = key(Path("runs/fit"), "folder for identified.toml, world.toml, randomise.toml")
    world: str = key("", "world file to put the numbers into; that of the recording if left out")
    commands: Literal["applied", "requested"] = key(
        "applied", "which commands: as done after limits, or as asked for"
    )
    longest_delay: float = key(1.0, "delays are looked for up to it", "s")
    nearest: float = key(0.0, "leave out colloids that have another one so near; 0: nobody", "um")
    saturation: Literal["sharp", "smooth"] = key("sharp", "how the speed saturates with power")
    overwrite: bool = key(False, "replace what is in `out`")

    def __post_init__(self) -> None:
        _as_paths(self, "out")


@dataclass(frozen=True)
class RunConfig:
    """Let an agent drive a microscope, beside a twin that watches."""

    rig: Path = key(Path("rig.toml"), "the rig file", positional=True)
    agent: str = key("", "a registered name, or the folder of a run or policy")
    twin: str = key(
        "", "scenario id or experiment file that the twin simulates; that of the agent's run"
    )
    set: tuple[str, ...] = key((), "changed keys, such as scenario.colloids=20")
    mode: Literal["shadow", "drive"] = key("drive", "shadow: nothing is done, only written down")
    operator: str = key("", "who answers for the outputs")
    seconds: float = key(60.0, "how long the agent acts", "s")
    patience: float = key(60.0, "longest wait in SHADOW for the guards to hold", "s")
    guards: tuple[str, ...] = key((), "changed guards, such as error_max=2")
    images: bool = key(False, "keep the camera's frames, and make a film")
    view: bool = key(True, "show a window, if there is a screen; its key q is the emergency stop")
    seed: int = key(0, "seed of the agent's choices")
    deterministic: bool = key(True, "policies take their likeliest action")
    out: Path = key(Path("runs/lab"), "folder for the record")
    overwrite: bool = key(False, "delete a run that is in `out`")

    def __post_init__(self) -> None:
        _as_paths(self, "rig", "out")
        require_positive("lab run", seconds=self.seconds, patience=self.patience)
        if not self.agent:
            raise ConfigError("lab run: which agent? Give a name or the folder of a policy.")
        if self.mode == "drive" and not self.operator.strip():
            raise ConfigError("lab run: who answers for the outputs? Give --operator NAME.")
        if not math.isfinite(self.seconds):
            raise ConfigError("lab run: seconds must be finite.")


@dataclass(frozen=True)
class LabDemoConfig:
    """Start the virtual laboratory, calibrate it, and let the demo's policy drive it."""

    policy: Path = key(Path("runs/demo"), "folder of `swarmctl demo`, whose policy drives")
    seconds: float = key(60.0, "how long the agent drives", "s")
    lab: int = key(0, "which hidden laboratory: 0 is the usual one, others are drawn")
    micromanager: bool = key(False, "through Micro-Manager's camera and SLM (UniMMCore)")
    view: bool = key(True, "show a window, if there is a screen")
    out: Path = key(Path("runs/lab-demo"), "folder for everything")
    overwrite: bool = key(False, "delete a run that is in `out`")

    def __post_init__(self) -> None:
        _as_paths(self, "policy", "out")
        require_positive("lab demo", seconds=self.seconds)
        if self.lab < 0:
            raise ConfigError(f"lab demo: lab is 0 or a positive number, got {self.lab}.")
