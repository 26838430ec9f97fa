"""Light modulators of Micro-Manager, whatever they are: SLM, DMD, projector."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from swarmctl.bridge.devices.contract import Pattern
from swarmctl.bridge.devices.keys import pattern_spec
from swarmctl.bridge.devices.micromanager_core import SharedCore, leave_core, take_core
from swarmctl.bridge.devices.ported_outputs import PortedPattern
from swarmctl.bridge.devices.ports import PatternPort
from swarmctl.core.config import key, required
from swarmctl.core.errors import DeviceError, require_positive


@dataclass(frozen=True)
class MicroManagerSlmConfig:
    """A light modulator of Micro-Manager that shows grey images of bytes."""

    role: ClassVar[str] = "pattern"
    package: ClassVar[str] = "pymmcore_plus"

    cfg: Path = required("Micro-Manager's configuration file")
    device: str = key("SLM", "label of the modulator there")
    height: int = key(1080, "rows of its pattern, px")
    width: int = key(1920, "columns of its pattern, px")
    unit: str = key("", "unit of the light")
    full: float = key(1.0, "light of a full pixel, in that unit")
    own_timeout: float | None = key(
        None, "time after which the modulator itself turns dark, set as its exposure", "s"
    )
    latency: float = key(0.0, "time that a pattern usually takes to be shown", "s")
    timeout: float = key(0.5, "time in which it has to show a pattern", "s")

    def build(self) -> PortedPattern:
        """Return the output, not connected."""
        require_positive("output", timeout=self.timeout)
        spec = pattern_spec(
            f"{self.device} of {self.cfg.name}",
            self.height,
            self.width,
            self.unit,
            self.full,
            self.own_timeout,
            self.latency,
        )
        return PortedPattern(spec, CorePattern(self))


class CorePattern(PatternPort):
    """Patterns on a modulator of a core."""

    def __init__(self, config: MicroManagerSlmConfig) -> None:
        self._config = config
        self._shared: SharedCore | None = None

    def open(self) -> None:
        """Compare the modulator with its keys, and set its exposure."""
        self._shared = shared = take_core(self._config.cfg)
        config, core, label = self._config, shared.core, self._config.device
        shared.require(label)
        size = core.getSLMHeight(label), core.getSLMWidth(label)
        if size != (config.height, config.width):
            raise DeviceError(
                f"{label}: has height {size[0]} and width {size[1]}, the keys say {config.height} "
                f"and {config.width}."
            )
        if core.getSLMNumberOfComponents(label) != 1 or core.getSLMBytesPerPixel(label) != 1:
            raise DeviceError(f"{label}: shows colours or words; only grey bytes are supported.")
        if config.own_timeout is not None:
            core.setSLMExposure(label, 1000 * config.own_timeout)

    def close(self) -> None:
        """Give the core back."""
        if self._shared is not None:
            self._shared = None
            leave_core(self._config.cfg)

    def show(self, pattern: Pattern) -> None:
        """Load and display a pattern, and wait until the modulator is no longer busy."""
        assert self._shared is not None, "the port is not open"
        core, label = self._shared.core, self._config.device
        core.setSLMImage(label, pattern)
        core.displaySLMImage(label)
        self._shared.settle(label, self._config.timeout)
