"""Contacts of spheroids: tangency, forces and torques as gradients of the potential, limits.

Derivatives are compared to 1e-6, which takes float64: x64 is process-wide, so the last test runs
the file in a process of its own.
"""

from __future__ import annotations

import math
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize

from swarmctl.physics import contacts, gay_berne
from swarmctl.physics.gay_berne import (
    contact_distance,
    face_stiffness,
    pair_stiffness,
    spheroid_face_forces,
    spheroid_forces,
)

DOUBLE = bool(jax.config.jax_enable_x64)
in_float64 = pytest.mark.skipif(not DOUBLE, reason="compared in float64, by the last test")
EXACT = 1e-6
PAIR_PATHS = pytest.mark.parametrize("limit", [10**9, 0], ids=["all pairs", "rows"])


def units(rng: np.random.Generator, count: int, dimension: int) -> np.ndarray:
    vectors = rng.normal(size=(dimension, count))
    return vectors / np.linalg.norm(vectors, axis=0)


def matrix(director: np.ndarray, radius: float, aspect: float) -> np.ndarray:
    """Squared semi-axes of a spheroid as a matrix [D,D]."""
    outer = np.outer(director, director)
    return radius**2 * (np.eye(len(director)) + (aspect**2 - 1) * outer)


def perram_wertheim(delta: np.ndarray, first: np.ndarray, second: np.ndarray) -> float:
    """Distance at tangency by a plain search over λ."""

    def form(weight: float) -> float:
        both = (1 - weight) * first + weight * second
        return -weight * (1 - weight) * float(delta @ np.linalg.solve(both, delta))

    best = optimize.minimize_scalar(form, bounds=(0, 1), options={"xatol": 1e-10}, method="bounded")
    return float(np.linalg.norm(delta) / math.sqrt(-best.fun))


def energy_of_pair(x: np.ndarray) -> float:
    """U of x = (r_i - r_j, û_i, û_j, a_i, κ_i, a_j, κ_j, ε), the definition with numpy."""
    delta, u, w = x[:3], x[3:6], x[6:9]
    a_i, p_i, a_j, p_j, energy = x[9:]
    distance = perram_wertheim(delta, matrix(u, a_i, p_i), matrix(w, a_j, p_j))
    ratio = 1 + (np.linalg.norm(delta) - distance) / (a_i + a_j)
    chi = (p_i**2 - 1) / (p_i**2 + 1) * (p_j**2 - 1) / (p_j**2 + 1)
    strength = energy / math.sqrt(1 - chi * float(u @ w) ** 2)
    return strength * (ratio**-6 - 1) ** 2 if ratio < 1 else 0.0


def sample(count: int, dimension: int, seed: int, aspect: float = 4.0) -> dict[str, np.ndarray]:
    """Pairs of random spheroids [.., 2, count], most of them overlapping by less than 20 % of c."""
    rng = np.random.default_rng(seed)
    low = math.log(aspect)
    director = np.stack([units(rng, count, dimension) for _ in range(2)], 1)
    radius = rng.uniform(0.5, 2.0, (2, count))
    ratio = np.exp(rng.uniform(-low, low, (2, count)))
    direction = units(rng, count, dimension)
    reach = np.array(
        [
            perram_wertheim(
                direction[:, k],
                matrix(director[:, 0, k], radius[0, k], ratio[0, k]),
                matrix(director[:, 1, k], radius[1, k], ratio[1, k]),
            )
            for k in range(count)
        ]
    )
    delta = direction * (reach + rng.uniform(-0.2, 0.05, count) * radius.sum(0))
    position = np.stack([delta, np.zeros_like(delta)], 1)
    return {"position": position, "director": director, "radius": radius, "aspect": ratio}


@partial(jax.jit, static_argnames=("periodic", "group"))
def compiled(arrays: dict, rest: tuple, periodic: tuple, group: tuple | None = None) -> tuple:
    names = ("position", "director", "radius", "aspect")
    return spheroid_forces(*(arrays[k] for k in names), *rest, periodic, group)


def forces(data: dict[str, np.ndarray], energy: float = 0.7) -> list[np.ndarray]:
    """Force, torque and depth of pairs in open space."""
    dimension = len(data["position"])
    arrays = {k: jnp.asarray(v, float) for k, v in data.items()}
    rest = (jnp.ones((2, 1)), jnp.ones(1), jnp.asarray(energy), jnp.ones((dimension, 1)))
    result = compiled(arrays, rest, (False,) * dimension)
    return [np.asarray(x, np.float64) for x in result]


distance_of = jax.jit(contact_distance, static_argnames="steps")


@in_float64
@pytest.mark.parametrize("dimension", [2, 3])
def test_range_ends_where_the_surfaces_touch(dimension: int) -> None:
    """Against a search over λ, and: two convex bodies touch where one plane supports both."""
    data = sample(60, dimension, seed=1)
    delta = data["position"][:, 0]
    args = [data["director"][:, 0], data["director"][:, 1]]
    args += [data["radius"][0], data["aspect"][0], data["radius"][1], data["aspect"][1]]
    ours = np.asarray(distance_of(jnp.asarray(delta), *map(jnp.asarray, args)))
    for k in range(60):
        ends = [
            matrix(data["director"][:, s, k], data["radius"][s, k], data["aspect"][s, k])
            for s in (0, 1)
        ]
        assert ours[k] == pytest.approx(perram_wertheim(delta[:, k], *ends), rel=EXACT / 100)
        # The sum of the support functions is at least r·n̂ for all n̂, with equality at one.
        tangent = delta[:, k] / np.linalg.norm(delta[:, k]) * ours[k]
        normals = units(np.random.default_rng(k), 4000, dimension)
        reach = sum(np.sqrt(np.einsum("dk,de,ek->k", normals, e, normals)) for e in ends)
        room = reach - np.abs(tangent @ normals)
        assert room.min() > -1e-4
        if dimension == 2:
            assert room.min() < 1e-3


def test_tip_and_side() -> None:
    """Like prolate spheroids: 2a side by side, 2b tip to tip, a + b tip to side. The Gaussian
    overlap of Berne and Pechukas has √(2a² + 2b²) for the last.
    """
    x, y = jnp.asarray([1.0, 0.0]), jnp.asarray([0.0, 1.0])
    a, p = jnp.asarray(1.5), jnp.asarray(3.0)
    for u, w, wanted in ((x, x, 9.0), (y, y, 3.0), (x, y, 6.0)):
        assert float(distance_of(x, u, w, a, p, a, p)) == pytest.approx(wanted, rel=1e-5)
    overlap = float(distance_of(x, x, y, a, p, a, p, steps=0))
    assert overlap == pytest.approx(1.5 * math.sqrt(20), rel=1e-5)
    # a large sphere and a bead: sums of the semi-axes too
    for r in (0.2, 40.0):
        tip = distance_of(x, x, y, a, p, jnp.asarray(r), jnp.asarray(1.0))
        side = distance_of(x, y, y, a, p, jnp.asarray(r), jnp.asarray(1.0))
        assert float(tip) == pytest.approx(4.5 + r, rel=1e-5)
        assert float(side) == pytest.approx(1.5 + r, rel=1e-5)


@in_float64
def test_berne_pechukas_is_the_textbook_one() -> None:
    """steps = 0, like particles: the σ of Gay and Berne (1981), equation 2, with σ₀ = 2a."""
    rng = np.random.default_rng(2)
    u, w, r = (units(rng, 50, 3) for _ in range(3))
    a, p = 0.8, 2.7
    chi = (p**2 - 1) / (p**2 + 1)
    x, y, z = (u * r).sum(0), (w * r).sum(0), (u * w).sum(0)
    root = 1 - chi / 2 * ((x + y) ** 2 / (1 + chi * z) + (x - y) ** 2 / (1 - chi * z))
    size = [jnp.asarray(s) for s in (a, p, a, p)]
    ours = distance_of(*(jnp.asarray(v) for v in (r, u, w)), *size, steps=0)
    np.testing.assert_allclose(ours, 2 * a / np.sqrt(root), rtol=1e-12)


@in_float64
@pytest.mark.parametrize("dimension", [2, 3])
def test_forces_and_torques_are_gradients(dimension: int) -> None:
    """Central differences of the potential as defined above; directors turn by small angles."""
    data = sample(60, dimension, seed=3)
    force, torque, deepest = forces(data)
    touching = 0
    for k in range(0, 60, 2):
        flat = np.zeros(9)
        for s, vector in enumerate(
            (data["position"][:, 0, k], data["director"][:, 0, k], data["director"][:, 1, k])
        ):
            flat[3 * s : 3 * s + dimension] = vector
        rest = [data[name][s, k] for s in (0, 1) for name in ("radius", "aspect")]

        def potential(x: np.ndarray, rest: list[float] = rest) -> float:
            return energy_of_pair(np.concatenate([x, rest, [0.7]]))

        if potential(flat) == 0:
            assert np.abs(force[:, :, k]).max() < 1e-9
            continue
        touching += 1
        step = 1e-4
        scale = np.abs(force[:, 0, k]).max()
        for axis in range(dimension):
            ends = [flat + sign * step * np.eye(9)[axis] for sign in (1, -1, 2, -2)]
            near, far = (potential(a) - potential(b) for a, b in (ends[:2], ends[2:]))
            wanted = -(8 * near - far) / (12 * step)
            assert force[axis, 0, k] == pytest.approx(wanted, abs=EXACT * scale)
        for s in (0, 1):
            for turn in range(len(torque)):
                axis = np.eye(3)[2 if dimension == 2 else turn]
                values = []
                for sign in (1, -1, 2, -2):
                    moved = flat.copy()
                    part = slice(3 + 3 * s, 6 + 3 * s)
                    angle = sign * step
                    vector = flat[part]
                    moved[part] = (
                        vector * math.cos(angle)
                        + np.cross(axis, vector) * math.sin(angle)
                        + axis * (axis @ vector) * (1 - math.cos(angle))
                    )
                    values.append(potential(moved))
                near, far = values[0] - values[1], values[2] - values[3]
                wanted = -(8 * near - far) / (12 * step)
                assert torque[turn, s, k] == pytest.approx(wanted, abs=2 * EXACT * scale)
    assert touching > 20
    assert (deepest > 1).any(axis=0).sum() >= touching


@in_float64
@pytest.mark.parametrize("dimension", [2, 3])
def test_balance_of_force_and_torque(dimension: int) -> None:
    data = sample(60, dimension, seed=4)
    force, torque, _ = forces(data)
    assert np.abs(force).max() > 1
    scale = np.abs(force).max(axis=(0, 1))
    assert (np.abs(force.sum(1)) <= 1e-9 * scale).all()
    arm = np.cross(data["position"][:, 0].T, force[:, 0].T) if dimension == 3 else None
    if arm is None:
        x, f = data["position"][:, 0], force[:, 0]
        arm = (x[0] * f[1] - x[1] * f[0])[:, None]
    total = arm + torque.sum(1).T
    assert (np.abs(total).max(1) <= 1e-9 * scale).all()


@pytest.mark.parametrize(
    ("limit", "periodic"),
    [(10**9, (True, True, False)), (0, (False, True))],
    ids=["all pairs", "rows"],
)
def test_spheres_are_those_of_contacts(
    limit: int, periodic: tuple, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Aspect 1: the same forces, the same depth, no torque; deep overlaps and batches included."""
    monkeypatch.setattr(gay_berne, "ALL_PAIRS_ELEMENTS", limit)
    dimension, count, batch = len(periodic), 20, 3
    rng = np.random.default_rng(5)
    lengths = np.array([9.0, 7.0, 8.0])[:dimension]
    position = jnp.asarray(rng.uniform(0, 1, (dimension, count, batch)) * lengths[:, None, None])
    director = jnp.asarray(units(rng, count * batch, dimension).reshape(dimension, count, batch))
    radius, push = (jnp.asarray(rng.uniform(0.4, 1.2, (count, 1))) for _ in range(2))
    shared = (jnp.asarray([0.3]), None, jnp.asarray(lengths)[:, None], periodic)
    force, deepest = contacts.sphere_forces(position, radius, push, *shared)
    ours, torque, depth = spheroid_forces(
        position, director, radius, jnp.ones((count, 1)), push, *shared
    )
    # float32: near contact u³ - 1 cancels
    exact = 1e-9 if DOUBLE else 2e-5
    scale = float(jnp.abs(force).max())
    assert scale > 10
    np.testing.assert_allclose(ours, force, atol=exact * scale)
    np.testing.assert_allclose(depth, deepest, rtol=10 * exact)
    assert float(jnp.abs(torque).max()) == 0


@in_float64
@PAIR_PATHS
def test_groups_and_batches(limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Forces are sums over pairs of different groups, in any layout of the batch."""
    rng = np.random.default_rng(6)
    count, batch = 7, 2
    position = rng.uniform(0, 4, (3, count, batch))
    director = units(rng, count * batch, 3).reshape(3, count, batch)
    radius, aspect = rng.uniform(0.4, 1, (count, 1)), rng.uniform(0.4, 3, (count, batch))
    group = np.array([0, 0, 0, 1, 2, 2, 3])
    data = {"position": position, "director": director, "radius": radius, "aspect": aspect}
    monkeypatch.setattr(gay_berne, "ALL_PAIRS_ELEMENTS", limit)
    jax.clear_caches()
    rest = (jnp.ones((count, 1)), jnp.ones(1), jnp.asarray(0.1), jnp.ones((3, 1)))
    arrays = {k: jnp.asarray(v, float) for k, v in data.items()}
    full = compiled(arrays, rest, (False,) * 3, tuple(group))
    monkeypatch.undo()
    ends = np.array([(i, j) for i in range(count) for j in range(count) if group[i] != group[j]]).T
    pairs = {  # [.., 2, pairs, batch]
        name: np.broadcast_to(value, (*value.shape[:-1], batch))[..., ends, :]
        for name, value in data.items()
    }
    force, torque, u = forces({k: v.reshape(*v.shape[:-2], -1) for k, v in pairs.items()}, 0.1)
    wanted = [np.zeros((3, count, batch)), np.zeros((3, count, batch)), np.zeros((count, batch))]
    for k, i in enumerate(ends[0]):
        here = slice(k * batch, (k + 1) * batch)
        wanted[0][:, i] += force[:, 0, here]
        wanted[1][:, i] += torque[:, 0, here]
        wanted[2][i] = np.maximum(wanted[2][i], u[0, here])
    for ours, reference in zip(full, wanted, strict=True):
        scale = np.abs(reference).max()
        assert scale > 0
        np.testing.assert_allclose(ours, reference, atol=1e-10 * scale)


def test_one_particle_feels_nothing_and_coinciding_ones_stay_finite() -> None:
    data = {k: jnp.asarray(v[..., :1, :]) for k, v in sample(3, 3, seed=7).items()}
    rest = (jnp.ones((1, 1)), jnp.ones(1), None, jnp.ones((3, 1)))
    force, torque, deepest = map(np.asarray, compiled(data, rest, (False,) * 3))
    assert not force.any()
    assert not torque.any()
    assert not deepest.any()
    data = sample(3, 3, seed=7)
    data["position"] *= np.array([0.0, 1e-9, 1e-3])
    force, torque, deepest = forces(data)
    assert np.isfinite(force).all()
    assert np.isfinite(torque).all()
    np.testing.assert_allclose(deepest, contacts.DEEPEST**-2, rtol=1e-5)


# Faces


@in_float64
@pytest.mark.parametrize("dimension", [2, 3])
def test_face_is_a_sphere_of_infinite_radius(dimension: int) -> None:
    """A face touches where a huge sphere does, and gives the gradient of its potential."""
    rng = np.random.default_rng(8)
    count = 30
    director = units(rng, count, dimension)
    radius, aspect = rng.uniform(0.5, 2, count), np.exp(rng.uniform(-1.2, 1.2, count))
    reach = radius * np.sqrt(1 + (aspect**2 - 1) * director[0] ** 2)
    normal = jnp.asarray(np.eye(dimension)[0][:, None] * np.ones(count))
    shape = (jnp.asarray(radius), jnp.asarray(aspect))
    huge = (jnp.full(count, 1e7), jnp.ones(count))
    distance = distance_of(normal, jnp.asarray(director), normal, *shape, *huge)
    np.testing.assert_allclose(distance - huge[0], reach, rtol=1e-4)
    gap = rng.uniform(-0.2, 0.1, count) * radius

    def energy(gap: np.ndarray) -> np.ndarray:
        ratio = 1 + gap / radius
        return np.where(ratio < 1, 0.6 * (ratio**-6 - 1) ** 2, 0)

    step = 1e-6
    slope = (energy(gap + step) - energy(gap - step)) / (2 * step)
    length = 20.0
    for side in (0, 1):
        position = np.full((dimension, count), length / 2)
        position[0] = reach + gap if side == 0 else length - reach - gap
        force, torque, deepest = spheroid_face_forces(
            *(jnp.asarray(x, float) for x in (position, director, radius, aspect)),
            jnp.ones(count),
            jnp.ones(()),
            jnp.asarray(0.6),
            jnp.full((dimension, 1), length),
            (True, *(False,) * (dimension - 1)),
        )
        sign = 1 - 2 * side
        scale = np.abs(slope).max()
        exact = 1e-6
        np.testing.assert_allclose(force[0], -sign * slope, atol=exact * scale)
        assert not np.asarray(force[1:]).any()
        # -û x ∂U/∂û with ∂g/∂û = -(b² - a²) n_u/h n̂
        arm = radius**2 * (aspect**2 - 1) * director[0] / reach * slope
        zero = np.zeros(count)
        cross = [-director[1]] if dimension == 2 else [zero, director[2], -director[1]]
        np.testing.assert_allclose(torque, np.stack(cross) * arm, atol=2 * exact * scale)
        np.testing.assert_allclose(
            deepest, np.maximum(1 + gap / radius, contacts.DEEPEST) ** -2.0, rtol=1e-5
        )


@in_float64
def test_spheres_at_a_face_are_those_of_contacts() -> None:
    rng = np.random.default_rng(9)
    position = jnp.asarray(rng.uniform(-0.5, 6.5, (2, 40, 2)))
    radius = jnp.asarray(rng.uniform(0.5, 1.5, (40, 1)))
    director = jnp.asarray(units(rng, 80, 2).reshape(2, 40, 2))
    shared = (jnp.ones((40, 1)), jnp.ones(1), None, jnp.full((2, 1), 6.0), (True, True))
    force, deepest = contacts.face_forces(position, radius, *shared)
    ours, torque, depth = spheroid_face_forces(
        position, director, radius, jnp.ones((40, 1)), *shared
    )
    np.testing.assert_allclose(ours, force, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(depth, deepest, rtol=1e-5)
    assert not np.asarray(torque).any()


# Stiffness


@in_float64
def test_stiffness_bounds_hold_and_are_reached() -> None:
    """At contact, the slope of the force with a small step along any direction or turn."""
    assert pair_stiffness(1.0, 1.0, 2.0, 1.0, 0.5) == pytest.approx((72 * 0.5 / 9, 0.0))
    assert face_stiffness(2.0, 3.0, 0.5) == pytest.approx((9.0, 9.0 * 16.0))
    steepest = 0.0
    for seed, aspect in ((10, 2.0), (11, 5.0)):
        data = sample(300, 3, seed=seed, aspect=aspect)
        data["radius"][:] = 1.0
        data["aspect"][:] = aspect
        delta = data["position"][:, 0]
        args = [data["director"][:, 0], data["director"][:, 1], 1.0, aspect, 1.0, aspect]
        reach = np.asarray(distance_of(jnp.asarray(delta), *map(jnp.asarray, args)))
        data["position"][:, 0] = delta / np.linalg.norm(delta, axis=0) * (reach - 1e-3)
        force, torque, _ = forces(data)
        # force and torque at a depth of 0.001 along r: 72 ε ε₁/c² x 0.001 x (∇g, lever x ∇g)
        along, turning = pair_stiffness(1.0, aspect, 1.0, aspect, 0.7)
        z = np.abs((data["director"][:, 0] * data["director"][:, 1]).sum(0))
        chi = (aspect**2 - 1) / (aspect**2 + 1)
        plain = 72 * 0.7 / np.sqrt(1 - (chi * z) ** 2) / 4
        slant = np.linalg.norm(force[:, 0], axis=0) / plain / 1e-3
        lever = np.linalg.norm(torque[:, 0], axis=0) / plain / 1e-3
        assert (plain * slant**2 < along * 1.05).all()
        assert (plain * lever**2 < turning * 1.05).all()
        steepest = max(steepest, slant.max() / ((aspect**2 + 1) / (2 * aspect)))
    assert steepest > 0.8


@pytest.mark.skipif(DOUBLE, reason="this is the float64 run")
def test_the_same_holds_in_float64() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n0", "-p", "no:cacheprovider", Path(__file__)],
        env=os.environ | {"JAX_ENABLE_X64": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
