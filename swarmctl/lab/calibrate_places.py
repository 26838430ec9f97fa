"""Where points lie: estimators of the maps between sample, image and pattern. Pure functions."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

from swarmctl.core.errors import CalibrationError, ConfigError
from swarmctl.optics.affine import Affine, fit_affine

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

_TRIPLES = 2000
_ROUNDS = 5
_AGREE = 0.1  # of a shift, by which one may be off
_SMOOTH = 1.5  # px, standard deviation
_FINE = 0.3  # px: no spot that is so near is left out


@dataclass(frozen=True)
class RobustFit:
    """A map with its root mean square residual (px) and the pairs [K] that it rests on."""

    map: Affine
    residual: float
    used: Bools


def fit_pattern(pattern: Floats, image: Floats, tolerance: float = 3.0) -> RobustFit:
    """Fit the map from a pattern [K,2] px to an image [K,2] px, some pairs of which are wrong.

    The map through three pairs on which most pairs agree within `tolerance` px (Fischler and
    Bolles, Comm. ACM 24 (1981), 381), then least squares on those that agree as well as most do.
    Raises CalibrationError unless at least 4 pairs and half of all agree.
    """
    count = len(pattern)
    if count < 4:
        raise CalibrationError(
            f"pattern: {count} spots were seen and at least 4 are needed; use more power or a "
            "larger spot, and see that the light reaches the camera."
        )
    triples = np.array(list(combinations(range(count), 3)))
    if len(triples) > _TRIPLES:
        triples = np.random.default_rng(0).permutation(triples)[:_TRIPLES]
    best = np.zeros(count, np.bool_)
    for triple in triples:
        try:
            trial, _ = fit_affine(pattern[triple], image[triple])
        except ConfigError:  # on a line, or the same point twice
            continue
        near = np.linalg.norm(trial.to_image(pattern) - image, axis=1) <= tolerance
        if near.sum() > best.sum():
            best = near
    if best.sum() < max(4, count / 2):
        raise CalibrationError(
            f"pattern: only {best.sum()} of {count} spots lie where one map would put them; are "
            "there reflections, or is the sample moving?"
        )
    for _ in range(_ROUNDS):
        found, residual = fit_affine(pattern[best], image[best])
        away = np.linalg.norm(found.to_image(pattern) - image, axis=1)
        usual = 3 * 1.4826 * float(np.median(away[best]))
        near = away <= min(tolerance, max(usual, _FINE))
        if (near == best).all() or near.sum() < max(4, count / 2):
            break
        best = near
    return RobustFit(found, residual, best)


def fit_grid(
    points: Floats, pitch: float, mirror: bool = False, tolerance: float = 0.2
) -> RobustFit:
    """Fit the map to the image of a square grid of marks with a known pitch (µm).

    points [M,2] px are the marks that were found, in any order; some may be missing. The sample's x
    axis is that lattice direction which is nearest to the image's x, and its origin is the mark
    nearest to the middle of all. `mirror`: left and right are exchanged in the image. Marks further
    than `tolerance` pitches from the lattice are left out. Raises CalibrationError.
    """
    if len(points) < 9:
        raise CalibrationError(f"view: {len(points)} marks of the grid were found, 9 are needed.")
    middle = points[np.argmin(np.linalg.norm(points - np.median(points, axis=0), axis=1))]
    away = points[:, None] - points
    distance = np.linalg.norm(away, axis=-1)
    np.fill_diagonal(distance, np.inf)
    step = float(np.median(distance.min(axis=1)))
    near = (distance < 1.3 * step) & (distance > 0.7 * step)
    turn = np.angle(np.mean(np.exp(4j * np.arctan2(away[near][:, 1], away[near][:, 0])))) / 4
    size = float(np.median(distance[near]))
    basis = size * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    # Marks far from the middle are numbered by a lattice that those nearer to it have refined.
    reach, origin = 2.5 * size, middle
    while True:
        inside = np.linalg.norm(points - middle, axis=1) <= reach
        place = (points - origin) @ np.linalg.inv(basis).T
        index = np.rint(place)
        good = inside & (np.abs(place - index).max(axis=1) <= tolerance)
        if good.sum() < 4:
            raise CalibrationError("view: the marks that were found form no square grid.")
        design = np.column_stack([index[good], np.ones(good.sum())])
        solved, *_ = np.linalg.lstsq(design, points[good], rcond=None)
        basis, origin = solved[:2].T, solved[2]
        if inside.all():
            break
        reach *= 1.5
    if good.sum() < 0.7 * len(points):
        raise CalibrationError(
            f"view: only {good.sum()} of {len(points)} marks lie on one square grid of the pitch."
        )
    across = -1.0 if mirror else 1.0
    sample = pitch * index * [across, -1.0]
    found, residual = fit_affine(sample[good], points[good])
    return RobustFit(found, residual, good)


def fit_stage(moves: Floats, shifts: Floats) -> tuple[Floats, float]:
    """Fit the matrix [2,2] px/µm by which image features shift [K,2] px as the sample moves.

    moves [K,2] µm are those of the sample. A shift that was mistaken hardly counts: least absolute
    distances by reweighting come first (Schlossmacher, J. Am. Stat. Assoc. 68 (1973), 857), then
    least squares of those that agree. Returns the matrix with the root mean square residual of
    these in px. Raises CalibrationError unless the moves span the plane and 3 of 4 agree.
    """
    if len(moves) < 2 or np.linalg.matrix_rank(moves) < 2:
        raise CalibrationError("view: the stage has to move in two directions.")
    away = np.ones(len(moves))
    for _ in range(30):
        weight = 1 / np.sqrt(np.maximum(away, _FINE))[:, None]
        solved, *_ = np.linalg.lstsq(weight * moves, weight * shifts, rcond=None)
        away = np.linalg.norm(shifts - moves @ solved, axis=1)
    lengths = np.linalg.norm(shifts, axis=1)
    agree = away <= max(_AGREE * float(np.median(lengths)), _FINE)
    if agree.sum() < 0.75 * len(moves) or np.linalg.matrix_rank(moves[agree]) < 2:
        raise CalibrationError(
            f"view: the image followed the stage in {agree.sum()} of {len(moves)} moves only; is "
            "there enough in view, and does it stay in view during a step? Change stage_step."
        )
    solved, *_ = np.linalg.lstsq(moves[agree], shifts[agree], rcond=None)
    rest = shifts[agree] - moves[agree] @ solved
    return np.asarray(solved.T), float(np.sqrt(np.mean(np.sum(rest**2, axis=1))))


def image_shift(before: Floats, after: Floats) -> Floats:
    """Return by how much [2] px (x, y) the second image [H,W] is shifted against the first.

    The peak of the phase correlation (Kuglin and Hines 1975), smoothed as far as colloids move by
    themselves meanwhile, to a fraction of a pixel. It is taken again of what both images show, so
    that what came into view and what left it does not count. Shifts are below half the image.
    """
    shift = _peak(before, after)
    for _ in range(2):
        x, y = (int(step) for step in np.rint(shift))
        height, width = before.shape
        first = before[max(-y, 0) : height - max(y, 0), max(-x, 0) : width - max(x, 0)]
        second = after[max(y, 0) : height + min(y, 0), max(x, 0) : width + min(x, 0)]
        shift = np.array([x, y]) + _peak(first, second)
    return shift


def _peak(before: Floats, after: Floats) -> Floats:
    """Where the smoothed phase correlation of two images is highest, [2] px (x, y)."""
    height, width = before.shape
    window = np.outer(np.hanning(height), np.hanning(width))
    first, second = (np.fft.rfft2((image - image.mean()) * window) for image in (before, after))
    product = np.conj(first) * second
    square = np.fft.fftfreq(height)[:, None] ** 2 + np.fft.rfftfreq(width) ** 2
    product *= np.exp(-2 * (np.pi * _SMOOTH) ** 2 * square)
    weight = np.abs(first) * np.abs(second)
    peak = np.fft.irfft2(product / (weight + 1e-9 * weight.max()), before.shape)
    row, column = (int(k) for k in np.unravel_index(int(np.argmax(peak)), peak.shape))
    # A smooth peak is a Gaussian: a parabola of its logarithm.
    y = row + _vertex(peak[[row - 1, row, (row + 1) % height], column])
    x = column + _vertex(peak[row, [column - 1, column, (column + 1) % width]])
    return np.array([(x + width / 2) % width - width / 2, (y + height / 2) % height - height / 2])


def _vertex(values: Floats) -> float:
    """Where the parabola through the logarithms at -1, 0 and 1 has its top."""
    low, middle, high = np.log(np.maximum(values, 1e-3 * values[1]))
    bend = low - 2 * middle + high
    return float(0.5 * (low - high) / bend) if bend < 0 else 0.0


def fit_polarity(asked: Floats, seen: Floats) -> tuple[Floats, float]:
    """Find the rotation or mirroring [2,2] that turns asked directions [M,2] into those seen.

    The orthogonal matrix that is nearest in the least-squares sense (Schönemann 1966); directions
    that are seen are weighted by their length. Returns it with the root mean square angle (rad)
    that is left. Raises CalibrationError unless the directions span the plane and agree within 0.5
    rad.
    """
    length = np.linalg.norm(asked, axis=1, keepdims=True)
    unit = asked / np.where(length > 0, length, 1.0)
    if np.linalg.matrix_rank(unit) < 2:
        raise CalibrationError("field: ask for directions that span the plane.")
    left, _, right = np.linalg.svd(seen.T @ unit)
    turn = np.asarray(left @ right, np.float64)
    expected = unit @ turn.T
    cross = expected[:, 0] * seen[:, 1] - expected[:, 1] * seen[:, 0]
    angle = np.arctan2(cross, (expected * seen).sum(axis=1))
    error = float(np.sqrt(np.mean(angle**2)))
    if not error <= 0.5:
        raise CalibrationError(
            f"field: colloids do not go where the field would take them ({error:.2f} rad off on "
            "average); is the field strong enough, and are the coils connected?"
        )
    return turn, error
