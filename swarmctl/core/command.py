"""What an agent may ask an engine to do, and the limits that decide what is done."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from swarmctl.core.errors import CapabilityError, CommandError
from swarmctl.core.spec import EngineSpec
from swarmctl.core.tree import pytree

Array = jax.Array


@pytree
class FieldCommand:
    """A global field, magnetic (mT) or electric: B(t) = bias + amplitude, turning about the axis.

    The angle is phase + 2π ∫ f dt, so that a change of frequency makes no jump. Where the axis is
    zero, the amplitude oscillates as the cosine of that angle instead of turning.

    Attributes:
        bias: [D] mT. amplitude: [D] mT. axis: [3], of any length. frequency: [] Hz.
        phase: [] rad. gradient: [D,D] mT/µm, gradient[j, i] = ∂B_j/∂x_i.
    """

    bias: Array
    amplitude: Array
    axis: Array
    frequency: Array
    phase: Array
    gradient: Array


@pytree
class Command:
    """What is asked of every colloid for the next control interval, in lab units; None for an
    unused channel.

    Attributes:
        speed: [N] µm/s along the director. Force = friction x velocity.
        turn_rate: rad/s; [N] anticlockwise in 2D, rotation vectors [N,3] in 3D.
        heading: [N,D], the director to take at once; only where `has_heading`.
        has_heading: bool [N].
        velocity: [N,D] µm/s, for swimmers without an axis.
        power: [N] W/µm² or the laboratory's unit, illumination.
        spot_offset: [N,2] µm, centre of the illumination relative to the colloid.
        field: one global field for all.
    """

    speed: Array | None = None
    turn_rate: Array | None = None
    heading: Array | None = None
    has_heading: Array | None = None
    velocity: Array | None = None
    power: Array | None = None
    spot_offset: Array | None = None
    field: FieldCommand | None = None

    @property
    def channels(self) -> frozenset[str]:
        """Names of the channels in use."""
        names = (f.name for f in dataclasses.fields(self) if f.name != "has_heading")
        return frozenset(name for name in names if getattr(self, name) is not None)


@pytree
class FieldLimits:
    """What a global field is at most: strength [] mT, gradient [] mT/µm, frequency [] Hz."""

    strength_max: Array
    gradient_max: Array
    frequency_max: Array


@pytree
class Limits:
    """What an engine does at most, per colloid [N]: speed and turn rate; and the global field.

    Summed illumination power and the rule "turning needs light" join with engines that have light.
    """

    speed_min: Array
    speed_max: Array
    turn_rate_max: Array
    field: FieldLimits | None = None


def apply_limits(command: Command, limits: Limits) -> tuple[Command, Array]:
    """Return what is done of `command` within `limits`, and bool [N]: whose request was cut.

    A vector (velocity, turn rate in 3D) keeps its direction when it is cut.
    """
    cut = jnp.zeros(limits.speed_max.shape, bool)
    changes: dict[str, Any] = {}
    if command.speed is not None:
        changes["speed"] = jnp.clip(command.speed, limits.speed_min, limits.speed_max)
        cut |= changes["speed"] != command.speed
    if command.turn_rate is not None:
        if command.turn_rate.ndim == 1:
            rate = jnp.clip(command.turn_rate, -limits.turn_rate_max, limits.turn_rate_max)
            cut |= rate != command.turn_rate
        else:
            rate, long = _shorten(command.turn_rate, limits.turn_rate_max)
            cut |= long
        changes["turn_rate"] = rate
    if command.velocity is not None:
        changes["velocity"], long = _shorten(command.velocity, limits.speed_max)
        cut |= long
    if command.field is not None and limits.field is not None:
        changes["field"], weaker = _weaken(command.field, limits.field)
        cut |= weaker
    return dataclasses.replace(command, **changes), cut


def _shorten(vector: Array, longest: Array) -> tuple[Array, Array]:
    length = jnp.sqrt(jnp.sum(vector**2, axis=-1))
    long = length > longest
    scale = jnp.where(long, longest / jnp.where(long, length, 1.0), 1.0)
    return vector * scale[:, None], long


def _weaken(field: FieldCommand, limits: FieldLimits) -> tuple[FieldCommand, Array]:
    """Scale bias and amplitude together, and the gradient, and hold the frequency."""

    def norm(x: Array) -> Array:
        return jnp.sqrt(jnp.sum(x**2))

    strength, steepness = norm(field.bias) + norm(field.amplitude), norm(field.gradient)
    strong, steep = strength > limits.strength_max, steepness > limits.gradient_max
    scale = jnp.where(strong, limits.strength_max / jnp.where(strong, strength, 1.0), 1.0)
    flatten = jnp.where(steep, limits.gradient_max / jnp.where(steep, steepness, 1.0), 1.0)
    frequency = jnp.clip(field.frequency, -limits.frequency_max, limits.frequency_max)
    held = dataclasses.replace(
        field,
        bias=field.bias * scale,
        amplitude=field.amplitude * scale,
        gradient=field.gradient * flatten,
        frequency=frequency,
    )
    return held, strong | steep | (frequency != field.frequency)


def check_command(command: Command, spec: EngineSpec) -> None:
    """Raise CapabilityError or CommandError unless `command` (concrete arrays) fits the engine.

    Checks the channels, every shape, and that every value is finite.
    """
    check_channels(command.channels, spec)
    n, d = spec.capacity, spec.dimension
    shapes = {
        "speed": (n,),
        "turn_rate": (n,) if d == 2 else (n, 3),
        "heading": (n, d),
        "velocity": (n, d),
        "power": (n,),
        "spot_offset": (n, 2),
    }
    if command.field is not None:
        _check_field(command.field, d)
    if command.heading is not None and command.has_heading is None:
        raise CommandError("command: heading needs has_heading, bool [N].")
    for name, shape in shapes.items():
        value = getattr(command, name)
        if value is None:
            continue
        array = np.asarray(value)
        if array.shape != shape:
            raise CommandError(
                f"command: {name} has shape {array.shape}; engine {spec.name!r} with {n} colloids "
                f"in {d}D "
                f"expects {shape}."
            )
        finite = np.isfinite(array).reshape(n, -1).all(axis=1)
        if name == "heading":
            moot = ~np.asarray(command.has_heading, bool)
            zero = (np.abs(array).sum(axis=1) == 0) & ~moot
            if zero.any():
                raise CommandError(
                    f"command: heading of colloid {int(zero.argmax())} has no length."
                )
            finite |= moot
        if not finite.all():
            bad = np.flatnonzero(~finite)
            raise CommandError(
                f"command: {name} is not finite for {bad.size} of {n} colloids (first: {bad[0]}); "
                "NaN never means absent. Use None for an unused channel."
            )


def _check_field(field: FieldCommand, dimension: int) -> None:
    d = dimension
    shapes = {"bias": (d,), "amplitude": (d,), "axis": (3,), "frequency": (), "phase": ()}
    for name, shape in {**shapes, "gradient": (d, d)}.items():
        array = np.asarray(getattr(field, name))
        if array.shape != shape:
            raise CommandError(
                f"command: field.{name} has shape {array.shape}; a {d}D world expects {shape}."
            )
        if not np.isfinite(array).all():
            raise CommandError(f"command: field.{name} is not finite: {array}.")


def check_channels(channels: frozenset[str], spec: EngineSpec) -> None:
    """Raise CapabilityError unless the engine takes every channel."""
    missing = channels - spec.capabilities
    if missing:
        raise CapabilityError(
            f"engine {spec.name!r} does not take {', '.join(sorted(missing))}; "
            f"it takes {', '.join(sorted(spec.capabilities))}."
        )
