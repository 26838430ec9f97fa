"""Whether a world lies in the range in which its physics holds."""

from __future__ import annotations

from swarmctl.core.errors import ConfigError
from swarmctl.core.world import World
from swarmctl.physics.mobility import check_range


def check_hydrodynamics(world: World) -> None:
    """Raise ConfigError where a world's far-field hydrodynamics do not hold."""
    fluid = world.hydrodynamics
    if fluid is None:
        return
    if world.bodies:
        raise ConfigError(
            "hydrodynamics: rigid bodies do not take part; leave out the bodies or hydrodynamics."
        )
    mobility = fluid.mode == "mobility"
    if mobility and world.dynamics == "langevin":
        raise ConfigError("hydrodynamics: mode mobility is overdamped; use dynamics = brownian.")
    if mobility and any(s.friction or s.friction_along for s in world.species):
        raise ConfigError(
            "hydrodynamics: mode mobility takes its friction from radius and viscosity; leave out "
            "friction."
        )
    slots = [world.species[s] for s in world.species_of_slot]
    radii = [s.radius for s in slots]
    check_range(
        world.dimension,
        world.box.boundaries,
        radii,
        aspects=[s.aspect_ratio for s in slots],
        wall=fluid.wall,
        # In a hard 3D box placement keeps every colloid a radius away from its faces.
        heights=radii if fluid.height is None else [fluid.height] * len(slots),
        mobility=mobility,
    )
