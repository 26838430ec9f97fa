"""Which of the colloids that were expected is which of those that were found."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from swarmctl.bridge.vision.detections import Floats
from swarmctl.core.extras import import_extra

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

# Costs are negative logarithms of probabilities per frame.
_MISS = 4.0  # a colloid that was seen is not found: 2 %
_STAY_LOST = 0.3  # a lost one stays lost
_RETURN = 1.4  # a lost one is found again
_APPEAR = 7.0  # a new one appears, per square of the reach


@dataclass(frozen=True)
class Expected:
    """Where T colloids should be.

    position [T,2] µm, variance [T] µm² per axis of where one will be found, reach [T] µm from which
    none is taken, lost bool [T].
    """

    position: Floats
    variance: Floats
    reach: Floats
    lost: Bools


def link(expected: Expected, found: Floats) -> tuple[Ints, Ints]:
    """Return pairs (index of T, index of M) for found positions [M,2] µm; the rest has no partner.

    Pairs that have no competitor within reach are taken as they are, by a k-d tree; the others by
    the assignment of the highest likelihood, with Gaussian places.
    """
    none = np.empty(0, np.int64)
    if not len(expected.position) or not len(found):
        return none, none
    spatial = import_extra("vision", "scipy.spatial")
    near = spatial.cKDTree(expected.position).sparse_distance_matrix(
        spatial.cKDTree(found), float(expected.reach.max()), output_type="ndarray"
    )
    near = near[near["v"] <= expected.reach[near["i"]]]
    track, spot = near["i"].astype(np.int64), near["j"].astype(np.int64)
    alone = np.bincount(track, minlength=len(expected.position))[track] == 1
    alone &= np.bincount(spot, minlength=len(found))[spot] == 1
    rest_track, rest_spot = _assign(
        expected, track[~alone], spot[~alone], np.asarray(near["v"][~alone], np.float64)
    )
    return np.concatenate([track[alone], rest_track]), np.concatenate([spot[alone], rest_spot])


def _assign(expected: Expected, track: Ints, spot: Ints, away: Floats) -> tuple[Ints, Ints]:
    """Assign among candidate pairs at distances `away`."""
    if not len(track):
        return track, spot
    optimize = import_extra("vision", "scipy.optimize")
    tracks, row = np.unique(track, return_inverse=True)
    spots, column = np.unique(spot, return_inverse=True)
    m, n = len(tracks), len(spots)
    # Everyone may also stay alone: by a column of its own for a track, a row for a spot.
    cost = np.full((m + n, m + n), 1e9)
    variance, lost = expected.variance[track], expected.lost[track]
    cost[row, column] = (
        away**2 / (2 * variance) + np.log(2 * np.pi * variance) + np.where(lost, _RETURN, 0.0)
    )
    alone = np.where(expected.lost[tracks], _STAY_LOST, _MISS)
    cost[np.arange(m), n + np.arange(m)] = alone
    cost[m + np.arange(n), np.arange(n)] = _APPEAR + 2 * np.log(expected.reach.max())
    cost[m:, n:] = 0.0
    rows, columns = optimize.linear_sum_assignment(cost)
    paired = (rows < m) & (columns < n)
    return tracks[rows[paired]], spots[columns[paired]]
