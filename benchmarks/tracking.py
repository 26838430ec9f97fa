"""Detection and tracking: time per frame beside trackpy, errors, recall, and swapped identities.

    python benchmarks/tracking.py [--part frames|swaps] [--frames N] [--json FILE]

Frames of 1024 x 1024 px are rendered with known truth. Every frame is given to our detector and
tracker and to trackpy in turn, so that the ratio is one of the same run. CPU time is that of the
calling thread: on a machine that others use, it says more than the time by the clock.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from common import parser, report
from scipy.spatial import cKDTree

from swarmctl.bridge.vision.detections import Detections
from swarmctl.bridge.vision.dimers import DimerDetectorConfig
from swarmctl.bridge.vision.janus import JanusDetectorConfig
from swarmctl.bridge.vision.offline import TrackpyDetectorConfig
from swarmctl.bridge.vision.rods import RodDetectorConfig
from swarmctl.bridge.vision.spots import SpotDetectorConfig
from swarmctl.bridge.vision.tracker import Tracker, TrackerConfig
from swarmctl.core.errors import MissingExtraError
from swarmctl.optics.affine import Affine
from swarmctl.optics.image_formation import ImageFormation, Sample
from swarmctl.optics.optics_config import (
    DimerConfig,
    IlluminationConfig,
    JanusConfig,
    OpticsConfig,
    RodConfig,
)

Floats = npt.NDArray[np.float64]

RADIUS, SPEED, PERSISTENCE, DIFFUSION = 1.5, 5.0, 3.0, 0.1
"""Of the colloids: µm, µm/s, s, µm²/s."""


class Swimmers:
    """Active discs in a square box [0, side]² that push each other out of the way."""

    def __init__(self, count: int, side: float, radius: float, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.side, self.radius = side, radius
        place = np.empty((0, 2))
        while len(place) < count:
            at = self.random.uniform(radius, side - radius, (1, 2))
            if not len(place) or np.linalg.norm(place - at, axis=1).min() > 2 * radius:
                place = np.vstack([place, at])
        self.place = place
        self.angle = self.random.uniform(-np.pi, np.pi, count)

    def step(self, interval: float, parts: int = 4) -> None:
        """Move for an interval in s."""
        time_step = interval / parts
        for _ in range(parts):
            swim = np.column_stack([np.cos(self.angle), np.sin(self.angle)])
            noise = self.random.normal(0, np.sqrt(2 * DIFFUSION * time_step), swim.shape)
            self.place = self.place + SPEED * time_step * swim + noise
            turn = np.sqrt(2 * time_step / PERSISTENCE)
            self.angle = self.angle + self.random.normal(0, turn, len(self.angle))
            out = (self.place < self.radius) | (self.place > self.side - self.radius)
            self.angle = np.where(out[:, 0], np.pi - self.angle, self.angle)
            self.angle = np.where(out[:, 1], -self.angle, self.angle)
            self.place = np.clip(self.place, self.radius, self.side - self.radius)
            self._separate()

    def _separate(self) -> None:
        for _ in range(4):
            pairs = cKDTree(self.place).query_pairs(2 * self.radius, output_type="ndarray")
            apart = self.place[pairs[:, 1]] - self.place[pairs[:, 0]]
            length = np.maximum(np.linalg.norm(apart, axis=1, keepdims=True), 1e-9)
            push = (self.radius - length / 2) * apart / length
            np.add.at(self.place, pairs[:, 0], -push)
            np.add.at(self.place, pairs[:, 1], push)


def timed(function: Callable[[], Any], clock: list[float], cpu: list[float]) -> Any:
    """Call a function; note its time by the clock and of the processor in ms."""
    start, worked = time.perf_counter(), time.thread_time()
    result = function()
    clock.append(1e3 * (time.perf_counter() - start))
    cpu.append(1e3 * (time.thread_time() - worked))
    return result


class Score:
    """Errors of detections against the truth."""

    def __init__(self) -> None:
        self.square: list[float] = []
        self.truth = self.extra = 0

    def add(self, found: Detections, places: Floats) -> None:
        """Compare with true places [N,2] px."""
        self.truth += len(places)
        if not len(found):
            return
        away, index = cKDTree(found.position).query(places)
        hit = away < 2
        self.square.extend(away[hit] ** 2)
        self.extra += len(found) - len(set(index[hit]))

    def row(self) -> dict[str, Any]:
        """Figures of it."""
        return {
            "RMS px": float(np.sqrt(np.mean(self.square))),
            "recall": len(self.square) / self.truth,
            "extra": self.extra,
        }


def one_row(what: str, count: int, clock: list[float], cpu: list[float]) -> dict[str, Any]:
    """Figures of times in ms, the first frame left out."""
    return {
        "what": what,
        "colloids": count,
        "median ms": float(np.median(clock[1:])),
        "p99 ms": float(np.percentile(clock[1:], 99)),
        "CPU ms": float(np.median(cpu[1:])),
        "p99 CPU ms": float(np.percentile(cpu[1:], 99)),
    }


def spots(count: int, frames: int, slow_every: int) -> list[dict[str, Any]]:
    """Rows of bright spots; trackpy sees every `slow_every`-th frame."""
    config = OpticsConfig()
    form, affine = ImageFormation(config), config.affine
    detect = SpotDetectorConfig().build()
    follow = Tracker(TrackerConfig(capacity=2 * count), affine)
    try:
        other = TrackpyDetectorConfig(minmass=5000.0).build()
    except MissingExtraError as error:
        print(error)
        other = None
    swimmers = Swimmers(count, 200.0, 1.2, seed=count)
    tracks = follow.start()
    clocks: dict[str, tuple[list[float], list[float]]] = {}
    ours, theirs = Score(), Score()
    for number in range(frames):
        swimmers.step(0.05)
        sample = Sample(swimmers.place - 100, np.tile([1.0, 0.0], (count, 1)), np.arange(count))
        frame = timed(lambda: form.frame(sample, number), *clocks.setdefault("render", ([], [])))  # noqa: B023
        places = affine.to_image(sample.position)
        found = timed(lambda: detect(frame), *clocks.setdefault("detect", ([], [])))  # noqa: B023
        ours.add(found, places)
        tracks = timed(
            lambda: follow.update(tracks, found, 0.05 * number),  # noqa: B023
            *clocks.setdefault("track", ([], [])),
        )
        if other is not None and number % slow_every == 0:
            found = timed(lambda: other(frame), *clocks.setdefault("trackpy", ([], [])))  # noqa: B023
            theirs.add(found, places)
    rows = [one_row(what, count, *times) for what, times in clocks.items()]
    total = [a + b for a, b in zip(clocks["detect"][0], clocks["track"][0], strict=True)]
    worked = [a + b for a, b in zip(clocks["detect"][1], clocks["track"][1], strict=True)]
    rows.insert(3, one_row("detect + track", count, total, worked) | ours.row())
    rows[3]["identities"] = tracks.next_identity
    if other is not None:
        rows[4] |= theirs.row()
        reference = rows[4]["median ms"]
        for row in rows[1:]:
            row["trackpy / this"] = reference / row["median ms"]
    return rows


def janus(count: int, frames: int, radius: float) -> list[dict[str, Any]]:
    """Rows of Janus discs."""
    config = OpticsConfig(
        look=JanusConfig(radius=radius),
        illumination=IlluminationConfig(background=2000.0, vignetting=0.2),
    )
    form, affine = ImageFormation(config), config.affine
    pixels = radius / config.view.pixel_size
    detect = JanusDetectorConfig(radius=pixels, separation=1.5 * pixels).build()
    swimmers = Swimmers(count, 198.0, radius, seed=count)
    clock, cpu, score, angles = [], [], Score(), []
    for number in range(frames):
        swimmers.step(0.05)
        director = np.column_stack([np.cos(swimmers.angle), np.sin(swimmers.angle)])
        sample = Sample(swimmers.place - 99, director, np.arange(count))
        frame = form.frame(sample, number)
        places = affine.to_image(sample.position)
        found = timed(lambda: detect(frame), clock, cpu)  # noqa: B023
        score.add(found, places)
        away, index = cKDTree(found.position).query(places)
        seen = affine.direction_to_sample(found.direction[index[away < 2]])
        true = director[away < 2]
        cross = seen[:, 0] * true[:, 1] - seen[:, 1] * true[:, 0]
        angles.extend(np.arctan2(cross, np.sum(seen * true, axis=1)))
    row = one_row(f"Janus, R = {pixels:g} px", count, clock, cpu) | score.row()
    return [row | {"angle °": float(np.degrees(np.sqrt(np.mean(np.square(angles)))))}]


def with_axes(
    what: str,
    look: RodConfig | DimerConfig,
    detector: RodDetectorConfig | DimerDetectorConfig,
    radius: float,
    frames: int,
    count: int = 200,
) -> dict[str, Any]:
    """A row of bodies with an axis; their middles are two radii apart."""
    config = OpticsConfig(look=look)
    form, affine, detect = ImageFormation(config), config.affine, detector.build()
    swimmers = Swimmers(count, 198.0, radius, seed=count)
    clock, cpu, score, angles = [], [], Score(), []
    for number in range(frames):
        swimmers.step(0.05)
        director = np.column_stack([np.cos(swimmers.angle), np.sin(swimmers.angle)])
        sample = Sample(swimmers.place - 99, director, np.arange(count))
        frame = form.frame(sample, number)
        places = affine.to_image(sample.position)
        found = timed(lambda: detect(frame), clock, cpu)  # noqa: B023
        score.add(found, places)
        away, index = cKDTree(found.position).query(places)
        seen = affine.direction_to_sample(found.direction[index[away < 2]])
        true = director[away < 2]
        cross = seen[:, 0] * true[:, 1] - seen[:, 1] * true[:, 0]
        angles.extend(np.arcsin(np.clip(cross, -1, 1)))
    row = one_row(what, count, clock, cpu) | score.row()
    return row | {"angle °": float(np.degrees(np.sqrt(np.mean(np.square(angles)))))}


def swaps(interval: float, missing: int, frames: int, count: int = 200) -> dict[str, Any]:
    """A row: identities at area fraction 0.1 while colloids vanish for some frames, at 1 %."""
    side = float(np.sqrt(count * np.pi * RADIUS**2 / 0.1))
    swimmers = Swimmers(count, side, RADIUS, seed=missing)
    random = np.random.default_rng(missing)
    follow = Tracker(
        TrackerConfig(capacity=2 * count, speed=SPEED, persistence=PERSISTENCE),
        Affine(((1.0, 0.0), (0.0, 1.0))),
    )
    tracks, gone, names = follow.start(), np.zeros(count, int), np.full(count, -1)
    swapped = renewed = sightings = 0
    clock, cpu = [], []
    for number in range(frames):
        swimmers.step(interval)
        begins = (gone == 0) & (random.random(count) < 0.01) & (number > 2)
        gone = np.where(begins, missing, np.maximum(gone - 1, 0))
        seen = random.permutation(np.flatnonzero(gone == 0))
        at = swimmers.place[seen] + random.normal(0, 0.03, (len(seen), 2))
        found = Detections.of_spots(at)
        tracks = timed(lambda: follow.update(tracks, found, interval * number), clock, cpu)  # noqa: B023
        slots = np.flatnonzero(tracks.seen)
        colloid, identity = seen[tracks.detection[slots]], tracks.identity[slots]
        changed = (names[colloid] >= 0) & (names[colloid] != identity)
        old = np.isin(identity, names)
        swapped += int(np.sum(changed & old))
        renewed += int(np.sum(changed & ~old))
        names[colloid] = identity
        sightings += len(slots)
    return {
        "interval s": interval,
        "frames missing": missing,
        "sightings": sightings,
        "swaps": swapped,
        "per 10⁴ sightings": 1e4 * swapped / sightings,
        "new identities": renewed,
        "CPU ms": float(np.median(cpu)),
    }


def main() -> None:
    """Measure and print the tables."""
    warnings.simplefilter("ignore", DeprecationWarning)
    options = parser(__doc__.splitlines()[0])
    options.add_argument("--part", choices=["frames", "swaps"], help="one of both")
    options.add_argument("--frames", type=int, default=300)
    options.add_argument("--slow-every", type=int, default=10, help="frames per one for trackpy")
    chosen = options.parse_args()
    if chosen.part != "swaps":
        rows = [r for n in (50, 200, 500) for r in spots(n, chosen.frames, chosen.slow_every)]
        rows += janus(50, chosen.frames, 1.2) + janus(200, chosen.frames, 1.2)
        rows += janus(200, chosen.frames, 2.4)
        rods, dimers = RodDetectorConfig(), DimerDetectorConfig()
        rows.append(with_axes("rods of 20 px", RodConfig(), rods, 2.8, chosen.frames))
        rows.append(with_axes("dimers of 10 px", DimerConfig(), dimers, 2.0, chosen.frames))
        report("Frames of 1024 x 1024 px", rows, chosen.json)
    if chosen.part != "frames":
        rows = [swaps(dt, gone, 2 * chosen.frames) for dt in (0.02, 0.05, 0.1) for gone in (5, 6)]
        path = chosen.json and chosen.json.with_suffix(".swaps.json")
        report("Identities of 200 colloids at area fraction 0.1", rows, path)


if __name__ == "__main__":
    main()
