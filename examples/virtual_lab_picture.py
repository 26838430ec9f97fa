"""Makes the picture of docs/guide/virtual-lab.md: a frame of the virtual laboratory and its light.

A loop lights the colloids in the left half of the image, each with a spot that is put to the left
of its nose, so that they turn. It uses the map from the sample to the pattern as the laboratory
has it, which on a microscope comes from a calibration.

python examples/virtual_lab_picture.py [FILE]
"""

import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from swarmctl.bridge.rig import read_rig
from swarmctl.bridge.virtual.lab import virtual_lab

TARGET = Path(__file__).resolve().parents[1] / "docs" / "images" / "virtual-lab.png"
FRAMES, RADIUS = 40, 2.4


def pattern_of(places, projector, shape):
    """Gaussian spots of full light, 1.5 radii wide, at places [K,2] µm."""
    row, column = np.indices(shape)
    here = projector.to_sample(np.stack([column, row], axis=-1))
    light = np.zeros(shape)
    for place in places:
        square = np.sum((here - place) ** 2, axis=-1)
        light = np.maximum(light, np.exp(-2 * square / (1.5 * RADIUS) ** 2))
    return np.rint(255 * light).astype(np.uint8)


def main(target):
    """Run the loop for two seconds and draw its last frame."""
    with virtual_lab(pacing="lockstep") as lab:
        rig = read_rig(lab.rig)
        camera, light = rig.camera.build(), rig.outputs[0].driver.build()
        detect, view = rig.detector.build(), lab.config.optics.affine
        projector = lab.config.projector.affine
        camera.connect()
        light.connect()
        camera.start()
        for _ in range(FRAMES):
            shot = camera.newest(10.0)
            found = detect(shot.frame)
            place = view.to_sample(found.position)
            ahead = view.direction_to_sample(found.direction)
            aside = np.column_stack([-ahead[:, 1], ahead[:, 0]])
            left = found.position[:, 0] < camera.spec.width / 2
            pattern = pattern_of((place + 0.8 * aside)[left], projector, light.spec.shape)
            light.show(pattern)
        shot = camera.newest(10.0)
        camera.disconnect()
        light.disconnect()
    row, column = np.indices(shot.frame.shape)
    seen = np.rint(projector.to_image(view.to_sample(np.stack([column, row], axis=-1)))).astype(int)
    height, width = pattern.shape
    inside = ((seen >= 0) & (seen < [width, height])).all(axis=-1)
    x, y = seen[..., 0].clip(0, width - 1), seen[..., 1].clip(0, height - 1)
    figure = Figure(figsize=(9, 4.7), layout="constrained")
    for axes, title in zip(
        figure.subplots(1, 2), ("what the camera gives", "with the light pattern"), strict=True
    ):
        axes.imshow(shot.frame, cmap="gray")
        axes.set(title=title, xlabel="x, px", ylabel="y, px")
    axes.contour(
        np.where(inside, pattern[y, x], 0),
        levels=[35, 128, 220],
        colors="tab:orange",
        linewidths=0.9,
    )
    figure.savefig(target, dpi=110)
    print(target)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else TARGET)
