"""From illumination to swimming and turning: one model for simulation, twin and virtual laboratory.

It is evaluated once per control interval. Colloid i receives P_i = duty Σ_j P_j g(|r_i - s_j|) from
all spots s_j = r_j + offset_j; its effective power relaxes towards that, and the mean p of it over
the interval drives

    v = gain slope (p - threshold), at least 0, saturating at speed_max
    ω = steering v/a² (n̂ × d), at most turn_rate_max

where d is the offset of the received light's centre from a colloid of radius a.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from swarmctl.core.actuator import Actuator
from swarmctl.core.command import Command, LightLimits
from swarmctl.core.state import Space
from swarmctl.core.tree import pytree, static
from swarmctl.core.world import World

Array = jax.Array

ROWS = 256
"""Colloids whose spots are summed at once, so that memory stays linear in their number."""


@pytree
class ActuatorParams:
    """How light drives N colloids; all [N] but for the last two rows.

    slope µm/s per power, threshold and power in W/µm² or the laboratory's unit; spread is the
    relative standard deviation of the gain; rise_time and fall_time s; steering; spot_radius µm,
    infinite where a spot lights its own colloid alone; smooth, gaussian, shared and needs_light
    bool. power_total [G] of groups of colloids, group i32 [N]; spots: whether any has a radius;
    sharing: whether a beam is shared.
    """

    slope: Array
    threshold: Array
    spread: Array
    rise_time: Array
    fall_time: Array
    steering: Array
    spot_radius: Array
    dwell: Array
    power_max: Array
    offset_max: Array
    smooth: Array
    gaussian: Array
    shared: Array
    needs_light: Array
    power_total: Array
    group: Array
    spots: bool = static()
    sharing: bool = static()


@pytree
class ActuatorState:
    """Gain [N] of every colloid, fixed in an episode, and its effective power [N]."""

    gain: Array
    power: Array


def actuator_params(world: World) -> ActuatorParams | None:
    """Spread the actuators of a world's species over its slots; None if there are none.

    A species without an actuator is not moved by light, and takes no power.
    """
    if all(s.actuator is None for s in world.species):
        return None
    dtype = jax.dtypes.canonicalize_dtype(jnp.float64)
    slots = np.asarray(world.species_of_slot)
    dark = Actuator()
    actuators = [s.actuator or dark for s in world.species]
    driven = [s.actuator is not None for s in world.species]

    def column(name: str, otherwise: float | None = None) -> Array:
        values = [
            otherwise if otherwise is not None and not on else getattr(a, name)
            for a, on in zip(actuators, driven, strict=True)
        ]
        return jnp.asarray(np.asarray(values, dtype)[slots])

    def mask(values: list[bool]) -> Array:
        return jnp.asarray(np.asarray(values, bool)[slots])

    radii = [np.inf if a.spot_radius is None else a.spot_radius for a in actuators]
    totals = [np.inf if a.power_total is None else a.power_total for a in actuators]
    return ActuatorParams(
        slope=column("slope", 0.0),
        threshold=column("threshold"),
        spread=column("gain_spread", 0.0),
        rise_time=column("rise_time"),
        fall_time=column("fall_time"),
        steering=column("steering", 0.0),
        spot_radius=jnp.asarray(np.asarray(radii, dtype)[slots]),
        dwell=column("dwell"),
        power_max=column("power_max", 0.0),
        offset_max=column("offset_max", 0.0),
        smooth=mask([a.saturation == "smooth" for a in actuators]),
        gaussian=mask([a.spot == "gaussian" for a in actuators]),
        shared=mask([a.sharing == "time" for a in actuators]),
        needs_light=mask([a.turning_needs_light for a in actuators]),
        power_total=jnp.asarray(totals, dtype),
        group=jnp.asarray(slots, jnp.int32),
        spots=any(a.spot_radius is not None for a in actuators),
        sharing=any(a.sharing == "time" for a in actuators),
    )


def light_limits(params: ActuatorParams, interval: float) -> LightLimits:
    """What the light does at most in a control interval of `interval` s."""
    return LightLimits(
        power_max=params.power_max,
        offset_max=params.offset_max,
        power_total=params.power_total,
        group=params.group,
        dwell=jnp.where(params.shared, params.dwell, 0) / interval if params.sharing else None,
        needs_light=params.needs_light,
    )


def draw_gain(key: Array, spread: Array) -> Array:
    """Gains [N], lognormal with mean 1 and the standard deviation `spread` [N]."""
    variance = jnp.log1p(spread**2)
    normal = jax.random.normal(key, spread.shape, spread.dtype)
    return jnp.exp(jnp.sqrt(variance) * normal - variance / 2)


def initial_actuator(key: Array, params: ActuatorParams) -> ActuatorState:
    """Draw the gains; everything is dark."""
    return ActuatorState(draw_gain(key, params.spread), jnp.zeros_like(params.spread))


def speed_law(
    power: Array, slope: Array, threshold: Array, speed_max: Array, smooth: Array
) -> Array:
    """Speed µm/s by a mean power: slope (P - threshold), at least 0, saturating at speed_max.

    Sharp: min(v, v_max); smooth: v_max (1 - exp(-v/v_max)), with the same slope at the threshold.
    """
    speed = slope * jnp.maximum(power - threshold, 0)
    moving = speed_max > 0
    most = jnp.where(moving, speed_max, 1)
    rounded = -most * jnp.expm1(-speed / most)
    return jnp.where(moving, jnp.where(smooth, rounded, jnp.minimum(speed, most)), 0)


def turn_law(
    speed: Array, director: Array, offset: Array, radius: Array, steering: Array, turn_max: Array
) -> Array:
    """Turn rate steering v/a² (n̂ × d), [N,1] in 2D or a rotation vector [N,3] in 3D, in rad/s.

    director [N,D]; offset d [N,2] µm in the plane of x and y; never faster than turn_max [N].
    """
    planar = director.shape[1] == 2
    x, y = offset[:, 0], offset[:, 1]
    across = director[:, 0] * y - director[:, 1] * x
    axes = [across] if planar else [-director[:, 2] * y, director[:, 2] * x, across]
    turn = (steering * speed / radius**2)[:, None] * jnp.stack(axes, axis=1)
    return shortened(turn, turn_max)


def shortened(vector: Array, longest: Array) -> Array:
    """Cut vectors [N,...] down to the lengths `longest` [N]."""
    length = jnp.sqrt(jnp.sum(vector**2, axis=1))
    long = length > longest
    return vector * jnp.where(long, longest / jnp.where(long, length, 1), 1)[:, None]


def relax(
    power: Array, target: Array, rise_time: Array, fall_time: Array, interval: float
) -> tuple[Array, Array]:
    """Relax a power towards a constant target: (power after `interval` s, its mean in between).

    dP/dt = (target - P)/τ, exactly; τ is the rise time below the target and the fall time above
    it; 0 acts at once.
    """
    time = jnp.where(target > power, rise_time, fall_time)
    slow = time > 0
    ratio = interval / jnp.where(slow, time, 1)
    done = jnp.where(slow, -jnp.expm1(-ratio), 1)
    left = jnp.where(slow, done / ratio, 0)
    change = power - target
    return target + change * (1 - done), target + change * left


def duty(power: Array, shared: Array) -> Array:
    """Share [N] of the time that the light is on: 1/n for n lit colloids that share a beam.

    The response is taken to be slow against the beam's round.
    """
    lit = jnp.sum(((power > 0) & shared).astype(power.dtype))
    return jnp.where(shared, 1 / jnp.maximum(lit, 1), 1)


def received(
    power: Array, offset: Array, position: Array, space: Space, params: ActuatorParams
) -> tuple[Array, Array]:
    """Mean power [N] that reaches every colloid, and the offset [N,2] µm of that light's centre.

    power [N] and offset [N,2] µm of every colloid's own spot. The centre is the mean of all spots'
    centres, weighted by what they bring.
    """
    if params.sharing:
        power = power * duty(power, params.shared)
    if not params.spots:
        return power, jnp.where((power > 0)[:, None], offset, 0)
    plane = Space(space.size[:2], space.periodic[:2])
    place, count = position[:, :2], position.shape[0]
    own = jnp.isinf(params.spot_radius)
    inverse = jnp.where(own, 0, 1 / params.spot_radius)

    def reach(row: tuple[Array, Array]) -> tuple[Array, Array]:
        here, index = row
        to_spot = plane.displacement(here, place) + offset
        square = jnp.sum(to_spot**2, axis=-1) * inverse**2
        profile = jnp.where(params.gaussian, jnp.exp(-2 * square), square <= 1)
        profile = jnp.where(own, jnp.arange(count) == index, profile)
        brought = power * profile
        total = jnp.sum(brought)
        centre = jnp.sum(brought[:, None] * to_spot, axis=0)
        return total, centre / jnp.where(total > 0, total, 1)

    return jax.lax.map(reach, (place, jnp.arange(count)), batch_size=min(count, ROWS))


def illuminate(
    state: ActuatorState,
    command: Command,
    position: Array,
    director: Array,
    limits: tuple[Array, Array, Array],
    params: ActuatorParams,
    space: Space,
    interval: float,
) -> tuple[ActuatorState, Array, Array]:
    """Let a command's light act for one control interval of `interval` s.

    position and director [N,D]; `limits` are radius [N] µm, speed_max [N] µm/s and turn_rate_max
    [N] rad/s. Returns (state, speed [N] µm/s, turn rate [N,1] or [N,3] rad/s).
    """
    radius, speed_max, turn_max = limits
    dtype = position.dtype
    power = jnp.zeros_like(radius) if command.power is None else command.power.astype(dtype)
    offset = jnp.zeros((radius.shape[0], 2), dtype)
    if command.spot_offset is not None:
        offset = command.spot_offset.astype(dtype)
    target, centre = received(power, offset, position, space, params)
    end, mean = relax(state.power, target, params.rise_time, params.fall_time, interval)
    speed = speed_law(mean, state.gain * params.slope, params.threshold, speed_max, params.smooth)
    turn = turn_law(speed, director, centre, radius, params.steering, turn_max)
    return ActuatorState(state.gain, end), speed, turn
