"""What can be made to go wrong in a virtual laboratory while it runs. No JAX."""

from __future__ import annotations

from dataclasses import dataclass

from swarmctl.core.config import key
from swarmctl.core.errors import require_not_negative


@dataclass(frozen=True)
class SampleFaults:
    """Departures from what the laboratory was; the defaults are none."""

    speed: float = key(1.0, "light drives colloids so many times as fast")
    mirror_turning: bool = key(False, "light turns colloids the other way")
    light_delay: float = key(1.0, "light, and coils, act after so many times the delay")
    frame_delay: float = key(1.0, "frames arrive after so many times the delay")
    freeze: bool = key(False, "the camera gives no new frames")
    blank: bool = key(False, "the lamp is off: frames show noise only")
    interlock_open: bool = key(False, "the interlock is open")

    def __post_init__(self) -> None:
        require_not_negative(
            "faults", speed=self.speed, light_delay=self.light_delay, frame_delay=self.frame_delay
        )
