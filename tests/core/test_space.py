"""Space, memory rows and masked means."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from swarmctl.core.state import Space, mean_present, renew_rows

SPACES = {
    "periodic": Space(jnp.asarray([7.0, 3.0]), (True, True)),
    "slit": Space(jnp.asarray([7.0, 3.0]), (True, False)),
    "open": Space(jnp.asarray([7.0, 3.0]), (False, False)),
    "3D": Space(jnp.asarray([7.0, 3.0, 11.0]), (True, False, True)),
}


@pytest.mark.parametrize("name", SPACES)
def test_displacement_is_the_shortest_of_all_images(name: str) -> None:
    space = SPACES[name]
    size, dimension = np.asarray(space.size), len(space.periodic)
    rng = np.random.default_rng(0)
    start, end = rng.uniform(0, 1, (2, 500, dimension)) * size
    ranges = [(-1, 0, 1) if p else (0,) for p in space.periodic]
    shifts = np.stack(np.meshgrid(*ranges, indexing="ij"), -1).reshape(-1, dimension)
    images = (end - start)[:, None] + shifts * size
    nearest = np.linalg.norm(images, axis=-1).argmin(1)
    found = space.displacement(jnp.asarray(start), jnp.asarray(end))
    np.testing.assert_allclose(found, images[np.arange(500), nearest], atol=3e-6)
    back = space.displacement(jnp.asarray(end), jnp.asarray(start))
    np.testing.assert_allclose(back, -np.asarray(found), atol=3e-6)
    np.testing.assert_allclose(
        space.distance(jnp.asarray(start), jnp.asarray(end)),
        np.linalg.norm(images, axis=-1).min(1),
        atol=3e-6,
    )


def test_distance_has_a_finite_gradient_everywhere() -> None:
    space = SPACES["periodic"]
    gradient = jax.grad(lambda x: space.distance(x, jnp.asarray([1.0, 1.0])))
    np.testing.assert_array_equal(gradient(jnp.asarray([1.0, 1.0])), [0, 0])
    np.testing.assert_allclose(gradient(jnp.asarray([4.0, 1.0])), [1, 0], atol=1e-6)
    # across the face, the other way is shorter: moving away from x = 1 means going down from 6.5
    np.testing.assert_allclose(gradient(jnp.asarray([6.5, 1.0])), [-1, 0], atol=1e-6)


@pytest.mark.parametrize("name", SPACES)
def test_wrap_keeps_the_unwrapped_position(name: str) -> None:
    space = SPACES[name]
    rng = np.random.default_rng(1)
    position = rng.uniform(-30, 30, (500, len(space.periodic))).astype(np.float32)
    inside, image = (np.asarray(x) for x in space.wrap(jnp.asarray(position)))
    size, periodic = np.asarray(space.size), np.asarray(space.periodic)
    np.testing.assert_allclose(inside + image * size, position, atol=1e-5)
    assert ((inside >= 0) & (inside <= size))[:, periodic].all()
    assert image.dtype == np.int32
    np.testing.assert_array_equal(inside[:, ~periodic], position[:, ~periodic])
    assert not image[:, ~periodic].any()
    np.testing.assert_array_equal(space.wrap(jnp.zeros(len(periodic)))[0], 0)


def test_wrap_stays_below_the_upper_face() -> None:
    """A tiny negative number plus L rounds to L, which is outside [0, L)."""
    space = SPACES["periodic"]
    inside, image = space.wrap(jnp.asarray([-1e-8, 3.0]))
    assert (np.asarray(inside) < np.asarray(space.size)).all()
    np.testing.assert_allclose(inside + image * space.size, [0, 3], atol=1e-6)


def test_renew_rows_restarts_what_is_renewed() -> None:
    memory = {
        "row": jnp.ones((3, 2)),
        "flat": jnp.ones(3),
        "shared": jnp.ones(()),
        "w": jnp.ones((2, 3)),
    }
    fresh = {
        "row": jnp.zeros((3, 2)),
        "flat": jnp.zeros(3),
        "shared": jnp.zeros(()),
        "w": jnp.zeros((2, 3)),
    }
    result = renew_rows(memory, fresh, jnp.asarray([False, True, False]))
    np.testing.assert_array_equal(result["row"], [[1, 1], [0, 0], [1, 1]])
    np.testing.assert_array_equal(result["flat"], [1, 0, 1])
    # what has no row per colloid is kept
    assert float(result["shared"]) == 1
    np.testing.assert_array_equal(result["w"], np.ones((2, 3)))
    assert renew_rows(None, None, jnp.asarray([True])) is None


def test_mean_present() -> None:
    values = jnp.asarray([1.0, 100.0, 3.0])
    assert float(mean_present(values, jnp.asarray([True, False, True]))) == 2
    assert float(mean_present(values, jnp.zeros(3, bool))) == 0
    assert float(mean_present(values, jnp.ones(3, bool))) == pytest.approx(104 / 3)
