"""Steering at a point with delay: the distribution without, the best speed with delay."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from harness import THERMAL, Batch, Result, mean_error, row, scaled

from swarmctl.core.state import SwarmState
from swarmctl.core.world import Box, Placement, Species, World

DIFFUSION, FRAME = 0.23, 0.18
"""µm²/s, s."""
HALF, COUNT = 100.0, 64
STILL = 1e6
"""Rotational friction in pN s µm so large that directors do not diffuse."""
REFERENCES = {
    # frames of delay: (v/√(D/τ), ⟨r⟩/√(Dτ) averaged in time, the same at frames)
    0: (2.4, 1.81, 2.00),
    1: (1.57, 2.91, 2.96),
    2: (1.2, 3.72, 3.75),
}
DERIVED, SIMULATED = "p(r) ∝ r e^(−vr/D)", "independent simulation"


def _batch(swarms: int, step: float, interval: float, fastest: float) -> Batch:
    place = Placement("points", positions=((HALF, HALF),) * COUNT)
    species = Species(
        count=COUNT,
        friction=THERMAL / DIFFUSION,
        rotational_friction=STILL,
        speed_max=fastest,
        placement=place,
    )
    world = World(
        Box((2 * HALF, 2 * HALF), "open"), species=(species,), contacts=False, time_step=step
    )
    return Batch(world, interval, swarms)


def _towards_target(now: SwarmState) -> jax.Array:
    towards = HALF - now.position
    return jnp.where(jnp.sum(towards**2, -1, keepdims=True) > 0, towards, jnp.asarray([1.0, 0.0]))


@partial(jax.jit, static_argnums=(0, 1, 2, 3))
def _steer(
    batch: Batch, delay: int, substeps: int, frames: int, state: Any, speed: jax.Array, key: Any
) -> Any:
    """Mean distance over time and at frames [frames, swarms].

    The heading is taken from the frame `delay` frames ago and held for `substeps` intervals.
    """

    def distance(now: SwarmState) -> jax.Array:
        return jnp.sqrt(((now.position - HALF) ** 2).sum(-1)).mean(-1)

    def frame(carry: Any, key: jax.Array) -> Any:
        state, history = carry
        now = batch.observe(state)
        history = jnp.concatenate([_towards_target(now)[None], history[:-1]])
        command = batch.command(speed=speed[:, None], heading=history[delay], has_heading=True)

        def part(inner: Any, key: jax.Array) -> Any:
            inner, failed = batch.advance(key, inner, command)
            return inner, (distance(batch.observe(inner)), failed)

        state, (r, failed) = jax.lax.scan(part, state, jax.random.split(key, substeps))
        begin = distance(now)
        mean = (0.5 * begin + r[:-1].sum(0) + 0.5 * r[-1]) / substeps
        return (state, history), (mean, begin, failed.any())

    history = jnp.broadcast_to(
        _towards_target(batch.observe(state)), (delay + 1, batch.swarms, COUNT, 2)
    )
    _, out = jax.lax.scan(frame, (state, history), jax.random.split(key, frames))
    return out


def no_delay(effort: float = 1.0, seed: int = 0) -> Result:
    """⟨r⟩ = 2D/v where every time step steers anew."""
    rows = []
    speed = 2.0
    step = DIFFUSION / speed**2 / 400
    batch = _batch(scaled(100, effort), step, step, speed)
    frames = 20_000
    speeds = jnp.full(batch.swarms, speed)
    key = jax.random.key(seed)
    _, at_frames, failed = _steer(batch, 0, 1, frames, batch.start(seed), speeds, key)
    assert not np.asarray(failed).any()
    mean = mean_error(np.asarray(at_frames, float)[frames // 5 :].mean(0))
    rows.append(row("no delay: ⟨r⟩ (µm)", mean, 2 * DIFFUSION / speed, 0.03, DERIVED))
    return Result(rows)


def delay(effort: float = 1.0, seed: int = 0) -> Result:
    """Best speed and its mean distance for commands that come 0, 1 and 2 frames late."""
    result = no_delay(effort, seed)
    rows, curves = list(result.rows), {}
    unit_speed, unit_length = math.sqrt(DIFFUSION / FRAME), math.sqrt(DIFFUSION * FRAME)
    factors = np.array([0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.35])
    substeps, copies, frames = 18, scaled(40, effort), 500
    for late, (best, least, least_at_frames) in REFERENCES.items():
        speeds = np.repeat(best * factors * unit_speed, copies)
        step = FRAME / substeps
        batch = _batch(len(speeds), step, step, float(speeds.max()) * 1.001)
        out = _steer(
            batch,
            late,
            substeps,
            frames,
            batch.start(seed),
            jnp.asarray(speeds),
            jax.random.key(seed + late + 1),
        )
        assert not np.asarray(out[2]).any()
        for seen, wanted, what in zip(
            out, (least, least_at_frames), ("in time", "at frames"), strict=False
        ):
            mean = np.asarray(seen, float)[60:].mean(0).reshape(len(factors), copies) / unit_length
            value, error = mean.mean(1), mean.std(1, ddof=1) / math.sqrt(copies)
            x = np.log(factors)
            fit, cov = np.polyfit(x, value, 3, w=1 / error, cov="unscaled")
            grid = np.linspace(x[0], x[-1], 401)
            at = grid[np.polyval(fit, grid).argmin()]
            powers = at ** np.arange(3, -1, -1)
            lowest = float(np.polyval(fit, at)), float(math.sqrt(powers @ cov @ powers))
            label = f"{late} frames late, averaged {what}: least ⟨r⟩/√(Dτ)"
            rows.append(row(label, lowest, wanted, 0.03, SIMULATED))
            if what == "in time":
                name = f"{late} frames late: best v/√(D/τ)"
                rows.append(row(name, best * math.exp(at), best, 0.05, SIMULATED))
                curves[str(late)] = {"v": best * factors, "r": value, "error": error}
    remarks = [
        "The heading command of the engine, directors without diffusion; a cubic through seven "
        "speeds. The minimum is flat, so the best speed is known to some per cent only."
    ]
    return Result(rows, curves, remarks)
