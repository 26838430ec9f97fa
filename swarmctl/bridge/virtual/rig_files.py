"""Rig files and Micro-Manager configurations of a virtual laboratory."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from swarmctl.bridge.virtual.coils import VirtualCoilsConfig
from swarmctl.bridge.virtual.sample_config import (
    LIGHT_UNIT,
    CoilsConfig,
    MotorsConfig,
    SampleConfig,
)
from swarmctl.core.config import dump_toml
from swarmctl.core.errors import ConfigError
from swarmctl.optics.optics_config import DimerConfig, JanusConfig, RodConfig

ADDRESS = "address.json"
CAMERA_CFG, LIGHT_CFG = "camera.cfg", "light.cfg"
RIG, MICROMANAGER_RIG = "rig.toml", "rig-micromanager.toml"

OWN_TIMEOUT = 0.5
"""s without a pattern after which the light turns dark by itself."""
_MODULE = "swarmctl.bridge.virtual.micromanager"


def write_rig_files(folder: Path, config: SampleConfig) -> None:
    """Write two rig files, with direct drivers and through Micro-Manager, and its two cfg files.

    Raises ConfigError for a folder whose path a cfg file cannot hold.
    """
    address = (folder / ADDRESS).resolve()
    for name, camera, light in (
        (RIG, _camera(config), _light(config)),
        (MICROMANAGER_RIG, _micromanager_camera(config), _micromanager_light(config)),
    ):
        tables = _rig(config, camera, light)
        (folder / name).write_text(dump_toml(tables), encoding="utf-8")
    for name, label, device in (
        (CAMERA_CFG, "Camera", "VirtualLabCamera"),
        (LIGHT_CFG, "SLM", "VirtualLabLight"),
    ):
        (folder / name).write_text(cfg_text(label, device, address), encoding="utf-8")


def cfg_text(label: str, device: str, address: Path) -> str:
    """Return a Micro-Manager configuration with one device of a virtual laboratory.

    Raises ConfigError if the path of its address has a comma or a line break.
    """
    if set(str(address)) & set(",\n\r"):
        raise ConfigError(f"{address}: a cfg file holds no commas in paths; choose another folder.")
    return (
        f"# The {label} of a virtual laboratory, for pymmcore-plus. A real one needs other lines.\n"
        "Property,Core,Initialize,0\n"
        f"#py pyDevice,{label},{_MODULE},{device}\n"
        f"#py Property,{label},Address,{address}\n"
        "Property,Core,Initialize,1\n"
        f"#py Property,Core,{label},{label}\n"
    )


def _rig(config: SampleConfig, camera: dict[str, Any], light: dict[str, Any]) -> dict[str, Any]:
    outputs = {"light": light | {"limits": _limits(config)}}
    if config.coils is not None:
        outputs["coils"] = _coils(config.coils)
    if config.motors is not None:
        outputs["stage"] = _stage(config.motors)
    return {
        "name": "virtual laboratory",
        "calibration": "calibration.toml",
        "camera": camera,
        "outputs": outputs,
        "interlock": {"driver": "virtual-interlock", "address": ADDRESS},
        "detector": _detector(config),
        "tracker": {"capacity": _capacity(config)},
        "supervisor": _supervisor(),
        "steering": _steering(config),
    }


def _steering(config: SampleConfig) -> dict[str, Any]:
    """By light if it drives anybody, else by coils if there are any."""
    coils = config.coils
    if coils is None or any(species.actuator for species in config.world.species):
        return {"output": "light", "turning_speed": "1 um/s"}
    numbers = range(1, coils.count + 1)
    channels = {
        use: [f"{name}_{k}" for k in numbers]
        for use, name in (("bias", "steady"), ("amplitude", "amplitude"), ("phase", "phase"))
    }
    return {"output": "coils", **channels, "frequency": "frequency"}


def _supervisor() -> dict[str, Any]:
    """Criteria with room for a machine that simulates the sample and runs the loop besides."""
    return {
        "expiry": "0.3 s",
        "silence": "0.3 s",
        "frame_latency": "0.1 s",
        "frame_periods": 4.0,
        "interlock_age": "0.5 s",
    }


def _camera(config: SampleConfig) -> dict[str, Any]:
    camera, timing = config.optics.camera, config.timing
    return {
        "driver": "virtual-camera",
        "address": ADDRESS,
        "width": camera.width,
        "height": camera.height,
        "bits": camera.bits,
        "exposure": f"{timing.exposure} s",
        "period": f"{timing.period} s",
    }


def _micromanager_camera(config: SampleConfig) -> dict[str, Any]:
    keys = _camera(config) | {"driver": "micromanager-camera", "cfg": CAMERA_CFG}
    del keys["address"]
    return keys | {"device": "Camera"}


def _light(config: SampleConfig) -> dict[str, Any]:
    projector = config.projector
    return {
        "driver": "virtual-light",
        "address": ADDRESS,
        "width": projector.width,
        "height": projector.height,
        "full": f"{projector.full} {LIGHT_UNIT}",
        "own_timeout": f"{OWN_TIMEOUT} s",
    }


def _micromanager_light(config: SampleConfig) -> dict[str, Any]:
    keys = _light(config) | {"driver": "micromanager-slm", "cfg": LIGHT_CFG, "device": "SLM"}
    del keys["address"]
    return keys | {"full": config.projector.full, "unit": LIGHT_UNIT, "latency": "0.02 s"}


def _coils(coils: CoilsConfig) -> dict[str, Any]:
    described = VirtualCoilsConfig(coils.count, coils.current_max, coils.frequency_max)
    channels, window = described.channels, 10.0
    return {
        "driver": "virtual-coils",
        "address": ADDRESS,
        "coils": coils.count,
        "current_max": f"{coils.current_max} A",
        "frequency_max": f"{coils.frequency_max} Hz",
        "own_timeout": f"{OWN_TIMEOUT} s",
        "limits": {
            "low": [c.low for c in channels],
            "high": [c.high for c in channels],
            "slew": [20 * c.high for c in channels],
            "total": sum(c.high for c in channels),
            "window": f"{window} s",
            "duty_max": 1.0,
            "square": [window * c.high**2 for c in channels],
        },
    }


def _stage(motors: MotorsConfig) -> dict[str, Any]:
    travel, window = motors.travel, 10.0
    return {
        "driver": "virtual-stage",
        "address": ADDRESS,
        "travel": f"{travel} um",
        "unguarded": "a stage that stays where it is does no harm",
        "limits": {
            "low": [-travel, -travel],
            "high": [travel, travel],
            "slew": [motors.speed, motors.speed],
            "total": 2 * travel,
            "window": f"{window} s",
            "duty_max": 1.0,
            "square": [window * travel**2] * 2,
        },
    }


def _limits(config: SampleConfig) -> dict[str, Any]:
    projector = config.projector
    radius = max(s.largest_radius for s in config.world.species) / projector.view.pixel_size
    window = 10.0
    return {
        "power_max": projector.full,
        "power_total": 40 * projector.full,
        "slew": 20 * projector.full,
        "spots_max": 64,
        "radius_max": round(4 * radius, 1),
        "window": f"{window} s",
        "duty_max": 1.0,
        "dose_colloid": projector.full * window,
        "dose_area": projector.full * window,
        "cell": 16,
    }


def _detector(config: SampleConfig) -> dict[str, Any]:
    """Keys of a detector that leaves out dust and noise, which are fainter than most colloids."""
    optics, look = config.optics, config.optics.look
    pixel, gain = optics.view.pixel_size, optics.camera.gain
    if isinstance(look, JanusConfig):
        radius = round(look.radius / pixel, 2)
        contrast = (abs(look.body - 1) + abs(look.cap - 1)) / 2
        lowest = round(0.15 * contrast * optics.illumination.background * gain, 1)
        return {"name": "janus", "radius": radius, "separation": 1.6 * radius, "lowest": lowest}
    sigma = round(look.sigma / pixel, 2)
    lowest = round(0.3 * look.brightness * gain, 1)
    if isinstance(look, RodConfig):
        length = round(look.length / pixel, 2)
        return {"name": "rods", "sigma": sigma, "length": length, "lowest": lowest}
    if isinstance(look, DimerConfig):
        distance = round(look.distance / pixel, 2)
        return {
            "name": "dimers",
            "sigma": sigma,
            "distance": distance,
            "lowest": round(lowest * look.ratio, 1),
            "ratio": round(0.6 * look.ratio, 2),
            "polar": look.ratio < 1,
        }
    return {"name": "spots", "sigma": sigma, "separation": 3 * sigma, "lowest": lowest}


def _capacity(config: SampleConfig) -> int:
    """Slots for the colloids in view, with room for half as many again."""
    camera, pixel = config.optics.camera, config.optics.view.pixel_size
    share = camera.width * camera.height * pixel**2 / math.prod(config.world.box.size)
    count = config.world.capacity
    return min(count, math.ceil(1.5 * share * count) + 4)
