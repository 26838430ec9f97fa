"""Configurations of virtual laboratories: written and read, checked, drawn; rig files of them."""

from dataclasses import replace

import pytest

from swarmctl.bridge.rig import read_rig
from swarmctl.bridge.virtual.rig_files import MICROMANAGER_RIG, RIG, cfg_text, write_rig_files
from swarmctl.bridge.virtual.sample_config import (
    CoilsConfig,
    SampleConfig,
    TimingConfig,
    bright_spots,
    read_sample,
    write_sample,
)
from swarmctl.core.actuator import Actuator
from swarmctl.core.disturbances import Delay, Disturbances
from swarmctl.core.errors import ConfigError
from swarmctl.core.species import Species
from swarmctl.core.world import Box, World
from swarmctl.optics.optics_config import DimerConfig, RodConfig

from .conftest import quiet_sample


@pytest.mark.parametrize("config", [SampleConfig(), bright_spots(), SampleConfig().drawn(5)])
def test_a_file_gives_back_what_was_written(config, tmp_path):
    write_sample(tmp_path / "sample.toml", config)
    assert read_sample(tmp_path / "sample.toml") == config


def test_draws_differ_by_their_seed_alone():
    base = SampleConfig()
    drawn = [base.drawn(seed) for seed in range(40)]
    assert drawn[7] == base.drawn(7)
    lights = [c.world.species[0].actuator for c in drawn]
    assert len({light.slope for light in lights}) == 40
    assert {light.steering > 0 for light in lights} == {True, False}
    assert {c.projector.view.mirror for c in drawn} == {True, False}
    for config in drawn:
        light, was = config.world.species[0].actuator, base.world.species[0].actuator
        assert 0.6 <= light.slope / was.slope <= 1.6
        assert 0.5 <= abs(light.steering / was.steering) <= 2.0
        assert 0.5 <= config.projector.delay / base.projector.delay <= 4.0
        assert config.timing.dropped <= 0.01


def species(**keys):
    return World(box=Box(size=(150.0, 150.0)), species=(Species(radius=2.4, **keys),))


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"world": World(box=Box(size=(99.0, 99.0, 99.0)))}, "plane"),
        ({"world": World(box=Box(size=(90.0, 150.0)))}, "enlarge the box"),
        (
            {"world": World(disturbances=Disturbances(delay=Delay(intervals=2)))},
            "delay is no disturbance of the sample",
        ),
        ({"world": species(actuator=Actuator(spot_radius=3.0))}, "leave spot_radius"),
        ({"world": species(actuator=Actuator(power_max=0.5))}, "power_max must reach"),
        ({"coils": CoilsConfig()}, "coils need a world with a field"),
    ],
)
def test_what_cannot_be_is_refused(changes, what):
    with pytest.raises(ConfigError, match=what):
        SampleConfig(**changes)


@pytest.mark.parametrize(
    ("keys", "what"),
    [
        ({"period": 0.052}, "whole number of ticks"),
        ({"exposure": 0.06}, "longer than the period"),
        ({"dropped": 1.0}, "dropped"),
        ({"jitter": -1.0}, "jitter"),
    ],
)
def test_times_that_cannot_be_are_refused(keys, what):
    with pytest.raises(ConfigError, match=what):
        TimingConfig(**keys)


@pytest.mark.parametrize("config", [SampleConfig(), bright_spots(), quiet_sample()])
def test_rig_files_are_rigs(config, tmp_path):
    config = replace(config, timing=TimingConfig(exposure=0.02))
    write_rig_files(tmp_path, config)
    direct, micromanager = read_rig(tmp_path / RIG), read_rig(tmp_path / MICROMANAGER_RIG)
    assert direct.camera.build().spec.exposure == 0.02
    assert direct.camera.address == tmp_path / "address.json"
    assert micromanager.camera.cfg == tmp_path / "camera.cfg"
    assert direct.outputs[0].driver.build().spec.shape == (
        config.projector.height,
        config.projector.width,
    )
    assert ("coils" in [output.name for output in direct.outputs]) == bool(config.coils)
    assert micromanager.outputs[0].driver.build().spec.own_timeout == 0.5
    assert direct.digest != micromanager.digest


@pytest.mark.parametrize(
    ("look", "kind"),
    [(RodConfig(), "rods"), (DimerConfig(), "dimers"), (DimerConfig(ratio=0.5), "dimers")],
)
def test_a_rig_looks_for_what_the_colloids_look_like(look, kind, tmp_path):
    config = SampleConfig()
    config = replace(config, optics=replace(config.optics, look=look))
    write_rig_files(tmp_path, config)
    detector = read_rig(tmp_path / RIG).detector
    assert detector.kind == kind
    assert detector.lowest < look.brightness * config.optics.camera.gain
    assert getattr(detector, "polar", False) == (getattr(look, "ratio", 1.0) != 1.0)


def test_a_path_that_no_cfg_file_can_hold_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="comma"):
        cfg_text("Camera", "VirtualLabCamera", tmp_path / "a,b" / "address.json")
