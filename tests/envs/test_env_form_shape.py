"""FormShape: the outline, whose target is whose, and what covering one pays."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from swarmctl.core.errors import ConfigError
from swarmctl.core.state import SwarmState
from swarmctl.envs.form_shape import outline
from swarmctl.envs.make import make_env, make_scenario


@pytest.mark.parametrize(("sides", "count"), [(0, 7), (3, 12), (4, 12), (5, 5), (6, 13)])
def test_targets_lie_on_the_outline_equally_spaced(sides: int, count: int) -> None:
    points = outline(sides, count, 10.0)
    assert points.shape == (count, 2)
    away = np.linalg.norm(points, axis=1)
    if sides == 0:
        np.testing.assert_allclose(away, 10, rtol=1e-9)
        return
    # On a regular polygon the largest projection on the edges' normals is the inner radius.
    normal = np.pi / 2 + np.pi / sides + 2 * np.pi * np.arange(sides) / sides
    height = points @ np.stack([np.cos(normal), np.sin(normal)])
    np.testing.assert_allclose(height.max(axis=1), 10 * np.cos(np.pi / sides), rtol=1e-9)
    if count % sides == 0:
        gaps = np.linalg.norm(points - np.roll(points, 1, axis=0), axis=1)
        np.testing.assert_allclose(gaps, gaps[0], rtol=1e-9)


@pytest.fixture(scope="module")
def start() -> SwarmState:
    env = make_env("FormShape-v0", colloids=3)
    params = env.params()
    return env.swarm(env.reset(jax.random.key(0), params)[1], params)


def test_a_taken_target_is_left_to_the_colloid_that_is_nearest(start: SwarmState) -> None:
    """Two at the first target: the one on it sees it, the other sees the next open one."""
    scenario = make_scenario("FormShape-v0", colloids=3)
    space = make_env(scenario).space(make_env(scenario).params())
    targets = 75 + outline(3, 3, 40.0)
    place = jnp.asarray([targets[0], targets[0] + [0, -5], targets[2] + [0, 9]], jnp.float32)
    state = dataclasses.replace(
        start, position=place, director=jnp.tile(jnp.asarray([1.0, 0.0]), (3, 1))
    )
    seen, _ = scenario.observable.observe(state, scenario.observable.init(state, space), space)
    # The third is beyond 6 µm of its target, which therefore is still open to everyone.
    towards = targets[[0, 1, 2]] - np.asarray(place)
    away = np.linalg.norm(towards, axis=1)
    np.testing.assert_allclose(seen[:, 2], away / (away + 10), atol=1e-4)
    np.testing.assert_allclose(
        seen[1:, :2], (towards / np.maximum(away, 1)[:, None])[1:], atol=1e-4
    )
    uncovered = scenario.measure(state, space)
    nearest = np.linalg.norm(targets[:, None] - np.asarray(place), axis=-1).min(axis=1)
    np.testing.assert_allclose(uncovered, nearest.mean(), rtol=1e-4)


def test_only_who_comes_to_an_open_target_is_paid(start: SwarmState) -> None:
    targets = 75 + outline(3, 3, 40.0)
    before = np.asarray([targets[0], targets[1] + [10, 0], targets[0] + [0, 9]])
    after = before + np.asarray([[0, 0], [-10, 0], [1, 3]])
    states = [
        dataclasses.replace(start, position=jnp.asarray(place, jnp.float32))
        for place in (before, after)
    ]
    scenario = make_scenario("FormShape-v0", colloids=3)
    env = make_env(scenario)
    space = env.space(env.params())
    reward, _, _ = scenario.task.evaluate(states[1], scenario.task.init(states[0], space), space)
    # N times the share of one target of three, from half to full coverage less what was there
    # without: the third colloid is far away from it.
    assert float(reward[1]) == pytest.approx(10 * (1 - 0.5), abs=0.6)
    # The first is not needed less, as the third comes no nearer to its target than it was.
    assert float(reward[2]) == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize(
    ("options", "says"),
    [({"sides": 2}, "2 sides"), ({"size": 80.0}, "does not fit"), ({"box": (9.0,)}, "two box")],
)
def test_bad_options_are_refused(options: dict[str, object], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        make_scenario("FormShape-v0", **options)
