"""The embedded engine: overdamped active Brownian particles on JAX, batched, in 2D and 3D."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from swarmctl.core.command import Command, Limits, apply_limits, check_channels, check_command
from swarmctl.core.contracts import Flags, PureEngine, Status, Transition, raise_flags
from swarmctl.core.errors import PlacementError, SwarmctlError
from swarmctl.core.spec import EngineSpec
from swarmctl.core.state import Space, SwarmState
from swarmctl.core.tree import pytree
from swarmctl.core.world import World, steps_per_interval
from swarmctl.physics.brownian import Drive, MotionState, interval_motion
from swarmctl.physics.parameters import MotionConfig, MotionParams, check_stiffness, motion_params
from swarmctl.physics.placement import check_points, place
from swarmctl.physics.rotation import normalise

Array = jax.Array

CAPABILITIES = frozenset({"speed", "turn_rate", "heading", "velocity"})


@pytree
class JaxEngineState:
    """Opaque state of the engine; read it through `observe_state`."""

    motion: MotionState
    velocity: Array
    angular_velocity: Array
    step: Array
    misplaced: Array


class JaxEngine(PureEngine):
    """Active Brownian particles in a world, advanced by whole control intervals.

    Args:
        world: what is simulated.
        control_interval: s, a whole number of the world's time steps.

    The pure functions `init`, `advance` and `observe_state` can be jitted, scanned and vmapped;
    `reset` and `step` are the stateful shell on them, which turns flags into exceptions.
    Raises ConfigError or PlacementError for a world that cannot be simulated as described.
    """

    def __init__(self, world: World, control_interval: float = 0.1) -> None:
        check_stiffness(world)
        check_points(world)
        self.world = world
        self.config = MotionConfig(
            count=world.capacity,
            boundaries=world.box.boundaries,
            time_step=world.time_step,
            steps=steps_per_interval(control_interval, world.time_step),
            contacts=world.contacts and world.capacity > 1,
        )
        species = world.species
        self.spec = EngineSpec(
            name="jax",
            capacity=world.capacity,
            dimension=world.dimension,
            dtype=str(jax.dtypes.canonicalize_dtype(jnp.float64)),
            species=tuple(s.name for s in species),
            species_of_slot=world.species_of_slot,
            radius=tuple(s.radius for s in species),
            speed_min=tuple(s.speed_min for s in species),
            speed_max=tuple(s.speed_max for s in species),
            turn_rate_max=tuple(s.turn_rate_max for s in species),
            box=world.box.size,
            periodic=world.box.periodic,
            control_interval=self.config.interval,
            capabilities=CAPABILITIES,
            time_step=world.time_step,
        )
        self._motion = interval_motion(self.config)
        self._params = self.params()
        self._jit_init = jax.jit(self.init)
        self._jit_advance = jax.jit(self._advance_and_observe)
        self._state: JaxEngineState | None = None
        self._key: Array | None = None

    # Pure functions

    def params(self) -> MotionParams:
        """Return the parameters of the world as arrays."""
        return motion_params(self.world)

    def space(self, params: MotionParams) -> Space:
        """Return the space that belongs to `params`."""
        return Space(params.size, self.world.box.periodic)

    def init(self, key: Array, params: MotionParams) -> JaxEngineState:
        """Place the colloids without overlap; `observe_state` then shows them at rest."""
        position, director, misplaced = place(key, self.world, params)
        position, image = self.space(params).wrap(position)
        count, dimension = position.shape
        turns = (count,) if dimension == 2 else (count, 3)
        motion = MotionState(position, image, jnp.zeros_like(position), director)
        return JaxEngineState(
            motion,
            velocity=jnp.zeros_like(position),
            angular_velocity=jnp.zeros(turns, position.dtype),
            step=jnp.asarray(0, jnp.int32),
            misplaced=misplaced,
        )

    def advance(
        self, key: Array, state: JaxEngineState, command: Command, params: MotionParams
    ) -> tuple[JaxEngineState, Command, Flags]:
        """Move for one control interval under `command`, within the limits in `params`."""
        check_channels(command.channels, self.spec)
        limits = Limits(params.speed_min, params.speed_max, params.turn_rate_max)
        applied, limited = apply_limits(command, limits)
        motion = state.motion
        if applied.heading is not None and applied.has_heading is not None:
            heading = normalise(jnp.moveaxis(applied.heading, -1, 0)).T
            director = jnp.where(applied.has_heading[:, None], heading, motion.director)
            motion = dataclasses.replace(motion, director=director)
        motion, moved = self._motion(
            jax.random.bits(key, (2,), jnp.uint32), motion, self._drive(applied, motion), params
        )
        interval = jnp.asarray(self.config.interval, motion.position.dtype)
        rate = moved.rotation / interval
        new_state = JaxEngineState(
            motion,
            velocity=moved.displacement / interval,
            angular_velocity=rate[:, 0] if self.spec.dimension == 2 else rate,
            step=state.step + 1,
            misplaced=state.misplaced,
        )
        flags = Flags(
            overlap=moved.overlap | state.misplaced,
            overflow=jnp.asarray(False),
            diverged=moved.diverged,
            limited=limited,
        )
        return new_state, applied, flags

    def _drive(self, command: Command, motion: MotionState) -> Drive:
        zero = jnp.zeros_like(motion.position)
        turns = 1 if self.spec.dimension == 2 else 3
        turn_rate = command.turn_rate
        if turn_rate is None:
            turn_rate = jnp.zeros((self.spec.capacity, turns), zero.dtype)
        return Drive(
            speed=zero[:, 0] if command.speed is None else command.speed.astype(zero.dtype),
            velocity=zero if command.velocity is None else command.velocity.astype(zero.dtype),
            turn_rate=turn_rate.reshape(self.spec.capacity, turns).astype(zero.dtype),
        )

    def observe_state(self, state: JaxEngineState, params: MotionParams) -> SwarmState:
        """Return what is observed: here everything, without error."""
        count = self.spec.capacity
        dtype = state.motion.position.dtype
        present = jnp.ones(count, bool)
        interval = jnp.asarray(self.config.interval, dtype)
        return SwarmState(
            position=state.motion.position,
            image=state.motion.image,
            director=state.motion.director,
            velocity=state.velocity,
            angular_velocity=state.angular_velocity,
            species=jnp.asarray(self.spec.species_of_slot, jnp.int32),
            identity=jnp.arange(count, dtype=jnp.int32),
            present=present,
            oriented=present,
            controllable=present,
            bodies=None,
            step=state.step,
            time=state.step * interval,
            interval=interval,
        )

    def check_start(self, state: JaxEngineState) -> None:
        """Raise PlacementError if colloids overlap in a fresh state (concrete, any batch shape)."""
        if np.any(state.misplaced):
            raise PlacementError(
                f"{self.spec.capacity} colloids could not be placed without overlap; "
                "take fewer or smaller colloids, or more room."
            )

    # The stateful shell

    def reset(self, seed: int) -> SwarmState:
        """Start an episode; equal seeds give equal episodes.

        Raises PlacementError if colloids overlap.
        """
        init_key, self._key = jax.random.split(jax.random.key(seed))
        self._state = self._jit_init(init_key, self._params)
        self.check_start(self._state)
        return self.observe_state(self._state, self._params)

    def step(self, command: Command) -> Transition:
        """Apply a command for one control interval.

        Raises SwarmctlError before the first reset, CommandError or CapabilityError for a bad
        command, OverlapError or DivergenceError if the motion failed; the state before the step is
        then kept.
        """
        if self._state is None or self._key is None:
            raise SwarmctlError("engine 'jax': call reset(seed) before the first step.")
        check_command(command, self.spec)
        command = jax.tree.map(jnp.asarray, command)
        key, next_key = jax.random.split(self._key)
        state, applied, flags, observed = self._jit_advance(key, self._state, command, self._params)
        raise_flags(flags, self.spec)
        self._state, self._key = state, next_key
        return Transition(observed, applied, Status(flags=flags))

    def _advance_and_observe(
        self, key: Array, state: JaxEngineState, command: Command, params: MotionParams
    ) -> tuple[Any, ...]:
        state, applied, flags = self.advance(key, state, command, params)
        return state, applied, flags, self.observe_state(state, params)

    def stop(self, reason: str) -> None:
        """End the episode; nothing moves until the next reset."""
        self._state = None

    def close(self) -> None:
        """Release the state."""
        self._state = None
