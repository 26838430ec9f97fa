"""Delays from frames and ways: the truth, within a part of a frame."""

from __future__ import annotations

import numpy as np
import pytest

from swarmctl.core.errors import CalibrationError
from swarmctl.lab.calibrate_delay import fit_response, response_lag, switch_time

PERIOD, EXPOSURE = 0.05, 0.02


def seen(on: float) -> tuple[np.ndarray, np.ndarray]:
    """Brightness of frames that integrate a light that goes on at `on`."""
    time = np.arange(8) * PERIOD
    lit = np.clip((time + EXPOSURE / 2 - on) / EXPOSURE, 0, 1)
    return time, 20 + 100 * lit


@pytest.mark.parametrize("on", np.linspace(0.1, 0.2, 11))
def test_when_light_went_on(on: float) -> None:
    """Exactly where it falls into an exposure, within half the gap between two of them else."""
    time, brightness = seen(on)
    found = switch_time(time, brightness, EXPOSURE)
    phase = (on - time + EXPOSURE / 2) % PERIOD
    inside = ((phase > 0.1 * EXPOSURE) & (phase < 0.9 * EXPOSURE)).any()
    assert abs(found - on) <= (1e-9 if inside else (PERIOD - 0.8 * EXPOSURE) / 2 + 1e-9)


def test_light_that_does_not_change_is_refused() -> None:
    with pytest.raises(CalibrationError, match="not seen to go on"):
        switch_time(np.arange(6) * 0.05, np.array([1, 1.1, 1, 5, 1, 1.0]), 0.02)
    with pytest.raises(CalibrationError, match="at least 4 frames"):
        switch_time(np.arange(2.0), np.arange(2.0), 0.02)


@pytest.mark.parametrize(("dead", "tau"), [(0.03, 0.0001), (0.05, 0.08)])
def test_how_late_colloids_swim(dead: float, tau: float) -> None:
    """Mean way of 200 pulses of 3 µm/s with 0.03 µm of noise each: within 10 ms."""
    rng = np.random.default_rng(0)
    time = np.arange(-4, 25) * PERIOD
    passed = np.maximum(time - dead, 0)
    way = 3.0 * (passed - tau * (1 - np.exp(-passed / tau)))
    way = way + rng.normal(0, 0.03 / np.sqrt(200), len(time))
    assert response_lag(time, way, 0.5) == pytest.approx(dead + tau, abs=0.01)
    found, rise, speed = fit_response(time, way)
    assert found + rise == pytest.approx(dead + tau, abs=0.01)
    assert found == pytest.approx(dead, abs=0.02)
    assert speed == pytest.approx(3.0, rel=0.02)


def test_colloids_that_rest_have_no_lag() -> None:
    time = np.arange(-4, 25) * PERIOD
    with pytest.raises(CalibrationError, match="do not swim"):
        response_lag(time, -0.1 * time, 0.5)
