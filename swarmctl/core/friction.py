"""Friction of shapes in a viscous fluid at rest, far from walls and other bodies.

Lengths in µm, viscosity in Pa s = pN s/µm²; translational friction in pN s/µm, rotational friction
in pN s µm. "Along" and "across" refer to the axis of symmetry, which is the director. Rotation
"across" turns the director, rotation "about" the axis leaves it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from swarmctl.core.errors import ConfigError, require_positive

Matrix = NDArray[np.float64]

SHORTEST_CYLINDER, LONGEST_CYLINDER = 2.0, 30.0
"""Range of length over diameter for which the end corrections of cylinders are known."""

_SERIES_RANGE = 0.1
_SERIES_TERMS = 16


@dataclass(frozen=True)
class AxialFriction:
    """Friction of a body of revolution.

    Along and across its axis in pN s/µm; rotation that turns the axis (across) and about the axis
    in pN s µm.
    """

    along: float
    across: float
    rotation_across: float
    rotation_about: float


@dataclass(frozen=True, eq=False)
class BodyFriction:
    """Friction of a rigid body with respect to its centre of diffusion.

    Force and torque that move the body with velocity U and angular velocity ω are
    F = translation U + couplingᵀ ω and T = coupling U + rotation ω, all matrices [3,3], in pN s/µm,
    pN s and pN s µm. `centre` [3] in µm is the centre of diffusion, the point with respect to which
    `coupling` of the mobility is symmetric.
    """

    translation: Matrix
    rotation: Matrix
    coupling: Matrix
    centre: Matrix


@dataclass(frozen=True, eq=False)
class PlanarFriction:
    """Friction of a rigid body that moves in the plane of x and y and turns about z.

    `translation` [2,2] in pN s/µm, `rotation` in pN s µm; both hold at `centre` [2] in µm, where a
    force does not turn the body and a torque does not move it.
    """

    translation: Matrix
    rotation: float
    centre: Matrix


def sphere_friction(radius: float, viscosity: float) -> AxialFriction:
    """Stokes friction 6πηa and 8πηa³ of a sphere.

    >>> round(sphere_friction(1.0, 1.0).along, 4)
    18.8496
    """
    require_positive("sphere", radius=radius, viscosity=viscosity)
    force, torque = 6 * math.pi * viscosity * radius, 8 * math.pi * viscosity * radius**3
    return AxialFriction(force, force, torque, torque)


def spheroid_friction(radius: float, aspect: float, viscosity: float) -> AxialFriction:
    """Friction of a spheroid, exact for every aspect ratio (Perrin, J. Phys. Radium 5, 497 (1934)
    and 7, 1 (1936); Kim and Karrila, Microhydrodynamics, section 3.3).

    `radius` is the equatorial semi-axis a, the same as of a sphere of aspect 1; the polar semi-axis
    along the director is aspect x a. Prolate for aspect > 1, oblate for aspect < 1.

    >>> prolate = spheroid_friction(1.0, 5.0, 1.0)
    >>> round(prolate.across / prolate.along, 4)
    1.3284
    """
    require_positive("spheroid", radius=radius, aspect=aspect, viscosity=viscosity)
    integral, polar = _shape_integrals(aspect)
    equatorial = (1 - polar) / 2
    # Perrin's elliptic integrals, lengths in units of the radius.
    chi, alpha_polar, alpha_equatorial = 2 * integral, 2 * polar / aspect, 2 * equatorial / aspect
    unit = 16 * math.pi * viscosity * radius
    volume = 16 * math.pi * viscosity * radius**3
    square = aspect**2
    return AxialFriction(
        along=unit / (chi + square * alpha_polar),
        across=unit / (chi + alpha_equatorial),
        rotation_across=volume * (1 + square) / (3 * (alpha_equatorial + square * alpha_polar)),
        rotation_about=volume / (3 * alpha_equatorial),
    )


def _shape_integrals(aspect: float) -> tuple[float, float]:
    """Return F = arccosh(p)/√(p² - 1) and the polar depolarisation factor (pF - 1)/(p² - 1).

    Near p = 1, where both are 0/0, F is the series of ₂F₁(1, 1; 3/2; (1 - p)/2).
    """
    if abs(aspect - 1) > _SERIES_RANGE:
        square = aspect**2 - 1
        angle = math.acosh(aspect) if aspect > 1 else math.acos(aspect)
        integral = angle / math.sqrt(abs(square))
        return integral, (aspect * integral - 1) / square
    t, coefficient, power = (1 - aspect) / 2, 1.0, 1.0
    integral, shifted = 0.0, 0.0
    for k in range(_SERIES_TERMS):
        following = coefficient * (k + 1) / (k + 1.5)
        integral += coefficient * power
        shifted += following * power
        coefficient, power = following, power * t
    return integral, (2 * integral - shifted) / (4 * (1 - t))


def disc_friction(radius: float, viscosity: float) -> AxialFriction:
    """Friction of a flat disc of no thickness, its director the normal: 16ηa along, 32ηa/3 across,
    32ηa³/3 for every rotation (Happel and Brenner, Low Reynolds Number Hydrodynamics, chapter 5).
    """
    require_positive("disc", radius=radius, viscosity=viscosity)
    torque = 32 / 3 * viscosity * radius**3
    return AxialFriction(16 * viscosity * radius, 32 / 3 * viscosity * radius, torque, torque)


def cylinder_friction(length: float, diameter: float, viscosity: float) -> AxialFriction:
    """Friction of a cylinder with flat ends, 2 ≤ length/diameter ≤ 30.

    End corrections of Tirado and García de la Torre, J. Chem. Phys. 71, 2581 (1979) and 73, 1986
    (1980), as given by Tirado, López Martínez and García de la Torre, J. Chem. Phys. 81, 2047
    (1984). Raises ConfigError outside their range.
    """
    require_positive("cylinder", length=length, diameter=diameter, viscosity=viscosity)
    p = length / diameter
    if not SHORTEST_CYLINDER <= p <= LONGEST_CYLINDER:
        raise ConfigError(
            f"cylinder: length/diameter is {p:.4g}; end corrections are known from "
            f"{SHORTEST_CYLINDER:g} to {LONGEST_CYLINDER:g}. "
            "Use slender_rod_friction for a longer rod, spheroid_friction for a stubbier body."
        )
    log = math.log(p)
    return AxialFriction(
        along=2 * math.pi * viscosity * length / (log - 0.207 + 0.980 / p - 0.133 / p**2),
        across=4 * math.pi * viscosity * length / (log + 0.839 + 0.185 / p + 0.233 / p**2),
        rotation_across=math.pi
        * viscosity
        * length**3
        / (3 * (log - 0.662 + 0.917 / p - 0.050 / p**2)),
        rotation_about=3.841
        * math.pi
        * viscosity
        * length
        * diameter**2
        / 4
        * (1 + 0.677 / p - 0.183 / p**2),
    )


def slender_rod_friction(
    length: float, diameter: float, viscosity: float, factor: float = 1.0
) -> AxialFriction:
    """Friction of a long thin rod, to leading orders of the logarithm.

    factor x 2πηL/ln(L/s) along, 4πηL/(ln(L/s) + 1) across, πηL³/(3 ln(L/s)) in rotation across, as
    Heuthe et al., Science Robotics 9, eado5888 (2024) use it, their factor being 3 or 4 on a
    substrate; πηLs² about the axis, the friction of a long cylinder. Needs length > diameter.
    """
    require_positive("rod", length=length, diameter=diameter, viscosity=viscosity, factor=factor)
    if not length > diameter:
        raise ConfigError(
            f"rod: length {length:g} must exceed the diameter {diameter:g}; "
            "use spheroid_friction for a stubbier body."
        )
    log, unit = math.log(length / diameter), factor * math.pi * viscosity
    return AxialFriction(
        along=2 * unit * length / log,
        across=4 * unit * length / (log + 1),
        rotation_across=unit * length**3 / (3 * log),
        rotation_about=unit * length * diameter**2,
    )


def bead_friction(offsets: ArrayLike, radius: float, viscosity: float) -> BodyFriction:
    """Friction of a rigid assembly of equal beads that may touch or overlap.

    offsets [B,3] µm are the bead centres. The beads interact by the mobility of Rotne, Prager and
    Yamakawa for forces and torques (Wajnryb et al., J. Fluid Mech. 731, R3 (2013); Zuk et al., J.
    Fluid Mech. 741, R5 (2014)), which is positive definite at every distance; the rigid body
    follows as in Carrasco and García de la Torre, J. Chem. Phys. 111, 4817 (1999). As every bead
    feels torques, one bead gives Stokes' 6πηa and 8πηa³, and the volume correction of bead models
    without torques is not needed. There is no lubrication: two touching beads come out 4.6 % too
    low along their axis and within 1.5 % in all else. Takes 6B x 6B matrices, so up to some 1000
    beads.

    Raises ConfigError if two beads coincide.
    """
    require_positive("beads", radius=radius, viscosity=viscosity)
    points = np.asarray(offsets, np.float64)
    if points.ndim != 2 or points.shape[1] != 3 or len(points) == 0:
        raise ConfigError(f"beads: offsets must have the shape (beads, 3), got {points.shape}.")
    if not np.isfinite(points).all():
        raise ConfigError("beads: an offset is not finite.")
    distance = np.linalg.norm(points[:, None] - points[None], axis=-1)
    if (distance[np.triu_indices(len(points), 1)] < 1e-6 * radius).any():
        raise ConfigError("beads: two beads have the same centre; list each bead once.")
    # Lengths in units of the bead radius keep the matrix well conditioned.
    scaled = points / radius
    origin = scaled.mean(axis=0)
    resistance = _assembly_resistance(scaled - origin)
    mobility: Matrix = np.asarray(np.linalg.inv(resistance), np.float64)
    shift = _centre_of_diffusion(mobility)
    move = np.eye(6)
    move[:3, 3:] = _cross_matrix(shift)  # velocity of the old origin from that of the centre
    resistance = move.T @ resistance @ move
    resistance = (resistance + resistance.T) / 2
    return BodyFriction(
        translation=viscosity * radius * resistance[:3, :3],
        rotation=viscosity * radius**3 * resistance[3:, 3:],
        coupling=viscosity * radius**2 * resistance[3:, :3],
        centre=radius * (origin + shift),
    )


def planar_friction(body: BodyFriction) -> PlanarFriction:
    """Friction of a body of beads in the plane of x and y, with the point where forces do not turn.

    The body must be its own mirror image in that plane, else motion would leave it: raises
    ConfigError.
    """
    resistance = np.block([[body.translation, body.coupling.T], [body.coupling, body.rotation]])
    plane, rest = [0, 1, 5], [2, 3, 4]
    scale = np.sqrt(np.diag(resistance))
    if (np.abs(resistance / np.outer(scale, scale))[np.ix_(plane, rest)] > 1e-6).any():
        raise ConfigError(
            "beads: the body is not symmetric in the plane of x and y, so that it would leave the "
            "plane; put every bead at z = 0."
        )
    mobility = np.linalg.inv(resistance[np.ix_(plane, plane)])
    # A force at a distance d from the old centre turns the body by μ_rt F + μ_rr (d x F)_z.
    shift = np.array([-mobility[2, 1], mobility[2, 0]]) / mobility[2, 2]
    return PlanarFriction(
        translation=body.translation[:2, :2],
        rotation=float(1 / mobility[2, 2]),
        centre=body.centre[:2] + shift,
    )


def _cross_matrix(vector: Any) -> Matrix:
    x, y, z = vector
    return np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])


def _assembly_resistance(points: Matrix) -> Matrix:
    """Resistance [6,6] about the origin of unit beads at points [B,3] in a fluid of viscosity 1."""
    count = len(points)
    inverse = np.linalg.inv(_bead_mobility(points))
    rigid = np.zeros((2, count, 3, 6))
    rigid[0, :, :, :3] = np.eye(3)
    rigid[1, :, :, 3:] = np.eye(3)
    for bead, point in enumerate(points):
        rigid[0, bead, :, 3:] = -_cross_matrix(point)
    motion = rigid.reshape(6 * count, 6)
    result = motion.T @ inverse @ motion
    return (result + result.T) / 2


def _bead_mobility(points: Matrix) -> Matrix:
    """Mobility [6B,6B] of unit beads at viscosity 1: first all velocities, then all rotations."""
    count = len(points)
    delta = points[:, None] - points[None]
    r = np.linalg.norm(delta, axis=-1)
    itself = np.eye(count, dtype=bool)
    r = np.where(itself, 4.0, r)
    n = np.where(itself[..., None], 0.0, delta / r[..., None])
    apart = r > 2
    one = np.where(apart, (1 + 2 / (3 * r**2)) / (8 * np.pi * r), (1 - 9 * r / 32) / (6 * np.pi))
    two = np.where(apart, (1 - 2 / r**2) / (8 * np.pi * r), 3 * r / 32 / (6 * np.pi))
    turn_one = np.where(
        apart, -1 / (16 * np.pi * r**3), (1 - 27 * r / 32 + 5 * r**3 / 64) / (8 * np.pi)
    )
    turn_two = np.where(apart, 3 / (16 * np.pi * r**3), (9 * r / 32 - 3 * r**3 / 64) / (8 * np.pi))
    mixed = np.where(apart, 1 / (8 * np.pi * r**2), r * (1 - 3 * r / 8) / (16 * np.pi))
    one, turn_one = (
        np.where(itself, own, other)
        for own, other in ((1 / (6 * np.pi), one), (1 / (8 * np.pi), turn_one))
    )
    outer = n[..., :, None] * n[..., None, :]
    blocks = np.zeros((2, count, 3, 2, count, 3))
    for which, (plain, along) in enumerate(((one, two), (turn_one, turn_two))):
        tensor = plain[..., None, None] * np.eye(3) + along[..., None, None] * outer
        blocks[which, :, :, which, :, :] = tensor.transpose(0, 2, 1, 3)
    # A force F on bead j turns bead i by mixed F x n, n pointing from j to i.
    turned = mixed[..., None, None] * np.cross(np.eye(3), n[..., None, :]).swapaxes(-1, -2)
    blocks[1, :, :, 0, :, :] = turned.transpose(0, 2, 1, 3)
    flat = blocks.reshape(6 * count, 6 * count)
    flat[: 3 * count, 3 * count :] = flat[3 * count :, : 3 * count].T
    return flat


def _centre_of_diffusion(mobility: Matrix) -> Matrix:
    """Shift from the origin to the point where the coupling of the mobility [6,6] is symmetric.

    At a distance d it is μ_rt + μ_rr [d]ₓ, and S[d]ₓ + [d]ₓS = [(tr S - S) d]ₓ for a symmetric S.
    """
    coupling, rotation = mobility[3:, :3], mobility[3:, 3:]
    skew = coupling - coupling.T
    vector = np.array([skew[2, 1], skew[0, 2], skew[1, 0]])
    return -np.linalg.solve(np.trace(rotation) * np.eye(3) - rotation, vector)
