"""Fields of several sources, as agents sense them."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from swarmctl.core.fields import Sources
from swarmctl.core.state import Space
from swarmctl.observe.fields import PointSource, SourceSet
from swarmctl.physics.fields import source_field


@pytest.fixture
def space() -> Space:
    return Space(jnp.asarray([100.0, 80.0]), (True, False))


def test_one_source_is_a_point_source(space: Space) -> None:
    position = jnp.asarray(np.random.default_rng(0).uniform(0, 80, (50, 2)), jnp.float32)
    one = SourceSet(source_field(Sources(((90.0, 40.0),), 20.0)))
    point = PointSource(jnp.asarray([90.0, 40.0]), jnp.asarray(20.0))
    np.testing.assert_allclose(one.value(position, space), point.value(position, space), rtol=1e-6)
    np.testing.assert_allclose(
        one.distance(position, space), point.distance(position, space), rtol=1e-6
    )


def test_sources_add_and_the_nearest_counts(space: Space) -> None:
    points, strength = ((10.0, 40.0), (60.0, 20.0)), (1.0, 3.0)
    both = SourceSet(source_field(Sources(points, 15.0, "gaussian", strength)))
    position = jnp.asarray([[95.0, 40.0], [58.0, 22.0]])
    # Across the periodic face the first is 15 µm away, not 85.
    away = np.asarray([[15.0, np.hypot(35, 20)], [np.hypot(48, 18), np.hypot(2, 2)]])
    expected = (np.asarray(strength) * np.exp(-((away / 15.0) ** 2) / 2)).sum(1)
    np.testing.assert_allclose(both.value(position, space), expected, rtol=1e-5)
    np.testing.assert_allclose(both.distance(position, space), away.min(1), rtol=1e-5)
