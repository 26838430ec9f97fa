"""Parameters of the motion as arrays that one may vmap over, and what is static about it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from swarmctl.core.command import FieldLimits
from swarmctl.core.errors import ConfigError
from swarmctl.core.tree import pytree
from swarmctl.core.world import Boundary, World
from swarmctl.physics import neighbours
from swarmctl.physics.actuator import ActuatorParams, actuator_params
from swarmctl.physics.bodies import BodyParams, body_params
from swarmctl.physics.chemistry import chemical_params
from swarmctl.physics.disturbance_parameters import DisturbanceParams, disturbance_params
from swarmctl.physics.fields import potential_params
from swarmctl.physics.flow import flow_params, shape_factor
from swarmctl.physics.neighbours import NeighbourConfig
from swarmctl.physics.walls import WallParams, wall_params

Array = jax.Array


@pytree
class MotionParams:
    """Numbers of the motion, for N colloids. Parts that a world does not have are None.

    size [D] µm; thermal_energy [] pN µm; radius [N] µm; friction [N] pN s/µm (across the director);
    rotational_friction [N] pN s µm; speed_min, speed_max [N] µm/s; turn_rate_max [N] rad/s;
    contact_energy [] pN µm or None for the default; friction_along [N] pN s/µm and aspect [N] of
    spheroids; mass [N] pN s²/µm and inertia [N] pN s² µm; force [D,N] pN; moment [N] pN µm/mT and
    rolling [N] (see `swarmctl.physics.magnetics`); the bodies; what the global field
    is at most; flows, potentials, and the shape factor [N] by which a strain turns spheroids;
    chemicals; walls; for hydrodynamics viscosity [] Pa s, dipole [N] pN s (per speed) and height
    [] µm; what acts between the intervals: actuator and disturbances, and the gains [N] by which
    commanded speeds and turn rates are multiplied, None where all are 1.
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
    friction_along: Array | None = None
    aspect: Array | None = None
    mass: Array | None = None
    inertia: Array | None = None
    force: Array | None = None
    moment: Array | None = None
    rolling: Array | None = None
    bodies: BodyParams | None = None
    field_limits: FieldLimits | None = None
    flows: tuple[Any, ...] = ()
    potentials: tuple[Any, ...] = ()
    shape: Array | None = None
    chemicals: tuple[Any, ...] = ()
    walls: WallParams | None = None
    viscosity: Array | None = None
    dipole: Array | None = None
    height: Array | None = None
    actuator: ActuatorParams | None = None
    disturbances: DisturbanceParams | None = None
    speed_gain: Array | None = None
    turn_gain: Array | None = None

    @property
    def push(self) -> Array:
        """Strongest push of every colloid, γ v_max [N] in pN."""
        friction = self.friction if self.friction_along is None else self.friction_along
        return friction * jnp.maximum(jnp.abs(self.speed_min), jnp.abs(self.speed_max))


def true_motion(params: MotionParams) -> MotionParams:
    """Parameters of the motion alone, with room for the true speeds and turns where gains exceed 1.

    What acts between the intervals is left out: it makes the drive of the motion.
    """
    changes: dict[str, Any] = {}
    for names, gain in (
        (("speed_min", "speed_max"), params.speed_gain),
        (("turn_rate_max",), params.turn_gain),
    ):
        if gain is not None:
            changes |= {
                name: getattr(params, name) * jnp.maximum(jnp.abs(gain), 1) for name in names
            }
    changes |= dict.fromkeys(("actuator", "disturbances", "speed_gain", "turn_gain"))
    return dataclasses.replace(params, **changes)


@dataclasses.dataclass(frozen=True)
class MotionConfig:
    """What is static: count, boundaries, time step, steps per interval, contacts on or off (among
    the colloids, and with bodies), with inertia or without, with hydrodynamics and over a wall,
    and how neighbours are listed, if they are.
    """

    count: int
    boundaries: tuple[Boundary, ...]
    time_step: float
    steps: int
    contacts: bool
    touching: bool = False
    inertial: bool = False
    stirring: Literal["flow", "mobility"] | None = None
    over_wall: bool = False
    neighbours: NeighbourConfig | None = None

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


def motion_config(world: World, steps: int) -> MotionConfig:
    """Return what is static about a world's motion over `steps` time steps."""
    return MotionConfig(
        count=world.capacity,
        boundaries=world.box.boundaries,
        time_step=world.time_step,
        steps=steps,
        contacts=world.contacts and world.capacity > 1,
        touching=world.contacts,
        inertial=world.dynamics == "langevin",
        stirring=None if world.hydrodynamics is None else world.hydrodynamics.mode,
        over_wall=world.hydrodynamics is not None and world.hydrodynamics.wall,
        neighbours=_neighbours(world, steps),
    )


def _neighbours(world: World, steps: int) -> NeighbourConfig | None:
    """How neighbours are listed, or None where testing all pairs is faster."""
    spheroids = any(s.aspect_ratio != 1 for s in world.species)
    if not world.contacts or spheroids or not neighbours.choose(world.capacity, steps):
        return None
    radius = np.asarray([s.radius for s in world.species])[np.asarray(world.species_of_slot)]
    return neighbours.neighbour_config(radius, world.box.size, world.box.periodic)


def motion_params(world: World) -> MotionParams:
    """Spread the species table of a world over its slots."""
    dtype = jax.dtypes.canonicalize_dtype(jnp.float64)
    slots = np.asarray(world.species_of_slot)

    def column(values: Iterable[float]) -> Array:
        return jnp.asarray(np.asarray(tuple(values), dtype)[slots])

    species, given = world.species, world.contact_energy
    spheroids = any(s.uniaxial for s in species)
    inertial = world.dynamics == "langevin"
    forces = np.asarray([s.force or (0.0,) * world.dimension for s in species], dtype)
    names, fluid = tuple(s.name for s in species), world.hydrodynamics
    owners = world.species_of_slot
    return MotionParams(
        size=jnp.asarray(world.box.size, dtype),
        thermal_energy=jnp.asarray(world.fluid.thermal_energy, dtype),
        radius=column(s.radius for s in species),
        friction=column(world.friction(s) for s in species),
        rotational_friction=column(world.rotational_friction(s) for s in species),
        speed_min=column(s.speed_min for s in species),
        speed_max=column(s.speed_max for s in species),
        turn_rate_max=column(s.turn_rate_max for s in species),
        contact_energy=None if given is None else jnp.asarray(given, dtype),
        friction_along=column(world.friction_along(s) for s in species) if spheroids else None,
        aspect=(
            column(s.aspect_ratio for s in species)
            if any(s.aspect_ratio != 1 for s in species)
            else None
        ),
        mass=column(s.mass_or_default for s in species) if inertial else None,
        inertia=column(s.inertia_or_default for s in species) if inertial else None,
        force=jnp.asarray(forces[slots].T) if forces.any() else None,
        moment=column(s.magnetic_moment for s in species) if world.field is not None else None,
        rolling=column(s.rolling for s in species) if any(s.rolling for s in species) else None,
        bodies=body_params(world, dtype),
        flows=flow_params(world.flows, world.box),
        potentials=potential_params(world.potentials, world.box, names, owners),
        actuator=actuator_params(world),
        disturbances=disturbance_params(world),
        speed_gain=(
            column(s.speed_gain for s in species)
            if any(s.speed_gain != 1 for s in species)
            else None
        ),
        turn_gain=(
            column(s.turn_gain for s in species) if any(s.turn_gain != 1 for s in species) else None
        ),
        chemicals=tuple(chemical_params(c, owners) for c in world.chemicals),
        viscosity=jnp.asarray(world.fluid.viscosity, dtype) if fluid is not None else None,
        dipole=(
            column(s.dipole / max(s.speed_max, 1e-12) for s in species)
            if fluid is not None and any(s.dipole for s in species)
            else None
        ),
        height=(
            jnp.asarray(fluid.height, dtype)
            if fluid is not None and fluid.height is not None
            else None
        ),
        walls=None if world.wall_geometry is None else wall_params(world.wall_geometry),
        shape=(
            shape_factor(column(s.aspect_ratio for s in species))
            if world.flows and any(s.aspect_ratio != 1 for s in species)
            else None
        ),
        field_limits=(
            None
            if world.field is None
            else FieldLimits(
                jnp.asarray(world.field.strength_max, dtype),
                jnp.asarray(world.field.gradient_max, dtype),
                jnp.asarray(world.field.frequency_max, dtype),
            )
        ),
    )


def stack_params(worlds: Sequence[MotionParams]) -> MotionParams:
    """Stack the parameters of worlds, so that one `vmap` simulates them all.

    Raises ConfigError unless the worlds have the same parts and sizes; numbers may differ.
    """
    first, *others = worlds
    wanted = jax.tree_util.tree_leaves_with_path(first)
    shapes = {jax.tree_util.keystr(path): leaf.shape for path, leaf in wanted}
    for number, other in enumerate(others, start=1):
        found = {
            jax.tree_util.keystr(path): leaf.shape
            for path, leaf in jax.tree_util.tree_leaves_with_path(other)
        }
        wrong = sorted(name for name, _ in shapes.items() ^ found.items())
        if wrong:
            name = wrong[0]
            raise ConfigError(
                f"worlds 0 and {number} cannot share a batch: {name.lstrip('.')} has the shape "
                f"{shapes.get(name, 'none')} in one and {found.get(name, 'none')} in the other; "
                "only numbers may differ between them."
            )
        if str(jax.tree.structure(first)) != str(jax.tree.structure(other)):
            raise ConfigError(
                f"worlds 0 and {number} cannot share a batch: they are built differently; only "
                "numbers may differ between them."
            )
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *worlds)
