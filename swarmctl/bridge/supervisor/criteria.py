"""When the watch trips: pure functions of what the loop has said and of the time."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from swarmctl.bridge.orders import Order, Spots
from swarmctl.bridge.supervisor.watch import WatchConfig

CLOCK_ERROR = 0.02
"""s by which a time may lie in the future before it counts as wrong."""
_SIDES: tuple[Literal["left"], Literal["right"]] = ("left", "right")


@dataclass(frozen=True)
class Trip:
    """Why outputs have to be made safe.

    Attributes:
        reason: in words.
        criterion: s of time.monotonic(), when it became true.
        soft: whether devices and supervisor are well, so that a ramp is allowed.
        stop: whether somebody asked for it, which must not be forgotten in any state.
    """

    reason: str
    criterion: float
    soft: bool = False
    stop: bool = False


@dataclass(frozen=True)
class Pace:
    """Period and exposure of the camera, s."""

    period: float
    exposure: float


@dataclass(frozen=True)
class Seen:
    """What the loop has said; times are s of time.monotonic().

    Attributes:
        since: when the watch began.
        beat: last word of the loop.
        frame: highest number of a frame.
        exposed: middle of that frame's exposure.
        expires: when the newest order ends; inf without one.
        order: number of the newest order.
        poor: frames in a row that showed too few colloids.
        poor_frame: the last frame that was counted.
    """

    since: float
    beat: float
    frame: int = -1
    exposed: float = -math.inf
    expires: float = math.inf
    order: int = -1
    poor: int = 0
    poor_frame: int = -1


def begin_watch(seen: Seen, now: float) -> Seen:
    """Return what is known when the outputs become active: every time counts from now."""
    return replace(seen, since=now, beat=now, expires=math.inf, order=-1, poor=0, poor_frame=-1)


def saw_beat(seen: Seen, frame: int, exposed: float, now: float) -> Seen | Trip:
    """Take note of a heartbeat."""
    if not math.isfinite(exposed) or exposed > now + CLOCK_ERROR:
        return Trip(f"frame {frame} was exposed at {exposed}, which is not before now", now, True)
    if frame < seen.frame:
        return Trip(f"frame numbers fell from {seen.frame} to {frame}", now, True)
    seen = replace(seen, beat=now)
    return replace(seen, frame=frame, exposed=exposed) if frame > seen.frame else seen


def saw_order(seen: Seen, order: Order, config: WatchConfig, now: float) -> Seen | Trip:
    """Take note of an order that is to be obeyed."""
    if order.number <= seen.order:
        return Trip(f"order {order.number} came after order {seen.order}", now)
    times = order.exposed, order.issued, order.expires
    if not (
        all(map(math.isfinite, times))
        and max(order.exposed, order.issued) <= now + CLOCK_ERROR
        and order.expires > order.issued
    ):
        return Trip(
            f"order {order.number} has impossible times: exposed {order.exposed}, issued "
            f"{order.issued}, expires {order.expires}; now is {now}",
            now,
        )
    poor = seen.poor
    if order.frame > seen.poor_frame:
        poor = poor + 1 if order.found < config.least_found else 0
    seen = replace(seen, order=order.number, poor=poor, poor_frame=order.frame)
    if poor >= config.poor_frames:
        return Trip(
            f"{poor} frames in a row showed fewer than {config.least_found} colloids", now, True
        )
    return replace(seen, expires=min(order.expires, order.issued + config.expiry))


def oldest_exposure(config: WatchConfig, pace: Pace, periods: float | None = None) -> float:
    """Return the oldest age of a frame, from the middle of its exposure, s."""
    count = config.frame_periods if periods is None else periods
    return count * pace.period + pace.exposure / 2 + config.frame_latency


def too_old(order: Order, config: WatchConfig, pace: Pace, now: float) -> str:
    """Say why an order comes too late to be obeyed; "" if it does not."""
    if now >= min(order.expires, order.issued + config.expiry):
        return f"had expired {now - order.expires:.3f} s before it came"
    # The order rests on the frame before, or the one before that while images are worked on.
    if now - order.exposed > oldest_exposure(config, pace, 2 * config.frame_periods):
        return f"rests on a frame of {now - order.exposed:.3f} s ago"
    return ""


def overdue(seen: Seen, config: WatchConfig, pace: Pace, now: float) -> Trip | None:
    """Return the first criterion that time alone has made true."""
    frame = max(seen.exposed, seen.since - pace.exposure / 2) + oldest_exposure(config, pace)
    trips = (
        Trip("the loop is silent", seen.beat + config.silence, True),
        Trip(
            f"frame {seen.frame} is too old: no newer one came; the camera stands still, or the "
            "machine is too busy",
            frame,
            True,
        ),
        Trip(f"order {seen.order} expired and no newer one came", seen.expires, True),
    )
    first = min(trips, key=lambda trip: trip.criterion)
    return first if now >= first.criterion else None


def jumped(before: Spots, asked: Spots, most: float) -> str:
    """Say which colloid's spot moved by more than `most` of its radii; "" if none did."""
    if len(before) == 0 or len(asked) == 0:
        return ""
    # By sorting: a table of all pairs might not fit into the memory.
    rows = np.argsort(before.colloid, kind="stable")
    rows = rows[before.colloid[rows] >= 0]
    first, stop = (np.searchsorted(before.colloid[rows], asked.colloid, s) for s in _SIDES)
    nearest = np.full(len(asked), np.inf)
    for step in range(int((stop - first).max())):
        here = np.flatnonzero(first + step < stop)
        apart = asked.position[here] - before.position[rows[first[here] + step]]
        nearest[here] = np.minimum(nearest[here], np.hypot(*apart.T))
    far = np.isfinite(nearest) & (nearest > most * np.maximum(asked.radius, 1.0))
    if not far.any():
        return ""
    which = int(np.argmax(np.where(far, nearest, 0)))
    return (
        f"the spot of colloid {asked.colloid[which]} jumped by {nearest[which]:.4g} px, "
        f"{most:g} radii are allowed"
    )
