"""A small laboratory without chance, whose law of motion is exact, and one as it comes."""

from dataclasses import replace

import pytest

from swarmctl.bridge.virtual.camera import VirtualCameraConfig
from swarmctl.bridge.virtual.lab import virtual_lab
from swarmctl.bridge.virtual.light import VirtualLightConfig
from swarmctl.bridge.virtual.sample_config import (
    CoilsConfig,
    MotorsConfig,
    ProjectorConfig,
    SampleConfig,
    TimingConfig,
)
from swarmctl.core.actuator import Actuator
from swarmctl.core.species import Placement, Species
from swarmctl.core.world import Box, Fluid, GlobalField, World
from swarmctl.optics.affine import ViewConfig
from swarmctl.optics.optics_config import (
    CameraConfig,
    IlluminationConfig,
    JanusConfig,
    OpticsConfig,
)

LIGHT = Actuator(slope=10.0, threshold=0.1, steering=3.0)
RADIUS = 2.4


FIELD = GlobalField(strength_max=20.0, frequency_max=50.0)


def quiet_sample():
    """Four colloids that nothing but light moves, 16 µm apart, heading along +x.

    There are coils, but no colloid has a moment.
    """
    places = ((32.0, 32.0), (32.0, 48.0), (48.0, 32.0), (48.0, 48.0))
    swimmers = Species(
        name="janus",
        count=4,
        radius=RADIUS,
        speed_max=12.0,
        actuator=LIGHT,
        placement=Placement(region="points", positions=places, directors=((1.0, 0.0),) * 4),
    )
    return SampleConfig(
        world=World(
            box=Box(size=(80.0, 80.0)),
            species=(swimmers,),
            fluid=Fluid(temperature=0.0),
            field=FIELD,
        ),
        optics=OpticsConfig(
            view=ViewConfig(pixel_size=0.2, rotation=0.1, centre=(40.0, 40.0)),
            look=JanusConfig(radius=RADIUS),
            illumination=IlluminationConfig(background=800.0, vignetting=0.0),
            camera=CameraConfig(width=256, height=256),
        ),
        projector=ProjectorConfig(
            visible=120.0,
            width=320,
            height=256,
            view=ViewConfig(pixel_size=0.25, rotation=-0.4, mirror=True, centre=(42.0, 39.0)),
        ),
        coils=CoilsConfig(),
        motors=MotorsConfig(),
        timing=TimingConfig(period=0.05, exposure=0.01, readout=0.01, dropped=0.2),
        seed=1,
    )


def devices(lab):
    """The camera and the light of a laboratory, not connected."""
    camera, light = lab.config.optics.camera, lab.config.projector
    keys = {"width": camera.width, "height": camera.height}
    return (
        VirtualCameraConfig(lab.address, **keys).build(),
        VirtualLightConfig(
            lab.address, width=light.width, height=light.height, own_timeout=0.5
        ).build(),
    )


@pytest.fixture(scope="session")
def lockstep_lab(tmp_path_factory):
    """A quiet laboratory whose time goes on by its frames."""
    with virtual_lab(quiet_sample(), tmp_path_factory.mktemp("lockstep"), "lockstep") as lab:
        yield lab


@pytest.fixture(scope="session")
def live_lab(tmp_path_factory):
    """A laboratory in real time."""
    sample = replace(quiet_sample(), timing=TimingConfig())
    with virtual_lab(sample, tmp_path_factory.mktemp("live")) as lab:
        yield lab
