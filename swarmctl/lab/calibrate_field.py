"""Which way the fields of coils point in the image: polarity and rotation of their axes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from swarmctl.bridge.calibration import FieldMap
from swarmctl.bridge.devices.contract import OutputSpec
from swarmctl.bridge.microscope.probing import Bench, Probe
from swarmctl.bridge.orders import Values
from swarmctl.bridge.rig import OutputEntry, Rig
from swarmctl.bridge.supervisor.gates import probing_limits
from swarmctl.bridge.supervisor.limits import ValueLimits
from swarmctl.core.errors import CalibrationError
from swarmctl.lab.calibrate_config import CalibrateConfig
from swarmctl.lab.calibrate_places import fit_polarity
from swarmctl.optics.affine import Affine

Floats = npt.NDArray[np.float64]

_DIRECTIONS = 8
_ROUNDED = 0.999
"""Share of what probing allows that is asked for, so that nothing is cut by rounding."""
_LOOKS = 3
"""Frames at the end of a pulse in which directors are looked at."""
_LEAST = 0.05
"""Share of the asked field below which a pulse does not count as given."""


@dataclass(frozen=True)
class Polarity:
    """Fields that were asked for [M,2] mT, by the map so far, and mean directors [M,2] then."""

    asked: Floats
    seen: Floats


def measure_field(
    config: CalibrateConfig, rig: Rig, bench: Bench, view: Affine, old: FieldMap | None
) -> tuple[FieldMap, Polarity, list[str]]:
    """Give pulses of steady fields in eight directions, and see where colloids turn to.

    Colloids with a moment along the director align with the field. The field per current is that of
    the calibration so far or of `field_per_current`; how strong it is cannot be seen. The rotation
    or mirroring that turns the directions asked into those seen is put before it, so that axes that
    are swapped, turned or reversed come right. Coils along z keep their sign. Half of the pulses go
    round one way, half the other way, so that being late cancels. Returns the map, what was seen,
    and notes, in words. Raises CalibrationError.
    """
    entry, spec = _coils(rig)
    names = [channel.name for channel in spec.channels]
    coils = [names.index(name) for name in rig.steering.bias or names]
    nominal = _nominal(config, entry.name, len(coils), old)
    inverse = np.linalg.pinv(nominal[:2])
    turn = 2 * math.pi * np.arange(_DIRECTIONS) / _DIRECTIONS
    angle = np.concatenate([turn, turn[::-1]])
    unit = np.column_stack([np.cos(angle), np.sin(angle)])
    currents = unit @ inverse.T
    strength = _strength(config, rig, entry, spec, coils, currents)
    safe = np.array([channel.safe for channel in spec.channels])
    period = rig.camera.build().spec.period
    frames = max(round(config.field_pulse / period), _LOOKS + 1)
    asked, seen = [], []
    for current in strength * currents:
        values = safe.copy()
        values[coils] += current
        probe = bench.hold({entry.name: Values(values)}, frames)
        bench.rest("a pulse of field has been given")
        asked.append(nominal[:2] @ (_sent(probe, entry.name) - safe)[coils])
        if not np.linalg.norm(asked[-1]) > _LEAST * strength:
            raise CalibrationError(
                f"field: next to nothing of a pulse reached {entry.name!r}; look at its limits and "
                "its slew."
            )
        seen.append(_mean_director(rig, view, probe))
    polarity = Polarity(np.array(asked), np.array(seen))
    turned, error = fit_polarity(polarity.asked, polarity.seen)
    found = nominal.copy()
    found[:2] = turned @ nominal[:2]
    matrix = tuple(tuple(float(x) for x in row) for row in found)
    return FieldMap(entry.name, matrix, error), polarity, [_words(turned, strength, polarity)]


def _coils(rig: Rig) -> tuple[OutputEntry, OutputSpec]:
    entry = rig.output(rig.steering.output)
    if not isinstance(entry.limits, ValueLimits):
        raise CalibrationError(
            f"field: rig {rig.name!r} steers by {entry.name!r}, which is light; give a rig file "
            "whose [steering] names the coils' output, and their channels as bias."
        )
    return entry, entry.driver.build().spec


def _nominal(config: CalibrateConfig, output: str, count: int, old: FieldMap | None) -> Floats:
    """Field per current before anything was seen, [2 or 3, count] mT/A."""
    if config.field_per_current:
        if len(config.field_per_current) != count or count not in (2, 3):
            raise CalibrationError(
                f"field: field_per_current has {len(config.field_per_current)} numbers, the rig "
                f"steers by {count} coils; one each for two or three coils, along x, y and z."
            )
        return np.diag(np.asarray(config.field_per_current, np.float64))
    if old is None or old.output != output or len(old.matrix[0]) != count:
        raise CalibrationError(
            "field: how strong the field of a coil is cannot be seen in the image. Measure it with "
            "a Hall probe and give field_per_current, mT/A per coil, or write [field] into the "
            "calibration file."
        )
    return np.asarray(old.matrix, np.float64)


def _strength(
    config: CalibrateConfig,
    rig: Rig,
    entry: OutputEntry,
    spec: OutputSpec,
    coils: list[int],
    currents: Floats,
) -> float:
    """Field in mT of all pulses: what was asked for, or the highest that probing allows in all."""
    limits = probing_limits(entry.limits, spec, rig.supervisor.probing.scale)
    assert isinstance(limits, ValueLimits)  # as those of the rig are
    safe = np.array([channel.safe for channel in spec.channels])[coils]
    up, down = np.asarray(limits.high)[coils] - safe, safe - np.asarray(limits.low)[coils]
    room = np.where(currents > 0, up, down)
    used = np.abs(currents)
    most = min(
        float((room[used > 1e-9] / used[used > 1e-9]).min()),
        float((limits.total / used.sum(axis=1)).min()),
    )
    if not most > 0:
        raise CalibrationError(f"field: the limits of {entry.name!r} leave no current to probe.")
    if config.field_strength is None:
        return _ROUNDED * most
    if config.field_strength > most:
        raise CalibrationError(
            f"field: field_strength is {config.field_strength:g} mT, probing allows {most:.4g} mT "
            "in every direction."
        )
    return config.field_strength


def _sent(probe: Probe, output: str) -> Floats:
    """What the output was told at last [C]."""
    for receipt in reversed(probe.receipts):
        values = receipt.sent.get(output)
        if isinstance(values, Values):
            return values.value
    raise CalibrationError(f"field: {output!r} took none of the orders of a pulse.")


def _mean_director(rig: Rig, view: Affine, probe: Probe) -> Floats:
    """Mean of the directors [2] in the sample, in the last frames of a pulse."""
    detect = rig.detector.build()
    found = [detect(shot.frame) for shot in probe.shots[-_LOOKS:]]
    direction = np.concatenate([d.direction for d in found])
    axial = np.concatenate([d.axial for d in found])
    direction = direction[(np.linalg.norm(direction, axis=1) > 0) & ~axial]
    if not len(direction):
        raise CalibrationError(
            "field: no colloid shows which way it points; take colloids whose orientation the "
            "detector sees, such as Janus discs."
        )
    return np.asarray(view.direction_to_sample(direction).mean(axis=0), np.float64)


def _words(turned: Floats, strength: float, polarity: Polarity) -> str:
    mirrored = float(np.linalg.det(turned)) < 0
    angle = math.degrees(math.atan2(turned[1, 0], turned[0, 0]))
    alignment = float(np.linalg.norm(polarity.seen, axis=1).mean())
    return (
        f"field: pulses of {strength:.3g} mT; the coils' axes are "
        f"{'mirrored and ' if mirrored else ''}turned by {angle:.0f}° against what was known; "
        f"colloids aligned by {alignment:.2f} of 1"
    )
