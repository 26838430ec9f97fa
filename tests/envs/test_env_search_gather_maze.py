"""SpeciesSearch, Gather and Maze: who is paid for what, and bad options."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from swarmctl.agents.options import make_agent
from swarmctl.core.errors import CapabilityError, ConfigError
from swarmctl.envs.make import make_env, make_scenario
from swarmctl.training.evaluate import evaluate_agent


def test_seekers_are_paid_for_the_signal_and_beacons_never() -> None:
    """The reward is k times the change of Σ λ/(λ + d) over the beacons, and what is sensed, too."""
    env = make_env("SpeciesSearch-v0", colloids=4, beacons=2, temperature=300.0)
    scenario, params = env.scenario, env.params()
    _, state = env.reset(jax.random.key(3), params)
    before = env.swarm(state, params)
    move = jnp.asarray([[4.0, 1.0], [-3.0, 2.0], [0.0, 0.0], [0.0, 0.0]])
    after = dataclasses.replace(before, position=before.position + move)
    space = env.space(params)
    reward, _, _ = scenario.task.evaluate(after, scenario.task.init(before, space), space)
    place = [np.asarray(s.position) for s in (before, after)]
    away = [np.linalg.norm(p[:2, None] - p[None, 2:], axis=-1) for p in place]
    change = (50 / (50 + away[1]) - 50 / (50 + away[0])).sum(axis=1)
    np.testing.assert_allclose(reward, [*(10 * change), 0, 0], rtol=1e-3, atol=1e-5)
    memory = scenario.observable.observe(before, scenario.observable.init(before, space), space)[1]
    seen, _ = scenario.observable.observe(after, memory, space)
    np.testing.assert_allclose(seen[:2, 0], change * 50 / (2 * 0.2 * 2), rtol=1e-3)
    command = scenario.actions.to_command(jnp.ones(4, jnp.int32), env.engine.spec)
    np.testing.assert_allclose(command.speed, [2, 2, 0, 0])
    distance = np.asarray(scenario.measure(before, space))
    np.testing.assert_allclose(distance[:2], away[0].min(axis=1), rtol=1e-5)
    np.testing.assert_allclose(distance[2:], distance[:2].mean(), rtol=1e-5)


def test_following_the_goal_gathers_everyone_in_the_disc() -> None:
    env = make_env("Gather-v0", colloids=6, box=(60.0, 60.0), horizon=120)
    found = evaluate_agent(env, make_agent("follow-goal", env.spec), episodes=3, seed=0)
    assert found.final_measure.max() < 0.5
    # Everyone is paid for the approach, of at most 30√2 µm, and for the time inside.
    assert found.returns.min() > 0.05 * 60
    with pytest.raises(CapabilityError, match="goal forward"):
        make_agent("follow-goal", make_env("Chemotaxis-v0", colloids=2).spec)


def test_the_scent_of_a_maze_is_paid_as_it_grows() -> None:
    scenario = make_scenario("Maze-v0", colloids=2)
    assert scenario.world.box.size == (84.0, 84.0)
    assert scenario.picture.field is not None
    goal = scenario.picture.field(np.asarray([[78.0, 6.0], [78.0, 18.0]]))
    np.testing.assert_allclose(goal, [1, 50 / 62], rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("SpeciesSearch-v0", {"beacons": 12}, "at least one beacon and one seeker"),
        ("SpeciesSearch-v0", {"box": (9.0, 9.0, 9.0)}, "two box lengths"),
        ("Gather-v0", {"packing": 0.9}, "packing"),
        ("Gather-v0", {"box": (9.0, 9.0, 9.0)}, "two box lengths"),
        ("Maze-v0", {"goal": (42.0, 78.0)}, "not in a free cell"),
        ("Maze-v0", {"rows": (".#.",), "goal": (6.0, 6.0)}, "no way to the goal"),
    ],
)
def test_bad_options_are_refused(name: str, options: dict[str, object], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        make_scenario(name, **options)
