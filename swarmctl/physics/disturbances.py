"""Disturbances of motion and command as pure functions of keys, states and parameters.

Each is exact on the grid of control intervals: rates and correlation times mean the same whatever
the interval is. `disturb` comes before the motion of an interval, `swarmctl.physics.camera.look`
after it; each draws all its random numbers at once, which compiles faster than one by one.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from swarmctl.core.command import Command, FieldCommand
from swarmctl.core.spec import EngineSpec
from swarmctl.core.state import Space
from swarmctl.core.tree import pytree
from swarmctl.physics.camera import TrueMotion, View, first_view, frame_noise
from swarmctl.physics.disturbance_parameters import DisturbanceParams, switch

Array = jax.Array


@pytree
class Queue:
    """Commands that were given 1, 2, ..., L intervals ago, leaves [L,...], and the delay i32 [L]
    of each.
    """

    commands: Command
    delay: Array


@pytree
class DisturbanceState:
    """Fluctuating drift [D] µm/s, who is stuck bool [N], commands on their way, what is seen."""

    drift: Array | None
    stuck: Array | None
    queue: Queue | None
    view: View | None


# Single disturbances


def ornstein_uhlenbeck(
    noise: Array, value: Array, amplitude: Array, correlation_time: Array, interval: float
) -> tuple[Array, Array]:
    """Continue an Ornstein-Uhlenbeck process: (value after `interval` s, its mean in between).

    noise [2,...] is standard normal. Both are exact, with their correlation (Gillespie, Phys. Rev.
    E 54, 2084 (1996)): given both ends, with a = interval/τ, the mean is normal around
    (x + x') tanh(a/2)/a with the variance 2 σ² (a - 2 tanh(a/2))/a².
    """
    end_noise, mean_noise = noise
    a = interval / correlation_time
    end = value * jnp.exp(-a) + amplitude * jnp.sqrt(-jnp.expm1(-2 * a)) * end_noise
    half = jnp.tanh(a / 2)
    # The difference of nearly equal numbers, by its series.
    rest = jnp.where(a < 0.5, a**3 / 12 - a**5 / 120 + 17 * a**7 / 20160, a - 2 * half)
    mean = (value + end) * half / a + amplitude * jnp.sqrt(2 * rest) / a * mean_noise
    return end, mean


def delayed(
    draw: Array, command: Command, queue: Queue, probabilities: Array
) -> tuple[Command, Queue]:
    """Put a command into the queue; return (the newest one that has arrived, the queue).

    A command has its delay with `probabilities` [L+1] of 0, 1, ..., L intervals, chosen by `draw`
    [], uniform in [0, 1). One that was overtaken is never done.
    """
    later = jnp.cumsum(probabilities)[:-1]
    delay = jnp.sum(draw >= later, dtype=jnp.int32)
    commands, delays = jax.tree.map(
        lambda new, old: jnp.concatenate([new[None], old]),
        (command, delay),
        (queue.commands, queue.delay),
    )
    newest = jnp.argmax(delays <= jnp.arange(delays.shape[0]))
    commands_left, delays_left = jax.tree.map(lambda x: x[:-1], (commands, delays))
    return jax.tree.map(lambda x: x[newest], commands), Queue(commands_left, delays_left)


# Commands of fixed structure


def no_command(spec: EngineSpec) -> Command:
    """Zeros in every channel that an engine takes."""
    n, d, dtype = spec.capacity, spec.dimension, spec.dtype
    shapes: dict[str, tuple[int, ...]] = {
        "speed": (n,),
        "turn_rate": (n,) if d == 2 else (n, 3),
        "heading": (n, d),
        "velocity": (n, d),
        "power": (n,),
        "spot_offset": (n, 2),
    }
    values: dict[str, Any] = {
        name: jnp.zeros(shape, dtype) for name, shape in shapes.items() if name in spec.capabilities
    }
    if "heading" in values:
        values["has_heading"] = jnp.zeros(n, bool)
    if "field" in spec.capabilities:
        fields = {"bias": (d,), "amplitude": (d,), "axis": (3,), "frequency": (), "phase": ()}
        zeros = {name: jnp.zeros(shape, dtype) for name, shape in fields.items()}
        values["field"] = FieldCommand(**zeros, gradient=jnp.zeros((d, d), dtype))
    return Command(**values)


def completed(command: Command, spec: EngineSpec) -> Command:
    """Fill the channels that are not used with zeros, which do the same as no command."""
    empty = no_command(spec)
    changes: dict[str, Any] = {}
    for field in dataclasses.fields(Command):
        zeros, given = getattr(empty, field.name), getattr(command, field.name)
        if zeros is not None:
            given = zeros if given is None else given
            changes[field.name] = jax.tree.map(
                lambda x, zero: jnp.asarray(x).astype(zero.dtype), given, zeros
            )
    return Command(**changes)


def withheld(command: Command, absent: Array, idle_speed: Array) -> tuple[Command, Array]:
    """Give no commands to colloids that are not seen; return (command, bool [N]: whose was cut).

    A swimmer that cannot rest keeps `idle_speed` [N] µm/s.
    """
    changes: dict[str, Any] = {}
    cut = jnp.zeros(absent.shape, bool)
    for name in ("speed", "turn_rate", "velocity", "power", "spot_offset", "has_heading"):
        value = getattr(command, name)
        if value is None:
            continue
        rest = idle_speed.astype(value.dtype) if name == "speed" else jnp.zeros_like(value)
        rows = absent.reshape(absent.shape + (1,) * (value.ndim - 1))
        changes[name] = jnp.where(rows, rest, value)
        cut |= (changes[name] != value).reshape(absent.shape[0], -1).any(axis=1)
    return dataclasses.replace(command, **changes), cut


# All of them


def initial_disturbances(
    key: Array, motion: TrueMotion, idle: Command, params: DisturbanceParams, space: Space
) -> DisturbanceState:
    """Return the state before the first interval; until a command arrives `idle` is done."""
    count, dimension = motion.position.shape
    noise = frame_noise(key, motion, params)
    drift, queue = None, None
    if params.drift is not None:
        drift = params.drift.amplitude * noise[-1, :dimension]
    if params.delay is not None:
        length = params.delay.shape[0] - 1
        commands = jax.tree.map(lambda x: jnp.broadcast_to(x, (length, *x.shape)), idle)
        queue = Queue(commands, jnp.zeros(length, jnp.int32))
    stuck = None if params.sticking is None else jnp.zeros(count, bool)
    view = first_view(noise, motion, params, space) if params.seen else None
    return DisturbanceState(drift, stuck, queue, view)


def disturb(
    keys: Array,
    command: Command,
    state: DisturbanceState,
    params: DisturbanceParams,
    spec: EngineSpec,
    idle_speed: Array,
) -> tuple[DisturbanceState, Command, Array, Array | None]:
    """Begin an interval: who sticks, what flows, and which command acts now. Takes two keys.

    Returns (state, command that acts, bool [N]: to whom it was not given, drift velocity [D] µm/s).
    """
    interval = spec.control_interval
    changes: dict[str, Any] = {}
    velocity: Array | None = None
    if params.drift is not None and state.drift is not None:
        noise = jax.random.normal(keys[0], (2, *state.drift.shape), state.drift.dtype)
        changes["drift"], mean = ornstein_uhlenbeck(
            noise, state.drift, params.drift.amplitude, params.drift.correlation_time, interval
        )
        velocity = params.drift.velocity + mean
    draw = jnp.zeros(spec.capacity + 1, idle_speed.dtype)
    if params.sticking is not None or params.delay is not None:
        draw = jax.random.uniform(keys[1], draw.shape, draw.dtype)
    if params.sticking is not None and state.stuck is not None:
        changes["stuck"] = switch(draw[1:], state.stuck, params.sticking, interval)
    if params.delay is not None and state.queue is not None:
        command, changes["queue"] = delayed(
            draw[0], completed(command, spec), state.queue, params.delay
        )
    cut = jnp.zeros(spec.capacity, bool)
    if params.tracking is not None and state.view is not None:
        command, cut = withheld(command, ~state.view.present, idle_speed)
    return dataclasses.replace(state, **changes), command, cut, velocity
