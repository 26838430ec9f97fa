"""The engine "replay": its contract, states and commands as recorded, differences by formula."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from swarmctl.core import registry
from swarmctl.core.bodies import Body, Rod
from swarmctl.core.command import Command
from swarmctl.core.errors import CapabilityError, ConfigError, RecordError, SwarmctlError
from swarmctl.core.grids import Chemical
from swarmctl.core.world import Box, Placement, Species, World
from swarmctl.engines.command_difference import channel_ranges, command_difference
from swarmctl.engines.jax_engine import JaxEngine
from swarmctl.engines.replay_engine import ReplayEngine
from swarmctl.records.lab_recorder import LabRecorder
from swarmctl.records.trajectory import TrajectorySpec, TrajectoryWriter, channels_like
from swarmctl.testing import check_engine
from swarmctl.testing.motion import random_command
from swarmctl.testing.trees import differences

INTERVAL, STEPS = 0.05, 12
WORLD = World(
    Box((12.0, 10.0)),
    species=(Species("a", 2, speed_max=40.0), Species("b", 2, radius=0.5, speed_max=40.0)),
    contacts=False,  # compiles faster
)


def run(folder, world=WORLD, scale=2.0):
    """Record two episodes of random commands; return the second one's states and applied."""
    engine = JaxEngine(world, INTERVAL)
    with LabRecorder(folder, engine.spec, {}) as recorder:
        for seed in (1, 2):
            states, applied = [engine.reset(seed)], []
            recorder.step(states[0], None, None, {})
            for k in range(STEPS):
                command = random_command(jax.random.key(100 * seed + k), engine.spec, scale)
                moved = engine.step(command)
                recorder.step(moved.state, command, moved.applied, {})
                states.append(moved.state)
                applied.append((command, moved.applied))
    return states, applied


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recorded") / "run"
    return folder, *run(folder)


def test_a_recording_keeps_the_contract_of_engines(recorded):
    assert registry.engines["replay"].load() is ReplayEngine
    report = check_engine(ReplayEngine(WORLD, INTERVAL, recording=recorded[0]))
    assert report.ok, str(report)
    assert report.skipped == {"engine.seeded": "nothing is simulated"}


def test_a_recording_in_space_keeps_the_contract(tmp_path):
    world = World(Box((9.0, 9.0, 9.0)), species=(Species(count=3, speed_max=30.0),), contacts=False)
    states, _ = run(tmp_path / "run", world)
    engine = ReplayEngine(world, INTERVAL, recording=tmp_path / "run", episode=1)
    report = check_engine(engine)
    assert report.ok, str(report)
    engine.reset(0)
    command = random_command(jax.random.key(0), engine.spec)
    np.testing.assert_allclose(
        engine.step(command).state.angular_velocity, states[1].angular_velocity, rtol=1e-5
    )


def test_states_and_applied_commands_are_those_of_the_recording(recorded):
    folder, states, applied = recorded
    engine = ReplayEngine(WORLD, INTERVAL, recording=folder, episode=1)
    original = JaxEngine(WORLD, INTERVAL).spec
    assert engine.spec == dataclasses.replace(
        original,
        name="replay",
        time_step=None,
        capabilities=frozenset({"speed", "turn_rate"}),
    )
    assert engine.decisions == STEPS
    for _ in range(2):  # reset goes back to the start, whatever the seed
        assert list(differences(engine.reset(7), states[0])) == []
        for k, (asked, done) in enumerate(applied):
            moved = engine.step(asked)
            # Position and image are recorded as one unwrapped number.
            for text in differences(
                dataclasses.replace(moved.state, position=jnp.zeros(()), image=jnp.zeros(())),
                dataclasses.replace(states[k + 1], position=jnp.zeros(()), image=jnp.zeros(())),
            ):
                pytest.fail(f"{k}: {text}")
            box = np.asarray(WORLD.box.size)
            np.testing.assert_allclose(
                moved.state.position + moved.state.image * box,
                states[k + 1].position + states[k + 1].image * box,
                atol=2e-5,
            )
            assert list(differences(moved.applied, done, exact=True)) == []
            difference = moved.status.info["difference"]
            np.testing.assert_allclose(
                difference["speed"], np.abs(asked.speed - done.speed), rtol=1e-5, atol=1e-6
            )
            limited = np.asarray((asked.speed != done.speed) | (asked.turn_rate != done.turn_rate))
            assert moved.status.info["limited"].tolist() == limited.tolist()
            assert moved.status.info["frame"] == STEPS + 2 + k
            assert moved.status.info["interval"] == pytest.approx(INTERVAL)


def test_requests_are_compared_with_requests_if_wanted(recorded):
    folder, _, applied = recorded
    engine = ReplayEngine(WORLD, INTERVAL, recording=folder, episode=1, against="requested")
    engine.reset(0)
    assert any(not np.array_equal(asked.speed, done.speed) for asked, done in applied)
    for asked, done in applied:
        moved = engine.step(asked)
        assert not moved.status.info["limited"].any()
        assert moved.status.info["difference"]["speed"].max() == 0
        assert list(differences(moved.applied, done, exact=True)) == []


def test_the_end_of_the_recording_is_a_fault(recorded):
    folder, states, applied = recorded
    engine = ReplayEngine(WORLD, INTERVAL, recording=folder, episode=1)
    engine.reset(0)
    for asked, _ in applied:
        assert engine.step(asked).status.fault is None
    ended = engine.step(applied[0][0])
    assert f"ends after {STEPS} decisions" in ended.status.fault
    assert int(ended.state.step) == STEPS + 1
    np.testing.assert_array_equal(ended.state.identity, states[-1].identity)
    assert not ended.state.velocity.any()
    with pytest.raises(SwarmctlError, match="reset"):
        engine.step(applied[0][0])
    assert int(engine.reset(0).step) == 0


def write(folder, frames, size=(12.0, 10.0), **spec):
    """A record of another program: frames as they are, no table of an engine."""
    n = len(frames[0]["position"])
    commands = channels_like({"speed": np.zeros(n, "f4"), "turn_rate": np.zeros(n, "f4")})
    layout = TrajectorySpec(n, size, (False, False), "float64", commands, **spec)
    folder.mkdir()
    with TrajectoryWriter(folder, layout) as writer:
        for frame in frames:
            writer.write(frame)


def frame(k, time, angle, **more):
    angle = np.asarray(angle)
    speed = {"speed": np.full(4, float(k)), "turn_rate": np.zeros(4)}
    return {
        "time": time,
        "step": k,
        "position": np.arange(8.0).reshape(4, 2) + k,
        "director": np.column_stack([np.cos(angle), np.sin(angle)]),
        "requested": speed if k else None,
        "applied": speed if k else None,
        **more,
    }


def test_lost_colloids_real_times_and_turning(tmp_path):
    """Masks as recorded; time since the first frame; turning from directors of one identity."""
    angles = np.array([[0.0, 1.0, 3.0, 0.5], [0.3, 1.0, -3.0, 0.7]])
    frames = [
        frame(0, 50.0, angles[0], identity=np.array([3, 5, 7, 9])),
        frame(
            1,
            50.25,
            angles[1],
            identity=np.array([3, 5, 7, 11]),
            present=np.array([True, False, True, True]),
            oriented=np.array([True, True, True, False]),
            controllable=np.array([False, True, True, True]),
        ),
    ]
    write(tmp_path / "a", frames)
    engine = ReplayEngine(WORLD, INTERVAL, recording=tmp_path / "a")
    assert engine.spec.control_interval == INTERVAL
    assert float(engine.reset(0).time) == 0
    state = engine.step(Command(speed=jnp.ones(4), turn_rate=jnp.zeros(4))).state
    assert float(state.time) == 0.25
    assert float(state.interval) == 0.25
    assert state.present.tolist() == [True, False, True, True]
    assert state.oriented.tolist() == [True, False, True, False]
    assert state.controllable.tolist() == [False, False, True, True]
    assert state.identity.tolist() == [3, -1, 7, 11]
    assert state.position[1].tolist() == [0, 0]
    across = 2 * math.pi - 6.0
    np.testing.assert_allclose(
        state.angular_velocity, [0.3 / 0.25, 0, across / 0.25, 0], rtol=1e-5, atol=1e-6
    )


def test_differences_by_formula():
    spec = JaxEngine(WORLD, INTERVAL).spec
    ours = Command(
        velocity=jnp.asarray([[3.0, 4.0], [0.0, 0.0]]),
        heading=jnp.asarray([[0.0, 2.0], [1.0, 0.0]]),
        has_heading=jnp.asarray([True, True]),
        power=jnp.asarray([1.0, 2.0]),
    )
    theirs = Command(
        velocity=jnp.zeros((2, 2)),
        heading=jnp.asarray([[1.0, 0.0], [1.0, 0.0]]),
        has_heading=jnp.asarray([True, False]),
    )
    found = command_difference(ours, theirs)
    np.testing.assert_allclose(found["velocity"], [5, 0])
    np.testing.assert_allclose(found["heading"], [math.pi / 2, math.pi])
    assert np.isnan(found["power"]).all()
    assert channel_ranges(spec)["speed"].tolist() == [40.0] * 4


def test_what_cannot_be_replayed_is_said(recorded, tmp_path):
    def make(world=WORLD, **options):
        return ReplayEngine(world, INTERVAL, **options)

    with pytest.raises(ConfigError, match="which recording"):
        make()
    with pytest.raises(RecordError, match="no trajectory"):
        make(recording=tmp_path / "nowhere")
    with pytest.raises(ConfigError, match="has the episodes 0, 1"):
        make(recording=recorded[0], episode=2)
    rod = Body(shape=Rod(5.0, 1.0), placement=Placement("points", positions=((6.0, 5.0),)))
    with pytest.raises(CapabilityError, match="rigid bodies"):
        make(dataclasses.replace(WORLD, bodies=(rod,)), recording=recorded[0])
    food = Chemical("food", 10.0, 0.1, (1.0, 0.0), 4.0)
    with pytest.raises(CapabilityError, match=r"substances.* run the agent on engine 'jax'"):
        make(dataclasses.replace(WORLD, chemicals=(food,)), recording=recorded[0])
    angles = np.zeros(4)
    write(tmp_path / "sparse", [frame(k, k / 8, angles) for k in (0, 10, 20)])
    with pytest.raises(ConfigError, match="every 10 decisions"):
        make(recording=tmp_path / "sparse")
    silent = [frame(k, k / 8, angles, applied=None) for k in range(3)]
    write(tmp_path / "silent", silent)
    with pytest.raises(ConfigError, match="no applied commands"):
        make(recording=tmp_path / "silent")
    write(tmp_path / "few", [frame(k, k / 8, angles) for k in range(3)])
    fewer = dataclasses.replace(WORLD, species=(Species("a", 3),))
    with pytest.raises(CapabilityError, match="4 colloids in 2D, the world 3"):
        make(fewer, recording=tmp_path / "few")
