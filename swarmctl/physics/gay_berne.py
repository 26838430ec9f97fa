"""Repulsive contacts between spheroids, spheres among them, and of spheroids with plane faces.

A Gay-Berne potential (J. Chem. Phys. 74, 3316 (1981)) with ν = 1, μ = 2, κ' = 1 and κ the aspect
ratio, cut at its minimum. With g = r - C the gap along the line of centres, c = a_i + a_j the sum
of the equatorial radii and X = 1 + g/c,

    U = ε ε₁ (X⁻⁶ - 1)² for X < 1,        ε₁ = [1 - χ_i χ_j (û_i·û_j)²]^(-1/2),

χ = (κ² - 1)/(κ² + 1). For spheres C = c and ε₁ = 1, which is the WCA potential of `contacts`.

The contact distance C is that of Perram and Wertheim (J. Comput. Phys. 58, 409 (1985)): the largest
over 0 < λ < 1 of F(λ) = λ(1 - λ) r·[(1 - λ) S_i + λ S_j]⁻¹ r, S being the matrices of squared
semi-axes, is (r/C)², so that the range ends exactly where the two surfaces touch, for any two
spheroids. With λ = a_i/(a_i + a_j) held fixed it is the Gaussian overlap of Berne and Pechukas (J.
Chem. Phys. 56, 4213 (1972)): exact for spheres and for like spheroids side by side or tip to tip,
12 % too long for a T of aspect 3, and useless against a large sphere or a wall. By the envelope
theorem gradients of F need none of λ.

`radius` is the equatorial semi-axis a, the polar one along the director is aspect x a. Meant for
aspects from 1/10 to 10.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from swarmctl.physics.contacts import (
    ALL_PAIRS_ELEMENTS,
    DEEPEST,
    STIFFNESS,
    pair_energy,
    wca_factor,
)

Array = jax.Array
Vector = Sequence[Array]

TANGENT_STEPS = 5
"""Newton steps for λ: relative error of forces below 1e-10 for aspects up to 5, 1e-6 up to 10."""
_CLOSEST = 1e-6


class _Tangent(NamedTuple):
    """F and what its gradients are made of, with v = B⁻¹ r and B = (1-λ) S_i + λ S_j.

    `own` is û_i·v times (1-λ)(b_i² - a_i²).
    """

    form: Array
    product: Array  # λ(1-λ)
    v: list[Array]
    own: Array


def _dot(a: Vector, b: Vector) -> Array:
    return jnp.asarray(sum(x * y for x, y in zip(a, b, strict=True)))


def _cross(a: Vector, b: Vector) -> list[Array]:
    """a x b: one component in 2D, three in 3D."""
    if len(a) == 2:
        return [a[0] * b[1] - a[1] * b[0]]
    return [a[i] * b[j] - a[j] * b[i] for i, j in ((1, 2), (2, 0), (0, 1))]


def _tangent(
    delta: Vector,
    directors: tuple[Vector, Vector],
    squares: tuple[Array, Array],
    stretches: tuple[Array, Array],
    steps: int,
) -> _Tangent:
    """Maximise F(λ) by Newton's method for t = ln(λ/(1-λ)), starting from the radii along r.

    At the maximum t = ½ ln(v·S_i v / v·S_j v). squares are a², stretches b² - a² of both.
    """
    (u, w), (a2, b2), (da, db) = directors, squares, stretches
    x, y, z = _dot(u, delta), _dot(w, delta), _dot(u, w)
    square = _dot(delta, delta)

    def at(t: Array) -> tuple[_Tangent, Array]:
        """F at t, and the next t."""
        weight = 1 / (1 + jnp.exp(-t))
        plain = (1 - weight) * a2 + weight * b2
        first, second = (1 - weight) * da, weight * db
        inverse = 1 / ((plain + first) * (plain + second) - first * second * z * z)

        def solve(p: Array, q: Array) -> tuple[Array, Array]:
            """Products of B⁻¹m with both directors, from those of m."""
            return (
                ((plain + second) * p - second * z * q) * inverse,
                ((plain + first) * q - first * z * p) * inverse,
            )

        s, o = solve(x, y)
        v = [
            (d - first * s * e - second * o * f) / plain
            for d, e, f in zip(delta, u, w, strict=True)
        ]
        product = weight * (1 - weight)
        form = product * (square - first * s * x - second * o * y) / plain
        result = _Tangent(form, product, v, first * s)

        # dv/dλ = -B⁻¹m with m = (S_j - S_i) v; p, q and along are û_i, û_j and v times B⁻¹m.
        length = _dot(v, v)
        size_i, size_j = a2 * length + da * s * s, b2 * length + db * o * o
        p, q = solve((b2 - a2) * s + db * o * z - da * s, (b2 - a2) * o + db * o - da * s * z)
        along = (size_j - size_i - first * p * s - second * q * o) / plain
        slope = (a2 * along + da * s * p) / size_i - (b2 * along + db * o * q) / size_j
        return result, t - (t - 0.5 * jnp.log(size_i / size_j)) / (1 + product * slope)

    if steps == 0:
        return at(0.5 * jnp.log(a2 / b2))[0]
    reach_i = a2 * (a2 + da) / (a2 + da - da * x * x / square)
    reach_j = b2 * (b2 + db) / (b2 + db - db * y * y / square)
    t = 0.5 * jnp.log(reach_i / reach_j)
    for _ in range(steps):
        t = at(t)[1]
    # Without barriers XLA repeats the whole search in the kernel of every component.
    return at(jax.lax.optimization_barrier(t))[0]


def contact_distance(
    delta: Array,
    director: Array,
    other_director: Array,
    radius: Array,
    aspect: Array,
    other_radius: Array,
    other_aspect: Array,
    steps: int = TANGENT_STEPS,
) -> Array:
    """Distance in µm at which two spheroids touch in the direction of delta [D,...] (any length).

    Directors [D,...] of length 1, radii in µm and aspects broadcast against delta[0]. steps = 0
    gives the Gaussian overlap of Berne and Pechukas.
    """
    tangent = _tangent(
        list(delta),
        (list(director), list(other_director)),
        (radius**2, other_radius**2),
        (radius**2 * (aspect**2 - 1), other_radius**2 * (other_aspect**2 - 1)),
        steps,
    )
    return jnp.sqrt(jnp.sum(delta**2, axis=0) / tangent.form)


def anisotropy(aspect: Array) -> Array:
    """χ = (κ² - 1)/(κ² + 1): 0 for spheres, 1 for needles, -1 for discs."""
    square = aspect**2
    return (square - 1) / (square + 1)


def pair_contact(
    delta: Vector,
    directors: tuple[Vector, Vector],
    radii: tuple[Array, Array],
    aspects: tuple[Array, Array],
    energy: Array,
    steps: int,
) -> tuple[list[Array], list[Array], Array]:
    """Force [D] on the first spheroid, couple [D] whose cross product û x couple is its torque,
    and (1/X)².
    """
    contact = radii[0] + radii[1]
    # Coinciding centres have no direction; they repel with no force, as spheres do.
    closest = _CLOSEST * contact
    delta = [delta[0] + jnp.where(_dot(delta, delta) < closest**2, closest, 0), *delta[1:]]
    squares = (radii[0] ** 2, radii[1] ** 2)
    stretches = (squares[0] * (aspects[0] ** 2 - 1), squares[1] * (aspects[1] ** 2 - 1))
    form, product, v, own = _tangent(delta, directors, squares, stretches, steps)

    r = jnp.sqrt(_dot(delta, delta))
    root = 1 / jnp.sqrt(form)  # C/r
    x = 1 + r * (1 - root) / contact
    capped = jnp.maximum(x, DEEPEST) * contact
    cosine = _dot(*directors)
    chi = anisotropy(aspects[0]) * anisotropy(aspects[1])
    denominator = 1 / (1 - chi * cosine * cosine)
    strength = energy * jnp.sqrt(denominator)
    factor, u = wca_factor(capped**2, contact, strength)
    # Below the cap the force stays as it is, and vanishes only where the centres meet.
    fade = jnp.where(x < DEEPEST, jnp.minimum(r / (DEEPEST * contact), 1), 1)
    push = factor * capped * fade

    lever = r * product * root * root * root
    radial = (1 - root) / r
    force = [push * (radial * d + lever * c) for d, c in zip(delta, v, strict=True)]
    rise = u * u * u - 1
    twist = jnp.where(u > 1, strength * rise * rise, 0) * chi * cosine * denominator
    couple = [-push * lever * own * c - twist * e for c, e in zip(v, directors[1], strict=True)]
    return force, couple, u


def spheroid_forces(
    position: Array,
    director: Array,
    radius: Array,
    aspect: Array,
    push: Array,
    thermal: Array,
    given: Array | None,
    size: Array,
    periodic: tuple[bool, ...],
    group: np.ndarray | None = None,
    steps: int = TANGENT_STEPS,
) -> tuple[Array, Array, Array]:
    """Contact forces [D,N,*batch] in pN, torques [1 or 3,N,*batch] in pN µm, and the largest X⁻² of
    every particle [N,*batch], which is (contact/r)² for spheres.

    position [D,N,*batch] µm, director [D,N,*batch], radius (equatorial), aspect and push
    [N,*batch or 1s], thermal [*batch or 1s], size [D,*batch or 1s]. Particles of equal `group` i32
    [N] do not interact. `steps` as in `contact_distance`.
    """
    dimension, count, batch = position.shape[0], position.shape[1], position.shape[2:]
    turns = 1 if dimension == 2 else 3
    zero = jnp.zeros(position.shape[1:], position.dtype)
    if count == 1:
        return jnp.zeros_like(position), jnp.zeros((turns, *zero.shape), zero.dtype), zero
    groups = np.arange(count) if group is None else np.asarray(group)
    director = jnp.broadcast_to(director, position.shape)
    inverse_size = 1 / size

    def towards(
        own: tuple[Array, ...], other: tuple[Array, ...], apart: Array
    ) -> tuple[list[Array], list[Array], Array]:
        """Own and other: position, director, radius, aspect, push."""
        delta = [
            d - size[axis] * jnp.round(d * inverse_size[axis]) if periodic[axis] else d
            for axis, d in enumerate(own[0][axis] - other[0][axis] for axis in range(dimension))
        ]
        energy = pair_energy(own[4], other[4], own[2] + other[2], thermal, given)
        force, couple, u = pair_contact(
            delta,
            (list(own[1]), list(other[1])),
            (own[2], other[2]),
            (own[3], other[3]),
            energy,
            steps,
        )
        nothing = jnp.zeros((), u.dtype)
        return (
            [jnp.where(apart, f, nothing) for f in force],
            [jnp.where(apart, c, nothing) for c in couple],
            jnp.where(apart, u, nothing),
        )

    if count * count * math.prod(batch) <= ALL_PAIRS_ELEMENTS:
        own = (position[:, :, None], director[:, :, None])
        other = (position[:, None], director[:, None])
        apart = jnp.asarray(groups[:, None] != groups[None])
        force, couple, u = towards(
            (*own, *(x[:, None] for x in (radius, aspect, push))),
            (*other, *(x[None] for x in (radius, aspect, push))),
            apart.reshape(count, count, *(1,) * len(batch)),
        )
        total = jnp.stack([jnp.sum(f, axis=1) for f in force])
        arm = [jnp.sum(c, axis=1) for c in couple]
        return total, jnp.stack(_cross(list(director), arm)), jnp.max(u, axis=1)

    labels = jnp.asarray(groups.reshape(count, *(1,) * len(batch)))

    def row(j: Array, carry: tuple[Array, ...]) -> tuple[Array, ...]:
        force, couple, u = towards(
            (position, director, radius, aspect, push),
            (position[:, j], director[:, j], radius[j], aspect[j], push[j]),
            labels != labels[j],
        )
        sums = (a + b for a, b in zip(carry, (*force, *couple), strict=False))
        return (*sums, jnp.maximum(carry[-1], u))

    carry = jax.lax.fori_loop(0, count, row, (zero,) * (2 * dimension + 1))
    torque = _cross(list(director), carry[dimension : 2 * dimension])
    return jnp.stack(carry[:dimension]), jnp.stack(torque), carry[-1]


def support(normal: Vector, director: Vector, radius: Array, aspect: Array) -> Array:
    """How far a spheroid reaches in the direction of a unit normal [D]: √(a² + (b² - a²)(û·n̂)²)."""
    tilt = _dot(normal, director)
    return radius * jnp.sqrt(1 + (aspect**2 - 1) * tilt**2)


def plane_forces(
    distance: Array,
    normal: Vector,
    director: Vector,
    radius: Array,
    aspect: Array,
    half_thickness: Array,
    energy: Array,
) -> tuple[Array, list[Array], Array]:
    """WCA force of a plane on a spheroid: its size along the normal [D] (pointing from the plane to
    the spheroid) in pN, the torque [1 or 3] in pN µm, and X⁻² with the gap g and X = 1 + g/c.

    distance of the centre from the mid-plane in µm, c = radius + half_thickness; the surface is
    touched at the distance support + half_thickness. All broadcast together.
    """
    contact = radius + half_thickness
    reach = support(normal, director, radius, aspect)
    capped = jnp.maximum(distance - reach + radius, DEEPEST * contact)
    factor, u = wca_factor(capped**2, contact, energy)
    push = factor * capped
    turn = -push * radius**2 * (aspect**2 - 1) * _dot(normal, director) / reach
    return push, [turn * c for c in _cross(director, normal)], u


def spheroid_face_forces(
    position: Array,
    director: Array,
    radius: Array,
    aspect: Array,
    push: Array,
    thermal: Array,
    given: Array | None,
    size: Array,
    hard: tuple[bool, ...],
) -> tuple[Array, Array, Array]:
    """Forces [D,N,*batch] in pN and torques [1 or 3,N,*batch] in pN µm of the hard faces at 0 and
    L, and the largest X⁻² of every particle [N,*batch]. Arguments as in `spheroid_forces`.
    """
    dimension = position.shape[0]
    director = jnp.broadcast_to(director, position.shape)
    energy = pair_energy(push, push, radius, thermal, given)
    nothing = jnp.zeros_like(position[0])
    forces, deepest = [], nothing
    torque = [nothing] * (1 if dimension == 2 else 3)
    for axis, x in enumerate(position):
        force = nothing
        if hard[axis]:
            for sign, distance in ((1, x), (-1, size[axis] - x)):
                normal = [jnp.asarray(sign * (k == axis), x.dtype) for k in range(dimension)]
                size_along, turn, u = plane_forces(
                    distance, normal, list(director), radius, aspect, nothing, energy
                )
                force = force + sign * size_along
                torque = [a + b for a, b in zip(torque, turn, strict=True)]
                deepest = jnp.maximum(deepest, u)
        forces.append(force)
    return jnp.stack(forces), jnp.stack(torque), deepest


def pair_stiffness(
    radius: float, aspect: float, other_radius: float, other_aspect: float, energy: float
) -> tuple[float, float]:
    """Upper bounds for the stiffness of a contact as the first particle feels it: of its position
    in pN/µm and of its director in pN µm.

    At contact the Hessian is 72 ε ε₁/c² ∇g∇gᵀ. |∇g| = 1/(n̂·r̂), n̂ the normal of the surfaces, is at
    most the larger (κ² + 1)/2κ; the lever of the torque is at most |b - a|.
    """
    chi = 1.0
    for p in (aspect, other_aspect):
        chi *= (p**2 - 1) / (p**2 + 1)
    strength = energy / math.sqrt(1 - max(chi, 0.0))
    slant = max((p**2 + 1) / (2 * p) for p in (aspect, other_aspect))
    along = STIFFNESS * strength / (radius + other_radius) ** 2 * slant**2
    return along, along * (radius * (aspect - 1)) ** 2


def face_stiffness(radius: float, aspect: float, energy: float) -> tuple[float, float]:
    """The same for a plane face: 72 ε/a², and that times (b - a)²."""
    along = STIFFNESS * energy / radius**2
    return along, along * (radius * (aspect - 1)) ** 2
