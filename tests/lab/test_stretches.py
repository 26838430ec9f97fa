"""Recordings are cut into what can be used, and commands are integrated exactly."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from swarmctl.lab.programme import Programme, integral_at, moments
from swarmctl.lab.stretches import cut
from swarmctl.records.trajectory import Trajectory

T, N = 60, 3


def recording(**changes: Any) -> Trajectory:
    """Three colloids 50 µm apart that diffuse for 60 frames of 0.1 s."""
    rng = np.random.default_rng(0)
    position = np.cumsum(rng.normal(size=(T, N, 2)), axis=0) * 0.01
    position += 50 * np.arange(N)[:, None]
    shape = (T, N)
    command = np.ones(shape)
    command[0] = np.nan
    made = Trajectory(
        frame=np.arange(T),
        time=0.1 * np.arange(T),
        step=np.arange(T),
        episode=np.zeros(T, np.int32),
        position=position,
        velocity=np.zeros_like(position),
        director=np.tile([1.0, 0.0], (*shape, 1)),
        identity=np.tile(np.arange(N), (T, 1)),
        species=np.zeros(shape, np.int32),
        present=np.ones(shape, bool),
        oriented=np.ones(shape, bool),
        controllable=np.ones(shape, bool),
        reward=np.zeros(shape),
        requested={},
        applied={"speed": command},
        observables={},
        size=np.array([200.0, 200.0]),
        periodic=(False, False),
        units={},
        metadata={},
    )
    return dataclasses.replace(made, **changes)


def lengths(trajectory: Trajectory, **options: Any) -> list[int]:
    """Intervals in the stretches of the only species."""
    return np.diff(cut(trajectory, longest_delay=0.5, **options).stretches[0].first).tolist()


def test_integral_of_commands_is_exact() -> None:
    """∫ of a staircase between any moments, against a sum over fine steps."""
    rng = np.random.default_rng(1)
    edge = np.cumsum(rng.uniform(0.05, 0.3, 9))
    programme = Programme(edge, rng.normal(size=(8, 2)))
    fine = np.linspace(edge[0], edge[-1], 200_001)
    piece = np.clip(np.searchsorted(edge, fine[:-1], side="right") - 1, 0, 7)
    for slot, time in ((0, edge[0] - 1), (1, edge[3] + 0.02), (0, edge[5]), (1, edge[-1] + 1)):
        upto = fine[:-1] < time
        expected = programme.value[piece, slot][upto].sum() * (fine[1] - fine[0])
        where = moments(edge, 2, np.asarray(slot), np.asarray(time))
        found = integral_at(programme, programme.integral, where)
        assert found == pytest.approx(expected, abs=1e-4)


def test_everything_is_used_where_nothing_is_wrong() -> None:
    parts = cut(recording())
    assert lengths(recording()) == [T - 1] * N
    assert parts.left_out == {}
    stretches = parts.stretches[0]
    assert stretches.interval == pytest.approx(0.1)
    assert stretches.displacement[: T - 1] == pytest.approx(
        np.diff(recording().position[:, 0], axis=0)
    )
    assert np.unique(stretches.colloid).tolist() == [0, 1, 2]


def test_a_new_identity_is_a_new_colloid_that_commands_reach_late() -> None:
    """From frame 30 on somebody else sits in slot 1; for 0.5 s old commands may still act on it."""
    identity = recording().identity.copy()
    identity[30:, 1] = 7
    parts = cut(recording(identity=identity), longest_delay=0.5)
    assert np.diff(parts.stretches[0].first).tolist() == [T - 1, 29, T - 1 - 35, T - 1]
    assert np.unique(parts.stretches[0].colloid).size == 4


def test_a_dropped_frame_is_one_longer_interval() -> None:
    position = recording().position.copy()
    position[20] = position[19]
    parts = cut(recording(position=position))
    assert parts.left_out == {"repeated frames": 1}
    assert np.diff(parts.stretches[0].first).tolist() == [T - 2] * N
    assert parts.stretches[0].interval.max() == pytest.approx(0.2)


def test_the_stuck_the_lost_and_the_close_are_left_out() -> None:
    controllable = recording().controllable.copy()
    controllable[20:30, 0] = False
    parts = cut(recording(controllable=controllable))
    assert parts.left_out == {"sightings of stuck colloids": 10}
    assert np.diff(parts.stretches[0].first).tolist() == [19, 29, T - 1, T - 1]

    present = recording().present.copy()
    present[25, 2] = False
    assert lengths(recording(present=present)) == [T - 1, T - 1, 24, 33]

    position = recording().position.copy()
    position[40:45, 1] = position[40:45, 0] + 1.0
    assert lengths(recording(position=position), nearest=2.0) == [39, 14, 39, 14, T - 1]
    far = position.copy()
    far[..., 0] = np.where(np.arange(N) == 1, far[..., 0] + 199.0, far[..., 0])
    around = recording(position=far, periodic=(True, False))
    assert lengths(around, nearest=3.0) == [39, 14, 39, 14, T - 1]


def test_what_is_rarely_oriented_counts_as_not_oriented() -> None:
    oriented = recording().oriented.copy()
    oriented[:50] = False
    parts = cut(recording(oriented=oriented))
    assert parts.stretches[0].heading is None
    assert len(parts.stretches[0]) == N * (T - 1)
    oriented[:] = True
    oriented[:5] = False
    parts = cut(recording(oriented=oriented))
    assert parts.stretches[0].heading is not None
    assert parts.left_out == {"sightings without orientation": 15}


def test_episodes_are_apart() -> None:
    """Commands of one episode do not reach into the next, whose time begins anew."""
    episode = np.repeat([0, 1], T // 2).astype(np.int32)
    time = np.concatenate([0.1 * np.arange(T // 2)] * 2)
    parts = cut(recording(episode=episode, time=time))
    assert np.diff(parts.stretches[0].first).tolist() == [29, 29] * N
    assert np.unique(parts.stretches[0].colloid).size == 2 * N
    programme = parts.commands["speed"]
    assert (np.diff(programme.edge) > 0).all()
    assert programme.value[T // 2 - 1].tolist() == [0, 0, 0]
    assert programme.value.sum() == N * (T - 2)
