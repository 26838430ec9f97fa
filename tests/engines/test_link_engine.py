"""The engine "link": its contract, slots and identities, what goes out, what comes in."""

import contextlib
import dataclasses
import itertools
import json
import socket
import struct

import jax.numpy as jnp
import numpy as np
import pytest

from swarmctl.core import registry
from swarmctl.core.actuator import Actuator
from swarmctl.core.bodies import Body, Rod
from swarmctl.core.command import Command
from swarmctl.core.errors import CapabilityError, ConfigError, LinkError, UnknownNameError
from swarmctl.core.world import Box, Placement, Species, World
from swarmctl.engines.link.engine import LinkEngine
from swarmctl.engines.link.frames import COMMAND_ROW, CommandReport
from swarmctl.engines.link.laboratory import Laboratory, describe_laboratory, state_rows
from swarmctl.envs.gym_env import SwarmGymEnv
from swarmctl.envs.make import make_engine, make_scenario
from swarmctl.testing import check_engine

INTERVAL, TOP, TURN = 0.1, 3.0, 2.0
ONE = World(
    Box((40.0, 40.0), "open"),
    species=(Species("a", 3, speed_max=TOP, turn_rate_max=TURN),),
    contacts=False,  # compiles faster
)
TWO = World(
    Box((40.0, 40.0)),
    species=(Species("a", 2, speed_max=3), Species("b", 2, radius=1.5, speed_max=3)),
    contacts=False,
)
ROD = Body(shape=Rod(12.0, 2.0), placement=Placement("points", positions=((30.0, 30.0),)))
WITH_ROD = World(Box((60.0, 60.0)), species=ONE.species, bodies=(ROD,))
ALL = ("speed", "turn_rate", "heading", "velocity")


PATIENT = {"connect_timeout": 10.0, "state_timeout": 20.0, "stop_timeout": 10.0}


def engine_of(world=ONE, interval=INTERVAL, **options):
    engine = LinkEngine(world, interval, port=0, **{**PATIENT, "silence": 10.0, **options})
    return engine, *engine.open()


class Bench:
    """A laboratory of the predecessor's kind that sends given tables and keeps the answers."""

    def __init__(self, host, port, tables):
        self.host, self.port, self.tables, self.answers = host, port, tables, []

    def __call__(self):
        with socket.create_connection((self.host, self.port), 5) as line:
            line.settimeout(5)
            for table in self.tables:
                data = np.asarray(table, "<f8")
                try:
                    line.sendall(struct.pack("<I", data.size) + data.tobytes())
                    self.answers.append(self.read(line, 16 * len(data)))
                except (EOFError, ConnectionError):
                    return

    def read(self, line, count):
        data = b""
        while len(data) < count:
            piece = line.recv(count - len(data))
            if not piece:
                raise EOFError
            data += piece
        return np.frombuffer(data, "<f8").reshape(2, -1).tolist()


def speeds(*values):
    return Command(speed=jnp.asarray(values), turn_rate=jnp.zeros(len(values)))


REST = speeds(0.0, 0.0, 0.0)


def episode(beside, tables, steps=None, **options):
    """States of an engine that reads these tables, resting, and the bench."""
    engine, host, port = engine_of(protocol="predecessor", clock="nominal", **options)
    bench = Bench(host, port, tables)
    beside(bench)
    with contextlib.closing(engine):
        states = [engine.reset(0)]
        for _ in range(len(tables) - 1 if steps is None else steps):
            states.append(engine.step(REST).state)
    return states, bench


@pytest.mark.parametrize(
    ("protocol", "world", "options"),
    [("framed", TWO, {"channels": ALL}), ("predecessor", ONE, {})],
    ids=["framed", "predecessor"],
)
def test_a_link_to_a_simulated_laboratory_keeps_the_contract(
    protocol, world, options, lab_peer, beside
):
    assert registry.engines["link"].load() is LinkEngine
    engine, host, port = engine_of(world, 0.02, protocol=protocol, **options)
    colloids = lab_peer.SimulatedColloids(world, 0.02)
    beside(lab_peer.SPEAK[protocol], colloids, host, port, 0.0)
    report = check_engine(engine)
    assert report.ok, str(report)
    assert report.skipped == {"engine.seeded": "nothing is simulated"}


def test_the_spec_is_known_with_nothing_connected():
    engine = LinkEngine(TWO, 0.25)
    assert engine.spec.species == ("a", "b")
    assert engine.spec.capacity == 4
    assert engine.spec.box == (40.0, 40.0)
    assert engine.spec.control_interval == 0.25
    assert engine.spec.capabilities == {"speed", "turn_rate"}
    assert engine.spec.time_step is None


def test_the_predecessors_answer_byte_for_byte(beside):
    """1 nothing, 2 active, 3 anticlockwise, 4 clockwise; turning wins; ids as they came."""
    engine, host, port = engine_of(protocol="predecessor", clock="nominal")
    table = [[1, 2, 0, 9], [3, 4, 0, 4], [5, 6, 0, 6]]  # slots 0, 1, 2 are ids 4, 6, 9
    bench = Bench(host, port, [table] * 4)
    thread = beside(bench)
    with contextlib.closing(engine):
        engine.reset(0)
        turn = jnp.asarray([TURN, -TURN, 0.0])
        first = engine.step(Command(speed=jnp.asarray([TOP, 0.0, TOP]), turn_rate=turn))
        second = engine.step(speeds(0.1, 0.0, 9.0))
    thread.join(10)
    assert bench.answers[:2] == [[[9, 4, 6], [2, 3, 4]], [[9, 4, 6], [2, 2, 1]]]
    assert bench.answers[2] == [[9, 4, 6], [1, 1, 1]], "the safe answer when it closes"
    np.testing.assert_allclose(first.applied.speed, [0, 0, TOP])
    np.testing.assert_allclose(first.applied.turn_rate, [TURN, -TURN, 0])
    assert first.status.info["limited"].tolist() == [True, False, False]
    np.testing.assert_allclose(second.applied.speed, [TOP, 0, TOP])
    assert second.status.info["limited"].tolist() == [True, False, True]


def test_codes_and_threshold_are_the_laboratorys(beside):
    engine, host, port = engine_of(protocol="predecessor", codes=(0, 1, 3, 2), threshold=0.5)
    bench = Bench(host, port, [[[1, 2, 0, 0], [3, 4, 0, 1], [5, 6, 0, 2]]] * 3)
    beside(bench)
    with contextlib.closing(engine):
        engine.reset(0)
        engine.step(
            Command(speed=jnp.asarray([1.4, 1.6, 3.0]), turn_rate=jnp.asarray([0.9, -0.9, -1.1]))
        )
    assert bench.answers[0][1] == [0, 1, 2]


def test_velocities_are_differences_over_the_interval(beside):
    tables = [
        [[10, 10, 3.1, 0], [20, 20, 0, 1]],
        [[10.2, 9.9, -3.1, 0], [20, 20, 0.1, 1]],
    ]
    states, _ = episode(beside, tables)
    assert not states[0].velocity.any()
    assert not states[0].angular_velocity.any()
    np.testing.assert_allclose(states[1].velocity[:2], [[2, -1], [0, 0]], atol=1e-5)
    turned = [(2 * np.pi - 6.2) / INTERVAL, 1.0, 0.0]
    np.testing.assert_allclose(states[1].angular_velocity, turned, atol=1e-4)
    np.testing.assert_allclose(states[1].director[0], [np.cos(3.1), -np.sin(3.1)], atol=1e-6)
    assert states[1].present.tolist() == [True, True, False]
    assert states[1].time == pytest.approx(INTERVAL)


def test_positions_wrap_across_periodic_faces_and_the_image_counts_them(beside):
    world = World(Box((40.0, 40.0), ("periodic", "open")), species=ONE.species)
    tables = [[[39.9, 1, 0, 0]], [[0.1, -1, 0, 0]], [[40.3, 1, 0, 0]], [[39.8, 1, 0, 0]]]
    states, _ = episode(beside, tables, world=world)
    x = np.array([float(s.position[0, 0]) for s in states])
    image = [int(s.image[0, 0]) for s in states]
    np.testing.assert_allclose(x, [39.9, 0.1, 0.3, 39.8], atol=1e-5)
    assert image == [0, 1, 1, 0]
    assert [float(s.position[0, 1]) for s in states] == [1, -1, 1, 1], "open axes do not wrap"
    np.testing.assert_allclose(states[1].velocity[0], [2, -20], rtol=1e-3)


def test_slots_are_stable_and_who_comes_back_is_somebody_new(beside):
    def table(*ids):
        return [[float(i), 0.0, 0.0, i] for i in ids]

    seen = [(8, 5), (5, 8), (5,), (5,), (5, 8), (5, 8, 1), (1, 5), (1, 2, 5)]
    states, _ = episode(beside, [table(*ids) for ids in seen])
    at = [
        [round(float(x)) if p else None for x, p in zip(s.position[:, 0], s.present, strict=True)]
        for s in states
    ]
    assert at == [
        [5, 8, None], [5, 8, None], [5, None, None], [5, None, None],
        [5, 8, None], [5, 8, 1], [5, None, 1], [5, 2, 1],
    ]  # fmt: skip
    identity = np.array([s.identity for s in states])
    assert identity[:, 0].tolist() == [0] * 8
    assert identity[:, 1].tolist() == [1, 1, 1, 1, 2, 2, 2, 4], "8 came back, then 2 took its slot"
    assert identity[5:, 2].tolist() == [3, 3, 3]
    assert not states[4].velocity[1].any(), "who came back has no velocity yet"


def test_lost_rows_of_nan_are_masked_and_answered(beside):
    nan = float("nan")
    engine, host, port = engine_of(protocol="lost-as-nan", clock="nominal")
    first = [[1, 2, 0, 0, 0, 0, 0], [3, 4, 0, 1, 0, 0, 0], [5, 6, 0, 2, 0, 0, 0]]
    second = [first[0], [nan, nan, nan, 1, 0, 0, 0], first[2]]
    bench = Bench(host, port, [first, second, first])
    beside(bench)
    with contextlib.closing(engine):
        engine.reset(0)
        assert engine.step(REST).state.present.tolist() == [True, False, True]
        asked = engine.step(speeds(TOP, TOP, TOP))
    assert bench.answers[1] == [[0, 1, 2], [2, 1, 2]]
    assert asked.applied.speed.tolist() == [TOP, 0, TOP]
    assert asked.status.info["limited"].tolist() == [False, True, False]


def test_more_colloids_than_slots_are_a_fault_or_left_out_at_rest(beside):
    few, many = [[1, 1, 0, 5], [2, 2, 0, 6], [3, 3, 0, 7]], [[4, 4, 0, 1]]
    engine, host, port = engine_of(protocol="predecessor", clock="nominal")
    beside(Bench(host, port, [few, few + many]))
    with contextlib.closing(engine):
        engine.reset(0)
        fault = engine.step(REST).status.fault
    assert "4 colloids, 1 more than there are slots" in fault
    engine, host, port = engine_of(protocol="predecessor", clock="nominal", surplus="leave out")
    bench = Bench(host, port, [few, few + many, few + many])
    beside(bench)
    with contextlib.closing(engine):
        engine.reset(0)
        result = engine.step(REST)
        assert result.status.info["left_out"] == 1
        assert np.asarray(result.state.position)[:, 0].tolist() == [1, 2, 3]
        engine.step(speeds(TOP, TOP, TOP))
    assert bench.answers[1] == [[5, 6, 7, 1], [2, 2, 2, 1]]


def test_pixels_and_an_image_that_points_down(beside):
    states, _ = episode(beside, [[[10, 20, 0.5, 0]]], length_unit=0.5, y_down=True)
    np.testing.assert_allclose(states[0].position[0], [5, 40 - 10], rtol=1e-6)
    np.testing.assert_allclose(states[0].director[0], [np.cos(0.5), -np.sin(0.5)], rtol=1e-6)


def test_forces_turn_with_an_image_that_points_down(beside):
    engine, host, port = engine_of(protocol="json", clock="nominal", y_down=True)
    said = b'{"indices":[0],"x":[1],"y":[2],"theta":[0.5]}\n'
    replies = []

    def laboratory():
        with socket.create_connection((host, port), 5) as line, line.makefile("rwb") as file:
            for _ in range(2):
                file.write(said)
                file.flush()
                replies.append(json.loads(file.readline()))

    thread = beside(laboratory)
    with contextlib.closing(engine):
        engine.reset(0)
        engine.step(Command(speed=jnp.asarray([1.0, 0.0, 0.0])))
        engine.stop("enough")
        thread.join(5)
    angle = np.arctan2(replies[0]["f_y"][0], replies[0]["f_x"][0])
    assert angle == pytest.approx(0.5), "along its orientation, in its own image"


def test_types_choose_the_species(beside):
    engine, host, port = engine_of(TWO, protocol="typed", types=(7, 3), clock="nominal")
    table = [[1, 1, 0, 0, 3], [2, 2, 0, 1, 7], [3, 3, 0, 2, 3]]
    beside(Bench(host, port, [table, [[1, 1, 0, 0, 9]]]))
    with contextlib.closing(engine):
        state = engine.reset(0)
        assert state.present.tolist() == [True, False, True, True]
        assert np.asarray(state.position)[[0, 2, 3], 0].tolist() == [2, 1, 3]
        assert "type 9" in engine.step(speeds(0.0, 0.0, 0.0, 0.0)).status.fault


@pytest.mark.parametrize("protocol", ["json", "zmq"])
def test_json_is_answered_with_forces(protocol, beside):
    """Force = friction x velocity, along the given heading or the director."""
    engine, host, port = engine_of(protocol=protocol, clock="nominal")
    said = {"indices": [3, 1, 2], "x": [1, 2, 3], "y": [4, 5, 6], "theta": [0, 0, np.pi / 2]}
    replies = []

    def laboratory():
        if protocol == "json":
            with socket.create_connection((host, port), 5) as line, line.makefile("rwb") as file:
                for _ in range(3):
                    file.write(json.dumps(said).encode() + b"\n")
                    file.flush()
                    replies.append(json.loads(file.readline()))
            return
        import zmq

        with zmq.Context() as context, context.socket(zmq.REQ) as line:
            line.setsockopt(zmq.LINGER, 0)
            line.setsockopt(zmq.RCVTIMEO, 5000)
            line.connect(f"tcp://{host}:{port}")
            for _ in range(3):
                line.send_string(json.dumps(said, indent=1))
                replies.append(line.recv_json())

    thread = beside(laboratory)
    with contextlib.closing(engine):
        engine.reset(0)
        given = {"heading": jnp.asarray([[0.0, -2.0]] * 3), "has_heading": jnp.arange(3) == 0}
        result = engine.step(Command(speed=jnp.asarray([1.0, 2.0, 9.0]), **given))
        engine.step(Command(velocity=jnp.asarray([[0.0, 1.0]] * 3)))
        engine.stop("enough")
        thread.join(5)
    friction = ONE.friction(ONE.species[0])
    assert replies[0]["indices"] == [3, 1, 2]  # slots 2, 0, 1
    np.testing.assert_allclose(replies[0]["f_x"], [3 * friction, 0, 0], atol=1e-9)
    np.testing.assert_allclose(replies[0]["f_y"], [0, -friction, 2 * friction], atol=1e-9)
    np.testing.assert_allclose(replies[1]["f_y"], [friction] * 3)
    assert replies[2]["f_x"] == replies[2]["f_y"] == [0, 0, 0], "at rest after stop"
    assert result.status.info["limited"].tolist() == [False, False, True]


def framed(beside, host, port, act, channels=ALL, interval=INTERVAL, capacity=3, **more):
    """A framed laboratory in a thread; `act(laboratory, order)` answers its orders."""
    safe = []

    def run():
        about = describe_laboratory(frozenset(channels), capacity, interval, "bench", **more)
        with (
            contextlib.suppress(LinkError),
            Laboratory.connect(host, port, about, lambda: safe.append(1), 5) as laboratory,
        ):
            while (order := laboratory.wait()) is not None:
                act(laboratory, order)

    beside(run)
    return safe


ROWS = state_rows(np.array([4, 6, 9]), np.ones((3, 2)), np.zeros(3))


def test_a_laboratory_says_what_it_really_did(beside):
    engine, host, port = engine_of(channels=ALL)
    got, clock = [], itertools.count(1)

    def act(laboratory, order):
        applied = None
        if order.command is not None:
            got.append(order.command)
            done = np.zeros(2, COMMAND_ROW)
            done["id"], done["speed"] = [4, 9], [0.5, 0.25]
            applied = CommandReport(1.0, frozenset({"speed"}), done)
        laboratory.send_state(0.3 * next(clock), ROWS, applied)

    framed(beside, host, port, act)
    with contextlib.closing(engine):
        engine.reset(12)
        command = Command(
            speed=jnp.asarray([1.0, 2.0, 9.0]),
            heading=jnp.asarray([[0.0, 2.0], [1.0, 0.0], [1.0, 0.0]]),
            has_heading=jnp.asarray([True, False, False]),
            velocity=jnp.asarray([[1.0, -1.0]] * 3),
        )
        result = engine.step(command)
    assert result.applied.speed.tolist() == [0.5, 0, 0.25]
    assert result.state.interval == pytest.approx(0.3), "of the laboratory's clock"
    assert result.state.time == pytest.approx(0.3)
    rows = got[0].rows
    assert rows["id"].tolist() == [4, 6, 9]
    assert rows["speed"].tolist() == [1, 2, 3], "within the limits"
    assert rows["action"].tolist() == [2, 2, 2]
    assert rows["flags"].tolist() == [1, 0, 0]
    np.testing.assert_allclose(rows["heading"], [np.pi / 2, 0, 0], rtol=1e-6)
    assert rows["v_y"].tolist() == [-1, -1, -1]
    assert got[0].channels == set(ALL)
    assert result.status.info["limited"].tolist() == [False, False, True]


def test_light_goes_out_within_the_limits_of_the_actuators(beside):
    lamp = Actuator(power_max=2.0, power_total=3.0, offset_max=1.0)
    species = (Species("a", 3, speed_max=TOP, actuator=lamp),)
    engine, host, port = engine_of(
        World(Box((40.0, 40.0)), species=species), channels=("power", "spot_offset")
    )
    got, clock = [], itertools.count(1)

    def act(laboratory, order):
        got.append(order.command)
        laboratory.send_state(next(clock), ROWS)

    framed(beside, host, port, act, ("power", "spot_offset"))
    with contextlib.closing(engine):
        engine.reset(0)
        offset = jnp.asarray([[0.0, 5.0], [0.5, 0.0], [0.5, 0.0]])
        engine.step(Command(power=jnp.asarray([9.0, 2.0, 0.0]), spot_offset=offset))
    np.testing.assert_allclose(got[1].rows["power"], [1.5, 1.5, 0])
    np.testing.assert_allclose(got[1].rows["d_y"], [1, 0, 0])
    np.testing.assert_allclose(got[1].rows["d_x"], [0, 0.5, 0])


def test_the_controller_can_call_a_laboratory_that_listens(beside):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    clock, seeds = itertools.count(1), []

    def run():
        about = describe_laboratory(frozenset(ALL), 3, INTERVAL)
        with Laboratory.listen("127.0.0.1", port, about, lambda: None, 5) as laboratory:
            while (order := laboratory.wait()) is not None:
                seeds.append(order.seed)
                laboratory.send_state(next(clock), ROWS)

    beside(run)
    with contextlib.closing(
        LinkEngine(ONE, INTERVAL, port=port, listen=False, silence=10.0)
    ) as engine:
        assert engine.reset(77).present.all()
        assert engine.step(REST).state.step == 1
    assert seeds == [77, None]


def test_a_scenario_runs_on_a_linked_laboratory_and_a_fault_truncates_it(lab_peer, beside):
    options = {"colloids": 3, "control_interval": 0.1}
    scenario = make_scenario("Chemotaxis-v0", **options)
    world = dataclasses.replace(scenario.world, contacts=False)  # compiles faster
    scenario = dataclasses.replace(scenario, world=world)
    engine = make_engine("link", scenario, port=0, silence=10.0, **PATIENT)
    host, port = engine.open()
    colloids = lab_peer.SimulatedColloids(scenario.world, scenario.control_interval)
    thread = beside(lab_peer.SPEAK["framed"], colloids, host, port, 0.0)
    env = SwarmGymEnv(scenario, engine)
    observation, _ = env.reset(seed=0)
    assert np.isfinite(observation).all()
    for action in (1, 0, 2):
        _, _, terminated, truncated, info = env.step(np.full(3, action))
        assert [terminated, truncated] == [False, False]
    np.testing.assert_allclose(env.swarm.position, colloids.state.position, atol=1e-4)
    assert not info["limited"].any()
    engine._talk._session._stream.close()  # the cable is pulled
    *_, terminated, truncated, info = env.step(np.ones(3, int))
    assert truncated
    assert not terminated
    assert "closed" in info["fault"] or "broke" in info["fault"]
    thread.join(5)
    assert colloids.made_safe
    env.close()


@pytest.mark.parametrize(
    ("world", "options", "error", "says"),
    [
        (ONE, {"host": "0.0.0.0"}, ConfigError, "remote=true"),
        (ONE, {"host": "lab.example.org"}, ConfigError, "remote=true"),
        (ONE, {"protocl": "framed"}, UnknownNameError, "protocol"),
        (ONE, {"protocol": "matlab"}, ConfigError, "predecessor"),
        (ONE, {"port": 70000}, ConfigError, "65535"),
        (ONE, {"channels": ("force",)}, ConfigError, "turn_rate"),
        (ONE, {"protocol": "predecessor", "codes": (1, 1, 2, 3)}, ConfigError, "different"),
        (ONE, {"protocol": "predecessor", "listen": False}, ConfigError, "listen=true"),
        (ONE, {"y_down": True}, ConfigError, "framed protocol is in µm"),
        (ONE, {"expiry": "50 ms"}, ConfigError, "expire after 0.05 s"),
        (ONE, {"silence": "5 s", "heartbeat": "6 s"}, ConfigError, "several heartbeats"),
        (ONE, {"types": (1, 2)}, ConfigError, "2 types for the species a"),
        (ONE, {"channels": ("power",)}, ConfigError, "no actuator"),
        (ONE, {"state_timeout": -1}, ConfigError, "positive"),
        (TWO, {"protocol": "predecessor"}, ConfigError, "which kind.*a, b.*typed"),
        (World(Box((40.0,) * 3), species=ONE.species), {}, CapabilityError, "3D"),
        (WITH_ROD, {}, CapabilityError, "rigid bodies"),
    ],
)  # fmt: skip
def test_what_cannot_work_is_refused_before_anything_is_opened(world, options, error, says):
    with pytest.raises(error, match=f"(?s){says}"):
        LinkEngine(world, INTERVAL, **options)
