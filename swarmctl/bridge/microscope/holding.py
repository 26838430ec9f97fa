"""What brings commands within the limits of the engine "microscope"."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from swarmctl.bridge.supervisor.limits import PatternLimits, ValueLimits
from swarmctl.core.command import Command, FieldLimits, LightLimits, Limits, apply_limits
from swarmctl.core.spec import EngineSpec
from swarmctl.engines.link.orders import rest


def holder(
    spec: EngineSpec, limits: PatternLimits | ValueLimits
) -> Callable[[Command, np.ndarray], Command]:
    """Return what holds a command within the limits, for those who act, bool [N]; as NumPy arrays.

    Light is held below the rig's limits of a spot and of the sum of all.
    """
    low, high, turn = (
        jnp.asarray(spec.per_slot(table), spec.dtype)
        for table in (spec.speed_min, spec.speed_max, spec.turn_rate_max)
    )
    light = field = None
    if "power" in spec.capabilities:
        assert isinstance(limits, PatternLimits)  # of channels of patterns
        slots = jnp.zeros(spec.capacity, jnp.int32)
        light = LightLimits(
            power_max=jnp.asarray(spec.per_slot(spec.power_max), spec.dtype),
            offset_max=jnp.asarray(spec.per_slot(spec.offset_max), spec.dtype),
            power_total=jnp.asarray([limits.power_total], spec.dtype),
            group=slots,
            dwell=None,
            needs_light=jnp.zeros(spec.capacity, bool),
        )
    if spec.field_max is not None:
        field = FieldLimits(*(jnp.asarray(value, spec.dtype) for value in spec.field_max))
    most = Limits(low, high, turn, field, light)
    hold = jax.jit(lambda command: apply_limits(command, most)[0])

    def held(command: Command, acts: np.ndarray) -> Command:
        given = jax.tree.map(np.asarray, hold(command))
        if given.has_heading is not None:
            given = dataclasses.replace(given, has_heading=given.has_heading & acts)
        return rest(given, acts)

    return held


def mean_command(commands: Sequence[Command]) -> Command:
    """Mean of commands in the same channels; heading and field are those of the last one."""
    last = commands[-1]
    changes = {
        name: np.mean([getattr(command, name) for command in commands], axis=0)
        for name in last.channels - {"heading", "field"}
    }
    return dataclasses.replace(last, **changes)


def at_rest(command: Command) -> Command:
    """The same channels with nothing asked, which is what a dry order does."""
    return jax.tree.map(np.zeros_like, command)
