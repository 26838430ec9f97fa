"""The one gate between agents and outputs, as the loop sees it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

from swarmctl.bridge.devices.contract import OutputSpec
from swarmctl.bridge.orders import Order, Receipt, Report


@dataclass(frozen=True)
class Evidence:
    """What must be true before outputs may be armed; a supervisor refuses without it.

    Attributes:
        calibration: digest of the calibration in use.
        calibrated: s since the epoch, when that was made.
        expires: s since the epoch, until when it counts.
        spot_error: px, how far a spot that was projected lay from where it should; None where there
            is no pattern.
        spot_error_max: px, what is allowed.
        rig: digest of the rig file that the calibration was made with; "" if that is not known,
            with which nothing can be armed.
    """

    calibration: str
    calibrated: float
    expires: float
    spot_error: float | None
    spot_error_max: float
    rig: str = ""


class Gatekeeper(ABC):
    """Owns the outputs. Nothing else writes to them.

    All calls but `open`, `arm`, `clear` and `close` return at once. Whoever waits for the next
    frame calls `beat` at least every 50 ms from the waiting loop itself, never from a thread.
    """

    outputs: Mapping[str, OutputSpec]

    @abstractmethod
    def open(self) -> None:
        """Connect all outputs and bring them to their safe values: CONFIGURED."""

    @abstractmethod
    def arm(self, operator: str, evidence: Evidence | None) -> None:
        """Let a person arm it: CONFIGURED → ARMED, or ARMED → ARMED after probing.

        `evidence` may be None for what calibration itself needs: then outputs obey the narrower
        limits of the rig's section for probing. Raises ArmingError, saying every reason.
        """

    @abstractmethod
    def activate(self) -> None:
        """ARMED → ACTIVE. Raises ArmingError."""

    @abstractmethod
    def send(self, order: Order) -> None:
        """Hand over an order; a newer one replaces it. It counts as a heartbeat."""

    @abstractmethod
    def beat(self, frame: int, exposed: float) -> None:
        """Say that the loop is alive, and which frame it has seen last."""

    @abstractmethod
    def receipts(self) -> list[Receipt]:
        """Return the receipts that have come since the last call, oldest first."""

    @abstractmethod
    def report(self) -> Report:
        """Return the newest report. Raises SupervisorLostError if the supervisor has gone."""

    @abstractmethod
    def rest(self, reason: str) -> None:
        """ACTIVE → ARMED: outputs go to their safe values within their slew limits."""

    @abstractmethod
    def stop(self, reason: str) -> None:
        """Emergency stop: FAULT, outputs safe at once, latched."""

    @abstractmethod
    def clear(self, operator: str) -> None:
        """Let a person leave FAULT: → CONFIGURED.

        Raises ArmingError if its cause is still there.
        """

    @abstractmethod
    def close(self) -> None:
        """Make outputs safe and let go of them; may be called twice."""
