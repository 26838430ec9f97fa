"""Detection and tracking: time per frame beside trackpy, errors, recall, and swapped identities.

    python benchmarks/tracking.py [--part frames|swaps] [--frames N] [--json FILE] [--page FILE]

Frames of 1024 x 1024 px are rendered with known truth. Every frame is given to our detector and
tracker and to trackpy in turn, so that the ratio is one of the same run. CPU time is that of the
calling thread: on a machine that others use, it says more than the time by the clock.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from common import machine, parser, report
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

BEGIN, END = "<!-- begin: benchmarks/tracking.py -->", "<!-- end -->"
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

    def head_for_the_middle(self, spread: float = 0.5) -> None:
        """Point to the middle of the box, each with its own error of `spread` rad."""
        away = self.side / 2 - self.place
        error = self.random.normal(0, spread, len(away))
        self.angle = np.arctan2(away[:, 1], away[:, 0]) + error

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


@dataclass(frozen=True)
class Case:
    """Colloids of a look, what finds them, and the radius in µm at which they push each other.

    In a pile all have swum to the middle, and push on.
    """

    what: str
    count: int
    config: OpticsConfig
    detector: SpotDetectorConfig | JanusDetectorConfig | RodDetectorConfig | DimerDetectorConfig
    radius: float
    pile: bool = False


def cases() -> list[Case]:
    """All that are measured."""
    rows = [Case("spots", n, OpticsConfig(), SpotDetectorConfig(), 1.2) for n in (50, 200, 500)]
    light = IlluminationConfig(background=2000.0, vignetting=0.2)
    for count, radius in ((50, 1.2), (200, 1.2), (200, 2.4)):
        config = OpticsConfig(look=JanusConfig(radius=radius), illumination=light)
        size = radius / config.view.pixel_size
        detector = JanusDetectorConfig(radius=size, separation=1.5 * size)
        rows.append(Case(f"Janus, R = {size:g} px", count, config, detector, radius))
        if count == 200:
            for few in (20, 50, 100):
                what = f"Janus, R = {size:g} px, in a pile"
                rows.append(Case(what, few, config, detector, radius, pile=True))
    rods, dimers = OpticsConfig(look=RodConfig()), OpticsConfig(look=DimerConfig())
    rows.append(Case("rods of 20 px", 200, rods, RodDetectorConfig(), 2.8))
    return [*rows, Case("dimers of 10 px", 200, dimers, DimerDetectorConfig(), 2.0)]


def angles(found: Detections, places: Floats, director: Floats, view: Affine) -> Floats:
    """Errors [K] rad of the directions of what was found, or of axes; none where none is seen."""
    away, index = cKDTree(found.position).query(places)
    index, true = index[away < 2], director[away < 2]
    seen = view.direction_to_sample(found.direction[index])
    cross = seen[:, 0] * true[:, 1] - seen[:, 1] * true[:, 0]
    error = np.arctan2(cross, np.sum(seen * true, axis=1))
    axis = np.arcsin(np.clip(cross, -1, 1))
    shown = np.isfinite(found.direction_error[index])
    return np.where(found.axial[index], axis, error)[shown]


def measure(case: Case, frames: int, slow_every: int) -> dict[str, Any]:
    """A row: times of detection and tracking together, and errors.

    Where there are spots, trackpy sees every `slow_every`-th frame.
    """
    form, affine = ImageFormation(case.config), case.config.affine
    detect = case.detector.build()
    follow = Tracker(TrackerConfig(capacity=2 * case.count), affine)
    swimmers = Swimmers(case.count, 198.0, case.radius, seed=case.count)
    other = None
    if isinstance(case.detector, SpotDetectorConfig):
        try:
            other = TrackpyDetectorConfig(minmass=5000.0).build()
        except MissingExtraError as error:
            print(error)
    for _ in range(600 if case.pile else 0):
        swimmers.head_for_the_middle()
        swimmers.step(0.1)
    tracks, ours, theirs = follow.start(), Score(), Score()
    clock: dict[str, list[float]] = {n: [] for n in ("render", "detect", "track", "trackpy")}
    cpu: dict[str, list[float]] = {name: [] for name in clock}
    turned = []

    def time_of(name: str, function: Callable[[], Any]) -> Any:
        return timed(function, clock[name], cpu[name])

    for number in range(frames):
        if case.pile:
            swimmers.head_for_the_middle()
        swimmers.step(0.05)
        director = np.column_stack([np.cos(swimmers.angle), np.sin(swimmers.angle)])
        sample = Sample(swimmers.place - 99, director, np.arange(case.count))
        places = affine.to_image(sample.position)
        frame = time_of("render", lambda: form.frame(sample, number))  # noqa: B023
        found = time_of("detect", lambda: detect(frame))  # noqa: B023
        tracks = time_of("track", lambda: follow.update(tracks, found, 0.05 * number))  # noqa: B023
        ours.add(found, places)
        turned.append(angles(found, places, director, affine))
        if other is not None and number == 0:
            other(frame)  # the first call compiles
        if other is not None and number % slow_every == 0:
            theirs.add(time_of("trackpy", lambda: other(frame)), places)  # noqa: B023
    whole, worked = (np.add(t["detect"], t["track"])[1:] for t in (clock, cpu))
    turn = np.concatenate(turned)
    row = {"what": case.what, "colloids": case.count}
    row |= {"median ms": np.median(whole), "p99 ms": np.percentile(whole, 99)}
    row |= {"CPU ms": np.median(worked), "p99 CPU ms": np.percentile(worked, 99)}
    row |= {f"{name} ms": np.median(clock[name][1:]) for name in ("detect", "track", "render")}
    row |= ours.row()
    if len(turn):
        row["angle °"] = np.degrees(np.sqrt(np.mean(turn**2)))
    row["identities"] = tracks.next_identity
    if other is not None:
        slow = np.median(clock["trackpy"])
        row |= {"trackpy ms": slow, "trackpy / this": slow / np.median(whole)}
        row |= {f"trackpy {name}": value for name, value in theirs.row().items()}
    return {name: getattr(value, "item", lambda v=value: v)() for name, value in row.items()}


def page_table(rows: list[dict[str, Any]]) -> str:
    """The table of the guide, as Markdown."""
    lines = [
        "| 1024 × 1024 px | colloids | median | p99 | trackpy / this | RMS | recall | false |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in rows:
        ratio = f"{row['trackpy / this']:.0f}" if "trackpy / this" in row else ""
        turn = f", {row['angle °']:.2f}°" if "angle °" in row else ""
        lines.append(
            f"| {row['what']} | {row['colloids']} | {row['median ms']:.1f} ms "
            f"| {row['p99 ms']:.1f} ms | {ratio} | {row['RMS px']:.2f} px{turn} "
            f"| {row['recall']:.4f} | {row['extra']} |"
        )
    return "\n".join(lines)


def write_page(page: Path, rows: list[dict[str, Any]], frames: int) -> None:
    """Put the table, and what it was measured on, between the marks of a page."""
    about = machine()
    words = f"{frames} frames per row, {about['cores']} cores of an {about['cpu']} (processor)."
    before, begin, rest = page.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise SystemExit(f"{page} lacks the lines {BEGIN} and {END}.")
    page.write_text(f"{before}{begin}\n\n{words}\n\n{page_table(rows)}\n\n{end}{after}")


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
    options.add_argument("--page", type=Path, help="also put the table of frames into this page")
    chosen = options.parse_args()
    if chosen.part != "swaps":
        rows = [measure(case, chosen.frames, chosen.slow_every) for case in cases()]
        report("Frames of 1024 x 1024 px", rows, chosen.json)
        if chosen.page:
            write_page(chosen.page, rows, chosen.frames)
    if chosen.part != "frames":
        rows = [swaps(dt, gone, 2 * chosen.frames) for dt in (0.02, 0.05, 0.1) for gone in (5, 6)]
        path = chosen.json and chosen.json.with_name(chosen.json.stem + "-swaps.json")
        report("Identities of 200 colloids at area fraction 0.1", rows, path)


if __name__ == "__main__":
    main()
