"""The coarse search that detectors share: peaks of a smoothed image of half the resolution."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from swarmctl.bridge.vision.detections import Detections, Floats, Frame, Image
from swarmctl.bridge.vision.frames import check_frame

_TO_SIGMA = 1.4826  # standard deviation of Gaussian noise per median deviation
_TILE = 64  # half pixels
_FEWEST = 4  # tiles of a side, for the curvature of the illumination
_SAMPLES = 20  # per tile and axis
_CLEARED = 1.05  # radii
_SURROUND = 0.5  # weight of the wide mean, against the narrow one
_LEAST_PEAK = 0.3  # of the height of discs, for the difference of both
_ABOUT = 4.0  # radii
_LEFT = 0.8  # of the height of discs, for what no disc explains
_SAMPLED_ROWS = 64  # for level and noise, at least


class Search:
    """Memory for one shape of frames, so that none is requested in the loop."""

    def __init__(self, shape: tuple[int, int]) -> None:
        """Reserve it for frames [H,W]."""
        from swarmctl.bridge.vision import compiled_images, compiled_ranks

        self._loops, self._ranks = compiled_images, compiled_ranks
        half = (shape[0] // 2, shape[1] // 2)
        self.shape = shape
        self.half: Image = np.empty(half, np.float32)
        self.fine_half: Image = np.empty(half, np.float32)
        self._between: Image = np.empty(half, np.float32)
        self._rest: Image = np.empty(half, np.float32)
        self._wide: Image = np.empty(half, np.float32)
        self._which = np.empty(half, np.int16)
        self._ground = _Ground(half)
        self._values = np.empty(half[0] * half[1], np.float32)
        self._every = max(1, min(half) // _SAMPLED_ROWS)
        self._found: Floats = np.empty((half[0] * half[1] // 4, 2))

    def load(self, frame: Frame | Image, sigma: float) -> None:
        """Take a frame: `fine_half` becomes its half resolution.

        `half` is that, smoothed by a Gaussian of `sigma` half pixels, less the ground.
        """
        self.halved(frame)
        self._loops.smooth(self.fine_half, _taps(sigma), self._between, self.half)
        self._ground.measure(self.half)
        self._ground.subtract(self.half)

    def level_fine(self) -> None:
        """Subtract from `fine_half`, too, the ground that `load` has found."""
        self._ground.subtract(self.fine_half)

    def halved(self, frame: Frame | Image) -> Image:
        """Take a frame and return its half resolution, `fine_half`."""
        self._loops.halve(np.ascontiguousarray(frame), self.fine_half)
        return self.fine_half

    def smooth(self, sigma: float) -> None:
        """Smooth `half` by a Gaussian."""
        self._loops.smooth(self.half, _taps(sigma), self._between, self.half)

    def silhouettes(self, least: float, gap: int) -> float:
        """Make `half` about even where it is above `least`, and close gaps up to 2·gap wide.

        Returns how high it is there; inf if it is nowhere.
        """
        height = float(self._ranks.quantile_above(self.half, least, 0.25, self._values))
        np.minimum(self.half, np.float32(height), out=self.half)
        self._loops.close_gaps(self.half, gap, self._between)
        return height

    def level_and_noise(self) -> tuple[float, float]:
        """Median of `half` and the robust standard deviation about it."""
        level, away = self._ranks.median_and_deviation(self.half, self._every, self._values)
        return level, _TO_SIGMA * away

    def peaks(self, threshold: float, radius: float) -> Floats:
        """Positions [M,2] px in the frame of the local maxima of `half` within `radius` px."""
        count = self._loops.find_peaks(self.half, threshold, radius / 2, self._found)
        return from_half(self._found[:count])

    def line_peaks(
        self, line: npt.NDArray[np.int64], flank: int, least: float, radius: float
    ) -> tuple[Floats, Floats, npt.NDArray[np.int16]]:
        """Peaks of the highest means of `half` along lines, see `compiled_bodies.line_means`.

        Returns positions [M,2] px, the means [M] there, and which of the lines [M] have them.
        """
        from swarmctl.bridge.vision import compiled_bodies

        compiled_bodies.line_means(self.half, least, flank, line, self._rest, self._which)
        count = self._loops.find_peaks(self._rest, least, radius / 2, self._found)
        place = from_half(self._found[:count])
        i, j = np.rint(self._found[:count]).astype(int).T
        return place, self._rest[j, i].astype(np.float64), self._which[j, i]

    def peaks_beside(
        self,
        known: Floats,
        radius: float,
        level: float,
        height: float,
        near: Floats | None = None,
    ) -> Floats:
        """Positions [M,2] px of what may be discs of a radius in px where none is known yet.

        Discs at known [K,2] px are set to the level. Peaks are those of the difference of a narrow
        and a wide mean, which is low between discs that touch; a disc alone has 0.6 of the
        height over the level there. Only what lies about `near` [M,2] px is looked at, if given.
        """
        rest, between, wide, corner = self._unexplained(known, radius, level, near)
        self._loops.smooth(rest, _taps(radius / 4), between, rest)
        self._loops.smooth(rest, _taps(radius / 3), between, wide)
        wide *= np.float32(_SURROUND)
        rest -= wide
        least = _LEAST_PEAK * (height - level)
        count = self._loops.find_peaks(rest, least, radius / 2, self._found)
        return from_half(self._found[:count] + corner)

    def places_left(
        self,
        known: Floats,
        radius: float,
        level: float,
        height: float,
        near: Floats | None = None,
    ) -> Floats:
        """Positions [M,2] px, a radius in px apart, where it is high as far as 2/3 of a radius.

        Arguments are those of `peaks_beside`. In the midst of a pile there may be no peak.
        """
        rest, _, _, corner = self._unexplained(known, radius, level, near)
        least, reach = _LEFT * (height - level), max(1, round(radius / 3))
        count = self._loops.find_high(rest, least, reach, self._found)
        place = from_half(self._found[:count] + corner)
        apart = np.empty(count, np.bool_)
        self._loops.mark_unique(place, radius, apart)
        return place[apart]

    def _unexplained(
        self, known: Floats, radius: float, level: float, near: Floats | None
    ) -> tuple[Image, Image, Image, npt.NDArray[np.int64]]:
        """Return the height over the level, 0 where discs at known [K,2] px are.

        Of the whole image, or of the part [h,w] that reaches `_ABOUT` radii beyond `near` [M,2] px.
        Returns also two images of its shape, and its corner (x, y) in half pixels.
        """
        size = np.array(self.half.shape[::-1])
        low, high = np.zeros(2, np.int64), size
        if near is not None:
            place, reach = to_half(near), _ABOUT * radius / 2
            low = np.clip(np.floor(place.min(axis=0) - reach), 0, size - 1).astype(np.int64)
            high = np.clip(np.ceil(place.max(axis=0) + reach), low + 1, size).astype(np.int64)
        width, height = (high - low).tolist()
        rest, between, wide = (
            image.reshape(-1)[: width * height].reshape(height, width)
            for image in (self._rest, self._between, self._wide)
        )
        np.subtract(self.half[low[1] : high[1], low[0] : high[0]], np.float32(level), out=rest)
        place, cleared = to_half(known) - low, _CLEARED * radius / 2
        inside = (place > -cleared).all(axis=1) & (place < high - low + cleared).all(axis=1)
        self._loops.clear_discs(rest, place[inside], cleared, 0.0)
        return rest, between, wide, low


def from_half(position: Floats) -> Floats:
    """Turn half pixels into pixels: the middle of half pixel k is at 2k + 0.5."""
    return 2 * position + 0.5


def to_half(position: Floats) -> Floats:
    """Turn pixels into half pixels."""
    return (position - 0.5) / 2


def without_duplicates(found: Detections, separation: float, shape: tuple[int, int]) -> Detections:
    """Sort by quality, best first; keep one of those closer than `separation` px.

    What is not finite or not in the frame [H,W] is left out.
    """
    from swarmctl.bridge.vision import compiled_images

    inside = (found.position > -0.5).all(axis=1) & np.isfinite(found.quality)
    inside &= (found.position < np.array(shape[::-1]) - 0.5).all(axis=1)
    found = found.take(np.flatnonzero(inside)[np.argsort(-found.quality[inside], kind="stable")])
    unique = np.empty(len(found), np.bool_)
    compiled_images.mark_unique(found.position, separation, unique)
    return found.take(unique)


class SearchMemory:
    """The search for the shape that frames have; a new shape makes a new one."""

    def __init__(self) -> None:
        """Start without any. Loads the machine code that every frame needs."""
        from swarmctl.bridge.vision import compiled_images, compiled_ranks  # noqa: F401

        self._search: Search | None = None

    def of(self, frame: Frame | Image) -> Search:
        """Return the search for this frame. Raises FrameError."""
        check_frame(frame)
        return self.of_shape(frame.shape)

    def of_shape(self, shape: tuple[int, int]) -> Search:
        """Return the search for frames [H,W]."""
        if self._search is None or self._search.shape != shape:
            self._search = Search(shape)
        return self._search


def _taps(sigma: float) -> Image:
    reach = max(1, int(np.ceil(3 * sigma)))
    weight = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * sigma**2))
    return np.asarray(weight / weight.sum(), np.float32)


class _Ground:
    """Medians of tiles, less a quadratic surface through them, and that surface.

    They are the ground while colloids cover less than half of each tile. The surface follows the
    curvature of the illumination, which interpolation between tiles would cut.
    """

    def __init__(self, shape: tuple[int, int]) -> None:
        """Choose tiles and samples for images [h,w]."""
        from swarmctl.bridge.vision import compiled_images, compiled_ranks

        self._loops, self._ranks = compiled_images, compiled_ranks
        count = [max(min(_FEWEST, n // 16), round(n / _TILE), 1) for n in shape]
        self._rows, self._columns = (
            np.linspace(0, n - 1, m * _SAMPLES).astype(np.int64).reshape(m, _SAMPLES)
            for n, m in zip(shape, count, strict=True)
        )
        self._tiles: Image = np.zeros(count, np.float32)
        self._bow: Floats = np.zeros(6)
        self._design: Floats = np.empty((0, 0))
        self._inverse: Floats = np.empty((0, 0))
        if min(count) >= 3:
            self._design = _surfaces(shape, count)
            self._inverse = np.asarray(np.linalg.pinv(self._design), np.float64)

    def measure(self, image: Image) -> None:
        """Find the ground of an image [h,w]."""
        self._ranks.tile_medians(image, self._rows, self._columns, self._tiles)
        if self._design.size:
            self._bow[:] = self._inverse @ self._tiles.ravel()
            self._tiles -= (self._design @ self._bow).reshape(self._tiles.shape)

    def subtract(self, image: Image) -> None:
        """Subtract it from an image [h,w]."""
        self._loops.subtract_coarse(image, self._tiles, self._bow)


def _surfaces(shape: tuple[int, int], count: list[int]) -> Floats:
    """Means [m·n,6] of 1, i, j, i², ij, j² over m x n equal tiles of an image [h,w]."""
    j, i = (
        place.ravel()
        for place in np.meshgrid(
            *((np.arange(m) + 0.5) * n / m - 0.5 for n, m in zip(shape, count, strict=True)),
            indexing="ij",
        )
    )
    tall, wide = (n / m for n, m in zip(shape, count, strict=True))
    # Means over tiles: that of i² is the middle's plus wide²/12.
    square_i, square_j = i * i + wide**2 / 12, j * j + tall**2 / 12
    return np.column_stack([np.ones(len(i)), i, j, square_i, i * j, square_j])
