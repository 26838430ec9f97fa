"""What camera and tracking make of a motion: errors, a drifting stage, lost tracks and frames."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp

from swarmctl.core.state import Bodies, Space
from swarmctl.core.tree import pytree
from swarmctl.physics.disturbance_parameters import (
    DisturbanceParams,
    LocalisationParams,
    switch,
)

Array = jax.Array


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
class TrueMotion:
    """Where colloids are and how they got there: position [N,D] µm, image i32 [N,D], director
    [N,D]; displacement [N,D] µm and rotation [N,1 or 3] rad over the interval.
    """

    position: Array
    image: Array
    director: Array
    displacement: Array
    rotation: Array


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


def frame_noise(key: Array, motion: TrueMotion, params: DisturbanceParams) -> Array:
    """Standard normal numbers [N+1,D+T]: for the errors of every colloid, and one row more."""
    count, dimension = motion.position.shape
    shape, dtype = (count + 1, dimension + motion.rotation.shape[1]), motion.position.dtype
    parts = (params.drift, params.stage, params.localisation)
    if all(part is None for part in parts):
        return jnp.zeros(shape, dtype)
    return jax.random.normal(key, shape, dtype)


def _errors(noise: Array, dimension: int, params: LocalisationParams | None) -> tuple[Array, Array]:
    place, tilt = noise[:-1, :dimension], noise[:-1, dimension:]
    if params is None:
        return jnp.zeros_like(place), jnp.zeros_like(tilt)
    return params.position * place, params.heading * tilt


def first_view(noise: Array, motion: TrueMotion, params: DisturbanceParams, space: Space) -> View:
    """The first frame: everybody is seen, at rest. `noise` [N+1,D+T] is standard normal."""
    count, dimension = motion.position.shape
    error, tilt = _errors(noise, dimension, params.localisation)
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
    keys: Array,
    view: View,
    motion: TrueMotion,
    bodies: Bodies | None,
    params: DisturbanceParams,
    space: Space,
    interval: float,
) -> View:
    """End an interval: what the camera and the tracking make of it. Takes two keys.

    Velocities are those of the observed positions, over the time since the frame before; of a
    colloid that was just found there is none yet. Lost ones stay where they were seen last.
    """
    count, dimension = motion.position.shape
    tracked, frame, stage = view.tracked, jnp.asarray(True), view.stage
    noise = frame_noise(keys[0], motion, params)
    if params.tracking is not None or params.frames is not None:
        draw = jax.random.uniform(keys[1], (count + 1,), noise.dtype)
        if params.tracking is not None:
            tracked = switch(draw[1:], tracked, params.tracking, interval)
        if params.frames is not None:
            frame = draw[0] >= params.frames
    if params.stage is not None:
        shake = jnp.sqrt(2 * params.stage.diffusion * interval)
        stage = stage + params.stage.velocity * interval + shake * noise[-1, :dimension]
    error, tilt = _errors(noise, dimension, params.localisation)
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
    rate = rate[:, 0] if dimension == 2 else rate

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
