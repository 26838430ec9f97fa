"""The twin: a simulation that starts from what was seen of the hardware."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from swarmctl.core.command import Command, check_command
from swarmctl.core.contracts import Flags, Status, Transition, raise_flags
from swarmctl.core.errors import CapabilityError, SwarmctlError
from swarmctl.core.state import SwarmState
from swarmctl.core.world import World
from swarmctl.engines.jax_engine import JaxEngine
from swarmctl.engines.jax_state import JaxEngineState
from swarmctl.physics.placement import Placed

SWEEPS = 100
"""Sweeps that move apart what was seen to overlap, since positions are seen with an error."""


def field_of_view(world: World) -> World:
    """Return the world as a camera's field of view: colloids may leave it, and nothing wraps.

    Raises CapabilityError for a world with bodies or substances, of which tracking shows nothing.
    """
    if world.bodies or world.chemicals:
        raise CapabilityError(
            "a twin starts from what is tracked, which is colloids only; this world has "
            f"{'rigid bodies' if world.bodies else 'substances'}. Give a scenario of colloids "
            "alone."
        )
    return dataclasses.replace(world, box=dataclasses.replace(world.box, boundary="open"))


def placed_as_seen(seen: SwarmState, radius: jax.Array) -> Placed:
    """Where the simulation puts what was seen; slots that are empty lie far away, one by one.

    radius [N] µm.
    """
    count, dimension = seen.position.shape
    far = -100 * (jnp.arange(count, dtype=seen.position.dtype) + 2) * jnp.max(radius)
    parked = jnp.zeros((count, dimension), seen.position.dtype).at[:, 0].set(far)
    here = seen.present[:, None]
    length = jnp.linalg.norm(seen.director, axis=1, keepdims=True)
    axis = jnp.zeros_like(seen.director).at[:, 0].set(1.0)
    director = jnp.where(length > 0, seen.director / jnp.where(length > 0, length, 1.0), axis)
    return Placed(jnp.where(here, seen.position, parked), director, jnp.asarray(False))


def moved_apart(seen: SwarmState, radius: np.ndarray) -> SwarmState:
    """Return what was seen with colloids moved apart that overlap by errors of their positions."""
    position = np.array(seen.position, np.float64)
    present = np.asarray(seen.present)
    contact = radius[:, None] + radius
    pairs = present[:, None] & present & ~np.eye(len(present), dtype=bool)
    for _ in range(SWEEPS):
        between = position[:, None] - position
        distance = np.linalg.norm(between, axis=2)
        depth = np.where(pairs, np.maximum(contact * (1 + 1e-4) - distance, 0), 0)
        if not depth.any():
            break
        unit = between / np.where(distance > 0, distance, 1.0)[..., None]
        position += (0.5 * depth[..., None] * unit).sum(axis=1)
    return dataclasses.replace(seen, position=jnp.asarray(position, seen.position.dtype))


class Twin:
    """A simulation of the same swarm, for SIMULATE: it goes on from where the hardware was.

    Args:
        world: what is simulated; its box becomes a field of view without walls of its own.
        control_interval: s.
    Raises CapabilityError for a world with bodies or substances.
    """

    def __init__(self, world: World, control_interval: float) -> None:
        self.engine = JaxEngine(field_of_view(world), control_interval)
        self.spec = self.engine.spec
        self._params = self.engine.params()
        self._radius = np.asarray(self._params.radius, np.float64)
        self._begin = jax.jit(
            lambda key, seen: self.engine.init_at(
                key, placed_as_seen(seen, self._params.radius), self._params
            )
        )
        self._advance = jax.jit(self._move)
        self._state: JaxEngineState | None = None
        self._seen: SwarmState
        self._key: jax.Array

    def start(self, seen: SwarmState, seed: int) -> SwarmState:
        """Begin at what was seen; return it. Time, steps and identities go on from there."""
        begin, self._key = jax.random.split(jax.random.key(seed))
        self._seen = moved_apart(seen, self._radius)
        self._state = self._begin(begin, self._seen)
        return self._seen

    def step(self, command: Command) -> Transition:
        """Simulate one control interval of those that were seen.

        Raises SwarmctlError before `start`, CommandError, CapabilityError, PhysicsError.
        """
        if self._state is None:
            raise SwarmctlError("the twin has not started; call start(seen, seed) first.")
        check_command(command, self.spec)
        self._key, key = jax.random.split(self._key)
        state, applied, flags, seen = self._advance(
            key, self._state, jax.tree.map(jnp.asarray, command), self._seen
        )
        raise_flags(flags, self.spec)
        self._state, self._seen = state, seen
        return Transition(seen, applied, Status(flags=flags))

    def _move(
        self, key: jax.Array, state: JaxEngineState, command: Command, before: SwarmState
    ) -> tuple[JaxEngineState, Command, Flags, SwarmState]:
        engine = self.engine
        state, applied, flags = engine.advance(key, state, command, self._params)
        seen = engine.observe_state(state, self._params)
        here = before.present[:, None]
        interval = jnp.asarray(self.spec.control_interval, before.time.dtype)
        seen = dataclasses.replace(
            before,
            position=jnp.where(here, seen.position, before.position),
            director=jnp.where(here, seen.director, before.director),
            velocity=jnp.where(here, seen.velocity, 0),
            angular_velocity=jnp.where(
                before.present.reshape((-1,) + (1,) * (seen.angular_velocity.ndim - 1)),
                seen.angular_velocity,
                0,
            ),
            present=before.present & seen.present,
            step=before.step + 1,
            time=before.time + interval,
            interval=interval,
        )
        return state, applied, flags, seen
