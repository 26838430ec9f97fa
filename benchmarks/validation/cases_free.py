"""The free active Brownian particle: diffusion, persistence, effective diffusion."""

from __future__ import annotations

import math
from typing import Any

import jax.numpy as jnp
import numpy as np
from harness import Batch, Result, mean_error, row, scaled

from swarmctl.core.world import Box, Fluid, Species, World

SETS = (
    # T, η, a, D_t, D_r
    (300.0, 1.00e-3, 1.00, 0.21974, 0.16480),
    (293.0, 0.89e-3, 2.14, 0.11268, 0.018454),
    (293.0, 0.89e-3, 3.15, 0.07655, 0.005786),
)
STOKES = "k_B T/6πηa, k_B T/8πηa³"
HOWSE = "Howse et al., PRL 99, 048102 (2007)"
TURNING = "Green–Kubo with turning: D_t + v²D_r/2(D_r² + ω²)"
SPEED, COUNT, PER_TAU, STEPS, LAGS = 5.0, 50, 12, 6, 300
"""Speed in µm/s; particles of a swarm, intervals in a persistence time, steps in an interval."""


def _measure(number: int, dimension: int, effort: float, seed: int) -> dict[str, Any]:
    temperature, viscosity, radius, _, rotational = SETS[number]
    species = Species(count=COUNT, radius=radius)
    tau = 1 / ((dimension - 1) * rotational)
    interval = tau / PER_TAU
    world = World(
        Box((1000.0,) * dimension),
        Fluid(viscosity, temperature),
        (species,),
        time_step=interval / STEPS,
        contacts=False,
    )
    third = scaled(1600, effort)
    batch = Batch(world, interval, 3 * third)
    kind = np.repeat(np.arange(3), third)  # straight, turning, passive
    turn_rate = 2 * rotational
    turn = np.where(kind == 1, turn_rate, 0.0)[:, None]
    if dimension == 3:
        turn = turn[..., None] * np.array([0.0, 0.0, 1.0])
    command = batch.command(
        speed=np.where(kind == 2, 0.0, SPEED)[:, None],
        turn_rate=np.broadcast_to(turn, (3 * third, COUNT, *turn.shape[2:])),
    )
    state = batch.start(seed)
    begin = batch.observe(state)
    origin, first = begin.unwrapped(batch.space), begin.director
    state, _ = batch.run(state, command, 1, seed + 1)
    early = batch.observe(state)

    def curves(now: Any, _: Any) -> tuple[Any, ...]:
        moved = now.unwrapped(batch.space) - origin
        return (
            (moved**2).sum(-1).mean(-1),
            (first * now.director).sum(-1).mean(-1),
            (early.velocity * now.velocity).sum(-1).mean(-1),
            (now.velocity**2).sum(-1).mean(-1),
        )

    state, out = batch.run(state, command, LAGS - 1, seed + 2, curves)
    turning = []
    for i in range(20):
        before = np.asarray(batch.observe(state).director)
        state, _ = batch.run(state, command, 1, seed + 1000 * (i + 1))
        after = np.asarray(batch.observe(state).director)
        turning.append((before * after).sum(-1).mean(-1)[kind != 1])
    msd, alignment, velocities, square = (np.moveaxis(x.astype(float), 0, 1) for x in out)
    short = np.asarray((((early.unwrapped(batch.space) - origin) ** 2).sum(-1)).mean(-1), float)
    return {
        "tau": tau,
        "turning": np.mean(turning, axis=0, dtype=float),
        "interval": interval,
        "turn_rate": turn_rate,
        "times": interval * np.arange(2, LAGS + 1),
        "short": short.reshape(3, third),
        "msd": msd.reshape(3, third, -1),
        "alignment": alignment.reshape(3, third, -1),
        "velocities": velocities.reshape(3, third, -1),
        "square": square.reshape(3, third, -1),
    }


def free(effort: float = 1.0, seed: int = 0) -> Result:
    """Three parameter sets in 2D and 3D, in the precision that JAX is in."""
    double = jnp.zeros(()).dtype == jnp.float64
    dtype = "float64" if double else "float32"
    rows, curves, remarks = [], {}, []
    for number, (_, _, radius, diffusion, rotational) in enumerate(SETS):
        for dimension in (2, 3):
            if double and number:
                continue
            seen = _measure(number, dimension, effort, 10 * seed + 3 * number)
            label = f"a = {radius:g} µm, {dimension}D, {dtype}: "
            tau, times, interval = seen["tau"], seen["times"], seen["interval"]
            passive = seen["square"][2].mean(-1) * interval / (2 * dimension)
            rows.append(row(label + "D_t", mean_error(passive), diffusion, 0.01, STOKES))
            rate, error = mean_error(seen["turning"])
            scale = (dimension - 1) * interval
            lost = -math.log(rate) / scale, error / rate / scale
            rows.append(row(label + "D_r", lost, rotational, 0.01, STOKES))
            x = np.concatenate([[interval], times]) / tau
            active = 2 * SPEED**2 * tau**2 * (x - 1 + np.exp(-x))
            expected = 2 * dimension * diffusion * tau * x + active
            drift = (seen["short"][0] - 2 * dimension * diffusion * interval) / (
                active[0] / SPEED**2
            )
            speed, error = mean_error(drift)
            speed, error = math.sqrt(speed), error / 2 / math.sqrt(speed)
            rows.append(row(label + "speed v", (speed, error), SPEED, 0.01, HOWSE))
            ratio = np.concatenate([seen["short"][0][:, None], seen["msd"][0]], 1) / expected
            worst = int(np.abs(ratio.mean(0) - 1).argmax())
            rows.append(
                row(
                    label + "MSD/theory where it differs most",
                    mean_error(ratio[:, worst]),
                    1.0,
                    0.02,
                    HOWSE,
                )
            )
            h = interval / tau
            lag = times - interval
            theory = np.exp(-lag / tau) * 2 * (math.cosh(h) - 1) / h**2
            velocity = seen["velocities"][0] / SPEED**2
            worst = int(np.abs(velocity.mean(0) - theory).argmax())
            gap = mean_error(velocity[:, worst] - theory[worst])
            name = label + "⟨v(0)·v(t)⟩/v² − theory where it differs most"
            rows.append(row(name, gap, 0.0, 0.0125, HOWSE, absolute=True))
            begin = 5 * PER_TAU - 2
            for case, (kind, source) in enumerate((("", HOWSE), (", ω = 2 D_r", TURNING))):
                if case and dimension == 3:
                    continue
                rise = seen["msd"][case][:, -1] - seen["msd"][case][:, begin]
                spread = rise / (times[-1] - times[begin]) / (2 * dimension)
                persistence = tau
                if case:
                    persistence = tau / (1 + (seen["turn_rate"] * tau) ** 2)
                wanted = diffusion + SPEED**2 * persistence / dimension
                name = label + "D_eff" + kind
                rows.append(row(name, mean_error(spread), wanted, 0.02, source))
            if number == 0 and not double:
                curves[f"{dimension}D"] = {
                    "t": x,
                    "msd": np.concatenate([[seen["short"][0].mean()], seen["msd"][0].mean(0)]),
                    "theory": expected,
                    "lag": lag / tau,
                    "velocity": velocity.mean(0),
                }
    remarks.append(
        f"Time step τ/{PER_TAU * STEPS}. The velocity correlation is that of mean velocities over "
        f"τ/{PER_TAU}. D_eff is the slope of the MSD between 5τ and 25τ."
    )
    return Result(rows, curves, remarks)
