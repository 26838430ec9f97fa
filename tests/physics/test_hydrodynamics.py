"""Flows and mobilities against closed forms, and the Boltzmann distribution of a trapped pair.

Closed forms are compared to 1e-6, which takes float64: x64 is process-wide, so the last test runs
those in a process of their own.
"""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from swarmctl.core.errors import ConfigError
from swarmctl.physics import hydrodynamics
from swarmctl.physics.hydrodynamics import (
    dipole_flow,
    force_flow,
    stokeslet,
    stokeslet_image,
    stresslet,
    stresslet_image,
)
from swarmctl.physics.mobility import (
    check_range,
    mobility_divergence,
    mobility_matrix,
    rotne_prager,
    rpy_noise,
    rpy_velocities,
)

DOUBLE = bool(jax.config.jax_enable_x64)
in_float64 = pytest.mark.skipif(not DOUBLE, reason="compared in float64, by the last test")
PI = math.pi
ETA = 0.7
OPEN = {2: (jnp.ones((2, 1)), (False,) * 2), 3: (jnp.ones((3, 1)), (False,) * 3)}

forces_on, dipoles_on = (jax.jit(f, static_argnames="periodic") for f in (force_flow, dipole_flow))

matrix_of, divergence_of = jax.jit(mobility_matrix), jax.jit(mobility_divergence)
image_of, dipole_image_of = jax.jit(stokeslet_image), jax.jit(stresslet_image)
pair_of = jax.jit(rotne_prager)

# Closed forms, with numpy, for one pair


def oseen(r: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(r)
    return np.eye(3) / length + np.outer(r, r) / length**3


def blake_image(target: np.ndarray, source: np.ndarray) -> np.ndarray:
    """8πη times the image part of Blake's tensor (1971, equation 8); the wall is z = 0."""
    h = source[2]
    big = target - source * [1, 1, -1]
    length = np.linalg.norm(big)
    z, unit, third = big[2], np.eye(3), np.eye(3)[2]
    doublet = unit / length**3 - 3 * np.outer(big, big) / length**5  # ∂_k R_i/R³
    slope = (  # ∂_k (δ_i3/R + R_i R_3/R³)
        -np.outer(third, big) / length**3
        + (z * unit + np.outer(big, third)) / length**3
        - 3 * z * np.outer(big, big) / length**5
    )
    mirror = np.diag([1.0, 1.0, -1.0])
    return -oseen(big) + 2 * h * (h * doublet - slope) @ mirror


def blake(target: np.ndarray, source: np.ndarray) -> np.ndarray:
    return oseen(target - source) + blake_image(target, source)


def on_sphere(order: int) -> tuple[np.ndarray, np.ndarray]:
    """Points and weights of the mean over a unit sphere."""
    cosine, weight = np.polynomial.legendre.leggauss(order)
    angle = 2 * PI * np.arange(2 * order) / (2 * order)
    sine = np.sqrt(1 - cosine**2)
    points = np.stack(
        [
            np.outer(sine, np.cos(angle)).ravel(),
            np.outer(sine, np.sin(angle)).ravel(),
            np.repeat(cosine, 2 * order),
        ],
        -1,
    )
    return points, np.repeat(weight, 2 * order) / (4 * order)


def columns(function: Callable[[list], list]) -> np.ndarray:
    """The matrix [3,3] of a linear function of a vector [3], here of three vectors at once."""
    return np.array(function(list(jnp.eye(3))))


def parts(vector: np.ndarray) -> list[jax.Array]:
    return [jnp.asarray(x) for x in vector]


# Wall


@in_float64
def test_image_is_blakes_and_vanishes_at_the_wall() -> None:
    rng = np.random.default_rng(1)
    for _ in range(5):
        source = rng.uniform([-2, -2, 0.5], [2, 2, 4.5])
        for floor in (False, True):
            target = rng.uniform([-3, -3, 0], [3, 3, 0 if floor else 4])
            place = parts([*(target - source)[:2], target[2]])
            height, zero = jnp.asarray(source[2]), jnp.asarray(0.0)

            def flow(force: list, place: list = place, height: jax.Array = height) -> list:
                free = stokeslet([*place[:2], place[2] - height], force, jnp.asarray(0.0))
                image = image_of(place, height, force)
                return [a + b for a, b in zip(free, image, strict=True)]

            ours = columns(flow)
            np.testing.assert_allclose(ours, blake(target, source), rtol=1e-9, atol=1e-12)
            director = rng.normal(size=3)
            director /= np.linalg.norm(director)
            dipole = [
                float(a + b)
                for a, b in zip(
                    stresslet([*place[:2], place[2] - height], parts(director), zero),
                    dipole_image_of(place, height, parts(director)),
                    strict=True,
                )
            ]
            # two opposite forces, and Richardson's extrapolation to no distance
            pairs = [
                (
                    blake(target, source + s * director / 2)
                    - blake(target, source - s * director / 2)
                )
                @ director
                / s
                for s in (4e-3, 2e-3)
            ]
            np.testing.assert_allclose(dipole, (4 * pairs[1] - pairs[0]) / 3, atol=1e-7)
            if floor:
                assert np.abs(ours).max() < 1e-12
                assert np.abs(dipole).max() < 1e-12


@in_float64
def test_image_of_spheres_is_the_mean_over_both_surfaces() -> None:
    """Faxén's laws for the image system: unequal radii at a distance, and a sphere by itself."""
    points, weights = on_sphere(8)
    for target, source, own, other in (
        (np.array([1.0, 0.6, 1.7]), np.array([0.0, 0.0, 2.2]), 1.1, 0.7),
        (np.array([-4.0, 1.0, 3.0]), np.array([0.5, 0.0, 1.9]), 0.4, 1.5),
        (np.array([0.0, 0.0, 1.8]), np.array([0.0, 0.0, 1.8]), 0.8, 0.8),
    ):
        mean = np.zeros((3, 3))
        for point, weight in zip(points, weights, strict=True):
            for start, share in zip(points, weights, strict=True):
                ends = target + own * point, source + other * start
                mean += weight * share * blake_image(*ends)
        place = parts([*(target - source)[:2], target[2]])
        ours = columns(
            lambda force, p=place, h=source[2], a=own, b=other: image_of(
                p, jnp.asarray(h), force, a**2, b**2
            )
        )
        np.testing.assert_allclose(ours, mean, atol=1e-7)


@in_float64
def test_sphere_over_a_wall() -> None:
    """μ/μ₀ = 1 - 9a/16h + a³/8h³ - a⁵/16h⁵ along and 1 - 9a/8h + a³/2h³ - a⁵/8h⁵ across (Swan and
    Brady 2007); Brenner's exact series (1961) gives 0.47047 across at h = 2a.
    """
    radius, heights = 0.8, np.array([0.8, 1.0, 1.6, 4.0, 40.0])
    position = jnp.asarray(np.stack([0 * heights, 0 * heights, heights])[:, None])
    matrix = matrix_of(position, jnp.full((1, 1), radius), jnp.full(1, ETA), position[2])
    tensor = np.asarray(matrix)[:, 0, :, 0] * 6 * PI * ETA * radius
    x = radius / heights
    along = 1 - 9 / 16 * x + x**3 / 8 - x**5 / 16
    across = 1 - 9 / 8 * x + x**3 / 2 - x**5 / 8
    np.testing.assert_allclose(tensor[0, 0], along, rtol=1e-12)
    np.testing.assert_allclose(tensor[1, 1], along, rtol=1e-12)
    np.testing.assert_allclose(tensor[2, 2], across, rtol=1e-12)
    assert np.abs(tensor - np.einsum("ijk,ij->ijk", tensor, np.eye(3))).max() < 1e-14
    assert across[2] == pytest.approx(0.47047, rel=0.1)


# Free space


@in_float64
def test_rotne_prager_is_the_mean_over_both_surfaces() -> None:
    points, weights = on_sphere(16)
    for own, other, delta in ((1.0, 0.6, [1.5, 0.4, -0.7]), (0.5, 2.0, [0.3, -2.2, 1.5])):
        delta = np.array(delta)
        # mean over the surface of the source: Oseen and its Laplacian, exact outside
        mean = np.zeros((3, 3))
        for point, weight in zip(points, weights, strict=True):
            r = delta + own * point
            length = np.linalg.norm(r)
            doublet = np.eye(3) / length**3 - 3 * np.outer(r, r) / length**5
            mean += weight * (oseen(r) + other**2 / 3 * doublet)
        ours = columns(
            lambda force, d=delta, a=own, b=other: pair_of(
                parts(d), force, jnp.asarray(a), jnp.asarray(b)
            )
        )
        np.testing.assert_allclose(ours, mean, rtol=1e-6, atol=1e-6)


@in_float64
def test_rotne_prager_at_contact_far_away_and_overlapping() -> None:
    def along_across(r: float, a: float, b: float) -> tuple[float, float]:
        """In units of 1/(6πη)."""
        tensor = columns(lambda f: pair_of(parts([r, 0, 0]), f, jnp.asarray(a), jnp.asarray(b)))
        assert np.abs(tensor - np.diag(np.diag(tensor))).max() < 1e-14
        return 0.75 * tensor[0, 0], 0.75 * tensor[1, 1]

    assert along_across(2.0, 1.0, 1.0) == pytest.approx((5 / 8, 7 / 16), rel=1e-12)
    # equal spheres, r < 2a: 1 - 3r/16 along and 1 - 9r/32 across
    assert along_across(1.2, 1.0, 1.0) == pytest.approx((1 - 3.6 / 16, 1 - 10.8 / 32), rel=1e-12)
    assert along_across(1e-9, 2.0, 2.0) == pytest.approx((0.5, 0.5), rel=1e-6)
    # one inside the other: the larger one carries it along
    assert along_across(0.3, 0.5, 2.0) == pytest.approx((0.5, 0.5), rel=1e-12)
    assert along_across(1e4, 1.0, 0.3) == pytest.approx((1.5e-4, 0.75e-4), rel=1e-7)
    for edge in (2.5, 1.5):  # a + b and a - b
        inner, outer = (along_across(edge * (1 + s), 2.0, 0.5) for s in (-1e-9, 1e-9))
        assert inner == pytest.approx(outer, rel=1e-7)


def cloud(dimension: int, count: int, batch: int, seed: int) -> tuple[jax.Array, jax.Array]:
    """Positions, above 1.3 in 3D, and radii up to 1.2; many spheres overlap."""
    rng = np.random.default_rng(seed)
    position = rng.uniform(0, 5, (dimension, count, batch))
    if dimension == 3:
        position[2] += 1.3
    return jnp.asarray(position), jnp.asarray(rng.uniform(0.3, 1.2, (count, 1)))


@pytest.mark.parametrize(("dimension", "wall"), [(2, True), (3, False), (3, True)])
def test_matrix_is_symmetric_and_positive_definite(dimension: int, wall: bool) -> None:
    position, radius = cloud(dimension, 12, 4, seed=2)
    height = None if not wall else position[2] if dimension == 3 else jnp.full((12, 1), 1.25)
    matrix = np.asarray(matrix_of(position, radius, jnp.full(1, ETA), height), np.float64)
    flat = matrix.reshape(12 * dimension, 12 * dimension, 4).transpose(2, 0, 1)
    exact = 1e-12 if DOUBLE else 1e-5
    np.testing.assert_allclose(flat, flat.transpose(0, 2, 1), atol=exact * flat.max())
    assert np.linalg.eigvalsh(flat).min() > 1e-3 * flat.max()


@pytest.mark.parametrize("dimension", [2, 3])
def test_noise_has_the_covariance_of_the_mobility(dimension: int) -> None:
    """Unit vectors as noise give the columns of L; L Lᵀ = M."""
    position, radius = cloud(dimension, 5, 1, seed=3)
    size = 5 * dimension
    matrix = matrix_of(position, radius, jnp.full(1, ETA))
    unit = jnp.eye(size).reshape(dimension, 5, size)
    wide = jnp.broadcast_to(matrix, (*matrix.shape[:-1], size))
    factor = np.asarray(jax.jit(rpy_noise)(wide, unit), np.float64).reshape(size, size)
    flat = np.asarray(matrix, np.float64).reshape(size, size)
    np.testing.assert_allclose(factor @ factor.T, flat, atol=2e-5 * flat.max())
    force = jnp.asarray(np.random.default_rng(4).normal(size=(dimension, 5, 1)))
    moved = np.asarray(rpy_velocities(matrix, force)).reshape(-1)
    np.testing.assert_allclose(moved, flat @ np.asarray(force).reshape(-1), rtol=1e-4, atol=1e-6)


@in_float64
@pytest.mark.parametrize("dimension", [2, 3])
@pytest.mark.parametrize("wall", [False, True])
def test_divergence_is_that_of_the_matrix(dimension: int, wall: bool) -> None:
    """Against automatic differentiation of the whole matrix; 0 in free space in 3D."""
    position, radius = cloud(dimension, 4, 1, seed=5)

    def matrix(x: jax.Array) -> jax.Array:
        height = None if not wall else x[2] if dimension == 3 else jnp.full((4, 1), 1.4)
        return matrix_of(x, radius, jnp.full(1, ETA), height)[..., 0]

    slope = jax.jit(jax.jacfwd(matrix))(position)[..., 0]
    wanted = np.einsum("kiljlj->ki", slope)
    height = None if not wall else position[2] if dimension == 3 else jnp.full((4, 1), 1.4)
    ours = divergence_of(position, radius, jnp.full(1, ETA), height)[..., 0]
    np.testing.assert_allclose(ours, wanted, atol=1e-12)
    assert (np.abs(wanted).max() > 1e-3) == (dimension == 2 or wall)


@in_float64
def test_drift_in_the_plane_at_long_range() -> None:
    """Two particles in a plane: k_B T/(8πηr²) apart."""
    position = jnp.asarray([[0.0, 400.0], [0.0, 0.0]])[..., None]
    drift = divergence_of(position, jnp.ones((2, 1)), jnp.full(1, ETA))[..., 0]
    wanted = 1 / (8 * PI * ETA * 400**2)
    np.testing.assert_allclose(drift, [[-wanted, wanted], [0, 0]], rtol=1e-4, atol=1e-20)


# Flows


@pytest.mark.parametrize("dimension", [2, 3])
def test_flows_in_free_space(dimension: int) -> None:
    """Stokeslet and dipole of one particle at another, beyond and within contact."""
    rng = np.random.default_rng(6)
    delta, vector = rng.normal(size=(2, dimension))
    vector /= np.linalg.norm(vector)
    exact = 1e-9 if DOUBLE else 2e-5
    for distance in (6.0, 2.5, 1.0):
        r = delta / np.linalg.norm(delta) * distance
        position = jnp.asarray(np.stack([np.zeros(dimension), r], 1))[..., None]
        vectors = jnp.asarray(np.stack([vector, np.zeros(dimension)], 1))[..., None]
        radius, eta = jnp.asarray([[1.2], [0.8]]), jnp.full(1, ETA)
        size, periodic = OPEN[dimension]
        u, gradient = forces_on(position, 3 * vectors, radius, eta, None, size, periodic)
        v, slope = dipoles_on(
            position, vectors, jnp.asarray([[-4.0], [0.0]]), radius, eta, None, size, periodic
        )
        far = max(distance, 2.0)
        cosine = vector @ r
        wanted = 3 * (vector / far + cosine * r / far**3)
        np.testing.assert_allclose(u[:, 1, 0], wanted / (8 * PI * ETA), rtol=exact, atol=exact)
        wanted = -4 * (3 * cosine**2 / far**2 - 1) * r / far**3
        np.testing.assert_allclose(v[:, 1, 0], wanted / (8 * PI * ETA), rtol=exact, atol=exact)
        assert np.abs(np.asarray(u)[:, 0]).max() == 0
        assert np.abs(np.asarray(v)[:, 0]).max() == 0
        if distance > 2 and dimension == 3:
            # incompressible; half the curl of a Stokeslet is F x r/(8πηr³)
            for tensor in (gradient, slope):
                assert abs(float(jnp.trace(tensor[:, :, 1, 0]))) < 1e-5
            g = np.asarray(gradient)[:, :, 1, 0]
            curl = np.array([g[2, 1] - g[1, 2], g[0, 2] - g[2, 0], g[1, 0] - g[0, 1]])
            spin = np.cross(3 * vector, r) / (8 * PI * ETA * far**3)
            np.testing.assert_allclose(curl / 2, spin, rtol=10 * exact, atol=exact)


@in_float64
@pytest.mark.parametrize(
    ("flow", "dimension", "wall"),
    [(forces_on, 3, True), (dipoles_on, 2, False)],
    ids=["forces over a wall", "dipoles in 2D"],
)
def test_layouts_agree(
    flow: Callable, dimension: int, wall: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All pairs at once, row by row, and a box that wraps."""
    rng = np.random.default_rng(7)
    count, batch = 5, 2
    position, radius = cloud(dimension, count, batch, seed=8)
    vector = rng.normal(size=(dimension, count, batch))
    vector = jnp.asarray(vector / np.linalg.norm(vector, axis=0))
    extra = () if flow is forces_on else (jnp.asarray(rng.normal(size=(count, 1))),)
    lengths = jnp.full((dimension, 1), 30.0)
    periodic = (True, True, not wall)[:dimension]

    def run(position: jax.Array) -> tuple:
        height = None if not wall else position[2] if dimension == 3 else jnp.full((count, 1), 1.5)
        return flow(position, vector, *extra, radius, jnp.full(1, ETA), height, lengths, periodic)

    whole = run(position)
    shift = np.zeros((dimension, count, 1))
    shift[0, 1], shift[1, 2] = 30, -60
    wrapped = run(position + jnp.asarray(shift))
    monkeypatch.setattr(hydrodynamics, "ALL_PAIRS_ELEMENTS", 0)
    jax.clear_caches()
    rows = run(position)
    for other, exact in ((rows, 1e-12), (wrapped, 1e-9)):
        for a, b in zip(whole, other, strict=True):
            np.testing.assert_allclose(b, a, atol=exact * float(jnp.abs(a).max()))


@in_float64
def test_flow_in_a_plane_is_that_in_space() -> None:
    """A 2D world at height h over the wall."""
    position, _ = cloud(2, 4, 1, seed=9)
    radius = jnp.full((4, 1), 0.3)
    rng = np.random.default_rng(10)
    vector = rng.normal(size=(2, 4, 1))
    vector = jnp.asarray(vector / np.linalg.norm(vector, axis=0))
    strength = jnp.full((4, 1), 1.5)
    h, eta = jnp.full((4, 1), 1.1), jnp.full(1, ETA)
    u, gradient = dipoles_on(position, vector, strength, radius, eta, h, *OPEN[2])
    spatial = jnp.concatenate([position, h[None]])
    flat = jnp.concatenate([vector, jnp.zeros((1, 4, 1))])
    v, slope = dipoles_on(spatial, flat, strength, radius, eta, h, *OPEN[3])
    np.testing.assert_allclose(u, v[:2], atol=1e-14)
    np.testing.assert_allclose(gradient, slope[:2, :2], atol=1e-14)
    np.testing.assert_allclose(jnp.trace(slope), 0, atol=1e-12)


@in_float64
def test_swimmer_is_drawn_to_the_wall_and_turned_along_it() -> None:
    """u_z = -3S (1 - 3 cos²θ)/(64πηh²) and half the curl 3S sinθ cosθ/(64πηh³), θ from the normal
    (Berke et al., Phys. Rev. Lett. 101, 038102 (2008)), towards the wall's direction for pushers.
    """
    h, strength = 2.5, 1.7
    for theta in (0.2, 0.9, PI / 2):
        director = jnp.asarray([[math.sin(theta)], [0.0], [math.cos(theta)]])[..., None]
        position = jnp.asarray([[0.0], [0.0], [h]])[..., None]
        u, gradient = dipoles_on(
            position,
            director,
            jnp.full((1, 1), strength),
            jnp.ones((1, 1)),
            jnp.full(1, ETA),
            position[2],
            *OPEN[3],
        )
        unit = 3 * strength / (64 * PI * ETA * h**2)
        assert float(u[2, 0, 0]) == pytest.approx(-unit * (1 - 3 * math.cos(theta) ** 2), rel=1e-9)
        spin = float(gradient[0, 2, 0, 0] - gradient[2, 0, 0, 0]) / 2  # about y
        wanted = unit / h * math.sin(theta) * math.cos(theta)
        assert spin == pytest.approx(wanted, rel=1e-9, abs=1e-15)


@in_float64
def test_gradient_is_that_of_the_flow() -> None:
    """Differences of the flow at a particle of no strength over a wall."""
    position, radius = cloud(3, 3, 1, seed=13)
    position = position.at[:, 2, 0].set(jnp.asarray([9.0, 8.0, 3.0]))
    director = jnp.full((3, 3, 1), 3**-0.5)
    strength = jnp.asarray([[1.5], [-0.7], [0.0]])

    def at(x: jax.Array) -> tuple[jax.Array, jax.Array]:
        return dipoles_on(position + x, director, strength, *rest, (position + x)[2], *OPEN[3])

    rest, step = (radius, jnp.full(1, ETA)), 1e-4
    for axis in range(3):
        moves = [jnp.zeros((3, 3, 1)).at[axis, 2].set(k * step) for k in (1, -1, 2, -2)]
        ahead, back, far, behind = (np.asarray(at(x)[0])[:, 2, 0] for x in moves)
        wanted = (8 * (ahead - back) - (far - behind)) / (12 * step)
        gradient = np.asarray(at(jnp.zeros((3, 3, 1)))[1])[:, axis, 2, 0]
        np.testing.assert_allclose(gradient, wanted, rtol=1e-7, atol=1e-11)


# Statistics


@partial(jax.jit, static_argnames=("dimension", "steps", "drift"))
def brownian_pair(
    key: jax.Array, start: jax.Array, centre: jax.Array, dimension: int, steps: int, drift: bool
) -> jax.Array:
    """Euler's scheme for two spheres of radius 1 in one harmonic trap of stiffness 1/WIDTH², in
    units of k_B T and μ₀. Keeps every 20th frame [frames, D, 2, batch] of the second half.
    """
    dt = jnp.asarray(TIME_STEP * WIDTH[dimension] ** 2)
    stiffness = 1 / WIDTH[dimension] ** 2
    radius, eta = jnp.ones((2, 1)), jnp.full(1, 1 / (6 * PI))

    def step(x: jax.Array, key: jax.Array) -> tuple[jax.Array, None]:
        height = x[2] if dimension == 3 else None
        matrix = mobility_matrix(x, radius, eta, height)
        move = rpy_velocities(matrix, -stiffness * (x - centre)) * dt
        if drift:
            move = move + dt * mobility_divergence(x, radius, eta, height)
        noise = rpy_noise(matrix, jax.random.normal(key, x.shape))
        return x + move + jnp.sqrt(2 * dt) * noise, None

    def frame(x: jax.Array, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        x, _ = jax.lax.scan(step, x, jax.random.split(key, 20))
        return x, x

    _, frames = jax.lax.scan(frame, start, jax.random.split(key, steps // 20))
    return frames[steps // 40 :]


TIME_STEP = 0.006
WIDTH = {2: 1.5, 3: 0.25}


def trapped(dimension: int, swarms: int, steps: int, drift: bool = True) -> np.ndarray:
    """Frames in units of the trap's width, about its centre; starts from the Boltzmann law."""
    rng = np.random.default_rng(100)
    centre = jnp.asarray([0.0, 0.0, 2.2][:dimension]).reshape(-1, 1, 1)
    start = centre + WIDTH[dimension] * jnp.asarray(rng.normal(size=(dimension, 2, swarms)))
    frames = brownian_pair(jax.random.key(13), start, centre, dimension, steps, drift)
    return np.asarray((frames - centre) / WIDTH[dimension], np.float64)


@pytest.mark.skipif(DOUBLE, reason="once is enough")
def test_pair_in_the_plane_keeps_the_boltzmann_distribution() -> None:
    """Shares of distances between the two, P(d) ∝ d exp(-d²/4), within 2 %, overlapping or
    not, after some relaxation times. The drift in the plane is needed: without it they come closer.

    Standard error of a share: 1 % (12 000 pairs, frames of about one and a half independent times).
    Euler's scheme widens by 0.3 %.
    """
    edges = np.sqrt(-4 * np.log1p(-np.arange(1, 3) / 3))  # three equal shares
    shares = {}
    for drift in (True, False):
        x = trapped(2, 12_000 if drift else 4000, 800 if drift else 400, drift)
        distance = np.linalg.norm(x[:, :, 0] - x[:, :, 1], axis=1)
        shares[drift] = 3 * np.bincount(np.searchsorted(edges, distance.ravel()), minlength=3)
        shares[drift] = shares[drift] / distance.size
    np.testing.assert_allclose(shares[True], 1, atol=0.02)
    assert shares[False][0] > 1.06


@pytest.mark.skipif(DOUBLE, reason="once is enough")
def test_pair_over_a_wall_keeps_the_boltzmann_distribution() -> None:
    """Means within 2 % of the width and variances within 2 % in all directions; without the drift
    the pair sinks by about 5 % of the width meanwhile.

    Standard errors: mean 0.5 %, variance 0.7 %. Euler's scheme widens by 0.2 %.
    """
    x = trapped(3, 12_000, 800)
    np.testing.assert_allclose(x.mean(axis=(0, 2, 3)), 0, atol=0.02)
    np.testing.assert_allclose(x.var(axis=(0, 2, 3)), 1, atol=0.02)
    distance = ((x[:, :, 0] - x[:, :, 1]) ** 2).sum(1).mean()
    assert distance == pytest.approx(6, rel=0.02)
    assert trapped(3, 4000, 800, drift=False)[:, 2].mean() < -0.04


# Range


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: check_range(2, ("open",) * 2, [1.0] * 65, mobility=True), "at most 64"),
        (lambda: check_range(2, ("periodic",) * 2, [1.0], mobility=True), "periodic images"),
        (
            lambda: check_range(2, ("open",) * 2, [1.0], aspects=[2.0], mobility=True),
            "that of spheres",
        ),
        (
            lambda: check_range(3, ("open",) * 3, [1.0], wall=True, heights=[3.0]),
            "third axis hard",
        ),
        (lambda: check_range(2, ("open",) * 2, [1.0], wall=True), "needs the height"),
        (
            lambda: check_range(2, ("open",) * 2, [1.0, 2.0], wall=True, heights=[1.5, 1.5]),
            "at least one radius",
        ),
    ],
)
def test_range_of_validity_is_checked(call: Callable[[], None], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        call()


def test_what_is_in_range_passes() -> None:
    check_range(2, ("periodic",) * 2, [1.0] * 500, aspects=[3.0] * 500)
    check_range(2, ("open",) * 2, [1.0] * 64, wall=True, heights=[1.0] * 64, mobility=True)
    check_range(3, ("open", "open", "hard"), [1.0], wall=True, heights=[2.0], mobility=True)


@pytest.mark.skipif(DOUBLE, reason="this is the float64 run")
def test_closed_forms_in_float64() -> None:
    """x64 is a choice for a whole process, so the closed forms are compared in another one."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(Path(__file__))],
        env={**os.environ, "JAX_ENABLE_X64": "1"},
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    assert "3 skipped" in done.stdout
