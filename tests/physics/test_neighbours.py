"""Neighbour lists: the same forces as from all pairs, in any box, as long as the lists are used."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from swarmctl.physics import contacts, neighbours
from swarmctl.physics.neighbours import NeighbourConfig, neighbour_config

BOXES = pytest.mark.parametrize(
    ("size", "periodic"),
    [
        ((41.0, 30.0), (True, True)),
        ((30.0, 30.0), (False, True)),
        ((30.0, 30.0), (False, False)),
        ((7.0, 90.0), (True, True)),  # one cell across
        ((14.0, 16.0, 12.0), (True, True, True)),
        ((14.0, 10.0, 16.0), (True, False, False)),
    ],
)


def scatter(
    size: tuple[float, ...], batch: tuple[int, ...] = (), count: int = 150
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """Random spheres that may overlap, of any radius: position, radius, push, size."""
    rng = np.random.default_rng(3)
    ones = (1,) * len(batch)
    lengths = np.asarray(size).reshape(-1, 1, *ones)
    position = rng.uniform(-0.2, 1.2, (len(size), count, *batch)) * lengths
    return (
        jnp.asarray(position, jnp.float32),
        jnp.asarray(rng.uniform(0.5, 1.1, (count, *ones)), jnp.float32),
        jnp.asarray(rng.uniform(0.01, 1.0, (count, *ones)), jnp.float32),
        jnp.asarray(lengths[:, 0], jnp.float32),
    )


build = jax.jit(neighbours.build, static_argnums=0)


def layout(
    radius: jax.Array, size: tuple[float, ...], periodic: tuple[bool, ...], spare: float = 8
) -> NeighbourConfig:
    return neighbour_config(np.asarray(radius).reshape(-1), size, periodic, spare=spare)


@BOXES
@pytest.mark.parametrize(("given", "batch"), [(None, ()), (0.3, (2, 2))])
def test_forces_equal_those_of_all_pairs(
    size: tuple[float, ...], periodic: tuple[bool, ...], given: float | None, batch: tuple[int, ...]
) -> None:
    position, radius, push, lengths = scatter(size, batch)
    config = layout(radius, size, periodic)
    energy = None if given is None else jnp.asarray(given)
    surfaces = (radius, push, jnp.asarray(0.004), energy, lengths, periodic)
    found = build(config, position, radius, lengths)
    assert not found.overflow.any()
    force, deepest = neighbours.sphere_forces(found, position, *surfaces)
    wanted, close = contacts.sphere_forces(position, *surfaces)
    scale = np.abs(wanted).max()
    assert scale > 1
    np.testing.assert_allclose(force, wanted, atol=1e-6 * scale, rtol=1e-4)
    # Among spheres that touch nobody lists need not know who is nearest.
    touching = np.asarray(close) > 1
    np.testing.assert_allclose(
        np.asarray(deepest)[touching], np.asarray(close)[touching], rtol=1e-4
    )
    assert (np.asarray(deepest)[~touching] <= 1 + 1e-6).all()


def test_groups_do_not_touch_themselves() -> None:
    position, radius, push, lengths = scatter((20.0, 20.0))
    group = np.arange(150) // 5
    config = layout(radius, (20.0, 20.0), (True, True))
    found = neighbours.build(config, position, radius, lengths, group)
    surfaces = (radius, push, jnp.asarray(0.004), None, lengths, (True, True))
    force, _ = neighbours.sphere_forces(found, position, *surfaces)
    everything, _ = contacts.sphere_forces(position, *surfaces)
    within, _ = contacts.sphere_forces(
        position.reshape(2, 30, 5).swapaxes(1, 2),
        radius.reshape(30, 5).T,
        push.reshape(30, 5).T,
        jnp.asarray(0.004),
        None,
        lengths[:, None],
        (True, True),
    )
    own = within.swapaxes(1, 2).reshape(2, 150)
    scale = np.abs(everything).max()
    assert np.abs(own).max() > 0.01 * scale
    np.testing.assert_allclose(force, everything - own, atol=1e-6 * scale, rtol=1e-4)


def test_lists_are_renewed_when_they_must_be() -> None:
    """A random walk of 60 steps: lists that are kept or renewed always give all forces."""
    size, periodic = (25.0, 25.0), (True, False)
    position, radius, push, lengths = scatter(size)
    config = layout(radius, size, periodic)
    surfaces = (radius, push, jnp.asarray(0.004), jnp.asarray(0.3), lengths, periodic)

    @jax.jit
    def walk(position: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        def step(carry, key):
            position, kept = carry
            position = position + 0.04 * jax.random.normal(key, position.shape)
            new = neighbours.update(config, kept, position, radius, lengths)
            force, _ = neighbours.sphere_forces(new, position, *surfaces)
            wanted, _ = contacts.sphere_forces(position, *surfaces)
            error = jnp.abs(force - wanted).max() / jnp.abs(wanted).max()
            renewed = jnp.any(new.built != kept.built)
            return (position, new), (error, renewed, new.overflow)

        first = neighbours.build(config, position, radius, lengths)
        return jax.lax.scan(step, (position, first), jax.random.split(jax.random.key(0), 60))[1]

    error, renewed, overflow = walk(position)
    assert error.max() < 1e-5
    assert 3 <= renewed.sum() <= 40
    assert not overflow.any()


def test_a_list_that_is_too_short_says_so() -> None:
    size, periodic = (12.0, 12.0), (True, True)
    position, radius, _, lengths = scatter(size)
    config = layout(radius, size, periodic, spare=0.5)
    found = build(config, position, radius, lengths)
    assert found.overflow
    fine = layout(radius, size, periodic, spare=10)
    # Once lost, a pair may have been missed: the flag stays.
    later = neighbours.update(config, found, position + 5, radius, lengths)
    assert later.overflow
    assert not build(fine, position, radius, lengths).overflow


def test_cells_that_became_too_small_say_so() -> None:
    """Parameters may be mapped: radii may be larger than those that the cells were made for."""
    size, periodic = (30.0, 30.0), (True, True)
    position, radius, _, lengths = scatter(size)
    config = layout(radius, size, periodic)
    assert not build(config, position, radius, lengths).overflow
    assert build(config, position, 2 * radius, lengths).overflow


@BOXES
def test_pushing_apart(size: tuple[float, ...], periodic: tuple[bool, ...]) -> None:
    """Half of every overlap along the line of centres, as from a double loop."""
    position, radius, _, lengths = scatter(size)
    found = build(layout(radius, size, periodic), position, radius, lengths)
    shift, left = neighbours.push_apart(found, position, radius, lengths, periodic, 1e-4)
    x, r = np.asarray(position, np.float64).T, np.asarray(radius, np.float64)
    delta = x[:, None] - x[None]
    delta -= np.where(periodic, np.asarray(size) * np.round(delta / np.asarray(size)), 0)
    distance = np.sqrt((delta**2).sum(-1))
    contact = r[:, None] + r
    depth = np.maximum(contact * (1 + 1e-4) - distance, 0)
    np.fill_diagonal(depth, 0)
    wanted = (0.5 * depth / np.maximum(distance, 1e-6 * contact))[..., None] * delta
    np.testing.assert_allclose(shift.T, wanted.sum(1), atol=2e-4)
    assert left


@BOXES
def test_smallest_gap(size: tuple[float, ...], periodic: tuple[bool, ...]) -> None:
    position, radius, _, _ = scatter(size)
    x, r = np.asarray(position, np.float64).T, np.asarray(radius, np.float64)
    delta = x[:, None] - x[None]
    delta -= np.where(periodic, np.asarray(size) * np.round(delta / np.asarray(size)), 0)
    gap = np.sqrt((delta**2).sum(-1)) - (r[:, None] + r)
    np.fill_diagonal(gap, np.inf)
    found = neighbours.smallest_gap(x, r, np.asarray(size), periodic)
    assert found is not None
    assert found[0] == pytest.approx(gap.min())
    assert gap[found[1], found[2]] == pytest.approx(gap.min())


def test_nobody_is_near() -> None:
    x = np.asarray([[0.0, 0.0], [50.0, 50.0]])
    assert neighbours.smallest_gap(x, np.ones(2), np.full(2, 100.0), (False, True)) is None


def test_memory_and_choice() -> None:
    """Below 1 kB a sphere, lists and cells together, and lists for many spheres only."""
    for dimension, length in ((2, 8000.0), (3, 300.0)):
        config = neighbour_config(np.full(10**6, 1.0), (length,) * dimension, (True,) * dimension)
        cells = np.prod(config.cells) / config.count
        assert 4 * (config.room + dimension) + 8 * cells + 16 < 400
    assert not neighbours.choose(48, 100)
    assert not neighbours.choose(200, 1)
    assert neighbours.choose(200, 20)
    assert neighbours.choose(10**4, 1)
