"""The state of the embedded engine."""

from __future__ import annotations

import jax

from swarmctl.core.tree import pytree
from swarmctl.physics.actuator import ActuatorState
from swarmctl.physics.disturbances import DisturbanceState
from swarmctl.physics.motion import BodyMotion, MotionState

Array = jax.Array


@pytree
class JaxEngineState:
    """Opaque state of the engine; read it through `observe_state`.

    `phase` is the angle that the global field's waveform has reached, None without a field;
    `actuator` and `disturbed` are None in worlds without an actuator or disturbances.
    """

    motion: MotionState
    velocity: Array
    angular_velocity: Array
    step: Array
    misplaced: Array
    bodies: BodyMotion | None = None
    phase: Array | None = None
    chemicals: tuple[Array, ...] = ()
    actuator: ActuatorState | None = None
    disturbed: DisturbanceState | None = None
