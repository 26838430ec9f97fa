"""Currents of coils: the field that they make is the one that was commanded."""

from __future__ import annotations

import numpy as np
import pytest

from swarmctl.bridge.calibration import FieldMap
from swarmctl.bridge.devices.contract import Channel, OutputSpec
from swarmctl.bridge.microscope.steering import Aim
from swarmctl.bridge.microscope.steering_config import SteeringConfig
from swarmctl.bridge.microscope.steering_field import FieldSteering
from swarmctl.bridge.orders import Values
from swarmctl.core.command import Command, FieldCommand
from swarmctl.core.errors import CalibrationError, CapabilityError, ConfigError, UnknownNameError
from swarmctl.physics.magnetics import field_at

AIM = Aim(np.zeros((1, 2)), np.zeros(1), np.ones(1, bool), np.ones(1, bool), np.zeros(1, np.int64))
MATRIX = ((1.2, 0.1, 0.0), (-0.05, -0.9, 0.02), (0.0, 0.1, 0.7))
NAMES = ("Ix", "Iy", "Iz", "Ax", "Ay", "Az", "Px", "Py", "Pz", "f")
SPEC = OutputSpec("supply", "coils", tuple(Channel(n, "A", -5, 5, 0.0) for n in NAMES))
WAVES = SteeringConfig(
    output="coils", bias=NAMES[:3], amplitude=NAMES[3:6], phase=NAMES[6:9], frequency="f"
)


def field(bias, amplitude, axis, frequency=2.0, phase=0.3) -> FieldCommand:  # type: ignore[no-untyped-def]
    return FieldCommand(
        bias=np.array(bias, float),
        amplitude=np.array(amplitude, float),
        axis=np.array(axis, float),
        frequency=np.array(frequency),
        phase=np.array(phase),
        gradient=np.zeros((len(bias), len(bias))),
    )


CASES = [
    field((0.5, 0.2), (1.0, 0.0), (0, 0, 1)),
    field((0.0, 0.0), (0.8, 0.6), (-0.6, 0.8, 0.0)),
    field((0.1, 0.0), (0.5, -0.4), (0, 0, 0)),
    field((0.1, 0.0, 0.3), (0.5, -0.4, 0.2), (0.3, 0.2, -2.0)),
]


@pytest.mark.parametrize("asked", CASES)
def test_coils_make_the_field_that_was_asked(asked: FieldCommand) -> None:
    """B(t) of every coil's cosine is that of the commanded waveform, at all times."""
    driver = FieldSteering(WAVES, FieldMap("coils", MATRIX), SPEC)
    values = driver.order(Command(field=asked), AIM)["coils"]
    assert isinstance(values, Values)
    v = values.value
    for time in (0.0, 0.07, 0.31):
        currents = v[:3] + v[3:6] * np.cos(2 * np.pi * v[9] * time - v[6:9])
        made = np.asarray(MATRIX) @ currents
        wide = {
            name: np.concatenate([np.asarray(getattr(asked, name)), np.zeros(3)])[:3]
            for name in ("bias", "amplitude", "axis")
        }
        space = FieldCommand(**{**vars(asked), **wide, "gradient": np.zeros((3, 3))})
        np.testing.assert_allclose(made, field_at(space, 0.0, time), rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("asked", CASES)
def test_the_field_back_from_the_values(asked: FieldCommand) -> None:
    driver, command = FieldSteering(WAVES, FieldMap("coils", MATRIX), SPEC), Command(field=asked)
    back = driver.applied(driver.order(command, AIM), command, AIM).field
    assert back is not None
    for name in ("bias", "amplitude", "axis", "frequency", "phase"):
        np.testing.assert_allclose(getattr(back, name), getattr(asked, name), atol=1e-12)
    half = {"coils": Values(driver.order(command, AIM)["coils"].value * 0.5)}
    weaker = driver.applied(half, command, AIM).field
    np.testing.assert_allclose(weaker.frequency, 1.0)


def test_a_supply_without_waveforms_makes_steady_fields_only() -> None:
    config = SteeringConfig(output="coils", bias=NAMES[:3])
    driver = FieldSteering(config, FieldMap("coils", MATRIX), SPEC)
    command = Command(field=field((0.5, 0.2), (1.0, 0.0), (0, 0, 1)))
    back = driver.applied(driver.order(command, AIM), command, AIM).field
    assert back is not None
    np.testing.assert_allclose(back.bias, [0.5, 0.2], atol=1e-12)
    np.testing.assert_allclose(back.amplitude, 0)
    assert back.frequency == 0
    still = Command(field=field((0.5, 0.2), (1.0, 0.0), (0, 0, 1), frequency=0.0))
    values = driver.order(still, AIM)["coils"].value
    made = np.asarray(MATRIX) @ values[:3]
    np.testing.assert_allclose(made[:2], [0.5 + np.cos(0.3), 0.2 + np.sin(0.3)], atol=1e-12)
    back = driver.applied({"coils": Values(values)}, still, AIM).field
    np.testing.assert_allclose(back.amplitude, [1, 0], atol=1e-12)
    np.testing.assert_allclose(back.bias, [0.5, 0.2], atol=1e-12)


def test_what_coils_cannot_do_is_said() -> None:
    flat = FieldSteering(
        SteeringConfig(
            output="coils", bias=NAMES[:2], amplitude=NAMES[3:5], phase=NAMES[6:8], frequency="f"
        ),
        FieldMap("coils", ((1.0, 0.0), (0.0, 1.0))),
        SPEC,
    )
    with pytest.raises(CapabilityError, match="needs a coil along z"):
        flat.order(Command(field=CASES[1]), AIM)
    with pytest.raises(CalibrationError, match="3 coils"):
        FieldSteering(
            SteeringConfig(output="coils", bias=NAMES[:2]), FieldMap("coils", MATRIX), SPEC
        )
    with pytest.raises(UnknownNameError, match="no channel 'Iq'"):
        FieldSteering(
            SteeringConfig(output="coils", bias=("Ix", "Iy", "Iq")), FieldMap("coils", MATRIX), SPEC
        )
    with pytest.raises(CalibrationError, match="along one line"):
        FieldMap("coils", ((1.0, 2.0), (1.0, 2.0)))
    with pytest.raises(ConfigError, match="one channel per coil"):
        SteeringConfig(bias=("a", "b"), amplitude=("c",), phase=("d",), frequency="f")
