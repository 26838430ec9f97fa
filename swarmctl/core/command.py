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


def rest_others(command: Command, acts: Array) -> Command:
    """Return the command with nothing asked of colloids for which `acts` bool [N] is False.

    They get speed, turn rate, velocity and power 0 and keep their heading. A global field acts on
    all.
    """
    changes: dict[str, Any] = {}
    for name in ("speed", "turn_rate", "velocity", "power", "spot_offset"):
        asked = getattr(command, name)
        if asked is not None:
            changes[name] = jnp.where(acts.reshape((-1,) + (1,) * (asked.ndim - 1)), asked, 0)
    if command.has_heading is not None:
        changes["has_heading"] = command.has_heading & acts
    return dataclasses.replace(command, **changes)


@pytree
class FieldLimits:
    """What a global field is at most: strength [] mT, gradient [] mT/µm, frequency [] Hz."""

    strength_max: Array
    gradient_max: Array
    frequency_max: Array


@pytree
class LightLimits:
    """What an illumination is at most.

    Attributes:
        power_max: [N], on a colloid.
        offset_max: [N] µm, from a spot to its colloid.
        power_total: [G], summed over a group of colloids.
        group: i32 [N], which group a colloid belongs to.
        dwell: [N], shortest share of the interval that one beam spends on each colloid it lights,
            0 for those that it does not serve; None without such a beam.
        needs_light: bool [N], turn rates are done only of colloids that are lit or swim.
    """

    power_max: Array
    offset_max: Array
    power_total: Array
    group: Array
    dwell: Array | None
    needs_light: Array


@pytree
class Limits:
    """What an engine does at most: speed and turn rate per colloid [N]; global field; light."""

    speed_min: Array
    speed_max: Array
    turn_rate_max: Array
    field: FieldLimits | None = None
    light: LightLimits | None = None


def apply_limits(command: Command, limits: Limits) -> tuple[Command, Array]:
    """Return what is done of `command` within `limits`, and bool [N]: whose request was cut.

    A vector (velocity, turn rate in 3D, offset of a spot) keeps its direction when it is cut. Of
    powers whose sum is too high all in the group are lowered in proportion; of colloids for which a
    shared beam has no time the weakest stay dark.
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
    if limits.light is not None:
        lit, dimmed = _dim(dataclasses.replace(command, **changes), limits.light)
        changes.update(lit)
        cut |= dimmed
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


def _dim(command: Command, limits: LightLimits) -> tuple[dict[str, Array], Array]:
    """Hold powers, then offsets and turn rates, which need light."""
    changes: dict[str, Array] = {}
    power = jnp.zeros_like(limits.power_max)
    cut = jnp.zeros(power.shape, bool)
    if command.power is not None:
        power = jnp.clip(command.power, 0, limits.power_max)
        if limits.dwell is not None:
            power = jnp.where(_served(power, limits.dwell), power, 0)
        total = jax.ops.segment_sum(power, limits.group, limits.power_total.shape[0])
        strong = total > limits.power_total
        scale = jnp.where(strong, limits.power_total / jnp.where(strong, total, 1), 1)
        power = power * scale[limits.group]
        changes["power"] = power
        cut |= power != command.power
    lit = power > 0
    if command.spot_offset is not None:
        offset, far = _shorten(command.spot_offset, limits.offset_max)
        changes["spot_offset"] = jnp.where(lit[:, None], offset, 0)
        cut |= far | (~lit & (command.spot_offset != 0).any(axis=-1))
    if command.turn_rate is not None:
        if command.speed is not None:
            lit |= command.speed != 0
        if command.velocity is not None:
            lit |= (command.velocity != 0).any(axis=-1)
        rate = command.turn_rate
        dark = limits.needs_light & ~lit
        rows = dark.reshape(dark.shape + (1,) * (rate.ndim - 1))
        changes["turn_rate"] = jnp.where(rows, 0, rate)
        cut |= (changes["turn_rate"] != rate).reshape(dark.shape[0], -1).any(axis=-1)
    return changes, cut


def _served(power: Array, dwell: Array) -> Array:
    """Whom a shared beam has time for, bool [N]: the brightest first, while time is left."""
    order = jnp.argsort(-power, stable=True)
    # Rounding must not cost the last colloid its time.
    kept = jnp.cumsum(jnp.where(power > 0, dwell, 0)[order]) <= 1 + 1e-4
    return jnp.zeros(power.shape, bool).at[order].set(kept) | (dwell == 0)


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
