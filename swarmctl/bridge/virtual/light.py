"""The light pattern of a virtual laboratory as a device. No JAX."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, final

from swarmctl.bridge.devices.contract import Pattern
from swarmctl.bridge.devices.keys import pattern_spec
from swarmctl.bridge.devices.ported_outputs import PortedPattern
from swarmctl.bridge.devices.ports import PatternPort
from swarmctl.bridge.virtual.connection import Connection
from swarmctl.bridge.virtual.sample_config import LIGHT_UNIT
from swarmctl.core.config import key
from swarmctl.core.errors import DeviceTimeoutError, require_positive

PAUSE = 0.0005
"""s between two looks whether a pattern is shown."""


@dataclass(frozen=True)
class VirtualLightConfig:
    """The light of a virtual laboratory; width, height and full say what it has to be."""

    role: ClassVar[str] = "pattern"
    package: ClassVar[str] = ""

    address: Path = key(Path("address.json"), "file that a running virtual laboratory wrote")
    width: int = key(512, "pixels in a row")
    height: int = key(512, "rows")
    full: float = key(1.0, "light of a full pixel", LIGHT_UNIT)
    own_timeout: float | None = key(
        None, "without a pattern for so long the light itself turns dark; never if left out", "s"
    )
    latency: float = key(0.02, "usual time until a pattern is shown", "s")
    patience: float = key(2.0, "longest time until a pattern is shown", "s")

    def __post_init__(self) -> None:
        require_positive("virtual-light", patience=self.patience)

    def build(self) -> PortedPattern:
        """Return the light, not connected."""
        spec = pattern_spec(
            "virtual light",
            self.height,
            self.width,
            LIGHT_UNIT,
            self.full,
            self.own_timeout,
            self.latency,
        )
        return PortedPattern(spec, LaboratoryLight(self))


@final
class LaboratoryLight(PatternPort):
    """Patterns into the shared memory of a virtual laboratory."""

    def __init__(self, config: VirtualLightConfig) -> None:
        self._config = config
        self._lab: Connection | None = None

    def open(self) -> None:
        """Connect, compare the laboratory's light with the keys, and set its own timeout."""
        self._lab = Connection(self._config.address, "light")
        self._lab.compare("light", self._config)
        self.set_timeout(self._config.own_timeout)

    def set_timeout(self, timeout: float | None) -> None:
        """Let the light turn dark by itself after `timeout` s without a pattern; None: never."""
        self._opened.ask("timeout", output="light", value=timeout)

    def close(self) -> None:
        """Hang up."""
        if self._lab is not None:
            self._lab.close()
            self._lab = None

    def show(self, pattern: Pattern) -> None:
        """Show a pattern; return once it lights the sample, in lockstep at once."""
        lab = self._opened
        lab.check()
        clock = lab.clock
        serial = lab.patterns.write(pattern, 0, clock, clock)
        end = time.monotonic() + self._config.patience
        while not lab.lockstep and lab.board.shown < serial:
            if time.monotonic() > end:
                lab.check()
                raise DeviceTimeoutError(
                    f"virtual light: a pattern was not shown within {self._config.patience:g} s."
                )
            time.sleep(PAUSE)

    @property
    def _opened(self) -> Connection:
        assert self._lab is not None, "the port is not open"
        return self._lab
