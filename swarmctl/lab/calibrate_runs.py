"""Pulses of light on colloids that are tracked, by the engine "microscope" itself.

Nothing is computed between pulses but the loop itself: outputs are at rest when it is.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from swarmctl.bridge.calibration import Figure
from swarmctl.bridge.microscope.engine import MicroscopeEngine
from swarmctl.bridge.microscope.eyes import FrameRecord
from swarmctl.bridge.microscope.parts import box_view
from swarmctl.bridge.microscope.timing import figure_of
from swarmctl.core.command import Command
from swarmctl.core.errors import CalibrationError, DeviceError
from swarmctl.core.state import SwarmState
from swarmctl.lab.calibrate_config import CalibrateConfig
from swarmctl.lab.calibrate_delay import Switch, fit_response
from swarmctl.lab.calibrate_motion import Pulses

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Moment:
    """Who is where at a time, and what light was sent since the moment before.

    time s; identity, angle, power, across [N], position [N,2] µm; seen bool [N], whether the
    orientation is seen; there bool [N].
    """

    time: float
    identity: Any
    there: Any
    position: Floats
    angle: Floats
    seen: Any
    power: Floats
    across: Floats


class Runner:
    """Runs an engine that takes power and spot_offset, and keeps what is seen.

    Attributes:
        begun: s of the engine's clock, when the first order of the last pulse was sent.

    Args:
        engine: whose observer is `orders.append`.
        orders: what the engine tells its observer.
    """

    def __init__(self, engine: MicroscopeEngine, orders: list[FrameRecord]) -> None:
        self.engine, self._orders, self.begun = engine, orders, math.nan
        self._view = box_view(engine.calibration, engine.rig, engine.spec, engine.config.origin)
        self._state: SwarmState = engine.reset(0)
        self.first = self._moment(None)

    def pulse(self, power: Floats, across: Floats, duration: float) -> list[Moment]:
        """Light colloids [N] by powers, `across` µm to the left of where they point.

        Raises DeviceError for a fault.
        """
        moments = [self._moment(None)]
        steps = max(2, round(duration / self.engine.spec.control_interval))
        self._orders.clear()
        for _ in range(steps):
            director = np.asarray(self._state.director, np.float64)
            left = np.column_stack([-director[:, 1], director[:, 0]])
            offset = np.where(np.asarray(self._state.oriented)[:, None], across[:, None] * left, 0)
            command: dict[str, Any] = {"power": power, "spot_offset": offset}
            result = self.engine.step(Command(**command))
            if result.status.fault is not None:
                raise DeviceError(f"calibrate: {result.status.fault}")
            self._state = result.state
            moments.append(self._moment(result.applied, left))
        self.begun = next(r.order.issued for r in self._orders if r.order is not None)
        self._orders.clear()
        return moments

    def _moment(self, applied: Command | None, left: Floats | None = None) -> Moment:
        state, look = self._state, self.engine.look
        assert look is not None  # there was a reset
        count = self.engine.spec.capacity
        power, across = np.zeros(count), np.zeros(count)
        if applied is not None and left is not None:
            power = np.asarray(applied.power, np.float64)
            across = (np.asarray(applied.spot_offset, np.float64) * left).sum(axis=1)
        director = np.asarray(state.director, np.float64)
        # As found, not as filtered: a filter comes late.
        position = np.asarray(state.position, np.float64).copy()
        found = look.tracks.detection >= 0
        places = self._view.to_sample(look.detections.position)
        position[found] = places[look.tracks.detection[found]]
        return Moment(
            time=look.shot.exposed,
            identity=np.asarray(state.identity),
            there=look.tracks.seen,
            position=position,
            angle=np.arctan2(director[:, 1], director[:, 0]),
            seen=look.tracks.angle_seen & np.asarray(state.oriented),
            power=power,
            across=across,
        )


def drawn_pulses(config: CalibrateConfig, runner: Runner, power: float, beside: bool) -> Pulses:
    """Give every colloid pulses of its own, of powers drawn evenly; a sixth of them is dark.

    `beside`: spots lie beside the middle, by offsets drawn from the outer half of the range either
    way, and the power is in the upper half. Raises CalibrationError if no colloid stayed.
    """
    rng = np.random.default_rng([config.seed, beside])
    count = runner.engine.spec.capacity
    apart = config.apart or 2 * config.radius + runner.engine.rig.steering.spot_radius
    watched = []
    for _ in range(config.pulses):
        light = power * rng.uniform(0.5 if beside else 0.05, 1.0, count)
        across = np.zeros(count)
        if beside:
            side = np.where(rng.uniform(size=count) < 0.5, -1.0, 1.0)
            across = config.offset * side * rng.uniform(0.5, 1.0, count)
        else:
            light = np.where(rng.uniform(size=count) < 1 / 6, 0.0, light)
        watched.append(runner.pulse(light, across, config.pulse))
    runner.engine.stop("the pulses have been given")
    parts = [_pulses(moments, config.settle, apart) for moments in watched]
    names = ("colloid", "power", "across", "duration", "along", "square", "turned")
    pulses = Pulses(*(np.concatenate([getattr(p, name) for p in parts]) for name in names))
    if len(np.unique(pulses.colloid)) < 3:
        raise CalibrationError(
            f"only {len(np.unique(pulses.colloid))} colloids were tracked through a pulse; at "
            "least 3 are needed. Look at the detector and the tracker."
        )
    return pulses


def _pulses(moments: list[Moment], settle: float, apart: float) -> Pulses:
    """What happened after `settle` s to those who were there all the time, with nobody near."""
    later = [m for m in moments if m.time - moments[0].time >= settle]
    first, last = later[0], later[-1]
    whole = np.all([m.there & (m.identity == first.identity) for m in later], axis=0)
    whole &= np.all([_alone(m, apart) for m in (first, last)], axis=0)
    rows = np.flatnonzero(whole & (first.identity >= 0))
    along, turned = np.zeros(len(rows)), np.zeros(len(rows))
    seen = np.ones(len(rows), bool)
    for before, after in itertools.pairwise(later):
        turn = np.angle(np.exp(1j * (after.angle[rows] - before.angle[rows])))
        middle = before.angle[rows] + turn / 2
        step = after.position[rows] - before.position[rows]
        along += step[:, 0] * np.cos(middle) + step[:, 1] * np.sin(middle)
        turned += turn
        seen &= before.seen[rows] & after.seen[rows]
    way = last.position[rows] - first.position[rows]
    lit = np.array([m.power[rows] for m in later[1:]])
    across = np.array([m.across[rows] for m in later[1:]])
    return Pulses(
        colloid=first.identity[rows].astype(np.int64),
        power=lit.mean(axis=0),
        across=across.mean(axis=0),
        duration=np.full(len(rows), last.time - first.time),
        along=np.where(seen, along, np.nan),
        square=(way**2).sum(axis=1),
        turned=np.where(seen, turned, np.nan),
    )


def _alone(moment: Moment, apart: float) -> Any:
    """Bool [N], who has nobody nearer than `apart` µm."""
    distance = np.linalg.norm(moment.position[:, None] - moment.position, axis=-1)
    distance[:, moment.identity < 0] = np.inf
    np.fill_diagonal(distance, np.inf)
    return distance.min(axis=1) > apart


@dataclass(frozen=True)
class Response:
    """How colloids begin to swim: mean ways [K] µm at times [K] s after the light; figures."""

    time: Floats
    way: Floats
    lag: Figure
    rise_time: float


def measure_response(
    config: CalibrateConfig, runner: Runner, power: float, light_delay: float
) -> Response:
    """Switch the light on all colloids on and off, and see when they swim.

    `light_delay` s from an order to the light is taken off. Raises CalibrationError.
    """
    count = runner.engine.spec.capacity
    apart = config.apart or 2 * config.radius + runner.engine.rig.steering.spot_radius
    dark, bright, middle = np.zeros(count), np.full(count, power), np.zeros(count)
    watched = []
    for _ in range(config.switches):
        before = runner.pulse(dark, middle, config.switch)
        moments = before[-4:-1] + runner.pulse(bright, middle, config.switch)
        watched.append((moments, runner.begun + light_delay))
    runner.engine.stop("the light has been switched")
    switches = [_mean_way(moments, begin, apart) for moments, begin in watched]
    seen = [switch for switch in switches if len(switch.time) >= 6]
    if len(seen) < config.switches / 2:
        raise CalibrationError(
            f"delay: only {len(seen)} of {config.switches} times were colloids tracked throughout "
            "that have nobody near and whose orientation is seen; have more of them in view."
        )
    fit = fit_response(seen)
    figure = figure_of(fit.lags)
    assert figure is not None  # there are lags
    figure = replace(figure, median=fit.lag, interval=fit.interval)
    time, way = (np.concatenate([getattr(s, name) for s in seen]) for name in ("time", "way"))
    order = np.argsort(time)
    return Response(time[order], way[order], figure, fit.rise_time)


def _mean_way(moments: list[Moment], begin: float, apart: float) -> Switch:
    """Mean way along the director, of those who are there throughout with nobody near."""
    first = moments[0]
    rows = np.all([m.there & (m.identity == first.identity) for m in moments], axis=0)
    rows &= (first.identity >= 0) & np.all([m.seen for m in moments], axis=0)
    rows &= _alone(first, apart) & _alone(moments[-1], apart)
    if not rows.any():
        return Switch(np.zeros(0), np.zeros(0))
    way, ways = np.zeros(int(rows.sum())), [0.0]
    for before, after in itertools.pairwise(moments):
        angle = before.angle[rows]
        step = after.position[rows] - before.position[rows]
        way = way + step[:, 0] * np.cos(angle) + step[:, 1] * np.sin(angle)
        ways.append(float(way.mean()))
    return Switch(np.array([m.time - begin for m in moments]), np.array(ways))
