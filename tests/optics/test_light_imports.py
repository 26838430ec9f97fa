"""A renderer's or tracker's process needs no JAX; without numba one clear error says so."""

import subprocess
import sys

import pytest

import swarmctl.optics
from swarmctl.core.errors import MissingExtraError
from swarmctl.optics.image_formation import ImageFormation
from swarmctl.optics.optics_config import OpticsConfig


def test_images_and_tracks_need_no_jax():
    code = (
        "import sys\n"
        "import swarmctl.optics.image_formation, swarmctl.bridge.vision.tracker\n"
        "import swarmctl.bridge.vision.spots, swarmctl.bridge.vision.janus\n"
        "assert 'jax' not in sys.modules\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr


def test_without_numba_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "numba", None)
    monkeypatch.delitem(sys.modules, "swarmctl.optics.compiled_light", raising=False)
    monkeypatch.delattr(swarmctl.optics, "compiled_light", raising=False)
    with pytest.raises(MissingExtraError, match=r"swarmctl\[vision\]"):
        ImageFormation(OpticsConfig())
