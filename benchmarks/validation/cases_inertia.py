"""Langevin dynamics: equipartition, free diffusion at any time step, positions in a trap."""

from __future__ import annotations

import math

import jax.numpy as jnp
import numpy as np
from harness import THERMAL, Batch, Result, mean_error, row, scaled

from swarmctl.core.fields import HarmonicTrap
from swarmctl.core.world import Box, Placement, Species, World

EQUIPARTITION = "½ k_B T per degree of freedom"
COUNT, HALF = 100, 100.0


def langevin(effort: float = 1.0, seed: int = 0) -> Result:
    """Velocities, spins, displacements and places at Δt = 0.1, 1 and 100 m/γ, free and trapped."""
    rows = []
    mass_time = 0.01
    swarms = scaled(400, effort)
    for dimension, product, trapped in (
        (2, 0.1, False),
        (2, 1.0, False),
        (2, 100.0, False),
        (3, 100.0, False),
        (2, 0.1, True),
        (2, 1.0, True),
        (2, 100.0, True),
    ):
        friction, rotational = 6 * math.pi * 1e-3, 8 * math.pi * 1e-3
        mass, inertia = friction * mass_time, rotational * mass_time
        step = product * mass_time
        # The stiffest trap that the engine takes, within the scheme's own limit k dt²/m < 4.
        stiffness = min(0.2 * friction / step, mass / step**2)
        centre = ((HALF,) * dimension,) * COUNT
        species = Species(
            count=COUNT,
            mass=mass,
            inertia=inertia,
            placement=Placement("points", positions=centre),
        )
        world = World(
            Box((2 * HALF,) * dimension, "open"),
            species=(species,),
            contacts=False,
            dynamics="langevin",
            time_step=step,
            potentials=(HarmonicTrap(stiffness),) if trapped else (),
        )
        relaxation = friction / stiffness if trapped else 0.0
        # The scheme forgets velocities within m/γ or, at long steps, within γ dt/4m steps.
        slow = max(3 * mass_time, 1.5 * relaxation, step * product / 2)
        steps = max(1, math.ceil(slow / step))
        batch = Batch(world, steps * step, swarms)
        rest = batch.command(speed=0.0)
        state, _ = batch.run(batch.start(seed), rest, 4, seed + 1)

        def squares(now: object, state: object) -> tuple[jnp.ndarray, ...]:
            motion = state.motion  # type: ignore[attr-defined]
            place = motion.position - HALF
            return tuple(
                (x**2).mean((-1, -2))
                for x in (motion.momentum.velocity, motion.spin.velocity, place)
            )

        state, (speed, spin, place) = batch.run(state, rest, 24, seed + 2, squares)
        label = f"Δt = {product:g} m/γ, {dimension}D, {'trap' if trapped else 'free'}: "
        speeds = mean_error(speed.astype(float).mean(0) * mass / THERMAL)
        rows.append(row(label + "m⟨w²⟩/k_B T", speeds, 1.0, 0.01, EQUIPARTITION))
        if trapped:
            places = mean_error(place.astype(float).mean(0) * stiffness / THERMAL)
            rows.append(row(label + "k⟨x²⟩/k_B T", places, 1.0, 0.01, EQUIPARTITION))
            continue
        spins = mean_error(spin.astype(float).mean(0) * inertia / THERMAL)
        rows.append(row(label + "I⟨ω²⟩/k_B T", spins, 1.0, 0.01, EQUIPARTITION))
        # Free diffusion over 300 m/γ or more, in four windows.
        time = max(8 * batch.interval, 300 * mass_time)
        more = math.ceil(time / batch.interval)
        windows = []
        for window in range(4):
            begin = np.asarray(batch.observe(state).unwrapped(batch.space), float)
            state, _ = batch.run(state, rest, more, seed + 3 + window)
            moved = np.asarray(batch.observe(state).unwrapped(batch.space), float) - begin
            windows.append((moved**2).sum(-1).mean(-1))
        time = more * batch.interval
        t = time / mass_time
        wanted = 2 * dimension * THERMAL / friction * mass_time * (t - 1 + math.exp(-t))
        spread = mean_error(np.mean(windows, axis=0))
        source = "Ornstein and Uhlenbeck 1930"
        rows.append(row(label + "MSD (µm²)", spread, wanted, 0.01, source))
    return Result(
        rows,
        remarks=[
            "w is the half-step velocity of the scheme of Grønbech-Jensen and Farago, whose "
            "variance and free diffusion are exact for every time step."
        ],
    )
