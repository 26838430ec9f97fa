"""A probe: short, limited commands that show whether the hardware does what its twin says.

Every colloid gets random pulses of its own, so that drift and neighbours cancel. The pulses go on
until every doubt is ruled out by the likelihood of the motion (Wald's sequential test, Annals of
Mathematical Statistics 16, 117 (1945)), or a doubt is confirmed, or time is up.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np

from swarmctl.bridge.switch.modes import GuardConfig
from swarmctl.bridge.switch.watch import Finding
from swarmctl.core.command import Command, FieldCommand
from swarmctl.core.spec import EngineSpec
from swarmctl.core.waveforms import aligning_field, rolling_field


@dataclass(frozen=True)
class ProbeReport:
    """What a probe found.

    Attributes:
        passed: whether every doubt was ruled out. Doubts are those that would make a difference to
            what was asked.
        doubts: those that remain, with the log-likelihood ratio against what is expected.
        seconds: how long it took.
        error: median error of the twin during it.
        speed: moved over expected; nan where nothing was asked to move.
        turn: turned over expected, likewise; negative where turning is mirrored.
    """

    passed: bool
    doubts: dict[str, float]
    seconds: float
    error: float
    speed: float
    turn: float

    def __str__(self) -> str:
        text = (
            f"probe {'passed' if self.passed else 'FAILED'} after {self.seconds:.1f} s: speed "
            f"{self.speed:.2f} and turning {self.turn:.2f} of what is expected, error of the twin "
            f"{self.error:.2f}"
        )
        if self.doubts:
            text += "; not ruled out: " + ", ".join(
                f"{name} ({ratio:+.0f})" for name, ratio in self.doubts.items()
            )
        return text


class Probe:
    """The pulses of a probe and what was found so far.

    Args:
        spec: of the engine; every channel in it that is asked for is probed.
        guards: how strong, how long, and when a doubt is settled.
        channels: of commands to probe, those that the agent will use.
        seed: of the pulses.
    """

    def __init__(
        self, spec: EngineSpec, guards: GuardConfig, channels: frozenset[str], seed: int
    ) -> None:
        self.spec, self.guards = spec, guards
        self.channels = channels & spec.capabilities
        self._random = np.random.default_rng(seed)
        self._held = 0
        self._hold = max(1, round(guards.probe_hold / spec.control_interval))
        self._command: Command | None = None
        self._sums: dict[str, float] = {}
        self._errors: list[float] = []
        self._speed = np.zeros(2)
        self._turn = np.zeros(2)
        self._seconds = 0.0
        if "field" in self.channels and spec.field_max is not None:
            # Either is compiled here, and not when it is drawn while outputs act.
            for rolls in (False, spec.dimension == 2):
                self._field(spec.field_max, 0.0, rolls)

    def next(self) -> Command:
        """Return the next command; it changes every `probe_hold` s."""
        if self._command is None or self._held >= self._hold:
            self._command, self._held = self._draw(), 0
        self._held += 1
        return self._command

    def add(self, finding: Finding, interval: float) -> None:
        """Take what was found in a frame that came `interval` s after the one before."""
        self._seconds += interval
        if math.isfinite(finding.error):
            self._errors.append(finding.error)
        for name, evidence in finding.evidence.items():
            self._sums[name] = self._sums.get(name, 0.0) + float(evidence.sum())
        self._speed += finding.speed
        self._turn += finding.turn

    @property
    def doubts(self) -> dict[str, float]:
        """Those that are not ruled out, with the sum of their log-likelihood ratios."""
        return {name: sum_ for name, sum_ in self._sums.items() if sum_ > -self.guards.probe_margin}

    @property
    def over(self) -> bool:
        """Whether all is settled, or a doubt is confirmed, or time is up."""
        confirmed = any(sum_ > self.guards.probe_margin for sum_ in self._sums.values())
        settled = bool(self._sums) and not self.doubts
        return settled or confirmed or self._seconds >= self.guards.probe_time

    def report(self) -> ProbeReport:
        """Return what was found."""

        def share(sums: np.ndarray) -> float:
            return float(sums[0] / sums[1]) if sums[1] > 0 else math.nan

        error = float(np.median(self._errors)) if self._errors else math.nan
        return ProbeReport(
            passed=bool(self._sums) and not self.doubts,
            doubts=self.doubts,
            seconds=self._seconds,
            error=error,
            speed=share(self._speed),
            turn=share(self._turn),
        )

    def _draw(self) -> Command:
        """Random pulses in all channels, each within its share of what the engine may do."""
        spec, random, share = self.spec, self._random, self.guards.probe_share
        n, d = spec.capacity, spec.dimension
        top, turn_max = (
            share * np.asarray(spec.per_slot(table))
            for table in (spec.speed_max, spec.turn_rate_max)
        )
        on = random.random(n) < 0.7
        angle = random.uniform(-np.pi, np.pi, n)
        along = np.zeros((n, d))
        along[:, 0], along[:, 1] = np.cos(angle), np.sin(angle)
        values: dict[str, Any] = {}
        if "speed" in self.channels:
            values["speed"] = np.maximum(top * on, np.asarray(spec.per_slot(spec.speed_min)))
        if "velocity" in self.channels:
            values["velocity"] = (top * on)[:, None] * along
        if "heading" in self.channels:
            values["heading"], values["has_heading"] = along, on
        if "turn_rate" in self.channels:
            rate = turn_max * random.choice([-1.0, 0.0, 1.0], n)
            values["turn_rate"] = rate if d == 2 else rate[:, None] * np.array([0.0, 0.0, 1.0])
        if "power" in self.channels and spec.power_max:
            values["power"] = share * np.asarray(spec.per_slot(spec.power_max)) * on
        if "spot_offset" in self.channels and spec.offset_max:
            reach = share * np.asarray(spec.per_slot(spec.offset_max)) * on
            values["spot_offset"] = reach[:, None] * along[:, :2]
        if "field" in self.channels and spec.field_max is not None:
            rolls = spec.dimension == 2 and random.random() < 0.5
            values["field"] = self._field(spec.field_max, random.uniform(-np.pi, np.pi), rolls)
        for name in values.keys() - {"field"}:
            kind = bool if name == "has_heading" else spec.dtype
            values[name] = np.asarray(values[name], kind)
        return Command(**values)

    def _field(self, most: tuple[float, float, float], angle: float, rolls: bool) -> FieldCommand:
        """A field that rolls colloids some way, or one to which their moments turn."""
        share = self.guards.probe_share
        along = np.zeros(self.spec.dimension)
        along[:2] = np.cos(angle), np.sin(angle)
        direction = jnp.asarray(along, self.spec.dtype)
        strength = jnp.asarray(share * most[0], self.spec.dtype)
        if rolls:
            return rolling_field(direction, strength, jnp.asarray(share * most[2]))
        return aligning_field(direction, strength)
