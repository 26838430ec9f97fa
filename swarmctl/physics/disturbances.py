"""Disturbances of motion, command and observation as pure functions of keys, states and parameters.

Each is exact on the grid of control intervals: rates and correlation times mean the same whatever
the interval is. `disturb` comes before the motion of an interval, `look` after it.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from swarmctl.core.command import Command, FieldCommand
from swarmctl.core.disturbances import Disturbances
from swarmctl.core.spec import EngineSpec
from swarmctl.core.state import Bodies, Space
from swarmctl.core.tree import pytree
from swarmctl.core.world import World

Array = jax.Array


@pytree
class DriftParams:
    """Velocity [D] µm/s, amplitude [] µm/s, correlation time [] s."""

    velocity: Array
    amplitude: Array
    correlation_time: Array


@pytree
class StageParams:
    """Velocity [D] µm/s and diffusion coefficient [] µm²/s."""

    velocity: Array
    diffusion: Array


@pytree
class Rates:
    """Rates [] 1/s at which something is switched on and off."""

    on: Array
    off: Array


@pytree
class LocalisationParams:
    """Standard deviations of positions [] µm and headings [] rad."""

    position: Array
    heading: Array


@pytree
class DisturbanceParams:
    """What disturbs; None is off. `delay` [L+1] are probabilities, `frames` [] is the probability
    that a frame is dropped, `tracking` are the rates of finding (on) and losing (off).
    """

    drift: DriftParams | None
    sticking: Rates | None
    delay: Array | None
    stage: StageParams | None
    localisation: LocalisationParams | None
    tracking: Rates | None
    frames: Array | None

    @property
    def seen(self) -> bool:
        """Whether what is observed differs from what is true."""
        parts = (self.stage, self.localisation, self.tracking, self.frames)
        return any(part is not None for part in parts)


@pytree
class Queue:
    """Commands that were given 1, 2, ..., L intervals ago, leaves [L,...], and the delay i32 [L]
    of each.
    """

    commands: Command
    delay: Array


@pytree
class View:
    """What was seen in the last frame, and what has happened since.

    position, velocity [N,D], image i32 [N,D], director [N,D], angular_velocity [N] or [N,3],
    present bool [N], identity i32 [N], bodies: see `SwarmState`. error [N,D] µm and tilt [N,1 or 3]
    rad are the errors in that frame; travel [N,D] µm and turned [N,1 or 3] rad what came since, in
    `gap` i32 [] intervals. tracked bool [N] is `present` also where a frame is dropped; stage [D]
    µm; next_identity i32 [].
    """

    position: Array
    image: Array
    director: Array
    velocity: Array
    angular_velocity: Array
    present: Array
    identity: Array
    error: Array
    tilt: Array
    travel: Array
    turned: Array
    gap: Array
    tracked: Array
    stage: Array
    next_identity: Array
    bodies: Bodies | None = None


@pytree
class DisturbanceState:
    """Fluctuating drift [D] µm/s, who is stuck bool [N], commands on their way, what is seen."""

    drift: Array | None
    stuck: Array | None
    queue: Queue | None
    view: View | None


@pytree
class TrueMotion:
    """Where colloids are and how they got there: position [N,D] µm, image i32 [N,D], director
    [N,D]; displacement [N,D] µm and rotation [N,1 or 3] rad over the interval.
    """

    position: Array
    image: Array
    director: Array
    displacement: Array
    rotation: Array


def disturbance_params(world: World) -> DisturbanceParams | None:
    """Return the disturbances of a world as arrays, None if there are none."""
    given: Disturbances | None = world.disturbances
    if given is None or given.none:
        return None
    dtype = jax.dtypes.canonicalize_dtype(jnp.float64)
    drift, stage, sticking, losses = given.drift, given.stage, given.sticking, given.losses
    delay, errors, frames = given.delay, given.localisation, given.frames

    def number(value: Any) -> Array:
        return jnp.asarray(value, dtype)

    def vector(value: tuple[float, ...]) -> Array:
        return number(value or (0.0,) * world.dimension)

    def rates(on: float, off: float) -> Rates:
        return Rates(number(on), number(off))

    params = DisturbanceParams(
        drift=None
        if drift is None
        else DriftParams(
            vector(drift.velocity), number(drift.amplitude), number(drift.correlation_time)
        ),
        sticking=None if sticking is None else rates(sticking.on_rate, sticking.off_rate),
        delay=None if delay is None or len(delay.distribution) == 1 else number(delay.distribution),
        stage=None
        if stage is None
        else StageParams(vector(stage.velocity), number(stage.diffusion)),
        localisation=None
        if errors is None
        else LocalisationParams(number(errors.position), number(errors.heading)),
        tracking=None if losses is None else rates(losses.find_rate, losses.lose_rate),
        frames=None if frames is None else number(frames.probability),
    )
    return params if jax.tree.leaves(params) else None


# Single disturbances


def ornstein_uhlenbeck(
    key: Array, value: Array, amplitude: Array, correlation_time: Array, interval: float
) -> tuple[Array, Array]:
    """Continue an Ornstein-Uhlenbeck process: (value after `interval` s, its mean in between).

    Both are exact, with their correlation (Gillespie, Phys. Rev. E 54, 2084 (1996)): given both
    ends, with a = interval/τ, the mean is normal around (x + x') tanh(a/2)/a with the variance
    2 σ² (a - 2 tanh(a/2))/a².
    """
    end_noise, mean_noise = jax.random.normal(key, (2, *value.shape), value.dtype)
    a = interval / correlation_time
    end = value * jnp.exp(-a) + amplitude * jnp.sqrt(-jnp.expm1(-2 * a)) * end_noise
    half = jnp.tanh(a / 2)
    # The difference of nearly equal numbers, by its series.
    rest = jnp.where(a < 0.5, a**3 / 12 - a**5 / 120 + 17 * a**7 / 20160, a - 2 * half)
    mean = (value + end) * half / a + amplitude * jnp.sqrt(2 * rest) / a * mean_noise
    return end, mean


def switch(key: Array, on: Array, rates: Rates, interval: float) -> Array:
    """Continue a process that switches on and off at given rates, bool [N], by `interval` s."""
    total = rates.on + rates.off
    share = -jnp.expm1(-total * interval) / jnp.where(total > 0, total, 1)
    draw = jax.random.uniform(key, on.shape, share.dtype)
    return jnp.where(on, draw >= rates.off * share, draw < rates.on * share)


def delayed(
    key: Array, command: Command, queue: Queue, probabilities: Array
) -> tuple[Command, Queue]:
    """Put a command into the queue; return (the newest one that has arrived, the queue).

    A command draws its delay with `probabilities` [L+1] of 0, 1, ..., L intervals. One that was
    overtaken is never done.
    """
    later = jnp.cumsum(probabilities)[:-1]
    delay = jnp.sum(jax.random.uniform(key, (), later.dtype) >= later, dtype=jnp.int32)
    commands, delays = jax.tree.map(
        lambda new, old: jnp.concatenate([new[None], old]),
        (command, delay),
        (queue.commands, queue.delay),
    )
    newest = jnp.argmax(delays <= jnp.arange(delays.shape[0]))
    commands_left, delays_left = jax.tree.map(lambda x: x[:-1], (commands, delays))
    return jax.tree.map(lambda x: x[newest], commands), Queue(commands_left, delays_left)


def tilted(director: Array, tilt: Array) -> Array:
    """Rotate directors [N,D] exactly, by angles [N,1] in 2D or rotation vectors [N,3] in rad."""
    if director.shape[1] == 2:
        cosine, sine = jnp.cos(tilt[:, 0]), jnp.sin(tilt[:, 0])
        x, y = director[:, 0], director[:, 1]
        turned = jnp.stack([x * cosine - y * sine, x * sine + y * cosine], axis=1)
    else:
        angle = jnp.sqrt(jnp.sum(tilt**2, axis=1, keepdims=True))
        axis = tilt / jnp.where(angle > 0, angle, 1)
        along = jnp.sum(axis * director, axis=1, keepdims=True) * axis
        around = jnp.cross(axis, director)
        turned = along + (director - along) * jnp.cos(angle) + around * jnp.sin(angle)
    return turned / jnp.sqrt(jnp.sum(turned**2, axis=1, keepdims=True))


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
    drift_key, look_key = jax.random.split(key)
    count, dimension = motion.position.shape
    dtype = motion.position.dtype
    drift, queue = None, None
    if params.drift is not None:
        drift = params.drift.amplitude * jax.random.normal(drift_key, (dimension,), dtype)
    if params.delay is not None:
        length = params.delay.shape[0] - 1
        commands = jax.tree.map(lambda x: jnp.broadcast_to(x, (length, *x.shape)), idle)
        queue = Queue(commands, jnp.zeros(length, jnp.int32))
    stuck = None if params.sticking is None else jnp.zeros(count, bool)
    view = first_view(look_key, motion, params, space) if params.seen else None
    return DisturbanceState(drift, stuck, queue, view)


def disturb(
    key: Array,
    command: Command,
    state: DisturbanceState,
    params: DisturbanceParams,
    spec: EngineSpec,
    idle_speed: Array,
) -> tuple[DisturbanceState, Command, Array, Array | None]:
    """Begin an interval: who sticks, what flows, and which command acts now.

    Returns (state, command that acts, bool [N]: to whom it was not given, drift velocity [D] µm/s).
    """
    drift_key, stick_key, delay_key = jax.random.split(key, 3)
    interval = spec.control_interval
    changes: dict[str, Any] = {}
    velocity: Array | None = None
    if params.drift is not None and state.drift is not None:
        changes["drift"], mean = ornstein_uhlenbeck(
            drift_key, state.drift, params.drift.amplitude, params.drift.correlation_time, interval
        )
        velocity = params.drift.velocity + mean
    if params.sticking is not None and state.stuck is not None:
        changes["stuck"] = switch(stick_key, state.stuck, params.sticking, interval)
    if params.delay is not None and state.queue is not None:
        command, changes["queue"] = delayed(
            delay_key, completed(command, spec), state.queue, params.delay
        )
    cut = jnp.zeros(spec.capacity, bool)
    if params.tracking is not None and state.view is not None:
        command, cut = withheld(command, ~state.view.present, idle_speed)
    return dataclasses.replace(state, **changes), command, cut, velocity


def _errors(
    key: Array, motion: TrueMotion, params: LocalisationParams | None
) -> tuple[Array, Array]:
    if params is None:
        return jnp.zeros_like(motion.displacement), jnp.zeros_like(motion.rotation)
    first, second = jax.random.split(key)
    dtype = motion.position.dtype
    place = jax.random.normal(first, motion.displacement.shape, dtype)
    tilt = jax.random.normal(second, motion.rotation.shape, dtype)
    return params.position * place, params.heading * tilt


def first_view(key: Array, motion: TrueMotion, params: DisturbanceParams, space: Space) -> View:
    """The first frame: everybody is seen, at rest."""
    count, dimension = motion.position.shape
    error, tilt = _errors(key, motion, params.localisation)
    position, boxes = space.wrap(motion.position + error)
    zero, still = jnp.zeros_like(motion.position), jnp.zeros_like(motion.rotation)
    everybody = jnp.ones(count, bool)
    return View(
        position=position,
        image=motion.image + boxes,
        director=tilted(motion.director, tilt),
        velocity=zero,
        angular_velocity=still[:, 0] if dimension == 2 else still,
        present=everybody,
        identity=jnp.arange(count, dtype=jnp.int32),
        error=error,
        tilt=tilt,
        travel=zero,
        turned=still,
        gap=jnp.asarray(0, jnp.int32),
        tracked=everybody,
        stage=zero[0],
        next_identity=jnp.asarray(count, jnp.int32),
    )


def look(
    key: Array,
    view: View,
    motion: TrueMotion,
    bodies: Bodies | None,
    params: DisturbanceParams,
    space: Space,
    interval: float,
) -> View:
    """End an interval: what the camera and the tracking make of it.

    Velocities are those of the observed positions, over the time since the frame before; of a
    colloid that was just found there is none yet. Lost ones stay where they were seen last.
    """
    track_key, frame_key, stage_key, error_key = jax.random.split(key, 4)
    tracked, frame, stage = view.tracked, jnp.asarray(True), view.stage
    if params.tracking is not None:
        tracked = switch(track_key, tracked, params.tracking, interval)
    if params.frames is not None:
        frame = jax.random.uniform(frame_key, (), params.frames.dtype) >= params.frames
    if params.stage is not None:
        shake = jnp.sqrt(2 * params.stage.diffusion * interval)
        noise = jax.random.normal(stage_key, stage.shape, stage.dtype)
        stage = stage + params.stage.velocity * interval + shake * noise
    error, tilt = _errors(error_key, motion, params.localisation)
    travel = view.travel + motion.displacement + (stage - view.stage)
    turned = view.turned + motion.rotation
    gap = view.gap + 1
    per_time = 1 / (gap * jnp.asarray(interval, travel.dtype))

    present = jnp.where(frame, tracked, view.present)
    found = present & ~view.present
    fresh = frame & tracked
    known = (fresh & ~found)[:, None]
    position, boxes = space.wrap(motion.position + stage + error)
    rate = jnp.where(known, (turned + tilt - view.tilt) * per_time, 0)
    rate = rate[:, 0] if position.shape[1] == 2 else rate

    def seen(new: Array, old: Array) -> Array:
        return jnp.where(fresh.reshape(fresh.shape + (1,) * (old.ndim - 1)), new, old)

    def renewed(new: Array, old: Array) -> Array:
        return jnp.where(frame, new, old)

    order = jnp.cumsum(found, dtype=jnp.int32)
    return View(
        position=seen(position, view.position),
        image=seen(motion.image + boxes, view.image),
        director=seen(tilted(motion.director, tilt), view.director),
        velocity=renewed(
            jnp.where(known, (travel + error - view.error) * per_time, 0), view.velocity
        ),
        angular_velocity=renewed(rate, view.angular_velocity),
        present=present,
        identity=jnp.where(found, view.next_identity + order - 1, view.identity),
        error=seen(error, view.error),
        tilt=seen(tilt, view.tilt),
        travel=renewed(jnp.zeros_like(travel), travel),
        turned=renewed(jnp.zeros_like(turned), turned),
        gap=renewed(jnp.zeros_like(gap), gap),
        tracked=tracked,
        stage=stage,
        next_identity=view.next_identity + order[-1],
        bodies=jax.tree.map(
            renewed, shifted(bodies, stage, stage - view.stage, space, interval), view.bodies
        ),
    )


def shifted(
    bodies: Bodies | None, stage: Array, step: Array, space: Space, interval: float
) -> Bodies | None:
    """What is seen of bodies when the stage has moved by `stage` [D] µm, last by `step` [D]."""
    if bodies is None:
        return None
    centre, boxes = space.wrap(bodies.centre + stage)
    return dataclasses.replace(
        bodies,
        centre=centre,
        image=bodies.image + boxes,
        velocity=bodies.velocity + step / interval,
        bead=bodies.bead + stage - boxes[bodies.body_of_bead] * space.size,
    )
