"""The parts of a microscope, made from its rig file and its calibration."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from swarmctl.bridge.calibration import Calibration, read_flattening
from swarmctl.bridge.devices.contract import Camera
from swarmctl.bridge.gatekeeper import Gatekeeper
from swarmctl.bridge.microscope.config import MicroscopeConfig
from swarmctl.bridge.microscope.eyes import Eyes, FrameRecord
from swarmctl.bridge.microscope.steering import Steering
from swarmctl.bridge.microscope.steering_field import FieldSteering
from swarmctl.bridge.microscope.steering_light import LightSteering
from swarmctl.bridge.rig import Rig
from swarmctl.bridge.supervisor.limits import PatternLimits
from swarmctl.bridge.vision.tracker import Tracker
from swarmctl.core.errors import CalibrationError, ConfigError
from swarmctl.core.registry import load_target
from swarmctl.core.spec import EngineSpec
from swarmctl.optics.affine import Affine

SUPERVISOR = "swarmctl.bridge.supervisor.client:SupervisorClient"


@dataclass(frozen=True)
class Parts:
    """What an engine uses instead of what its rig file names.

    Attributes:
        rig: in place of the file's; the supervisor reads the file all the same.
        camera: not yet connected.
        gatekeeper: not yet open.
        calibration: in place of the rig's file.
        observer: is told of every frame; what it raises is a fault.
        clock: s; the clock of all processes.
        stopped: is asked between frames whether a person wants everything to stop at once.
    """

    rig: Rig | None = None
    camera: Camera | None = None
    gatekeeper: Gatekeeper | None = None
    calibration: Calibration | None = None
    observer: Callable[[FrameRecord], None] | None = None
    clock: Callable[[], float] = time.monotonic
    stopped: Callable[[], bool] | None = None


def make_gatekeeper(rig_path: Path) -> Gatekeeper:
    """Return the client of a supervisor for a rig file, not yet open."""
    gatekeeper: Gatekeeper = load_target(SUPERVISOR)(rig_path)
    return gatekeeper


def box_view(
    calibration: Calibration, rig: Rig, spec: EngineSpec, origin: tuple[float, float] | None
) -> Affine:
    """Return the map from the box of a world to the image.

    The box begins at `origin` µm of the sample; without one its middle is that of the image. Raises
    ConfigError if the box is not in view at all.
    """
    view, camera = calibration.view.map, rig.camera.build().spec
    middle = np.array([(camera.width - 1) / 2, (camera.height - 1) / 2])
    half = np.asarray(spec.box) / 2
    start = view.to_sample(middle) - half if origin is None else np.asarray(origin, float)
    x, y = view.to_image(start)
    shifted = replace(view, offset=(float(x), float(y)))
    corners = shifted.to_sample(
        [[0, 0], [camera.width, 0], [0, camera.height], [camera.width, camera.height]]
    )
    if (corners.max(axis=0) < 0).any() or (corners.min(axis=0) > spec.box).any():
        raise ConfigError(
            f"engine 'microscope': the box of {spec.box} µm with its origin at {origin} µm of the "
            "sample is not in the field of view."
        )
    return shifted


def make_eyes(
    camera: Camera,
    rig: Rig,
    calibration: Calibration,
    spec: EngineSpec,
    view: Affine,
    config: MicroscopeConfig,
    clock: Callable[[], float],
) -> Eyes:
    """Return what sees; machine code is ready then. Raises CalibrationError, MissingExtraError."""
    flattening = read_flattening(calibration, rig.calibration.parent)
    shape = (camera.spec.height, camera.spec.width)
    if flattening is not None and flattening.shape != shape:
        raise CalibrationError(
            f"the calibration's dark and flat frames are {flattening.shape}, the camera's are "
            f"{shape}; calibrate the part 'flattening'."
        )
    tracker = Tracker(replace(rig.tracker, capacity=spec.capacity), view)
    return Eyes(
        camera, rig.detector.build(), tracker, flattening,
        config.heartbeat, config.frame_timeout, clock,
    )  # fmt: skip


def make_steering(rig: Rig, calibration: Calibration, spec: EngineSpec, view: Affine) -> Steering:
    """Return what steers by the rig's output. Raises CalibrationError."""
    entry = rig.output(rig.steering.output)
    output = entry.driver.build().spec
    if isinstance(entry.limits, PatternLimits):
        return LightSteering(
            rig.steering, calibration, spec.radius[0], output, entry.limits, view,
            spec.capabilities,
        )  # fmt: skip
    if calibration.field is None:
        raise CalibrationError(
            f"the calibration does not say what field {entry.name!r} makes; give [field]."
        )
    return FieldSteering(rig.steering, calibration.field, output)
