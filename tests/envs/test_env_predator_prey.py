"""PredatorPrey: who catches whom, and how an episode ends."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from swarmctl.agents.options import make_agent
from swarmctl.agents.team import Team
from swarmctl.core.errors import ConfigError
from swarmctl.envs.make import make_env, make_scenario
from swarmctl.training.evaluate import record_episode


def test_pursuit_catches_prey_that_does_not_flee_and_flight_saves_it() -> None:
    """24 s, nine prey. A capture costs more than all else, and predators get what prey pays."""
    worth = 100.0
    env = make_env("PredatorPrey-v0", horizon=120, capture=worth)
    pursue, random = (make_agent(name, env.spec) for name in ("pursue", "random"))
    caught = {}
    for name, prey in (("drifting", random), ("fleeing", pursue)):
        team = Team((pursue, prey), ("predator", "prey"))
        reward = record_episode(env, team, seed=1).reward
        caught[name] = (reward[:, 3:] < -0.5 * worth).sum()
        assert reward[:, :3].sum() / worth == pytest.approx(caught[name], abs=0.5)
    assert caught["drifting"] >= 5
    assert caught["fleeing"] <= caught["drifting"] - 3


def test_the_episode_ends_for_predators_with_the_last_prey() -> None:
    """Predators that start around one prey hold it at once."""
    env = make_env(
        "PredatorPrey-v0",
        colloids=3,
        predators=2,
        predator_start=8.0,
        prey_inner=8.0,
        prey_outer=14.0,
        capture_reach=5.0,
        control_interval=0.05,
    )
    params = env.params()
    _, state = env.reset(jax.random.key(0), params)
    step, rest = jax.jit(env.step), jnp.full(3, 3, jnp.int32)
    observation, state, _, terminated, _, _ = step(jax.random.key(1), state, rest, params)
    assert np.asarray(terminated).all()
    assert not np.asarray(state.episode.active).any()
    assert not np.asarray(observation[2]).any()


def test_predators_and_prey_have_their_own_speeds() -> None:
    scenario = make_scenario("PredatorPrey-v0", colloids=5, predators=2)
    command = scenario.actions.to_command(jnp.ones(5, jnp.int32), make_env(scenario).engine.spec)
    np.testing.assert_allclose(command.speed, [4, 4, 3, 3, 3])


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"predators": 12}, "at least one predator and one prey"),
        ({"capture_reach": 0.9}, "capture_reach must be at least 1"),
        ({"box": (9.0, 9.0, 9.0)}, "two box lengths"),
        ({"neighbours": 0}, "at least 1"),
    ],
)
def test_bad_options_are_refused(options: dict[str, object], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        make_scenario("PredatorPrey-v0", **options)
