"""The front door: names, files, and clear words about what cannot be checked."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from swarmctl.core.errors import ConfigError, UnknownNameError
from swarmctl.testing import Report, check

GOOD = """
from __future__ import annotations
from typing import Any
import jax.numpy as jnp
from swarmctl.core.contracts import Observable
from swarmctl.core.tree import pytree
from swarmctl.core.state import SwarmState
from helper_beside import OFFSET


@pytree
class Height(Observable):
    def names(self, spec: Any) -> tuple[str, ...]:
        return ("height",)

    def init(self, state: SwarmState, space: Any) -> Any:
        return ()

    def observe(self, state: SwarmState, memory: Any, space: Any) -> Any:
        value = state.position[:, 1] + OFFSET
        return jnp.where(state.present, value, 0)[:, None], memory


@pytree
class Unmasked(Height):
    def observe(self, state: SwarmState, memory: Any, space: Any) -> Any:
        value = state.position[:, 1] - state.position[:, 1].mean()
        return value[:, None], memory


def make_height() -> Height:
    return Height()


class Needy:
    def __init__(self, size: int) -> None:
        self.size = size


ready = Height()
number = 5
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "my_parts.py"
    path.write_text(GOOD)
    (tmp_path / "helper_beside.py").write_text("OFFSET = 1.0\n")
    return path


@pytest.mark.parametrize("thing", ["Height", "make_height", "ready"])
def test_class_function_and_instance_in_a_file_are_checked_and_leave_no_trace(
    thing: str, file: Path
) -> None:
    before, path = set(sys.modules), list(sys.path)
    report = check(f"{file}:{thing}")
    assert report.ok, str(report)
    assert "piece.absent-rows" in report.passed
    assert sys.path == path
    assert not any("my_parts" in n or "helper_beside" in n for n in set(sys.modules) - before)


def test_observable_that_forgets_who_is_absent_is_found(file: Path) -> None:
    report = check(f"{file}:Unmasked")
    assert report.broken == {"piece.absent-rows"}, str(report)


@pytest.mark.parametrize(
    ("thing", "says"),
    [
        (":Heigth", "Did you mean 'Height'"),
        (":Needy", r"needs arguments \(size\)"),
        (":number", "5 cannot be checked. Supported are a Scenario"),
        ("", "say which thing in the file"),
    ],
)
def test_what_cannot_be_checked_is_refused_with_a_way_on(thing: str, says: str, file: Path) -> None:
    with pytest.raises(ConfigError, match=says):
        check(f"{file}{thing}")


def test_missing_and_broken_files_are_named(file: Path) -> None:
    with pytest.raises(ConfigError, match=r"Did you mean 'my_parts\.py'"):
        check(f"{file.parent / 'my_part.py'}:Height")
    file.write_text("import nothing_of_this_name\n")
    with pytest.raises(ConfigError, match="cannot be imported: ModuleNotFoundError"):
        check(f"{file}:Height")
    assert not any("my_parts" in name for name in sys.modules)


def test_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'Chemotaxis-v0'"):
        check("swarmctl/Chemotaxs-v0")


def test_registered_agent_is_checked_by_name() -> None:
    report = check("swarmctl/constant", colloids=2, control_interval=0.02)
    assert report.ok, str(report)
    assert "agent.shapes" in report.passed


def test_action_maps_and_tasks_of_the_package_are_checked_by_file() -> None:
    from swarmctl.envs.make import make_scenario
    from swarmctl.testing import check_action_map, check_task

    scenario = make_scenario("Chemotaxis-v0", colloids=2)
    for report in (check_action_map(scenario.actions), check_task(scenario.task)):
        assert report.ok, str(report)
        assert not report.skipped


def test_report_reads_as_a_list_of_rules_with_remedies(file: Path) -> None:
    text = str(check(f"{file}:Unmasked"))
    first, *lines = text.splitlines()
    assert first.startswith("Unmasked: 5 rules hold, ")
    assert any(line.startswith("  FOUND piece.absent-rows: ") for line in lines)
    assert any(line.strip().startswith("-> mask with jnp.where") for line in lines)
    joined = Report("a", ["x"], [], {"y": "why"}) + Report("b", ["z"])
    assert (joined.subject, joined.passed, joined.skipped) == ("a", ["x", "z"], {"y": "why"})
    assert np.all([joined.ok, not joined.broken])
