"""Parameters of the motion as arrays that one may vmap over, and what is static about it."""

from __future__ import annotations

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np

from swarmctl.core.errors import ConfigError
from swarmctl.core.tree import pytree
from swarmctl.core.world import Boundary, World
from swarmctl.physics.contacts import STIFFNESS

Array = jax.Array

MOST_STIFF = 0.2
"""Largest time step x contact stiffness / friction at which contacts are resolved."""


@pytree
class MotionParams:
    """Numbers of the motion, for N colloids.

    size [D] µm; thermal_energy [] pN µm; radius [N] µm; friction [N] pN s/µm; rotational_friction
    [N] pN s µm; speed_min, speed_max [N] µm/s; turn_rate_max [N] rad/s; contact_energy [] pN µm or
    None for the default.
    """

    size: Array
    thermal_energy: Array
    radius: Array
    friction: Array
    rotational_friction: Array
    speed_min: Array
    speed_max: Array
    turn_rate_max: Array
    contact_energy: Array | None

    @property
    def push(self) -> Array:
        """Strongest push of every colloid, γ v_max [N] in pN."""
        return self.friction * jnp.maximum(jnp.abs(self.speed_min), jnp.abs(self.speed_max))


@dataclasses.dataclass(frozen=True)
class MotionConfig:
    """What is static: count, boundaries, time step, steps per interval, contacts on or off."""

    count: int
    boundaries: tuple[Boundary, ...]
    time_step: float
    steps: int
    contacts: bool

    @property
    def dimension(self) -> int:
        """2 or 3."""
        return len(self.boundaries)

    @property
    def periodic(self) -> tuple[bool, ...]:
        """Which axes are periodic."""
        return tuple(kind == "periodic" for kind in self.boundaries)

    @property
    def hard(self) -> tuple[bool, ...]:
        """Which axes have hard faces."""
        return tuple(kind == "hard" for kind in self.boundaries)

    @property
    def interval(self) -> float:
        """Control interval in s."""
        return self.steps * self.time_step


def motion_params(world: World) -> MotionParams:
    """Spread the species table of a world over its slots."""
    dtype = jax.dtypes.canonicalize_dtype(jnp.float64)
    table = [
        (
            species.radius,
            world.friction(species),
            world.rotational_friction(species),
            species.speed_min,
            species.speed_max,
            species.turn_rate_max,
        )
        for species in world.species
    ]
    columns = np.asarray(table, dtype)[np.asarray(world.species_of_slot)].T
    radius, friction, rotational_friction, *limits = (jnp.asarray(column) for column in columns)
    speed_min, speed_max, turn_rate_max = limits
    given = world.contact_energy
    return MotionParams(
        jnp.asarray(world.box.size, dtype),
        jnp.asarray(world.fluid.thermal_energy, dtype),
        radius,
        friction,
        rotational_friction,
        speed_min,
        speed_max,
        turn_rate_max,
        contact_energy=None if given is None else jnp.asarray(given, dtype),
    )


def check_stiffness(world: World) -> None:
    """Raise ConfigError if the time step cannot resolve the stiffest contact (or face) of the
    world.
    """
    hard = "hard" in world.box.boundaries
    if not (world.contacts or hard):
        return
    worst, what = 0.0, ""
    for a in world.species:
        friction = world.friction(a)
        for b in world.species if world.contacts else ():
            push = max(world.friction(s) * max(abs(s.speed_min), s.speed_max) for s in (a, b))
            contact = a.radius + b.radius
            rate = _stiffness(world, push, contact) / friction
            if rate > worst:
                worst, what = rate, f"contact of {a.name!r} with {b.name!r}"
        if hard:
            push = friction * max(abs(a.speed_min), a.speed_max)
            rate = _stiffness(world, push, a.radius) / friction
            if rate > worst:
                worst, what = rate, f"contact of {a.name!r} with a hard face"
    if world.time_step * worst > MOST_STIFF * (1 + 1e-9):
        longest = MOST_STIFF / worst
        digits = 2 - math.floor(math.log10(longest))
        shown = math.floor(longest * 10**digits) / 10**digits  # rounding up would be refused again
        raise ConfigError(
            f"the time step {world.time_step:g} s is too long for the {what}: "
            f"time step x stiffness / friction is {world.time_step * worst:.3g}, at most "
            f"{MOST_STIFF} is resolved. "
            f"Use a time step of {shown:g} s or less, lower swim speeds, or, in a world of your "
            "own, a lower contact_energy."
        )


def _stiffness(world: World, push: float, contact: float) -> float:
    energy = world.contact_energy
    if energy is None:
        energy = max(world.fluid.thermal_energy, push * contact)
    return STIFFNESS * energy / contact**2
