"""The colloids of a virtual laboratory, moved by the JAX engine tick by tick."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from swarmctl.core.command import Command, FieldCommand
from swarmctl.core.errors import PhysicsError
from swarmctl.core.world import World
from swarmctl.engines.jax_engine import JaxEngine
from swarmctl.physics.parameters import MotionParams

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Snapshot:
    """Where N colloids are: unwrapped positions [N,2] µm, directors [N,2], who sticks, bool [N]."""

    position: Floats
    director: Floats
    stuck: npt.NDArray[np.bool_]


class HiddenWorld:
    """A world that light drives, advanced by ticks; its state is known to nobody else."""

    def __init__(self, world: World, tick: float, seed: int) -> None:
        """Place the colloids. Raises ConfigError or PlacementError for a world that cannot be."""
        engine = JaxEngine(world, tick)
        self.radius = np.asarray(engine.spec.per_slot(engine.spec.radius), np.float64)
        self.size = np.asarray(world.box.size)
        self.periodic = np.asarray(world.box.periodic)
        self._dark = not {"power", "spot_offset"} <= engine.spec.capabilities
        self._params: MotionParams = engine.params()
        self._speed, self._mirror = 1.0, False
        key, start = jax.random.split(jax.random.key(seed))
        self._key = key
        self._state = jax.jit(engine.init)(start, self._params)
        engine.check_start(self._state)

        def advance(key: Any, state: Any, command: Command, params: MotionParams) -> Any:
            key, now = jax.random.split(key)
            state, _, flags = engine.advance(now, state, command, params)
            motion, disturbed = state.motion, state.disturbed
            stuck = None if disturbed is None else disturbed.stuck
            if stuck is None:
                stuck = jnp.zeros(motion.position.shape[0], bool)
            return key, state, (motion.position, motion.image, motion.director, stuck, flags.failed)

        self._advance = jax.jit(advance)
        motion = self._state.motion
        self.snapshot = self._snapshot(
            (motion.position, motion.image, motion.director, np.zeros(len(self.radius), bool))
        )

    def compile(self, field: FieldCommand | None) -> None:
        """Compile what moves the world, for commands with or without a field."""
        count = len(self.radius)
        rest = self._command(np.zeros(count), np.zeros((count, 2)), field)
        jax.block_until_ready(self._advance(self._key, self._state, rest, self._params))

    def disturb(self, speed: float, mirror: bool) -> None:
        """Let light drive colloids `speed` times as fast from now on, and turn the other way."""
        light = self._params.actuator
        if light is None or (speed, mirror) == (self._speed, self._mirror):
            return
        flip = -1.0 if mirror != self._mirror else 1.0
        light = dataclasses.replace(
            light, slope=light.slope * (speed / self._speed), steering=light.steering * flip
        )
        self._params = dataclasses.replace(self._params, actuator=light)
        self._speed, self._mirror = speed, mirror

    def advance(self, power: Floats, offset: Floats, field: FieldCommand | None) -> Snapshot:
        """Move for a tick under light of `power` [N] whose centre is `offset` [N,2] µm away.

        `field` is for worlds with a global field. Raises PhysicsError if the motion fails.
        """
        command = self._command(power, offset, field)
        self._key, self._state, seen = self._advance(self._key, self._state, command, self._params)
        if bool(seen[4]):
            raise PhysicsError(
                "the sample of the virtual laboratory cannot be moved on: colloids overlap or "
                "went through a wall; use a shorter time_step in its world, or lower speeds."
            )
        self.snapshot = self._snapshot(seen)
        return self.snapshot

    def _command(self, power: Floats, offset: Floats, field: FieldCommand | None) -> Command:
        if self._dark:
            return Command(field=field)
        return Command(
            power=np.float32(power),  # type: ignore[arg-type]
            spot_offset=np.float32(offset),  # type: ignore[arg-type]
            field=field,
        )

    def _snapshot(self, seen: tuple[Any, ...]) -> Snapshot:
        position, image, director, stuck = (np.asarray(part) for part in seen[:4])
        return Snapshot(
            position.astype(np.float64) + image * self.size, director.astype(np.float64), stuck
        )
