"""The Gymnasium view on an engine like a microscope: colloids vanish and come back, and it may
fail.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from swarmctl.core.command import Command, check_command
from swarmctl.core.contracts import Engine, Status, Transition
from swarmctl.core.errors import CapabilityError, ConfigError, SwarmctlError
from swarmctl.core.spec import EngineSpec
from swarmctl.core.state import SwarmState
from swarmctl.envs.gym_env import SwarmGymEnv
from swarmctl.envs.make import make_scenario

N, BOX, INTERVAL, F = 3, 250.0, 0.2, 12
SPEC = EngineSpec(
    name="fake microscope",
    capacity=N,
    dimension=2,
    dtype="float32",
    species=("colloid",),
    species_of_slot=(0,) * N,
    radius=(2.14,),
    speed_min=(0.0,),
    speed_max=(2.0,),
    turn_rate_max=(np.pi,),
    box=(BOX, BOX),
    periodic=(True, True),
    control_interval=INTERVAL,
    capabilities=frozenset({"speed", "turn_rate"}),
)


class FakeMicroscope(Engine):
    """Colloids on a script. Slot 0 is lost in `lost` and another colloid is found there in
    `found`; `fault` ends it.
    """

    def __init__(
        self, spec: EngineSpec = SPEC, lost: int = 3, found: int = 5, fault: int | None = None
    ) -> None:
        self.spec, self.lost, self.found, self.fault = spec, lost, found, fault
        self.commands: list[Command] = []
        self.closed = 0
        self.count = 0

    def reset(self, seed: int) -> SwarmState:
        self.count = 0
        return self._state()

    def step(self, command: Command) -> Transition:
        check_command(command, self.spec)
        self.commands.append(command)
        self.count += 1
        fault = "the laser went out" if self.count == self.fault else None
        return Transition(self._state(), command, Status(info={"late": 0.01}, fault=fault))

    def stop(self, reason: str) -> None:
        self.count = 0

    def close(self) -> None:
        self.closed += 1

    def _state(self) -> SwarmState:
        t, n = self.count, self.spec.capacity
        here = not self.lost <= t < self.found
        position = np.full((n, 2), BOX / 2, np.float32)
        position[:, 0] += 60 - 5.0 * t + 3 * np.arange(n)
        velocity = np.tile(np.asarray([-2.0, 0.0], np.float32), (n, 1))
        if not here:
            position[0], velocity[0] = np.nan, np.nan
        present = np.arange(n) > 0 if not here else np.ones(n, bool)
        identity = np.arange(n) + (n if t >= self.found else 0) * (np.arange(n) == 0)
        return SwarmState(
            position=jnp.asarray(position),
            image=jnp.zeros((n, 2), jnp.int32),
            director=jnp.tile(jnp.asarray([-1.0, 0.0]), (n, 1)),
            velocity=jnp.asarray(velocity),
            angular_velocity=jnp.zeros(n),
            species=jnp.zeros(n, jnp.int32),
            identity=jnp.asarray(identity, jnp.int32),
            present=jnp.asarray(present),
            oriented=jnp.asarray(present),
            controllable=jnp.asarray(present),
            bodies=None,
            step=jnp.asarray(t, jnp.int32),
            time=jnp.asarray(t * INTERVAL),
            interval=jnp.asarray(INTERVAL),
        )


def drive(engine: Engine, steps: int, **options: Any) -> tuple[SwarmGymEnv, list[Any]]:
    env = SwarmGymEnv(make_scenario("Chemotaxis-v0", colloids=N, **options), engine)
    results: list[Any] = [env.reset(seed=0)]
    results += [env.step(np.ones(N, int)) for _ in range(steps)]
    return env, results


def test_a_lost_colloid_sees_and_earns_nothing_and_the_others_go_on() -> None:
    engine = FakeMicroscope()
    _, results = drive(engine, 4)
    for t in (3, 4):
        observation, reward, terminated, truncated, info = results[t]
        assert np.all(observation.reshape(N, F)[0] == 0)
        assert np.isfinite(observation).all()
        assert info["agent_reward"][0] == 0
        assert np.all(info["agent_reward"][1:] > 0)
        assert not terminated
        assert not truncated
        # In step 3 it still acted; from step 4 on it is out, and the mean is over those that are
        # in.
        assert info["active"].tolist() == [t == 3, True, True]
        counted = 3 if t == 3 else 2
        assert reward == pytest.approx(info["agent_reward"].sum() / counted, rel=1e-5)


def test_a_found_colloid_is_a_newcomer_with_fresh_memory() -> None:
    """It earns nothing in the step in which it appears, remembers nothing, and takes part from
    the next on.
    """
    _, results = drive(FakeMicroscope(), 6)
    appeared, next_one = results[5], results[6]
    row = appeared[0].reshape(N, F)[0]
    assert row[0] == 0, "no change of the field is known yet"
    assert np.all(row[3:] == 0), "the history of the colloid that was there is forgotten"
    assert row[1] == pytest.approx(1.0), "its own motion is seen"
    assert appeared[4]["agent_reward"][0] == 0
    assert not appeared[4]["active"][0]
    assert next_one[4]["active"].all()
    assert next_one[4]["agent_reward"][0] > 0
    others = next_one[0].reshape(N, F)[1]
    assert np.all(others[[0, 3, 6, 9]] > 0), "the others kept their history"


def test_reward_and_observation_are_those_of_the_positions_that_the_engine_returned() -> None:
    _, results = drive(FakeMicroscope(lost=99, found=99), 2)
    distance = 60 - 5.0 * np.arange(3)[:, None] + 3 * np.arange(N)
    value = 50 / (50 + distance)
    for t in (1, 2):
        change = value[t] - value[t - 1]
        np.testing.assert_allclose(results[t][4]["agent_reward"], 10 * change, rtol=1e-4)
        seen = results[t][0].reshape(N, F)[:, 0]
        np.testing.assert_allclose(seen, 50 / (2 * INTERVAL) * change, rtol=1e-3)


def test_a_fault_truncates_and_says_why() -> None:
    env, results = drive(FakeMicroscope(fault=2), 2)
    assert [r[3] for r in results[1:]] == [False, True]
    assert "fault" not in results[1][4]
    assert results[2][4]["fault"] == "the laser went out"
    assert not results[2][2], "a fault is no termination"
    with pytest.raises(SwarmctlError, match="reset"):
        env.step(np.ones(N, int))
    env.reset()
    env.step(np.ones(N, int))


def test_information_of_the_engine_is_handed_on_and_commands_arrive_in_lab_units() -> None:
    engine = FakeMicroscope()
    env, results = drive(engine, 1)
    assert results[1][4]["late"] == 0.01
    env.step(np.asarray([0, 1, 2]))
    command = engine.commands[-1]
    assert command.channels == {"speed", "turn_rate"}
    np.testing.assert_allclose(command.speed, [0, 2, 0])
    np.testing.assert_allclose(command.turn_rate, [np.pi, 0, -np.pi], rtol=1e-6)
    env.close()
    env.close()
    assert engine.closed >= 1


def test_an_episode_on_any_engine_is_truncated_at_the_horizon() -> None:
    _, results = drive(FakeMicroscope(lost=99, found=99), 4, horizon=4)
    assert [r[3] for r in results[1:]] == [False, False, False, True]
    assert not any(r[2] for r in results[1:])


@pytest.mark.parametrize(
    ("changes", "error", "says"),
    [
        ({"capabilities": frozenset({"speed"})}, CapabilityError, "turn_rate"),
        ({"capacity": 4, "species_of_slot": (0,) * 4}, CapabilityError, "capacity 3.*has 4"),
        (
            {"dimension": 3, "box": (9.0,) * 3, "periodic": (True,) * 3},
            CapabilityError,
            "dimension",
        ),
        ({"control_interval": 0.5}, ConfigError, "every 0.2 s.*every 0.5 s"),
    ],
)
def test_an_engine_that_does_not_fit_is_refused_before_the_first_step(
    changes: dict[str, Any], error: type[Exception], says: str
) -> None:
    engine = FakeMicroscope(dataclasses.replace(SPEC, **changes))
    with pytest.raises(error, match=f"(?s){says}"):
        SwarmGymEnv(make_scenario("Chemotaxis-v0", colloids=N), engine)
    assert engine.commands == []
