"""Mobility of spheres that move one another through the fluid, with its thermal noise and drift.

dr = (M F + k_B T ∇·M) dt + √(2 k_B T dt) L ξ with L Lᵀ = M, in the sense of Itô. M is the
mobility of Rotne, Prager and Yamakawa for unequal and overlapping spheres (Zuk et al., J. Fluid
Mech. 741, R5 (2014)), over a no-slip wall that of Swan and Brady (Phys. Fluids 19, 113306 (2007)).
It is the average of the Green function over the surfaces of both spheres, hence positive definite
wherever no sphere reaches into the wall.

Far field and pairs only: no lubrication and no effect of a third sphere. At contact the relative
mobility of two equal spheres along their line is 0.375 of its value far apart where it should
vanish, and that of a sphere at the wall 0.5 along and 0.25 across it; at a gap of one radius errors
are below 10 %. Rotations do not couple: every sphere turns with its own friction. For at most 64
spheres, in open space or over one wall; periodic images would need an Ewald sum.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp

from swarmctl.core.errors import ConfigError
from swarmctl.physics.hydrodynamics import dot, embed, stokeslet_image

Array = jax.Array
Vector = Sequence[Array]

MOST_PARTICLES = 64
"""Largest number of spheres that may share a mobility matrix."""


def check_range(
    dimension: int,
    boundaries: Sequence[str],
    radii: Sequence[float],
    *,
    aspects: Sequence[float] = (),
    wall: bool = False,
    heights: Sequence[float] = (),
    mobility: bool = False,
) -> None:
    """Raise ConfigError where far-field hydrodynamics do not hold; one radius per particle.

    heights are those of the centres over the wall at the start, or of the plane of a 2D world.
    mobility: with noise, by a matrix; else flows of swimmers and forces alone.
    """
    where = "hydrodynamics"
    if wall and dimension == 3 and boundaries[2] != "hard":
        raise ConfigError(
            f"{where}: the wall is the face z = 0, whose boundary is {boundaries[2]!r}; make the "
            "third axis hard."
        )
    if wall and len(heights) == 0:
        raise ConfigError(f"{where}: a wall needs the height of the particles above it.")
    for height, radius in zip(heights, radii, strict=False):
        if not height >= radius:
            raise ConfigError(
                f"{where}: a particle of radius {radius:g} µm is {height:g} µm above the wall; its "
                "centre must be at least one radius away."
            )
    if not mobility:
        return
    if len(radii) > MOST_PARTICLES:
        raise ConfigError(
            f"{where}: {len(radii)} particles; the mobility matrix holds at most "
            f"{MOST_PARTICLES}. Use fewer, or flows without hydrodynamic noise."
        )
    if any(aspect != 1 for aspect in aspects):
        raise ConfigError(
            f"{where}: the mobility matrix is that of spheres; set every aspect to 1, or use flows "
            "without hydrodynamic noise."
        )
    if "periodic" in boundaries:
        raise ConfigError(
            f"{where}: the mobility matrix knows no periodic images; use open or hard boundaries, "
            "or flows without hydrodynamic noise."
        )


def rotne_prager(delta: Vector, force: Vector, radius: Array, other: Array) -> list[Array]:
    """8πη times the velocity of a sphere of `radius` at delta [3] µm from one of radius `other` on
    which a force [3] acts, for any distance.
    """
    total, gap = radius + other, radius - other
    square = dot(delta, delta)
    inverse = 1 / jnp.sqrt(jnp.maximum(square, (1e-6 * total) ** 2))
    r = square * inverse
    sum_square = radius * radius + other * other
    i2 = inverse * inverse
    far = inverse * (1 + sum_square * i2 / 3), inverse * (1 - sum_square * i2)
    scale = 4 / (3 * radius * other)
    cube = i2 * inverse / 32
    near = (
        scale * (total / 2 - (gap * gap + 3 * square) ** 2 * cube),
        scale * 3 * (gap * gap - square) ** 2 * cube,
    )
    within = 4 / (3 * jnp.maximum(radius, other))
    apart, inside = r > total, r <= jnp.abs(gap)
    plain = jnp.where(apart, far[0], jnp.where(inside, within, near[0]))
    along = jnp.where(apart, far[1], jnp.where(inside, 0, near[1]))
    along = along * dot(delta, force) * i2
    return [plain * f + along * d for f, d in zip(force, delta, strict=True)]


def _pair(
    target: Vector, height: Array, force: Vector, radius: Array, other: Array, wall: bool
) -> list[Array]:
    """8πη times the velocity at target (x, y from the source, z over the wall) due to a force at a
    height.
    """
    delta = [target[0], target[1], target[2] - height]
    velocity = rotne_prager(delta, force, radius, other)
    if not wall:
        return velocity
    image = stokeslet_image(target, height, force, radius**2, other**2)
    return [u + v for u, v in zip(velocity, image, strict=True)]


def _all_pairs(
    position: Array, radius: Array, height: Array | None
) -> tuple[list[Array], Array, Array, Array]:
    """Targets (x, y, z) [3] of [N,N,...], the heights of the sources, and both radii."""
    z, _ = embed(position, jnp.zeros_like(position), radius, height)
    radius = jnp.broadcast_to(radius, z.shape)
    shape = (len(z), *z.shape)
    target = [position[axis][:, None] - position[axis][None] for axis in range(2)]
    target.append(jnp.broadcast_to(z[:, None], shape))
    source = jnp.broadcast_to(z[None], shape)
    return target, source, radius[:, None], radius[None]


def mobility_matrix(
    position: Array, radius: Array, viscosity: Array, height: Array | None = None
) -> Array:
    """Mobility [D,N,D,N,*batch] in µm/(pN s): u[k,i] = Σ M[k,i,l,j] F[l,j].

    position [D,N,*batch] µm, radius [N,*batch or 1s] µm, viscosity [*batch or 1s] in Pa s. height
    [N,*batch or 1s] over the wall at z = 0, which is position[2] in 3D, or None without a wall.
    """
    dimension = len(position)
    target, source, own, other = _all_pairs(position, radius, height)
    columns = []
    for axis in range(dimension):
        force = [jnp.full_like(target[0], float(k == axis)) for k in range(3)]
        velocity = _pair(target, source, force, own, other, height is not None)
        columns.append(jnp.stack(velocity[:dimension]))
    return jnp.stack(columns, axis=2) / (8 * math.pi * viscosity)


def rpy_velocities(matrix: Array, force: Array) -> Array:
    """Velocities [D,N,*batch] in µm/s due to forces [D,N,*batch] in pN."""
    return jnp.einsum("kilj...,lj...->ki...", matrix, force, precision="highest")


def rpy_noise(matrix: Array, unit: Array) -> Array:
    """Correlate noise [D,N,*batch] of unit variance: L ξ with L Lᵀ = M, by Cholesky's method.

    √(2 k_B T dt) times the result is the thermal displacement in µm. A few rounding units are added
    to the diagonal of M, which coinciding spheres would make singular.
    """
    shape, size = unit.shape, unit.shape[0] * unit.shape[1]
    square = jnp.moveaxis(matrix.reshape(size, size, *shape[2:]), (0, 1), (-2, -1))
    slack = 64 * jnp.finfo(matrix.dtype).eps
    square = square + slack * jnp.eye(size, dtype=matrix.dtype) * square
    factor = jnp.linalg.cholesky(square)
    flat = jnp.moveaxis(unit.reshape(size, *shape[2:]), 0, -1)
    noise = jnp.einsum("...ij,...j->...i", factor, flat, precision="highest")
    return jnp.moveaxis(noise, -1, 0).reshape(shape)


def mobility_divergence(
    position: Array, radius: Array, viscosity: Array, height: Array | None = None
) -> Array:
    """Divergence Σ_j ∂M_ij/∂r_j [D,N,*batch] in 1/(pN s); k_B T times it is the thermal drift.

    Arguments as in `mobility_matrix`. The flow of a force is incompressible, so that different
    particles contribute nothing in three dimensions: 0 in free space, and over a wall the slope of
    a sphere's own mobility across it, μ⊥ = μ₀ (1 - 9a/8h + a³/2h³ - a⁵/8h⁵). In a 2D world the
    flow leaves the plane, and the drift is what it takes along: Σ_j -∂M_kz/∂z_j, a repulsion by
    k_B T/(8πηr²) at long range (Bleibel et al., Soft Matter 10, 2945 (2014)).
    """
    if len(position) == 3:
        drift = jnp.zeros_like(position)
        if height is None:
            return drift
        ratio = radius / jnp.maximum(height, radius)
        square = ratio * ratio
        slope = square * (9 / 8 - square * (3 / 2 - 5 / 8 * square))
        slope = jnp.where(height > radius, slope, 0) / (6 * math.pi * viscosity * radius * radius)
        return drift.at[2].add(slope)
    target, source, own, other = _all_pairs(position, radius, height)
    up = [jnp.full_like(source, float(k == 2)) for k in range(3)]

    def column(z: Array) -> list[Array]:
        return _pair(target, z, up, own, other, height is not None)[:2]

    slope = jax.jvp(column, (source,), (jnp.ones_like(source),))[1]
    count = position.shape[1]
    apart = 1 - jnp.eye(count, dtype=position.dtype)
    apart = apart.reshape(count, count, *(1,) * (position.ndim - 2))
    total = jnp.stack([-jnp.sum(apart * s, axis=1) for s in slope])
    return total / (8 * math.pi * viscosity)
