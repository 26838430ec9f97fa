"""Vision cones: which cone, how much, and which channel."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from swarmctl.core.errors import ConfigError
from swarmctl.core.state import Space
from swarmctl.observe.cones import VisionCones

OPEN = Space(jnp.asarray([200.0, 200.0]), (False, False))


def test_cones_part_the_view_from_right_to_left(swarm: Any) -> None:
    """One other at 10 µm, at every angle: exactly one of five cones over π sees 2R/d, in order."""
    observable = VisionCones(jnp.asarray(math.pi), jnp.asarray(20.0), jnp.asarray(1.5), 5)
    look = jax.jit(observable.observe)
    for angle in np.linspace(-math.pi, math.pi, 73):
        heading = 0.3
        place = [[0, 0], [10 * np.cos(angle + heading), 10 * np.sin(angle + heading)]]
        seen = np.asarray(look(swarm(place, heading), (), OPEN)[0])[0]
        edge = np.abs((angle / math.pi + 0.5) * 5 % 1)
        if min(edge, 1 - edge) < 1e-3:
            continue
        wanted = np.zeros(5)
        if abs(angle) < math.pi / 2:
            wanted[int((angle / math.pi + 0.5) * 5)] = 0.3
        np.testing.assert_allclose(seen, wanted, atol=1e-6)


def test_a_full_circle_sees_everyone_once(swarm: Any) -> None:
    """Σ over the cones of 2π is the sum over all within reach, also of what is right behind."""
    rng = np.random.default_rng(0)
    place = np.concatenate([[[0.0, 0.0], [-8.0, 0.0]], rng.uniform(-30, 30, (20, 2))])
    observable = VisionCones(
        jnp.asarray(2 * math.pi), jnp.asarray(25.0), jnp.asarray(1.0), 7, kernel="inverse"
    )
    seen = np.asarray(observable.observe(swarm(place), (), OPEN)[0])[0]
    away = np.linalg.norm(place[1:], axis=1)
    np.testing.assert_allclose(seen.sum(), (1 / away[away <= 25]).sum(), rtol=1e-5)


def test_species_have_their_channels_and_radii_and_touching_is_one(swarm: Any) -> None:
    """Channels of a cone stand together; 2R/d is cut at 1 by the kernel of the angle."""
    state = swarm([[0, 0], [4, 0], [2, 0]], species=jnp.asarray([0, 0, 1]))
    radius = jnp.asarray([1.0, 3.0])
    observable = VisionCones(jnp.asarray(1.0), jnp.asarray(9.0), radius, 1, (0, 1))
    seen = np.asarray(observable.observe(state, (), OPEN)[0])
    np.testing.assert_allclose(seen[0], [0.5, 1.0], rtol=1e-6)


def test_bad_cones_are_refused() -> None:
    with pytest.raises(ConfigError, match="at least 1, got 0"):
        VisionCones(1.0, 1.0, 1.0, 0)
    with pytest.raises(ConfigError, match="allowed: angle, inverse"):
        VisionCones(1.0, 1.0, 1.0, 1, kernel="cubic")  # type: ignore[arg-type]
