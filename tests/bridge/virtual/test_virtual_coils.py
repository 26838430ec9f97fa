"""The field of the coils, as the engine takes it, is what the currents make."""

import jax.numpy as jnp
import numpy as np
import pytest

from swarmctl.bridge.virtual.coil_field import coil_field
from swarmctl.bridge.virtual.sample_config import CoilsConfig
from swarmctl.core.errors import ConfigError
from swarmctl.core.waveforms import rolling_field
from swarmctl.physics.magnetics import field_at

COILS = CoilsConfig()
MATRIX = np.array(COILS.matrix)


def made(values, time):
    """Field [3] mT of the currents themselves."""
    steady, amplitude, phase = values[:9].reshape(3, 3)
    return MATRIX @ (steady + amplitude * np.cos(2 * np.pi * values[9] * time - phase))


def seen(values, time):
    """Field [2] mT that the engine makes of it."""
    command = coil_field(COILS, values)
    return np.asarray(field_at(command, jnp.zeros(()), jnp.asarray(time)))


def currents(steady, cosine, sine, frequency):
    """Values for B = steady + cosine · cos φ + sine · sin φ, [3] mT each."""
    c, s = np.linalg.solve(MATRIX, cosine), np.linalg.solve(MATRIX, sine)
    return np.concatenate(
        [np.linalg.solve(MATRIX, steady), np.hypot(c, s), np.arctan2(s, c), [frequency]]
    )


@pytest.mark.parametrize(
    ("cosine", "sine"),
    [
        ((2.0, 0.0, 0.0), (0.0, 2.0, 0.0)),  # turns in the plane
        ((0.0, 1.5, 0.0), (1.5, 0.0, 0.0)),  # the other way
        ((1.0, -1.0, 0.0), (0.0, 0.0, 0.0)),  # oscillates
        ((0.6, 0.8, 0.0), (-1.2, -1.6, 0.0)),  # oscillates, with a phase
        ((1.2, 1.6, 0.0), (0.0, 0.0, 2.0)),  # turns out of the plane
        ((0.0, 0.0, 2.0), (1.2, 1.6, 0.0)),  # likewise, beginning out of the plane
    ],
)
@pytest.mark.parametrize("time", [0.0, 0.013, 0.31])
def test_waves_are_those_of_the_currents(cosine, sine, time):
    values = currents((0.3, -0.2, 0.0), cosine, sine, 7.0)
    assert seen(values, time) == pytest.approx(made(values, time)[:2], abs=1e-4)


def test_a_rolling_field_is_itself():
    direction = np.array([0.6, -0.8])
    asked = rolling_field(jnp.asarray(direction), jnp.asarray(3.0), jnp.asarray(5.0))
    values = currents(np.zeros(3), 3 * np.array([0.6, -0.8, 0.0]), (0.0, 0.0, -3.0), 5.0)
    found = coil_field(COILS, values)
    assert np.asarray(found.axis) == pytest.approx(np.asarray(asked.axis), abs=1e-6)
    assert np.asarray(found.amplitude) == pytest.approx(np.asarray(asked.amplitude), abs=1e-5)
    assert float(found.frequency) == 5.0


def test_no_currents_make_no_field():
    found = coil_field(COILS, None)
    for part in (found.bias, found.amplitude, found.axis, found.frequency):
        assert not np.asarray(part).any()


@pytest.mark.parametrize("matrix", [((1.0,), (1.0,)), ((1.0, 2.0), (1.0,), (1.0, 0.0))])
def test_a_matrix_has_three_rows(matrix):
    with pytest.raises(ConfigError, match="three rows"):
        CoilsConfig(matrix=matrix)
