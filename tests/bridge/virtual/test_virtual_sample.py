"""The sample as a function of time: repeatable, delayed as it says, larger than what is seen."""

from dataclasses import replace

import numpy as np
import pytest

from swarmctl.bridge.virtual.faults import SampleFaults
from swarmctl.bridge.virtual.sample_config import CoilsConfig, SampleConfig, TimingConfig
from swarmctl.bridge.virtual.virtual_sample import VirtualSample
from swarmctl.core.disturbances import Disturbances, Drift, StageDrift
from swarmctl.core.species import Species
from swarmctl.core.world import Box, World
from swarmctl.optics.affine import ViewConfig
from swarmctl.optics.optics_config import CameraConfig, OpticsConfig

from .conftest import FIELD, LIGHT

TICK, DELAY = 0.005, 0.023


def crowd():
    """Colloids that a strong flow carries through a small field of view."""
    base = SampleConfig()
    swimmers = Species(
        name="janus",
        count=12,
        radius=1.0,
        speed_max=12.0,
        actuator=LIGHT,
        magnetic_moment=0.05,
    )
    return SampleConfig(
        world=World(
            box=Box(size=(30.0, 30.0)),
            species=(swimmers,),
            contacts=False,
            time_step=TICK,
            field=FIELD,
            disturbances=Disturbances(drift=Drift(velocity=(20.0, 0.0))),
        ),
        optics=OpticsConfig(
            view=ViewConfig(pixel_size=0.2, centre=(15.0, 15.0)),
            look=base.optics.look,
            camera=CameraConfig(width=64, height=64),
        ),
        projector=replace(
            base.projector,
            view=ViewConfig(pixel_size=0.2, centre=(15.0, 15.0)),
            width=200,
            height=200,
            delay=DELAY,
        ),
        coils=CoilsConfig(),
        timing=TimingConfig(tick=TICK, exposure=0.02, jitter=0.003),
        stage=StageDrift(velocity=(0.0, 1.0), diffusion=0.01),
        seed=4,
    )


def run(sample, ticks):
    return [found for found in (sample.advance() for _ in range(ticks)) if found is not None]


@pytest.fixture(scope="module")
def samples():
    return VirtualSample(crowd(), 100.0), VirtualSample(crowd(), 100.0)


def test_equal_seeds_and_patterns_give_equal_frames(samples):
    frames = []
    for sample in samples:
        sample.show(1, np.full((200, 200), 128, np.uint8), sample.now)
        exposures = run(sample, 40)
        assert len(exposures) == 4
        frames.append([sample.frame(exposure) for exposure in exposures])
        assert [e.time for e in exposures] == pytest.approx(100.01 + 0.05 * np.arange(4))
        for exposure in exposures:  # the end of the exposure, the read-out, some jitter
            assert 0.02 <= exposure.due - exposure.time < 0.04
    for one, other in zip(*frames, strict=True):
        assert np.array_equal(one, other)


def test_colloids_enter_and_leave_the_view(samples):
    sample = samples[0]
    inside = []
    for exposure in run(sample, 400):
        place = exposure.samples[0].position
        assert (np.abs(place - 15.0) <= 15.0 + 1e-9).all()  # the nearest copy to the middle
        inside.append(frozenset(np.flatnonzero((np.abs(place - 15.0) < 6.4).all(axis=1))))
    assert len({len(who) for who in inside}) > 1
    assert len(frozenset.union(*inside)) > max(map(len, inside))
    assert len(set(inside)) > 5


def lit_after(sample):
    """Time between telling the light to shine and the first tick with light on a colloid, s."""
    sample.show(50, np.zeros((200, 200), np.uint8), sample.now - 1.0)
    sample.advance()
    told = sample.now
    sample.show(51, np.full((200, 200), 255, np.uint8), told)
    while sample.light.serial_at(sample.now) < 51:
        sample.advance()
    return sample.now - told


def test_light_comes_after_its_delay_which_a_fault_doubles(samples):
    sample = samples[1]
    assert DELAY <= lit_after(sample) <= DELAY + TICK + 1e-9
    sample.set_faults(SampleFaults(light_delay=2.0))
    assert 2 * DELAY <= lit_after(sample) <= 2 * DELAY + TICK + 1e-9
    sample.set_faults(SampleFaults())


def test_skipped_time_moves_nothing(samples):
    sample = samples[1]
    before, now = sample.world.snapshot.position, sample.now
    sample.skip(3.0)
    assert sample.now == pytest.approx(now + 3.0)
    assert np.array_equal(sample.world.snapshot.position, before)


def test_the_stage_moves_what_is_seen_and_not_what_is_true(samples):
    first, *_, last = run(samples[0], 200)
    steady = 1.0 * (last.time - first.time)
    assert last.stage[1] - first.stage[1] == pytest.approx(steady, abs=5 * np.sqrt(0.02 * steady))
    flow = (last.position - first.position)[:, 1]
    assert abs(flow.mean()) < 0.5  # the fluid flows along x only


def test_currents_turn_moments_along_the_field_of_the_coils(samples):
    # 2 mT turn a moment at m B/γ_r = 4 rad/s; heat leaves √(kT/mB) = 0.2 rad.
    sample, angle = samples[1], 2.0
    wanted = 2.0 * np.array([np.cos(angle), np.sin(angle), 0.0])
    values = np.zeros(10)
    values[:3] = np.linalg.solve(np.array(CoilsConfig().matrix), wanted)
    sample.drive(1, values, sample.now)
    *_, last = run(sample, 600)
    x, y = last.director.mean(axis=0)
    assert np.arctan2(y, x) == pytest.approx(angle, abs=0.25)
    sample.coils.timeout = 0.1
    run(sample, 1)
    assert sample.coils.stopped(sample.now)
