"""What a run on a microscope leaves behind: one folder, whole after a kill.

    tables = {"rig": ..., "experiment": ...}
    recorder = LabRecorder(folder, engine.spec, tables, images=ImageConfig(...))
    recorder.event("mode", mode="DRIVE", reason="armed by A. Person")
    recorder.frame(picture, time, number)                       # never waits; False: dropped
    recorder.step(state, None, None, {}, time=time, image=number)   # after a reset: no command yet
    recorder.step(state, asked, applied, {"to_light": 0.012}, time=time, image=number)
    recorder.status().fault                                     # None, or why something is not kept
    recorder.close("the operator stopped it")

| file | what |
| --- | --- |
| `config.toml`, `run.json` | rig and experiment; status, versions, machine, what was kept |
| `trajectory.h5md` | states with masks, identities, real times, commands asked and applied |
| `images.ome.tif` | the camera's frames, if wanted |
| `timing.jsonl` | a line for every step: its latencies |
| `events.jsonl` | mode changes, faults, what the operator did |

Times are in s of the run's own clock, which begins at `start`; frames, steps and events share it. A
disk that is full stops nothing here: it is a fault in the status, for the loop to act on.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time as clock
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from swarmctl.core.command import Command
from swarmctl.core.errors import RecordError
from swarmctl.core.spec import EngineSpec
from swarmctl.core.state import SwarmState
from swarmctl.records.commands import command_arrays, command_channels
from swarmctl.records.engine_table import KEY, engine_table
from swarmctl.records.images import ImageConfig, ImageStatus, ImageWriter
from swarmctl.records.metrics import MetricsLog
from swarmctl.records.provenance import versions
from swarmctl.records.run_folder import RunFolder
from swarmctl.records.trajectory import Channel, TrajectorySpec, TrajectoryWriter

TRAJECTORY, IMAGES = "trajectory.h5md", "images.ome.tif"
TIMING, EVENTS = "timing.jsonl", "events.jsonl"


@dataclasses.dataclass(frozen=True)
class RecorderStatus:
    """How a record stands.

    Attributes:
        steps: states in the trajectory.
        lost: states, timings and events that could not be kept.
        images: of the images, None without any.
        fault: why something is not kept any more, such as a full disk; None if all is well.
    """

    steps: int
    lost: int
    images: ImageStatus | None
    fault: str | None


class LabRecorder:
    """Records one run into a folder; close it, or use it in a `with` statement.

    Args:
        path: the folder, made if need be.
        spec: of the engine; it fixes the slots and the command channels that are kept.
        config: nested tables, such as {"rig": ..., "experiment": ...}.
        verb: what is done.
        images: what the camera's frames are; None keeps none.
        start: the moment at which times are 0; now if left out.
        overwrite: delete a run that is there.

    Raises RunFolderError or RecordError if the folder cannot be written or holds something.
    """

    def __init__(
        self,
        path: str | Path,
        spec: EngineSpec,
        config: Mapping[str, Any],
        verb: str = "lab run",
        images: ImageConfig | None = None,
        start: datetime | None = None,
        overwrite: bool = False,
    ) -> None:
        self.spec = spec
        self._box = np.asarray(spec.box)
        self._start = start or datetime.now(UTC)
        self._begun = clock.monotonic() - (datetime.now(UTC) - self._start).total_seconds()
        self._episode, self._lost = -1, 0
        self._fault: str | None = None
        self._images: ImageWriter | None = None
        with contextlib.ExitStack() as stack:
            self.run = RunFolder.create(path, config, verb, overwrite)
            stack.push(self.run.__exit__)
            layout = _layout(spec, config, self._start)
            self._writer = TrajectoryWriter(self.run.path / TRAJECTORY, layout, 10**9)
            stack.callback(self._writer.close)
            self._timing = stack.enter_context(MetricsLog(self.run.path / TIMING))
            self._events = stack.enter_context(MetricsLog(self.run.path / EVENTS))
            if images is not None:
                self._images = ImageWriter(self.run.path / IMAGES, images, self._start)
            stack.pop_all()

    def now(self) -> float:
        """The time of the run's clock, s."""
        return clock.monotonic() - self._begun

    def frame(self, image: npt.NDArray[np.uint8 | np.uint16], time: float, number: int) -> bool:
        """Hand a frame [H,W] over without waiting, see `ImageWriter.put`; False if it is dropped.

        Raises RecordError if this run keeps no images, and FrameError.
        """
        if self._images is None:
            raise RecordError(f"{self.run.path}: this run keeps no images; give `images` for them.")
        return self._images.put(image, time, number)

    def step(
        self,
        swarm: SwarmState,
        requested: Command | None,
        applied: Command | None,
        timing: Mapping[str, float | None],
        time: float | None = None,
        image: int = -1,
    ) -> None:
        """Record a state, the command of the interval that led to it, and latencies.

        A state with step 0 begins an episode.

        Args:
            swarm: the state.
            requested, applied: what was asked and what was done; None after a reset.
            timing: name -> s, or another number.
            time: of the state in s of the run's clock (mid-exposure); that of the state if left
                out.
            image: the camera's number of the frame in which it was seen; -1 for none.

        Raises RecordError for a state or a command that does not fit the engine.
        """
        self._episode += int(swarm.step) == 0 or self._episode < 0
        moment = float(swarm.time) if time is None else time
        number = self._writer.frames
        self._keep(
            lambda: self._writer.write(self._frame(swarm, requested, applied, moment, image))
        )
        row = {"frame": number, "time": moment, "step": int(swarm.step), "image": image, **timing}
        self._keep(lambda: self._timing.write(row))

    def _frame(
        self,
        swarm: SwarmState,
        requested: Command | None,
        applied: Command | None,
        time: float,
        image: int,
    ) -> dict[str, Any]:
        position = np.asarray(swarm.position)
        return {
            "time": time,
            "step": swarm.step,
            "episode": self._episode,
            "position": position + (np.asarray(swarm.image) * self._box).astype(position.dtype),
            "velocity": swarm.velocity,
            "director": swarm.director,
            "identity": swarm.identity,
            "species": swarm.species,
            "present": swarm.present,
            "oriented": swarm.oriented,
            "controllable": swarm.controllable,
            "requested": None if requested is None else command_arrays(requested),
            "applied": None if applied is None else command_arrays(applied),
            "observables": {
                "angular_velocity": swarm.angular_velocity,
                "interval": float(swarm.interval),
                "image": image,
            },
        }

    def event(self, kind: str, /, time: float | None = None, **details: Any) -> None:
        """Record that something happened, such as event("mode", mode="SAFE", reason="...").

        Args:
            kind: one word.
            time: s of the run's clock; now if left out.
            details: plain data; what is called `kind` or `at` gets a line below behind it.
        """
        row = {
            "time": self.now() if time is None else time,
            "at": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "kind": kind,
        }
        more = {f"{name}_" if name in row else name: value for name, value in details.items()}
        self._keep(lambda: self._events.write({**row, **more}))

    def _keep(self, write: Any) -> None:
        """Write; a disk that refuses is a fault, anything else is the caller's mistake."""
        try:
            write()
        except RecordError as error:
            if not isinstance(error.__cause__, OSError):
                raise
            self._fault = self._fault or str(error)
            self._lost += 1

    def status(self) -> RecorderStatus:
        """How the record stands."""
        images = None if self._images is None else self._images.status()
        fault = self._fault or (None if images is None else images.fault)
        return RecorderStatus(self._writer.frames, self._lost, images, fault)

    def close(self, reason: str = "", failed: bool = False) -> RecorderStatus:
        """Close all files, which may take a while, and say why the run is over.

        A fault of the record itself makes the run a failed one. Closing twice does nothing.
        """
        if self.run.status != "running":
            return self.status()
        self.event("end", reason=reason)
        if self._images is not None:
            self._images.close()
        self._timing.close()
        self._events.close()
        try:
            self._writer.close()
        except RecordError as error:
            self._fault = self._fault or str(error)
        status = self.status()
        self.run.info["kept"] = dataclasses.asdict(status)
        text = "; ".join(part for part in (reason, status.fault) if part)
        try:
            self.run.mark("failed" if failed or status.fault else "finished", text)
        finally:
            self.run.close()
        return status

    def __enter__(self) -> LabRecorder:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        reason = "" if error is None else f"{type(error).__name__}: {error}"
        self.close(reason, failed=error is not None)


def _layout(spec: EngineSpec, config: Mapping[str, Any], start: datetime) -> TrajectorySpec:
    n, d, kind = spec.capacity, spec.dimension, spec.dtype
    return TrajectorySpec(
        colloids=n,
        size=spec.box,
        periodic=spec.periodic,
        dtype=kind,
        commands=command_channels(spec),
        observables={
            "angular_velocity": Channel((n,) if d == 2 else (n, 3), kind, "rad s-1"),
            "interval": Channel((), "float64", "s"),
            "image": Channel((), "int64"),
        },
        metadata={
            KEY: engine_table(spec),
            "experiment": config.get("experiment"),
            "versions": versions(),
            "control_interval": spec.control_interval,
            "time_step": spec.time_step,
            "start": start.astimezone(UTC).isoformat(),
        },
    )
