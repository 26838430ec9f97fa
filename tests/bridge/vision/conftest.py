"""Rendered frames of 256 x 256 px whose truth is known, and how well detections meet it."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy.spatial import cKDTree

from swarmctl.optics.affine import ViewConfig
from swarmctl.optics.image_formation import ImageFormation, Sample
from swarmctl.optics.optics_config import CameraConfig, OpticsConfig

PIXEL = 0.2
SIDE = 256


def optics(**changes):
    values = {
        "view": ViewConfig(pixel_size=PIXEL, rotation=0.3),
        "camera": CameraConfig(width=SIDE, height=SIDE, bits=12),
    }
    return OpticsConfig(**values | changes)


def scatter(count, gap, margin, random):
    """Positions [count,2] px, none closer than `gap` to another and `margin` to an edge."""
    places = np.empty((0, 2))
    while len(places) < count:
        place = random.uniform(margin, SIDE - 1 - margin, 2)
        if not len(places) or np.min(np.linalg.norm(places - place, axis=1)) > gap:
            places = np.vstack([places, place])
    return places


def render(config, places, random, number=0, towards=None):
    """A frame of colloids at places [N,2] px, and their directions [N,2] in the image.

    These are random, or about `towards` [N,2] px of the image.
    """
    angle = random.uniform(-np.pi, np.pi, len(places))
    if towards is not None:
        ahead = config.affine.direction_to_sample(towards)
        angle = np.arctan2(ahead[:, 1], ahead[:, 0]) + 0.5 * random.standard_normal(len(places))
    director = np.column_stack([np.cos(angle), np.sin(angle)])
    sample = Sample(config.affine.to_sample(places), director, np.arange(len(places)))
    frame = ImageFormation(config).frame(sample, number)
    return frame, config.affine.direction_to_image(director)


def compare(found, places):
    """Errors [K] px of what was found within 2 px, its indices [K], those of the truth [K]."""
    if not len(found):
        return np.empty(0), np.empty(0, int), np.empty(0, int)
    away, index = cKDTree(found.position).query(places)
    hit = away < 2
    return away[hit], index[hit], np.flatnonzero(hit)


def score(detector, config, count, gap, margin, frames=10, seed=0):
    """RMS error in px, recall, number of detections that are none, angle errors, their expected."""
    random = np.random.default_rng(seed)
    errors, angles, expected, extra = [], [], [], 0
    for number in range(frames):
        places = scatter(count, gap, margin, random)
        frame, direction = render(config, places, random, number)
        found = detector(frame)
        error, index, truth = compare(found, places)
        extra += len(found) - len(set(index))
        errors.extend(error)
        seen, true = found.direction[index], direction[truth]
        cross = seen[:, 0] * true[:, 1] - seen[:, 1] * true[:, 0]
        angles.extend(np.arctan2(cross, np.sum(seen * true, axis=1)))
        expected.extend(found.direction_error[index])
    rms = np.sqrt(np.mean(np.square(errors)))
    return rms, len(errors) / (count * frames), extra, np.array(angles), np.array(expected)


@pytest.fixture(scope="session")
def truth():
    """The functions above: tests are no packages and cannot import one another."""
    return SimpleNamespace(
        optics=optics, scatter=scatter, render=render, compare=compare, score=score
    )
