"""What tests of controllers share: a place to act, what is seen there, a swarm that moves."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from swarmctl.core.contracts import Agent, AgentInputs
from swarmctl.core.spec import AgentSpec, Discrete, EngineSpec
from swarmctl.core.state import Space, SwarmState
from swarmctl.core.units import BOLTZMANN
from swarmctl.core.world import World
from swarmctl.engines.jax_engine import JaxEngine

SIDE = 100.0


def make_spec(count: int, dimension: int = 2, **changes: Any) -> AgentSpec:
    engine = EngineSpec(
        name="none",
        capacity=count,
        dimension=dimension,
        dtype="float32",
        species=("colloid",),
        species_of_slot=(0,) * count,
        radius=(1.0,),
        speed_min=(0.0,),
        speed_max=(2.0,),
        turn_rate_max=(1.0,),
        box=(SIDE,) * dimension,
        periodic=(False,) * dimension,
        control_interval=0.1,
        capabilities=frozenset({"speed", "turn_rate", "heading", "velocity"}),
    )
    return AgentSpec("Test-v0", 0, (), Discrete(1), ("a",), dataclasses.replace(engine, **changes))


def make_inputs(position: Any, director: Any, **changes: Any) -> AgentInputs:
    position = jnp.asarray(position, jnp.float32)
    n, d = position.shape
    director = jnp.asarray(director, jnp.float32)
    if director.ndim == 1:
        director = jnp.stack([jnp.cos(director), jnp.sin(director)], axis=-1)
    every = jnp.ones(n, bool)
    state = SwarmState(
        position=position,
        image=jnp.zeros((n, d), jnp.int32),
        director=director,
        velocity=jnp.zeros((n, d)),
        angular_velocity=jnp.zeros(n if d == 2 else (n, 3)),
        species=jnp.zeros(n, jnp.int32),
        identity=jnp.arange(n, dtype=jnp.int32),
        present=every,
        oriented=every,
        controllable=every,
        bodies=None,
        step=jnp.asarray(0, jnp.int32),
        time=jnp.asarray(0.0),
        interval=jnp.asarray(0.1),
    )
    state = dataclasses.replace(state, **changes)
    return AgentInputs(state, jnp.zeros((n, 0)), Space(jnp.full(d, SIDE), (False,) * d))


class Drive:
    """Swarms of one world under one controller."""

    def __init__(self, world: World, interval: float, agent: Any, swarms: int = 1) -> None:
        self.engine, self.swarms = JaxEngine(world, interval), swarms
        self.spec = AgentSpec("Test-v0", 0, (), Discrete(1), ("a",), self.engine.spec)
        self.agent: Agent = agent.build(self.spec)
        self.agent.check(self.spec)

    def run(self, decisions: int, measure: Callable[[SwarmState, Any], Any], seed: int = 0) -> Any:
        """What `measure(state, command)` returned, leaves [decisions,swarms,...]."""
        keys = jax.random.split(jax.random.key(seed), self.swarms)
        failed, out = jax.jit(jax.vmap(partial(self._one, decisions, measure)))(keys)
        assert not np.asarray(failed).any()
        return jax.tree.map(lambda leaf: np.swapaxes(np.asarray(leaf), 0, 1), out)

    def _one(self, decisions: int, measure: Any, key: Any) -> Any:
        params = self.engine.params()
        space = self.engine.space(params)
        start, rest = jax.random.split(key)

        def body(carry: Any, key: Any) -> Any:
            state, memory = carry
            act_key, move_key = jax.random.split(key)
            seen = self.engine.observe_state(state, params)
            inputs = AgentInputs(seen, jnp.zeros((seen.capacity, 0)), space)
            command, memory = self.agent.act(inputs, memory, act_key)
            state, _, flags = self.engine.advance(move_key, state, command, params)
            return (state, memory), (flags.failed, measure(seen, command))

        begin = (self.engine.init(start, params), self.agent.init_memory(self.spec))
        _, (failed, out) = jax.lax.scan(body, begin, jax.random.split(rest, decisions))
        return failed, out


@pytest.fixture
def controller_spec() -> Any:
    """Return a function that describes a place: (colloids, dimension, **engine)."""
    return make_spec


@pytest.fixture
def controller_inputs() -> Any:
    """Return a function that makes what a controller sees: (positions, angles or directors)."""
    return make_inputs


@pytest.fixture
def drive() -> Any:
    """Return the class that runs swarms under a controller."""
    return Drive


@pytest.fixture
def thermal() -> float:
    """Return k_B T at 300 K in pN µm."""
    return BOLTZMANN * 300
