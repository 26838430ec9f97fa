"""Contacts and walls of a world as interactions and constraints of ESPResSo.

Particle types: one per species, one for the beads of every body, then body centres, which touch
nothing, and surfaces (hard faces and walls).
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np

from swarmctl.core.wall_geometry import WallGeometry
from swarmctl.core.world import World
from swarmctl.engines.espresso_frame import Frame
from swarmctl.physics.bodies import CROWD, HARDNESS
from swarmctl.physics.contacts import pair_energy
from swarmctl.physics.parameters import MotionParams

WCA_SIGMA = 2 ** (-1 / 6)
"""σ over the distance of contact, at which the WCA potential ends."""
THIN = 1e-6
"""Thickness of walls without one, over the box's longest side: ESPResSo's shapes are solid."""


@dataclass(frozen=True)
class Types:
    """Particle types of a world with S species and M bodies."""

    species: int
    bodies: int

    def bead(self, body: int) -> int:
        """Type of the beads of a body."""
        return self.species + body

    @property
    def centre(self) -> int:
        """Type of the centres of bodies."""
        return self.species + self.bodies

    @property
    def surface(self) -> int:
        """Type of hard faces and walls."""
        return self.centre + 1


def types_of(world: World) -> Types:
    """Return the particle types of a world."""
    return Types(len(world.species), sum(body.count for body in world.bodies))


@dataclass(frozen=True)
class Contact:
    """Contact of two types: the distance in µm at which it begins, and ε in pN µm."""

    first: int
    second: int
    distance: float
    energy: float


def sphere_contacts(world: World, params: MotionParams) -> Iterator[Contact]:
    """Yield the contacts between colloids, beads and surfaces, as the JAX engine has them."""
    types, slots = types_of(world), np.asarray(world.species_of_slot)
    first_slot = [int(np.argmax(slots == s)) for s in range(types.species)]
    push = [float(params.push[i]) for i in first_slot]
    radius = [s.radius for s in world.species]
    bead = [body.bead_radius for body in world.bodies for _ in range(body.count)]
    strongest = max(push)

    def contact(i: int, j: int, pushes: tuple[float, float], distance: float) -> Contact:
        a, b, reach = (jnp.asarray(x) for x in (*pushes, distance))
        energy = pair_energy(a, b, reach, params.thermal_energy, params.contact_energy)
        return Contact(i, j, distance, float(energy))

    if world.contacts:
        for i in range(types.species):
            for j in range(i, types.species):
                yield contact(i, j, (push[i], push[j]), radius[i] + radius[j])
            for k, r in enumerate(bead):
                hard = HARDNESS * push[i]
                yield contact(i, types.bead(k), (hard, hard), radius[i] + r)
        for k, r in enumerate(bead):
            for other in range(k):
                crowd = CROWD * strongest
                pair = (types.bead(other), types.bead(k))
                yield contact(*pair, (crowd, crowd), r + bead[other])
    if world.walls or "hard" in world.box.boundaries:
        for i in range(types.species):
            yield contact(i, types.surface, (push[i], push[i]), radius[i])
        for k, r in enumerate(bead):
            yield contact(types.bead(k), types.surface, (strongest, strongest), r)


def set_contacts(system: Any, world: World, params: MotionParams) -> None:
    """Set the interactions of all types: WCA, and Gay-Berne between spheroids.

    Gay-Berne with k1 the aspect ratio, k2 = 1, ν = 1, μ = 2. Its σ is that of the WCA potential
    across the director, and its ε the world's contact energy, or k_B T if none is given: unlike the
    contacts of the JAX engine it attracts beyond its minimum, with that depth.
    """
    for contact in sphere_contacts(world, params):
        pair = system.non_bonded_inter[contact.first, contact.second]
        aspect = world.species[0].aspect_ratio
        sigma = contact.distance * WCA_SIGMA
        if aspect == 1:
            pair.wca.set_params(epsilon=contact.energy, sigma=sigma)
            continue
        depth = contact.energy if world.contact_energy else float(params.thermal_energy)
        longest = contact.distance + max(aspect - 1, 0.0) * sigma
        pair.gay_berne.set_params(
            eps=depth, sig=sigma, cut=longest, k1=aspect, k2=1.0, mu=2.0, nu=1.0
        )


def longest_contact(world: World) -> float:
    """Largest distance in µm at which two particles touch."""
    radii = [s.largest_radius for s in world.species] + [b.bead_radius for b in world.bodies]
    return 2 * max(radii)


def set_surfaces(system: Any, world: World, frame: Frame) -> None:
    """Add hard faces and walls as constraints.

    Every hard face is one of its own, whose forces add up as the JAX engine's do. All walls are one
    union, of which the nearest surface alone pushes: constraints add up, and a corner of two
    segments would push twice.
    """
    shapes = importlib.import_module("espressomd.shapes")
    kind = types_of(world).surface
    for axis, boundary in enumerate(world.box.boundaries):
        if boundary == "hard":
            normal = np.eye(3)[axis]
            low, high = frame.origin[axis], frame.origin[axis] + frame.size[axis]
            for sign, offset in ((1, low), (-1, -high)):
                wall = shapes.Wall(normal=sign * normal, dist=offset)
                system.constraints.add(shape=wall, particle_type=kind, penetrable=False)
    geometry = world.wall_geometry
    if geometry is not None:
        union = shapes.Union()
        union.add([*_segments(shapes, geometry, frame), *_circles(shapes, geometry, frame)])
        system.constraints.add(shape=union, particle_type=kind, penetrable=False)


def _segments(shapes: Any, geometry: WallGeometry, frame: Frame) -> Iterator[Any]:
    """Straight walls with round ends: a spherocylinder in the plane, a slab with rounded edges in
    3D, where walls extend along z.
    """
    thin = THIN * float(frame.box.max())
    tall = 3 * float(frame.box[2])
    for start, end, half in zip(geometry.start, geometry.end, geometry.half, strict=True):
        a, b = np.append(start, 0.0), np.append(end, 0.0)
        thick = max(float(half), thin)
        length = float(np.linalg.norm(b - a))
        along = (b - a) / length
        middle = (a + b) / 2 + frame.origin
        if frame.dimension == 2:
            yield shapes.SpheroCylinder(
                center=middle, axis=along, length=length, radius=thick, direction=1
            )
            continue
        across = np.asarray([-along[1], along[0], 0.0])
        corner = a + frame.origin - thick * across
        corner[2] = (frame.box[2] - tall) / 2
        yield shapes.Rhomboid(
            corner=corner,
            a=length * along,
            b=2 * thick * across,
            c=np.asarray([0.0, 0.0, tall]),
            direction=1,
        )
        for tip in (a, b):
            yield _pillar(shapes, tip[:2], thick, 1, frame, tall)


def _circles(shapes: Any, geometry: WallGeometry, frame: Frame) -> Iterator[Any]:
    transform = importlib.import_module("espressomd.math").CylindricalTransformationParameters
    for centre, radius, half, side in zip(
        geometry.centre, geometry.radius, geometry.circle_half, geometry.side, strict=True
    ):
        tall = 3 * float(frame.box[2]) + 4 * float(radius + half)
        if side != 0:
            yield _pillar(shapes, centre, float(radius + side * half), int(side), frame, tall)
            continue
        at = np.append(centre, 0.0) + frame.origin
        at[2] = frame.box[2] / 2
        yield shapes.HollowConicalFrustum(
            cyl_transform_params=transform(center=at, axis=[0, 0, 1], orientation=[1, 0, 0]),
            r1=float(radius),
            r2=float(radius),
            length=tall,
            thickness=2 * max(float(half), THIN * float(frame.box.max())),
            direction=1,
        )


def _pillar(
    shapes: Any, centre: np.ndarray, radius: float, side: int, frame: Frame, tall: float
) -> Any:
    """A cylinder along z; side 1 keeps colloids outside, -1 inside."""
    at = np.append(centre, 0.0) + frame.origin
    at[2] = frame.box[2] / 2
    return shapes.Cylinder(center=at, axis=[0, 0, 1], radius=radius, length=tall, direction=side)
