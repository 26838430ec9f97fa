"""Swarms in worker processes: the episodes of single environments, and what if a worker dies."""

from __future__ import annotations

import os
import signal

import numpy as np
import pytest

import swarmctl
from swarmctl.core.errors import ConfigError, UnknownNameError, WorkerDiedError
from swarmctl.engines import espresso_build

OPTIONS = {"colloids": 2, "horizon": 3}


@pytest.fixture(scope="module")
def workers():
    env = swarmctl.make_workers("Chemotaxis-v0", 2, "jax", **OPTIONS)
    yield env
    if not env.closed:
        env.close()


def test_workers_give_the_episodes_of_single_environments(workers):
    observation, _ = workers.reset(seed=7)
    single = swarmctl.make("Chemotaxis-v0", **OPTIONS)
    for row in range(2):
        first, _ = single.reset(seed=7 + row)
        np.testing.assert_array_equal(observation[row], first)
    actions = np.zeros((2, 2), int)
    after, reward, terminated, truncated, info = workers.step(actions)
    wanted, pay, *_ = single.step(actions[1])
    np.testing.assert_array_equal(after[1], wanted)
    assert reward[1] == pytest.approx(pay)
    assert not terminated.any()
    assert not truncated.any()
    assert info["agent_reward"].shape == (2, 2)
    single.close()


def test_a_dead_worker_is_named_and_the_others_are_ended(workers):
    workers.reset(seed=0)
    os.kill(workers.processes[1].pid, signal.SIGKILL)
    workers.processes[1].join()
    with pytest.raises(WorkerDiedError, match=r"worker 1 \(exit code -9\)"):
        workers.step(np.zeros((2, 2), int))
    assert workers.closed
    assert not any(process.is_alive() for process in workers.processes)
    workers.close()  # may be called again


def test_wrong_arguments_are_told_before_any_process_starts():
    with pytest.raises(UnknownNameError, match="colloids"):
        swarmctl.make_workers("Chemotaxis-v0", 1, "jax", coloids=3)
    with pytest.raises(ConfigError, match="at least 1"):
        swarmctl.make_workers("Chemotaxis-v0", 0, "jax")
    made = swarmctl.make_scenario("Chemotaxis-v0")
    with pytest.raises(ConfigError, match="give its id"):
        swarmctl.make_workers(made, 1, "jax")


@pytest.mark.skipif(
    not espresso_build.is_installed(), reason="ESPResSo (espressomd) is not installed"
)
def test_every_worker_has_a_system_of_its_own():
    env = swarmctl.make_workers("Chemotaxis-v0", 2, **OPTIONS)
    actions = np.zeros((2, 2), int)
    env.reset(seed=3)
    first, *_ = env.step(actions)
    assert not np.array_equal(first[0], first[1])
    env.reset(seed=3)
    again, *_ = env.step(actions)
    np.testing.assert_array_equal(first, again)
    env.close()
