"""The embedded engine: active particles and rigid bodies on JAX, batched, in 2D and 3D."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from swarmctl.core.command import Command, Limits, apply_limits, check_channels, check_command
from swarmctl.core.contracts import Flags, PureEngine, Status, Transition, raise_flags
from swarmctl.core.errors import PlacementError, SwarmctlError
from swarmctl.core.state import Bodies, Space, SwarmState
from swarmctl.core.world import World, steps_per_interval
from swarmctl.engines.describing import world_spec
from swarmctl.engines.jax_state import JaxEngineState
from swarmctl.engines.observing import observe, observe_bodies
from swarmctl.physics import chemistry
from swarmctl.physics.actuator import (
    ActuatorState,
    illuminate,
    initial_actuator,
    light_limits,
    shortened,
)
from swarmctl.physics.camera import TrueMotion, look
from swarmctl.physics.compiled import best_interval_motion
from swarmctl.physics.disturbances import (
    DisturbanceState,
    disturb,
    initial_disturbances,
    no_command,
)
from swarmctl.physics.flow import Uniform
from swarmctl.physics.motion import Drive, Motion, MotionState
from swarmctl.physics.parameters import MotionParams, motion_config, motion_params, true_motion
from swarmctl.physics.placement import Placed, check_points, place
from swarmctl.physics.rotation import normalise
from swarmctl.physics.start import motion_at_rest
from swarmctl.physics.stiffness import check_stiffness
from swarmctl.physics.validity import check_hydrodynamics

Array = jax.Array

CAPABILITIES = frozenset({"speed", "turn_rate", "heading", "velocity"})
LIGHT = frozenset({"power", "spot_offset"})


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
        check_hydrodynamics(world)
        check_points(world)
        self.world = world
        self.config = motion_config(world, steps_per_interval(control_interval, world.time_step))
        capabilities = set(CAPABILITIES)
        if world.field is not None:
            capabilities.add("field")
        if any(s.actuator is not None for s in world.species):
            capabilities |= LIGHT
        self.spec = world_spec("jax", world, self.config.interval, capabilities)
        self._chemistry = tuple(
            chemistry.chemistry_plan(c, world.box, self.config.interval) for c in world.chemicals
        )
        self._motion = best_interval_motion(self.config)
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
        more = params.actuator is not None or params.disturbances is not None
        place_key, *keys = jax.random.split(key, 4 if more else 2)
        return self._begin(keys, place(place_key, self.world, params), params)

    def init_at(self, key: Array, placed: Placed, params: MotionParams) -> JaxEngineState:
        """Begin with everything where `placed` says, at rest to the eye, such as what was seen."""
        return self._begin(list(jax.random.split(key, 3)), placed, params)

    def _begin(self, keys: Sequence[Array], placed: Placed, params: MotionParams) -> JaxEngineState:
        """Takes one key, and two more for what disturbs or is driven by light."""
        heat_key, *more_keys = keys
        motion, bodies = motion_at_rest(heat_key, placed, self.config, params, self.space(params))
        turns = self._turns(motion.position)
        state = JaxEngineState(
            motion,
            velocity=jnp.zeros_like(motion.position),
            angular_velocity=turns[:, 0] if self.spec.dimension == 2 else turns,
            step=jnp.asarray(0, jnp.int32),
            misplaced=placed.overlap,
            bodies=bodies,
            phase=None if self.world.field is None else jnp.zeros((), motion.position.dtype),
            chemicals=tuple(
                jnp.asarray(chemistry.initial_concentration(c, self.world.box), params.size.dtype)
                for c in self.world.chemicals
            ),
        )
        if params.actuator is not None:
            light = initial_actuator(more_keys[0], params.actuator)
            state = dataclasses.replace(state, actuator=light)
        if params.disturbances is None:
            return state
        true = TrueMotion(motion.position, motion.image, motion.director, state.velocity, turns)
        idle, _ = apply_limits(no_command(self.spec), self._limits(params))
        disturbed = initial_disturbances(
            more_keys[1], true, idle, params.disturbances, self.space(params)
        )
        if disturbed.view is not None:
            view = dataclasses.replace(disturbed.view, bodies=self._bodies(state, params))
            disturbed = dataclasses.replace(disturbed, view=view)
        return dataclasses.replace(state, disturbed=disturbed)

    def _limits(self, params: MotionParams) -> Limits:
        light = None
        if params.actuator is not None:
            light = light_limits(params.actuator, self.config.interval)
        return Limits(
            params.speed_min, params.speed_max, params.turn_rate_max, params.field_limits, light
        )

    def _bodies(self, state: JaxEngineState, params: MotionParams) -> Bodies | None:
        motion = state.motion.bodies
        return observe_bodies(motion, state.bodies, params.bodies, self.config.interval)

    def _turns(self, position: Array) -> Array:
        return jnp.zeros((position.shape[0], 1 if self.spec.dimension == 2 else 3), position.dtype)

    def advance(
        self, key: Array, state: JaxEngineState, command: Command, params: MotionParams
    ) -> tuple[JaxEngineState, Command, Flags]:
        """Move for one control interval under `command`, within the limits in `params`."""
        check_channels(command.channels, self.spec)
        applied, limited = apply_limits(command, self._limits(params))
        plain = true_motion(params)
        disturbed, look_keys = state.disturbed, None
        if params.disturbances is not None and disturbed is not None:
            keys = jax.random.split(key, 5)
            key, begin_keys, look_keys = keys[0], keys[1:3], keys[3:]
            idle = jnp.clip(0, params.speed_min, params.speed_max)
            disturbed, applied, cut, drift = disturb(
                begin_keys, applied, disturbed, params.disturbances, self.spec, idle
            )
            limited |= cut
            if drift is not None:
                plain = dataclasses.replace(plain, flows=(*plain.flows, Uniform(drift)))
        stuck = None if disturbed is None else disturbed.stuck
        motion = state.motion
        if applied.heading is not None and applied.has_heading is not None:
            heading = normalise(jnp.moveaxis(applied.heading, -1, 0)).T
            taken = applied.has_heading if stuck is None else applied.has_heading & ~stuck
            director = jnp.where(taken[:, None], heading, motion.director)
            motion = dataclasses.replace(motion, director=director)
        drive, actuator = self._drive(applied, state, params), state.actuator
        if params.actuator is not None and actuator is not None:
            actuator, drive = self._illuminate(applied, state, motion, drive, params, plain)
        if stuck is not None:
            drive = dataclasses.replace(drive, mobile=(~stuck).astype(motion.position.dtype))
        motion, moved = self._motion(jax.random.bits(key, (2,), jnp.uint32), motion, drive, plain)
        interval = jnp.asarray(self.config.interval, motion.position.dtype)
        rate = moved.rotation / interval
        new_state = JaxEngineState(
            motion,
            velocity=moved.displacement / interval,
            angular_velocity=rate[:, 0] if self.spec.dimension == 2 else rate,
            step=state.step + 1,
            misplaced=state.misplaced,
            bodies=moved.bodies,
            phase=self._next_phase(applied, state),
            chemicals=tuple(
                chemistry.advance(c, motion.position.T, about, plan, params.size)
                for c, about, plan in zip(
                    state.chemicals, params.chemicals, self._chemistry, strict=True
                )
            ),
        )
        if look_keys is not None and disturbed is not None:
            disturbed = self._look(look_keys, disturbed, new_state, moved, params)
        new_state = dataclasses.replace(new_state, actuator=actuator, disturbed=disturbed)
        flags = Flags(
            overlap=moved.overlap | state.misplaced,
            overflow=moved.overflow,
            diverged=moved.diverged,
            wall_crossed=moved.crossed,
            limited=limited,
        )
        return new_state, applied, flags

    def _look(
        self,
        keys: Array,
        disturbed: DisturbanceState,
        state: JaxEngineState,
        moved: Motion,
        params: MotionParams,
    ) -> DisturbanceState:
        """Add what is seen of a state after an interval."""
        if disturbed.view is None or params.disturbances is None:
            return disturbed
        motion, interval = state.motion, self.config.interval
        true = TrueMotion(
            motion.position, motion.image, motion.director, moved.displacement, moved.rotation
        )
        bodies = self._bodies(state, params)
        view = look(
            keys, disturbed.view, true, bodies, params.disturbances, self.space(params), interval
        )
        return dataclasses.replace(disturbed, view=view)

    def _illuminate(
        self,
        command: Command,
        state: JaxEngineState,
        motion: MotionState,
        drive: Drive,
        params: MotionParams,
        true: MotionParams,
    ) -> tuple[ActuatorState, Drive]:
        """Add what the light does to what is commanded outright."""
        assert params.actuator is not None
        assert state.actuator is not None
        disturbed = state.disturbed
        if command.spot_offset is not None and disturbed is not None and disturbed.view is not None:
            # A spot is put where its colloid was seen.
            offset = command.spot_offset + disturbed.view.error[:, :2]
            command = dataclasses.replace(command, spot_offset=offset)
        limits = (params.radius, params.speed_max, params.turn_rate_max)
        actuator, speed, turn_rate = illuminate(
            state.actuator,
            command,
            motion.position,
            motion.director,
            limits,
            params.actuator,
            self.space(params),
            self.config.interval,
        )
        speed = jnp.minimum(drive.speed + speed, true.speed_max)
        turn_rate = shortened(drive.turn_rate + turn_rate, true.turn_rate_max)
        return actuator, dataclasses.replace(drive, speed=speed, turn_rate=turn_rate)

    def _drive(self, command: Command, state: JaxEngineState, params: MotionParams) -> Drive:
        position = state.motion.position
        zero = jnp.zeros_like(position)
        turn_rate = self._turns(position)
        if command.turn_rate is not None:
            turn_rate = command.turn_rate.reshape(turn_rate.shape).astype(zero.dtype)
        speed = zero[:, 0] if command.speed is None else command.speed.astype(zero.dtype)
        velocity = zero if command.velocity is None else command.velocity.astype(zero.dtype)
        if params.speed_gain is not None:
            speed = speed * params.speed_gain
            velocity = velocity * params.speed_gain[:, None]
        if params.turn_gain is not None:
            turn_rate = turn_rate * params.turn_gain[:, None]
        return Drive(
            speed=speed,
            velocity=velocity,
            turn_rate=turn_rate,
            field=jax.tree.map(lambda x: jnp.asarray(x, zero.dtype), command.field),
            phase=state.phase,
            time=state.step * jnp.asarray(self.config.interval, zero.dtype),
        )

    def _next_phase(self, command: Command, state: JaxEngineState) -> Array | None:
        if command.field is None or state.phase is None:
            return state.phase
        turn = 2 * jnp.pi * command.field.frequency * self.config.interval
        return jnp.mod(state.phase + turn, 2 * jnp.pi).astype(state.phase.dtype)

    def observe_state(self, state: JaxEngineState, params: MotionParams) -> SwarmState:
        """Return what is observed: everything, without error unless the world has disturbances."""
        return observe(state, params, self.spec, self._chemistry)

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
