"""Flows against their formulas, and how they turn particles."""

from __future__ import annotations

import math
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from swarmctl.core.errors import ConfigError
from swarmctl.core.fields import (
    CallableFlow,
    Flow,
    GridFlow,
    PoiseuilleFlow,
    ShearFlow,
    TaylorGreenFlow,
    UniformFlow,
    VortexFlow,
)
from swarmctl.core.grids import Grid
from swarmctl.core.world import Box
from swarmctl.physics import flow as physics
from swarmctl.physics.batching import batch_last
from swarmctl.physics.flow import flow_params, shape_factor
from swarmctl.physics.rotation import normalise, rotate

DIMENSIONS = pytest.mark.parametrize("dimension", [2, 3])
EPS = float(jnp.finfo(jnp.zeros(()).dtype).eps)
ZERO = jnp.zeros(())
flow_at = jax.jit(physics.flow_at, static_argnames="periodic")
jeffery_spin, spin = jax.jit(physics.jeffery_spin), jax.jit(physics.spin)


def swirl(position: jax.Array, time: jax.Array, parameters: Any = None) -> jax.Array:
    scale = 1.0 if parameters is None else parameters["scale"]
    x, y = position[0], position[1]
    rest = [jnp.zeros(())] * (position.shape[0] - 2)
    return scale * jnp.stack([jnp.sin(y) * x * time, x * x, *rest])


FLOWS_2D: dict[str, Flow] = {
    "uniform": UniformFlow((1.0, -2.0)),
    "shear": ShearFlow(0.7, centre=(1.0, 2.0)),
    "across": ShearFlow(0.7, 1, 0),
    "poiseuille": PoiseuilleFlow(3.0, 5.0),
    "lamb-oseen": VortexFlow(2.0, 1.5),
    "rankine": VortexFlow(2.0, 1.5, "rankine"),
    "gaussian": VortexFlow(2.0, 1.5, "gaussian", (1, 0)),
    "taylor-green": TaylorGreenFlow(2.0, 1.3),
    "callable": CallableFlow(swirl, {"scale": 0.3}),
}
FLOWS_3D: dict[str, Flow] = {
    "uniform": UniformFlow((1.0, -2.0, 0.5)),
    "shear": ShearFlow(0.7, 2, 0),
    "poiseuille": PoiseuilleFlow(3.0, 5.0, 1, 2),
    "tube": PoiseuilleFlow(3.0, 6.0, 1, shape="tube"),
    "lamb-oseen": VortexFlow(2.0, 1.5, axes=(2, 0)),
    "taylor-green": TaylorGreenFlow(2.0, 1.3, (0, 2)),
    "callable": CallableFlow(swirl),
}
CASES = [(2, name) for name in FLOWS_2D] + [(3, name) for name in FLOWS_3D]


def places(dimension: int, count: int = 60) -> jax.Array:
    """Random places [D,N] around the centre of the box, which is one of them."""
    random = np.random.default_rng(0).normal(5.0, 2.0, (dimension, count))
    random[:, 0] = 5.0
    return jnp.asarray(random)


@pytest.mark.parametrize(("dimension", "name"), CASES)
def test_gradients_are_derivatives(dimension: int, name: str) -> None:
    """∂u_i/∂x_j equals automatic differentiation; all but the callable one are incompressible."""
    box = Box((10.0,) * dimension, "open")
    flows = flow_params([(FLOWS_2D if dimension == 2 else FLOWS_3D)[name]], box)
    size, closed, time = jnp.asarray(box.size), (False,) * dimension, jnp.asarray(0.4)
    position = places(dimension)
    velocity, gradient = flow_at(position, time, flows, size, closed)
    assert velocity.shape == position.shape
    assert gradient.shape == (dimension, *position.shape)

    def one(place: jax.Array) -> jax.Array:
        return flow_at(place[:, None], time, flows, size, closed)[0][:, 0]

    wanted = jnp.moveaxis(jax.jit(jax.vmap(jax.jacfwd(one)))(position.T), 0, -1)
    np.testing.assert_allclose(gradient, wanted, rtol=100 * EPS, atol=100 * EPS)
    if name != "callable":
        np.testing.assert_allclose(jnp.trace(gradient), 0, atol=20 * EPS)


def at(flow: Flow, *point: float, time: float = 0.0) -> np.ndarray:
    box = Box((10.0,) * len(point), "open")
    position = jnp.asarray(point)[:, None]
    size, closed = jnp.asarray(box.size), (False,) * len(point)
    return np.asarray(
        flow_at(position, jnp.asarray(time), flow_params([flow], box), size, closed)[0]
    )[:, 0]


def test_velocities_are_those_of_the_formulas() -> None:
    close: Any = {"rtol": 20 * EPS, "atol": 20 * EPS}
    np.testing.assert_allclose(at(ShearFlow(0.7), 1.0, 8.0), [2.1, 0], **close)
    np.testing.assert_allclose(at(PoiseuilleFlow(3.0, 4.0), 0.0, 6.0), [2.25, 0], **close)
    np.testing.assert_allclose(at(PoiseuilleFlow(3.0, 4.0), 0.0, 8.0), [0, 0], **close)
    tube = PoiseuilleFlow(3.0, 4.0, 2, shape="tube")
    np.testing.assert_allclose(at(tube, 6.0, 6.0, 1.0), [0, 0, 1.5], **close)
    r2, core2, rate = 1.0 + 4.0, 2.25, 2.0
    # circulation Γ = 2π core² Ω: u = Γ/(2πr) (1 - exp(-r²/core²)), counter-clockwise
    turn = rate * core2 / r2 * (1 - math.exp(-r2 / core2))
    np.testing.assert_allclose(at(VortexFlow(2.0, 1.5), 6.0, 7.0), [-2 * turn, turn], **close)
    outside = rate * core2 / r2
    rankine = VortexFlow(2.0, 1.5, "rankine")
    np.testing.assert_allclose(at(rankine, 6.0, 7.0), [-2 * outside, outside], **close)
    np.testing.assert_allclose(at(rankine, 5.5, 5.0), [0, 1], **close)
    decayed = rate * math.exp(-r2 / core2)
    gaussian = VortexFlow(2.0, 1.5, "gaussian")
    np.testing.assert_allclose(at(gaussian, 6.0, 7.0), [-2 * decayed, decayed], **close)
    # u = ½ [-cos x sin z, sin x cos z] (Colabrese 2017)
    cells = TaylorGreenFlow(0.5, 1.0, centre=(0.0, 0.0))
    wanted = [-0.5 * math.cos(1.2) * math.sin(2.3), 0.5 * math.sin(1.2) * math.cos(2.3)]
    np.testing.assert_allclose(at(cells, 1.2, 2.3), wanted, **close)
    np.testing.assert_allclose(
        at(CallableFlow(swirl, {"scale": 2.0}), 3.0, 1.0, time=0.5),
        [3 * math.sin(1.0), 18],
        rtol=20 * EPS,
    )


def test_a_vortex_is_smooth_where_series_and_closed_form_meet() -> None:
    """The Lamb-Oseen profile within 1e-5 (float32) around r²/core² = ½ and near 0."""
    vortex = flow_params([VortexFlow(1.0, 1.0, centre=(0.0, 0.0))], Box((9.0, 9.0), "open"))
    q = np.concatenate([np.linspace(1e-8, 1e-3, 200), np.linspace(0.3, 0.7, 200)])
    position = jnp.asarray(np.stack([np.sqrt(q), 0 * q]))
    u, gradient = flow_at(position, ZERO, vortex, jnp.ones(2), (False, False))
    x = np.asarray(position[0], np.longdouble)
    g = -np.expm1(-x * x) / (x * x)
    np.testing.assert_allclose(u[1], g * x, rtol=10 * EPS)
    np.testing.assert_allclose(gradient[0, 1], -g, rtol=10 * EPS)
    np.testing.assert_allclose(gradient[1, 0], 2 * np.exp(-x * x) - g, rtol=30 * EPS)


def test_flows_add_and_their_parameters_can_be_mapped() -> None:
    """A batch of 100 shear rates, batch last, as one by one; no flows are no motion."""
    box = Box((10.0, 10.0), "open")
    shear, other = flow_params([ShearFlow(1.0), CallableFlow(swirl, {"scale": 0.3})], box)
    size, position = jnp.asarray(box.size), places(2)
    rates, times = jnp.linspace(-1, 1, 100), jnp.linspace(0, 2, 100)

    @batch_last
    def run(flows: Any, time: jax.Array, position: jax.Array, size: jax.Array) -> Any:
        return flow_at(position, time, flows, size, (False, False))

    def one(rate: jax.Array, time: jax.Array) -> Any:
        flows = (type(shear)(rate, shear.centre, 0, 1), other)
        return run(flows, time, position, size)

    u, gradient = jax.jit(jax.vmap(one))(rates, times)
    for i in (0, 40, 99):
        base, base_gradient = flow_at(position, times[i], (other,), size, (False, False))
        wanted = base.at[0].add(rates[i] * (position[1] - 5))
        np.testing.assert_allclose(u[i], wanted, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(
            gradient[i], base_gradient.at[0, 1].add(rates[i]), rtol=1e-5, atol=1e-5
        )
    nothing, none = flow_at(position, ZERO, (), size, (False, False))
    assert not nothing.any()
    assert not none.any()


def test_far_from_the_origin_a_flow_is_as_exact_as_the_place() -> None:
    """Seen from its centre at 500 µm, shear loses nothing: the difference of floats is exact."""
    box = Box((1000.0, 1000.0), "open")
    flows = flow_params([ShearFlow(0.01)], box)
    y = np.float32(500) + np.float32(2.0**-14) * np.arange(1, 50, dtype=np.float32)
    position = jnp.stack([jnp.full(49, 499.7), jnp.asarray(y)])
    u, _ = flow_at(position, ZERO, flows, jnp.asarray(box.size), (False, False))
    np.testing.assert_allclose(u[0], 0.01 * (y.astype(float) - 500), rtol=3 * EPS + 1e-7 * EPS)


def test_periodic_flows_repeat() -> None:
    """Places one box further, and flows on a grid or from a function there, see the same."""
    box = Box((12.0, 8.0))
    values = np.random.default_rng(0).normal(size=(6, 4, 2))
    flows = flow_params(
        [
            TaylorGreenFlow(1.0, 2 / math.pi, centre=(1.0, 2.0)),
            PoiseuilleFlow(1.0, 7.0),
            VortexFlow(1.0, 0.8, "gaussian", centre=(11.0, 1.0)),
            GridFlow(Grid(values, 2.0, edge="periodic")),
            CallableFlow(lambda r, t: r),
        ],
        box,
    )
    size = jnp.asarray(box.size)
    position = jnp.asarray(np.random.default_rng(1).uniform(0.1, 7.9, (2, 99)))
    first = flow_at(position, ZERO, flows, size, (True, True))
    moved = position + jnp.asarray([[24.0], [-8.0]])
    for a, b in zip(first, flow_at(moved, ZERO, flows, size, (True, True)), strict=True):
        np.testing.assert_allclose(a, b, atol=500 * EPS)


def test_functions_that_do_not_fit_are_refused() -> None:
    box = Box((10.0, 10.0), "open")
    with pytest.raises(ConfigError, match=r"<lambda> returns .* \[\]; it must return .* \[2\]"):
        flow_params([CallableFlow(lambda r, t: r[0])], box)
    with pytest.raises(ConfigError, match=r"cannot be traced \(TypeError: .*made of jax.numpy"):
        flow_params([CallableFlow(lambda r: r)], box)
    with pytest.raises(ConfigError, match="cannot be traced"):
        flow_params([CallableFlow(lambda r, t: math.sin(r[0]))], box)


def test_spin_is_half_the_vorticity() -> None:
    gradient = jnp.asarray(np.random.default_rng(0).normal(size=(3, 3, 4)))
    rotation = 0.5 * (gradient - gradient.swapaxes(0, 1))
    vector = np.asarray(np.random.default_rng(1).normal(size=(3, 4)))
    turned = np.einsum("ijn,jn->in", rotation, vector)
    np.testing.assert_allclose(np.cross(spin(gradient).T, vector.T).T, turned, atol=20 * EPS)
    np.testing.assert_allclose(spin(gradient[:2, :2])[0], rotation[1, 0], atol=EPS)


def test_jeffery_spin_is_jefferys_equation() -> None:
    """ω × n = Ω n + Λ (E n - n n·E n), for any traceless gradient; a sphere just spins."""
    rng = np.random.default_rng(2)
    gradient = rng.normal(size=(3, 3, 20))
    gradient -= np.eye(3)[:, :, None] * np.trace(gradient) / 3
    n = np.asarray(normalise(jnp.asarray(rng.normal(size=(3, 20)))))
    strain, rotation = (0.5 * (gradient + s * gradient.swapaxes(0, 1)) for s in (1, -1))
    shape = np.asarray(shape_factor(jnp.linspace(0.1, 10, 20)))
    stretched = np.einsum("ijn,jn->in", strain, n)
    wanted = np.einsum("ijn,jn->in", rotation, n) + shape * (stretched - n * (n * stretched).sum(0))
    turn = jeffery_spin(jnp.asarray(gradient), jnp.asarray(n), jnp.asarray(shape))
    np.testing.assert_allclose(np.cross(turn.T, n.T).T, wanted, atol=50 * EPS)
    sphere = jeffery_spin(jnp.asarray(gradient), jnp.asarray(n), shape_factor(jnp.ones(20)))
    np.testing.assert_allclose(sphere, spin(jnp.asarray(gradient)), atol=EPS)


@DIMENSIONS
@pytest.mark.parametrize("aspect", [0.4, 3.0])
def test_jeffery_orbits_have_jefferys_period(dimension: int, aspect: float) -> None:
    """γ̇T = 2π(r + 1/r) within 0.1 %: after half a period a director points the other way.

    In 3D the orbit is one out of the plane of shear.
    """
    rate, flow = 1.3, ShearFlow(1.3)
    box = Box((10.0,) * dimension, "open")
    half = math.pi * (aspect + 1 / aspect) / rate
    flows, size = flow_params([flow], box), jnp.asarray(box.size)
    gradient = flow_at(size[:, None] / 2, ZERO, flows, size, (False,) * dimension)[1]
    start = normalise(jnp.asarray([[0.3], [0.8], [0.5]][:dimension]))
    shape, steps = shape_factor(jnp.asarray([aspect])), 4000
    dt = 1.02 * half / steps

    def step(n: jax.Array, _: Any) -> tuple[jax.Array, jax.Array]:
        half_way = rotate(n, 0.5 * dt * jeffery_spin(gradient, n, shape))
        n = normalise(rotate(n, dt * jeffery_spin(gradient, half_way, shape)))
        return n, n[:2, 0]

    _, path = jax.lax.scan(step, start, None, steps)
    start_angle = math.atan2(0.8, 0.3)
    angle = np.unwrap(np.arctan2(path[:, 1], path[:, 0]).astype(float))
    turned = start_angle - angle
    time = np.interp(math.pi, turned, dt * np.arange(1, steps + 1))
    assert time == pytest.approx(half, rel=1e-3)


@pytest.mark.skipif(jax.config.jax_enable_x64, reason="this is the float64 run")
def test_formulas_of_all_fields_hold_in_float64() -> None:
    """x64 is a choice for a whole process, so those tests of all fields run again in another one
    whose tolerances follow the precision.
    """
    here = Path(__file__)
    parts = ("flow", "fields", "grids", "chemistry")
    files = [str(here.with_name(f"test_{part}.py")) for part in parts]
    chosen = "(derivatives and 2-) or slopes or those_of_the or smooth or interpolated or sharing"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", chosen]
    done = subprocess.run(
        [*command, *files],
        env={**os.environ, "JAX_ENABLE_X64": "1"},
        capture_output=True,
        text=True,
        check=False,
        cwd=here.parents[2],
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed is not None
    assert int(passed[1]) >= 25
