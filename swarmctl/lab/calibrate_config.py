"""The keys of the verb `calibrate`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from swarmctl.core.config import key
from swarmctl.core.errors import ConfigError, require_positive

PARTS = ("view", "flattening", "field", "pattern", "speed", "turn", "delay")


@dataclass(frozen=True)
class CalibrateConfig:
    """Find out where light falls and what it does, and write the calibration file of a rig."""

    rig: Path = key(Path("rig.toml"), "the rig file", positional=True)
    operator: str = key("", "who stands beside the microscope; required")
    parts: tuple[str, ...] = key(
        ("view", "pattern", "speed", "turn", "delay"),
        "what is calibrated, in this order: " + ", ".join(PARTS) + "; the rest is kept",
    )
    validity: float = key(43200.0, "time after which the calibration expires", "s")
    radius: float = key(1.0, "of a colloid", "um")
    colloids: int = key(64, "most colloids that are tracked")
    view_from: Literal["given", "grid", "stage"] = key(
        "given", "given: by pixel_size; grid: a slide with a grid in view; stage: by moving it"
    )
    pixel_size: float | None = key(None, "side of a pixel in the sample, if it is given", "um")
    rotation: float = key(0.0, "from the sample's x axis to the image's, counterclockwise", "rad")
    mirror: bool = key(False, "whether left and right are exchanged in the image")
    grid_pitch: float = key(10.0, "pitch of the grid on the slide", "um")
    grid_sigma: float = key(3.0, "standard deviation of a mark of the grid in the image, px")
    stage: str = key("stage", "name of the output that is the stage, x and y in µm")
    stage_step: float = key(10.0, "by which the stage is moved to and fro", "um")
    stage_settle: float = key(0.3, "time after a move in which the stage comes to rest", "s")
    dark: Path | None = key(None, "frames without light, npy or tiff [K,H,W] or [H,W]")
    flat: Path | None = key(None, "frames of an empty, lit field, likewise")
    take: Literal["files", "dark", "flat"] = key(
        "files", "flattening: from the files above, or dark or flat frames by the camera"
    )
    lamp: Literal["unsaid", "covered", "on", "safe"] = key(
        "unsaid",
        "what a person says of the lamp when frames are taken. covered: no light reaches the "
        "camera; safe: nor does it while outputs are at their safe values; on: the field is lit",
    )
    frames: int = key(50, "dark or flat frames that are taken")
    frame_every: float = key(0.5, "time between flat frames, in which colloids have moved", "s")
    field_per_current: tuple[float, ...] = key(
        (),
        "field per current of the coils along x, y and, if there is one, z, in the order of the "
        "rig's steering; that of the calibration so far if left out",
        "mT/A",
    )
    field_by: Literal["alignment", "rolling"] = key(
        "alignment",
        "alignment: colloids turn to a steady field; rolling: they roll in a field that turns",
    )
    field_frequency: float = key(2.0, "at which a field turns", "Hz")
    field_strength: float | None = key(
        None, "field of a pulse; the strongest that probing allows if left out", "mT"
    )
    field_pulse: float = key(1.5, "length of a pulse of field, in which colloids align", "s")
    grid: int = key(5, "spots a side that are projected to find the pattern")
    spot_frames: int = key(4, "frames with and without each of these")
    pulses: int = key(24, "pulses of light on every colloid")
    pulse: float = key(1.0, "length of a pulse", "s")
    settle: float = key(0.3, "time at its beginning that is left out", "s")
    switches: int = key(20, "how often the light is switched to measure delays")
    switch: float = key(0.6, "time for which it is on, and off, for the delay of motion", "s")
    power: float | None = key(None, "highest power; that of the rig's limits if left out")
    apart: float | None = key(
        None,
        "colloids with another one nearer than this do not count; two radii and that of a spot if "
        "left out",
        "um",
    )
    offset: float = key(1.0, "largest offset of a spot from its colloid, for turning", "um")
    frame_timeout: float = key(1.0, "longest wait for a frame", "s")
    out: Path | None = key(None, "the calibration file; that of the rig if left out")
    seed: int = key(0, "of the powers and offsets that are drawn")

    def __post_init__(self) -> None:
        require_positive(
            "calibrate",
            validity=self.validity,
            radius=self.radius,
            grid_pitch=self.grid_pitch,
            grid_sigma=self.grid_sigma,
            stage_step=self.stage_step,
            stage_settle=self.stage_settle,
            pulse=self.pulse,
            pixel_size=self.pixel_size,
            power=self.power,
            offset=self.offset,
            frame_timeout=self.frame_timeout,
            apart=self.apart,
            frame_every=self.frame_every,
            switch=self.switch,
            field_pulse=self.field_pulse,
            field_frequency=self.field_frequency,
            field_strength=self.field_strength,
        )
        unknown = [part for part in self.parts if part not in PARTS]
        if unknown or not self.parts:
            raise ConfigError(f"calibrate: parts {self.parts}; allowed: {', '.join(PARTS)}.")
        if not 0 <= self.settle < self.pulse / 2:
            raise ConfigError("calibrate: settle must be less than half of a pulse.")
        if self.frames < 3 or (self.take != "files" and (self.dark or self.flat)):
            raise ConfigError(
                "calibrate: frames is at least 3, and dark and flat are files: leave them out with "
                "take=dark or take=flat."
            )
        if self.grid < 3 or self.spot_frames < 3 or self.pulses < 6 or self.switches < 3:
            raise ConfigError(
                "calibrate: at least grid=3, spot_frames=3, pulses=6 and switches=3 are needed."
            )
