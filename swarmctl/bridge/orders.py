"""What the loop asks the supervisor to do with the outputs, and what it answers. No JAX."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Literal

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Profile = Literal["gaussian", "even"]


class Standing(IntEnum):
    """How far the hardware may go. Outputs leave their safe values in ACTIVE only.

    DISCONNECTED → CONFIGURED → ARMED → ACTIVE; anything wrong leads to FAULT, which only a person
    leaves.
    """

    DISCONNECTED = 0
    CONFIGURED = 1
    ARMED = 2
    ACTIVE = 3
    FAULT = 4


@dataclass(frozen=True)
class Spots:
    """K spots of light of a pattern output.

    Attributes:
        position: [K,2] px of the pattern, x to the right and y down.
        radius: [K] px, to 1/e² of a Gaussian spot or the edge of an even one.
        power: [K] light in the middle, in the unit of the output's channel.
        colloid: [K] identity of the colloid that it is for; -1 for none.
        profile: of all spots, Gaussian or even.
        half: [K] rad from x towards y of the pattern: only the half of the spot on that side of
            its middle is lit; NaN for a whole spot. None if all are whole.
    """

    position: Floats
    radius: Floats
    power: Floats
    colloid: Ints
    profile: Profile = "gaussian"
    half: Floats | None = None

    def __len__(self) -> int:
        return len(self.power)

    @classmethod
    def none(cls) -> Spots:
        """Return darkness."""
        return cls(np.zeros((0, 2)), np.zeros(0), np.zeros(0), np.zeros(0, np.int64))


@dataclass(frozen=True)
class Values:
    """Numbers [C] of a value output, in the units of its channels."""

    value: Floats


@dataclass(frozen=True)
class Order:
    """What all outputs should do until the order expires; times are s of time.monotonic().

    Attributes:
        number: rises by one with every order.
        frame: number of the camera's frame that it rests on.
        exposed: middle of that frame's exposure.
        issued: when it was made.
        expires: when the outputs go to their safe values unless a newer order has come.
        found: colloids that were found in the frame.
        outputs: by the output's name; those that are not named keep what they do.
        dry: written to the audit log, and nothing else.
    """

    number: int
    frame: int
    exposed: float
    issued: float
    expires: float
    found: int
    outputs: Mapping[str, Spots | Values]
    dry: bool = False


@dataclass(frozen=True)
class Receipt:
    """What became of an order.

    Attributes:
        number: of the order.
        sent: what the outputs were told, after limits.
        limited: by the output's name, in words, what was cut and by which limit; {} if nothing.
        issued: s of time.monotonic(), when the last output was told.
        confirmed: s of time.monotonic(), when the last output said that it was done; inf if it has
            not.
    """

    number: int
    sent: Mapping[str, Spots | Values]
    limited: Mapping[str, str] = field(default_factory=dict)
    issued: float = float("nan")
    confirmed: float = float("inf")


@dataclass(frozen=True)
class Report:
    """How the supervisor stands.

    Attributes:
        standing: state of the hardware.
        fault: why it is in FAULT, "" if it is not.
        time: s of time.monotonic().
        safe_issued, safe_confirmed: s between the fault's criterion and every output being told,
            and saying, that it is safe; nan without a fault, inf if it has not been said yet.
        interlock: whether it is closed; None if none is read.
        operator: who armed it, "" if nobody did.
    """

    standing: Standing
    fault: str
    time: float
    safe_issued: float
    safe_confirmed: float
    interlock: bool | None
    operator: str
