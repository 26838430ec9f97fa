"""What light does to a colloid, and which light does what is wanted. NumPy, all colloids at once.

A spot of radius w whose centre is d away from a colloid of radius a brings the mean light m(d) over
its disc, and that light's centre lies c(d) away. With the power P of the spot and P' = P m(d)/m(0),

    v = slope (P' - threshold), at least 0, saturating at speed_max
    ω = steering v/a² c × (sine of the angle from the director to the light)

where the law of the speed was measured with spots in the middle. Where a colloid feels the light at
its centre only, m(d) is the spot's profile and c(d) = d, as in `swarmctl.physics.actuator`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from swarmctl.bridge.calibration import SpeedLaw, TurnLaw
from swarmctl.bridge.orders import Profile

Floats = npt.NDArray[np.float64]

_POINTS = 513
_LEAST_SHARE = 0.05  # of the light in the middle: below it a spot misses its colloid


def speed_by_power(power: Floats, law: SpeedLaw) -> Floats:
    """Speeds [N] µm/s by powers [N] of centred spots."""
    speed = law.slope * np.maximum(power - law.threshold, 0.0)
    if law.saturation == "smooth":
        return np.asarray(-law.speed_max * np.expm1(-speed / law.speed_max), np.float64)
    return np.minimum(speed, law.speed_max)


def power_by_speed(speed: Floats, law: SpeedLaw) -> Floats:
    """Powers [N] of centred spots for speeds [N] µm/s; 0 for 0.

    What is faster than possible gets infinite power, for the caller to limit.
    """
    wanted = np.maximum(speed, 0.0)
    if law.saturation == "smooth":
        share = np.minimum(wanted / law.speed_max, 1.0)
        with np.errstate(divide="ignore"):
            wanted = -law.speed_max * np.log1p(-share)
    else:
        wanted = np.where(wanted > law.speed_max * (1 + 1e-9), np.inf, wanted)
    return np.where(wanted > 0, law.threshold + wanted / law.slope, 0.0)


@dataclass(frozen=True)
class SpotReach:
    """What a spot at a distance brings to a colloid: a table, read by linear interpolation.

    Attributes:
        distance: [K] µm from 0 on, to the largest in use.
        mean: [K] light over the colloid, per power of the spot.
        centre: [K] µm, how far the centre of that light is from the colloid's; it never falls.
    """

    distance: Floats
    mean: Floats
    centre: Floats

    @classmethod
    def of(
        cls,
        spot_radius: float,
        profile: Profile,
        colloid_radius: float | None,
        distance_max: float,
    ) -> SpotReach:
        """Tabulate a spot of radius w on a disc of radius a, both µm; on a point if a is None.

        The table ends where less than 5 % of the light in the middle is left.
        """
        distance = np.linspace(0.0, max(distance_max, 1e-9), _POINTS)
        if colloid_radius is None:
            mean, centre = _light(distance, spot_radius, profile), distance.copy()
        else:
            x, y = _disc(colloid_radius)
            away = np.hypot(x[None, :] - distance[:, None], y[None, :])
            light = _light(away, spot_radius, profile)
            mean = light.mean(axis=1)
            with np.errstate(invalid="ignore"):
                centre = np.nan_to_num((light * x).sum(axis=1) / light.sum(axis=1))
        last = int(np.flatnonzero(mean >= _LEAST_SHARE * mean[0])[-1]) + 1
        last = max(last, 2)
        return cls(distance[:last], mean[:last], np.maximum.accumulate(centre[:last]))

    def share(self, distance: Floats) -> Floats:
        """m(d)/m(0) for distances [N]; 0 beyond the table."""
        inside = distance <= self.distance[-1] * (1 + 1e-9)
        return np.where(inside, self._read(distance, self.mean) / self.mean[0], 0.0)

    def centre_of(self, distance: Floats) -> Floats:
        """c(d) for distances [N] µm; that of the table's end beyond it."""
        return self._read(distance, self.centre)

    def distance_for(self, centre: Floats) -> Floats:
        """Distances [N] µm that bring the light's centre to c [N] µm; at most the table's end."""
        # Where c does not change, np.interp needs a rising abscissa to be unambiguous.
        rising = np.concatenate([[True], np.diff(self.centre) > 0])
        return np.asarray(np.interp(centre, self.centre[rising], self.distance[rising]), np.float64)

    @property
    def centre_max(self) -> float:
        """Largest c in use, µm."""
        return float(self.centre[-1])

    def _read(self, distance: Floats, values: Floats) -> Floats:
        return np.asarray(np.interp(distance, self.distance, values), np.float64)


def _light(distance: Floats, radius: float, profile: str) -> Floats:
    if profile == "gaussian":
        return np.asarray(np.exp(-2 * (distance / radius) ** 2), np.float64)
    return np.asarray(distance <= radius, np.float64)


def _disc(radius: float) -> tuple[Floats, Floats]:
    """Points (x, y) spread evenly over a disc, by Vogel's spiral; symmetric about the x axis."""
    count = 1500
    index = np.arange(count) + 0.5
    r = radius * np.sqrt(index / count)
    angle = index * math.pi * (3 - math.sqrt(5))
    x, y = r * np.cos(angle), r * np.sin(angle)
    # Point symmetry makes c(0) exactly 0.
    return np.concatenate([x, x, -x, -x]), np.concatenate([y, -y, y, -y])


@dataclass(frozen=True)
class LightLaw:
    """A species under light: its laws, and what spots bring to it."""

    speed: SpeedLaw
    turn: TurnLaw | None
    reach: SpotReach

    def drive(self, power: Floats, distance: Floats, sine: Floats) -> tuple[Floats, Floats]:
        """Return what a spot does: (speed [N] µm/s, turn rate [N] rad/s).

        power [N] and distance [N] µm of the spots, sine [N] of the angle from the director to them.
        """
        speed = speed_by_power(power * self.reach.share(distance), self.speed)
        return speed, self.turning(speed, self.reach.centre_of(distance) * sine)

    def turning(self, speed: Floats, across: Floats) -> Floats:
        """Turn rates [N] rad/s of colloids whose light's centre is `across` [N] µm to the left."""
        if self.turn is None:
            return np.zeros_like(speed)
        rate = self.turn.steering * speed * across / self.turn.radius**2
        return np.clip(rate, -self.turn.turn_rate_max, self.turn.turn_rate_max)

    def across_for(self, speed: Floats, turn_rate: Floats, longest: float) -> Floats:
        """How far to the left [N] µm the light's centre must be; cut at `longest` µm either way.

        0 where nothing turns: without steering or without speed.
        """
        if self.turn is None or self.turn.steering == 0:
            return np.zeros_like(speed)
        per = self.turn.steering * speed / self.turn.radius**2
        turns = np.abs(per) > 0
        wanted = np.where(turns, turn_rate / np.where(turns, per, 1.0), 0.0)
        return np.clip(wanted, -longest, longest)
