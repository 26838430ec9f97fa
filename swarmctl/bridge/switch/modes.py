"""The modes of the bridge, and when it may change between them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

from swarmctl.core.config import key
from swarmctl.core.errors import ConfigError, require_positive


class Mode(StrEnum):
    """Who moves what.

    SIMULATE: the agent acts on the twin; the hardware rests. SHADOW: the agent sees the hardware,
    its commands are written down and not done; the twin predicts. DRIVE: the agent acts on the
    hardware; the twin predicts, and its errors are watched. SAFE: every output is at its safe value
    after a fault, until a person clears it.
    """

    SIMULATE = "simulate"
    SHADOW = "shadow"
    DRIVE = "drive"
    SAFE = "safe"


@dataclass(frozen=True)
class GuardConfig:
    """What has to hold before and while an agent drives.

    The error of the twin is |observed - predicted displacement| in units of √(2d(D Δt + σ²)), the
    median over colloids; without any fault it is about 0.83 in two dimensions.
    """

    error_max: float = key(1.6, "largest error of the twin, averaged over the window")
    window: float = key(2.0, "time over which the error is averaged", "s")
    shadow: float = key(3.0, "shortest time in SHADOW before the agent may drive", "s")
    least_seen: int = key(1, "colloids that must be tracked")
    margin: float = key(
        20.0, "log-likelihood ratio by which another behaviour must beat the expected one"
    )
    delay_max: float = key(
        1.7, "longest measured delay, in units of that of the calibration; see delay_free"
    )
    delay_free: float = key(
        0.1, "lengthening of the delay that is allowed at any rate, in control intervals"
    )
    forget: float = key(15.0, "time in which evidence for another behaviour fades to 1/e", "s")
    speed_spread: float = key(0.15, "relative spread of the speed from colloid to colloid")
    turn_spread: float = key(0.15, "relative spread of the turn rate from colloid to colloid")
    localisation: float = key(0.05, "standard deviation of an observed position per axis", "um")
    heading_noise: float = key(0.05, "standard deviation of an observed heading", "rad")
    probe_margin: float = key(10.0, "log-likelihood ratio by which a probe rules out a doubt")
    probe_time: float = key(20.0, "longest time of a probe", "s")
    probe_share: float = key(0.5, "strength of a probe, as a share of what the engine may do")
    probe_hold: float = key(0.5, "time for which a probing command is held", "s")

    def __post_init__(self) -> None:
        require_positive(
            "guards",
            error_max=self.error_max,
            window=self.window,
            margin=self.margin,
            forget=self.forget,
            probe_margin=self.probe_margin,
            localisation=self.localisation,
            heading_noise=self.heading_noise,
            probe_time=self.probe_time,
            probe_hold=self.probe_hold,
        )
        for name in ("shadow", "speed_spread", "turn_spread", "delay_free"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise ConfigError(f"guards: {name} must be finite and at least 0, got {value}.")
        if self.least_seen < 1:
            raise ConfigError(f"guards: least_seen is at least 1, got {self.least_seen}.")
        if not (math.isfinite(self.delay_max) and self.delay_max >= 1):
            raise ConfigError(f"guards: delay_max is at least 1, got {self.delay_max}.")
        if not 0 < self.probe_share <= 1:
            raise ConfigError(f"guards: probe_share lies in (0, 1], got {self.probe_share}.")

    def late(self, delay: float, known: float, control_interval: float) -> str | None:
        """Say what is wrong if a delay is too long for what is known, all in s; else None."""
        most = max(self.delay_max * known, known + self.delay_free * control_interval)
        if delay <= most:
            return None
        return (
            f"the delay from a frame to its effect is {1e3 * delay:.0f} ms, it was "
            f"{1e3 * known:.0f} ms when it was calibrated, and at most {1e3 * most:.0f} ms are "
            "allowed"
        )
