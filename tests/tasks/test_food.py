"""Food: shares, depletion, the next site, and newcomers."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from swarmctl.core.errors import ConfigError
from swarmctl.core.state import Space, renew_rows, replace
from swarmctl.core.world import World
from swarmctl.engines.jax_engine import JaxEngine
from swarmctl.observe.food import Food, FoodDirection
from swarmctl.tasks.food import Eat
from swarmctl.testing.piece_suite import check_observable, check_task

SPACE = Space(jnp.asarray([100.0, 100.0]), (True, True))
FOOD = Food(jnp.asarray([[20.0, 20.0], [90.0, 20.0]]), jnp.asarray(5.0), jnp.asarray(7.0))


def test_everyone_inside_takes_a_bite_until_the_site_is_empty_and_the_next_one_opens(
    swarm: Any,
) -> None:
    """Three of four inside eat 3 + 3 + 1 bites, the last one shared. Then they find nothing."""
    away = swarm([[50, 50], [50, 52], [50, 54], [50, 56]])
    inside = swarm([[20, 20], [23, 20], [20, 16], [60, 60]])
    there = swarm([[92, 20], [50, 50], [50, 54], [60, 60]])
    task = Eat(FOOD, jnp.asarray(2.0))
    smell = FoodDirection(FOOD, jnp.asarray(60.0), jnp.asarray(10.0))
    memory, seen_memory = task.init(away, SPACE), smell.init(away, SPACE)
    _, seen_memory = smell.observe(away, seen_memory, SPACE)
    for bites in (1.0, 1.0, 1 / 3, 0.0):
        reward, done, memory = task.evaluate(inside, memory, SPACE)
        np.testing.assert_allclose(reward, 2 * bites * np.asarray([1, 1, 1, 0]), rtol=1e-5)
        assert not done.any()
        seen, seen_memory = smell.observe(inside, seen_memory, SPACE)
    np.testing.assert_allclose(memory, 7.0, rtol=1e-6)
    np.testing.assert_allclose(seen_memory, memory, rtol=1e-6)
    # The second site is 30 µm to the left of the first colloid, across the periodic face.
    np.testing.assert_allclose(seen[0], [-1, 0, 30 / 40], atol=1e-5)
    reward, _, memory = task.evaluate(there, memory, SPACE)
    np.testing.assert_allclose(reward, [2, 0, 0, 0], atol=1e-5)


def test_sites_open_again_from_the_first_on() -> None:
    for eaten, wanted, left in ((0.0, 0, 7.0), (6.5, 0, 0.5), (7.0, 1, 7.0), (14.0, 0, 7.0)):
        site, rest = FOOD.site(jnp.full(3, eaten))
        np.testing.assert_array_equal(site, FOOD.sites[wanted])
        np.testing.assert_allclose(rest, left, rtol=1e-6)


def test_newcomers_do_not_bring_back_what_is_gone_and_the_absent_do_not_eat(swarm: Any) -> None:
    task, state = Eat(FOOD, jnp.asarray(1.0)), swarm([[20, 20], [22, 20]])
    renewed = jnp.asarray([True, False])
    memory = renew_rows(jnp.full(2, 6.0), task.init(state, SPACE), renewed)
    reward, _, memory = task.evaluate(state, memory, SPACE)
    np.testing.assert_allclose(reward, 0.5, rtol=1e-5)
    np.testing.assert_allclose(memory, 7.0, rtol=1e-6)
    lost = replace(state, present=jnp.asarray([False, True]))
    reward, _, _ = task.evaluate(lost, jnp.zeros(2), SPACE)
    np.testing.assert_array_equal(reward, [0, 1])


def test_food_holds_the_contracts_and_names_what_does_not_fit() -> None:
    near = Food(jnp.asarray([[30.0, 30.0], [10.0, 10.0]]), jnp.asarray(15.0), jnp.asarray(3.0))
    for report in (
        check_task(Eat(near, jnp.asarray(1.0))),
        check_observable(FoodDirection(near, jnp.asarray(30.0), jnp.asarray(9.0))),
    ):
        assert report.ok, str(report)
    solid = JaxEngine(World(), 0.1).spec
    with pytest.raises(ConfigError, match=r"shape \(2, 3\) do not fit"):
        Eat(Food(jnp.zeros((2, 3)), 1.0, 1.0), 1.0).check(solid)
