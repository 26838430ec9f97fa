"""Far-field flows of forces and of swimmers in a viscous fluid, in free space or over a wall.

A point force F at distance r makes the Stokeslet u = (F + r̂ r̂·F)/(8πηr). A free swimmer makes
the flow of two opposite forces, u = S (3 (n̂·r̂)² - 1) r̂/(8πηr²), S > 0 for pushers and S < 0 for
pullers. A no-slip wall at z = 0 adds the image system of Blake (Proc. Camb. Phil. Soc. 70, 303
(1971)); that of the swimmer is its derivative along the director (Spagnolie and Lauga, J. Fluid
Mech. 700, 105 (2012)). A particle feels the images of its own singularities.

The fluid is three-dimensional in a 2D world too: particles, forces and directors lie in a plane,
at a given height above the wall if there is one, and only motion in the plane is returned.

Valid where distances are large against the radii: at a gap of one diameter the next order is of
some 10 %. Where two particles are closer than the sum c of their radii, r is replaced by c in the
denominators, so that flows stay finite and continuous. Nearer to the wall than its radius, a
particle counts as touching it. In a periodic box the nearest image acts, no other; the flow jumps
at half a box by about twice its value there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

from swarmctl.physics.contacts import ALL_PAIRS_ELEMENTS

Array = jax.Array
Vector = Sequence[Array]
Field = Callable[[Vector, Array, Vector, Array, Array | float], list[Array]]


def dot(a: Vector, b: Vector) -> Array:
    """Scalar product of two sequences of components."""
    return jnp.asarray(sum(x * y for x, y in zip(a, b, strict=True)))


def stokeslet(delta: Vector, force: Vector, contact: Array) -> list[Array]:
    """8πη times the flow at delta [3] µm from a point force [3], r being at least `contact`."""
    square = jnp.maximum(dot(delta, delta), contact**2)
    inverse = 1 / jnp.sqrt(square)
    along = dot(delta, force) * inverse * inverse
    return [inverse * (f + along * d) for f, d in zip(force, delta, strict=True)]


def stresslet(delta: Vector, director: Vector, contact: Array) -> list[Array]:
    """8πη times the flow at delta [3] µm from a force dipole of strength 1 along a director [3]."""
    square = jnp.maximum(dot(delta, delta), contact**2)
    inverse = 1 / square
    cosine = dot(delta, director)
    factor = (3 * cosine * cosine * inverse - 1) * inverse / jnp.sqrt(square)
    return [factor * d for d in delta]


def stokeslet_image(
    target: Vector,
    height: Array,
    force: Vector,
    target_square: Array | float = 0.0,
    source_square: Array | float = 0.0,
) -> list[Array]:
    """8πη times the flow of the image of a point force [3] at `height` µm over a no-slip wall.

    target [3] is the horizontal distance from the force (x, y) and the height of the point (z).
    With the squares of the radii of both, the velocity of a sphere there due to the force on a
    sphere: (1 + a_i²∇²/6)(1 + a_j²∇₀²/6) acts on Blake's tensor (Swan and Brady, Phys. Fluids 19,
    113306 (2007), here for unequal radii).

    With R from the image at -h, F' = (F_x, F_y, -F_z), φ = R·F'/R³ and D(F) = ∇(R·F/R³),

        u = -J F - 2hz D' + 2h (ẑ φ - F'_z R/R³)
            - (a_i²/3)(D + 2h ∂_z D') - (a_j²/3)(D + 2z ∂_z D' - 2 (ẑ D'_z - F'_z D(ẑ)))
            - (2 a_i² a_j²/9) ∂_z² D',      J F = F/R + R (R·F)/R³.
    """
    z = target[2]
    up = z + height
    image = [target[0], target[1], up]
    mirrored = [force[0], force[1], -force[2]]
    i2 = 1 / dot(image, image)
    i1 = jnp.sqrt(i2)
    i3 = i1 * i2
    i5 = i3 * i2
    i7 = i5 * i2
    p, q, fz = dot(image, force), dot(image, mirrored), mirrored[2]

    point, turned, first, second = [], [], [], []
    for k, (r, f, g) in enumerate(zip(image, force, mirrored, strict=True)):
        e = float(k == 2)
        plain = f * i3 - 3 * r * p * i5  # D
        both = g * i3 - 3 * r * q * i5  # D'
        rise = -3 * (g * up + e * q + r * fz) * i5 + 15 * r * q * up * i7  # ∂_z D'
        point.append(
            -(f * i1 + r * p * i3) - 2 * height * z * both + 2 * height * (e * q - fz * r) * i3
        )
        first.append(plain + 2 * height * rise)
        tilt = e * (fz * i3 - 3 * up * q * i5) - fz * (e * i3 - 3 * r * up * i5)
        second.append(plain + 2 * z * rise - 2 * tilt)
        turned.append(
            -3 * (g + 2 * e * fz) * i5
            + 15 * (g * up * up + 2 * e * q * up + 2 * r * fz * up + r * q) * i7
            - 105 * r * q * up * up * i7 * i2
        )
    return [
        s
        - target_square / 3 * a
        - source_square / 3 * b
        - 2 * target_square * source_square / 9 * c
        for s, a, b, c in zip(point, first, second, turned, strict=True)
    ]


def stresslet_image(target: Vector, height: Array, director: Vector) -> list[Array]:
    """8πη times the flow of the image of a force dipole of strength 1; arguments as above."""

    def moved(x: Array, y: Array, source: Array) -> list[Array]:
        return stokeslet_image([x, y, target[2]], source, director)

    n = [jnp.broadcast_to(d, jnp.shape(target[0] + height + d)) for d in director]
    zero = jnp.zeros_like(n[0])
    primals = (target[0] + zero, target[1] + zero, height + zero)
    return jax.jvp(moved, primals, (-n[0], -n[1], n[2]))[1]


def _force_field(
    target: Vector, height: Array, force: Vector, contact: Array, apart: Array | float, wall: bool
) -> list[Array]:
    delta = [target[0], target[1], target[2] - height]
    flow = [apart * u for u in stokeslet(delta, force, contact)]
    if not wall:
        return flow
    return [u + v for u, v in zip(flow, stokeslet_image(target, height, force), strict=True)]


def _dipole_field(
    target: Vector,
    height: Array,
    director: Vector,
    contact: Array,
    apart: Array | float,
    wall: bool,
) -> list[Array]:
    delta = [target[0], target[1], target[2] - height]
    flow = [apart * u for u in stresslet(delta, director, contact)]
    if not wall:
        return flow
    return [u + v for u, v in zip(flow, stresslet_image(target, height, director), strict=True)]


def force_flow(
    position: Array,
    force: Array,
    radius: Array,
    viscosity: Array,
    height: Array | None,
    size: Array,
    periodic: tuple[bool, ...],
) -> tuple[Array, Array]:
    """Flow u [D,N,*batch] in µm/s at every particle due to point forces [D,N,*batch] in pN on all
    others, and on the images of all; gradient[i,j] = ∂u_i/∂x_j [D,D,N,*batch] in 1/s.

    position [D,N,*batch] µm, radius [N,*batch or 1s], viscosity [*batch or 1s] in Pa s, size
    [D,*batch or 1s]. height [N,*batch or 1s] over the wall at z = 0, which is position[2] in 3D, or
    None without a wall.
    """
    return _flow(_force_field, position, force, radius, viscosity, height, size, periodic)


def dipole_flow(
    position: Array,
    director: Array,
    strength: Array,
    radius: Array,
    viscosity: Array,
    height: Array | None,
    size: Array,
    periodic: tuple[bool, ...],
) -> tuple[Array, Array]:
    """The same for force dipoles along the directors [D,N,*batch], of strength [N,*batch or 1s] in
    pN µm, positive for pushers.
    """
    return _flow(
        _dipole_field, position, director, radius, viscosity, height, size, periodic, strength
    )


def _flow(
    field: Callable[..., list[Array]],
    position: Array,
    vector: Array,
    radius: Array,
    viscosity: Array,
    height: Array | None,
    size: Array,
    periodic: tuple[bool, ...],
    strength: Array | None = None,
) -> tuple[Array, Array]:
    dimension, count, batch = position.shape[0], position.shape[1], position.shape[2:]
    z, vector = embed(position, vector, radius, height)
    # A dipole is linear in its strength but not in its director.
    scale = jnp.ones_like(z) if strength is None else jnp.broadcast_to(strength, z.shape)
    radius = jnp.broadcast_to(radius, z.shape)
    inverse_size = 1 / size

    def pairs(target: tuple[Array, ...], source: tuple[Array, ...], apart: Array) -> Array:
        """Flow and gradients [D (1 + D),...]. Target: position, height, radius; source: those,
        vector and strength.
        """
        shape = jnp.broadcast_shapes(target[1].shape, source[1].shape)
        delta = [
            d - size[axis] * jnp.round(d * inverse_size[axis]) if periodic[axis] else d
            for axis, d in enumerate(target[0][axis] - source[0][axis] for axis in range(2))
        ]
        up = target[1]
        if dimension == 3 and periodic[2]:
            up = up - size[2] * jnp.round((up - source[1]) * inverse_size[2])
        place = [jnp.broadcast_to(d, shape) for d in (*delta, up)]
        contact = target[2] + source[2]

        def at(x: Array, y: Array, up: Array) -> list[Array]:
            wall = height is not None
            flow = field([x, y, up], source[1], list(source[3]), contact, apart, wall)
            return [source[4] * u for u in flow[:dimension]]

        zero = jnp.zeros_like(place[0])

        def slope(way: Array) -> tuple[list[Array], list[Array]]:
            return jax.jvp(at, place, [zero + way[k] for k in range(3)])

        # One traced derivative for all directions: a third of the code to compile.
        ways = jnp.eye(3, dtype=position.dtype)[:dimension]
        flow, slopes = jax.vmap(slope, out_axes=(None, 0))(ways)
        return jnp.concatenate([jnp.stack(flow), *slopes])

    if count * count * math.prod(batch) <= ALL_PAIRS_ELEMENTS:
        apart = (1 - jnp.eye(count, dtype=position.dtype)).reshape(count, count, *(1,) * len(batch))
        total = pairs(
            (position[:, :, None], z[:, None], radius[:, None]),
            (position[:, None], z[None], radius[None], vector[:, None], scale[None]),
            apart,
        ).sum(axis=2)
    else:
        index = jnp.arange(count).reshape(count, *(1,) * len(batch))

        def row(j: Array, carry: Array) -> Array:
            source = (position[:, j], z[j], radius[j], vector[:, j], scale[j])
            apart = (index != j).astype(position.dtype)
            return carry + pairs((position, z, radius), source, apart)

        start = jnp.zeros((dimension * (1 + dimension), *z.shape), position.dtype)
        total = jax.lax.fori_loop(0, count, row, start)
    total = total / (8 * math.pi * viscosity)
    gradient = total[dimension:].reshape(dimension, dimension, *total.shape[1:])
    return total[:dimension], gradient


def embed(
    position: Array, vector: Array, radius: Array, height: Array | None
) -> tuple[Array, Array]:
    """Heights [N,*batch] (at least the radius over a wall) and vectors [3,N,*batch] in the fluid's
    three dimensions.
    """
    shape = position.shape[1:]
    if height is None:
        z = position[2] if len(position) == 3 else jnp.zeros(shape, position.dtype)
    else:
        z = jnp.broadcast_to(jnp.maximum(height, radius), shape)
    vector = jnp.broadcast_to(vector, position.shape)
    if len(position) == 2:
        vector = jnp.concatenate([vector, jnp.zeros_like(vector[:1])])
    return z, vector
