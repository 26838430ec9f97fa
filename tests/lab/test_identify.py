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
from swarmctl.testing.hidden_labs import LIGHT, HiddenLabs, record_labs

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


def test_light() -> None:
    """Slope, threshold, saturation and steering of light are found within 2 half intervals."""
    labs = dataclasses.replace(SMALL, randomise=LIGHT, light=True)
    truths, recordings = record_labs(labs, 1, seed=1)
    fits = [
        (truth, identify(recording, ASKED, radius=[labs.radius]))
        for truth, recording in zip(truths, recordings, strict=True)
    ]
    found = deviations(fits)
    assert {"slope", "threshold", "steering", "delay"} <= set(found)
    assert np.abs(np.concatenate(list(found.values()))).max() < 2
    without = identify(recordings[0], ASKED).species[0]["steering"]
    assert "radius" in without.reason


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
