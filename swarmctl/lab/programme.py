"""What was commanded over time: every command holds until the next one, and acts after a delay."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Floats = np.ndarray


@dataclass(frozen=True)
class Programme:
    """Commands of N slots that are constant between edges.

    Attributes:
        edge: f64 [M+1] s, ascending.
        value: [M,N,...], `value[m]` holds from edge[m] to edge[m+1]; 0 before and after.
    """

    edge: Floats
    value: Floats

    @property
    def integral(self) -> Floats:
        """∫ value dt from the first edge to every edge, [M+1,N,...]."""
        length = np.diff(self.edge)
        steps = self.value * length.reshape(-1, *(1,) * (self.value.ndim - 1))
        return np.concatenate([np.zeros_like(self.value[:1]), np.cumsum(steps, axis=0)])


@dataclass(frozen=True)
class Moments:
    """Where in a programme of N slots some moments fall [...]: N times the index of the piece plus
    the slot, and the time into the piece.
    """

    place: np.ndarray
    since: Floats


def moments(edge: Floats, slots: int, slot: np.ndarray, time: Floats) -> Moments:
    """Locate `time` [...] s among edges; outside of them it counts as the first or last edge."""
    inside = np.clip(time, edge[0], edge[-1])
    piece = np.clip(np.searchsorted(edge, inside, side="right") - 1, 0, len(edge) - 2)
    return Moments(piece * slots + slot, inside - edge[piece])


def integral_at(programme: Programme, integral: Floats, where: Moments) -> Floats:
    """∫ value dt up to some moments, [...]; `integral` is that of the programme."""
    rest = programme.value.shape[2:]
    start = np.take(integral.reshape(-1, *rest), where.place, axis=0)
    slope = np.take(programme.value.reshape(-1, *rest), where.place, axis=0)
    slope *= where.since.reshape(where.since.shape + (1,) * len(rest))
    return start + slope
