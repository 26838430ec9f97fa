"""What is known of an engine that simulates a world, with nothing connected."""

from __future__ import annotations

from collections.abc import Iterable

import jax
import jax.numpy as jnp

from swarmctl.core.spec import EngineSpec
from swarmctl.core.world import World


def world_spec(
    name: str, world: World, control_interval: float, capabilities: Iterable[str]
) -> EngineSpec:
    """Return the specification of engine `name`, which simulates `world` in whole control intervals
    (s) and takes `capabilities`.
    """
    species, field = world.species, world.field
    return EngineSpec(
        name=name,
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
        control_interval=control_interval,
        capabilities=frozenset(capabilities),
        time_step=world.time_step,
        field_max=(
            None if field is None else (field.strength_max, field.gradient_max, field.frequency_max)
        ),
        power_max=tuple(0.0 if s.actuator is None else s.actuator.power_max for s in species),
        offset_max=tuple(0.0 if s.actuator is None else s.actuator.offset_max for s in species),
        bodies=tuple(b.name for b in world.bodies for _ in range(b.count)),
        beads=tuple(len(b.shape.outline()) for b in world.bodies for _ in range(b.count)),
        flows=world.flows,
    )
