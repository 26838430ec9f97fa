"""The toy laboratory, as a fixture: with importlib mode, tests cannot import their neighbours."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest

from swarmctl.core.registry import load_file


@pytest.fixture(scope="session")
def toy() -> ModuleType:
    return load_file(Path(__file__).parent / "toy_lab.py").module
