"""Sums, products, curricula, switches and shares: what they make of the rewards of their parts."""

from __future__ import annotations

import itertools
import math
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from swarmctl.core.bodies import Body, Rod
from swarmctl.core.errors import ConfigError
from swarmctl.core.state import Space, renew_rows, replace
from swarmctl.core.world import Box, Species, World
from swarmctl.engines.jax_engine import JaxEngine
from swarmctl.tasks.algebra import Curriculum, KillSwitch, Product, WeightedSum, with_progress
from swarmctl.tasks.bodies import RotateBody, transport
from swarmctl.tasks.credit import Difference, TeamMean
from swarmctl.tasks.goals import ReachPoint
from swarmctl.tasks.order import Cohesion, GatherAt, Shape, SwirlOrder
from swarmctl.tasks.search import Pursuit, SpeciesSearch
from swarmctl.testing.piece_suite import check_task

SPACE = Space(jnp.asarray([100.0, 100.0]), (False, False))


def reach(x: float, scale: float = 1.0) -> ReachPoint:
    """Approach to (x, 0), arrival within 1 µm."""
    goal = jnp.asarray([x, 0.0])
    return ReachPoint(goal, *(jnp.asarray(v) for v in (1.0, scale, 0.0, 0.0)))


def paid(task: Any, before: Any, after: Any) -> tuple[np.ndarray, np.ndarray]:
    reward, terminated, _ = task.evaluate(after, task.init(before, SPACE), SPACE)
    return np.asarray(reward), np.asarray(terminated)


def test_arrival_pays_the_bonus_and_the_approach_adds_up(swarm: Any) -> None:
    task = ReachPoint(*(jnp.asarray(v) for v in ([10.0, 0.0], 2.0, 3.0, 7.0, 0.5)))
    track = [[[0.0, 0.0]], [[4.0, 0.0]], [[3.0, 0.0]], [[8.5, 0.0]]]
    memory, total, done = task.init(swarm(track[0]), SPACE), 0.0, []
    for place in track[1:]:
        reward, terminated, memory = task.evaluate(swarm(place), memory, SPACE)
        total += float(reward[0])
        done.append(bool(terminated[0]))
    assert done == [False, False, True]
    assert total == pytest.approx(3 * 8.5 + 7 - 3 * 0.5)


def test_a_discounted_approach_pays_equally_for_every_way(swarm: Any) -> None:
    """Discounted pay of approaches that are shaped with the same γ depends on where a way begins
    and ends, and not on the way: Σ γᵗ rₜ = k (d₀ - γᵀ d_T).
    """
    discount = 0.9
    task = ReachPoint(*(jnp.asarray(v) for v in ([10.0, 0.0], 0.1, 2.0, 0.0, 0.0, discount)))
    for track in ([0.0, 3.0, 6.0, 4.0], [0.0, -20.0, 8.0, 4.0]):
        memory, total = task.init(swarm([[track[0], 0.0]]), SPACE), 0.0
        for t, x in enumerate(track[1:]):
            reward, _, memory = task.evaluate(swarm([[x, 0.0]]), memory, SPACE)
            total += discount**t * float(reward[0])
        assert total == pytest.approx(2 * (10 - discount**3 * 6), rel=1e-5)


def test_sums_and_products(swarm: Any) -> None:
    before, after = swarm([[0, 0], [5, 0]]), swarm([[2, 0], [8, 0]])
    first, second = reach(10, 1.0), reach(-4, 10.0)
    reward, done = paid(WeightedSum((first, second), jnp.asarray([2.0, 0.5])), before, after)
    np.testing.assert_allclose(reward, [2 * 2 - 10, 2 * 3 - 15], atol=1e-5)
    reward, _ = paid(Product((first, second)), before, after)
    np.testing.assert_allclose(reward, [2 * -20, 3 * -30], atol=1e-4)
    _, done = paid(Product((reach(50), reach(8))), before, after)
    assert done.tolist() == [False, True]
    with pytest.raises(ConfigError, match="one weight per task"):
        WeightedSum((first, second), jnp.ones(3)).check(None)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="at least one"):
        Product(())


@pytest.mark.parametrize(
    ("progress", "switched", "blended"),
    [
        (0.0, [1, 0, 0], [1, 0, 0]),
        (0.25, [1, 0, 0], [0.5, 0.5, 0]),
        (0.4, [0, 1, 0], [0.2, 0.8, 0]),
        (0.75, [0, 0, 1], [0, 0.5, 0.5]),
        (1.0, [0, 0, 1], [0, 0, 1]),
        (7.0, [0, 0, 1], [0, 0, 1]),
    ],
)
def test_a_curriculum_follows_the_progress(
    swarm: Any, progress: float, switched: list[float], blended: list[float]
) -> None:
    before, after = swarm([[0, 0]]), swarm([[1, 0]])
    stages = tuple(reach(90, 10.0**k) for k in range(3))
    for blend, weights in ((False, switched), (True, blended)):
        task = KillSwitch(Curriculum(stages, blend=blend), reach(0))
        reward, _ = paid(with_progress(task, progress), before, after)
        np.testing.assert_allclose(reward, np.dot(weights, [1, 10, 100]), rtol=1e-4)


def test_progress_reaches_nested_curricula_and_idle_stages_end_nothing(swarm: Any) -> None:
    inner = Curriculum((reach(90), reach(1)), starts=(0.0, 0.9))
    task = with_progress(Curriculum((inner, reach(90)), starts=(0.0, 0.99)), 0.95)
    assert float(task.progress) == pytest.approx(0.95)  # type: ignore[attr-defined]
    before, after = swarm([[5, 0]]), swarm([[1, 0]])
    assert paid(task, before, after)[1].tolist() == [True]
    assert paid(with_progress(task, 0.5), before, after)[1].tolist() == [False]
    for starts in ((0.0,), (0.1, 0.5), (0.0, 0.0), (0.0, 1.5)):
        with pytest.raises(ConfigError, match="rising from 0"):
            Curriculum((reach(1), reach(2)), starts=starts)


def test_a_kill_switch_ends_the_episode_for_all_present(swarm: Any) -> None:
    before, after = swarm([[0, 0], [5, 0], [9, 0]]), swarm([[0, 0], [5, 0], [9.5, 0]])
    task = KillSwitch(reach(60), reach(10))
    reward, done = paid(task, before, after)
    np.testing.assert_allclose(reward, [0, 0, 0.5], atol=1e-5)
    assert done.all()
    lost = replace(after, present=jnp.asarray([True, False, True]))
    assert paid(task, before, lost)[1].tolist() == [True, False, True]
    gone = replace(after, present=jnp.asarray([True, True, False]))
    assert not paid(task, before, gone)[1].any()


def test_a_team_shares_the_mean_of_those_present(swarm: Any) -> None:
    before, after = swarm([[0, 0], [5, 0], [9, 0]]), swarm([[1, 0], [8, 0], [9, 0]])
    lost = replace(after, present=jnp.asarray([True, True, False]))
    np.testing.assert_allclose(paid(TeamMean(reach(50)), before, lost)[0], [2, 2, 0], atol=1e-5)


def test_difference_of_a_sum_of_own_rewards_is_the_own_reward(swarm: Any) -> None:
    rng = np.random.default_rng(0)
    before, after = swarm(rng.uniform(0, 50, (5, 2))), swarm(rng.uniform(0, 50, (5, 2)))
    own, _ = paid(reach(60), before, after)
    np.testing.assert_allclose(paid(Difference(reach(60)), before, after)[0], own, atol=1e-4)
    mean = paid(Difference(reach(60), "mean"), before, after)[0]
    rest = [np.delete(own, i).mean() for i in range(5)]
    np.testing.assert_allclose(mean, own.mean() - rest, atol=1e-4)


def test_difference_counts_what_a_colloid_adds_to_the_others(swarm: Any) -> None:
    """G = Σ_ij f(d_ij) over ordered pairs counts every pair twice, so that D_i is twice the change
    of i's own sum: the memories of the worlds without i must be those of that world.
    """
    rng = np.random.default_rng(1)
    states = [swarm(rng.uniform(0, 30, (4, 2))) for _ in range(4)]
    task = Difference(SpeciesSearch(jnp.asarray(5.0), jnp.asarray(1.0)))
    memory = task.init(states[0], SPACE)
    for before, after in itertools.pairwise(states):
        reward, _, memory = task.evaluate(after, memory, SPACE)
        own, _ = paid(task.part, before, after)
        np.testing.assert_allclose(reward, 2 * own, atol=1e-5)


def test_only_the_colloid_that_covers_a_target_gets_its_difference(swarm: Any) -> None:
    """Two targets, one colloid on each of them in the end and an idle third."""
    targets = jnp.asarray([[0.0, 0.0], [40.0, 0.0]])
    task = Difference(Shape(targets, jnp.asarray(2.0), jnp.asarray(3.0)), "mean")
    before = swarm([[0, 10], [40, 10], [20, 80]])
    after = swarm([[0, 0], [40, 5], [20, 81]])
    near = [2 / (2 + d) for d in (0.0, 5.0, 10.0)]
    reward, _ = paid(task, before, after)
    assert reward[2] == pytest.approx(0, abs=1e-5)
    # Without the first, the second one is the nearest to its target.
    second = [2 / (2 + math.hypot(40, y)) for y in (10.0, 5.0)]
    wanted = 3 * 0.5 * ((near[0] - near[2]) - (second[1] - second[0]))
    assert reward[0] == pytest.approx(wanted, rel=1e-4)


def test_a_newcomer_starts_afresh_in_every_world_of_a_difference(swarm: Any) -> None:
    """renew_rows replaces its rows, so that what it is paid does not depend on who was there."""
    task = Difference(GatherAt(*(jnp.asarray(v) for v in ([50.0, 50.0], 1.0, 1.0, 0.0))))
    start, other = swarm([[0, 0], [9, 9], [40, 0]]), swarm([[0, 0], [70, 9], [40, 0]])
    now, then = swarm([[1, 0], [20, 20], [41, 0]]), swarm([[2, 0], [22, 22], [42, 0]])
    renewed = jnp.asarray([False, True, False])
    rewards = []
    for state in (start, other):
        memory = renew_rows(task.init(state, SPACE), task.init(now, SPACE), renewed)
        _, _, memory = task.evaluate(now, memory, SPACE)
        rewards.append(task.evaluate(then, memory, SPACE)[0])
    np.testing.assert_array_equal(rewards[0], rewards[1])


WORLD = World(
    Box((60.0, 60.0)),
    species=(Species(count=3, speed_max=2.0), Species(name="other", count=2, speed_max=3.0)),
    time_step=5e-4,
    bodies=(Body(shape=Rod(length=20.0, diameter=4.0)),),
)


def test_all_tasks_hold_the_contracts() -> None:
    one, length = jnp.asarray(1.0), jnp.asarray(5.0)
    targets = jnp.asarray([[10.0, 20.0], [30.0, 5.0]])
    parts = (
        reach(10.0),
        SwirlOrder(one),
        SwirlOrder(one, "cw", True),
        Cohesion(length, one),
        GatherAt(targets[0], length, one, one),
        Shape(targets, length, one),
        *(SpeciesSearch(length, one, 1, mode) for mode in ("approach", "absolute", "avoid")),
        Pursuit(length, one, one, one),
        RotateBody(one),
        RotateBody(one, one, credit="own", window=3),
        transport(WORLD, (10.0, 20.0), 1.0, 3.0, 1.0, 1.0, credit="own"),
        KillSwitch(reach(10.0), reach(10.0)),
        Difference(Cohesion(length, one)),
        Curriculum((reach(10.0), TeamMean(Cohesion(length, one))), blend=True),
        Product((reach(10.0), Cohesion(length, one, change=False))),
    )
    task = WeightedSum(parts, jnp.ones(len(parts)))
    report = check_task(task, WORLD)
    assert report.ok, str(report)
    task.check(JaxEngine(WORLD, 0.1).spec)


def test_parts_are_checked_against_the_engine_through_every_combination() -> None:
    spec = JaxEngine(World(), 0.1).spec
    wrong = SpeciesSearch(1.0, 1.0, 3)
    for task in (
        WeightedSum((wrong,), jnp.ones(1)),
        Product((wrong,)),
        Curriculum((wrong,)),
        KillSwitch(reach(1.0), wrong),
        KillSwitch(wrong, reach(1.0)),
        TeamMean(wrong),
        Difference(wrong),
    ):
        with pytest.raises(ConfigError, match=r"species 3, which is not there; .* 0 'colloid'"):
            task.check(spec)
