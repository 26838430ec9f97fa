"""The free active Brownian particle against its closed forms (Howse et al., PRL 99, 048102, 2007).

With d dimensions, tau = 1/((d-1) D_r): director autocorrelation e^(-t/tau); MSD = 2 d D_t t +
2 v² tau² (t/tau - 1 + e^(-t/tau)); D_eff = D_t + v² tau/d. Every test here runs in the
precision that JAX is in; the last one runs the others in float64.

Statistics. PARTICLES independent particles per case, in 2 or 3 dimensions. A squared
displacement of a diffusive particle has relative variance 2/d, so the MSD of M particles has
relative error sqrt(2/(d M)). D_eff from the slope between 5 tau and 25 tau adds the earlier
MSD's noise: at most a factor 1.25. With M = 40 000: 0.63 % in 2D, 0.51 % in 3D, below a third
of the 2 % asked for. D_t from 4 000 x 300 increments in d components: sqrt(2/(300 x 4 000 d))
< 0.1 %, a tenth of the 1 % asked for.
"""

from __future__ import annotations

import functools
import math
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from swarmctl.core.command import Command
from swarmctl.core.state import SwarmState
from swarmctl.core.world import Box, Fluid, Species, World
from swarmctl.engines.jax_engine import JaxEngine, JaxEngineState

PARTICLES = 40_000
PASSIVE = 4_000
COUNT = 50
SPEED = 5.0
TURN = 0.3
"""rad/s, about 2 D_r: far from both limits."""
INTERVALS = 300
DIMENSIONS = pytest.mark.parametrize("dimension", [2, 3])


@pytest.mark.parametrize(
    ("temperature", "viscosity", "radius", "translational", "rotational"),
    [
        (300, 1.00e-3, 1.00, 0.21974, 0.16480),
        (293, 0.89e-3, 2.14, 0.11268, 0.018454),
        (293, 0.89e-3, 3.15, 0.07655, 0.005786),
    ],
)
def test_stokes_einstein_values(
    temperature: float, viscosity: float, radius: float, translational: float, rotational: float
) -> None:
    """D_t = kT/(6 pi eta a), D_r = kT/(8 pi eta a³)."""
    species = Species(radius=radius)
    world = World(fluid=Fluid(viscosity, temperature), species=(species,))
    assert world.diffusion(species) == pytest.approx(translational, rel=1e-3)
    assert world.rotational_diffusion(species) == pytest.approx(rotational, rel=1e-3)
    # 293 K, 0.89 mPa s and 2.14 um are an independent route to the same ratio: D_r = 3 D_t/(4 a²).
    ratio = world.rotational_diffusion(species) / world.diffusion(species)
    assert ratio == pytest.approx(3 / (4 * radius**2), rel=1e-12)


def test_given_frictions_are_used() -> None:
    species = Species(friction=0.5, rotational_friction=0.25)
    world = World(species=(species,))
    assert world.friction(species) == 0.5
    assert world.diffusion(species) == pytest.approx(1.380649e-5 * 300 / 0.5, rel=1e-12)
    assert world.rotational_diffusion(species) == pytest.approx(1.380649e-5 * 300 / 0.25, rel=1e-12)


@dataclass(frozen=True)
class Run:
    """Statistics of free particles that swim straight, turn, or do neither, per interval."""

    diffusion: float
    rotational: float
    tau: float
    times: np.ndarray  # [T]
    interval: float
    msd: np.ndarray  # [T, 2]
    alignment: np.ndarray  # [T, 2], director(0) . director(t)
    velocities: np.ndarray  # [T, 2], velocity(interval 1) . velocity(interval T)
    passive: float  # D_t of the particles that do not swim


@functools.cache
def measure(dimension: int) -> Run:
    species = Species(count=COUNT, radius=1.0)
    tau = 1 / ((dimension - 1) * World(species=(species,)).rotational_diffusion(species))
    interval, steps = tau / 12, 6
    world = World(
        box=Box((1000.0,) * dimension),
        species=(species,),
        time_step=interval / steps,
        contacts=False,
    )
    engine = JaxEngine(world, interval)
    params = engine.params()
    space = engine.space(params)
    per_case = PARTICLES // COUNT
    parts = [slice(0, per_case), slice(per_case, 2 * per_case), slice(2 * per_case, None)]
    batch = 2 * per_case + PASSIVE // COUNT
    turn = np.zeros((batch, COUNT) if dimension == 2 else (batch, COUNT, 3))
    turn[parts[1]] = TURN if dimension == 2 else (0, 0, TURN)
    speed = np.full((batch, COUNT), SPEED)
    speed[parts[2]] = 0
    command = Command(speed=jnp.asarray(speed), turn_rate=jnp.asarray(turn))

    def mean_dot(a: jax.Array, b: jax.Array) -> jax.Array:
        """Mean of a . b over the particles of the two cases that swim."""
        product = (a * b).sum(-1)
        return jnp.stack([product[part].mean() for part in parts[:2]])

    @jax.jit
    def run(key: jax.Array) -> tuple[jax.Array, ...]:
        init_key, key = jax.random.split(key)
        state = jax.vmap(lambda k: engine.init(k, params))(jax.random.split(init_key, batch))
        start = jax.vmap(lambda s: engine.observe_state(s, params))(state)
        origin = start.unwrapped(space)

        def advance(state: JaxEngineState, key: jax.Array) -> tuple[JaxEngineState, SwarmState]:
            def one(key: jax.Array, state: JaxEngineState, command: Command) -> tuple:
                state, _, _ = engine.advance(key, state, command, params)
                return state, engine.observe_state(state, params)

            return jax.vmap(one)(jax.random.split(key, batch), state, command)

        def body(carry: tuple, key: jax.Array) -> tuple[tuple, tuple]:
            state, first = carry
            state, now = advance(state, key)
            first = jnp.where(now.step[0] == 1, now.velocity, first)
            moved = now.unwrapped(space) - origin
            out = (
                mean_dot(moved, moved),
                mean_dot(start.director, now.director),
                mean_dot(first, now.velocity),
                (now.velocity[parts[2]] ** 2).mean(),
            )
            return (state, first), out

        _, out = jax.lax.scan(body, (state, start.velocity), jax.random.split(key, INTERVALS))
        return out

    msd, alignment, velocities, passive = (np.asarray(x) for x in run(jax.random.key(1)))
    return Run(
        diffusion=world.diffusion(species),
        rotational=world.rotational_diffusion(species),
        tau=tau,
        times=interval * np.arange(1, INTERVALS + 1),
        interval=interval,
        msd=msd,
        alignment=alignment,
        velocities=velocities,
        passive=float(passive.mean()) * interval / 2,
    )


def turning(dimension: int, tau: float, times: np.ndarray) -> np.ndarray:
    """Director autocorrelation under a constant turn rate about a fixed axis.

    Rotational diffusion is isotropic, so it multiplies the turning: e^(-t/tau) cos(wt) in 2D;
    in 3D the third of the director that lies along the axis does not turn.
    """
    cosine = np.cos(TURN * times)
    return np.exp(-times / tau) * (cosine if dimension == 2 else (1 + 2 * cosine) / 3)


@DIMENSIONS
def test_passive_diffusion_gives_the_friction(dimension: int) -> None:
    run = measure(dimension)
    assert run.passive == pytest.approx(run.diffusion, rel=0.01)


@DIMENSIONS
def test_mean_square_displacement(dimension: int) -> None:
    """From a twelfth of the persistence time to 25 of them, ballistic to diffusive."""
    run = measure(dimension)
    x = run.times / run.tau
    active = 2 * SPEED**2 * run.tau**2 * (x - 1 + np.exp(-x))
    expected = 2 * dimension * run.diffusion * run.times + active
    np.testing.assert_allclose(run.msd[:, 0], expected, rtol=0.02)
    # At short times the squared displacement is nearly the same for all: its mean gives the speed.
    assert run.msd[0, 0] == pytest.approx(expected[0], rel=0.01)


@DIMENSIONS
def test_director_autocorrelation(dimension: int) -> None:
    """One director component has a variance of at most 1/2, so the mean is known to 0.0035."""
    run = measure(dimension)
    expected = np.exp(-run.times / run.tau)
    np.testing.assert_allclose(run.alignment[:, 0], expected, atol=0.0125)
    np.testing.assert_allclose(
        run.alignment[:, 1], turning(dimension, run.tau, run.times), atol=0.0125
    )
    # D_r within 1 %, from the first persistence time, over which errors are small and correlated.
    early = slice(1, 12)
    rate = -np.polyfit(run.times[early], np.log(run.alignment[early, 0]), 1)[0]
    assert rate == pytest.approx((dimension - 1) * run.rotational, rel=0.015)


@DIMENSIONS
def test_velocity_autocorrelation(dimension: int) -> None:
    """v² e^(-t/tau), averaged over the two intervals over which velocities are measured."""
    run = measure(dimension)
    h = run.interval / run.tau
    average = 2 * (math.cosh(h) - 1) / h**2
    lag = run.times[1:] - run.times[0]
    expected = SPEED**2 * np.exp(-lag / run.tau) * average
    # Brownian steps add sqrt(2 D_t/interval) to a velocity, 1 µm/s here: 4 % more noise.
    np.testing.assert_allclose(run.velocities[1:, 0], expected, atol=0.0125 * SPEED**2)


@DIMENSIONS
@pytest.mark.parametrize("case", [0, 1], ids=["straight", "turning"])
def test_effective_diffusion(dimension: int, case: int) -> None:
    """D_eff = D_t + v²/d x integral of the director autocorrelation (Green-Kubo), turning or not.

    In 2D with turn rate w this is D_t + v² D_r/(2 (D_r² + w²)).
    """
    run = measure(dimension)
    first, last = 59, 299
    slope = (run.msd[last] - run.msd[first]) / (run.times[last] - run.times[first])
    slower = run.tau / (1 + (TURN * run.tau) ** 2)
    straight, round_about = run.tau, slower if dimension == 2 else (run.tau + 2 * slower) / 3
    expected = run.diffusion + SPEED**2 / dimension * (straight, round_about)[case]
    if dimension == 2 and case == 1:
        formula = SPEED**2 * run.rotational / (2 * (run.rotational**2 + TURN**2))
        assert expected == pytest.approx(run.diffusion + formula)
    assert slope[case] / (2 * dimension) == pytest.approx(expected, rel=0.02)


@DIMENSIONS
def test_speed_without_noise_is_exact(dimension: int) -> None:
    """At 0 K a colloid swims v t along its director."""
    species = Species(count=3, speed_max=10.0)
    box = Box((100.0,) * dimension, "open")
    world = World(box, Fluid(temperature=0.0), (species,), time_step=1e-3, contacts=False)
    engine = JaxEngine(world, 1.0)
    start = engine.reset(0)
    speed = np.array([0.0, 3.0, 10.0])
    end = engine.step(Command(speed=speed)).state
    moved = np.asarray(end.position - start.position)
    # a sum of 1000 float32 steps
    wanted = speed[:, None] * np.asarray(start.director)
    np.testing.assert_allclose(moved, wanted, rtol=3e-5, atol=1e-6)
    np.testing.assert_allclose(np.asarray(end.director), np.asarray(start.director), atol=1e-6)


@pytest.mark.skipif(jax.config.jax_enable_x64, reason="this is the float64 run")
def test_the_same_holds_in_float64() -> None:
    """x64 is a choice for a whole process, so the tests above run again in another one."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(Path(__file__))]
    done = subprocess.run(
        command,
        env={**os.environ, "JAX_ENABLE_X64": "1"},
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    assert "1 skipped" in done.stdout


def test_precision_is_what_the_process_says() -> None:
    wanted = "float64" if os.environ.get("JAX_ENABLE_X64") == "1" else "float32"
    engine = JaxEngine(World(time_step=1e-4), 1e-3)
    assert engine.spec.dtype == wanted
    assert engine.reset(0).position.dtype == wanted
