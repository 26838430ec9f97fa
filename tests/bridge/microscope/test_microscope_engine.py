"""The engine "microscope" on a toy laboratory: its contract, steering, timing and faults."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

pytest.importorskip("numba", reason="the extra 'vision' is not installed")

from swarmctl.bridge.microscope.engine import MicroscopeEngine
from swarmctl.bridge.microscope.parts import Parts
from swarmctl.bridge.orders import Standing
from swarmctl.core import registry
from swarmctl.core.bodies import Body, Rod
from swarmctl.core.command import Command
from swarmctl.core.errors import (
    ArmingError,
    CalibrationError,
    CapabilityError,
    CommandError,
    ConfigError,
    DeviceTimeoutError,
    RecordError,
    SwarmctlError,
)
from swarmctl.core.world import Box, Placement, Species, World
from swarmctl.testing import check_engine

N = 6
WORLD = World(
    Box((50.0, 50.0), "open"),
    species=(Species("janus", N, radius=2.0, speed_max=4.0, turn_rate_max=1.5),),
)


class Bench:
    """An engine on a toy, armed."""

    def __init__(self, toy, folder, interval=0.2, steering="", world=WORLD, count=4, **options):  # type: ignore[no-untyped-def]
        keys = {name: options.pop(name) for name in ("noise", "delay", "seed") if name in options}
        self.lab = toy.ToyLab(count, **keys)
        self.camera, self.gate = toy.ToyCamera(self.lab), toy.ToyGate(self.lab)
        self.records: list = []  # type: ignore[type-arg]
        rig = toy.write_rig(folder, steering)
        observer = options.pop("observer", self.records.append)
        parts = Parts(
            None, self.camera, self.gate, toy.calibration(), observer, self.lab.clock,
            options.pop("stopped", None),
        )  # fmt: skip
        options = {"dry_steps": 0, "colloids_least": count, **options}
        self.engine = MicroscopeEngine(world, interval, parts=parts, rig=rig, **options)
        self.engine.open()
        self.gate.standing = Standing.ARMED

    def pairs(self, state):  # type: ignore[no-untyped-def]
        """Slots of the colloids that are seen, and who they are in the toy."""
        corner = np.array([100.0, 80.0]) - 25.0
        place = np.asarray(state.position) + corner
        slots = np.flatnonzero(np.asarray(state.present))
        away = np.linalg.norm(place[slots, None] - self.lab.log[-1][1], axis=-1)
        assert away.min(axis=1).max() < 0.3
        return slots, away.argmin(axis=1)


def command(speed, turn_rate) -> Command:  # type: ignore[no-untyped-def]
    return Command(
        speed=np.broadcast_to(np.asarray(speed, np.float32), N),
        turn_rate=np.broadcast_to(np.asarray(turn_rate, np.float32), N),
    )


def test_the_contract_of_engines(toy, tmp_path) -> None:  # type: ignore[no-untyped-def]
    assert registry.engines["microscope"].load() is MicroscopeEngine
    bench = Bench(toy, tmp_path)
    report = check_engine(bench.engine)
    assert not report.findings, str(report)
    assert bench.camera.closed == 1
    assert bench.gate.standing is Standing.DISCONNECTED


def test_the_spec_is_known_with_nothing_connected(toy, tmp_path) -> None:  # type: ignore[no-untyped-def]
    engine = MicroscopeEngine(WORLD, 0.2, rig=toy.write_rig(tmp_path))
    spec = engine.spec
    assert (spec.capacity, spec.control_interval, spec.periodic) == (N, 0.2, (False, False))
    assert spec.capabilities == {"speed", "turn_rate"}
    assert spec.time_step is None
    assert engine.look is None
    engine.stop("never connected")
    engine.close()


def test_colloids_swim_as_they_are_told(toy, tmp_path) -> None:  # type: ignore[no-untyped-def]
    """Without noise: speeds within 3 %, turn rates within 0.04 rad/s, of either sign.

    A colloid that is found 0.01 µm (0.04 px) beside its place turns by s v d/a² = 0.03 rad/s.
    """
    bench = Bench(toy, tmp_path, noise=0.0)
    state = bench.engine.reset(0)
    slots, who = bench.pairs(state)
    assert len(slots) == 4
    speed, turn = np.zeros(N), np.zeros(N)
    speed[slots], turn[slots] = [1.0, 2.0, 3.0, 2.5], [0.4, -0.4, 0.0, 0.8]
    bench.engine.step(command(speed, turn))
    begin = bench.lab.log[-1]
    for _ in range(8):
        result = bench.engine.step(command(speed, turn))
        assert result.status.fault is None
    end = bench.lab.log[-1]
    span = end[0] - begin[0]
    assert span == pytest.approx(8 * 0.2, abs=1e-6)
    turned = (end[2] - begin[2])[who] / span
    np.testing.assert_allclose(turned, turn[slots], atol=0.04)
    way = np.linalg.norm((end[1] - begin[1])[who], axis=1)
    half = turn[slots] * span / 2
    chord = speed[slots] * span * np.sinc(half / np.pi)
    np.testing.assert_allclose(way, chord, rtol=0.03)
    np.testing.assert_allclose(np.asarray(result.applied.speed)[slots], speed[slots], rtol=1e-5)
    np.testing.assert_allclose(np.asarray(result.applied.turn_rate)[slots], turn[slots], atol=1e-5)
    assert not result.status.info["limited"][slots].any()
    last = bench.lab.log[-1]
    np.testing.assert_allclose(
        np.linalg.norm(np.asarray(result.state.velocity)[slots], axis=1), speed[slots], rtol=0.2
    )
    found = np.arctan2(*np.asarray(result.state.director)[slots].T[::-1])
    assert np.abs(np.angle(np.exp(1j * (found - last[2][who])))).max() < 0.05


def test_all_that_were_found_are_told_where_the_state_has_them(toy, tmp_path) -> None:  # type: ignore[no-untyped-def]
    bench = Bench(toy, tmp_path, noise=0.0)
    bench.engine.reset(0)
    result = bench.engine.step(command(0.0, 0.0))
    found = result.status.info["detected"]
    here = np.asarray(result.state.position)[np.asarray(result.state.present)]
    away = np.linalg.norm(here[:, None] - found, axis=-1).min(axis=1)
    assert len(found) == len(bench.lab.log[-1][1])
    assert away.max() < 0.1


def test_light_follows_colloids_at_every_frame(toy, tmp_path) -> None:  # type: ignore[no-untyped-def]
    """Four frames a step: four orders, each aimed where the colloid will be at the light's time."""
    bench = Bench(toy, tmp_path, noise=0.0, delay=0.03)
    bench.engine.reset(0)
    for _ in range(3):
        bench.engine.step(command(4.0, 0.0))
    before = len(bench.gate.orders)
    bench.engine.step(command(4.0, 0.0))
    assert len(bench.gate.orders) - before == 4
    assert [o.number for o in bench.gate.orders] == list(range(1, len(bench.gate.orders) + 1))
    order = bench.gate.orders[-1]
    place = bench.lab.view.to_sample(toy.TO_IMAGE.to_image(order.outputs["light"].position))
    away = np.linalg.norm(place[:, None] - bench.lab.position, axis=-1).min(axis=1)
    # 4 µm/s for the 50 ms since then would be 0.2 µm without the next frame.
    assert away.max() < 0.25
    assert order.expires == pytest.approx(order.issued + 0.15)
    assert order.found == 4


def test_time_is_that_of_the_exposures(toy, tmp_path) -> None:  # type: ignore[no-untyped-def]
    bench = Bench(toy, tmp_path)
    assert float(bench.engine.reset(0).time) == 0
    begin = bench.lab.log[-1][0]
    result = bench.engine.step(command(1.0, 0.0))
    bench.camera.skip = 7
    late = bench.engine.step(command(1.0, 0.0))
    assert float(result.state.interval) == pytest.approx(0.2, abs=1e-5)
    assert not result.status.info["missed_deadline"]
    assert late.status.info["dropped"] == 7
    assert late.status.info["missed_deadline"]
    assert late.status.info["late"] == pytest.approx(0.2, abs=1e-5)
    assert float(late.state.interval) == pytest.approx(0.4, abs=1e-5)
    assert float(late.state.time) == pytest.approx(bench.lab.log[-1][0] - begin, abs=1e-4)
    figure = bench.engine.latencies.figure("light")
    assert figure is not None
    assert figure.median == pytest.approx(0.01, abs=1e-3)
    assert late.status.info["latency"]["frame"] == pytest.approx(toy.READOUT, abs=1e-3)


def test_what_is_applied_comes_from_the_receipts(toy, tmp_path) -> None:  # type: ignore[no-untyped-def]
    bench = Bench(toy, tmp_path, noise=0.0)
    state = bench.engine.reset(0)
    slots, _ = bench.pairs(state)
    bench.gate.most = 0.35
    result = bench.engine.step(command(3.0, 0.0))
    np.testing.assert_allclose(np.asarray(result.applied.speed)[slots], 2.0, rtol=1e-5)
    assert result.status.info["limited"][slots].all()
    assert result.status.info["confirmed"] == result.status.info["orders"] == 4
    assert result.status.info["cut"] == ("light: above 0.35",)


def test_orders_that_were_not_sent_do_not_count(toy, tmp_path) -> None:  # type: ignore[no-untyped-def]
    bench = Bench(toy, tmp_path, noise=0.0)
    state = bench.engine.reset(0)
    slots, _ = bench.pairs(state)
    bench.gate.busy = {1, 2}
    result = bench.engine.step(command(3.0, 0.0))
    assert (result.status.info["confirmed"], result.status.info["unsent"]) == (2, 2)
    np.testing.assert_allclose(np.asarray(result.applied.speed)[slots], 3.0, rtol=1e-5)
    bench.gate.busy = set(range(100))
    result = bench.engine.step(command(3.0, 0.0))
    np.testing.assert_array_equal(result.applied.speed, 0)


def test_dry_is_safe(toy, tmp_path) -> None:  # type: ignore[no-untyped-def]
    bench = Bench(toy, tmp_path, dry=True, noise=0.0)
    bench.gate.standing = Standing.CONFIGURED
    bench.engine.reset(0)
    result = bench.engine.step(command(3.0, 0.5))
    assert all(order.dry for order in bench.gate.orders)
    assert len(bench.gate.orders[0].outputs["light"]) == 4
    assert result.status.info["dry"]
    np.testing.assert_array_equal(result.applied.speed, 0)
    assert bench.gate.standing is Standing.CONFIGURED
    bench.engine.dry = False
    bench.gate.standing = Standing.ARMED
    bench.engine.step(command(3.0, 0.5))
    assert bench.gate.standing is Standing.ACTIVE
    bench.engine.dry = True
    bench.engine.step(command(3.0, 0.5))
    assert bench.gate.standing is Standing.ARMED
    assert len(bench.lab.spots) == 0


def test_the_first_steps_are_dry(toy, tmp_path) -> None:  # type: ignore[no-untyped-def]
    bench = Bench(toy, tmp_path, dry_steps=2)
    bench.engine.reset(0)
    dry = [bench.engine.step(command(1.0, 0.0)).status.info["dry"] for _ in range(3)]
    assert dry == [True, True, False]


def test_heartbeats_come_from_the_waiting_loop(toy, tmp_path) -> None:  # type: ignore[no-untyped-def]
    bench = Bench(toy, tmp_path)
    bench.engine.reset(0)
    bench.engine.step(command(1.0, 0.0))
    bench.camera.dead = True
    bench.gate.beats.clear()
    result = bench.engine.step(command(1.0, 0.0))
    assert "no frame for 1." in (result.status.fault or "")
    assert np.diff(bench.gate.beats).max() <= 0.021
    assert bench.gate.standing is Standing.FAULT
    np.testing.assert_array_equal(result.state.velocity, 0)
    with pytest.raises(SwarmctlError, match="after a fault"):
        bench.engine.step(command(1.0, 0.0))
    with pytest.raises(ArmingError, match="clear and arm"):
        bench.engine.reset(0)


def test_a_camera_that_gives_the_same_picture_again_and_again_is_frozen(toy, tmp_path) -> None:  # type: ignore[no-untyped-def]
    """Although its numbers and times go on."""
    bench = Bench(toy, tmp_path)
    bench.engine.reset(0)
    assert bench.engine.step(command(1.0, 0.0)).status.fault is None
    bench.camera.frozen = bench.lab.frame()
    frozen = bench.lab.number
    assert "same in every pixel" in (bench.engine.step(command(1.0, 0.0)).status.fault or "")
    assert bench.lab.number - frozen <= 4
    assert bench.gate.standing is Standing.FAULT


def test_who_calls_no_step_for_long_is_told_what_to_do(toy, tmp_path) -> None:  # type: ignore[no-untyped-def]
    bench = Bench(toy, tmp_path)
    bench.engine.reset(0)
    bench.engine.step(command(1.0, 0.0))
    bench.lab.time += 0.5  # a program is compiled
    bench.gate.standing, bench.gate.fault = Standing.FAULT, "the loop is silent"
    fault = bench.engine.step(command(1.0, 0.0)).status.fault or ""
    assert "the loop is silent" in fault
    assert "no step for 0.50 s, and 0.1 s are allowed" in fault
    assert "call stop() before" in fault


def test_a_person_can_stop_it_between_two_frames(toy, tmp_path) -> None:  # type: ignore[no-untyped-def]
    pressed: list[int] = []
    bench = Bench(toy, tmp_path, interval=1.0, stopped=lambda: bool(pressed))
    bench.engine.reset(0)
    assert bench.engine.step(command(1.0, 0.0)).status.fault is None
    pressed.append(1)
    frames = bench.lab.number
    result = bench.engine.step(command(1.0, 0.0))
    assert "emergency stop" in (result.status.fault or "")
    assert bench.lab.number - frames == 1
    assert bench.gate.standing is Standing.FAULT


def test_a_person_can_stop_it_while_spots_are_looked_for(toy, tmp_path) -> None:  # type: ignore[no-untyped-def]
    pressed: list[int] = []
    bench = Bench(toy, tmp_path, stopped=lambda: bool(pressed))
    bench.gate.standing = Standing.CONFIGURED
    calibration = toy.calibration(bench.engine.rig.hardware_digest)
    bench.engine._calibration = calibration
    send = bench.gate.send

    def press(order) -> None:  # type: ignore[no-untyped-def]
        send(order)
        if len(order.outputs["light"]):
            pressed.append(1)

    bench.gate.send = press
    with pytest.raises(ArmingError, match="emergency stop"):
        bench.engine.arm("Ada")
    assert bench.gate.standing is Standing.FAULT


def test_nothing_stays_armed_for_probing_if_the_spots_cannot_be_looked_for(toy, tmp_path) -> None:  # type: ignore[no-untyped-def]
    bench = Bench(toy, tmp_path)
    bench.gate.standing = Standing.CONFIGURED
    calibration = toy.calibration(bench.engine.rig.hardware_digest)
    bench.engine._calibration = calibration
    bench.camera.dead = True
    with pytest.raises(DeviceTimeoutError):
        bench.engine.arm("Ada")
    assert bench.gate.standing is Standing.CONFIGURED
    with pytest.raises(ArmingError, match="a person has to arm"):
        bench.engine.reset(0)


def test_faults_truncate(toy, tmp_path) -> None:  # type: ignore[no-untyped-def]
    """Of the supervisor, of its process, of tracking, and of whoever records."""
    bench = Bench(toy, tmp_path)
    bench.engine.reset(0)
    bench.gate.standing, bench.gate.fault = Standing.FAULT, "the interlock is open"
    assert "interlock is open" in bench.engine.step(command(1, 0)).status.fault

    bench = Bench(toy, tmp_path)
    bench.engine.reset(0)
    bench.gate.gone = True
    assert "has died" in bench.engine.step(command(1, 0)).status.fault

    bench = Bench(toy, tmp_path)
    bench.engine.reset(0)
    bench.lab.visible[:] = False
    assert "colloids were found" in bench.engine.step(command(1, 0)).status.fault
    assert bench.gate.standing is Standing.FAULT

    def full(record) -> None:  # type: ignore[no-untyped-def]
        if record.order is not None:
            raise RecordError("the disk is full.")

    bench = Bench(toy, tmp_path, observer=full)
    bench.engine.reset(0)
    assert "disk is full" in bench.engine.step(command(1, 0)).status.fault


def test_an_interruption_makes_the_outputs_safe(toy, tmp_path) -> None:  # type: ignore[no-untyped-def]
    def interrupt(record) -> None:  # type: ignore[no-untyped-def]
        if record.order is not None:
            raise KeyboardInterrupt

    bench = Bench(toy, tmp_path, observer=interrupt)
    bench.engine.reset(0)
    with pytest.raises(KeyboardInterrupt):
        bench.engine.step(command(1, 0))
    assert bench.gate.standing is Standing.FAULT


def test_every_frame_is_told_once(toy, tmp_path) -> None:  # type: ignore[no-untyped-def]
    bench = Bench(toy, tmp_path)
    bench.engine.reset(0)
    for _ in range(2):
        bench.engine.step(command(1, 0))
    bench.engine.stop("enough")
    numbers = [record.look.shot.number for record in bench.records]
    assert numbers == list(range(1, bench.lab.number + 1))
    issued = [r for r in bench.records if r.order is not None]
    assert len(issued) == 8
    assert all(r.order.frame == r.look.shot.number for r in issued)
    assert bench.gate.events[-1] == "rest enough"


def test_nobody_acts_on_the_excluded(toy, tmp_path) -> None:  # type: ignore[no-untyped-def]
    bench = Bench(toy, tmp_path)
    state = bench.engine.reset(0)
    slot = int(np.flatnonzero(np.asarray(state.present))[0])
    who = int(state.identity[slot])
    bench.engine.excluded = frozenset({who})
    result = bench.engine.step(command(2.0, 0.0))
    assert who not in bench.gate.orders[-1].outputs["light"].colloid
    assert not bool(result.state.controllable[slot])
    assert float(result.applied.speed[slot]) == 0
    assert result.status.info["limited"][slot]


def test_identities_are_never_given_twice(toy, tmp_path) -> None:  # type: ignore[no-untyped-def]
    bench = Bench(toy, tmp_path)
    first, second = bench.engine.reset(0), bench.engine.reset(1)
    ids = [np.asarray(s.identity)[np.asarray(s.present)] for s in (first, second)]
    assert ids[0].max() < ids[1].min()


def test_arming_needs_light_where_it_should_be(toy, tmp_path) -> None:  # type: ignore[no-untyped-def]
    bench = Bench(toy, tmp_path, noise=0.0, operator="Ada")
    bench.gate.standing = Standing.CONFIGURED
    bench.lab.shows_light = True
    calibration = toy.calibration(bench.engine.rig.hardware_digest)
    bench.engine._calibration = calibration
    bench.engine.reset(0)
    assert bench.gate.evidence.spot_error < 1.0
    assert bench.gate.evidence.calibration == calibration.digest
    shifted = dataclasses.replace(
        calibration,
        pattern=dataclasses.replace(
            calibration.pattern, map=dataclasses.replace(toy.TO_IMAGE, offset=(16.0, -9.0))
        ),
    )
    bench.engine._calibration = shifted
    with pytest.raises(ArmingError, match="px off"):
        bench.engine.arm("Ada")
    bench.engine._calibration = dataclasses.replace(
        calibration, rig="other", expires="2021-01-01T00:00:00+00:00"
    )
    with pytest.raises(ArmingError, match=r"another rig.*expired"):
        bench.engine.arm("Ada")


def test_nothing_starts_without_colloids_or_a_person(toy, tmp_path) -> None:  # type: ignore[no-untyped-def]
    bench = Bench(toy, tmp_path, colloids_least=5, start_timeout=1.0)
    with pytest.raises(DeviceTimeoutError, match="4 colloids are tracked"):
        bench.engine.reset(0)
    bench.gate.standing = Standing.CONFIGURED
    with pytest.raises(ArmingError, match="a person has to arm"):
        bench.engine.reset(0)


def test_commands_outside_of_the_contract(toy, tmp_path) -> None:  # type: ignore[no-untyped-def]
    bench = Bench(toy, tmp_path)
    with pytest.raises(SwarmctlError, match="call reset"):
        bench.engine.step(command(1, 0))
    bench.engine.reset(0)
    with pytest.raises(CommandError, match="not finite"):
        bench.engine.step(command(np.nan, 0))
    with pytest.raises(CapabilityError, match="does not take power"):
        bench.engine.step(Command(power=np.ones(N)))


@pytest.mark.parametrize(
    ("world", "kind", "text"),
    [
        (World(Box((50.0, 50.0, 50.0))), CapabilityError, "two lengths"),
        (
            World(
                Box((60.0, 60.0)),
                bodies=(
                    Body(
                        shape=Rod(12.0, 2.0),
                        placement=Placement("points", positions=((30.0, 30.0),)),
                    ),
                ),
            ),
            CapabilityError,
            "rigid bodies",
        ),
        (
            World(Box((60.0, 60.0)), species=(Species("a", 2), Species("b", 2))),
            CapabilityError,
            "one species",
        ),
    ],
)
def test_worlds_that_cannot_be_watched(toy, tmp_path, world, kind, text) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(kind, match=text):
        MicroscopeEngine(world, 0.2, rig=toy.write_rig(tmp_path))


def test_rigs_that_do_not_fit(toy, tmp_path) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ConfigError, match="a longer control interval"):
        MicroscopeEngine(WORLD, 0.02, rig=toy.write_rig(tmp_path))
    with pytest.raises(ConfigError, match="cannot take the channels field"):
        MicroscopeEngine(WORLD, 0.2, rig=toy.write_rig(tmp_path, 'channels = ["field"]'))
    with pytest.raises(ConfigError, match="no such rig file"):
        MicroscopeEngine(WORLD, 0.2, rig=tmp_path / "none.toml")
    engine = MicroscopeEngine(WORLD, 0.2, rig=toy.write_rig(tmp_path))
    with pytest.raises(CalibrationError, match="no calibration yet"):
        engine.open()


def test_power_channels(toy, tmp_path) -> None:  # type: ignore[no-untyped-def]
    bench = Bench(toy, tmp_path, steering='channels = ["power", "spot_offset"]', noise=0.0)
    state = bench.engine.reset(0)
    slots, _ = bench.pairs(state)
    asked = Command(power=np.full(N, 3.0, np.float32), spot_offset=np.full((N, 2), 0.3, np.float32))
    result = bench.engine.step(asked)
    np.testing.assert_allclose(np.asarray(result.applied.power)[slots], 2.0, rtol=1e-5)
    np.testing.assert_allclose(np.asarray(result.applied.spot_offset)[slots], 0.3, rtol=1e-3)
    assert result.status.info["limited"][slots].all()
