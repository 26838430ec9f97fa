"""The switch between simulation and hardware, with a simulation that stands for hardware."""

import dataclasses
import math

import jax.numpy as jnp
import numpy as np
import pytest

from swarmctl.bridge.switch.bridge import Bridge, with_delay
from swarmctl.bridge.switch.modes import GuardConfig, Mode
from swarmctl.bridge.switch.plant import EnginePlant
from swarmctl.bridge.switch.prediction import FAULTS, Hypothesis, Predictor
from swarmctl.bridge.switch.twin import Twin
from swarmctl.core.command import Command
from swarmctl.core.disturbances import Disturbances, Localisation
from swarmctl.core.errors import ArmingError, CapabilityError, ConfigError, SwarmctlError
from swarmctl.core.grids import Chemical
from swarmctl.core.world import Body, Box, Fluid, Species, World
from swarmctl.engines.jax_engine import JaxEngine
from swarmctl.testing.engine_suite import check_engine
from swarmctl.testing.hidden_engine import HiddenEngine

INTERVAL = 0.1
N = 30
KNOWN = World(
    box=Box((200.0, 200.0), "open"),
    species=(Species(count=N, radius=1.5, speed_max=5.0, turn_rate_max=2.0),),
    disturbances=Disturbances(localisation=Localisation(0.05, 0.05)),
)
DELAY = 2 * INTERVAL
CHANNELS = frozenset({"speed", "turn_rate"})


def command(seed: int) -> Command:
    random = np.random.default_rng(seed)
    return Command(
        speed=jnp.asarray(5.0 * (random.random(N) < 0.7)),
        turn_rate=jnp.asarray(2.0 * random.choice([-1.0, 0.0, 1.0], N)),
    )


REST = Command(speed=jnp.zeros(N), turn_rate=jnp.zeros(N))


def laboratory(delay: float = DELAY) -> HiddenEngine:
    return HiddenEngine(JaxEngine(with_delay(KNOWN, delay, INTERVAL), INTERVAL))


@pytest.fixture(scope="module")
def usual() -> HiddenEngine:
    return laboratory()


@pytest.fixture(scope="module")
def shared(usual):
    return Bridge(EnginePlant(usual, DELAY), KNOWN, INTERVAL)


@pytest.fixture
def bridge(shared, usual):
    """One bridge for all tests: compiling takes longer than all that is tested."""
    usual.speed = usual.turn = 1.0
    shared.plant = EnginePlant(usual, DELAY)
    shared.clear("the test")
    shared.release("the next test")
    shared.observe()
    shared.reset(0)
    return shared


def watched(bridge: Bridge, seconds: float = 3.5) -> None:
    for _ in range(round(seconds / INTERVAL)):
        bridge.step(REST)


def drive(bridge: Bridge, seconds: float, hold: int = 5) -> str | None:
    """Random commands, each held for `hold` intervals; returns the fault, if any."""
    for k in range(round(seconds / INTERVAL)):
        fault = bridge.step(command(k // hold)).status.fault
        if fault is not None:
            return fault
    return None


def test_without_faults_the_error_is_that_of_diffusion(bridge):
    watched(bridge)
    # |Δr|²/(2d(DΔt+σ²)) is exponential with mean 1 in two dimensions; so its median is ln 2.
    assert bridge._watch.error == pytest.approx(math.sqrt(math.log(2)), rel=0.1)


def test_an_agent_may_not_drive_before_the_guards_hold(bridge):
    with pytest.raises(ArmingError, match=r"watched for .*3 s are needed"):
        bridge.engage("Ada")
    watched(bridge)
    with pytest.raises(ArmingError, match="name the operator"):
        bridge.engage("  ")
    assert bridge.mode is Mode.SHADOW


def test_in_shadow_nothing_is_done(bridge):
    before = bridge.step(command(1)).state
    moved = bridge.step(command(1))
    assert not np.asarray(moved.applied.speed).any()
    away = np.asarray(moved.state.position - before.position)
    assert np.abs(away).max() < 5 * math.sqrt(2 * (0.15 * INTERVAL + 0.05**2))
    assert moved.status.info["mode"] == "shadow"


def test_drive_and_hand_back(bridge):
    watched(bridge)
    report = bridge.engage("Ada", CHANNELS)
    assert report.passed
    assert report.speed == pytest.approx(1.0, abs=0.25)
    assert report.turn == pytest.approx(1.0, abs=0.15)
    bridge.reset(1)
    assert bridge.mode is Mode.DRIVE
    assert drive(bridge, 20.0) is None
    assert np.asarray(bridge.step(command(3)).applied.speed).any()
    bridge.release("enough")
    assert bridge.mode is Mode.SHADOW
    assert not np.asarray(bridge.step(command(3)).applied.speed).any()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"speed": 0.5}, "half the speed"),
        ({"turn": -1.0}, "mirrored turning"),
        ({"speed": 0.5, "turn": 0.5}, "half the speed and turning"),
    ],
)
def test_a_fault_of_the_response_is_found_within_ten_seconds(bridge, usual, change, said):
    watched(bridge)
    bridge.engage("Ada", CHANNELS)
    bridge.reset(1)
    assert drive(bridge, 5.0) is None
    for name, value in change.items():
        setattr(usual, name, value)
    fault = drive(bridge, 10.0)
    assert fault is not None
    assert f"moves as with {said} (" in fault
    assert bridge.mode is Mode.SAFE
    with pytest.raises(SwarmctlError, match="after a fault"):
        bridge.step(REST)
    with pytest.raises(SwarmctlError, match="SAFE"):
        bridge.reset(0)
    with pytest.raises(ArmingError, match="who"):
        bridge.clear("")
    bridge.clear("Ada")
    assert bridge.mode is Mode.SHADOW


def test_a_doubled_delay_is_found_within_ten_seconds(bridge):
    watched(bridge)
    bridge.engage("Ada", CHANNELS)
    slow = laboratory(2 * DELAY)
    bridge.plant = EnginePlant(slow, DELAY)
    bridge.reset(1)
    fault = drive(bridge, 10.0)
    assert fault is not None
    assert "twice the delay" in fault


class Measured(EnginePlant):
    """Hardware that measures how late it is."""

    measured = DELAY

    @property
    def delay(self) -> float:
        return self.measured


def test_a_delay_that_is_measured_too_long_ends_driving_and_bars_it(bridge, usual):
    plant = bridge.plant = Measured(usual, DELAY)
    watched(bridge)
    bridge.engage("Ada", CHANNELS)
    bridge.reset(1)
    plant.measured = 2 * DELAY
    fault = drive(bridge, 0.3)
    assert fault is not None
    assert f"{2000 * DELAY:.0f} ms, it was {1000 * DELAY:.0f} ms when it was calibrated" in fault
    bridge.clear("Ada")
    bridge.reset(2)
    watched(bridge)
    with pytest.raises(ArmingError, match="at most 340 ms are allowed"):
        bridge.engage("Ada", CHANNELS)


def test_a_colloid_that_sticks_is_no_fault(bridge, usual):
    watched(bridge)
    bridge.engage("Ada", CHANNELS)
    bridge.reset(1)
    usual.speed = np.where(np.arange(N) == 0, 0.0, 1.0)
    only = Command(speed=5.0 * (jnp.arange(N) == 0), turn_rate=jnp.zeros(N))
    for _ in range(100):
        assert bridge.step(only).status.fault is None
    # Where all four that are asked to swim do not, it is one.
    usual.speed = np.where(np.arange(N) < 4, 0.0, 1.0)
    some = Command(speed=5.0 * (jnp.arange(N) < 4), turn_rate=jnp.zeros(N))
    assert any(bridge.step(some).status.fault for _ in range(100))


def test_who_touches_a_colloid_without_a_slot_is_left_out(bridge):
    state = bridge.reset(0)
    here = np.asarray(state.position, float)
    away = np.linalg.norm(here[:, None] - here, axis=2) + 1e9 * np.eye(N)
    lonely = int(away.min(axis=1).argmax())
    assert away[lonely].min() > 8.0
    crowd = np.vstack([here, here[lonely] + [1.1 * 2 * 1.5, 0.0]])

    def compared(*around):
        return bridge._comparison.look(state, state, [], DELAY, around).compared

    free = compared(None, None)
    assert compared(here, here) == free
    assert compared(crowd, here) == compared(here, crowd) == free - 1
    everywhere = np.vstack([here, here + np.array([1.1 * 2 * 1.5, 0.0])])
    finding = bridge._comparison.look(state, state, [], DELAY, (everywhere, here))
    assert finding.compared == 0
    assert math.isnan(finding.error)


def test_short_delays_may_grow_by_a_share_of_an_interval():
    guards = GuardConfig(delay_max=1.5, delay_free=0.1)
    assert guards.late(0.019, 0.005, control_interval=0.2) is None
    assert guards.late(0.026, 0.005, control_interval=0.2) is not None
    assert guards.late(0.14, 0.1, control_interval=0.2) is None
    assert guards.late(0.16, 0.1, control_interval=0.2) is not None
    with pytest.raises(ConfigError, match="delay_max is at least 1"):
        GuardConfig(delay_max=0.9)


@pytest.mark.parametrize("change", [{"speed": 0.5}, {"turn": -1.0}, {"speed": 0.0, "turn": 0.0}])
def test_a_probe_refuses_hardware_that_differs_from_its_twin(bridge, usual, change):
    watched(bridge)
    for name, value in change.items():
        setattr(usual, name, value)
    with pytest.raises(ArmingError, match="probe FAILED"):
        bridge.engage("Ada", CHANNELS)
    assert bridge.mode is Mode.SHADOW
    assert not np.asarray(bridge.step(command(1)).applied.speed).any()


def test_the_simulation_goes_on_from_what_was_tracked(bridge):
    watched(bridge, 0.5)
    seen = bridge.step(REST).state
    bridge.simulate()
    with pytest.raises(SwarmctlError, match="mode has changed"):
        bridge.step(REST)
    first = bridge.reset(3)
    np.testing.assert_allclose(first.position, seen.position, atol=0.2)
    np.testing.assert_array_equal(first.identity, seen.identity)
    moved = bridge.step(command(0))
    assert moved.status.info["mode"] == "simulate"
    assert float(moved.state.time) == pytest.approx(INTERVAL)
    # A step of at most v Δt and diffusion: nothing jumps at the hand-over.
    way = np.linalg.norm(np.asarray(moved.state.position - first.position), axis=1)
    assert way.max() < 5.0 * INTERVAL + 6 * math.sqrt(4 * 0.15 * INTERVAL)


def test_events_are_told(usual):
    told = []
    bridge = Bridge(
        EnginePlant(usual, DELAY),
        KNOWN,
        INTERVAL,
        listener=lambda name, details: told.append((name, details)),
    )
    bridge.emergency("the key was pressed")
    assert told == [
        ("mode", {"from": "shadow", "to": "safe", "reason": "the key was pressed"}),
    ]


def test_slots_without_a_colloid_stay_out_of_the_twin():
    world = dataclasses.replace(KNOWN, disturbances=None)
    twin = Twin(world, INTERVAL)
    seen = twin.engine.reset(0)
    # Slots 10 to 29 are empty and say that they are where colloid 0 is.
    present = jnp.arange(N) < 10
    position = jnp.where(present[:, None], seen.position, seen.position[0])
    seen = dataclasses.replace(seen, position=position, present=present)
    first = twin.start(seen, 0)
    moved = twin.step(REST).state
    np.testing.assert_array_equal(moved.present, present)
    way = np.linalg.norm(np.asarray(moved.position - first.position)[:10], axis=1)
    assert way.max() < 6 * math.sqrt(4 * 0.15 * INTERVAL)


def test_the_prediction_is_the_mean_motion_with_the_delay_in_between():
    world = dataclasses.replace(KNOWN, contacts=False)
    faults = (Hypothesis("half", speed=0.5), Hypothesis("mirrored", turn=-1.0))
    predictor = Predictor(world, INTERVAL, (Hypothesis("as expected"), *faults))
    seen = JaxEngine(KNOWN, INTERVAL).reset(0)
    swim = Command(speed=jnp.full(N, 4.0), turn_rate=jnp.full(N, 0.0))
    turn = Command(speed=jnp.zeros(N), turn_rate=jnp.full(N, 1.0))
    history = [predictor.noted(c) for c in (swim, turn, REST)]
    # After 1.25 intervals: the one before the last acts for 3/4, the one before that for 1/4.
    found = predictor.predict(seen, history, 0.25 * INTERVAL, INTERVAL)
    way = 0.75 * 4.0 * INTERVAL * np.asarray(seen.director)
    np.testing.assert_allclose(found.displacement[0], way, atol=1e-4)
    np.testing.assert_allclose(found.displacement[1], way / 2, atol=1e-4)
    np.testing.assert_allclose(found.turn[0], 0.25 * 1.0 * INTERVAL, atol=1e-4)
    np.testing.assert_allclose(found.turn[2], -0.25 * 1.0 * INTERVAL, atol=1e-4)
    later = predictor.predict(seen, history, 1.25 * INTERVAL, 2 * INTERVAL)
    np.testing.assert_allclose(later.displacement[0], 0, atol=1e-4)
    np.testing.assert_allclose(later.turn[0], 2 * 0.75 * 1.0 * INTERVAL, atol=1e-4)


def test_a_twin_and_a_plant_that_differ_are_refused(usual):
    fewer = dataclasses.replace(KNOWN, species=(Species(count=3, radius=1.5),))
    with pytest.raises(CapabilityError, match="capacity 3, engine 'jax' has 30"):
        Bridge(EnginePlant(usual), fewer, INTERVAL)
    rods = dataclasses.replace(KNOWN, bodies=(Body(),))
    with pytest.raises(CapabilityError, match=r"bodies\. Give a scenario of colloids alone"):
        Bridge(None, rods, INTERVAL)
    food = dataclasses.replace(KNOWN, chemicals=(Chemical("food", 10.0),))
    with pytest.raises(CapabilityError, match="colloids only; this world has substances"):
        Bridge(None, food, INTERVAL)
    with pytest.raises(CapabilityError, match="no hardware"):
        Bridge(None, KNOWN, INTERVAL).observe()


def test_without_hardware_it_is_an_engine_like_any_other():
    few = World(
        box=Box((60.0, 60.0), "open"),
        fluid=Fluid(),
        species=(Species(count=4, radius=1.0, speed_max=3.0),),
    )
    report = check_engine(Bridge(None, few, INTERVAL))
    assert report.passed, report


def test_guards_that_cannot_hold_are_refused():
    with pytest.raises(ConfigError, match="error_max"):
        GuardConfig(error_max=0.0)
    with pytest.raises(ConfigError, match="probe_share"):
        GuardConfig(probe_share=2.0)
    assert {fault.name for fault in FAULTS} >= {
        "half the speed",
        "half the speed and turning",
        "mirrored turning",
        "twice the delay",
    }
