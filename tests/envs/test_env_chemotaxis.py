"""Chemotaxis: what is seen and paid, against formulas worked out in numpy."""

from __future__ import annotations

from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import swarmctl.envs
from swarmctl.core import registry
from swarmctl.core.errors import ConfigError, UnitError, UnknownNameError
from swarmctl.core.state import Space, SwarmState
from swarmctl.envs.make import make_scenario

BOX, LENGTH, SPEED, TURN, INTERVAL = 250.0, 50.0, 2.0, np.pi, 0.2
SPACE = Space(jnp.asarray([BOX, BOX]), (True, True))


def swarm_at(position: Any, director: Any, velocity: Any, turn: Any, identity: Any = None) -> Any:
    n = len(position)
    every = jnp.ones(n, bool)
    return SwarmState(
        position=jnp.asarray(position, jnp.float32),
        image=jnp.zeros((n, 2), jnp.int32),
        director=jnp.asarray(director, jnp.float32),
        velocity=jnp.asarray(velocity, jnp.float32),
        angular_velocity=jnp.asarray(turn, jnp.float32),
        species=jnp.zeros(n, jnp.int32),
        identity=jnp.arange(n, dtype=jnp.int32) if identity is None else jnp.asarray(identity),
        present=every,
        oriented=every,
        controllable=every,
        bodies=None,
        step=jnp.asarray(0, jnp.int32),
        time=jnp.asarray(0.0),
        interval=jnp.asarray(INTERVAL),
    )


def walk(seed: int, steps: int, count: int = 3) -> list[Any]:
    """Swarms that jump about at random, across the faces too."""
    rng = np.random.default_rng(seed)
    swarms = []
    for _ in range(steps):
        angle = rng.uniform(-np.pi, np.pi, count)
        swarms.append(
            swarm_at(
                rng.uniform(0, BOX, (count, 2)),
                np.stack([np.cos(angle), np.sin(angle)], -1),
                rng.normal(size=(count, 2)),
                rng.normal(size=count),
            )
        )
    return swarms


def concentration(position: np.ndarray) -> np.ndarray:
    """λ/(λ + d), d the shortest distance from the middle over the nine nearest copies of the
    box.
    """
    copies = [np.asarray([i, j]) * BOX for i in (-1, 0, 1) for j in (-1, 0, 1)]
    distance = np.min([np.linalg.norm(position - BOX / 2 + c, axis=-1) for c in copies], axis=0)
    return LENGTH / (LENGTH + distance)


def test_observation_is_the_change_of_concentration_and_the_own_motion_newest_first() -> None:
    scenario, swarms = make_scenario("Chemotaxis-v0", colloids=3), walk(0, 6)
    observable = scenario.observable
    memory = observable.init(swarms[0], SPACE)
    rows, before = [], concentration(np.asarray(swarms[0].position))
    for swarm in swarms:
        seen, memory = observable.observe(swarm, memory, SPACE)
        now = concentration(np.asarray(swarm.position))
        forward = (np.asarray(swarm.velocity) * np.asarray(swarm.director)).sum(-1) / SPEED
        change = LENGTH / (SPEED * INTERVAL) * (now - before)
        rows.insert(0, np.stack([change, forward, np.asarray(swarm.angular_velocity) / TURN], -1))
        before = now
        wanted = np.concatenate([*rows[:4], *[np.zeros((3, 3))] * (4 - len(rows[:4]))], axis=-1)
        np.testing.assert_allclose(seen, wanted, rtol=2e-4, atol=2e-4)
    names = scenario.observable.names(None)  # type: ignore[arg-type]
    assert names[:4] == ("field change", "forward speed", "turn rate", "field change -1")


def test_distance_takes_the_shorter_way_across_a_periodic_face() -> None:
    """A source at the corner is 3 µm from the opposite corner, diagonally 3√2."""
    space = Space(jnp.asarray([100.0, 100.0]), (True, True))
    source = jnp.asarray([1.0, 1.0])
    assert float(space.distance(source, jnp.asarray([98.0, 1.0]))) == pytest.approx(3.0)
    assert float(space.distance(source, jnp.asarray([98.0, 98.0]))) == pytest.approx(3 * 2**0.5)
    walled = Space(jnp.asarray([100.0, 100.0]), (True, False))
    across = float(walled.distance(source, jnp.asarray([98.0, 98.0])))
    assert across == pytest.approx((3**2 + 97**2) ** 0.5)


def test_the_measured_distance_and_the_picture_agree_with_what_is_paid() -> None:
    scenario = make_scenario("Chemotaxis-v0")
    swarm = walk(1, 1, count=50)[0]
    position = np.asarray(swarm.position)
    value = scenario.task.field.value(swarm.position, SPACE)  # type: ignore[attr-defined]
    np.testing.assert_allclose(concentration(position), value, rtol=1e-5)
    distance = np.asarray(scenario.measure(swarm, SPACE))
    np.testing.assert_allclose(LENGTH / (LENGTH + distance), value, rtol=1e-5)
    assert scenario.picture.field is not None
    np.testing.assert_allclose(scenario.picture.field(position), value, rtol=1e-5)


@pytest.mark.parametrize("rectified", [False, True])
def test_reward_is_the_scaled_change_of_concentration(rectified: bool) -> None:
    task = make_scenario("Chemotaxis-v0", rectified=rectified, reward_scale=7.0).task
    swarms = walk(2, 5)
    memory = task.init(swarms[0], SPACE)
    values = [concentration(np.asarray(s.position)) for s in swarms]
    for t, swarm in enumerate(swarms[1:]):
        reward, terminated, memory = task.evaluate(swarm, memory, SPACE)
        wanted = 7.0 * (values[t + 1] - values[t])
        wanted = np.maximum(wanted, 0) if rectified else wanted
        np.testing.assert_allclose(reward, wanted, rtol=1e-4, atol=1e-5)
        assert not terminated.any()


def test_to_and_fro_pays_only_if_the_reward_is_rectified() -> None:
    """The unrectified sum telescopes to the climb, 0 for a round trip; the rectified one grows
    with every trip.
    """
    trips, near, far = 20, [[BOX / 2 + 10, BOX / 2]], [[BOX / 2 + 12, BOX / 2]]
    total = {}
    for rectified in (False, True):
        task = make_scenario("Chemotaxis-v0", colloids=1, rectified=rectified).task
        swarms = [swarm_at(p, [[1, 0]], [[0, 0]], [0]) for p in [far, near] * trips + [far]]
        memory, total[rectified] = task.init(swarms[0], SPACE), 0.0
        for swarm in swarms[1:]:
            reward, _, memory = task.evaluate(swarm, memory, SPACE)
            total[rectified] += float(reward[0])
    gain = 10.0 * (LENGTH / (LENGTH + 10) - LENGTH / (LENGTH + 12))
    assert total[False] == pytest.approx(0, abs=1e-5)
    assert total[True] == pytest.approx(trips * gain, rel=1e-4)


@pytest.mark.parametrize("name", registry.scenarios.names())
def test_every_scenario_is_registered_with_gymnasium_single_and_vector(name: str) -> None:
    spec = gymnasium.spec(f"swarmctl/{name}")
    assert spec.kwargs == {"scenario": name}
    assert spec.vector_entry_point is not None
    assert name.rpartition("-v")[2].isdigit()
    swarmctl.envs.register_with_gymnasium()


def test_options_take_units_through_gymnasium_make() -> None:
    env = gymnasium.make(
        "swarmctl/Chemotaxis-v0",
        colloids=2,
        radius="1500 nm",
        time_step="2 ms",
        control_interval="100 ms",
    )
    species = env.unwrapped.scenario.world.species[0]  # type: ignore[attr-defined]
    assert (species.radius, species.count) == (1.5, 2)
    assert env.unwrapped.scenario.control_interval == 0.1  # type: ignore[attr-defined]
    assert env.observation_space.shape == (2 * 12,)
    batch = gymnasium.make_vec(
        "swarmctl/Chemotaxis-v0", num_envs=3, colloids=2, speed="0.003 mm/s", time_step=0.002
    )
    assert batch.observation_space.shape == (3, 2 * 12)
    limits = batch.unwrapped.env.spec.engine.speed_max  # type: ignore[attr-defined]
    assert limits == pytest.approx((3.0,))


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"radius": "2 s"}, UnitError, "radius"),
        ({"radios": 2.0}, UnknownNameError, "Did you mean 'radius'"),
        ({"box": (100.0, 100.0, 100.0)}, ConfigError, "plane"),
        ({"horizon": 0}, ConfigError, "horizon"),
        ({"control_interval": 0.0123}, ConfigError, "whole number"),
    ],
)
def test_bad_options_are_refused_with_what_is_wrong(
    options: dict[str, Any], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        gymnasium.make("swarmctl/Chemotaxis-v0", **options)


def test_renewed_history_starts_with_zeros() -> None:
    """renew_rows gives a newcomer the memory of a fresh episode; the others keep theirs."""
    from swarmctl.core.state import renew_rows

    observable, swarms = make_scenario("Chemotaxis-v0", colloids=3).observable, walk(3, 3)
    memory = observable.init(swarms[0], SPACE)
    for swarm in swarms[:2]:
        _, memory = observable.observe(swarm, memory, SPACE)
    fresh = observable.init(swarms[2], SPACE)
    renewed = renew_rows(memory, fresh, jnp.asarray([True, False, False]))
    kept, _ = observable.observe(swarms[2], memory, SPACE)
    seen, _ = observable.observe(swarms[2], renewed, SPACE)
    assert np.all(np.asarray(seen[0, 3:]) == 0)
    assert float(seen[0, 0]) == 0
    np.testing.assert_array_equal(seen[1:], kept[1:])
    assert np.any(np.asarray(kept[0, 3:]) != 0)
    assert jax.tree.structure(renewed) == jax.tree.structure(memory)
