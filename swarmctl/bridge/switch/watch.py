"""Is the hardware still what its twin says? Errors of the prediction, and tests for known faults.

Two tests run side by side on every frame. The error is the median over colloids of
|Δr - Δr̂| / √(2d(D Δt + σ²)), averaged over a window. And for every fault that has a name, the
log-likelihood ratio of the motion under that fault and under the twin is summed, never below zero:
Page's cumulative sum (Biometrika 41, 100 (1954)). As long as frames are independent it crosses ln T
falsely less than once in T frames (Lorden, Annals of Mathematical Statistics 42, 1897 (1971)).
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from swarmctl.bridge.switch.modes import GuardConfig
from swarmctl.bridge.switch.prediction import (
    EXPECTED,
    Bools,
    Floats,
    Hypothesis,
    Prediction,
    Predictor,
)
from swarmctl.core.command import Command
from swarmctl.core.state import SwarmState
from swarmctl.core.world import World
from swarmctl.core.wrapping import wrapped_angle
from swarmctl.physics.parameters import motion_params

CLIP = 4.0
"""Most that one colloid may say for or against a fault in one frame: some stick or collide."""
BESIDE = 1.2
"""Colloids nearer than so many contact distances are left out."""
ALONE = 0.4
"""Share of the margin that one colloid alone may bring: faults of hardware concern them all."""


@dataclass(frozen=True)
class Finding:
    """What a frame says.

    Attributes:
        error: median of the prediction's error over the colloids, nan if nobody was compared.
        tracked: number of colloids that were seen in both frames.
        compared: number of those with nobody beside them.
        evidence: by hypothesis, the log-likelihood ratio [N] of every colloid against what is
            expected, in this frame; only of hypotheses that would make a difference.
        speed: (Σ moved · predicted, Σ predicted²) of the displacements, µm².
        turn: the same of turns, rad².
    """

    error: float
    tracked: int
    compared: int
    evidence: dict[str, Floats]
    speed: tuple[float, float]
    turn: tuple[float, float]


class Comparison:
    """Compares every frame with what was predicted from the one before.

    Args:
        world: the twin's.
        control_interval: s.
        guards: noise of what is observed, and spread between colloids.
        hypotheses: against which the twin is tested.
    """

    def __init__(
        self,
        world: World,
        control_interval: float,
        guards: GuardConfig,
        hypotheses: Sequence[Hypothesis],
    ) -> None:
        self.guards = guards
        self.predictor = Predictor(world, control_interval, (EXPECTED, *hypotheses))
        params = motion_params(world)
        energy = float(params.thermal_energy)
        friction = np.asarray(params.friction, np.float64)
        self._diffusion = energy / friction
        radius = np.asarray(params.radius, np.float64)
        self._contact = radius[:, None] + radius
        self._turning = energy / np.asarray(params.rotational_friction, np.float64)

    def look(
        self,
        before: SwarmState,
        after: SwarmState,
        history: Sequence[Command],
        delay: float,
        around: tuple[Floats | None, Floats | None] = (None, None),
    ) -> Finding:
        """Compare two states in a row.

        Args:
            before, after: tracked states; `after.interval` s lie between them.
            history: commands that were applied, `Predictor.noted`; the newest first, which rests on
                `before`.
            delay: s from the exposure of a frame until its command acts.
            around: all colloids that were found before and after, [M,2] µm, if more were found than
                the states have: others may be in the way.
        """
        interval = float(after.interval)
        expected = self.predictor.predict(before, history, delay, interval)
        same = (
            np.asarray(before.present)
            & np.asarray(after.present)
            & (np.asarray(before.identity) == np.asarray(after.identity))
            & np.asarray(before.controllable)
        )
        moved = np.asarray(after.position, np.float64) - np.asarray(before.position, np.float64)
        moved += (np.asarray(after.image) - np.asarray(before.image)) * np.asarray(
            self.predictor.engine.spec.box
        )
        same &= np.isfinite(moved).all(axis=1)
        tracked = int(same.sum())
        same &= self._free(before, around[0]) & self._free(after, around[1])
        same &= np.isfinite(expected.displacement).all(axis=(0, 2))
        error, shift_evidence, speed = self._shifts(moved, expected, same, interval)
        oriented = same & np.asarray(before.oriented) & np.asarray(after.oriented)
        turn_evidence, turn = self._turns(before, after, expected, oriented, interval)
        of_each = np.clip(shift_evidence + turn_evidence, -CLIP, CLIP)
        evidence = {
            h.name: of_each[row]
            for row, h in enumerate(self.predictor.hypotheses)
            if row and self._matters(row, expected)
        }
        return Finding(error, tracked, int(same.sum()), evidence, speed, turn)

    def _free(self, state: SwarmState, around: Floats | None) -> Bools:
        """Who has nobody beside it, bool [N]: what contacts do depends on more than is seen."""
        position = np.asarray(state.position, np.float64)
        away = np.linalg.norm(position[:, None] - position, axis=2)
        present = np.asarray(state.present)
        beside = (away < BESIDE * self._contact) & present & ~np.eye(len(present), dtype=bool)
        free = ~beside.any(axis=1)
        if around is None or len(around) == 0:
            return free
        # A colloid finds itself there; sizes of the others are taken for its own.
        away = np.linalg.norm(position[:, None] - around, axis=2)
        return free & ((away < BESIDE * np.diag(self._contact)[:, None]).sum(axis=1) <= 1)

    def _matters(self, row: int, expected: Prediction) -> bool:
        """Whether a hypothesis predicts anything else: turning may not be asked for."""
        other = expected.displacement[row] != expected.displacement[0]
        turned = expected.turn is not None and (expected.turn[row] != expected.turn[0]).any()
        return bool(other.any() or turned)

    def _shifts(
        self, moved: Floats, expected: Prediction, same: Floats, interval: float
    ) -> tuple[float, Floats, tuple[float, float]]:
        """Error, evidence [H,N] and sums by displacements."""
        guards, d = self.guards, moved.shape[1]
        away = moved - expected.displacement
        square = (away**2).sum(axis=2)
        noise = self._diffusion * interval + guards.localisation**2
        error = math.nan
        if same.any():
            error = float(np.median(np.sqrt(square[0, same] / (2 * d * noise[same]))))
        length = (expected.displacement[0] ** 2).sum(axis=1)
        variance = 2 * noise + (guards.speed_spread**2 / d) * length
        evidence = np.where(same, (square[0] - square) / (2 * variance), 0.0)
        mean = expected.displacement[0][same]
        return (
            error,
            evidence,
            (float((moved[same] * mean).sum()), float((mean**2).sum())),
        )

    def _turns(
        self,
        before: SwarmState,
        after: SwarmState,
        expected: Prediction,
        oriented: Floats,
        interval: float,
    ) -> tuple[Floats, tuple[float, float]]:
        """Evidence [H,N] and sums by turns, in two dimensions."""
        if expected.turn is None:
            return np.zeros((len(self.predictor.hypotheses), len(oriented))), (0.0, 0.0)
        start, end = (np.asarray(s.director, np.float64) for s in (before, after))
        across = start[:, 0] * end[:, 1] - start[:, 1] * end[:, 0]
        turned = np.arctan2(across, (start * end).sum(axis=1))
        away = wrapped_angle(turned - expected.turn)
        guards = self.guards
        variance = (
            2 * (self._turning * interval + guards.heading_noise**2)
            + (guards.turn_spread * expected.turn[0]) ** 2
        )
        evidence = np.where(oriented, (away[0] ** 2 - away**2) / (2 * variance), 0.0)
        mean = expected.turn[0][oriented]
        return evidence, (float((turned[oriented] * mean).sum()), float((mean**2).sum()))


@dataclass
class Watch:
    """Sums findings while an agent drives, and says when the hardware is not its twin any more.

    A colloid that sticks for long looks like a fault. Where the others rest or touch it would be
    the only one to tell, so that what it may bring in all has a bound. And what one after the other
    brings fades, so that it takes several at a time.

    Attributes:
        sums: by hypothesis, the log-likelihood ratio since it was zero last, fading.
        errors: of the frames of the window.
    """

    guards: GuardConfig
    control_interval: float
    sums: dict[str, float] = field(default_factory=dict)
    errors: deque[float] = field(default_factory=deque)
    _parts: dict[str, Floats] = field(default_factory=dict)

    def __post_init__(self) -> None:
        frames = max(1, round(self.guards.window / self.control_interval))
        self.errors = deque(maxlen=frames)

    @property
    def error(self) -> float:
        """The error of the twin, averaged over the window; nan before the first frame."""
        return float(np.mean(self.errors)) if self.errors else math.nan

    @property
    def full(self) -> bool:
        """Whether a whole window was seen."""
        return len(self.errors) == self.errors.maxlen

    def add(self, finding: Finding) -> str | None:
        """Take a finding; return what is wrong, or None."""
        if math.isfinite(finding.error):
            self.errors.append(finding.error)
        kept = math.exp(-self.control_interval / self.guards.forget)
        # Fewer than three colloids cannot outvote each other.
        most = self.guards.margin * max(ALONE, 1.2 / max(finding.tracked, 1))
        for name, evidence in finding.evidence.items():
            parts = np.minimum(kept * self._parts.get(name, 0.0) + evidence, most)
            total = float(parts.sum())
            self._parts[name] = parts if total > 0 else np.zeros_like(parts)
            self.sums[name] = max(0.0, total)
        worst = max(self.sums, key=self.sums.__getitem__, default="")
        if worst and self.sums[worst] > self.guards.margin:
            return (
                f"the swarm moves as with {worst} (log-likelihood ratio "
                f"{self.sums[worst]:.0f} over {self.guards.margin:g})"
            )
        if self.full and self.error > self.guards.error_max:
            return (
                f"the twin's error is {self.error:.2f}, at most {self.guards.error_max:g} is "
                "allowed"
            )
        return None
