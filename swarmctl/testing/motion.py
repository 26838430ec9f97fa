"""What an engine is driven with and looked at by: random commands, and faults of states."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from swarmctl.core.command import Command, FieldCommand
from swarmctl.core.spec import EngineSpec
from swarmctl.core.state import SwarmState
from swarmctl.testing.trees import describe_shape, host


def command_shapes(spec: EngineSpec) -> dict[str, tuple[int, ...]]:
    """Shape of every plain channel."""
    n, d = spec.capacity, spec.dimension
    return {
        "speed": (n,),
        "turn_rate": (n,) if d == 2 else (n, 3),
        "velocity": (n, d),
        "heading": (n, d),
        "power": (n,),
        "spot_offset": (n, 2),
    }


def random_command(key: jax.Array, spec: EngineSpec, scale: float = 1.0) -> Command:
    """Speeds and turn rates drawn within `scale` times the limits, in the channels that the
    engine takes.
    """
    dtype, shapes = spec.dtype, command_shapes(spec)
    speed_key, turn_key, velocity_key = jax.random.split(key, 3)
    low, high, turn = (
        jnp.asarray(spec.per_slot(table), dtype)
        for table in (spec.speed_min, spec.speed_max, spec.turn_rate_max)
    )
    values: dict[str, Any] = {}
    if "speed" in spec.capabilities:
        u = jax.random.uniform(speed_key, shapes["speed"], dtype)
        values["speed"] = scale * (low + u * (high - low))
    elif "velocity" in spec.capabilities:
        u = jax.random.uniform(velocity_key, shapes["velocity"], dtype, -1, 1)
        values["velocity"] = scale * u * high[:, None] / spec.dimension**0.5
    if "turn_rate" in spec.capabilities:
        u = jax.random.uniform(turn_key, shapes["turn_rate"], dtype, -1, 1)
        wide = turn if u.ndim == 1 else turn[:, None] / 3**0.5
        values["turn_rate"] = scale * u * wide
    if "power" in spec.capabilities and spec.power_max:
        power_key, spot_key = jax.random.split(jax.random.fold_in(key, 2))
        most, far = (
            jnp.asarray(spec.per_slot(table), dtype) for table in (spec.power_max, spec.offset_max)
        )
        u = jax.random.uniform(power_key, shapes["power"], dtype)
        values["power"] = scale * u * most
        u = jax.random.uniform(spot_key, shapes["spot_offset"], dtype, -1, 1)
        values["spot_offset"] = scale * u * far[:, None] / 2**0.5
    if "field" in spec.capabilities and spec.field_max is not None:
        values["field"] = _random_field(jax.random.fold_in(key, 1), spec, scale)
    return Command(**values)


def _random_field(key: jax.Array, spec: EngineSpec, scale: float) -> FieldCommand:
    assert spec.field_max is not None
    strength, gradient, frequency = (scale * x for x in spec.field_max)
    d, dtype = spec.dimension, spec.dtype
    keys = jax.random.split(key, 4)

    def vector(key: jax.Array, length: float, *shape: int) -> jax.Array:
        u = jax.random.uniform(key, shape, dtype, -1, 1)
        return length * u / u.size**0.5

    return FieldCommand(
        bias=vector(keys[0], strength / 2, d),
        amplitude=vector(keys[1], strength / 2, d),
        axis=jnp.asarray([0, 0, 1], dtype),
        frequency=jax.random.uniform(keys[2], (), dtype, -frequency, frequency),
        phase=jnp.asarray(0.5, dtype),
        gradient=vector(keys[3], gradient, d, d),
    )


def state_faults(state: SwarmState, spec: EngineSpec) -> Iterator[str]:
    """Yield what is wrong with a state: shapes, dtypes, unit directors, wrapping, species."""
    n, d, real = spec.capacity, spec.dimension, spec.dtype
    turns = (n,) if d == 2 else (n, 3)
    wanted = {
        "position": (real, (n, d)),
        "image": ("int32", (n, d)),
        "director": (real, (n, d)),
        "velocity": (real, (n, d)),
        "angular_velocity": (real, turns),
        "species": ("int32", (n,)),
        "identity": ("int32", (n,)),
        "present": ("bool", (n,)),
        "oriented": ("bool", (n,)),
        "controllable": ("bool", (n,)),
        "step": ("int32", ()),
        "time": (real, ()),
        "interval": (real, ()),
    }
    wrong = False
    for name, (dtype, shape) in wanted.items():
        leaf = getattr(state, name)
        if str(leaf.dtype) != dtype or leaf.shape != shape:
            wrong = True
            yield f"{name} is {describe_shape(leaf)}, the spec says {dtype}{list(shape)}"
    if wrong:
        return
    state = host(state)
    seen = state.present & state.oriented
    length = np.linalg.norm(state.director[seen].astype(float), axis=-1)
    if np.any(np.abs(length - 1) > 100 * np.finfo(real).eps):
        yield f"a director has the length {length[np.abs(length - 1).argmax()]}"
    position = state.position[state.present]
    for axis, (size, periodic) in enumerate(zip(spec.box, spec.periodic, strict=True)):
        x = position[:, axis]
        if not np.isfinite(x).all():
            yield f"a position of a colloid that is present is not finite on axis {axis}"
        elif periodic and np.any((x < 0) | (x >= size)):
            yield f"axis {axis} has the period {size}, positions go from {x.min()} to {x.max()}"
    if not np.array_equal(state.species, spec.species_of_slot):
        yield f"species is {state.species}, the spec says {spec.species_of_slot}"
    ids = state.identity[state.present]
    if len(set(ids.tolist())) != len(ids):
        yield "two colloids have the same identity"
