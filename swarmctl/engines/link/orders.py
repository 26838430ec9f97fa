"""From commands per slot to what goes over the wire, and back to what was applied.

Commands hold NumPy arrays here: what happens once an interval is quicker so.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from swarmctl.core.command import Command, Limits, apply_limits
from swarmctl.core.errors import LinkError
from swarmctl.core.spec import EngineSpec
from swarmctl.core.world import World
from swarmctl.engines.link.frames import COMMAND_ROW, HAS_HEADING, CommandReport
from swarmctl.physics.actuator import light_limits
from swarmctl.physics.parameters import motion_params

NOTHING, ACTIVE, ANTICLOCKWISE, CLOCKWISE = range(4)
"""Index into the laboratory's four action numbers."""
ROUNDING = 1e-6
"""Relative difference that numbers of other precision have."""


def holder(world: World, spec: EngineSpec) -> Callable[[Command], Command]:
    """Return what brings a command within what the laboratory may be asked for at most."""
    low, high, turn = (
        jnp.asarray(spec.per_slot(table), spec.dtype)
        for table in (spec.speed_min, spec.speed_max, spec.turn_rate_max)
    )
    light = None
    if spec.capabilities & {"power", "spot_offset"}:
        actuator = motion_params(world).actuator
        assert actuator is not None  # the engine has checked that light drives every species
        light = light_limits(actuator, spec.control_interval)
    limits = Limits(low, high, turn, None, light)
    return jax.jit(lambda command: apply_limits(command, limits)[0])


def rest(command: Command, present: np.ndarray) -> Command:
    """Ask only colloids that are `present` bool [N] for anything; the others for nothing."""

    changes = {}
    for field in dataclasses.fields(command):
        value = getattr(command, field.name)
        if value is not None and field.name not in ("heading", "field"):
            rows = present.reshape((-1,) + (1,) * (value.ndim - 1))
            changes[field.name] = np.where(rows, value, np.zeros_like(value))
    return dataclasses.replace(command, **changes)


def action_indices(command: Command, spec: EngineSpec, threshold: float) -> np.ndarray:
    """Index i64 [N] of the action that a command comes to: turning wins over swimming.

    A colloid turns, or swims, if it is asked for more than `threshold` times its top rate.
    """
    zero = np.zeros(spec.capacity)
    speed = zero if command.speed is None else np.asarray(command.speed, float)
    turn = zero if command.turn_rate is None else np.asarray(command.turn_rate, float)
    turning = np.abs(turn) > threshold * np.asarray(spec.per_slot(spec.turn_rate_max))
    active = speed > threshold * np.asarray(spec.per_slot(spec.speed_max))
    steering = np.where(turn > 0, ANTICLOCKWISE, CLOCKWISE)
    return np.where(turning, steering, np.where(active, ACTIVE, NOTHING))


def command_of_actions(index: np.ndarray, spec: EngineSpec) -> Command:
    """What the four actions do: full speed, or full turn rate either way, or neither."""
    low, high, turn = (
        np.asarray(spec.per_slot(table))
        for table in (spec.speed_min, spec.speed_max, spec.turn_rate_max)
    )
    speed = np.where(index == ACTIVE, high, np.maximum(low, 0))
    way = np.where(index == ANTICLOCKWISE, 1.0, np.where(index == CLOCKWISE, -1.0, 0.0))
    return Command(
        **{"speed": speed.astype(spec.dtype), "turn_rate": (way * turn).astype(spec.dtype)}
    )


def changed(asked: Command, applied: Command, count: int) -> np.ndarray:
    """Whose request was cut or coarsened, bool [N]; what was not asked for counts as 0."""
    channels = asked.channels | applied.channels
    different = np.zeros(count, bool)
    for name in channels & {"speed", "turn_rate", "velocity", "power", "spot_offset"}:
        values = [getattr(command, name) for command in (applied, asked)]
        done, wanted = (0.0 if value is None else np.asarray(value, float) for value in values)
        gap = np.abs(np.asarray(done - wanted, float)) > ROUNDING * np.abs(wanted)
        different |= gap.reshape(count, -1).any(axis=1)
    return different


@dataclass(frozen=True)
class Decision:
    """What is asked of every slot.

    Attributes:
        applied: the command within the limits, and as coarse as the protocol.
        limited: bool [N], who was asked for something else.
        index: i64 [N], the action that it comes to.
        velocity: f64 [N,2] µm/s, what it comes to as a velocity.
    """

    applied: Command
    limited: np.ndarray
    index: np.ndarray
    velocity: np.ndarray


def decide(
    command: Command,
    spec: EngineSpec,
    hold: Callable[[Command], Command],
    present: np.ndarray,
    director: np.ndarray,
    threshold: float,
    coarse: bool,
) -> Decision:
    """Bring a command within the limits by `hold`, to those present, and to four actions if
    `coarse`.

    `director` f64 [N,2] is zero where it was not seen; nothing can be asked to swim along it then.
    """
    held = rest(jax.tree.map(np.asarray, hold(command)), present)
    index = action_indices(held, spec, threshold)
    applied = rest(command_of_actions(index, spec), present) if coarse else held
    limited = changed(command, applied, spec.capacity)
    return Decision(applied, limited, index, _velocity(applied, spec, director))


def _velocity(command: Command, spec: EngineSpec, director: np.ndarray) -> np.ndarray:
    velocity = np.zeros((spec.capacity, 2))
    if command.velocity is not None:
        velocity += np.asarray(command.velocity, float)
    if command.speed is not None:
        along = director
        if command.heading is not None:
            heading = np.asarray(command.heading, float)
            length = np.linalg.norm(heading, axis=1, keepdims=True)
            given = np.asarray(command.has_heading, bool)[:, None] & (length > 0)
            along = np.where(given, heading / np.where(length > 0, length, 1), director)
        velocity += np.asarray(command.speed, float)[:, None] * along
    return velocity


def command_rows(decision: Decision, codes: tuple[int, ...], ids: np.ndarray) -> np.ndarray:
    """Rows of COMMAND_ROW for slots whose laboratory's id i64 [N] is not negative."""
    slots = np.flatnonzero(ids >= 0)
    rows, command = np.zeros(len(slots), COMMAND_ROW), decision.applied
    rows["id"], rows["action"] = ids[slots], np.asarray(codes)[decision.index[slots]]
    for name in ("speed", "turn_rate", "power"):
        if getattr(command, name) is not None:
            rows[name] = np.asarray(getattr(command, name))[slots]
    if command.heading is not None:
        heading, given = np.asarray(command.heading)[slots], np.asarray(command.has_heading)[slots]
        rows["heading"] = np.where(given, np.arctan2(heading[:, 1], heading[:, 0]), 0)
        rows["flags"] = np.where(given, HAS_HEADING, 0)
    for name, axes in (("velocity", ("v_x", "v_y")), ("spot_offset", ("d_x", "d_y"))):
        if getattr(command, name) is not None:
            for axis, values in zip(axes, np.asarray(getattr(command, name))[slots].T, strict=True):
                rows[axis] = values
    return rows


def command_of_rows(report: CommandReport, ids: np.ndarray, spec: EngineSpec) -> Command:
    """What a laboratory says that it did, per slot; nothing for slots that it does not name.

    Raises LinkError for ids that are not in `ids` i64 [N].
    """
    slot_of = {int(identity): slot for slot, identity in enumerate(ids) if identity >= 0}
    rows = report.rows
    unknown = [int(i) for i in rows["id"] if int(i) not in slot_of]
    if unknown:
        raise LinkError(
            f"the laboratory says what it did with colloid {unknown[0]}, which it lacks."
        )
    slots = np.array([slot_of[int(i)] for i in rows["id"]], int)

    def spread(values: np.ndarray) -> np.ndarray:
        full = np.zeros((spec.capacity, *values.shape[1:]), spec.dtype)
        full[slots] = values
        return full

    values: dict[str, Any] = {
        name: spread(rows[name])
        for name in ("speed", "turn_rate", "power")
        if name in report.channels
    }
    if "velocity" in report.channels:
        values["velocity"] = spread(np.stack([rows["v_x"], rows["v_y"]], axis=1))
    if "spot_offset" in report.channels:
        values["spot_offset"] = spread(np.stack([rows["d_x"], rows["d_y"]], axis=1))
    if "heading" in report.channels:
        along = np.stack([np.cos(rows["heading"]), np.sin(rows["heading"])], axis=1)
        values["heading"] = spread(along)
        values["has_heading"] = spread((rows["flags"] & HAS_HEADING > 0).astype(float)) > 0
    return Command(**values)
