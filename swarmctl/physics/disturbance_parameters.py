"""Parameters of disturbances as arrays that one may vmap over."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from swarmctl.core.disturbances import Disturbances
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


def switch(draw: Array, on: Array, rates: Rates, interval: float) -> Array:
    """Continue a process that switches on and off at given rates, bool [N], by `interval` s.

    draw [N] is uniform in [0, 1).
    """
    total = rates.on + rates.off
    share = -jnp.expm1(-total * interval) / jnp.where(total > 0, total, 1)
    return jnp.where(on, draw >= rates.off * share, draw < rates.on * share)


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
