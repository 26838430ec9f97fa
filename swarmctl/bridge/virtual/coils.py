"""The coils of a virtual laboratory as a device. No JAX."""

from __future__ import annotations

import math
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
from swarmctl.core.errors import ConfigError, DeviceTimeoutError, require_positive

PAUSE = 0.0005
"""s between two looks whether values are there."""


@dataclass(frozen=True)
class VirtualCoilsConfig:
    """The coils' supply of a virtual laboratory; the first three keys say what it has to be.

    Its channels are steady_1 ... in A; if it makes waves also amplitude_1 ... in A, phase_1 ... in
    rad, and frequency in Hz: coil k has the current steady_k + amplitude_k cos(2π f t - phase_k).
    """

    role: ClassVar[str] = "values"
    package: ClassVar[str] = ""

    coils: int = key(3, "number of coils")
    current_max: float = key(5.0, "highest current of a coil, steady and alternating each", "A")
    frequency_max: float = key(50.0, "highest frequency", "Hz")
    address: Path = key(Path("address.json"), "file that a running virtual laboratory wrote")
    waves: bool = key(True, "whether alternating currents are in use")
    own_timeout: float | None = key(
        None, "without a write for so long all currents stop; never if left out", "s"
    )
    latency: float = key(0.015, "usual time until currents flow", "s")
    patience: float = key(2.0, "longest time until currents flow", "s")

    def __post_init__(self) -> None:
        require_positive(
            "virtual-coils",
            current_max=self.current_max,
            frequency_max=self.frequency_max,
            own_timeout=self.own_timeout,
            patience=self.patience,
        )
        if self.coils < 1:
            raise ConfigError(f"virtual-coils: at least one coil, got {self.coils}.")

    @property
    def channels(self) -> tuple[Channel, ...]:
        """Channels of the supply."""
        most, numbers = self.current_max, range(1, self.coils + 1)
        steady = [Channel(f"steady_{k}", "A", -most, most, 0.0) for k in numbers]
        if not self.waves:
            return tuple(steady)
        amplitude = [Channel(f"amplitude_{k}", "A", 0.0, most, 0.0) for k in numbers]
        turn = 2 * math.pi
        phase = [Channel(f"phase_{k}", "rad", -turn, turn, 0.0) for k in numbers]
        frequency = Channel("frequency", "Hz", 0.0, self.frequency_max, 0.0)
        return (*steady, *amplitude, *phase, frequency)

    def build(self) -> PortedValues:
        """Return the supply, not connected."""
        spec = OutputSpec(
            "virtual coils",
            "coils",
            self.channels,
            own_timeout=self.own_timeout,
            latency=self.latency,
        )
        return PortedValues(spec, LaboratoryCoils(self))


@final
class LaboratoryCoils(ValuePort):
    """Currents into the shared memory of a virtual laboratory."""

    def __init__(self, config: VirtualCoilsConfig) -> None:
        self._config = config
        self._count = len(config.channels)
        self._lab: Connection | None = None

    def open(self) -> None:
        """Connect, compare the laboratory's coils with the keys, and set their own timeout."""
        self._lab = Connection(self._config.address, "coils")
        self._lab.compare("coils", self._config)
        self._lab.ask("timeout", output="coils", value=self._config.own_timeout)

    def close(self) -> None:
        """Hang up."""
        if self._lab is not None:
            self._lab.close()
            self._lab = None

    def write(self, values: Floats) -> None:
        """Set all channels; return once the field is there, in lockstep at once."""
        lab = self._opened
        lab.check()
        row = np.zeros(lab.currents.shape)
        row[0, : self._count] = values
        clock = lab.clock
        serial = lab.currents.write(row, 0, clock, clock)
        end = time.monotonic() + self._config.patience
        while not lab.lockstep and lab.board.driven < serial:
            if time.monotonic() > end:
                lab.check()
                raise DeviceTimeoutError(
                    f"virtual coils: no field within {self._config.patience:g} s."
                )
            time.sleep(PAUSE)

    def read(self) -> Floats:
        """Return the currents that flow, in lockstep those that will."""
        lab = self._opened
        lab.check()
        serial = lab.currents.newest if lab.lockstep else lab.board.driven
        found = None if lab.board.resting else lab.currents.read(serial)
        return np.zeros(self._count) if found is None else found.image[0, : self._count]

    @property
    def _opened(self) -> Connection:
        assert self._lab is not None, "the port is not open"
        return self._lab
