"""The motors of a virtual laboratory's stage as a device. No JAX."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, final

import numpy as np

from swarmctl.bridge.devices.contract import Channel, Floats, OutputSpec
from swarmctl.bridge.devices.ported_outputs import PortedValues
from swarmctl.bridge.devices.ports import ValuePort
from swarmctl.bridge.virtual.connection import Connection
from swarmctl.core.config import key
from swarmctl.core.errors import DeviceTimeoutError, require_positive

PAUSE = 0.005
"""s between two questions where the stage is."""
NEAR = 1e-3
"""µm from where it should be, at which the stage has arrived."""


@dataclass(frozen=True)
class VirtualStageConfig:
    """The stage of a virtual laboratory: x and y, by which the sample is moved, in µm."""

    role: ClassVar[str] = "values"
    package: ClassVar[str] = ""

    travel: float = key(100.0, "farthest from the middle, either way; what it has to be", "um")
    address: Path = key(Path("address.json"), "file that a running virtual laboratory wrote")
    latency: float = key(0.05, "usual time until it has arrived", "s")
    patience: float = key(2.0, "longest time until it has arrived", "s")

    def __post_init__(self) -> None:
        require_positive(
            "virtual-stage", travel=self.travel, latency=self.latency, patience=self.patience
        )

    def build(self) -> PortedValues:
        """Return the stage, not connected."""
        channels = tuple(Channel(name, "um", -self.travel, self.travel, 0.0) for name in "xy")
        spec = OutputSpec("virtual stage", "stage", channels, latency=self.latency)
        return PortedValues(spec, LaboratoryStage(self))


@final
class LaboratoryStage(ValuePort):
    """Moves of a virtual laboratory's stage, asked for by its socket."""

    def __init__(self, config: VirtualStageConfig) -> None:
        self._config = config
        self._lab: Connection | None = None

    def open(self) -> None:
        """Connect, and compare the laboratory's stage with the keys."""
        self._lab = Connection(self._config.address, "stage")
        self._lab.compare("stage", self._config)

    def close(self) -> None:
        """Hang up. The stage stays where it is."""
        if self._lab is not None:
            self._lab.close()
            self._lab = None

    def write(self, values: Floats) -> None:
        """Move there; return once it has arrived, in lockstep at once."""
        lab = self._opened
        lab.ask("move", to=[float(value) for value in values])
        end = time.monotonic() + self._config.patience
        while not lab.lockstep and np.abs(self.read() - values).max() > NEAR:
            if time.monotonic() > end:
                raise DeviceTimeoutError(
                    f"virtual stage: it did not arrive within {self._config.patience:g} s."
                )
            time.sleep(PAUSE)

    def read(self) -> Floats:
        """Return where it is, in lockstep where it will be."""
        lab = self._opened
        where = lab.ask("where")
        return np.asarray(where["goal" if lab.lockstep else "position"], np.float64)

    @property
    def _opened(self) -> Connection:
        assert self._lab is not None, "the port is not open"
        return self._lab
