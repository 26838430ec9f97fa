"""Laboratories that differ as real ones do: what an agent must not rely on is drawn anew."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from swarmctl.bridge.virtual.sample_config import ProjectorConfig, SampleConfig, TimingConfig
from swarmctl.core.disturbances import Disturbances, Drift, StageDrift
from swarmctl.core.species import Species
from swarmctl.core.world import World
from swarmctl.optics.affine import ViewConfig
from swarmctl.optics.optics_config import OpticsConfig

DRIFT, STAGE = 0.3, 0.02
"""µm/s: largest steady drift of the fluid and of the stage, along an axis."""


def draw_laboratory(config: SampleConfig, seed: int) -> SampleConfig:
    """Draw another laboratory; equal seeds give equal ones.

    Light drives colloids 0.6 to 1.6 times as fast and turns them 0.5 to 2 times as fast, one way or
    the other; thresholds, friction and with it diffusion, the delays of light and frames and the
    noise are drawn likewise; fluid and stage drift; frames get lost, up to 1 %; camera and pattern
    are turned, mirrored and scaled anew. Sizes, looks, rates and walls stay. Raises ConfigError if
    the box is too small for the camera's new view.
    """
    random = np.random.default_rng([seed, 4])
    light = draw_view(config.projector.view, random, math.pi, 1.25)
    return replace(
        config,
        world=_world(config.world, random),
        optics=_optics(config.optics, random),
        projector=_projector(config.projector, light, random),
        timing=_timing(config.timing, random),
        stage=StageDrift(velocity=_vector(random, STAGE), diffusion=config.stage.diffusion),
        seed=int(random.integers(2**31)),
    )


def draw_view(
    view: ViewConfig, random: np.random.Generator, rotation: float, scale: float
) -> ViewConfig:
    """Turn a view by up to `rotation` rad, scale it by up to a factor, and mirror it or not."""
    return replace(
        view,
        rotation=view.rotation + float(random.uniform(-rotation, rotation)),
        pixel_size=view.pixel_size * _factor(random, 1 / scale, scale),
        mirror=bool(random.integers(2)),
    )


def _factor(random: np.random.Generator, low: float, high: float) -> float:
    """Uniform in its logarithm."""
    return float(np.exp(random.uniform(math.log(low), math.log(high))))


def _vector(random: np.random.Generator, most: float) -> tuple[float, float]:
    x, y = random.uniform(-most, most, 2).tolist()
    return x, y


def _world(world: World, random: np.random.Generator) -> World:
    disturbances = world.disturbances or Disturbances()
    drift = replace(disturbances.drift or Drift(), velocity=_vector(random, DRIFT))
    return replace(
        world,
        species=tuple(_species(s, world, random) for s in world.species),
        disturbances=replace(disturbances, drift=drift),
    )


def _species(species: Species, world: World, random: np.random.Generator) -> Species:
    light = species.actuator
    if light is not None:
        sign = -1.0 if random.integers(2) else 1.0
        light = replace(
            light,
            slope=light.slope * _factor(random, 0.6, 1.6),
            threshold=light.threshold * _factor(random, 0.5, 2.0),
            steering=light.steering * sign * _factor(random, 0.5, 2.0),
        )
    return replace(
        species,
        friction=world.friction(species) * _factor(random, 0.6, 1.6),
        rotational_friction=world.rotational_friction(species) * _factor(random, 0.4, 1.6),
        actuator=light,
    )


def _optics(optics: OpticsConfig, random: np.random.Generator) -> OpticsConfig:
    lamp, camera = optics.illumination, optics.camera
    return replace(
        optics,
        view=draw_view(optics.view, random, 0.15, 1.05),
        illumination=replace(lamp, background=lamp.background * _factor(random, 0.8, 1.25)),
        camera=replace(camera, read_noise=camera.read_noise * _factor(random, 0.5, 3.0)),
        seed=int(random.integers(2**31)),
    )


def _projector(
    projector: ProjectorConfig, view: ViewConfig, random: np.random.Generator
) -> ProjectorConfig:
    return replace(projector, view=view, delay=projector.delay * _factor(random, 0.5, 4.0))


def _timing(timing: TimingConfig, random: np.random.Generator) -> TimingConfig:
    return replace(
        timing,
        readout=timing.readout * _factor(random, 0.5, 2.5),
        jitter=float(random.uniform(0.0, 0.003)),
        dropped=float(random.uniform(0.0, 0.01)),
    )
