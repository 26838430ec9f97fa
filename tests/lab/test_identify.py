"""System identification: hidden laboratories are found, with honest intervals."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from swarmctl.core.errors import ConfigError
from swarmctl.lab.identified import Identified
from swarmctl.lab.identify import Options, identify
from swarmctl.records.trajectory import Trajectory
from swarmctl.testing.hidden_labs import HiddenLabs, record_labs

ASKED = Options(commands="requested")
SMALL = HiddenLabs(colloids=20, fewest=16, time=80.0, shortest=60.0, parts=2)


@pytest.fixture(scope="module")
def labs() -> list[tuple[dict[str, float], Trajectory]]:
    return list(zip(*record_labs(SMALL, 8, seed=5), strict=True))


@pytest.fixture(scope="module")
def fits(labs: Any) -> list[tuple[dict[str, float], Identified]]:
    return [(truth, identify(recording, ASKED)) for truth, recording in labs]


def deviations(fits: Any) -> dict[str, np.ndarray]:
    """(estimate - truth) in half 95 % intervals, [labs] of every quantity that was found."""
    found: dict[str, list[float]] = {}
    for truth, fit in fits:
        for name, value in truth.items():
            q = fit.species[0][name]
            if q.value is not None:
                found.setdefault(name, []).append(2 * (q.value - value) / (q.high - q.low))
    return {name: np.asarray(values) for name, values in found.items()}


def test_truth_lies_in_the_intervals(fits: Any) -> None:
    """Of 72 intervals of 95 % all but 8 hold the truth, with probability 0.98; none misses it by
    more than twice its half width, 4 standard errors; nothing is biased by 1.2 standard errors.
    """
    found = deviations(fits)
    assert set(found) == set(fits[0][0])
    every = np.concatenate(list(found.values()))
    assert every.size == 72
    assert (np.abs(every) <= 1).sum() >= 64
    assert np.abs(every).max() < 2
    for name, values in found.items():
        assert abs(values.mean()) < 0.6, name


def test_residuals_of_a_right_model_pass_the_checks(fits: Any) -> None:
    checks = [check for _, fit in fits for check in fit.species[0].checks]
    assert len(checks) == 24
    assert sum(check.passed for check in checks) >= 22


def test_turning_the_other_way_is_found(fits: Any) -> None:
    """Laboratories with an odd number turn against the command."""
    signs = [np.sign(fit.species[0]["turn_gain"].value) for _, fit in fits]
    assert signs == [1, -1] * 4


def test_without_headings_motion_tells_the_rest(labs: Any) -> None:
    """Gain, D_r, D_t, delay, drift and the error of positions are found from motion alone, within
    2 half intervals (4 standard errors); what needs a heading is not given.
    """
    blind = [
        (truth, dataclasses.replace(seen, oriented=np.zeros_like(seen.oriented)))
        for truth, seen in labs[1:2]
    ]
    fits = [(truth, identify(recording, ASKED)) for truth, recording in blind]
    found = deviations(fits)
    assert set(found) == set(labs[0][0]) - {"heading_noise"}
    assert np.abs(np.concatenate(list(found.values()))).max() < 2
    for _, fit in fits:
        assert not fit.species[0].heading_seen
        assert fit.species[0]["heading_noise"].reason == "no heading is seen"


LAW = {"slope": 1.5, "threshold": 0.4, "speed_max": 2.0, "steering": 0.45, "delay": 0.24}
REST = {"diffusion": 0.1, "rotational_diffusion": 0.03, "drift_x": 0.2, "drift_y": 0.0}
ERRORS = {"position_noise": 0.04, "heading_noise": 0.08}
RADIUS = 2.0


@pytest.fixture(scope="module")
def lit() -> Trajectory:
    """80 s of 16 colloids under spots, integrated here in steps of 20 ms, delayed by 12 of them."""
    rng, (frames, count, parts, step) = np.random.default_rng(6), (800, 16, 5, 0.02)
    power = np.repeat(rng.uniform(0, 2.5, (frames // 8, count)), 8, axis=0)
    power *= np.repeat(rng.random((frames // 8, count)) > 0.25, 8, axis=0)
    around = np.repeat(rng.uniform(-np.pi, np.pi, (frames // 8, count)), 8, axis=0)
    spot = 1.5 * np.stack([np.cos(around), np.sin(around)], axis=-1)
    place, angle = np.zeros((count, 2)) + 60 * np.arange(count)[:, None], np.zeros(count)
    seen, faced = [], []
    for moment in range(frames * parts + 1):
        if moment % parts == 0:
            seen.append(place + ERRORS["position_noise"] * rng.normal(size=place.shape))
            faced.append(angle + ERRORS["heading_noise"] * rng.normal(size=count))
        acting = (moment - 12) // parts
        p, d = (power[acting], spot[acting]) if acting >= 0 else (0 * angle, 0 * place)
        if moment == frames * parts:
            break
        v = np.clip(LAW["slope"] * (p - LAW["threshold"]), 0, LAW["speed_max"])
        ahead = np.stack([np.cos(angle), np.sin(angle)], axis=1)
        turn = LAW["steering"] * v / RADIUS**2 * (ahead[:, 0] * d[:, 1] - ahead[:, 1] * d[:, 0])
        kick = rng.normal(size=(3, count)) * (2 * step) ** 0.5
        place = place + (v[:, None] * ahead + [REST["drift_x"], REST["drift_y"]]) * step
        place = place + REST["diffusion"] ** 0.5 * kick[:2].T
        angle = angle + turn * step + REST["rotational_diffusion"] ** 0.5 * kick[2]
    shape = (frames + 1, count)
    none, every = np.full(shape, np.nan), np.ones(shape, bool)
    return Trajectory(
        frame=np.arange(shape[0]),
        time=0.1 * np.arange(shape[0]),
        step=np.arange(shape[0]),
        episode=np.zeros(shape[0], np.int32),
        position=np.stack(seen),
        velocity=np.stack(seen),
        director=np.stack([np.cos(faced), np.sin(faced)], axis=-1),
        identity=np.tile(np.arange(count), (shape[0], 1)),
        species=np.zeros(shape, np.int32),
        present=every,
        oriented=every,
        controllable=every,
        reward=none,
        requested={},
        applied={
            "power": np.concatenate([none[:1], power]),
            "spot_offset": np.concatenate([np.stack([none[:1]] * 2, axis=-1), spot]),
        },
        observables={},
        size=np.array([1000.0, 1000.0]),
        periodic=(False, False),
        units={},
        metadata={},
    )


def test_light(lit: Trajectory) -> None:
    """Slope, threshold, saturation, steering, delay and noise within 2 half intervals."""
    found = deviations([(LAW | REST | ERRORS, identify(lit, radius=[RADIUS]))])
    assert set(found) == set(LAW | REST | ERRORS)
    assert np.abs(np.concatenate(list(found.values()))).max() < 2
    assert "radius" in identify(lit).species[0]["steering"].reason


def test_what_was_not_commanded_is_not_identified(labs: Any) -> None:
    """Nothing is made up: without commands there are no gains, and the checks see that the colloids
    move as if commanded.
    """
    _, recording = labs[0]
    nothing = {name: 0 * values for name, values in recording.requested.items()}
    still = dataclasses.replace(recording, requested=nothing)
    with pytest.raises(ConfigError, match="has no applied commands"):
        identify(recording)
    fit = identify(still, ASKED).species[0]
    for name in ("speed_gain", "turn_gain", "delay"):
        assert fit[name].value is None
        assert "commanded" in fit[name].reason
    assert not any(check.passed for check in fit.checks if check.name.startswith("slow"))


def test_a_delay_beyond_the_search_is_not_given(labs: Any) -> None:
    truth, recording = max(labs, key=lambda lab: lab[0]["delay"])
    assert truth["delay"] > 0.3
    short = dataclasses.replace(ASKED, longest_delay=0.2)
    assert "raise longest_delay" in identify(recording, short).species[0]["delay"].reason


def test_recordings_that_cannot_be_fitted_are_refused(labs: Any) -> None:
    _, good = labs[0]
    none = np.zeros_like(good.present)
    for changes, message in (
        ({"time": good.time[::-1]}, "do not rise"),
        ({"present": none}, "nobody is seen"),
        ({"position": np.concatenate([good.position, good.position[..., :1]], -1)}, "in 3D"),
        ({"requested": {"velocity": good.position}}, "no requested commands"),
        (
            {"requested": {**good.requested, "turn_rate": 60 * good.requested["turn_rate"]}},
            "cannot be followed",
        ),
        (
            {"requested": {**good.requested, "has_heading": good.present}},
            "commands of velocity or heading",
        ),
    ):
        with pytest.raises(ConfigError, match=message):
            identify(dataclasses.replace(good, **changes), ASKED)
    few = good.present.copy()
    few[:, 3:] = False
    with pytest.raises(ConfigError, match="at least 5"):
        identify(dataclasses.replace(good, present=few), ASKED)
    for options, message in (
        ({"commands": "sent"}, "allowed: applied, requested"),
        ({"longest_delay": 0.0}, "longest_delay"),
        ({"nearest": -1.0}, "nearest"),
    ):
        with pytest.raises(ConfigError, match=message):
            Options(**options)
