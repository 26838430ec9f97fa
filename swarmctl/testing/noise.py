"""Telling fresh noise from noise that is used again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from swarmctl.core.state import SwarmState

FEWEST = 8
"""Values below which a correlation says nothing."""


def repeated_noise(swarm: SwarmState, applied: Any) -> Iterator[str]:
    """Yield a text if steps [T,N] of an episode share their noise.

    What turns a colloid besides the command is noise: the angular velocity less the turn rate that
    was applied. Neither may
    two steps share it, nor may consecutive ones be correlated by more than six standard errors.
    """
    turned = np.asarray(swarm.angular_velocity, float)
    if applied is not None and applied.turn_rate is not None:
        turned = turned - np.asarray(applied.turn_rate, float)
    rows = turned.reshape(len(turned), -1)
    spread = rows.std()
    if not np.isfinite(spread) or spread <= 1e-6 * max(float(np.abs(turned).max()), 1e-30):
        return
    steps, same = len(rows), 0
    for lag in range(1, min(steps, 17)):
        same += int((np.abs(rows[lag:] - rows[:-lag]).max(1) <= 1e-4 * spread).sum())
    if same:
        yield f"{same} pairs of the {steps} steps have the same rotational noise"
        return
    pairs = rows[1:].size
    if pairs >= FEWEST:
        a, b = rows[1:] - rows.mean(), rows[:-1] - rows.mean()
        correlation = float((a * b).mean() / spread**2)
        if abs(correlation) > 6 / pairs**0.5:
            yield f"the rotational noise of consecutive steps is correlated by {correlation:.2f}"
