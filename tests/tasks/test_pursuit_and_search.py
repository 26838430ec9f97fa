"""Searching, hunting and escaping: who is paid what, worked out by hand."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from swarmctl.core.errors import ConfigError
from swarmctl.core.state import Space, replace
from swarmctl.core.world import Species, World
from swarmctl.engines.jax_engine import JaxEngine
from swarmctl.observe.captures import FreeOnly
from swarmctl.observe.neighbours import Neighbours
from swarmctl.tasks.search import Pursuit, SpeciesSearch

SPACE = Space(jnp.asarray([100.0, 100.0]), (False, False))
ONE = jnp.asarray(1.0)


@pytest.mark.parametrize(
    ("mode", "wanted"),
    [
        ("change", [0.5 - 0.25, 1 / 3 - 0.5]),
        ("approach", [0.25, 0.0]),
        ("avoid", [-0.25, 0.0]),
        ("absolute", [0.5, 1 / 3]),
    ],
)
def test_modes_of_searching(swarm: Any, mode: Any, wanted: list[float]) -> None:
    """The first comes from 6 to 2 µm of the source, the second goes from 2 to 4 µm of it."""
    kinds = {"species": jnp.asarray([0, 0, 1])}
    before = swarm([[6, 0], [0, 2], [0, 0]], **kinds)
    after = swarm([[2, 0], [0, 4], [0, 0]], **kinds)
    task = SpeciesSearch(jnp.asarray(2.0), ONE, 1, mode)
    reward, terminated, _ = task.evaluate(after, task.init(before, SPACE), SPACE)
    np.testing.assert_allclose(reward[:2], wanted, atol=1e-6)
    assert float(reward[2]) == 0  # the source does not count for itself
    assert not terminated.any()


def test_who_comes_or_goes_makes_no_difference_to_the_change(swarm: Any) -> None:
    task = SpeciesSearch(jnp.asarray(2.0), ONE)
    before, after = swarm([[6, 0], [0, 0], [7, 7]]), swarm([[2, 0], [0, 0], [7, 7]])
    lost = replace(after, present=jnp.asarray([True, True, False]))
    reward, _, memory = task.evaluate(lost, task.init(before, SPACE), SPACE)
    np.testing.assert_allclose(reward, [0.25, 0.25, 0], atol=1e-6)
    back, _, _ = task.evaluate(after, memory, SPACE)
    np.testing.assert_allclose(back, 0, atol=1e-6)


def hunt() -> Pursuit:
    return Pursuit(*(jnp.asarray(v) for v in (3.0, 0.1, 10.0, 0.5)))


KINDS = {"species": jnp.asarray([0, 0, 1, 1])}


def test_a_capture_is_shared_and_ends_the_prey(swarm: Any) -> None:
    """Both predators hold the first prey; the second goes on until it is caught, too."""
    task = hunt()
    start = swarm([[0, 0], [10, 0], [5, 0], [40, 0]], **KINDS)
    held = swarm([[3, 0], [7, 0], [5, 0], [41, 0]], **KINDS)
    memory = task.init(start, SPACE)
    reward, done, memory = task.evaluate(held, memory, SPACE)
    # The prey that was nearest before is 5 µm away and then 2; the other prey flees from 30 to 34.
    wanted = [0.3 + 5, 0.3 + 5, -0.3 - 10, 0.5 + 0.1 * 4]
    np.testing.assert_allclose(reward, wanted, atol=1e-5)
    assert done.tolist() == [False, False, True, False]
    # Caught prey neither draws predators nor earns; the other one is hunted now.
    chased = swarm([[3, 0], [37, 0], [5, 0], [41, 0]], **KINDS)
    reward, done, memory = task.evaluate(chased, memory, SPACE)
    np.testing.assert_allclose(reward, [0, 3.0, 0, 0.5 - 3.0], atol=1e-5)
    assert done.tolist() == [False, False, True, False]
    caught = swarm([[3, 0], [39, 0], [5, 0], [41, 0]], **KINDS)
    reward, done, _ = task.evaluate(caught, memory, SPACE)
    np.testing.assert_allclose(reward, [0, 0.2 + 10, 0, -0.2 - 10], atol=1e-5)
    assert done.all()


def test_caught_prey_is_no_longer_seen(swarm: Any) -> None:
    observable = FreeOnly(Neighbours(jnp.asarray(50.0), 1, species=1), jnp.asarray(3.0))
    start = swarm([[0, 0], [10, 0], [5, 0], [40, 0]], **KINDS)
    held = swarm([[3, 0], [7, 0], [5, 0], [41, 0]], **KINDS)
    apart = swarm([[3, 0], [7, 0], [15, 0], [41, 0]], **KINDS)
    memory = observable.init(start, SPACE)
    seen, memory = observable.observe(start, memory, SPACE)
    np.testing.assert_allclose(seen[:2, 0] * 50, [5, -5], atol=1e-5)
    for state in (held, apart):
        seen, memory = observable.observe(state, memory, SPACE)
        np.testing.assert_allclose(seen[:2, 0] * 50, [38, 34], atol=1e-4)
        assert not seen[2].any()


def test_hunts_that_cannot_be_won_are_refused() -> None:
    species = (Species("fox", 2, 2.0), Species("hare", 2, 2.0))
    spec = JaxEngine(World(species=species), 0.1).spec
    hunt_far = Pursuit(jnp.asarray(4.0), ONE, ONE, ONE)
    hunt_far.check(spec)
    with pytest.raises(ConfigError, match="3 µm is below 4 µm"):
        hunt().check(spec)
    with pytest.raises(ConfigError, match="take two species"):
        Pursuit(jnp.asarray(4.0), ONE, ONE, ONE, 1, 1).check(spec)
    with pytest.raises(ConfigError, match="species 2"):
        Pursuit(jnp.asarray(4.0), ONE, ONE, ONE, 0, 2).check(spec)
