"""Spots of light that make colloids swim and turn as they are commanded."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from swarmctl.bridge.calibration import Calibration, SpeedLaw
from swarmctl.bridge.devices.contract import OutputSpec
from swarmctl.bridge.microscope.light_law import LightLaw, SpotReach, power_by_speed
from swarmctl.bridge.microscope.steering import (
    Aim,
    Bools,
    Floats,
    Sent,
    Steering,
    rows,
)
from swarmctl.bridge.microscope.steering_config import DIRECT, SteeringConfig
from swarmctl.bridge.orders import Spots
from swarmctl.bridge.supervisor.limits import PatternLimits
from swarmctl.core.command import Command
from swarmctl.core.errors import CalibrationError
from swarmctl.core.wrapping import wrapped_angle
from swarmctl.optics.affine import Affine

_QUADRANTS = np.array([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])  # (ahead, left)


class LightSteering(Steering):
    """One spot, or four of them, on every colloid that is to swim.

    Speed is the power of a spot, by the inverse of the calibrated law. Turning is an offset of the
    light to the left or right of the director, by the inverse of the law of turning: it needs a
    director that is seen, and speed. A heading, or the direction of a velocity, is turned to within
    `heading_time`. Power and spot_offset are drawn as they are asked for.

    Args:
        config: of the rig.
        calibration: with a pattern; with laws of speed and turning if the channels need them.
        radius: µm, of a colloid.
        spec: of the output, a pattern.
        limits: of the output; powers are held below power_max so that it is known what is done.
        view: from the sample, as the engine has it, to the image.
    Raises CalibrationError if something is missing.
    """

    def __init__(
        self,
        config: SteeringConfig,
        calibration: Calibration,
        radius: float,
        spec: OutputSpec,
        limits: PatternLimits,
        view: Affine,
        channels: frozenset[str],
    ) -> None:
        self.channels = channels
        self._config, self._limits, self._view = config, limits, view
        self._law = _law(config, calibration, radius, channels)
        assert spec.shape is not None  # it is a pattern
        self._shape = spec.shape
        pattern = calibration.pattern
        if pattern is None or pattern.output != config.output:
            raise CalibrationError(
                f"the calibration does not say where the pattern of {config.output!r} lies in the "
                "image; calibrate the part 'pattern'."
            )
        self._pattern = pattern.map
        # px of the pattern per µm: both pixel sizes are per px of the image.
        self._scale = self._pattern.pixel_size / view.pixel_size
        self._small = None
        if config.turning == "quadrants":
            self._small = SpotReach.of(config.quadrant_radius, config.profile, radius, radius)
        self._quadrant = radius / 2

    def pattern_of(self, position: Floats) -> Floats:
        """Where positions [...,2] µm of the sample lie in the pattern, px."""
        return self._pattern.to_sample(self._view.to_image(position))

    def order(self, command: Command, aim: Aim) -> Sent:
        """Return the spots; see `Steering`."""
        if command.channels & DIRECT:
            spots = self._direct(command, aim)
        elif self._small is not None:
            spots = self._four(command, aim, self._small)
        else:
            spots = self._one(command, aim)
        return {self._config.output: spots}

    def _direct(self, command: Command, aim: Aim) -> Spots:
        count = len(aim.identity)
        power = np.minimum(rows(command.power, count), self._limits.power_max)
        offset = np.zeros((count, 2))
        if command.spot_offset is not None:
            offset = np.asarray(command.spot_offset, np.float64)
        return self._spots(aim, power, aim.position + offset, self._config.spot_radius)

    def _one(self, command: Command, aim: Aim) -> Spots:
        speed, turn = self._wanted(command, aim)
        reach, law = self._law.reach, self._law
        most = float(power_by_speed(np.array([law.speed.speed_max]), law.speed)[0])
        power = np.minimum(power_by_speed(speed, law.speed), min(most, self._limits.power_max))
        # What light can do at most decides how far beside the centre it must be.
        able, _ = law.drive(power, np.zeros_like(power), np.zeros_like(power))
        across = law.across_for(able, turn, reach.centre_max)
        distance = np.where(across != 0, reach.distance_for(np.abs(across)), 0.0)
        distance = np.minimum(distance, self._config.offset_max)
        power = np.minimum(power / reach.share(distance), self._limits.power_max)
        director = aim.director
        left = np.column_stack([-director[:, 1], director[:, 0]])
        place = aim.position + (np.sign(across) * distance)[:, None] * left
        return self._spots(aim, power, place, self._config.spot_radius)

    def _four(self, command: Command, aim: Aim, small: SpotReach) -> Spots:
        """Spots on four quadrants, those on one side brighter: the light's centre moves there."""
        speed, turn = self._wanted(command, aim)
        law, highest = self._law, self._limits.power_max
        away = np.array([self._quadrant])
        per_spot = float(small.mean[0] * small.share(away)[0] / law.reach.mean[0])
        reach = float(small.centre_of(away)[0]) / math.sqrt(2)
        power = np.minimum(power_by_speed(speed, law.speed), 4 * per_spot * highest)
        able, _ = law.drive(power, np.zeros_like(power), np.zeros_like(power))
        side = law.across_for(able, turn, reach) / reach
        share = (1 + np.outer(_QUADRANTS[:, 1], side)) / 4
        each = power / per_spot * share
        brightest = each.max(axis=0)
        over = brightest > highest
        each *= np.where(over, highest / np.where(over, brightest, 1.0), 1.0)
        director = np.where(aim.oriented[:, None], aim.director, [1.0, 0.0])
        left = np.column_stack([-director[:, 1], director[:, 0]])
        step = self._quadrant / math.sqrt(2)
        spots = [
            self._spots(
                aim, each[k], aim.position + step * (a * director + b * left),
                self._config.quadrant_radius,
            )
            for k, (a, b) in enumerate(_QUADRANTS)
        ]  # fmt: skip
        position, radius, light, colloid = (
            np.concatenate(part)
            for part in zip(
                *((s.position, s.radius, s.power, s.colloid) for s in spots), strict=True
            )
        )
        return Spots(position, radius, light, colloid, self._config.profile)

    def _spots(self, aim: Aim, power: Floats, place: Floats, radius: float) -> Spots:
        """Spots for those that may be lit and whose spot lies on the pattern."""
        position = self.pattern_of(place)
        height, width = self._shape
        on = (position >= -0.5).all(axis=1) & (position < [width - 0.5, height - 0.5]).all(axis=1)
        lit = np.flatnonzero(aim.acts & on & (power > 0))
        size = np.full(len(lit), radius * self._scale)
        return Spots(position[lit], size, power[lit], aim.identity[lit], self._config.profile)

    def _wanted(self, command: Command, aim: Aim) -> tuple[Floats, Floats]:
        """Speed [N] µm/s and turn rate [N] rad/s that a command comes to for colloids as they lie.

        Nobody turns whose director is not seen.
        """
        parts = self._parts(command, aim)
        speed, turn = parts["speed"] + parts["along"], parts["turn"] + parts["steer"]
        if self._config.turning_speed > 0:
            speed = np.where(turn != 0, np.maximum(speed, self._config.turning_speed), speed)
        return speed, turn

    def _parts(self, command: Command, aim: Aim) -> dict[str, Floats]:
        count = len(aim.identity)
        speed = np.maximum(rows(command.speed, count), 0.0)
        turn = np.where(aim.oriented, rows(command.turn_rate, count), 0.0)
        along, steer = np.zeros(count), np.zeros(count)
        if command.heading is not None:
            asked = np.asarray(command.has_heading, bool) & aim.oriented
            steer += np.where(asked, self._rate(np.asarray(command.heading, float), aim), 0.0)
        if command.velocity is not None:
            velocity = np.asarray(command.velocity, np.float64)
            moves = (velocity != 0).any(axis=1) & aim.oriented
            along = np.where(moves, np.maximum((velocity * aim.director).sum(axis=1), 0.0), 0.0)
            steer += np.where(moves, self._rate(velocity, aim), 0.0)
        return {"speed": speed, "turn": turn, "along": along, "steer": steer}

    def _rate(self, direction: Floats, aim: Aim) -> Floats:
        """Turn rates [N] rad/s that turn colloids to directions [N,2] within `heading_time`."""
        angle = np.arctan2(direction[:, 1], direction[:, 0])
        return wrapped_angle(angle - aim.angle) / self._config.heading_time

    # Back

    def applied(self, sent: Sent, command: Command, aim: Aim) -> Command:
        """Return what the spots of each colloid do to it, by the calibrated laws."""
        spots = sent.get(self._config.output, Spots.none())
        assert isinstance(spots, Spots)
        count = len(aim.identity)
        slots, known = _slots(spots, aim)
        place = self._view.to_sample(self._pattern.to_image(spots.position))[known]
        offset = place - aim.position[slots]
        power = spots.power[known]
        if command.channels & DIRECT:
            values: dict[str, Any] = {}
            if command.power is not None:
                values["power"] = np.bincount(slots, power, count)
            if command.spot_offset is not None:
                values["spot_offset"] = np.column_stack(
                    [np.bincount(slots, offset[:, k], count) for k in range(2)]
                )
            return Command(**values)
        small = spots.radius[known] < self._config.spot_radius * self._scale * (1 - 1e-6)
        light, centre = self._felt(slots, offset, power, small & (self._small is not None), count)
        director = aim.director
        across = director[:, 0] * centre[:, 1] - director[:, 1] * centre[:, 0]
        zero = np.zeros(count)
        speed, _ = self._law.drive(light, zero, zero)
        turn = np.where(aim.oriented, self._law.turning(speed, across), 0.0)
        return self._in_channels(speed, turn, command, aim)

    def _felt(
        self, slots: Any, offset: Floats, power: Floats, small: Bools, count: int
    ) -> tuple[Floats, Floats]:
        """Light [N], as the power of one centred spot, and its centre [N,2] µm, of K spots."""
        whole = self._law.reach
        distance = np.linalg.norm(offset, axis=1)
        brought = power * whole.share(distance)
        centre = whole.centre_of(distance)
        if self._small is not None:
            less = self._small.mean[0] / whole.mean[0] * self._small.share(distance)
            brought = np.where(small, power * less, brought)
            centre = np.where(small, self._small.centre_of(distance), centre)
        way = offset * (centre / np.where(distance > 0, distance, 1.0))[:, None]
        light = np.bincount(slots, brought, count).astype(np.float64)
        total = np.where(light > 0, light, 1.0)
        middle = [np.bincount(slots, brought * way[:, k], count) / total for k in range(2)]
        return light, np.column_stack(middle)

    def _in_channels(self, speed: Floats, turn: Floats, command: Command, aim: Aim) -> Command:
        """Share out what is done among the channels in which it was asked for."""
        parts = self._parts(command, aim)
        asked = parts["speed"] + parts["along"]
        share = np.where(asked > 0, speed / np.where(asked > 0, asked, 1.0), 0.0)
        along = parts["along"] * share
        values: dict[str, Any] = {}
        if command.speed is not None:
            values["speed"] = speed - along
        if command.velocity is not None:
            values["velocity"] = along[:, None] * aim.director
        if command.turn_rate is not None:
            both = parts["turn"] + parts["steer"]
            part = np.where(both != 0, turn / np.where(both != 0, both, 1.0), 0.0)
            values["turn_rate"] = parts["turn"] * part
        if command.heading is not None:
            values["heading"] = np.asarray(command.heading)
            values["has_heading"] = (
                np.asarray(command.has_heading, bool) & aim.acts & aim.oriented & (turn != 0)
            )
        return Command(**values)


def _law(
    config: SteeringConfig, calibration: Calibration, radius: float, channels: frozenset[str]
) -> LightLaw:
    disc = radius if config.feels == "disc" else None
    reach = SpotReach.of(config.spot_radius, config.profile, disc, config.offset_max)
    if channels <= DIRECT:
        return LightLaw(calibration.speed or SpeedLaw(), calibration.turn, reach)
    if calibration.speed is None:
        raise CalibrationError(
            f"the channels {', '.join(sorted(channels))} need the law of speed by power; calibrate "
            "the part 'speed', or take the channel power."
        )
    if channels & {"turn_rate", "heading", "velocity"} and calibration.turn is None:
        raise CalibrationError(
            f"the channels {', '.join(sorted(channels))} need the law of turning; calibrate the "
            "part 'turn', or take channels that do not turn."
        )
    return LightLaw(calibration.speed, calibration.turn, reach)


def _slots(spots: Spots, aim: Aim) -> tuple[Any, Bools]:
    """Slots of the colloids that spots are for, and which spots [K] have one."""
    order = np.argsort(aim.identity, kind="stable")
    found = np.searchsorted(aim.identity[order], spots.colloid)
    at = order[np.minimum(found, len(order) - 1)]
    known = (aim.identity[at] == spots.colloid) & (spots.colloid >= 0)
    return at[known], known
