"""The verb `lab demo`: a virtual laboratory, calibrated and driven by the demo's policy."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path

from swarmctl.bridge.virtual.lab import virtual_lab
from swarmctl.bridge.virtual.sample_config import SampleConfig
from swarmctl.core.actuator import Actuator
from swarmctl.core.errors import ConfigError
from swarmctl.core.world import World
from swarmctl.lab.calibrate import calibrate
from swarmctl.lab.calibrate_config import CalibrateConfig
from swarmctl.lab.configs import LabDemoConfig, RunConfig
from swarmctl.lab.run import RunResult, run
from swarmctl.optics.optics_config import JanusConfig
from swarmctl.training.experiment import load_experiment

OPERATOR = "swarmctl lab demo"
STEERING = 12.0
"""Turning by an offset of the light, strong enough for the turns that the policy asks for."""


def demo(config: LabDemoConfig, say: Callable[[str], None] = print) -> RunResult:
    """Start a virtual laboratory, calibrate it as one would a real one, and let a policy drive.

    Everything lies in `out`: the laboratory's files and what truly happened in `lab`, the record
    and the film in `run`. Raises ConfigError if there is no policy, and what `calibrate` and `run`
    raise.
    """
    if not config.policy.is_dir():
        raise ConfigError(
            f"{config.policy}: no such folder. Train the policy first: swarmctl demo --out "
            f"{config.policy}"
        )
    scenario = load_experiment(config.policy).built()
    sample = demo_sample(scenario.world)
    if config.lab:
        sample = sample.drawn(config.lab)
    folder = config.out / "lab"
    _make_room(folder, config.overwrite)
    with contextlib.ExitStack() as stack:
        say("starting the virtual laboratory")
        lab = stack.enter_context(virtual_lab(sample, folder))
        rig = lab.micromanager_rig if config.micromanager else lab.rig
        view = sample.optics.view
        calibration = CalibrateConfig(
            rig=rig,
            operator=OPERATOR,
            radius=scenario.world.species[0].radius,
            pixel_size=view.pixel_size,
            rotation=view.rotation,
        )
        calibrate(calibration, say=say)
        return run(
            RunConfig(
                rig=rig,
                agent=str(config.policy),
                operator=OPERATOR,
                seconds=config.seconds,
                images=True,
                view=config.view,
                out=config.out / "run",
                overwrite=config.overwrite,
            ),
            say,
        )


def demo_sample(world: World) -> SampleConfig:
    """Return a laboratory whose colloids have the size and number of a world's."""
    usual, species = SampleConfig(), world.species[0]
    swimmer = usual.world.species[0]
    light = swimmer.actuator or Actuator()
    swimmer = dataclasses.replace(
        swimmer,
        radius=species.radius,
        actuator=dataclasses.replace(light, steering=STEERING),
    )
    look = usual.optics.look
    if isinstance(look, JanusConfig):
        look = dataclasses.replace(look, radius=species.radius)
    return dataclasses.replace(
        usual,
        world=dataclasses.replace(usual.world, species=(swimmer,)),
        optics=dataclasses.replace(usual.optics, look=look),
    )


def _make_room(folder: Path, overwrite: bool) -> None:
    """Remove a laboratory that was there before, and nothing else."""
    if not folder.exists():
        return
    if not (folder / "sample.toml").exists():
        raise ConfigError(f"{folder}: exists, and is no virtual laboratory; give another --out.")
    if not overwrite:
        raise ConfigError(f"{folder}: holds a laboratory; give --overwrite or another --out.")
    shutil.rmtree(folder)
