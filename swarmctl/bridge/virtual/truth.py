"""What really happened in a virtual laboratory, for scoring. Agents do not see it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from swarmctl.bridge.virtual.hidden_world import HiddenWorld
from swarmctl.bridge.virtual.sample_config import LIGHT_UNIT
from swarmctl.bridge.virtual.virtual_sample import Exposure
from swarmctl.records.trajectory import Channel, TrajectorySpec, TrajectoryWriter

_NEVER = 10**9  # frames: a segment is closed at the end, so that the laboratory never waits for it


class TruthRecord:
    """A trajectory with one frame per period of the camera: means over its exposure.

    Observables: `clock`, s of the laboratory's clock; `camera`, number of the camera's frame or -1;
    `stage` [2] µm, how far the stage has moved; `stuck` [N].
    """

    def __init__(self, folder: Path, world: HiddenWorld, start: float) -> None:
        """Begin `folder`/truth.h5md. Raises RecordError if it is there already."""
        self._start, self._step = start, 0
        count = len(world.radius)
        spec = TrajectorySpec(
            colloids=count,
            size=tuple(world.size.tolist()),
            periodic=tuple(world.periodic.tolist()),
            dtype="float64",
            commands={
                "power": Channel((count,), "float64", LIGHT_UNIT),
                "spot_offset": Channel((count, 2), "float64", "um"),
            },
            observables={
                "clock": Channel((), "float64", "s"),
                "camera": Channel((), "int64"),
                "stage": Channel((2,), "float64", "um"),
                "stuck": Channel((count,), "bool"),
            },
            metadata={"start": start},
        )
        self._writer = TrajectoryWriter(folder / "truth.h5md", spec, _NEVER)

    def write(self, exposure: Exposure, camera: int) -> None:
        """Add what a frame was taken of. Raises RecordError."""
        light = {"power": exposure.power, "spot_offset": exposure.offset}
        self._writer.write(
            {
                "time": exposure.time - self._start,
                "step": self._step,
                "position": exposure.position,
                "director": exposure.director,
                "controllable": ~exposure.stuck,
                "requested": light,
                "applied": light,
                "observables": {
                    "clock": exposure.time,
                    "camera": np.int64(camera),
                    "stage": exposure.stage,
                    "stuck": exposure.stuck,
                },
            }
        )
        self._step += 1

    def close(self) -> None:
        """Finish the file."""
        self._writer.close()
