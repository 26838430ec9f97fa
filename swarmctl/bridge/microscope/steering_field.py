"""Currents of coils that make the global field that is commanded."""

from __future__ import annotations

from typing import Any

import numpy as np

from swarmctl.bridge.calibration import FieldMap
from swarmctl.bridge.devices.contract import OutputSpec
from swarmctl.bridge.microscope.steering import Aim, Floats, Sent, Steering
from swarmctl.bridge.microscope.steering_config import SteeringConfig
from swarmctl.bridge.orders import Values
from swarmctl.core.command import Command, FieldCommand
from swarmctl.core.errors import CalibrationError, CapabilityError, UnknownNameError, nearest

_NEGLIGIBLE = 1e-12


class FieldSteering(Steering):
    """Currents of K coils, and their waveforms if the supply makes these.

    B(t) = bias + along + C cos φ + S sin φ with C the amplitude across the axis and S = û × C (see
    `swarmctl.physics.magnetics.field_at`). By the inverse of the field per current, every coil gets
    a steady current, and an amplitude and a phase p of cos(φ - p). A supply without waveforms makes
    steady fields only: what turns or oscillates is left out then, and `applied` says so. Gradients
    are not made.

    Args:
        config: names of the supply's channels.
        field: field per current.
        spec: of the output.
    Raises CalibrationError or UnknownNameError if they do not fit each other.
    """

    channels = frozenset({"field"})

    def __init__(self, config: SteeringConfig, field: FieldMap, spec: OutputSpec) -> None:
        self._name = config.output
        names = [channel.name for channel in spec.channels]
        coils = config.bias or tuple(names)
        matrix = np.asarray(field.matrix, np.float64)
        if field.output != config.output or matrix.shape[1] != len(coils):
            raise CalibrationError(
                f"the calibrated field is that of {matrix.shape[1]} coils of {field.output!r}; the "
                f"rig steers by {len(coils)} of {config.output!r}."
            )
        self._matrix = np.vstack([matrix, np.zeros((3 - len(matrix), len(coils)))])
        self._inverse = np.linalg.pinv(self._matrix)
        self._safe = np.array([channel.safe for channel in spec.channels])
        self._bias = _indices(coils, names)
        self._amplitude = _indices(config.amplitude, names)
        self._phase = _indices(config.phase, names)
        self._frequency = _indices(() if config.frequency is None else (config.frequency,), names)

    @property
    def makes_waves(self) -> bool:
        """Whether the supply makes waveforms by itself."""
        return len(self._amplitude) > 0

    def check(self, field: FieldCommand) -> None:
        """Raise CapabilityError if the coils cannot make a field in these directions at all."""
        steady, cosine, sine = _parts(field)
        parts = (steady, cosine, sine) if self.makes_waves else (steady,)
        for part in parts:
            made = self._matrix @ (self._inverse @ part)
            if np.linalg.norm(made - part) > 1e-6 * (np.linalg.norm(part) + _NEGLIGIBLE):
                raise CapabilityError(
                    f"the coils of {self._name!r} cannot make the field {part.round(6)} mT; they "
                    f"make {made.round(6)}. A field that rolls colloids needs a coil along z."
                )

    def order(self, command: Command, aim: Aim) -> Sent:
        """Return the channels' values; see `Steering`. Raises CapabilityError by `check`."""
        values = self._safe.copy()
        if command.field is not None:
            self.check(command.field)
            steady, cosine, sine = _parts(command.field)
            if not self.makes_waves and not _moves(command.field):
                steady = steady + np.cos(float(command.field.phase)) * cosine
                steady = steady + np.sin(float(command.field.phase)) * sine
            values[self._bias] = self._inverse @ steady
            if self.makes_waves:
                c, s = self._inverse @ cosine, self._inverse @ sine
                values[self._amplitude] = np.hypot(c, s)
                # cos(2π f t - p) turns as cos φ does, φ being ahead by the commanded phase.
                values[self._phase] = np.arctan2(s, c) - float(command.field.phase)
                values[self._frequency] = float(command.field.frequency)
        return {self._name: Values(values)}

    def applied(self, sent: Sent, command: Command, aim: Aim) -> Command:
        """Return the field that the values make."""
        if command.field is None:
            return Command()
        output = sent.get(self._name, Values(self._safe))
        assert isinstance(output, Values)
        value, asked = output.value, command.field
        d = len(np.asarray(asked.bias))
        steady = self._matrix @ value[self._bias]
        cosine, sine, frequency = np.zeros(3), np.zeros(3), 0.0
        if self.makes_waves:
            phase = value[self._phase] + float(asked.phase)
            amplitude = value[self._amplitude]
            cosine = self._matrix @ (amplitude * np.cos(phase))
            sine = self._matrix @ (amplitude * np.sin(phase))
            frequency = float(value[self._frequency][0])
        elif not _moves(asked):
            _, cosine, sine = _parts(asked)
            turned = np.cos(float(asked.phase)) * cosine + np.sin(float(asked.phase)) * sine
            steady = steady - turned
        along = _along(asked)
        fields: dict[str, Any] = {
            "bias": (steady - along)[:d],
            "amplitude": (cosine + along)[:d],
            "axis": _axis(asked, cosine, sine),
            "frequency": np.asarray(frequency),
            "phase": np.asarray(asked.phase),
            "gradient": np.zeros((d, d)),
        }
        return Command(field=FieldCommand(**fields))


def _indices(channels: tuple[str, ...], names: list[str]) -> Any:
    for channel in channels:
        if channel not in names:
            raise UnknownNameError(f"steering: no channel {channel!r}. {nearest(channel, names)}")
    return np.array([names.index(channel) for channel in channels], int)


def _space(vector: object) -> Floats:
    """A vector of 2 or 3 numbers in space."""
    flat = np.asarray(vector, np.float64)
    return np.concatenate([flat, np.zeros(3 - len(flat))])


def _along(field: FieldCommand) -> Floats:
    """The part of the amplitude along the axis, which does not turn."""
    axis, amplitude = np.asarray(field.axis, np.float64), _space(field.amplitude)
    length = float(np.linalg.norm(axis))
    return np.zeros(3) if length == 0 else axis * float(axis @ amplitude) / length**2


def _parts(field: FieldCommand) -> tuple[Floats, Floats, Floats]:
    """Steady part and the factors of cos φ and sin φ, [3] mT each."""
    axis, amplitude = np.asarray(field.axis, np.float64), _space(field.amplitude)
    length = float(np.linalg.norm(axis))
    if length == 0:
        return _space(field.bias), amplitude, np.zeros(3)
    along = _along(field)
    across = amplitude - along
    return _space(field.bias) + along, across, np.cross(axis / length, across)


def _moves(field: FieldCommand) -> bool:
    return float(field.frequency) != 0


def _axis(asked: FieldCommand, cosine: Floats, sine: Floats) -> Floats:
    """The axis about which the field turns: that asked for, by its sense; 0 if it oscillates."""
    turned = np.cross(cosine, sine)
    length = float(np.linalg.norm(turned))
    if length <= _NEGLIGIBLE:
        return np.asarray(asked.axis, np.float64)
    size = float(np.linalg.norm(np.asarray(asked.axis, np.float64)))
    return np.asarray(turned / length * (size or 1.0), np.float64)
