"""The agent from a record gives the commands of the record again."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from swarmctl.agents.options import make_agent
from swarmctl.core.errors import CapabilityError, ConfigError, RecordError
from swarmctl.records.trajectory import (
    TrajectorySpec,
    TrajectoryWriter,
    channels_like,
    read_trajectory,
)
from swarmctl.training.evaluate import find_agent, record_episode
from swarmctl.training.experiment import load_experiment
from swarmctl.training.record import write_rollout

FRAMES, N = 4, 2


@pytest.fixture
def record(tmp_path: Path) -> tuple[Path, dict[str, np.ndarray]]:
    """Two episodes of four frames; the first frame of each has no command."""
    rng = np.random.default_rng(5)
    size = (2, FRAMES, N)
    done = {
        "speed": rng.uniform(0, 2, size).astype("f4"),
        "turn_rate": rng.uniform(-1, 1, size).astype("f4"),
    }
    spec = TrajectorySpec(
        N,
        (100.0, 100.0),
        (False, False),
        commands=channels_like({k: v[0, 0] for k, v in done.items()}),
    )
    nothing = {name: np.full(N, np.nan, "f4") for name in done}
    with TrajectoryWriter(tmp_path, spec) as writer:
        for episode in range(2):
            for t in range(FRAMES):
                given = {k: v[episode, t] for k, v in done.items()} if t else nothing
                writer.write(
                    {
                        "time": 0.1 * t,
                        "step": t,
                        "episode": episode,
                        "position": np.zeros((N, 2)),
                        "applied": given,
                        "requested": {k: 2 * v for k, v in given.items()},
                    }
                )
    return tmp_path, done


def replay(agent: Any, inputs: Any, step: int) -> Any:
    state = dataclasses.replace(inputs.state, step=jnp.asarray(step, jnp.int32))
    return agent.act(dataclasses.replace(inputs, state=state), (), None)[0]


def test_commands_come_again_in_order(
    record: Any, controller_spec: Any, controller_inputs: Any
) -> None:
    path, done = record
    inputs = controller_inputs(np.zeros((N, 2)), np.zeros(N))
    for episode, source, factor in ((0, "applied", 1), (1, "requested", 2)):
        agent = make_agent(
            "recorded", controller_spec(N), path=str(path), episode=episode, source=source
        )
        for step in range(FRAMES - 1):
            command = replay(agent, inputs, step)
            assert command.speed == pytest.approx(factor * done["speed"][episode, step + 1])
            assert command.turn_rate == pytest.approx(factor * done["turn_rate"][episode, step + 1])
        assert replay(agent, inputs, FRAMES - 1).speed.tolist() == [0, 0], "the record is over"
    again = make_agent("recorded", controller_spec(N), path=str(path), loop=True)
    assert replay(again, inputs, FRAMES - 1).speed == pytest.approx(done["speed"][0, 1])


def test_what_does_not_fit_is_refused(record: Any, controller_spec: Any, tmp_path: Path) -> None:
    path, _ = record
    with pytest.raises(CapabilityError, match=r"recorded as \(2,\).*takes \(3,\)"):
        make_agent("recorded", controller_spec(3), path=str(path))
    with pytest.raises(CapabilityError, match="recorded commands turn_rate"):
        make_agent(
            "recorded", controller_spec(N, capabilities=frozenset({"speed"})), path=str(path)
        )
    with pytest.raises(ConfigError, match="no episode 7; it has 0, 1"):
        make_agent("recorded", controller_spec(N), path=str(path), episode=7)
    with pytest.raises(ConfigError, match="which record"):
        make_agent("recorded", controller_spec(N))
    with pytest.raises(RecordError):
        make_agent("recorded", controller_spec(N), path=str(tmp_path / "none"))


@pytest.mark.parametrize("name", ["ReachGoalField-v0", "ReachGoal-v0"])
def test_a_recorded_episode_is_played_again(name: str, tmp_path: Path) -> None:
    """Through the file: a field, or headings of those that have one, give the same motion for the
    same noise.
    """
    keys = (f"scenario.horizon={FRAMES}", "training.updates=1")
    experiment = load_experiment(name, keys)
    env = experiment.env()
    first = record_episode(env, find_agent("random", env), seed=3)
    path = write_rollout(tmp_path / "episode.h5md", experiment, env, first, {})
    again = record_episode(env, make_agent("recorded", env.spec, path=str(path)), seed=3)
    for states in (first.states, again.states):
        assert np.ptp(np.asarray(states.position), axis=0).max() > 0.1
    np.testing.assert_allclose(again.states.position, first.states.position, atol=1e-4)
    channels = read_trajectory(path).applied
    wanted = {"ReachGoalField-v0": "field.axis", "ReachGoal-v0": "has_heading"}[name]
    assert wanted in channels
