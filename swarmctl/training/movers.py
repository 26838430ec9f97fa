"""What moves a world from one recorded frame to the next."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from swarmctl.core import registry
from swarmctl.core.command import Command, FieldCommand, check_channels
from swarmctl.core.contracts import Engine, Flags, PureEngine, raise_flags
from swarmctl.core.errors import ConfigError, SwarmctlError
from swarmctl.core.grids import load_function
from swarmctl.core.state import Space, SwarmState
from swarmctl.training.world_file import Drive, Simulation

Array = jax.Array


class Mover(ABC):
    """Moves a world from one recorded frame to the next.

    Attributes:
        simulation: what is run.
        engine: what runs it.
        space: the box.
        shapes: of a state that can be saved and gone on from; None where none can.
    """

    simulation: Simulation
    engine: Engine
    space: Space
    shapes: Any

    @abstractmethod
    def start(self) -> Any:
        """The state at time 0. Raises PlacementError if colloids overlap."""

    @abstractmethod
    def observe(self, state: Any) -> SwarmState:
        """What is seen of a state, as NumPy arrays."""

    @abstractmethod
    def advance(self, state: Any) -> tuple[Any, Command, Command]:
        """The state one frame later, and the last command, requested and applied.

        Raises PhysicsError if the motion failed.
        """

    @abstractmethod
    def commands(self) -> tuple[Command, Command]:
        """Shapes of what is requested and applied."""


def make_mover(simulation: Simulation) -> Mover:
    """Return what moves a world on the engine that its file names.

    Raises ConfigError, CapabilityError or PlacementError for a simulation that cannot be run,
    UnknownNameError, EngineMissingError.
    """
    run = simulation.run
    engine_class = registry.engines[run.engine].load()
    try:
        engine = engine_class(simulation.world, run.interval)
    except TypeError as error:
        raise ConfigError(
            f"run.engine {run.engine!r} does not simulate a world: {error}."
        ) from None
    if isinstance(engine, PureEngine):
        return PureMover(simulation, engine)
    return EngineMover(simulation, engine)


class EngineMover(Mover):
    """Moves a world on any engine that simulates one, interval by interval.

    What it has done cannot be saved, so that a simulation that was killed begins anew.
    """

    shapes = None

    def __init__(self, simulation: Simulation, engine: Engine) -> None:
        self.simulation, self.engine = simulation, engine
        spec = engine.spec
        if spec.time_step is None:
            raise ConfigError(
                f"run.engine {simulation.run.engine!r} is no simulation; use jax or espresso, and "
                "`swarmctl lab record` at a microscope."
            )
        self.space = Space(jnp.asarray(spec.box, spec.dtype), spec.periodic)
        self._command = jax.jit(_commander(simulation, engine, self.space))
        self._first: SwarmState | None = None

    def start(self) -> SwarmState:
        """The state at time 0."""
        if self._first is None:
            self._first = self.engine.reset(self.simulation.run.seed)
        return self._first

    def observe(self, state: SwarmState) -> SwarmState:
        """The state itself."""
        seen: SwarmState = jax.tree.map(np.asarray, state)
        return seen

    def advance(self, state: SwarmState) -> tuple[SwarmState, Command, Command]:
        """Step through the intervals of a frame."""
        asked = applied = Command()
        for _ in range(self.simulation.run.intervals_per_frame):
            asked = self._command(state)
            moved = self.engine.step(asked)
            if moved.status.fault is not None:
                raise SwarmctlError(f"engine {self.engine.spec.name!r}: {moved.status.fault}.")
            state, applied = moved.state, moved.applied
        return state, asked, applied

    def commands(self) -> tuple[Command, Command]:
        """What is applied has the channels of what is asked for."""
        asked = jax.eval_shape(self._command, self.start())
        check_channels(asked.channels, self.engine.spec)
        return asked, asked


class PureMover(Mover):
    """Moves a world on an engine of pure functions, reproducibly from any frame.

    Raises ConfigError, CapabilityError or PlacementError for a simulation that cannot be run.
    """

    engine: PureEngine

    def __init__(self, simulation: Simulation, engine: PureEngine) -> None:
        self.simulation, self.engine = simulation, engine
        run, spec = simulation.run, engine.spec
        self.params = engine.params()
        self.space = Space(jnp.asarray(spec.box, spec.dtype), spec.periodic)
        self._start_key, self._key = jax.random.split(jax.random.key(run.seed))
        shapes = jax.eval_shape(self.engine.init, self._start_key, self.params)
        self.shapes = shapes
        self._command = _commander(simulation, self.engine, self.space)
        observed = jax.eval_shape(self.engine.observe_state, shapes, self.params)
        try:
            command = jax.eval_shape(self._command, observed)
        except SwarmctlError:
            raise
        except Exception as error:  # whatever a user's function does under tracing
            raise _bad_control(run.drive, str(error).partition("\n")[0]) from None
        if not isinstance(command, Command):
            raise _bad_control(run.drive, f"it returned {type(command).__name__}")
        check_channels(command.channels, self.engine.spec)
        try:
            jax.eval_shape(self._chunk, shapes, self.params)
        except (TypeError, ValueError, IndexError) as error:
            raise _bad_control(run.drive, str(error).partition("\n")[0]) from None
        self._first: Any = None
        self._advance = jax.jit(self._chunk)
        self._observe = jax.jit(self.engine.observe_state)

    def start(self) -> Any:
        """The state at time 0. Raises PlacementError if colloids overlap."""
        if self._first is None:
            state = jax.jit(self.engine.init)(self._start_key, self.params)
            self.engine.check_start(state)
            self._first = state
        return self._first

    def observe(self, state: Any) -> SwarmState:
        """What is seen of a state, as NumPy arrays."""
        seen: SwarmState = jax.tree.map(np.asarray, self._observe(state, self.params))
        return seen

    def commands(self) -> tuple[Command, Command]:
        """Shapes of what is requested and applied."""
        _, asked, applied, _ = jax.eval_shape(self._chunk, self.shapes, self.params)
        return asked, applied

    def _chunk(self, state: Any, params: Any) -> tuple[Any, Command, Command, Flags]:
        engine = self.engine

        def body(state: Any, _: None) -> tuple[Any, tuple[Command, Command, Flags]]:
            command = self._command(engine.observe_state(state, params))
            # By the step, so that a resumed run meets the same noise.
            key = jax.random.fold_in(self._key, state.step)
            state, applied, flags = engine.advance(key, state, command, params)
            return state, (command, applied, flags)

        count = self.simulation.run.intervals_per_frame
        state, (asked, applied, flags) = jax.lax.scan(body, state, None, length=count)
        last = partial(jax.tree.map, lambda leaf: leaf[-1])
        return state, last(asked), last(applied), jax.tree.map(lambda f: f.any(axis=0), flags)

    def advance(self, state: Any) -> tuple[Any, Command, Command]:
        """The state one frame later, and the last command, requested and applied.

        Raises PhysicsError if the motion failed.
        """
        state, asked, applied, flags = self._advance(state, self.params)
        raise_flags(jax.tree.map(np.asarray, flags), self.engine.spec)
        return state, asked, applied


def _bad_control(drive: Drive, why: str) -> ConfigError:
    return ConfigError(
        f"run.drive.control {drive.control!r}: {why}. It must be a function (SwarmState, Space) -> "
        "Command made of jax.numpy operations, with arrays for all colloids."
    )


def _commander(
    simulation: Simulation, engine: Engine, space: Any
) -> Callable[[SwarmState], Command]:
    """The command as a function of what is observed."""
    world, drive = simulation.world, simulation.run.drive
    if drive.control:
        function = load_function(drive.control, "run.drive.control")
        return lambda state: function(state, space)
    dtype = engine.spec.dtype
    slots = np.asarray(world.species_of_slot)

    def column(name: str) -> Array | None:
        values = drive.per_species(name, world)
        return None if values is None else jnp.asarray(np.asarray(values)[slots], dtype)

    turn = column("turn_rate")
    if turn is not None and world.dimension == 3:
        turn = turn[:, None] * jnp.asarray([0, 0, 1], dtype)
    field = None
    if (given := drive.field) is not None:
        zero = (0.0,) * world.dimension
        field = FieldCommand(
            bias=jnp.asarray(given.bias or zero, dtype),
            amplitude=jnp.asarray(given.amplitude or zero, dtype),
            axis=jnp.asarray(given.axis, dtype),
            frequency=jnp.asarray(given.frequency, dtype),
            phase=jnp.asarray(given.phase, dtype),
            gradient=jnp.asarray(given.gradient or (zero,) * world.dimension, dtype),
        )
    command = Command(speed=column("speed"), turn_rate=turn, power=column("power"), field=field)
    return lambda state: command
