"""Laboratories at the other end of a link: the simulated one of the examples, and written ones."""

import importlib.util
import threading
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "lab_peer.py"


@pytest.fixture(scope="session")
def lab_peer():
    """Return the module examples/lab_peer.py."""
    spec = importlib.util.spec_from_file_location("lab_peer_example", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def beside():
    """Run a function in a thread beside the test; at the end of the test it must be over."""
    threads = []

    def run(function, *arguments):
        thread = threading.Thread(target=function, args=arguments, daemon=True)
        threads.append(thread)
        thread.start()
        return thread

    yield run
    for thread in threads:
        thread.join(10)
    assert not [thread for thread in threads if thread.is_alive()]
