"""The calibration file: where points lie, what light and fields do, how late everything is.

A TOML file that a person can read. It belongs to one rig, says who made it and when, and expires.
Points are mapped twice: from the sample to the image (`view`), and from an output's pattern to the
image (`pattern`), so that a pattern finds its place without knowing the size of a pixel.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
import time
import tomllib
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import numpy as np

from swarmctl.bridge.rig import Rig
from swarmctl.bridge.vision.frames import Flattening
from swarmctl.core.config import build, dump_toml, key, to_dict
from swarmctl.core.errors import CalibrationError, SwarmctlError, require_finite, require_positive
from swarmctl.optics.affine import Affine


@dataclass(frozen=True)
class ViewMap:
    """Where a point of the sample (µm, y up) lies in the image (px, y down)."""

    map: Affine = key(Affine(), "from the sample to the image, px/um")
    source: Literal["given", "grid", "stage"] = key("given", "what it was found from")
    residual: float = key(0.0, "root mean square distance of the points, px of the image")


@dataclass(frozen=True)
class PatternMap:
    """Where a point of an output's pattern (px) lies in the image (px)."""

    output: str = key("light", "name of the output")
    map: Affine = key(Affine(), "from the pattern to the image, px/px")
    residual: float = key(0.0, "root mean square distance of the spots, px of the image")
    spots: int = key(0, "spots that were used")
    left_out: int = key(0, "spots that were seen where they cannot be")


@dataclass(frozen=True)
class SpeedLaw:
    """Speed by the power P of a spot in the middle of a colloid: slope (P - threshold).

    It is at least 0 and saturates at speed_max: sharply, min(v, v_max), or smoothly,
    v_max (1 - exp(-v/v_max)). Errors are standard errors; 0 where the value was given.
    """

    slope: float = key(1.0, "speed per power above the threshold, um/s per unit of the output")
    threshold: float = key(0.0, "power below which nothing swims")
    speed_max: float = key(5.0, "where it saturates", "um/s")
    saturation: Literal["sharp", "smooth"] = key("sharp", "how it saturates")
    slope_error: float = key(0.0, "standard error of the slope")
    threshold_error: float = key(0.0, "standard error of the threshold")
    speed_max_error: float | None = key(
        None, "standard error of speed_max; left out where no saturation was seen", "um/s"
    )

    def __post_init__(self) -> None:
        require_positive("speed", slope=self.slope, speed_max=self.speed_max)
        if not (math.isfinite(self.threshold) and self.threshold >= 0):
            raise CalibrationError(f"speed: the threshold is at least 0, got {self.threshold}.")


@dataclass(frozen=True)
class TurnLaw:
    """Turn rate steering v/a² (n̂ × d), where d is the offset of the received light's centre."""

    steering: float = key(0.0, "gain; positive turns towards the light, negative away from it")
    radius: float = key(1.0, "radius a of a colloid", "um")
    steering_error: float = key(0.0, "standard error of the gain")
    turn_rate_max: float = key(2 * math.pi, "fastest turning that was seen or is wanted", "rad/s")

    def __post_init__(self) -> None:
        require_finite("turn", values=(self.steering, self.steering_error))
        require_positive("turn", radius=self.radius, turn_rate_max=self.turn_rate_max)


@dataclass(frozen=True)
class FieldMap:
    """Field of K coils: B = matrix · current, in the frame of the sample."""

    output: str = key("coils", "name of the output")
    matrix: tuple[tuple[float, ...], ...] = key(
        (), "rows x, y and, if there are such coils, z; one column per coil; mT/A"
    )
    polarity_error: float | None = key(
        None, "angle between asked and seen directions; left out if it was not looked at", "rad"
    )

    def __post_init__(self) -> None:
        rows = [len(row) for row in self.matrix]
        if len(rows) not in (2, 3) or len(set(rows)) != 1 or not rows[0]:
            raise CalibrationError(
                "field: the matrix has 2 or 3 rows (x, y, z) and one column per coil, got rows of "
                f"{rows} numbers."
            )
        require_finite("field", matrix=tuple(x for row in self.matrix for x in row))
        if np.linalg.matrix_rank(np.asarray(self.matrix)) < 2:
            raise CalibrationError("field: the coils make a field along one line only.")


@dataclass(frozen=True)
class Figure:
    """A time that was measured often."""

    median: float = key(0.0, "median", "s")
    p99: float = key(0.0, "99th percentile", "s")
    count: int = key(0, "how often it was measured")
    interval: tuple[float, float] | None = key(
        None, "95 % interval of the median; left out if it was not estimated", "s"
    )

    def __post_init__(self) -> None:
        require_finite("delay", median=self.median, p99=self.p99, interval=self.interval or ())


@dataclass(frozen=True)
class Delays:
    """How late everything is, one after the other; left out where it was not measured."""

    frame: Figure | None = key(None, "middle of the exposure -> frame here")
    command: Figure | None = key(None, "frame here -> order sent")
    light: Figure | None = key(None, "order sent -> output says it is done, or light seen")
    motion: Figure | None = key(None, "light -> colloids respond")
    light_from: Literal["receipts", "camera"] = key("receipts", "what tells that there is light")
    rise_time: float | None = key(None, "time constant with which they respond", "s")

    @property
    def to_light(self) -> float:
        """Median of order → light, s; 0 if it was not measured."""
        return self.light.median if self.light else 0.0


@dataclass(frozen=True)
class Calibration:
    """What is known of a rig; see the parts."""

    made: str = key("1970-01-01T00:00:00+00:00", "when, ISO 8601 with its time zone")
    expires: str = key("1970-01-01T00:00:00+00:00", "until when it counts, likewise")
    operator: str = key("", "who made it")
    rig: str = key("", "digest of the rig's camera and outputs")
    view: ViewMap = key(ViewMap(), "from the sample to the image")
    pattern: PatternMap | None = key(None, "from the light's pattern to the image")
    speed: SpeedLaw | None = key(None, "speed by power")
    turn: TurnLaw | None = key(None, "turning by the offset of the light")
    field: FieldMap | None = key(None, "field by current")
    delay: Delays = key(Delays(), "how late everything is")
    flattening: str | None = key(None, "npz file with dark and gain, beside this file")

    def __post_init__(self) -> None:
        for name in ("made", "expires"):
            _seconds(getattr(self, name), name)

    @property
    def made_at(self) -> float:
        """Seconds since the epoch."""
        return _seconds(self.made, "made")

    @property
    def expires_at(self) -> float:
        """Seconds since the epoch."""
        return _seconds(self.expires, "expires")

    @property
    def digest(self) -> str:
        """Of the text of its file."""
        return hashlib.sha256(dump_toml(to_dict(self)).encode()).hexdigest()[:16]


def timestamp(seconds: float) -> str:
    """Turn seconds since the epoch into ISO 8601 in UTC.

    >>> timestamp(0.0)
    '1970-01-01T00:00:00+00:00'
    """
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def _seconds(text: str, name: str) -> float:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise CalibrationError(f"{name}: {text!r} is no time in ISO 8601.") from None
    if moment.tzinfo is None:
        raise CalibrationError(f"{name}: {text!r} lacks its time zone, such as +00:00.")
    return moment.timestamp()


def read_calibration(path: str | Path) -> Calibration:
    """Read a calibration file. Raises CalibrationError."""
    path = Path(path)
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CalibrationError(
            f"{path}: there is no calibration yet; make one for this rig."
        ) from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise CalibrationError(f"{path}: cannot be read as TOML ({error}).") from None
    try:
        return build(Calibration, tables)
    except SwarmctlError as error:
        raise CalibrationError(f"{path}: {error}") from None


def write_calibration(calibration: Calibration, path: str | Path) -> None:
    """Write a calibration file, whole or not at all. Raises CalibrationError."""
    path = Path(path)
    try:
        half = path.with_suffix(".tmp")
        half.write_text(dump_toml(to_dict(calibration)), encoding="utf-8")
        half.replace(path)
    except OSError as error:
        raise CalibrationError(f"{path}: cannot be written ({error}).") from None


def calibration_faults(calibration: Calibration, rig: Rig, now: float | None = None) -> list[str]:
    """Say why a calibration may not be used with a rig; [] if it may. `now` is s of the epoch."""
    now = time.time() if now is None else now
    faults = []
    if calibration.rig != rig.hardware_digest:
        faults.append(
            f"the calibration belongs to another rig ({calibration.rig or 'unnamed'}; this one is "
            f"{rig.hardware_digest}): camera or outputs have changed; calibrate anew"
        )
    if now > calibration.expires_at:
        faults.append(f"the calibration has expired on {calibration.expires}; calibrate anew")
    if calibration.made_at > now + 60:
        faults.append(f"the calibration was made in the future, on {calibration.made}")
    return faults


def save_flattening(flattening: Flattening, path: str | Path) -> None:
    """Write dark and gain of frames as npz. Raises CalibrationError."""
    try:
        np.savez_compressed(path, dark=flattening.dark, gain=flattening.gain)
    except OSError as error:
        raise CalibrationError(f"{path}: cannot be written ({error}).") from None


def read_flattening(calibration: Calibration, folder: str | Path) -> Flattening | None:
    """Return the flattening of a calibration whose file lies in `folder`; None if it has none.

    Raises CalibrationError.
    """
    if calibration.flattening is None:
        return None
    path = Path(folder) / calibration.flattening
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return Flattening(arrays["dark"], arrays["gain"])
    except (OSError, KeyError, ValueError, SwarmctlError) as error:
        raise CalibrationError(f"{path}: holds no dark and gain of frames ({error}).") from None


def renewed(calibration: Calibration, now: float, validity: float, operator: str) -> Calibration:
    """Return it as made by `operator` at `now` s of the epoch, for `validity` s."""
    return dataclasses.replace(
        calibration,
        made=timestamp(now),
        expires=timestamp(now + validity),
        operator=operator,
    )
