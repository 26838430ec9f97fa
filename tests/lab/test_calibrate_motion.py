"""Laws of light from simulated pulses: the truth lies within three standard errors."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from swarmctl.bridge.calibration import SpeedLaw
from swarmctl.bridge.microscope.light_law import SpotReach, speed_by_power
from swarmctl.core.errors import CalibrationError
from swarmctl.lab.calibrate_motion import (
    Pulses,
    cluster_errors,
    fit_speed,
    fit_turn,
    speeds,
    without_stuck,
)

LAW = SpeedLaw(slope=8.0, threshold=0.1, speed_max=4.0)
REACH = SpotReach.of(3.0, "gaussian", 2.0, 2.0)
D, D_R, SPAN = 0.1, 0.02, 0.8


def pulses(
    law: SpeedLaw = LAW, top: float = 1.0, steering: float = -3.0, seed: int = 0, spread: float = 0
) -> Pulses:
    """30 colloids with 30 pulses each: half of them centred, a tenth of these dark."""
    rng = np.random.default_rng(seed)
    colloid = np.repeat(np.arange(30), 30)
    count = len(colloid)
    power = rng.uniform(0, top, count) * (rng.uniform(size=count) > 0.1)
    across = np.where(np.arange(count) % 2, rng.uniform(-1.2, 1.2, count), 0.0)
    gain = np.exp(spread * rng.standard_normal(30))[colloid]
    speed = gain * speed_by_power(power * REACH.share(np.abs(across)), law)
    centre = np.sign(across) * REACH.centre_of(np.abs(across))
    turned = steering * speed * centre / 4.0 * SPAN
    turned = turned + np.sqrt(2 * D_R * SPAN) * rng.standard_normal(count)
    noise = np.sqrt(2 * D * SPAN) * rng.standard_normal((count, 2))
    along = speed * SPAN + noise[:, 0]
    return Pulses(
        colloid, power, across, np.full(count, SPAN), along, along**2 + noise[:, 1] ** 2, turned
    )


def centred(p: Pulses) -> Pulses:
    return p.take(p.across == 0)


@pytest.mark.parametrize("saturation", ["sharp", "smooth"])
@pytest.mark.parametrize("spread", [0.0, 0.1])
def test_the_law_of_speed(saturation: str, spread: float) -> None:
    law = dataclasses.replace(LAW, saturation=saturation)
    found = fit_speed(*speeds(centred(pulses(law, spread=spread))))
    assert found.saturation == saturation
    for name in ("slope", "threshold", "speed_max"):
        error = getattr(found, f"{name}_error")
        assert error > 0
        assert abs(getattr(found, name) - getattr(law, name)) < 3.5 * error, name
    assert found.slope_error < 0.25 * found.slope


def test_saturation_that_was_not_reached_is_not_made_up() -> None:
    found = fit_speed(*speeds(centred(pulses(top=0.45))))
    assert found.speed_max_error is None
    assert found.speed_max < 3.2
    assert abs(found.slope - 8.0) < 3.5 * found.slope_error


def test_speeds_without_orientation() -> None:
    """From squared distances, less those in the dark: within 10 % of the law."""
    p = centred(pulses())
    blind = dataclasses.replace(p, along=np.full(len(p.power), np.nan))
    power, speed, _ = speeds(blind)
    np.testing.assert_allclose(speed[3:], speed_by_power(power, LAW)[3:], rtol=0.1)
    with pytest.raises(CalibrationError, match="motion in the dark"):
        speeds(blind.take(blind.power > 0))


def test_who_is_stuck_does_not_count() -> None:
    p = pulses()
    bad = p.colloid < 3
    p = dataclasses.replace(p, along=np.where(bad, 0.01, p.along))
    rest, stuck = without_stuck(p)
    assert stuck == 3
    assert rest.colloid.min() == 3


@pytest.mark.parametrize("steering", [-3.0, 3.0, 0.8])
def test_the_sign_and_gain_of_turning(steering: float) -> None:
    found = fit_turn(pulses(steering=steering), LAW, REACH, 2.0)
    assert abs(found.steering - steering) < 3.5 * found.steering_error
    assert np.sign(found.steering) == np.sign(steering)


def test_no_sign_is_guessed() -> None:
    with pytest.raises(CalibrationError, match="not sure which way"):
        fit_turn(pulses(steering=0.0), LAW, REACH, 2.0)
    p = pulses()
    with pytest.raises(CalibrationError, match="orientation"):
        fit_turn(dataclasses.replace(p, turned=np.full(len(p.power), np.nan)), LAW, REACH, 2.0)


def test_nothing_that_swims_is_no_law() -> None:
    rng = np.random.default_rng(0)
    power = rng.uniform(0, 1, 300)
    with pytest.raises(CalibrationError, match="no swimming"):
        fit_speed(power, 0.3 * rng.standard_normal(300), np.repeat(np.arange(30), 10))
    with pytest.raises(CalibrationError, match="4 different powers"):
        fit_speed(np.ones(10), np.ones(10), np.arange(10))


def test_errors_of_a_mean_of_clusters() -> None:
    """With a design of ones, the error of a mean: that of the means of equal clusters."""
    rng = np.random.default_rng(1)
    cluster = np.repeat(np.arange(50), 4)
    values = rng.standard_normal(50)[cluster]
    error = cluster_errors(np.ones((200, 1)), values - values.mean(), cluster)[0]
    assert error == pytest.approx(values[::4].std(ddof=1) / np.sqrt(50), rel=0.02)
