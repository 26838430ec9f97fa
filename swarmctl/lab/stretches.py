"""From a recording to stretches: one colloid, seen frame after frame under one identity.

What cannot be used is left out and counted: frames that repeat the last one (a camera that dropped
one), colloids that are stuck or excluded, intervals too near another colloid, and the beginning of
a track, when commands of the slot's former owner may still act.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.spatial import cKDTree

from swarmctl.core.errors import ConfigError
from swarmctl.core.wrapping import wrapped_angle
from swarmctl.lab.programme import Programme
from swarmctl.records.trajectory import Trajectory

FEWEST = 8
"""Intervals; a shorter stretch says too little to be worth its edges."""
CHANNELS = frozenset({"speed", "turn_rate", "power", "spot_offset"})
"""Command channels whose effect can be fitted."""
LONGEST_GAP = 5.0
"""A stretch ends at an interval longer than so many typical ones."""


@dataclass(frozen=True)
class Stretches:
    """K intervals of one species in stretches that follow one another, S of them.

    Attributes:
        first: i64 [S+1], the first interval of every stretch, and K.
        colloid: i64 [K], number of the colloid (identity within its episode), from 0 on.
        slot: i64 [K].
        start, end: f64 [K] s, on the programme's clock.
        position: [K+S,D] µm at the frames: stretch s has those from first[s] + s on.
        heading: [K+S] rad, measured, or None where none is seen.
    """

    first: np.ndarray
    colloid: np.ndarray
    slot: np.ndarray
    start: np.ndarray
    end: np.ndarray
    position: np.ndarray
    heading: np.ndarray | None

    def __len__(self) -> int:
        return len(self.start)

    @property
    def interval(self) -> np.ndarray:
        """Lengths [K] s."""
        return self.end - self.start

    @property
    def stretch(self) -> np.ndarray:
        """Number [K] of the stretch of every interval."""
        return np.repeat(np.arange(len(self.first) - 1), np.diff(self.first))

    @property
    def node(self) -> np.ndarray:
        """Index [K] of the frame at the start of every interval; that at its end is the next."""
        return np.arange(len(self)) + self.stretch

    @property
    def displacement(self) -> np.ndarray:
        """[K,D] µm."""
        return self.position[self.node + 1] - self.position[self.node]

    @property
    def turn(self) -> np.ndarray:
        """Change of heading [K] rad, in (-π, π]. Raises ConfigError if no heading is seen."""
        if self.heading is None:
            raise ConfigError("stretches: no heading is seen.")
        return wrapped_angle(self.heading[self.node + 1] - self.heading[self.node])


@dataclass(frozen=True)
class Cut:
    """A recording, cut: stretches per species that have any, the commands, and what was left out.

    `commands` holds one Programme per channel, all on one clock.
    """

    stretches: Mapping[int, Stretches]
    commands: Mapping[str, Programme]
    left_out: Mapping[str, int]


def cut(
    trajectory: Trajectory,
    commands: str = "applied",
    longest_delay: float = 1.0,
    nearest: float = 0.0,
) -> Cut:
    """Cut a recording into stretches.

    Args:
        trajectory: frames with positions, times, masks and commands.
        commands: "applied" (after limits) or "requested".
        longest_delay: s, so long after a track begins commands to its slot's former owner may act.
        nearest: µm, intervals at whose ends another colloid is nearer are left out; 0: none.
    Raises ConfigError for a recording that cannot be used: too short, times that do not rise,
    three dimensions, or no commands.
    """
    given = getattr(trajectory, commands)
    if not CHANNELS & given.keys():
        raise ConfigError(
            f"identify: the recording has no {commands} commands of {', '.join(sorted(CHANNELS))}; "
            "record it with an agent that gives some, such as excite."
        )
    if np.any(given.get("velocity", 0)) or np.any(given.get("has_heading", False)):
        raise ConfigError(
            "identify: the recording has commands of velocity or heading, whose effect cannot be "
            f"fitted; command {', '.join(sorted(CHANNELS))} instead."
        )
    if trajectory.position.shape[2] != 2:
        raise ConfigError("identify: the recording is in 3D; only recordings in 2D can be fitted.")
    clock = _clock(trajectory, longest_delay)
    fresh = _fresh(trajectory.position, trajectory.episode)
    left_out = {"repeated frames": int((~fresh).sum())}
    usable = trajectory.present & fresh[:, None] & np.isfinite(trajectory.position).all(-1)
    stuck = usable & ~trajectory.controllable
    left_out["sightings of stuck colloids"] = int(stuck.sum())
    usable &= ~stuck
    blind = usable & ~_oriented(trajectory, usable)
    left_out["sightings without orientation"] = int(blind.sum())
    usable &= ~blind
    if nearest > 0:
        close = usable & _close(trajectory, nearest)
        left_out["sightings near another colloid"] = int(close.sum())
        usable &= ~close
    found, short = _stretches(
        trajectory, clock, usable, np.flatnonzero(fresh), longest_delay, _furthest(given, clock)
    )
    left_out["intervals in short stretches"] = short
    return Cut(
        found,
        _programmes(trajectory, given, clock),
        {name: count for name, count in left_out.items() if count},
    )


def _oriented(trajectory: Trajectory, usable: np.ndarray) -> np.ndarray:
    """Which sightings [T,N] count as oriented: all of a species whose orientation is mostly unseen,
    which is then not used at all.
    """
    oriented = trajectory.oriented & np.isfinite(trajectory.director).all(-1)
    result = oriented.copy()
    for kind in np.unique(trajectory.species[usable]):
        own = usable & (trajectory.species == kind)
        if oriented[own].mean() < 0.5:
            result |= own
    return result


def _furthest(given: Mapping[str, np.ndarray], clock: np.ndarray) -> float:
    """Longest interval in s over which a commanded turn can be told from one the other way."""
    rate = given.get("turn_rate")
    most = 0.0 if rate is None or not np.isfinite(rate).any() else float(np.nanmax(np.abs(rate)))
    if most == 0:
        return np.inf
    if 2.5 / most < np.median(np.diff(clock)):
        raise ConfigError(
            f"identify: turns of {most:g} rad/s cannot be followed in frames "
            f"{np.median(np.diff(clock)):.3g} s apart; record more frames or command slower turns."
        )
    return 2.5 / most


def _clock(trajectory: Trajectory, longest_delay: float) -> np.ndarray:
    """Times [T] s that rise through all episodes, with a pause between two of them."""
    time = np.asarray(trajectory.time, float)
    new = np.flatnonzero(np.diff(trajectory.episode)) + 1
    starts = np.concatenate([[0], new, [len(time)]])
    clock = np.empty_like(time)
    begin = 0.0
    for a, b in pairwise(starts):
        part = time[a:b]
        if not np.isfinite(part).all() or (np.diff(part) <= 0).any():
            raise ConfigError("identify: the recorded times do not rise from frame to frame.")
        clock[a:b] = part - part[0] + begin
        begin = clock[b - 1] + 2 * longest_delay + 1.0
    if len(time) <= FEWEST:
        raise ConfigError(f"identify: {len(time)} frames are too few; record minutes.")
    return clock


def _fresh(position: np.ndarray, episode: np.ndarray) -> np.ndarray:
    """Frames [T] in which something is seen anew: a dropped frame shows the last one again."""
    same = (position[1:] == position[:-1]) | (np.isnan(position[1:]) & np.isnan(position[:-1]))
    repeated = same.all(axis=(1, 2)) & (episode[1:] == episode[:-1])
    return np.concatenate([[True], ~repeated])


def _close(trajectory: Trajectory, nearest: float) -> np.ndarray:
    """Who [T,N] is nearer than `nearest` µm to another colloid that is present."""
    result = np.zeros(trajectory.present.shape, bool)
    periodic = np.asarray(trajectory.periodic)
    seen = trajectory.present & np.isfinite(trajectory.position).all(-1)
    for t in range(len(result)):
        present = np.flatnonzero(seen[t])
        if len(present) < 2:
            continue
        places = trajectory.position[t, present].astype(float)
        box = None
        if periodic.any():
            # An axis that is not periodic gets a box that nobody can look around.
            places = places - np.where(periodic, 0, places.min(axis=0))
            size = np.where(periodic, trajectory.size, places.max(axis=0) * 2 + 4 * nearest)
            places = np.where(periodic, places % size, places)
            places = np.where(places >= size, 0, places)
            box = size
        pairs = cKDTree(places, boxsize=box).query_pairs(nearest, output_type="ndarray")
        result[t, present[np.unique(pairs)]] = True
    return result


def _programmes(
    trajectory: Trajectory, given: Mapping[str, np.ndarray], clock: np.ndarray
) -> dict[str, Programme]:
    """Commands per channel: frame k holds the command of the interval that led to it."""
    result = {}
    for name in CHANNELS & given.keys():
        value = np.nan_to_num(given[name][1:].astype(float), nan=0.0)
        # Nothing is done in the pause between two episodes.
        value[np.diff(trajectory.episode) != 0] = 0
        result[name] = Programme(clock, value)
    return result


def _stretches(
    trajectory: Trajectory,
    clock: np.ndarray,
    usable: np.ndarray,
    frames: np.ndarray,
    longest_delay: float,
    furthest: float,
) -> tuple[dict[int, Stretches], int]:
    """Stretches by species, and the number of intervals in stretches that are too short."""
    seen, time = usable[frames], clock[frames]
    identity, episode = trajectory.identity[frames], trajectory.episode[frames]
    species, interval = trajectory.species[frames], np.diff(time)
    linked = (
        seen[1:]
        & seen[:-1]
        & (identity[1:] == identity[:-1])
        & (species[1:] == species[:-1])
        & (episode[1:] == episode[:-1])[:, None]
        & (interval <= min(LONGEST_GAP * np.median(interval), furthest))[:, None]
    )
    owner, known_from = _colloids(trajectory, clock, longest_delay)
    runs: dict[int, list[tuple[int, int, int]]] = {}
    short = 0
    for slot in range(seen.shape[1]):
        column = np.concatenate([[False], linked[:, slot], [False]])
        changes = np.flatnonzero(np.diff(column.astype(int)))
        for a, b in zip(changes[::2], changes[1::2], strict=True):
            colloid = owner[frames[a], slot]
            a += int(np.searchsorted(time[a:b], known_from[colloid]))
            if b - a < FEWEST:
                short += int(b - a)
                continue
            runs.setdefault(int(species[a, slot]), []).append((slot, int(a), int(b)))
    result = {}
    for kind, listed in sorted(runs.items()):
        spans = [(slot, frames[a : b + 1]) for slot, a, b in listed]
        result[kind] = _joined(trajectory, clock, owner, spans)
    return result, short


def _joined(
    trajectory: Trajectory,
    clock: np.ndarray,
    owner: np.ndarray,
    spans: list[tuple[int, np.ndarray]],
) -> Stretches:
    """Stretches from their slots and the frames in which they are seen."""
    lengths = [len(seen) - 1 for _, seen in spans]
    slots = np.repeat([slot for slot, _ in spans], lengths)
    begin = np.concatenate([seen[:-1] for _, seen in spans])
    end = np.concatenate([seen[1:] for _, seen in spans])
    nodes = np.concatenate([seen for _, seen in spans])
    at = np.repeat([slot for slot, _ in spans], [len(seen) for _, seen in spans])
    _, colloid = np.unique(owner[begin, slots], return_inverse=True)
    heading = None
    if trajectory.oriented[nodes, at].all():
        director = trajectory.director[nodes, at].astype(float)
        heading = np.arctan2(director[:, 1], director[:, 0])
    return Stretches(
        first=np.concatenate([[0], np.cumsum(lengths)]),
        colloid=colloid,
        slot=slots,
        start=clock[begin],
        end=clock[end],
        position=trajectory.position[nodes, at].astype(float),
        heading=heading,
    )


def _colloids(
    trajectory: Trajectory, clock: np.ndarray, longest_delay: float
) -> tuple[np.ndarray, np.ndarray]:
    """Number of the colloid in every slot of every frame [T,N], and from when on every command
    that acts on it is known [C] s: an episode begins without any.
    """
    pair = trajectory.episode[:, None].astype(np.int64) << 32
    pair = np.where(trajectory.present, pair + trajectory.identity, -1)
    _, first, owner = np.unique(pair, return_index=True, return_inverse=True)
    frame = first // pair.shape[1]
    begins = np.concatenate([[True], np.diff(trajectory.episode) != 0])
    known_from = clock[frame] + np.where(begins[frame], 0.0, longest_delay)
    return owner.reshape(pair.shape), known_from
