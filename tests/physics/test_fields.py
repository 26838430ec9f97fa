"""External potentials and scalar fields of sources: formulas, and forces that are their slopes."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from swarmctl.core.errors import ConfigError
from swarmctl.core.fields import (
    CallablePotential,
    ConstantForce,
    DoubleWell,
    GridPotential,
    HarmonicTrap,
    Potential,
    Sources,
)
from swarmctl.core.grids import Grid
from swarmctl.core.state import Space
from swarmctl.core.world import Box
from swarmctl.physics import fields
from swarmctl.physics.batching import batch_last
from swarmctl.physics.fields import potential_params, source_field

EPS = float(jnp.finfo(jnp.zeros(()).dtype).eps)
ZERO = jnp.zeros(())
force_at = jax.jit(fields.force_at, static_argnames="periodic")
energy_at = jax.jit(fields.energy_at, static_argnames="periodic")


def ripple(position: jax.Array, time: jax.Array, parameters: Any) -> jax.Array:
    return parameters[0] * jnp.cos(parameters[1] * position[0] - time) * position[1] ** 2


POTENTIALS: list[tuple[int, Potential]] = [
    (2, ConstantForce((0.3, -0.4))),
    (3, HarmonicTrap((1.0, 2.0, 0.0), (4.0, 5.0, 6.0))),
    (2, HarmonicTrap(0.7)),
    (3, DoubleWell(1.5, 3.0, 0.4, 1)),
    (2, DoubleWell(1.5, 3.0)),
    (2, CallablePotential(ripple, (0.3, 0.7))),
    (3, CallablePotential(ripple, (0.3, 0.7))),
    (2, GridPotential(Grid(np.random.default_rng(0).normal(size=(6, 5)), 2.0))),
]


@pytest.mark.parametrize("case", range(len(POTENTIALS)))
def test_forces_are_slopes_of_the_energy(case: int) -> None:
    dimension, potential = POTENTIALS[case]
    box = Box((10.0,) * dimension, "open")
    params = potential_params([potential], box, ("a",), (0,) * 40)
    size, closed, time = jnp.asarray(box.size), (False,) * dimension, jnp.asarray(0.6)
    position = jnp.asarray(np.random.default_rng(1).uniform(1, 9, (dimension, 40)))

    def total(position: jax.Array) -> jax.Array:
        return energy_at(position, time, params, size, closed).sum()

    slope = jax.jit(jax.grad(total))(position)
    force = force_at(position, time, params, size, closed)
    assert force.shape == position.shape
    np.testing.assert_allclose(force, -slope, rtol=200 * EPS, atol=200 * EPS)


def at(potential: Potential, *point: float, box: Box | None = None) -> tuple[float, np.ndarray]:
    box = box or Box((10.0,) * len(point), "open")
    params = potential_params([potential], box, ("a",), (0,))
    args = (jnp.asarray(point)[:, None], ZERO, params, jnp.asarray(box.size))
    energy = energy_at(*args, periodic=box.periodic)
    return float(energy[0]), np.asarray(force_at(*args, periodic=box.periodic))[:, 0]


def test_energies_and_forces_are_those_of_the_formulas() -> None:
    energy, force = at(HarmonicTrap((2.0, 0.5)), 6.0, 1.0)
    assert energy == pytest.approx(1 + 4)
    np.testing.assert_allclose(force, [-2, 2])
    energy, force = at(ConstantForce((0.0, -0.5)), 3.0, 7.0)
    assert energy == pytest.approx(1)
    np.testing.assert_allclose(force, [0, -0.5])
    well = DoubleWell(1.5, 3.0, 0.4)
    assert at(well, 6.5, 5.0)[0] == pytest.approx(0, abs=1e-6)
    assert at(well, 5.0, 5.0)[0] == pytest.approx(1.5)
    energy, force = at(well, 5.75, 7.0)
    assert energy == pytest.approx(1.5 * (0.25 - 1) ** 2 + 0.8)
    np.testing.assert_allclose(force, [4 * 1.5 / 1.5 * 0.5 * 0.75, -0.8], rtol=1e-6)
    # bilinear between (0, 1, 2, 4) at the corners of a cell of 2 µm
    energy, force = at(GridPotential(Grid([[0.0, 1.0], [2.0, 4.0]], 2.0)), 1.0, 0.5)
    assert energy == pytest.approx(0.5 * 0.25 + 0.5 * 2.5)
    np.testing.assert_allclose(force, [-1.125, -0.75], rtol=1e-6)


def test_a_trap_is_seen_by_the_minimum_image() -> None:
    trap = HarmonicTrap(1.0, (1.0, 5.0))
    energy, force = at(trap, 9.0, 5.0, box=Box((10.0, 10.0)))
    assert energy == pytest.approx(2)
    np.testing.assert_allclose(force, [2, 0], atol=1e-5)
    # the axis that is not periodic has no images
    _, force = at(trap, 9.0, 5.0, box=Box((10.0, 10.0), ("open", "periodic")))
    np.testing.assert_allclose(force, [-8, 0], atol=1e-5)


def test_potentials_add_and_act_on_their_species() -> None:
    box = Box((10.0, 10.0), "open")
    potentials: list[Potential] = [
        ConstantForce((1.0, 0.0), ("b",)),
        HarmonicTrap(2.0),
        HarmonicTrap(1.0),
    ]
    params = potential_params(potentials, box, ("a", "b"), (0, 1, 1))
    position = jnp.asarray([[5.0, 5.0, 6.0], [5.0, 6.0, 5.0]])
    force = force_at(position, ZERO, params, jnp.asarray(box.size), (False, False))
    np.testing.assert_allclose(force, [[0, 1, -2], [0, -3, 0]], atol=1e-6)
    nothing = force_at(position, ZERO, (), jnp.asarray(box.size), (False, False))
    np.testing.assert_array_equal(nothing, jnp.zeros((2, 3)))


def test_parameters_can_be_mapped() -> None:
    """A batch of stiffnesses and times, batch last, as one by one."""
    box = Box((10.0, 10.0))
    params = potential_params(
        [HarmonicTrap(1.0, species=("a",)), CallablePotential(ripple, (0.3, 0.7))],
        box,
        ("a", "b"),
        (0, 1, 0),
    )
    position = jnp.asarray(np.random.default_rng(0).uniform(0, 10, (2, 3)))
    size = jnp.asarray(box.size)
    scales = jnp.asarray([0.5, 1.0, 2.0])

    @batch_last
    def run(params: Any, time: jax.Array, position: jax.Array, size: jax.Array) -> jax.Array:
        return fields.force_at(position, time, params, size, (True, True))

    def one(scale: jax.Array) -> jax.Array:
        return run(jax.tree.map(lambda x: x * scale, params), scale, position, size)

    for found, scale in zip(jax.jit(jax.vmap(one))(scales), scales, strict=True):
        np.testing.assert_allclose(found, jax.jit(one)(scale), rtol=1e-5, atol=1e-5)


def test_functions_that_do_not_fit_are_refused() -> None:
    box = Box((10.0, 10.0), "open")
    with pytest.raises(ConfigError, match=r"returns .* \[2\]; it must return real numbers \[\]"):
        potential_params([CallablePotential(lambda r, t: r)], box, ("a",), (0,))
    with pytest.raises(ConfigError, match=r"returns int(32|64)"):
        potential_params([CallablePotential(lambda r, t: 1)], box, ("a",), (0,))
    with pytest.raises(ConfigError, match="cannot be traced"):
        potential_params([CallablePotential(lambda r, t, p: r[5, 5], 1.0)], box, ("a",), (0,))


KERNELS = {
    "hyperbolic": lambda q: 1 / (1 + q),
    "exponential": lambda q: np.exp(-q),
    "gaussian": lambda q: np.exp(-q * q / 2),
    "inverse": lambda q: 1 / np.maximum(q, 1),
}


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("dimension", [2, 3])
def test_sources_add_by_the_minimum_image(kernel: Any, dimension: int) -> None:
    """Value, gradient and distance of three sources, with one axis that is not periodic."""
    lengths = np.array([20.0, 16.0, 18.0])[:dimension]
    periodic = (True, False, True)[:dimension]
    space = Space(jnp.asarray(lengths), periodic)
    rng = np.random.default_rng(0)
    points = rng.uniform(0, lengths, (3, dimension))
    strength = (1.0, 2.0, -0.5)
    config = Sources(tuple(map(tuple, points.tolist())), 3.0, kernel, strength)
    field = source_field(config)
    position = rng.uniform(0, lengths, (5, 7, dimension))
    delta = position[..., None, :] - points
    delta -= np.where(periodic, lengths * np.round(delta / lengths), 0)
    distance = np.linalg.norm(delta, axis=-1)
    wanted = KERNELS[kernel](distance / 3.0) @ np.array(strength)

    @jax.jit
    def all_of_it(r: jax.Array) -> tuple[jax.Array, ...]:
        slope = jax.grad(lambda r: field.value(r, space).sum())(r)
        return field.value(r, space), field.distance(r, space), field.gradient(r, space), slope

    value, nearest, gradient, slope = all_of_it(jnp.asarray(position))
    np.testing.assert_allclose(value, wanted, atol=50 * EPS)
    np.testing.assert_allclose(nearest, distance.min(-1), atol=50 * EPS)
    np.testing.assert_allclose(gradient, slope, atol=50 * EPS)


@pytest.mark.parametrize("kernel", KERNELS)
def test_sources_are_finite_where_they_are(kernel: Any) -> None:
    field = source_field(Sources(((4.0, 4.0),), 2.0, kernel, 3.0))
    space = Space(jnp.asarray([9.0, 9.0]), (True, True))

    @jax.jit
    def all_of_it(r: jax.Array) -> tuple[jax.Array, ...]:
        return *jax.value_and_grad(lambda r: field.value(r, space))(r), field.gradient(r, space)

    value, slope, gradient = all_of_it(jnp.asarray([4.0, 4.0]))
    assert float(value) == 3
    assert np.isfinite(slope).all()
    np.testing.assert_array_equal(gradient, [0, 0])
