"""A global field: its waveform, and what it does to moments and to rollers.

The same equations hold for a magnetic field (mT, moments in pN µm/mT) and an electric one.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from swarmctl.core.command import FieldCommand
from swarmctl.physics.rotation import cross

Array = jax.Array


def field_at(command: FieldCommand, phase: Array, time: Array) -> Array:
    """Field [D,*batch] mT at `time` s after the waveform had the phase `phase` rad.

    B = bias + the amplitude, turned about the axis by the angle φ = phase + 2π f t; where the axis
    is zero, the amplitude times cos φ. In 2D the axis is (0, 0, ±1) or zero.
    """
    angle = phase + 2 * jnp.pi * command.frequency * time + command.phase
    cosine, sine = jnp.cos(angle), jnp.sin(angle)
    amplitude, axis = command.amplitude, command.axis
    length = jnp.sqrt(jnp.sum(axis**2, axis=0))
    unit = axis / jnp.where(length > 0, length, 1)
    if amplitude.shape[0] == 2:
        # An axis in the plane leaves the component along it and swings the other one.
        along = unit[0] * amplitude[0] + unit[1] * amplitude[1]
        turned = jnp.stack(
            [
                unit[0] * along * (1 - cosine)
                + amplitude[0] * cosine
                - unit[2] * amplitude[1] * sine,
                unit[1] * along * (1 - cosine)
                + amplitude[1] * cosine
                + unit[2] * amplitude[0] * sine,
            ]
        )
    else:
        along = jnp.sum(unit * amplitude, axis=0)
        turned = amplitude * cosine + cross(unit, amplitude) * sine + unit * along * (1 - cosine)
    return command.bias + jnp.where(length > 0, turned, amplitude * cosine)


def torque(moment: Array, director: Array, field: Array) -> Array:
    """Torque m n̂ × B [1 or 3,N,*batch] pN µm of moments [N,*batch] in a field [D,*batch] mT."""
    field = field[:, None]
    if director.shape[0] == 2:
        return (moment * (director[0] * field[1] - director[1] * field[0]))[None]
    return moment * cross(director, field)


def gradient_force(moment: Array, director: Array, gradient: Array) -> Array:
    """Force F_i = m Σ_j n_j ∂B_j/∂x_i [D,N,*batch] pN; gradient [j,i,*batch] = ∂B_j/∂x_i mT/µm."""
    return moment * jnp.sum(director[:, None] * gradient[:, :, None], axis=0)


def following_rate(moment: Array, strength: Array, rate: Array, friction: Array) -> Array:
    """Mean rate [N,*batch] rad/s at which a moment follows a field that turns at `rate` rad/s.

    ω below ω_c = m B/γ_r, above it ω - √(ω² - ω_c²) (Adler's equation).
    """
    critical = moment * strength / friction
    beyond = jnp.abs(rate) > jnp.abs(critical)
    excess = jnp.sqrt(jnp.where(beyond, rate**2 - critical**2, 0))
    return jnp.where(beyond, jnp.sign(rate) * (jnp.abs(rate) - excess), rate)


def rolling_velocity(rolling: Array, radius: Array, spin: Array) -> Array:
    """v = α a Ω × ẑ [2,N,*batch] µm/s of rollers on a floor; spin Ω [3,N,*batch] rad/s."""
    return rolling * radius * jnp.stack([spin[1], -spin[0]])


def planar_rolling(
    rolling: Array,
    radius: Array,
    moment: Array,
    friction: Array,
    command: FieldCommand,
) -> Array:
    """Velocity [2,N,*batch] µm/s of rollers in a 2D world, which lies on its floor.

    Their spin about an axis in the plane is not resolved; it follows the field's rotation at the
    mean rate of `following_rate`. The strength that turns is the amplitude's.
    """
    axis = command.axis
    length = jnp.sqrt(jnp.sum(axis**2, axis=0))
    unit = axis / jnp.where(length > 0, length, 1)
    strength = jnp.sqrt(jnp.sum(command.amplitude**2, axis=0))
    rate = following_rate(moment, strength, 2 * jnp.pi * command.frequency, friction)
    spin = jnp.stack([unit[0] * rate, unit[1] * rate])
    return rolling_velocity(rolling, radius, spin)
