"""Dynamics with inertia: free diffusion at any step, equipartition, traps, drift."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from swarmctl.core.command import Command
from swarmctl.core.fields import HarmonicTrap, UniformFlow
from swarmctl.core.world import Box, Placement, Species, World
from swarmctl.engines.jax_engine import JaxEngine

COUNT, SWARMS = 200, 100


def world(step: float, dimension: int = 2, **more: Any) -> World:
    """Colloids of mass 1e-3 pN s²/µm, whose velocity forgets itself in m/γ, step in m/γ."""
    species = Species(
        count=COUNT,
        mass=1e-3,
        inertia=1e-3,
        density=1050.0,
        placement=Placement("ball", radius=1.0),
        speed_max=5.0,
    )
    friction = 6 * math.pi * 1e-3
    return World(
        box=Box((1000.0,) * dimension, "open"),
        species=(species,),
        contacts=False,
        dynamics="langevin",
        time_step=step * 1e-3 / friction,
        **more,
    )


def run(world: World, intervals: int, steps: int, command: Command) -> tuple[Any, Any, Any]:
    """Observed start and states after every interval, and the engine's states [T,S,...]."""
    engine = JaxEngine(world, steps * world.time_step)
    params = engine.params()

    @jax.jit
    def simulate(key: jax.Array) -> tuple[Any, Any, Any]:
        start_key, move_key = jax.random.split(key)
        state = jax.vmap(engine.init, (0, None))(jax.random.split(start_key, SWARMS), params)
        observe = jax.vmap(engine.observe_state, (0, None))

        def body(state: Any, key: jax.Array) -> tuple[Any, Any]:
            keys = jax.random.split(key, SWARMS)
            state, _, flags = jax.vmap(engine.advance, (0, 0, None, None))(
                keys, state, command, params
            )
            return state, (observe(state, params), state.motion.momentum, flags.diverged.any())

        first = observe(state, params)
        _, (states, momentum, diverged) = jax.lax.scan(
            body, state, jax.random.split(move_key, intervals)
        )
        return first, states, (momentum, diverged)

    first, states, (momentum, diverged) = simulate(jax.random.key(0))
    assert not np.any(diverged)
    return first, states, momentum


REST = Command(speed=jnp.zeros(COUNT))


@pytest.mark.parametrize("step", [0.1, 1.0, 100.0])
def test_free_diffusion_is_right_at_any_step(step):
    # The slope of the MSD between two late times, 1 %: 40,000 coordinates give 0.7 % for one
    # window, and ten independent windows are averaged.
    steps = max(20, math.ceil(10 / step))
    about = world(step)
    _, states, _ = run(about, 11, 4 * steps, REST)
    position = np.asarray(states.position, float)
    interval = 4 * steps * about.time_step
    moved = np.diff(position, axis=0)
    species = about.species[0]
    diffusion = about.diffusion(species)
    relaxation = 1e-3 / about.friction(species)
    # Over one window of length t: 2 d D (t - τ(1 - exp(-t/τ))) in continuous time.
    exact = 4 * diffusion * (interval - relaxation * -math.expm1(-interval / relaxation))
    over_one = np.mean(np.sum(moved**2, -1))
    two = position[2:] - position[:-2]
    over_two = np.mean(np.sum(two**2, -1))
    assert over_two - over_one == pytest.approx(4 * diffusion * interval, rel=0.01)
    if step < 1:
        assert over_one == pytest.approx(exact, rel=0.01)


@pytest.mark.parametrize("dimension", [2, 3])
def test_every_degree_of_freedom_has_half_a_kt(dimension):
    about = world(0.05, dimension)
    _, _, momentum = run(about, 4, 200, REST)
    energy = 0.5 * 1e-3 * np.mean(np.asarray(momentum.velocity, float) ** 2)
    assert energy == pytest.approx(0.5 * about.fluid.thermal_energy, rel=0.01)


@pytest.mark.parametrize("step", [0.05, 5.0])
def test_equipartition_in_a_trap(step):
    # Positions: ½ κ⟨x²⟩ = ½ k_B T per degree of freedom, exactly, at any stable step of the
    # scheme; 1 % of 20,000 samples a component over independent times.
    stiffness = 0.02 if step < 1 else 0.004
    about = world(step, potentials=(HarmonicTrap((stiffness, stiffness), (500.0, 500.0)),))
    relaxation = about.friction(about.species[0]) / stiffness
    steps = math.ceil(2 * relaxation / about.time_step)
    _, states, momentum = run(about, 8, steps, REST)
    away = np.asarray(states.position[3:], float) - 500.0
    thermal = about.fluid.thermal_energy
    assert stiffness * np.mean(away**2) == pytest.approx(thermal, rel=0.01)
    if step < 1:
        assert 1e-3 * np.mean(np.asarray(momentum.velocity, float) ** 2) == pytest.approx(
            thermal, rel=0.01
        )


@pytest.mark.parametrize("step", [0.1, 100.0])
def test_swimming_and_flow_carry_at_their_speed(step):
    about = world(step, flows=(UniformFlow((2.0, -1.0)),))
    command = Command(velocity=jnp.tile(jnp.asarray([1.0, 1.0]), (COUNT, 1)))
    steps = max(200, math.ceil(40 / step))
    _, states, _ = run(about, 3, steps, command)
    velocity = np.asarray(states.velocity[1:], float).mean((0, 1, 2))
    # 40,000 samples of a velocity with the variance 2D/t.
    deviation = math.sqrt(
        2 * about.diffusion(about.species[0]) / (steps * about.time_step * 2 * COUNT * SWARMS)
    )
    np.testing.assert_allclose(velocity, (3.0, 0.0), atol=4 * deviation + 1e-3)


def test_a_turn_rate_turns_with_inertia_too():
    about = world(0.1)
    command = Command(speed=jnp.zeros(COUNT), turn_rate=jnp.full(COUNT, 1.5))
    _, states, _ = run(about, 4, 400, command)
    rate = np.asarray(states.angular_velocity[1:], float)
    error = np.std(rate) / math.sqrt(rate.size)
    assert np.mean(rate) == pytest.approx(1.5, abs=4 * error + 1e-3)
