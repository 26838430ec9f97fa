"""Whether the time step resolves a world's stiffest contacts and fields."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from swarmctl.core.errors import ConfigError
from swarmctl.core.world import Body, Species, World
from swarmctl.physics.bodies import CROWD, HARDNESS
from swarmctl.physics.contacts import STIFFNESS
from swarmctl.physics.gay_berne import face_stiffness, pair_stiffness

MOST_STIFF = 0.2
"""Largest time step x stiffness / friction that is resolved."""
HEATED = 0.02
"""The same per ε/k_B T of a contact, where that is less: heat drives spheres deeper into soft
contacts than a longer step resolves. Measured at packing fractions up to 0.5.
"""


class _Rate(NamedTuple):
    """Stiffness / friction in 1/s, the largest product with the time step, what it is, a remedy."""

    rate: float
    limit: float
    what: str
    remedy: str


def check_stiffness(world: World) -> None:
    """Raise ConfigError if the time step cannot resolve the stiffest contact or field."""
    rates = list(_rates(world))
    if not rates:
        return
    _, worst, limit, what, remedy = max((r.rate / r.limit, *r) for r in rates)
    if world.time_step * worst > limit * (1 + 1e-9):
        longest = limit / worst
        digits = 2 - math.floor(math.log10(longest))
        shown = math.floor(longest * 10**digits) / 10**digits  # rounding up would be refused again
        raise ConfigError(
            f"the time step {world.time_step:g} s is too long for the {what}: "
            f"time step x stiffness / friction is {world.time_step * worst:.3g}, at most "
            f"{limit:.3g} is resolved. Use a time step of {shown:g} s or less, {remedy}."
        )


_SOFTER = "lower swim speeds, or, in a world of your own, a lower contact_energy"


def _rates(world: World) -> Iterator[_Rate]:
    """Yield stiffness / friction in 1/s of every contact and field, what it is, and a remedy."""
    hard = "hard" in world.box.boundaries or bool(world.walls)
    for a in world.species:
        yield from _field_rates(world, a)
        if any(s.aspect_ratio != 1 for s in world.species):
            yield from _spheroid_rates(world, a, hard)
            continue
        friction = min(world.friction(a), world.friction_along(a))
        for b in world.species if world.contacts else ():
            if b is a and a.count == 1:
                continue
            push = max(_push(world, s) for s in (a, b))
            what = f"contact of {a.name!r} with {b.name!r}"
            yield _contact(world, push, a.radius + b.radius, 1 / friction, what)
        for body in world.bodies if world.contacts else ():
            push = HARDNESS * _push(world, a)
            what = f"contact of {a.name!r} with {body.name!r}"
            yield _contact(world, push, a.radius + body.bead_radius, 1 / friction, what)
        if hard:
            what = f"contact of {a.name!r} with a hard face or wall"
            yield _contact(world, _push(world, a), a.radius, 1 / friction, what)
    strongest = max(_push(world, species) for species in world.species)
    for body in world.bodies:
        mobility = _bead_mobility(world, body)
        if hard:
            what = f"contact of {body.name!r} with a hard face or wall"
            yield _contact(world, strongest, body.bead_radius, mobility, what)
        for other in world.bodies if world.contacts else ():
            if other is body and body.count == 1:
                continue
            contact = body.bead_radius + other.bead_radius
            what = f"contact of {body.name!r} with {other.name!r}"
            yield _contact(world, CROWD * strongest, contact, mobility, what)


def _field_rates(world: World, a: Species) -> Iterator[_Rate]:
    friction = min(world.friction(a), world.friction_along(a))
    for potential in world.potentials:
        if not potential.species or a.name in potential.species:
            what = f"{potential.kind} potential on {a.name!r}"
            rate = potential.stiffness_max / friction
            yield _Rate(rate, MOST_STIFF, what, "or a softer potential")
    if world.field is not None and a.magnetic_moment:
        strength = abs(a.magnetic_moment) * world.field.strength_max
        rate = strength / world.rotational_friction(a)
        yield _Rate(
            rate, MOST_STIFF, f"moment of {a.name!r} in the field", "or a lower strength_max"
        )


def _spheroid_rates(world: World, a: Species, hard: bool) -> Iterator[_Rate]:
    """The same for the contacts of a spheroid, which move and turn it."""
    friction = min(world.friction(a), world.friction_along(a))
    turning = world.rotational_friction(a)

    def rates(what: str, stiffness: tuple[float, float]) -> Iterator[_Rate]:
        yield _Rate(stiffness[0] / friction + stiffness[1] / turning, MOST_STIFF, what, _SOFTER)

    for b in world.species if world.contacts else ():
        if b is a and a.count == 1:
            continue
        energy = _energy(world, max(_push(world, s) for s in (a, b)), a.radius + b.radius)
        shapes = (a.radius, a.aspect_ratio, b.radius, b.aspect_ratio)
        yield from rates(f"contact of {a.name!r} with {b.name!r}", pair_stiffness(*shapes, energy))
    for body in world.bodies if world.contacts else ():
        energy = _energy(world, HARDNESS * _push(world, a), a.radius + body.bead_radius)
        shapes = (a.radius, a.aspect_ratio, body.bead_radius, 1.0)
        what = f"contact of {a.name!r} with {body.name!r}"
        yield from rates(what, pair_stiffness(*shapes, energy))
    if hard:
        aspect = a.aspect_ratio
        smallest = a.radius * min(1 / aspect, aspect**2)  # radius of curvature of the tips
        energy = _energy(world, _push(world, a), smallest if world.walls else a.radius)
        stiffness = face_stiffness(a.radius, a.aspect_ratio, energy)
        if world.walls:  # the tip's inscribed sphere is the stiffest
            along = STIFFNESS * energy / smallest**2
            stiffness = (along, along * (a.radius * (a.aspect_ratio - 1)) ** 2)
        yield from rates(f"contact of {a.name!r} with a hard face or wall", stiffness)


def _bead_mobility(world: World, body: Body) -> float:
    """Largest mobility in µm/(pN s) of a bead under a force through its centre."""
    dimension = world.dimension
    translation, rotation = body.frictions(world.fluid.viscosity, dimension)
    x, y, z = body.shape.outline().T
    zero = 0 * x
    # Velocity of the bead for unit rates about x, y, z: columns of the matrix of ω × r.
    turning = np.stack([[zero, z, -y], [-z, zero, x], [y, -x, zero]], axis=0)
    turning = np.moveaxis(turning, -1, 0)[:, :, :dimension]
    if dimension == 2:
        turning = turning[:, 2:]
    mobility = np.einsum("bri,r,brj->bij", turning, 1 / rotation, turning)
    if not body.pinned:
        mobility = mobility + np.diag(1 / translation)
    return float(np.linalg.eigvalsh(mobility).max())


def _push(world: World, species: Species) -> float:
    speed = max(abs(species.speed_min), species.speed_max) * max(abs(species.speed_gain), 1)
    return world.friction_along(species) * speed


def _energy(world: World, push: float, contact: float) -> float:
    if world.contact_energy is not None:
        return world.contact_energy
    return max(world.fluid.thermal_energy, push * contact)


def _contact(world: World, push: float, contact: float, mobility: float, what: str) -> _Rate:
    energy, thermal = _energy(world, push, contact), world.fluid.thermal_energy
    limit = MOST_STIFF if thermal == 0 else min(MOST_STIFF, HEATED * energy / thermal)
    return _Rate(STIFFNESS * energy / contact**2 * mobility, limit, what, _SOFTER)
