"""Which way the fields of coils point in the image: polarity and rotation of their axes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from swarmctl.bridge.calibration import FieldMap
from swarmctl.bridge.devices.contract import OutputSpec
from swarmctl.bridge.microscope.probing import Bench, Probe
from swarmctl.bridge.microscope.steering import Aim
from swarmctl.bridge.microscope.steering_field import FieldSteering
from swarmctl.bridge.orders import Values
from swarmctl.bridge.rig import OutputEntry, Rig
from swarmctl.bridge.supervisor.gates import probing_limits
from swarmctl.bridge.supervisor.limits import ValueLimits
from swarmctl.bridge.vision.tracker import Tracker
from swarmctl.core.command import Command
from swarmctl.core.errors import CalibrationError
from swarmctl.core.waveforms import aligning_field, rolling_field
from swarmctl.lab.calibrate_config import CalibrateConfig
from swarmctl.lab.calibrate_places import fit_polarity
from swarmctl.optics.affine import Affine

Floats = npt.NDArray[np.float64]

_DIRECTIONS = 8
_ROUNDED = 0.999
"""Share of what probing allows that is asked for, so that nothing is cut by rounding."""
_LOOKS = 3
"""Frames at the end of a pulse in which directors are looked at."""
_SAME = 1e-5
"""Difference of a channel between two strengths that comes from rounding."""
_NOBODY = Aim(
    np.zeros((0, 2)), np.zeros(0), np.zeros(0, bool), np.zeros(0, bool), np.zeros(0, np.int64)
)
"""A field is not aimed."""


@dataclass(frozen=True)
class Polarity:
    """Fields that were asked for [M,2] mT, by the map so far, and what colloids did then [M,2].

    That is their mean director, or their mean velocity in µm/s.
    """

    asked: Floats
    seen: Floats


def measure_field(
    config: CalibrateConfig, rig: Rig, bench: Bench, view: Affine, old: FieldMap | None
) -> tuple[FieldMap, Polarity, list[str]]:
    """Give pulses of field in eight directions, and see where colloids turn or roll to.

    Colloids with a moment along the director align with a steady field; rollers roll along the
    plane in which a field turns (`rolling_field`). The field per current is that of the calibration
    so far or of `field_per_current`; how strong it is cannot be seen. The rotation or mirroring
    that turns the directions asked into those seen is put before it, so that axes that are swapped,
    turned or reversed come right. Coils along z keep their sign: rollers would go the other way
    just as well if all others were reversed. Half of the pulses go round one way, half the other
    way, so that being late cancels. Returns the map, what was seen, and notes, in words. Raises
    CalibrationError; CapabilityError if these coils roll nothing.
    """
    entry, spec = _coils(rig)
    nominal = _nominal(config, entry.name, len(rig.steering.bias or spec.channels), old)
    rows = tuple(tuple(float(x) for x in row) for row in nominal)
    steering = FieldSteering(rig.steering, FieldMap(entry.name, rows), spec)
    turn = 2 * math.pi * np.arange(_DIRECTIONS) / _DIRECTIONS
    angle = np.concatenate([turn, turn[::-1]])
    unit = np.column_stack([np.cos(angle), np.sin(angle)])
    strength = _strength(config, rig, entry, spec, steering, unit)
    period = rig.camera.build().spec.period
    frames = max(round(config.field_pulse / period), 2 * _LOOKS)
    seen = []
    for values in _pulses(config, steering, entry.name, strength * unit):
        probe = bench.hold({entry.name: Values(values)}, frames)
        bench.rest("a pulse of field has been given")
        _check_sent(probe, entry.name)
        seen.append((_mean_director if config.field_by == "alignment" else _mean_way)(
            rig, view, probe
        ))  # fmt: skip
    polarity = Polarity(strength * unit, np.array(seen))
    turned, error = fit_polarity(polarity.asked, polarity.seen)
    found = nominal.copy()
    found[:2] = turned @ nominal[:2]
    matrix = tuple(tuple(float(x) for x in row) for row in found)
    words = _words(config, turned, strength, polarity)
    return FieldMap(entry.name, matrix, error), polarity, [words]


def _pulses(
    config: CalibrateConfig, steering: FieldSteering, output: str, field: Floats
) -> list[Floats]:
    """Values [C] of the supply for fields [M,2] mT, steady, or turning if they shall roll."""
    found = []
    for along in field:
        strength = jnp.asarray(np.linalg.norm(along))
        direction = jnp.asarray(along) / strength
        asked = (
            aligning_field(direction, strength)
            if config.field_by == "alignment"
            else rolling_field(direction, strength, jnp.asarray(config.field_frequency))
        )
        command = jax.tree.map(np.asarray, Command(field=asked))
        values = steering.order(command, _NOBODY)[output]
        assert isinstance(values, Values)  # of a supply
        found.append(values.value)
    return found


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
    steering: FieldSteering,
    unit: Floats,
) -> float:
    """Field in mT of all pulses: what was asked for, or the highest that probing allows in all.

    Phases and the frequency are the same at every strength.
    """
    limits = probing_limits(entry.limits, spec, rig.supervisor.probing.scale)
    assert isinstance(limits, ValueLimits)  # as those of the rig are
    safe = np.array([channel.safe for channel in spec.channels])
    one, two = (np.array(_pulses(config, steering, entry.name, k * unit)) for k in (1.0, 2.0))
    grows, stays = two - one, 2 * one - two - safe
    fixed = np.abs(grows) < _SAME
    low, high = np.asarray(limits.low) - safe, np.asarray(limits.high) - safe
    for k, channel in enumerate(spec.channels):
        outside = fixed[:, k] & ((stays[:, k] < low[k] - 1e-9) | (stays[:, k] > high[k] + 1e-9))
        if outside.any():
            raise CalibrationError(
                f"field: {channel.name} would have to be {stays[outside, k][0]:.4g} {channel.unit}"
                f", probing allows {low[k]:.4g} to {high[k]:.4g}; see field_frequency and the "
                "rig's limits."
            )
    room = np.where(grows > 0, high, -low)[~fixed] / np.abs(grows[~fixed])
    spare = limits.total - np.abs(stays).sum(axis=1)
    most = min(float(room.min()), float((spare / np.abs(grows).sum(axis=1)).min()))
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


def _check_sent(probe: Probe, output: str) -> None:
    """Raise CalibrationError unless the output did at last what was asked."""
    for receipt in reversed(probe.receipts):
        if output in receipt.sent:
            if words := receipt.limited.get(output):
                raise CalibrationError(
                    f"field: a pulse was still cut at its end ({words}); give a lower "
                    "field_strength, or a longer or shorter field_pulse."
                )
            return
    raise CalibrationError(f"field: {output!r} took none of the orders of a pulse.")


def _mean_way(rig: Rig, view: Affine, probe: Probe) -> Floats:
    """Mean velocity [2] µm/s of colloids, after the first third of a pulse."""
    detect, tracker = rig.detector.build(), Tracker(rig.tracker, view)
    tracks, looks = tracker.start(), []
    for shot in probe.shots:
        tracks = tracker.update(tracks, detect(shot.frame), shot.exposed)
        looks.append(tracks)
    first, last = looks[len(looks) // 3], looks[-1]
    same = first.seen & last.seen & (first.identity == last.identity)
    if not same.any():
        raise CalibrationError("field: nobody was tracked through a pulse; look at the detector.")
    way = (last.position - first.position)[same].mean(axis=0)
    return np.asarray(way / (last.time - first.time), np.float64)


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


def _words(config: CalibrateConfig, turned: Floats, strength: float, polarity: Polarity) -> str:
    mirrored = float(np.linalg.det(turned)) < 0
    angle = math.degrees(math.atan2(turned[1, 0], turned[0, 0]))
    size = float(np.linalg.norm(polarity.seen, axis=1).mean())
    did = (
        f"aligned by {size:.2f} of 1"
        if config.field_by == "alignment"
        else f"rolled at {size:.2g} µm/s"
    )
    return (
        f"field: pulses of {strength:.3g} mT; the coils' axes are "
        f"{'mirrored and ' if mirrored else ''}turned by {angle:.0f}° against what was known; "
        f"colloids {did}"
    )
