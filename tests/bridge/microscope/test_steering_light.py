"""Orders of light: what the laws make of them is what was commanded."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from swarmctl.bridge.calibration import Calibration, PatternMap, SpeedLaw, TurnLaw
from swarmctl.bridge.devices.contract import Channel, OutputSpec
from swarmctl.bridge.microscope.light_law import (
    LightLaw,
    SpotReach,
    power_by_speed,
    speed_by_power,
)
from swarmctl.bridge.microscope.steering import Aim
from swarmctl.bridge.microscope.steering_config import SteeringConfig
from swarmctl.bridge.microscope.steering_light import LightSteering
from swarmctl.bridge.orders import Spots
from swarmctl.bridge.supervisor.limits import PatternLimits
from swarmctl.core.command import Command
from swarmctl.core.errors import CalibrationError, ConfigError
from swarmctl.optics.affine import Affine, ViewConfig

RADIUS = 2.0
VIEW = ViewConfig(pixel_size=0.2, rotation=0.3, mirror=True, centre=(50, 50)).affine(512, 512)
TO_IMAGE = Affine(((1.1, -0.2), (0.25, 1.05)), (-20.0, 14.0))
SPEC = OutputSpec("slm", "pattern", (Channel("light", "1", 0, 1, 0),), shape=(600, 600))
LIMITS = PatternLimits(2.0, 50.0, 100.0, 50, 100.0, 1.0, 1.0, 100.0, 100.0, 16)
SPEED = SpeedLaw(slope=6.0, threshold=0.1, speed_max=5.0)
TURN = TurnLaw(steering=-3.0, radius=RADIUS)
COUNT = 12


def calibration(**changes: object) -> Calibration:
    whole = Calibration(pattern=PatternMap("light", TO_IMAGE), speed=SPEED, turn=TURN)
    return dataclasses.replace(whole, **changes)


def steering(
    config: SteeringConfig | None = None,
    *channels: str,
    known: Calibration | None = None,
    limits: PatternLimits = LIMITS,
) -> LightSteering:
    return LightSteering(
        config or SteeringConfig(),
        known or calibration(),
        RADIUS,
        SPEC,
        limits,
        VIEW,
        frozenset(channels or ("speed", "turn_rate")),
    )


def aim(seed: int = 0) -> Aim:
    rng = np.random.default_rng(seed)
    return Aim(
        position=rng.uniform(20, 80, (COUNT, 2)),
        angle=rng.uniform(-np.pi, np.pi, COUNT),
        oriented=np.ones(COUNT, bool),
        acts=np.ones(COUNT, bool),
        identity=rng.permutation(100)[:COUNT],
    )


@pytest.mark.parametrize("saturation", ["sharp", "smooth"])
def test_power_is_the_inverse_of_speed(saturation: str) -> None:
    law = dataclasses.replace(SPEED, saturation=saturation)
    speed = np.linspace(0.01, 4.9, 50)
    np.testing.assert_allclose(speed_by_power(power_by_speed(speed, law), law), speed, rtol=1e-12)
    assert power_by_speed(np.zeros(1), law) == 0
    assert np.isinf(power_by_speed(np.array([6.0]), law))


@pytest.mark.parametrize("saturation", ["sharp", "smooth"])
def test_speeds_are_those_of_the_actuator_in_the_simulation(saturation: str) -> None:
    from swarmctl.physics.actuator import speed_law

    law = dataclasses.replace(SPEED, saturation=saturation)
    power = np.linspace(0, 2, 21)
    expected = speed_law(power, 6.0, 0.1, 5.0, np.full(21, saturation == "smooth"))
    np.testing.assert_allclose(speed_by_power(power, law), expected, rtol=2e-5, atol=1e-6)


def test_turning_is_that_of_the_actuator_in_the_simulation() -> None:
    from swarmctl.physics.actuator import turn_law

    law = LightLaw(SPEED, TURN, SpotReach.of(3.0, "gaussian", None, 2.0))
    angle, offset = 0.4, np.array([[-0.3, 0.9]])
    director = np.array([[np.cos(angle), np.sin(angle)]])
    across = director[:, 0] * offset[:, 1] - director[:, 1] * offset[:, 0]
    expected = turn_law(np.array([2.0]), director, offset, np.array([RADIUS]), -3.0, 10.0)
    np.testing.assert_allclose(law.turning(np.array([2.0]), across), expected[:, 0], rtol=1e-5)


def test_light_on_a_disc_is_its_integral() -> None:
    """m(d) and c(d) by a fine grid of squares instead of a spiral."""
    reach = SpotReach.of(3.0, "gaussian", RADIUS, 2.0)
    side = np.linspace(-RADIUS, RADIUS, 801)
    x, y = np.meshgrid(side, side)
    inside = x**2 + y**2 <= RADIUS**2
    for distance in (0.0, 0.7, 1.9):
        light = np.exp(-2 * ((x - distance) ** 2 + y**2) / 9.0)[inside]
        given = np.array([distance])
        mean = light.mean() / np.exp(-2 * (x**2 + y**2) / 9.0)[inside].mean()
        assert reach.share(given) == pytest.approx(mean, rel=2e-3)
        centre = (light * x[inside]).sum() / light.sum()
        assert reach.centre_of(given) == pytest.approx(centre, rel=5e-3, abs=1e-5)


@pytest.mark.parametrize("feels", ["disc", "point"])
@pytest.mark.parametrize("turning", ["offset", "quadrants"])
@pytest.mark.parametrize("gain", [-3.0, 3.0])
def test_what_is_drawn_is_what_was_asked(feels: str, turning: str, gain: float) -> None:
    """Within the limits, the laws applied to the order give the command again."""
    if (feels, turning) == ("point", "quadrants"):
        return
    known = calibration(turn=dataclasses.replace(TURN, steering=gain))
    driver = steering(SteeringConfig(feels=feels, turning=turning), known=known)
    here = aim()
    rng = np.random.default_rng(1)
    speed = rng.uniform(0.5, 2.5, COUNT)
    command = Command(speed=speed, turn_rate=rng.uniform(-0.12, 0.12, COUNT) * speed)
    sent = driver.order(command, here)
    back = driver.applied(sent, command, here)
    np.testing.assert_allclose(back.speed, command.speed, rtol=1e-6)
    np.testing.assert_allclose(back.turn_rate, command.turn_rate, rtol=1e-6, atol=1e-9)


def test_a_spot_lies_on_the_side_to_which_the_colloid_turns() -> None:
    """With a positive gain, anticlockwise turning has the light to the left of the director."""
    known = calibration(turn=dataclasses.replace(TURN, steering=3.0))
    driver, here = steering(known=known), aim()
    command = Command(speed=np.full(COUNT, 2.0), turn_rate=np.full(COUNT, 0.3))
    spots = driver.order(command, here)["light"]
    assert isinstance(spots, Spots)
    place = VIEW.to_sample(TO_IMAGE.to_image(spots.position))
    offset = place - here.position
    left = np.column_stack([-np.sin(here.angle), np.cos(here.angle)])
    assert ((offset * left).sum(axis=1) > 0.1).all()
    np.testing.assert_allclose((offset * here.director).sum(axis=1), 0, atol=1e-9)
    np.testing.assert_array_equal(spots.colloid, here.identity)


def test_radius_of_a_spot_follows_both_maps() -> None:
    """An area of the sample is det(view)/det(pattern) times as large in the pattern."""
    spots = steering().order(Command(speed=np.full(COUNT, 2.0)), aim())["light"]
    assert isinstance(spots, Spots)
    area = abs(np.linalg.det(VIEW.matrix) / np.linalg.det(TO_IMAGE.matrix))
    np.testing.assert_allclose(spots.radius, 3.0 * np.sqrt(area))


def test_too_much_is_cut_and_told() -> None:
    """Faster than possible: the fastest. Turning without speed: none, or at turning_speed."""
    here = aim()
    fast = Command(speed=np.full(COUNT, 20.0), turn_rate=np.zeros(COUNT))
    back = steering().applied(steering().order(fast, here), fast, here)
    np.testing.assert_allclose(back.speed, SPEED.speed_max)
    weak = dataclasses.replace(LIMITS, power_max=0.3)
    driver = steering(limits=weak)
    back = driver.applied(driver.order(fast, here), fast, here)
    np.testing.assert_allclose(back.speed, 6.0 * 0.2)
    only = Command(speed=np.zeros(COUNT), turn_rate=np.full(COUNT, 0.2))
    assert len(steering().order(only, here)["light"]) == 0
    driver = steering(SteeringConfig(turning_speed=1.5))
    back = driver.applied(driver.order(only, here), only, here)
    np.testing.assert_allclose(back.turn_rate, 0.2, rtol=1e-6)
    sharp = Command(speed=np.full(COUNT, 1.0), turn_rate=np.full(COUNT, 6.0))
    back = driver.applied(driver.order(sharp, here), sharp, here)
    assert (np.abs(back.turn_rate) < 2.0).all()
    assert (back.turn_rate > 0).all()


def test_only_those_are_lit_who_may_be() -> None:
    here = aim()
    acts = np.arange(COUNT) % 2 == 0
    position = here.position.copy()
    position[0] = [500.0, 500.0]
    here = dataclasses.replace(
        here, acts=acts, position=position, oriented=np.arange(COUNT) % 4 != 0
    )
    command = Command(speed=np.full(COUNT, 1.0), turn_rate=np.full(COUNT, 0.1))
    driver = steering()
    spots = driver.order(command, here)["light"]
    lit = acts & (np.arange(COUNT) != 0)
    assert set(spots.colloid) == set(here.identity[lit])
    back = driver.applied({"light": spots}, command, here)
    np.testing.assert_allclose(back.speed, np.where(lit, 1.0, 0.0))
    np.testing.assert_allclose(back.turn_rate, np.where(lit & here.oriented, 0.1, 0.0), rtol=1e-6)


def test_headings_and_velocities_are_turned_to() -> None:
    here = aim()
    driver = steering(None, "speed", "heading", "velocity")
    asked = here.angle + 0.05
    heading = np.column_stack([np.cos(asked), np.sin(asked)])
    command = Command(speed=np.full(COUNT, 3.0), heading=heading, has_heading=np.ones(COUNT, bool))
    spots = driver.order(command, here)
    full = driver.applied(spots, Command(speed=command.speed, turn_rate=np.zeros(COUNT)), here)
    np.testing.assert_allclose(full.speed, 3.0, rtol=1e-6)
    swim = Command(velocity=2.0 * heading)
    back = driver.applied(driver.order(swim, here), swim, here)
    np.testing.assert_allclose(back.velocity, 2.0 * np.cos(0.05) * here.director, rtol=1e-6)


def test_power_and_offset_are_drawn_as_they_are() -> None:
    driver, here = steering(None, "power", "spot_offset"), aim()
    rng = np.random.default_rng(3)
    command = Command(
        power=rng.uniform(0.1, 1.9, COUNT), spot_offset=rng.uniform(-1, 1, (COUNT, 2))
    )
    back = driver.applied(driver.order(command, here), command, here)
    np.testing.assert_allclose(back.power, command.power)
    np.testing.assert_allclose(back.spot_offset, command.spot_offset, atol=1e-9)


def test_what_is_missing_is_said() -> None:
    with pytest.raises(CalibrationError, match="calibrate the part 'pattern'"):
        steering(known=calibration(pattern=None))
    with pytest.raises(CalibrationError, match="part 'speed'"):
        steering(known=calibration(speed=None))
    with pytest.raises(CalibrationError, match="part 'turn'"):
        steering(known=calibration(turn=None))
    steering(None, "power", known=calibration(speed=None, turn=None))
    with pytest.raises(ConfigError, match="take one kind"):
        SteeringConfig(channels=("speed", "power"))
    with pytest.raises(ConfigError, match="set feels to disc"):
        SteeringConfig(feels="point", turning="quadrants")
