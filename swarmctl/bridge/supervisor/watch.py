"""When the supervisor takes the outputs to their safe values by itself."""

from __future__ import annotations

from dataclasses import dataclass

from swarmctl.core.config import key
from swarmctl.core.errors import ConfigError, require_positive


@dataclass(frozen=True)
class WatchConfig:
    """Criteria of the watch, each of which is a fault that a person has to clear."""

    expiry: float = key(0.15, "time after which an order ends unless a newer one has come", "s")
    silence: float = key(0.1, "time without a heartbeat after which the loop counts as dead", "s")
    frame_periods: float = key(2.0, "oldest age of a frame, in periods of the camera")
    least_found: int = key(1, "colloids that a frame has to show")
    poor_frames: int = key(3, "frames in a row with fewer colloids that are a fault")
    confirm: float = key(1.0, "time in which an output has to say that it is safe", "s")
    ramp: float = key(0.0, "time of a ramp down instead of a jump after a soft fault; 0 jumps", "s")

    def __post_init__(self) -> None:
        require_positive(
            "supervisor",
            expiry=self.expiry,
            silence=self.silence,
            frame_periods=self.frame_periods,
            confirm=self.confirm,
        )
        if self.least_found < 0 or self.poor_frames < 1:
            raise ConfigError("supervisor: least_found is at least 0 and poor_frames at least 1.")
        if not 0 <= self.ramp <= 0.1:
            raise ConfigError(f"supervisor: a ramp takes 0 to 0.1 s, got {self.ramp}.")
