"""What of a world ESPResSo cannot simulate, and which features of a build the rest needs."""

from __future__ import annotations

from collections.abc import Iterator

from swarmctl.core.errors import CapabilityError
from swarmctl.core.world import World

RELAXED = 0.2
"""Largest time step x friction / mass that ESPResSo's Langevin integrator resolves: its diffusion
is exact there, and it is unstable from 2 on."""


def check_world(world: World) -> None:
    """Raise CapabilityError naming everything in `world` that ESPResSo does not simulate."""
    found = list(_obstacles(world))
    if found:
        listed = "; ".join(found)
        raise CapabilityError(
            f"engine 'espresso' cannot simulate this world: {listed}. Leave that out, or use "
            "engine 'jax'."
        )


def build_features(world: World) -> tuple[str, ...]:
    """Features that a build of ESPResSo needs for this world besides those that all worlds need."""
    needs = []
    if world.bodies:
        needs.append("VIRTUAL_SITES_RELATIVE")
    if world.contacts and any(s.aspect_ratio != 1 for s in world.species):
        needs.append("GAY_BERNE")
    return tuple(needs)


def _obstacles(world: World) -> Iterator[str]:
    if world.hydrodynamics is not None:
        yield "far-field hydrodynamics"
    if world.field is not None:
        yield "a global field"
    if world.disturbances is not None:
        yield "disturbances"
    for species in world.species:
        if species.actuator is not None:
            yield f"the actuator of {species.name!r}"
        if species.speed_gain != 1 or species.turn_gain != 1:
            yield f"the gains of {species.name!r}"
        if species.uniaxial and world.flows:
            yield f"spheroids in a flow ({species.name!r}: friction must be the same all ways)"
    if world.bodies and world.flows:
        yield "rigid bodies in a flow"
    spheroids = {s.aspect_ratio for s in world.species if s.aspect_ratio != 1}
    if spheroids:
        if world.contacts and len({s.aspect_ratio for s in world.species}) > 1:
            yield "contacts between colloids of different aspect ratio"
        if world.contacts and world.bodies:
            yield "contacts of spheroids with rigid bodies"
        if world.walls or "hard" in world.box.boundaries:
            yield "spheroids at hard faces or walls"
    if world.dynamics == "langevin":
        yield from _too_light(world)


def _too_light(world: World) -> Iterator[str]:
    rates = []
    for s in world.species:
        rates.append((world.friction(s) / s.mass_or_default, s.name))
        rates.append((world.rotational_friction(s) / s.inertia_or_default, s.name))
    for body in world.bodies:
        friction, rotation = body.frictions(world.fluid.viscosity, world.dimension)
        mass, inertia = body.masses(world.dimension)
        rates.append((max(friction) / mass, body.name))
        rates.append((max(rotation / inertia), body.name))
    rate, name = max(rates)
    if rate * world.time_step > RELAXED:
        yield (
            f"inertia of {name!r}, whose momentum relaxes in {1 / rate:.3g} s: it needs a time "
            f"step of {RELAXED / rate:.2g} s or less, or dynamics = brownian"
        )
