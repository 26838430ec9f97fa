"""The toy laboratory of the microscope's tests."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest

from swarmctl.core.registry import load_file


@pytest.fixture(scope="session")
def toy() -> ModuleType:
    return load_file(Path(__file__).parents[1] / "bridge/microscope/toy_lab.py").module
