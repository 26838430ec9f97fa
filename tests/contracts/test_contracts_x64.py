"""Every registered id works under jit, vmap and scan in float64 too. x64 is process-wide: a
process of its own.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("x64_program.py")


@pytest.mark.timeout(600)
def test_every_registered_id_in_x64_without_a_warning() -> None:
    """The program checks shapes and dtypes and exits with the first breach; warnings are errors."""
    done = subprocess.run(
        [sys.executable, "-W", "error", str(PROGRAM)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "all ids" in done.stdout
