"""A global field: torque, following and slipping, gradient force, rolling, limits."""

from __future__ import annotations

import math
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from swarmctl.core.command import Command, FieldCommand
from swarmctl.core.errors import CapabilityError, CommandError, ConfigError
from swarmctl.core.world import Box, Fluid, GlobalField, Placement, Species, World
from swarmctl.engines.jax_engine import JaxEngine

MOMENT, STRENGTH = 0.02, 5.0  # pN µm/mT, mT
FRICTION = 8 * math.pi * 1e-3  # of a radius of 1 µm
CRITICAL = MOMENT * STRENGTH / FRICTION  # rad/s


def world(dimension: int = 2, height: float = 50.0, **species: Any) -> World:
    middle = (50.0,) * dimension if dimension == 2 else (50.0, 50.0, height)
    x = (1.0, *(0.0,) * (dimension - 1))
    return World(
        box=Box((100.0,) * dimension, "open" if dimension == 2 else ("open", "open", "hard")),
        fluid=Fluid(1e-3, 0.0),
        species=(
            Species(
                count=1,
                magnetic_moment=MOMENT,
                speed_max=1.0,
                placement=Placement("points", positions=(middle,), directors=(x,)),
                **species,
            ),
        ),
        field=GlobalField(strength_max=10.0, gradient_max=1.0, frequency_max=100.0),
    )


def field(dimension: int = 2, **values: Any) -> FieldCommand:
    base = {
        "bias": (0.0,) * dimension,
        "amplitude": (0.0,) * dimension,
        "axis": (0.0, 0.0, 0.0),
        "frequency": 0.0,
        "phase": 0.0,
        "gradient": np.zeros((dimension, dimension)),
    }
    return FieldCommand(**{k: jnp.asarray(v) for k, v in {**base, **values}.items()})


def steps(about: World, command: Command, intervals: int, interval: float = 0.1) -> list[Any]:
    engine = JaxEngine(about, interval)
    states = [engine.reset(0)]
    for _ in range(intervals):
        states.append(engine.step(command).state)
    return states


@pytest.mark.parametrize("dimension", [2, 3])
@pytest.mark.parametrize("over", [0.5, 1.5, 3.0])
def test_a_moment_follows_a_turning_field_or_slips(dimension, over):
    # ω below ω_c = m B/γ_r, ω - √(ω² - ω_c²) above it; 0.5 %.
    rate = over * CRITICAL
    command = Command(
        field=field(
            dimension,
            amplitude=(STRENGTH, *(0.0,) * (dimension - 1)),
            axis=(0.0, 0.0, 1.0),
            frequency=rate / 2 / math.pi,
        )
    )
    expected = rate - math.sqrt(max(rate**2 - CRITICAL**2, 0.0))
    # Whole beat periods, so that the mean of what slips does not depend on where it begins.
    beat = 2 * math.pi / (rate - expected) if over > 1 else 40.0
    interval = round(beat / 100, 3)
    states = steps(world(dimension), command, 700, interval)
    spin = np.asarray([np.ravel(s.angular_velocity)[-1] for s in states[101:]], float)
    periods = math.floor(600 * interval / beat) if over > 1 else 1
    last = round(periods * beat / interval) if over > 1 else 600
    assert spin[:last].mean() == pytest.approx(expected, rel=5e-3)


def test_an_oscillating_field_has_its_cosine():
    from swarmctl.physics.magnetics import field_at

    command = field(2, bias=(1.0, 0.0), amplitude=(0.0, 2.0), frequency=3.0, phase=0.4)
    for time in (0.0, 0.03, 0.21):
        expected = (1.0, 2.0 * math.cos(2 * math.pi * 3.0 * time + 0.4 + 0.1))
        found = field_at(command, jnp.asarray(0.1), jnp.asarray(time))
        np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_a_field_turns_about_any_axis():
    from swarmctl.physics.magnetics import field_at

    rng = np.random.default_rng(0)
    for _ in range(5):
        axis, amplitude = rng.normal(size=(2, 3))
        unit = axis / np.linalg.norm(axis)
        angle = 2 * math.pi * 3.0 * 0.07 + 0.3
        expected = (
            amplitude * math.cos(angle)
            + np.cross(unit, amplitude) * math.sin(angle)
            + unit * (unit @ amplitude) * (1 - math.cos(angle))
        )
        command = field(3, amplitude=amplitude, axis=axis, frequency=3.0)
        found = field_at(command, jnp.asarray(0.3), jnp.asarray(0.07))
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
        flat = field(2, amplitude=(*amplitude[:2],), axis=axis, frequency=3.0)
        level = np.array([*amplitude[:2], 0.0])
        expected = (
            level * math.cos(angle)
            + np.cross(unit, level) * math.sin(angle)
            + unit * (unit @ level) * (1 - math.cos(angle))
        )[:2]
        found = field_at(flat, jnp.asarray(0.3), jnp.asarray(0.07))
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_a_change_of_frequency_makes_no_jump():
    about = world()
    engine = JaxEngine(about, 0.1)
    engine.reset(0)
    amplitude, axis = (STRENGTH, 0.0), (0.0, 0.0, 1.0)
    turned = 0.0
    for frequency in (0.2, 0.35, 0.1, 0.4):
        drive = field(2, amplitude=amplitude, axis=axis, frequency=frequency)
        for _ in range(25):
            state = engine.step(Command(field=drive)).state
            turned += float(state.angular_velocity[0]) * 0.1
    # It follows with the lag asin(ω/ω_c), so that it has turned by the sum of ω t, less that lag.
    total = 2 * math.pi * 2.5 * (0.2 + 0.35 + 0.1 + 0.4)
    assert total - turned == pytest.approx(math.asin(2 * math.pi * 0.4 / CRITICAL), abs=0.02)


@pytest.mark.parametrize("dimension", [2, 3])
def test_a_gradient_pulls(dimension):
    gradient = np.zeros((dimension, dimension))
    gradient[0, 1] = 0.5  # ∂B_x/∂y
    bias = (STRENGTH, *(0.0,) * (dimension - 1))
    command = Command(field=field(dimension, bias=bias, gradient=gradient))
    state = steps(world(dimension), command, 2)[-1]
    expected = np.zeros(dimension)
    expected[1] = MOMENT * 0.5 / (6 * math.pi * 1e-3)
    np.testing.assert_allclose(state.velocity[0], expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("dimension", [2, 3])
def test_rollers_roll_at_right_angles_to_the_axis(dimension):
    # v = α a Ω × ẑ. In a plane the spin is the field's (below ω_c); in space it is the torque's.
    rate, alpha = 0.5 * CRITICAL, 0.3
    command = Command(
        field=field(
            dimension,
            amplitude=(STRENGTH, *(0.0,) * (dimension - 1)),
            axis=(0.0, 1.0, 0.0),
            frequency=rate / 2 / math.pi,
        )
    )
    about = world(dimension, height=1.5, rolling=alpha)
    state = steps(about, command, 30)[-1]
    # Ω = ω ŷ, and ŷ × ẑ = x̂.
    assert float(state.velocity[0, 0]) == pytest.approx(alpha * rate, rel=5e-3)
    assert abs(float(state.velocity[0, 1])) < 1e-4
    if dimension == 3:
        far = steps(world(3, height=20.0, rolling=alpha), command, 30)[-1]
        np.testing.assert_allclose(far.velocity[0], 0, atol=1e-5)


def test_what_is_applied_stays_within_the_limits():
    engine = JaxEngine(world(), 0.1)
    engine.reset(0)
    asked = field(2, bias=(30.0, 0.0), amplitude=(0.0, 10.0), frequency=500.0)
    transition = engine.step(Command(field=asked))
    done = transition.applied.field
    strength = np.linalg.norm(done.bias) + np.linalg.norm(done.amplitude)
    assert strength == pytest.approx(10.0, rel=1e-6)
    assert done.bias[0] / done.amplitude[1] == pytest.approx(3.0, rel=1e-6)
    assert float(done.frequency) == 100.0
    assert np.all(transition.status.flags.limited)


def test_what_is_refused():
    engine = JaxEngine(world(), 0.1)
    engine.reset(0)
    with pytest.raises(CommandError, match=r"field.bias has shape \(3,\)"):
        engine.step(Command(field=field(3)))
    with pytest.raises(CommandError, match=r"field.frequency is not finite"):
        engine.step(Command(field=field(2, frequency=math.nan)))
    without = JaxEngine(World(), 0.1)
    without.reset(0)
    with pytest.raises(CapabilityError, match="does not take field"):
        without.step(Command(field=field(2)))
    with pytest.raises(ConfigError, match="strength_max must be positive"):
        GlobalField(strength_max=-1.0)
    import dataclasses

    with pytest.raises(ConfigError, match="moment of 'colloid' in the field"):
        JaxEngine(dataclasses.replace(world(), contacts=False, time_step=0.1), 0.1)
