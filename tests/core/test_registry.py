"""Registries refuse duplicates, answer unknown names, and import only when asked."""

from __future__ import annotations

import subprocess
import sys

import pytest

from swarmctl.core import registry
from swarmctl.core.errors import ConfigError, DuplicateNameError, UnknownNameError
from swarmctl.core.registry import Registry, load_target


@pytest.fixture
def fruit() -> Registry:
    result = Registry("fruit")
    result.register("pear", "math:pi", "green")
    result.register("apple", "no.such.module:thing", "red")
    return result


def test_names_are_found_sorted_and_loaded_late(fruit: Registry) -> None:
    assert fruit.names() == ["apple", "pear"]
    assert [entry.name for entry in fruit] == ["apple", "pear"]
    assert "pear" in fruit
    assert "plum" not in fruit
    assert fruit["pear"].load() == pytest.approx(3.14159, abs=1e-5)
    assert fruit["apple"].summary == "red"
    with pytest.raises(ModuleNotFoundError):
        fruit["apple"].load()


def test_a_taken_name_is_refused(fruit: Registry) -> None:
    with pytest.raises(DuplicateNameError, match="fruit 'pear' is already registered as 'math:pi'"):
        fruit.register("pear", "math:e", "other")
    assert fruit["pear"].target == "math:pi"


def test_an_unknown_name_is_answered(fruit: Registry) -> None:
    with pytest.raises(
        UnknownNameError,
        match=r"Unknown fruit 'aple'\. Did you mean 'apple'\? Allowed: apple, pear",
    ):
        fruit["aple"]
    with pytest.raises(UnknownNameError, match=r"\(none\)"):
        Registry("stone")["any"]


@pytest.mark.parametrize("target", ["math", "math:", "math:no_such_thing"])
def test_targets_that_lead_nowhere(target: str) -> None:
    with pytest.raises(ConfigError, match="math"):
        load_target(target)


def test_registries_answer_without_jax() -> None:
    """Names, worlds and specs are known without starting JAX."""
    program = (
        "import sys; from swarmctl.core import registry, world, spec, config, units; "
        "assert 'jax' in registry.engines; world.World(); "
        "assert 'jax' not in sys.modules"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True)


def test_the_embedded_engine_is_registered() -> None:
    assert registry.engines["jax"].load().__name__ == "JaxEngine"
