"""The quick cases of the validation suite: the same functions that make docs/validation.md.

Statistics. `effort` scales the number of independent swarms so that errors are below a third of the
tolerance where a row must pass; seeds are fixed. Cases whose contents other tests state already
(free particles, rods, bodies, pairs, order of the scheme) are left to them.
"""

from __future__ import annotations

import importlib
import json
import math
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

SUITE = Path(__file__).resolve().parents[2] / "benchmarks" / "validation"


@pytest.fixture
def suite(monkeypatch: pytest.MonkeyPatch):
    """Import a module of the suite by name."""
    monkeypatch.syspath_prepend(str(SUITE))

    def load(name: str) -> ModuleType:
        return importlib.import_module(name)

    yield load
    for path in SUITE.glob("*.py"):
        sys.modules.pop(path.stem, None)


@pytest.mark.parametrize(
    ("module", "function", "effort"),
    [
        ("cases_shapes", "jeffery", 0.5),
        ("cases_shapes", "rotating_field", 1.0),
        ("cases_delay", "no_delay", 0.1),
    ],
)
def test_case_passes(suite, module: str, function: str, effort: float) -> None:
    """Orbits in shear 0.1 %, moments in a rotating field 0.5 %, steering without delay 3 %."""
    result = getattr(suite(module), function)(effort, seed=1)
    wrong = [r for r in result.rows if r.verdict != "pass"]
    assert result.rows
    assert not wrong, wrong


def test_moments_in_a_trap(suite) -> None:
    """Fokker–Planck moments of an active particle, 1 %; the time step biases by 0.1 %."""
    for r in suite("cases_trap").trap(0.3, seed=1).rows:
        # 77 swarms: errors up to 0.45 % for the fourth moment of the second set in the second set
        assert abs(r.value - r.reference) < max(r.tolerance, 3 * r.error), r
        assert r.error < r.tolerance / 2, r


def test_directors_in_a_field_follow_boltzmann(suite) -> None:
    for r in suite("cases_trap")._moment_in_field(0.1, 1):
        assert abs(r.value - r.reference) < max(r.tolerance, 3 * r.error), r
        assert r.error < r.tolerance / 2, r


def test_places_of_a_spheroid_do_not_know_its_director(suite) -> None:
    """Unequal frictions, Itô noise, an anisotropic trap: Boltzmann's distribution all the same."""
    for r in suite("cases_trap")._spheroid_in_trap(0.1, 1):
        assert abs(r.value - r.reference) < max(r.tolerance, 3 * r.error), r
        assert r.error < r.tolerance / 2, r


def test_spheroids_diffuse_as_perrin_says(suite) -> None:
    for r in suite("cases_shapes").perrin(0.1, seed=1).rows:
        assert abs(r.value - r.reference) < max(r.tolerance, 3 * r.error), r


@pytest.mark.parametrize("aspect", [0.1, 0.5, 1.5, 10.0])
def test_frictions_of_spheroids_are_kim_and_karrilas(suite, aspect: float) -> None:
    from swarmctl.core.friction import spheroid_friction

    ours = spheroid_friction(1.3, aspect, 2e-3)
    theirs = suite("cases_shapes").perrin_frictions(1.3, aspect, 2e-3)
    found = (ours.along, ours.across, ours.rotation_across)
    np.testing.assert_allclose(found, theirs, rtol=1e-9)


def test_decay_length_of_slow_sedimentation_is_that_of_an_effective_temperature(suite) -> None:
    """κ → v_s/D_eff as v_s → 0, correction 7(v_s/v)²/4 where D_t is small."""
    walls = suite("cases_walls")
    effective = walls.SPEED**2 / 2 / walls.ROTATIONAL
    slow = walls.decay_rate(0.01 * walls.SPEED, 1e-9) * effective / (0.01 * walls.SPEED)
    fast = walls.decay_rate(0.1 * walls.SPEED, 1e-9) * effective / (0.1 * walls.SPEED)
    assert slow == pytest.approx(1, abs=3e-4)
    assert fast - 1 == pytest.approx(7 / 4 * 0.1**2, rel=0.15)


def test_verdicts(suite) -> None:
    row = suite("harness").row
    assert row("a", (1.005, 0.001), 1.0, 0.01, "s").verdict == "pass"
    assert row("a", (1.02, 0.001), 1.0, 0.01, "s").verdict == "fail"
    assert row("a", (1.0, 0.006), 1.0, 0.01, "s").verdict == "unclear"
    assert row("a", math.nan, 1.0, 0.01, "s").verdict == "fail"
    assert row("a", 0.02, 0.0, 0.05, "s", absolute=True).verdict == "pass"


def test_results_survive_storage_and_make_a_table(suite, tmp_path: Path) -> None:
    harness, page = suite("harness"), suite("page")
    rows = [harness.row("⟨|x|⟩", (1.0, 0.001), 1.001, 0.01, "theory")]
    result = harness.Result(rows, {"c": {"x": np.arange(3.0)}}, ["A remark."])
    path = tmp_path / "r.json"
    about = {"case": "none", "seed": 1, "dtype": "float32", "wall_s": 2.0}
    result.save(path, about)
    again, said = harness.load(path)
    assert again.rows == rows
    assert again.curves == {"c": {"x": [0.0, 1.0, 2.0]}}
    assert said == about
    assert json.loads(path.read_text("utf-8"))["case"] == "none"
    text = page.table({"Title": path})
    assert "| ⟨\\|x\\|⟩ | 1 | 1.001 | 0.001 | 1 % | pass | theory |" in text
    assert "A remark. Seed 1, float32, 2 s." in text


def test_errors_of_means_and_of_functions_of_means(suite) -> None:
    """The jackknife error of a linear function is that of the mean."""
    harness = suite("harness")
    samples = np.random.default_rng(0).normal(3.0, 2.0, 400)
    mean, error = harness.mean_error(samples)
    assert error == pytest.approx(2.0 / 20, rel=0.1)
    value, again = harness.jackknife(lambda m: 2 * m, samples)
    assert value == pytest.approx(2 * mean)
    assert again == pytest.approx(2 * error)
