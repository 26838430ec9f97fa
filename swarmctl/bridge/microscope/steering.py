"""From commands to orders and back: what every way of driving colloids has in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from swarmctl.bridge.orders import Spots, Values
from swarmctl.bridge.vision.tracker import Tracks
from swarmctl.core.command import Command

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Sent = Mapping[str, Spots | Values]


@dataclass(frozen=True)
class Aim:
    """Where N colloids will be when an order acts.

    Attributes:
        position: [N,2] µm.
        angle: [N] rad, of the director.
        oriented: bool [N], whether that is known.
        acts: bool [N], whom an order may act on.
        identity: [N].
    """

    position: Floats
    angle: Floats
    oriented: Bools
    acts: Bools
    identity: Ints

    @classmethod
    def at(cls, tracks: Tracks, lead: float, blind: int, excluded: frozenset[int]) -> Aim:
        """Predict tracks by `lead` s, by their velocity and their turning.

        Colloids that have been missing for more than `blind` frames, and those with identities that
        are `excluded`, are not acted on.
        """
        shut = np.isin(tracks.identity, list(excluded))
        return cls(
            position=tracks.position + lead * tracks.velocity,
            angle=tracks.angle + lead * tracks.angular_velocity,
            oriented=tracks.oriented,
            acts=tracks.present & (tracks.missed <= blind) & ~shut,
            identity=tracks.identity,
        )

    @property
    def director(self) -> Floats:
        """Unit vectors [N,2]; of no meaning where the angle is not known."""
        return np.column_stack([np.cos(self.angle), np.sin(self.angle)])


class Steering(ABC):
    """A way to drive colloids by one output. It holds no state."""

    channels: frozenset[str]

    @abstractmethod
    def order(self, command: Command, aim: Aim) -> Sent:
        """Return what outputs must do for a command whose arrays are NumPy's."""

    @abstractmethod
    def applied(self, sent: Sent, command: Command, aim: Aim) -> Command:
        """Return the command, in the channels of the one that was asked, that `sent` comes to."""


def rows(values: object, count: int) -> Floats:
    """Numbers [N] of a channel, 0 if it is not used."""
    return np.zeros(count) if values is None else np.asarray(values, np.float64)
