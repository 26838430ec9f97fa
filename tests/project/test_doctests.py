"""Every module can be imported, and the examples in its docstrings are true."""

import doctest
import importlib
import pkgutil

import pytest

import swarmctl
import swarmctl.agents
import swarmctl.envs

# swarmctl.envs and swarmctl.agents lie elsewhere: a walk over swarmctl alone misses them.
PACKAGES = (swarmctl, swarmctl.envs, swarmctl.agents)
MODULES = sorted(
    {package.__name__ for package in PACKAGES}
    | {
        found.name
        for package in PACKAGES
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    }
)


def examples(name):
    """The docstrings of a module that hold examples."""
    found = doctest.DocTestFinder().find(importlib.import_module(name))
    return [test for test in found if test.examples]


@pytest.mark.parametrize("name", MODULES)
def test_examples_of(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    report = []
    for test in examples(name):
        runner.run(test, out=report.append)
    assert runner.summarize(verbose=False).failed == 0, "\n".join(report)


def test_there_are_examples():
    assert len(MODULES) > 50
    assert sum(len(examples(name)) for name in MODULES) >= 8
