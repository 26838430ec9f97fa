"""Makes the picture of docs/guide/tracking.md: rendered frames, and what was found in them.

python examples/tracking_picture.py [FILE]
"""

import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from swarmctl.bridge.vision.dimers import DimerDetectorConfig
from swarmctl.bridge.vision.janus import JanusDetectorConfig
from swarmctl.bridge.vision.rods import RodDetectorConfig
from swarmctl.bridge.vision.spots import SpotDetectorConfig
from swarmctl.optics.affine import ViewConfig
from swarmctl.optics.image_formation import ImageFormation, Sample
from swarmctl.optics.optics_config import (
    CameraConfig,
    DimerConfig,
    FocusConfig,
    IlluminationConfig,
    JanusConfig,
    OpticsConfig,
    RodConfig,
    SpotConfig,
)

TARGET = Path(__file__).resolve().parents[1] / "docs" / "images" / "tracking.png"
WIDTH, HEIGHT, PIXEL = 360, 280, 0.2
RIM = 7.0
"""Radius of the circles, in px."""


def swarm(count, gap, seed):
    """Colloids that do not overlap, in the field of view of the camera."""
    random = np.random.default_rng(seed)
    half = PIXEL * np.array([WIDTH, HEIGHT]) / 2 - gap / 2
    place = np.empty((0, 2))
    while len(place) < count:
        at = random.uniform(-half, half, (1, 2))
        if not len(place) or np.linalg.norm(place - at, axis=1).min() > gap:
            place = np.vstack([place, at])
    angle = random.uniform(-np.pi, np.pi, count)
    return Sample(place, np.column_stack([np.cos(angle), np.sin(angle)]), np.arange(count))


def main(target):
    """Draw all kinds of frames."""
    camera = CameraConfig(width=WIDTH, height=HEIGHT)
    common = {"view": ViewConfig(pixel_size=PIXEL), "camera": camera}
    fluorescence = OpticsConfig(
        look=SpotConfig(spread=0.3),
        focus=FocusConfig(spread=0.5),
        illumination=IlluminationConfig(background=60.0, gradient=0.8, vignetting=0.4),
        **common,
    )
    bright_field = OpticsConfig(
        look=JanusConfig(radius=1.6),
        illumination=IlluminationConfig(background=1500.0, vignetting=0.3),
        **common,
    )
    dark = {"illumination": fluorescence.illumination, **common}
    rods = OpticsConfig(look=RodConfig(length=2.8, sigma=0.4), **dark)
    dimers = OpticsConfig(look=DimerConfig(distance=2.0, sigma=0.55, ratio=0.6), **dark)
    cases = (
        ("bright spots", fluorescence, SpotDetectorConfig(sigma=3.2)),
        ("Janus discs", bright_field, JanusDetectorConfig(radius=8.0, separation=12.0)),
        ("rods", rods, RodDetectorConfig(length=14.0, sigma=2.0)),
        ("dimers", dimers, DimerDetectorConfig(sigma=2.75, polar=True)),
    )
    figure = Figure(figsize=(9, 7.6), layout="constrained")
    panels = figure.subplots(2, 2).ravel()
    for axes, (title, config, detector) in zip(panels, cases, strict=True):
        frame = ImageFormation(config).frame(swarm(60, 3.3, seed=2), number=0)
        found = detector.build()(frame)
        axes.imshow(frame, cmap="gray")
        x, y = found.position.T
        axes.scatter(x, y, s=130, facecolors="none", edgecolors="tab:orange", linewidths=1.0)
        seen = np.isfinite(found.direction_error)
        for axial in (False, True):
            shown = seen & (found.axial == axial)
            along = found.direction[shown].T
            # From the rim outwards, so that what was found stays in view.
            for side in (1, -1) if axial else (1,):
                reach = side * np.array([[RIM], [RIM + 6.0]])
                axes.plot(
                    x[shown] + reach * along[0],
                    y[shown] + reach * along[1],
                    color="tab:orange",
                    lw=1.6,
                )
        axes.set(xlim=(-0.5, WIDTH - 0.5), ylim=(HEIGHT - 0.5, -0.5))
        axes.set(title=f"{title}: {len(found)} of 60 found", xlabel="x, px", ylabel="y, px")
    figure.savefig(target, dpi=110)
    print(target)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else TARGET)
