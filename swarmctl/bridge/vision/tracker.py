"""Identities, positions, velocities and headings of colloids from frame to frame."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from swarmctl.bridge.vision.detections import Detections, Floats
from swarmctl.bridge.vision.linking import Bools, Expected, Ints, link
from swarmctl.core.config import key
from swarmctl.core.errors import ConfigError, FrameError, require_positive
from swarmctl.core.wrapping import wrapped_angle
from swarmctl.optics.affine import Affine

NOBODY = -1
"""Identity of a slot that holds no colloid."""
_SURE = 3.0  # standard deviations of a velocity, from which on an axis points along it
_OF_A_NEW_ONE = (
    "position",
    "velocity",
    "covariance",
    "angle",
    "angle_variance",
    "angle_seen",
    "sign_seen",
    "angular_velocity",
    "hits",
)


@dataclass(frozen=True)
class TrackerConfig:
    """How colloids move between frames, and how long one is waited for.

    The motion is that of an active Brownian particle: its velocity is an Ornstein-Uhlenbeck process
    with the given speed and persistence, and it diffuses.
    """

    capacity: int = key(256, "number of slots N; more colloids are not tracked, and counted")
    memory: int = key(5, "frames for which a colloid may be missing and keeps its identity")
    confirm: int = key(2, "frames in a row in which a new one must be found")
    reach: float = key(4.0, "no colloid moves further between two sightings", "um")
    gate: float = key(5.0, "how far from where it should be, in standard deviations")
    speed: float = key(5.0, "usual speed", "um/s")
    persistence: float = key(3.0, "time over which a velocity is kept", "s")
    diffusion: float = key(0.1, "diffusion coefficient", "um^2/s")
    localisation: float = key(0.04, "standard deviation of a found position, per axis", "um")
    heading_error: float = key(0.5, "largest standard deviation of a heading in use", "rad")
    turn_time: float = key(0.3, "over which turning is averaged", "s")

    def __post_init__(self) -> None:
        require_positive(
            "tracker",
            reach=self.reach,
            gate=self.gate,
            speed=self.speed,
            persistence=self.persistence,
            localisation=self.localisation,
            heading_error=self.heading_error,
            turn_time=self.turn_time,
        )
        if not (math.isfinite(self.diffusion) and self.diffusion >= 0):
            raise ConfigError(
                f"tracker: diffusion must be finite and not negative, got {self.diffusion}."
            )
        for name, least in (("capacity", 1), ("memory", 0), ("confirm", 1)):
            if getattr(self, name) < least:
                raise ConfigError(f"tracker: {name} must be at least {least}.")


@dataclass(frozen=True)
class Tracks:
    """N slots after a frame.

    Attributes:
        time: s of the frame; -inf before the first.
        interval: s since the frame before; 0 at the first.
        next_identity: that the next colloid gets.
        ignored: detections of this frame for which no slot was free.
        identity: [N], NOBODY while a slot is empty or its colloid unconfirmed.
        position: [N,2] µm of the sample, filtered; predicted while it is missing.
        velocity: [N,2] µm/s, filtered.
        covariance: [N,3], of place with place, with velocity, and of velocity, per axis.
        angle: [N] rad, heading in the sample.
        angle_variance: [N] rad²; inf where nothing is known.
        angle_seen: bool [N], whether the heading comes from an orientation that was seen.
        sign_seen: bool [N], whether that was more than an axis. Where it was not, the sign stays
            from frame to frame, and turns to the velocity where that is sure.
        angular_velocity: [N] rad/s, averaged; 0 where no orientation is seen.
        hits: [N] frames in which it was found; 0 marks an empty slot.
        missed: [N] frames in a row in which it was not.
        detection: [N] index of the detection of this frame, or -1.
        heading_error: rad, up to which a heading counts.
    """

    time: float
    interval: float
    next_identity: int
    ignored: int
    identity: Ints
    position: Floats
    velocity: Floats
    covariance: Floats
    angle: Floats
    angle_variance: Floats
    angle_seen: Bools
    sign_seen: Bools
    angular_velocity: Floats
    hits: Ints
    missed: Ints
    detection: Ints
    heading_error: float

    @property
    def present(self) -> Bools:
        """Bool [N]: tracked, be it found in this frame or waited for."""
        return self.identity != NOBODY

    @property
    def seen(self) -> Bools:
        """Bool [N]: present and found in this frame."""
        return self.present & (self.missed == 0)

    @property
    def oriented(self) -> Bools:
        """Bool [N]: present, with a heading that is known well enough."""
        return self.present & (self.angle_variance <= self.heading_error**2)

    @property
    def director(self) -> Floats:
        """Unit vectors [N,2] of the headings, the last ones known."""
        return np.column_stack([np.cos(self.angle), np.sin(self.angle)])


class Tracker:
    """Turns detections into tracks. It holds no state: `update` takes tracks and returns new ones.

    Between frames every colloid is predicted by a Kalman filter over the true interval. What is
    found within its gate is linked, see `linking.link`.
    """

    def __init__(self, config: TrackerConfig, view: Affine) -> None:
        """Take the map from the sample to the image."""
        self.config = config
        self.view = view

    def start(self) -> Tracks:
        """Return empty slots."""
        count = self.config.capacity
        return Tracks(
            time=-math.inf,
            interval=0.0,
            next_identity=0,
            ignored=0,
            identity=np.full(count, NOBODY, np.int64),
            position=np.zeros((count, 2)),
            velocity=np.zeros((count, 2)),
            covariance=np.zeros((count, 3)),
            angle=np.zeros(count),
            angle_variance=np.full(count, np.inf),
            angle_seen=np.zeros(count, np.bool_),
            sign_seen=np.zeros(count, np.bool_),
            angular_velocity=np.zeros(count),
            hits=np.zeros(count, np.int64),
            missed=np.zeros(count, np.int64),
            detection=np.full(count, -1, np.int64),
            heading_error=self.config.heading_error,
        )

    def update(self, tracks: Tracks, found: Detections, time: float) -> Tracks:
        """Return the tracks after a frame taken at `time` s. Raises FrameError if time stands."""
        if not (math.isfinite(time) and time > tracks.time):
            raise FrameError(
                f"a frame at {time} s cannot follow one at {tracks.time} s; "
                "give the time of exposure, and each frame once."
            )
        interval = time - tracks.time if math.isfinite(tracks.time) else 0.0
        tracks = _predict(replace(tracks, time=time, interval=interval), self.config)
        place, angle = self.view.to_sample(found.position), self._angles(found)
        error, axial = found.direction_error, found.axial
        slot, index = self._link(tracks, place)
        tracks = _correct(tracks, self.config, slot, place[index])
        tracks = _turn(tracks, self.config, slot, angle[index], error[index], axial[index])
        tracks = _count(tracks, self.config, slot)
        new = np.setdiff1d(np.arange(len(found)), index)
        tracks, free = _add(tracks, self.config, place[new], angle[new], error[new], axial[new])
        detection = np.full(self.config.capacity, -1, np.int64)
        detection[slot], detection[free] = index, new[: len(free)]
        return _name(replace(tracks, detection=detection), self.config)

    def _link(self, tracks: Tracks, place: Floats) -> tuple[Ints, Ints]:
        alive = np.flatnonzero(tracks.hits > 0)
        variance = tracks.covariance[alive, 0] + self.config.localisation**2
        reach = np.minimum(self.config.gate * np.sqrt(variance), self.config.reach)
        expected = Expected(tracks.position[alive], variance, reach, tracks.missed[alive] > 0)
        chosen, index = link(expected, place)
        return alive[chosen], index

    def _angles(self, found: Detections) -> Floats:
        """Angles [M] rad in the sample of the directions that were seen."""
        direction = self.view.direction_to_sample(found.direction)
        return np.asarray(np.arctan2(direction[:, 1], direction[:, 0]), np.float64)


def _predict(tracks: Tracks, config: TrackerConfig) -> Tracks:
    """Move all colloids on by the interval.

    An Ornstein-Uhlenbeck velocity, integrated (Uhlenbeck and Ornstein 1930), and diffusion.
    """
    interval = tracks.interval
    tau, square = config.persistence, config.speed**2 / 2
    kept = math.exp(-interval / tau)
    way = tau * (1 - kept)
    xx, xv, vv = tracks.covariance.T
    noise_xx = square * (2 * tau * interval - tau**2 * (3 - 4 * kept + kept**2))
    covariance = np.column_stack(
        [
            xx + 2 * way * xv + way**2 * vv + max(noise_xx, 0.0) + 2 * config.diffusion * interval,
            kept * (xv + way * vv) + square * tau * (1 - kept) ** 2,
            kept**2 * vv + square * (1 - kept**2),
        ]
    )
    return replace(
        tracks,
        position=tracks.position + way * tracks.velocity,
        velocity=kept * tracks.velocity,
        covariance=covariance,
        angle=tracks.angle + interval * tracks.angular_velocity,
        # The direction of a swimmer diffuses with 1/persistence in the plane.
        angle_variance=tracks.angle_variance + 2 * interval / tau,
    )


def _correct(tracks: Tracks, config: TrackerConfig, slot: Ints, place: Floats) -> Tracks:
    """Kalman's correction of position and velocity by places [K,2] µm."""
    position, velocity = tracks.position.copy(), tracks.velocity.copy()
    covariance = tracks.covariance.copy()
    xx, xv, vv = tracks.covariance[slot].T
    total = xx + config.localisation**2
    away = place - tracks.position[slot]
    position[slot] += (xx / total)[:, None] * away
    velocity[slot] += (xv / total)[:, None] * away
    rest = config.localisation**2 / total
    covariance[slot] = np.column_stack([rest * xx, rest * xv, vv - xv**2 / total])
    return replace(tracks, position=position, velocity=velocity, covariance=covariance)


def _turn(
    tracks: Tracks,
    config: TrackerConfig,
    slot: Ints,
    angle: Floats,
    error: Floats,
    axial: Bools,
) -> Tracks:
    """Correct headings by angles [K] rad with errors [K]; where none is seen, by the motion.

    Of an axial angle only the axis counts.
    """
    angles, variance = tracks.angle.copy(), tracks.angle_variance.copy()
    seen, turning = tracks.angle_seen.copy(), tracks.angular_velocity.copy()
    signed = tracks.sign_seen.copy()
    shown = np.isfinite(error)
    here, square, axis = slot[shown], error[shown] ** 2, axial[shown]
    first = ~seen[here]
    before = np.where(first, np.inf, variance[here])
    gain = 1 / (1 + square / before)
    away = wrapped_angle(angle[shown] - angles[here])
    # A sign that is seen for the first time decides; it is no turn.
    turned = ~axis & ~signed[here] & ~first & (np.abs(away) > np.pi / 2)
    angles[here] += np.where(turned, np.pi, 0.0)
    away = np.where(axis | turned, wrapped_angle(2 * away) / 2, away)
    signed[here] |= ~axis
    angles[here] += gain * away
    variance[here] = gain * square
    if tracks.interval > 0:
        share = 1 - math.exp(-tracks.interval / config.turn_time)
        turning[here] += np.where(first, 0.0, share * gain * away / tracks.interval)
    seen[here] = True
    pushed = here[axis & ~signed[here]]
    ahead = np.cos(angles[pushed]) * tracks.velocity[pushed, 0]
    ahead += np.sin(angles[pushed]) * tracks.velocity[pushed, 1]
    backwards = ahead < -_SURE * np.sqrt(tracks.covariance[pushed, 2])
    angles[pushed[backwards]] += np.pi
    speed = np.linalg.norm(tracks.velocity, axis=1)
    moving = ~seen & (speed > 0)
    angles[moving] = np.arctan2(tracks.velocity[moving, 1], tracks.velocity[moving, 0])
    variance[moving] = tracks.covariance[moving, 2] / speed[moving] ** 2
    return replace(
        tracks,
        angle=wrapped_angle(angles),
        angle_variance=variance,
        angle_seen=seen,
        sign_seen=signed,
        angular_velocity=turning,
    )


def _count(tracks: Tracks, config: TrackerConfig, slot: Ints) -> Tracks:
    """Count hits and misses; empty the slots of those that are given up."""
    found = np.zeros(config.capacity, np.bool_)
    found[slot] = True
    hits = tracks.hits + found
    missed = np.where(found | (tracks.hits == 0), 0, tracks.missed + 1)
    unconfirmed = (tracks.identity == NOBODY) & (missed > 0)
    gone = (missed > config.memory) | unconfirmed
    return replace(
        tracks,
        hits=np.where(gone, 0, hits),
        missed=np.where(gone, 0, missed),
        identity=np.where(gone, NOBODY, tracks.identity),
    )


def _add(
    tracks: Tracks,
    config: TrackerConfig,
    place: Floats,
    angle: Floats,
    error: Floats,
    axial: Bools,
) -> tuple[Tracks, Ints]:
    """Put new colloids at places [K,2] µm into free slots; those without one are counted.

    Returns the slots, too.
    """
    free = np.flatnonzero(tracks.hits == 0)[: len(place)]
    count = len(free)
    changed = {name: getattr(tracks, name).copy() for name in _OF_A_NEW_ONE}
    shown = np.isfinite(error[:count])
    changed["position"][free] = place[:count]
    changed["velocity"][free] = 0.0
    changed["covariance"][free] = [config.localisation**2, 0.0, config.speed**2 / 2]
    changed["angle"][free] = np.where(shown, angle[:count], 0.0)
    changed["angle_variance"][free] = np.where(shown, error[:count] ** 2, np.inf)
    changed["angle_seen"][free] = shown
    changed["sign_seen"][free] = shown & ~axial[:count]
    changed["angular_velocity"][free] = 0.0
    changed["hits"][free] = 1
    return replace(tracks, ignored=len(place) - count, **changed), free


def _name(tracks: Tracks, config: TrackerConfig) -> Tracks:
    """Give identities to those that have been found often enough."""
    ready = np.flatnonzero((tracks.identity == NOBODY) & (tracks.hits >= config.confirm))
    identity = tracks.identity.copy()
    identity[ready] = tracks.next_identity + np.arange(len(ready))
    return replace(tracks, identity=identity, next_identity=tracks.next_identity + len(ready))
