"""Dark and flat frames: from files, or taken by the camera of a rig."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from swarmctl.bridge.devices.contract import Camera, Shot
from swarmctl.bridge.microscope.probing import Bench
from swarmctl.bridge.rig import Rig
from swarmctl.bridge.vision.frames import Flattening, median_background, saturated_share
from swarmctl.core.errors import CalibrationError, ConfigError
from swarmctl.lab.calibrate_config import CalibrateConfig

_SEEN_IN_THE_DARK = 3
"""Colloids in the mean of dark frames from which on it cannot have been dark."""
_SATURATED = 1e-3
"""Largest share of saturated pixels of a flat frame."""


def read_frames(config: CalibrateConfig, camera: Camera) -> Flattening:
    """Average dark and flat frames from files. Raises CalibrationError, FrameError."""
    if config.dark is None and config.flat is None:
        raise CalibrationError(
            "flattening: give dark or flat frames, or both: dark=FILE; or have the camera take "
            "them: take=dark, then take=flat."
        )
    dark = [] if config.dark is None else list(_frames(config.dark))
    flat = [] if config.flat is None else list(_frames(config.flat))
    flattening = Flattening.from_frames(dark, flat)
    shape = (camera.spec.height, camera.spec.width)
    if flattening.shape != shape:
        raise CalibrationError(
            f"flattening: the frames are {flattening.shape}, the camera's are {shape}."
        )
    return flattening


def _frames(file: Path) -> npt.NDArray[Any]:
    from swarmctl.core.extras import import_extra

    try:
        if file.suffix == ".npy":
            frames = np.load(file, allow_pickle=False)
        else:
            frames = import_extra("lab", "tifffile").imread(file)
    except (OSError, ValueError) as error:
        raise CalibrationError(f"{file}: holds no frames ({error}).") from None
    array = np.asarray(frames)
    return array[None] if array.ndim == 2 else array


def check_lamp(config: CalibrateConfig) -> None:
    """Raise ConfigError, with what to do, unless a person has said how the lamp is."""
    if config.take == "dark" and config.lamp not in ("covered", "safe"):
        raise ConfigError(
            "flattening: dark frames are taken without light. Switch the lamp off or cover it, and "
            "say so: lamp=covered. If nothing but outputs of this rig light the field, and their "
            "safe values are dark, say lamp=safe."
        )
    if config.take == "flat" and config.lamp != "on":
        raise ConfigError(
            "flattening: flat frames are taken of the lit field. Light it as in experiments, have "
            "an empty field in view, or one whose colloids all move, and say so: lamp=on."
        )


def take_frames(
    config: CalibrateConfig, rig: Rig, bench: Bench, old: Flattening | None
) -> tuple[Flattening, list[str]]:
    """Have the camera take dark or flat frames, all outputs being at their safe values.

    Dark frames are averaged, and the gain is 1 then. Of flat frames, one every `frame_every` s, the
    median of every pixel is taken, so that colloids that move do not show: no pixel may be covered
    by them in half of the frames. The dark is that of `old`, 0 without it. Returns also notes, in
    words. Raises CalibrationError if it was not dark, or if the camera saturates; FrameError if
    the lit field is not brighter than the dark somewhere.
    """
    detect = rig.detector.build()
    if config.take == "dark":
        dark = Flattening.from_frames(dark=[s.frame for s in _taken(config, bench)])
        seen = len(detect(dark.dark).position)
        if seen >= _SEEN_IN_THE_DARK:
            raise CalibrationError(
                f"flattening: {seen} colloids are seen in the dark frames, so there was light. "
                "Cover the lamp; if these are hot pixels, give frames from a file: dark=FILE."
            )
        return dark, ["dark frames were taken; take=flat goes on from them"]
    shots = _taken(config, bench)
    bits = rig.camera.build().spec.bits
    share = max(saturated_share(shot.frame, bits) for shot in shots)
    if share > _SATURATED:
        raise CalibrationError(
            f"flattening: {100 * share:.2g} % of the pixels are saturated; dim the lamp or expose "
            "for a shorter time."
        )
    field = median_background([shot.frame for shot in shots])
    notes = [f"the flat field is the median of {len(shots)} frames"]
    resting = len(detect(field).position)
    if resting:
        notes.append(
            f"{resting} places of the flat field look like colloids: whoever rested there is in it"
        )
    if old is None:
        notes.append("there were no dark frames: the dark was taken to be 0")
        return Flattening.from_frames(flat=[field]), notes
    return Flattening.from_frames([old.dark], [field]), notes


def _taken(config: CalibrateConfig, bench: Bench) -> list[Shot]:
    """As many frames as are asked for; flat ones `frame_every` s apart."""
    every = config.frame_every if config.take == "flat" else 0.0
    kept: list[Shot] = []
    while len(kept) < config.frames:
        (shot,) = bench.shots(1)
        if not kept or shot.exposed - kept[-1].exposed >= every - 1e-6:
            kept.append(shot)
    return kept
