"""The light pattern of a virtual laboratory as a device. No JAX."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, final

import numpy as np

from swarmctl.bridge.devices.contract import Channel, OutputSpec, Pattern, PatternOutput
from swarmctl.bridge.virtual.connection import Connection
from swarmctl.bridge.virtual.sample_config import LIGHT_UNIT
from swarmctl.core.config import key
from swarmctl.core.errors import (
    ConfigError,
    DeviceError,
    DeviceTimeoutError,
    require_not_negative,
    require_positive,
)

PAUSE = 0.0005
"""s between two looks whether a pattern is shown."""


@dataclass(frozen=True)
class VirtualLightConfig:
    """The light of a virtual laboratory; the keys but `address` and `patience` say what it is."""

    role: ClassVar[str] = "pattern"

    address: Path = key(Path("address.json"), "file that a running virtual laboratory wrote")
    width: int = key(512, "pixels in a row")
    height: int = key(512, "rows")
    full: float = key(1.0, "light of a full pixel", LIGHT_UNIT)
    timeout: float = key(0.5, "without a new pattern it goes dark after this time; 0: never", "s")
    latency: float = key(0.02, "usual time until a pattern is shown", "s")
    patience: float = key(1.0, "longest time until a pattern is shown", "s")

    def __post_init__(self) -> None:
        where = "virtual-light"
        require_positive(where, full=self.full, patience=self.patience)
        require_not_negative(where, timeout=self.timeout, latency=self.latency)
        if min(self.width, self.height) < 8:
            raise ConfigError(f"{where}: at least 8 x 8 px.")

    def build(self) -> VirtualLight:
        """Return the light, not yet connected."""
        return VirtualLight(self)


@final
class VirtualLight(PatternOutput):
    """Shows patterns in a virtual laboratory, or as its mock keeps the last one.

    Attributes:
        shown: u8 [H,W], the last pattern.
    """

    def __init__(self, config: VirtualLightConfig) -> None:
        self.config = config
        self.spec = OutputSpec(
            "virtual light",
            "pattern",
            (Channel("light", LIGHT_UNIT, 0.0, config.full, 0.0),),
            (config.height, config.width),
            config.timeout or None,
            config.latency,
        )
        self.shown: Pattern = np.zeros((config.height, config.width), np.uint8)
        self._lab: Connection | None = None
        self._mock = False

    def connect(self, mock: bool = False) -> None:
        """Open the connection and go dark. Raises DeviceError if its light is another."""
        self.disconnect()
        if not mock:
            self._lab = Connection(self.config.address, "light")
            self._compare(self._lab)
        self._mock = mock
        self.safe()

    def _compare(self, lab: Connection) -> None:
        for name, found in lab.about["light"].items():
            wanted = getattr(self.config, name)
            if abs(found - wanted) > 1e-9:
                self._lab = None
                lab.close()
                raise DeviceError(
                    f"virtual light: the laboratory's has {name} {found:g}, the rig says "
                    f"{wanted:g}; correct the rig."
                )

    def disconnect(self) -> None:
        """Go dark and let go of it; may be called twice."""
        if self._lab is not None:
            with contextlib.suppress(DeviceError):  # where no laboratory is left, no light is
                self.safe()
            self._lab.close()
        self._lab, self._mock = None, False

    def safe(self) -> None:
        """Go dark; return once it is. Raises DeviceError."""
        self.show(np.zeros_like(self.shown))

    def show(self, pattern: Pattern) -> None:
        """Project a pattern u8 [H,W]; return once it lights the sample.

        In lockstep it returns at once: the light is there after its delay. Raises DeviceError, or
        DeviceTimeoutError if it is not shown in time.
        """
        if pattern.shape != self.spec.shape or pattern.dtype != np.uint8:
            raise DeviceError(
                f"virtual light: a pattern is u8 of shape {self.spec.shape}, got {pattern.dtype} "
                f"of shape {pattern.shape}."
            )
        if self._lab is None:
            if not self._mock:
                raise DeviceError("virtual light: connect it first.")
        else:
            self._lab.check()
            clock = self._lab.clock
            self._wait(self._lab, self._lab.patterns.write(pattern, 0, clock, clock))
        self.shown = pattern.copy()

    def _wait(self, lab: Connection, serial: int) -> None:
        end = time.monotonic() + self.config.patience
        while not lab.lockstep and lab.board.shown < serial:
            if time.monotonic() > end:
                lab.check()
                raise DeviceTimeoutError(
                    f"virtual light: a pattern was not shown within {self.config.patience:g} s."
                )
            time.sleep(PAUSE)
