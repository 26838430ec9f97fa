"""Habits of the sources that no linter knows: short modules, and a meaning for every key."""

import dataclasses
import importlib
import pkgutil
from pathlib import Path

import pytest

import swarmctl
import swarmctl.agents
import swarmctl.envs
from swarmctl.core import registry
from swarmctl.core.config import describe

ROOT = Path(__file__).resolve().parents[2]
LONGEST = 450
MODULES = sorted(
    path for top in ("swarmctl", "envs", "agents") for path in (ROOT / top).rglob("*.py")
)
TESTS = sorted((ROOT / "tests").rglob("*.py"))
ENTRIES = [*registry.engines, *registry.scenarios, *registry.agents]


def configurations():
    """Classes any field of which says what it means."""
    for package in (swarmctl, swarmctl.envs, swarmctl.agents):
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            for value in vars(importlib.import_module(found.name)).values():
                if isinstance(value, type) and dataclasses.is_dataclass(value):
                    fields = dataclasses.fields(value)
                    if any("doc" in field.metadata for field in fields):
                        yield value


def test_modules_are_short():
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in MODULES}
    assert {name: lines for name, lines in lengths.items() if lines > LONGEST} == {}


def test_modules_say_what_they_are_for():
    empty = [
        path
        for path in MODULES
        if path.read_text().strip() and not path.read_text().startswith('"""')
    ]
    assert empty == []


def test_every_key_has_a_meaning():
    classes = set(configurations())
    assert len(classes) > 10
    missing = [
        f"{cls.__module__}.{cls.__name__}.{field.name}"
        for cls in classes
        for field in dataclasses.fields(cls)
        if field.init and not field.metadata.get("doc", "").strip()
    ]
    assert missing == []


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_registered_name_leads_to_something(entry):
    target = entry.load()
    assert (target.__doc__ or "").strip()
    assert entry.summary.strip()
    if dataclasses.is_dataclass(target):
        keys = [key for key, *_ in describe(target)]
        assert len(keys) == len(set(keys))
        assert all(meaning.strip() for *_, meaning in describe(target))


def test_tests_have_no_packages():
    # An __init__.py would make `tests` a package that shadows others; --import-mode=importlib
    # does without.
    assert [path for path in TESTS if path.name == "__init__.py"] == []
