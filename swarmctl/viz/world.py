"""The stage of a world: its box, colloids, bodies and walls as a scene to be drawn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from swarmctl.core.bodies import Body, Cross, Disc, Ngon
from swarmctl.core.walls import outlines, solid
from swarmctl.core.world import World
from swarmctl.viz.scene import BodyShape, Scene


def world_scene(world: World, title: str = "", **changes: Any) -> Scene:
    """Return what does not change in pictures of a world.

    `changes` are further arguments of the Scene: a field, a flow, markers, a view.
    """
    species = np.asarray(world.species_of_slot)
    walls = tuple(world.walls)
    return Scene(
        size=world.box.size,
        periodic=world.box.periodic,
        radii=np.asarray([s.radius for s in world.species])[species],
        aspects=np.asarray([s.aspect_ratio for s in world.species])[species],
        species=species,
        species_names=tuple(s.name for s in world.species),
        bodies=body_shapes(world.bodies),
        outlines=tuple(outlines(walls)),
        solid=(lambda points: solid(points, walls, world.box)) if walls else None,
        title=title,
        walls="hard" in world.box.boundaries,
        **changes,
    )


def body_shapes(bodies: Sequence[Body]) -> tuple[BodyShape, ...]:
    """How the bodies of a world are drawn, one entry for each of them."""
    shapes, first = [], 0
    for kind, body in enumerate(bodies):
        count = len(body.shape.outline())
        for _ in range(body.count):
            lines = tuple(
                tuple(first + index for index in line) for line in _lines(body.shape, count)
            )
            closed = isinstance(body.shape, (Disc, Ngon))
            shapes.append(BodyShape(body.bead_radius, lines, closed, kind))
            first += count
    return tuple(shapes)


def _lines(shape: Any, count: int) -> tuple[tuple[int, ...], ...]:
    """Beads of a shape in the order in which they are joined."""
    if not isinstance(shape, Cross):
        return (tuple(range(count)),)
    # The second bar follows the first one and shares its middle bead.
    bar = (count + 1) // 2
    middle, rest = bar // 2, tuple(range(bar, count))
    return tuple(range(bar)), (*rest[:middle], middle, *rest[middle:])
