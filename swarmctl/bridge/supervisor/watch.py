"""When the supervisor takes the outputs to their safe values by itself."""

from __future__ import annotations

from dataclasses import dataclass

from swarmctl.core.config import key
from swarmctl.core.errors import ConfigError, require_positive


@dataclass(frozen=True)
class ProbingConfig:
    """What is allowed before there is a calibration, for making one."""

    scale: float = key(0.2, "share of the limits on power and on distances from the safe values")
    duration: float = key(60.0, "time after arming when probing is over, which is a fault", "s")

    def __post_init__(self) -> None:
        require_positive("supervisor.probing", scale=self.scale, duration=self.duration)
        if self.scale > 1:
            raise ConfigError(f"supervisor.probing: scale is at most 1, got {self.scale}.")


@dataclass(frozen=True)
class WatchConfig:
    """Criteria of the watch, each of which is a fault that a person has to clear."""

    expiry: float = key(0.15, "time after which an order ends unless a newer one has come", "s")
    silence: float = key(0.1, "time without a heartbeat after which the loop counts as dead", "s")
    frame_periods: float = key(
        2.0, "oldest age of a frame since the end of its exposure, in periods of the camera"
    )
    frame_latency: float = key(
        0.0, "time from the end of an exposure until the loop has the frame, added to that age", "s"
    )
    least_found: int = key(1, "colloids that a frame has to show")
    poor_frames: int = key(3, "frames in a row with fewer colloids that are a fault")
    confirm: float = key(1.0, "time in which an output has to say that it is safe", "s")
    jump: float = key(10.0, "largest step of a colloid's spot between two orders, in its radii")
    interlock_age: float = key(0.2, "oldest answer of the interlock", "s")
    probing: ProbingConfig = key(ProbingConfig(), "what calibration may do")
    ramp: float = key(0.0, "time of a ramp down instead of a jump after a soft fault; 0 jumps", "s")

    def __post_init__(self) -> None:
        require_positive(
            "supervisor",
            expiry=self.expiry,
            silence=self.silence,
            frame_periods=self.frame_periods,
            confirm=self.confirm,
            jump=self.jump,
            interlock_age=self.interlock_age,
        )
        if self.least_found < 0 or self.poor_frames < 1:
            raise ConfigError("supervisor: least_found is at least 0 and poor_frames at least 1.")
        if not (0 <= self.frame_latency < float("inf")):
            raise ConfigError(
                f"supervisor: frame_latency is finite and not negative, got {self.frame_latency}."
            )
        if not 0 <= self.ramp <= 0.1:
            raise ConfigError(f"supervisor: a ramp takes 0 to 0.1 s, got {self.ramp}.")
