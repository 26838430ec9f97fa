"""The verb `calibrate` on virtual laboratories with coils, a stage, or a slide: the truth."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

pytest.importorskip("numba", reason="the extra 'vision' is not installed")

from swarmctl.bridge.orders import Standing
from swarmctl.bridge.virtual.sample_config import (
    CoilsConfig,
    MotorsConfig,
    SampleConfig,
    TimingConfig,
    grid_slide,
)
from swarmctl.bridge.virtual.virtual_sample import VirtualSample
from swarmctl.core.errors import CalibrationError, ConfigError, UnknownNameError
from swarmctl.core.registry import load_file
from swarmctl.core.species import Species
from swarmctl.core.world import Box, GlobalField, World
from swarmctl.lab.calibrate import Calibrated, calibrate
from swarmctl.lab.calibrate_config import CalibrateConfig
from swarmctl.optics.affine import ViewConfig
from swarmctl.optics.optics_config import (
    CameraConfig,
    IlluminationConfig,
    JanusConfig,
    OpticsConfig,
)

RADIUS, PIXEL, TURN = 2.4, 0.25, 0.4
VIEW = ViewConfig(PIXEL, rotation=TURN, mirror=True, centre=(45.0, 45.0))


def magnetic() -> SampleConfig:
    """Colloids in bright field with a moment along what is seen of them; coils and a stage."""
    species = Species(name="magnets", count=24, radius=RADIUS, magnetic_moment=2.5, rolling=0.3)
    return SampleConfig(
        world=World(
            box=Box(size=(90.0, 90.0)),
            species=(species,),
            field=GlobalField(strength_max=25.0, frequency_max=50.0),
        ),
        optics=OpticsConfig(
            view=VIEW,
            look=JanusConfig(radius=RADIUS, edge=0.2),
            illumination=IlluminationConfig(background=800.0, vignetting=0.1),
            camera=CameraConfig(width=224, height=224),
        ),
        coils=CoilsConfig(),
        motors=MotorsConfig(),
        timing=TimingConfig(tick=0.01, period=0.05, exposure=0.01),
        seed=4,
    )


@pytest.fixture(scope="module")
def rooms() -> ModuleType:
    return load_file(Path(__file__).parent / "sample_room.py").module


@pytest.fixture(scope="module")
def sample() -> VirtualSample:
    return VirtualSample(magnetic(), 100.0)


def run(room, *parts: str, **keys) -> Calibrated:  # type: ignore[no-untyped-def]
    view = {"pixel_size": PIXEL, "rotation": TURN, "mirror": True} | keys
    config = CalibrateConfig(rig=room.path, operator="Ada", parts=parts, radius=RADIUS, **view)
    done = calibrate(config, room.parts, say=lambda _: None)
    assert room.gate.standing is Standing.DISCONNECTED
    return done


S, C = np.sin(0.3), np.cos(0.3)
AXES = {
    "as they are": [[1, 0], [0, 1]],
    "one is reversed": [[1, 0], [0, -1]],
    "swapped": [[0, 1], [1, 0]],
    "swapped, one reversed, turned": [[S, -C], [-C, -S]],
}


@pytest.mark.parametrize("axes", AXES)
def test_coils_that_lie_anyhow(rooms, sample, tmp_path, axes: str) -> None:  # type: ignore[no-untyped-def]
    """The field per current comes out within 0.1 rad of the truth, its strength as it was given."""
    true = np.diag([0.9, 1.2, 1.0])
    true[:2, :2] = np.array(AXES[axes]) @ true[:2, :2]
    matrix = tuple(map(tuple, true.tolist()))
    config = dataclasses.replace(sample.config, coils=CoilsConfig(matrix=matrix))
    sample.config = config
    room = rooms.Room(config, tmp_path, sample)
    done = run(room, "view", "field", field_per_current=(0.9, 1.2, 1.0), field_pulse=0.8)
    found = done.calibration.field
    assert found is not None
    np.testing.assert_allclose(found.matrix, true, atol=0.1 * 1.2)
    np.testing.assert_allclose(
        np.linalg.norm(np.asarray(found.matrix)[:2, :2], axis=0), [0.9, 1.2], rtol=1e-6
    )
    assert found.polarity_error is not None
    assert found.polarity_error < 0.3
    assert not room.gate.cut
    assert "the coils' axes are" in done.text


def test_coils_by_rollers(rooms, sample, tmp_path) -> None:  # type: ignore[no-untyped-def]
    """Rollers show the axes within 0.15 rad, when one of them is reversed and both are swapped."""
    true = np.array([[0, -1.2, 0], [-0.9, 0, 0], [0, 0, 1.0]])
    config = dataclasses.replace(sample.config, coils=CoilsConfig(tuple(map(tuple, true.tolist()))))
    sample.config = config
    room = rooms.Room(config, tmp_path, sample)
    keys = {"field_by": "rolling", "field_frequency": 0.5, "field_pulse": 1.2}
    done = run(room, "view", "field", field_per_current=(0.9, 1.2, 1.0), **keys)
    assert done.calibration.field is not None
    np.testing.assert_allclose(done.calibration.field.matrix, true, atol=0.15 * 1.2)
    assert not room.gate.cut
    assert "rolled at" in done.text
    with pytest.raises(CalibrationError, match="frequency would have to be"):
        run(room, "field", **(keys | {"field_frequency": 40.0}))


def test_what_coils_need(rooms, sample, tmp_path) -> None:  # type: ignore[no-untyped-def]
    room = rooms.Room(sample.config, tmp_path, sample)
    with pytest.raises(CalibrationError, match="Hall probe"):
        run(room, "view", "field")
    with pytest.raises(CalibrationError, match="probing allows"):
        run(room, "view", "field", field_per_current=(1.0, 1.0, 1.0), field_strength=50.0)
    with pytest.raises(CalibrationError, match="has 1 numbers"):
        run(room, "view", "field", field_per_current=(1.0,))


def test_the_view_by_moves_of_the_stage(rooms, sample, tmp_path) -> None:  # type: ignore[no-untyped-def]
    """Pixel size within 1 %, rotation and mirroring within 0.02 rad, and nothing was told.

    Ten colloids in view diffuse by 1.3 px each way in the half second of a move.
    """
    room = rooms.Room(sample.config, tmp_path, sample)
    done = run(room, "view", view_from="stage", pixel_size=None, rotation=0.0, mirror=False)
    view = done.calibration.view
    true = VIEW.affine(224, 224)
    assert view.source == "stage"
    assert view.map.pixel_size == pytest.approx(PIXEL, rel=0.01)
    np.testing.assert_allclose(view.map.matrix, true.matrix, atol=0.02 / PIXEL)
    assert view.residual < 2.0
    assert not room.gate.cut
    with pytest.raises(UnknownNameError, match="no output 'table'"):
        run(room, "view", view_from="stage", stage="table")


def test_a_move_that_was_cut_counts_as_it_was_sent(rooms, sample, tmp_path) -> None:  # type: ignore[no-untyped-def]
    """Probing lets 14 of 40 µm through: the pixel size is the true one within 1 %."""
    config = dataclasses.replace(sample.config, motors=MotorsConfig(travel=70.0))
    room = rooms.Room(config, tmp_path, sample)
    done = run(room, "view", view_from="stage", pixel_size=None, stage_step=40.0)
    assert done.calibration.view.map.pixel_size == pytest.approx(PIXEL, rel=0.01)
    assert room.gate.cut


def test_the_view_by_a_grid(rooms, tmp_path) -> None:  # type: ignore[no-untyped-def]
    """Pixel size within 0.2 %, rotation within 2 mrad."""
    slide = grid_slide()
    room = rooms.Room(slide, tmp_path)
    done = run(room, "view", view_from="grid", pixel_size=None, rotation=0.0, mirror=False)
    view = done.calibration.view
    pixel = slide.optics.view.pixel_size
    assert view.map.pixel_size == pytest.approx(pixel, rel=0.002)
    np.testing.assert_allclose(view.map.matrix, slide.optics.affine.matrix, atol=0.002 / pixel)
    assert view.residual < 0.3


def test_a_stage_without_motors_does_not_move(sample) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ConfigError, match="within 100 µm"):
        sample.move(np.array([200.0, 0.0]))
    with pytest.raises(ConfigError, match="within 100 µm"):
        sample.move(np.array([np.nan, 0.0]))
    still = VirtualSample.__new__(VirtualSample)
    still.config = dataclasses.replace(sample.config, motors=None)
    with pytest.raises(ConfigError, match="no motors"):
        still.move(np.zeros(2))
