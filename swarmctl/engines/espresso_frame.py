"""Places and orientations of a world as ESPResSo has them.

ESPResSo has no units: lengths are µm, times s, forces pN, energies pN µm and masses pN s²/µm, as
everywhere here, so that numbers go over as they are. Its box is always 3D. A planar world lies in
the middle of a slab; a world with open axes may lie inside a larger box.

ESPResSo's director is the z axis of a particle's frame. In the plane that frame turns about its x
axis, which is the normal of the plane.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from swarmctl.core.world import World
from swarmctl.core.wrapping import wrapped_position

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Frame:
    """Box of ESPResSo: sides [3] µm, which axes are periodic, where the world's origin lies [3] µm.

    size [D] µm and periodic bool (D) are the world's.
    """

    box: Floats
    wraps: tuple[bool, bool, bool]
    origin: Floats
    size: Floats
    periodic: tuple[bool, ...]

    @property
    def dimension(self) -> int:
        """2 or 3."""
        return len(self.size)

    def inside(self, points: npt.ArrayLike) -> Floats:
        """Points [N,D] µm of the world as [N,3] µm in ESPResSo's box."""
        given = np.asarray(points, np.float64)
        return np.pad(given, ((0, 0), (0, 3 - given.shape[1]))) + self.origin

    def outside(self, points: npt.ArrayLike) -> Floats:
        """Points [N,3] µm of ESPResSo as [N,D] µm of the world."""
        return (np.asarray(points, np.float64) - self.origin)[:, : self.dimension]

    def vectors(self, values: npt.ArrayLike) -> Floats:
        """Vectors [N,D] of the world as [N,3]."""
        given = np.asarray(values, np.float64)
        return np.pad(given, ((0, 0), (0, 3 - given.shape[1])))

    def turns(self, values: npt.ArrayLike) -> Floats:
        """Axial vectors, [N] or [N,1] about z in 2D and [N,3] in 3D, as [N,3]."""
        given = np.asarray(values, np.float64)
        if self.dimension == 3:
            return given
        return np.pad(given.reshape(-1, 1), ((0, 0), (2, 0)))

    def wrap(self, unwrapped: Floats, dtype: str) -> tuple[npt.NDArray[Any], npt.NDArray[np.int32]]:
        """Positions [N,D] µm in the box along periodic axes in `dtype`, and images i32 [N,D]."""
        return wrapped_position(unwrapped, self.size, self.periodic, dtype)


def make_frame(world: World, thickest: float, spare: bool) -> Frame:
    """Return the frame of a world; `thickest` µm is the largest range of a contact.

    With `spare` the box of ESPResSo extends beyond open faces by a box length on either side.
    """
    size = np.asarray(world.box.size, np.float64)
    beyond = np.asarray([spare and kind == "open" for kind in world.box.boundaries])
    box, origin = np.where(beyond, 3 * size, size), np.where(beyond, size, 0.0)
    wraps = world.box.periodic
    if world.dimension == 2:
        depth = 4 * thickest
        box, origin = np.append(box, depth), np.append(origin, depth / 2)
        wraps = (*wraps, False)
    return Frame(box, (wraps[0], wraps[1], wraps[2]), origin, size, world.box.periodic)


def colloid_quaternions(director: npt.ArrayLike) -> Floats:
    """Quaternions [N,4] (w, x, y, z) of frames whose z axis is the director [N,2 or 3].

    In 2D the x axis is the normal of the plane; in 3D the frame is turned by the least angle.
    """
    n = np.asarray(director, np.float64)
    if n.shape[1] == 2:
        half = np.arctan2(n[:, 1], n[:, 0]) / 2
        a, b = np.cos(half) / np.sqrt(2), np.sin(half) / np.sqrt(2)
        return np.stack([-b, a, b, a], axis=1)
    n = n / np.linalg.norm(n, axis=1, keepdims=True)
    half = np.sqrt(np.maximum(0, (1 + n[:, 2]) / 2))
    down = half < 1e-8
    inverse = 1 / (2 * np.where(down, 1, half))
    zero = np.zeros(len(n))
    q = np.stack([half, -n[:, 1] * inverse, n[:, 0] * inverse, zero], axis=1)
    return np.where(down[:, None], [0.0, 1.0, 0.0, 0.0], q)


def body_quaternions(orientation: npt.ArrayLike) -> Floats:
    """Quaternions [M,4] of bodies, from their x axes [M,2] in 2D or quaternions [M,4] in 3D."""
    given = np.asarray(orientation, np.float64)
    if given.shape[1] == 4:
        return given / np.linalg.norm(given, axis=1, keepdims=True)
    half = np.arctan2(given[:, 1], given[:, 0]) / 2
    zero = np.zeros(len(given))
    return np.stack([np.cos(half), zero, zero, np.sin(half)], axis=1)


def body_orientations(quaternion: Floats, dimension: int) -> Floats:
    """The inverse of `body_quaternions`."""
    if dimension == 3:
        return quaternion
    angle = 2 * np.arctan2(quaternion[:, 3], quaternion[:, 0])
    return np.stack([np.cos(angle), np.sin(angle)], axis=1)


def rotations(before: Floats, after: Floats, expected: Floats) -> Floats:
    """Rotation of directors [N,D] in rad: the angle [N] in 2D, a rotation vector [N,3] in 3D.

    In 2D whole turns are counted such that it is nearest to what was commanded, `expected` [N,3].
    In 3D it is the shortest one; of what a colloid turns about its own director, only what was
    commanded is known.
    """
    if before.shape[1] == 2:
        angle = np.arctan2(
            before[:, 0] * after[:, 1] - before[:, 1] * after[:, 0], (before * after).sum(axis=1)
        )
        rest = angle - expected[:, 2]
        return expected[:, 2] + rest - 2 * np.pi * np.round(rest / (2 * np.pi))
    turn = _rotation_vectors(np.cross(before, after), (before * after).sum(axis=1))
    middle = before + after
    square = (middle**2).sum(axis=1, keepdims=True)
    along = (expected * middle).sum(axis=1, keepdims=True) / np.where(square > 0, square, 1)
    return turn + along * middle


def body_rotations(before: Floats, after: Floats) -> Floats:
    """Shortest rotation between orientations: [M,1] in 2D, [M,3] in the lab frame in 3D, rad."""
    if before.shape[1] == 2:
        return rotations(before, after, np.zeros((len(before), 3)))[:, None]
    w, v = before[:, :1], -before[:, 1:]
    a, b = after[:, :1], after[:, 1:]
    real = a * w - (b * v).sum(axis=1, keepdims=True)
    turn = a * v + w * b + np.cross(b, v)
    sign = np.where(real < 0, -1, 1)
    sine = np.linalg.norm(turn, axis=1, keepdims=True)
    angle = 2 * np.arctan2(sine, sign * real)
    return sign * turn * np.where(sine > 0, angle / np.where(sine > 0, sine, 1), 2)


def _rotation_vectors(axis: Floats, cosine: Floats) -> Floats:
    sine = np.linalg.norm(axis, axis=1)
    angle = np.arctan2(sine, cosine)
    return axis * np.where(sine > 0, angle / np.where(sine > 0, sine, 1), 1)[:, None]
