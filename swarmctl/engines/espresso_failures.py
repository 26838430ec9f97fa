"""Whether the motion of an interval failed, judged from where everything is afterwards.

The JAX engine looks at every time step; here the end of the interval is looked at, besides what
ESPResSo itself reports.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.spatial import cKDTree

from swarmctl.core.wall_geometry import clearance
from swarmctl.core.world import World
from swarmctl.physics.contacts import OVERLAP


def overlap_function(world: World) -> Callable[[np.ndarray, np.ndarray], tuple[bool, bool]]:
    """Return the function (colloids [N,D], beads [B,D] µm, in any box) -> (overlap, in a wall).

    Overlap: nearer than `OVERLAP` times the distance of contact, to one another, a hard face or a
    wall.
    """
    radius = np.asarray([world.species[s].radius for s in world.species_of_slot])
    group = np.arange(len(radius))
    for body in world.bodies:
        for _ in range(body.count):
            beads = len(body.shape.outline())
            radius = np.append(radius, np.full(beads, body.bead_radius))
            group = np.append(group, np.full(beads, group.max() + 1))
    size, periodic = np.asarray(world.box.size), np.asarray(world.box.periodic)
    hard = [kind == "hard" for kind in world.box.boundaries]
    geometry, reach = world.wall_geometry, 2 * float(radius.max()) * OVERLAP

    def overlap(position: np.ndarray, beads: np.ndarray) -> tuple[bool, bool]:
        points = np.concatenate([position, beads])
        deep, inside = False, False
        if world.contacts:
            deep = _any_close(points)
        for axis, is_hard in enumerate(hard):
            if is_hard:
                x = points[:, axis]
                deep |= bool((np.minimum(x, size[axis] - x) < OVERLAP * radius).any())
        if geometry is not None:
            gap = clearance(points, geometry)
            deep |= bool((gap < OVERLAP * radius).any())
            inside = bool((gap < 0).any())
        return deep, inside

    def _any_close(points: np.ndarray) -> bool:
        folded = points - np.where(periodic, size * np.floor(points / size), 0)
        # A tiny negative number plus L rounds to L, which is outside of the tree's box.
        folded = np.where(periodic & (folded >= size), 0.0, folded)
        lengths = np.where(periodic, size, 0.0)
        pairs = cKDTree(folded, boxsize=lengths).query_pairs(reach, output_type="ndarray")
        i, j = pairs[group[pairs[:, 0]] != group[pairs[:, 1]]].T
        delta = folded[i] - folded[j]
        delta -= np.where(periodic, size * np.round(delta / size), 0)
        return bool((np.linalg.norm(delta, axis=1) < OVERLAP * (radius[i] + radius[j])).any())

    return overlap
