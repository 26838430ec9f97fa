"""A loop written by hand drives the virtual laboratory, in lockstep: light does what the law says.

The loop knows nothing but frames; the map from the sample to the pattern is told to it, as after a
calibration.
"""

import numpy as np
import pytest

from swarmctl.bridge.virtual.interlock import VirtualInterlockConfig
from swarmctl.bridge.virtual.stage import VirtualStageConfig
from swarmctl.bridge.vision.janus import JanusDetectorConfig
from swarmctl.core.errors import DeviceError, DeviceTimeoutError
from swarmctl.records.trajectory import read_trajectory

from .conftest import LIGHT, RADIUS, devices

PERIOD = 0.05


class Loop:
    """Camera, detector and light."""

    def __init__(self, lab):
        self.lab = lab
        self.camera, self.light = devices(lab)
        self.view = lab.config.optics.affine
        self.projector = lab.config.projector.affine
        self.detect = JanusDetectorConfig(radius=12.0, separation=19.0, lowest=40.0).build()
        row, column = np.indices(self.light.spec.shape)
        self.place = self.projector.to_sample(np.stack([column, row], axis=-1))
        self.shots = []

    def __enter__(self):
        self.camera.connect()
        self.light.connect()
        self.camera.start()
        return self

    def __exit__(self, *_):
        self.camera.disconnect()
        self.light.disconnect()

    def see(self):
        """Places [M,2] µm and directions [M,2] of the next frame."""
        shot = self.camera.newest(1.0)
        self.shots.append(shot)
        found = self.detect(shot.frame)
        return (
            self.view.to_sample(found.position),
            self.view.direction_to_sample(found.direction),
        )

    def disc(self, centre, power):
        """An even spot of 1.5 radii around a place in µm."""
        inside = np.linalg.norm(self.place - centre, axis=-1) < 1.5 * RADIUS
        self.light.show(np.where(inside, round(255 * power), 0).astype(np.uint8))

    def follow(self, start, frames, power, aside=0.0):
        """Light one colloid, `aside` µm to its left; returns times, places, directions, the rest.

        Light that hits frame k acts until frame k+1 comes.
        """
        times, places, directions, others = [], [], [], []
        at = np.asarray(start, float)
        for _ in range(frames):
            found, heading = self.see()
            nearest = np.argmin(np.linalg.norm(found - at, axis=1))
            at, n = found[nearest], heading[nearest]
            times.append(self.shots[-1].exposed)
            places.append(at)
            directions.append(n)
            others.append(np.delete(found, nearest, axis=0))
            self.disc(at + aside * np.array([-n[1], n[0]]), power)
        return np.array(times), np.array(places), np.array(directions), others


@pytest.fixture
def loop(lockstep_lab):
    lockstep_lab.set_faults(speed=1.0, mirror_turning=False, freeze=False, blank=False)
    with Loop(lockstep_lab) as loop:
        yield loop
        loop.light.safe()


def nearest(loop, to):
    found, _ = loop.see()
    return found[np.argmin(np.linalg.norm(found - to, axis=1))]


def speed(times, places, skip=3):
    """µm/s over all frames but the first ones, where light and motion begin."""
    steps = np.linalg.norm(np.diff(places[skip:], axis=0), axis=1).sum()
    return steps / (times[-1] - times[skip])


def law(power):
    return LIGHT.slope * (round(255 * power) / 255 - LIGHT.threshold)


def test_a_lit_colloid_swims_as_the_law_says_and_the_others_rest(loop):
    start = nearest(loop, (32.0, 32.0))
    times, places, directions, others = loop.follow(start, 20, power=0.5)
    assert speed(times, places) == pytest.approx(law(0.5), rel=0.03)
    way = places[-1] - places[0]
    assert way @ directions[0] == pytest.approx(np.linalg.norm(way), rel=0.01)
    assert len(others[0]) == len(others[-1]) == 3
    for before in others[0]:
        assert np.linalg.norm(others[-1] - before, axis=1).min() < 0.1


def test_a_neighbour_that_is_lit_by_mistake_swims_too(loop):
    left, right = nearest(loop, (32.0, 48.0)), nearest(loop, (48.0, 48.0))
    loop.light.show(np.full(loop.light.spec.shape, 100, np.uint8))
    for _ in range(6):
        loop.see()
    loop.light.safe()
    for before in (left, right):
        assert np.linalg.norm(nearest(loop, before) - before) > 0.5


def turned(directions):
    """Whole angle in rad, anticlockwise, of a series of directions [T,2]."""
    angle = np.unwrap(np.arctan2(directions[:, 1], directions[:, 0]))
    return angle[-1] - angle[0]


@pytest.mark.parametrize("aside", [1.0, -1.0])
def test_a_spot_beside_a_colloid_turns_it_towards_the_light(loop, aside):
    # An even spot of 1.5 a covers the disc but for a lens at the far side; the centre of what is
    # covered lies on the spot's side.
    times, _, directions, _ = loop.follow(nearest(loop, (48.0, 32.0)), 16, 0.5, aside * RADIUS)
    turn = turned(directions)
    assert np.sign(turn) == np.sign(aside)
    share, offset = lens(1.5 * RADIUS, RADIUS, RADIUS)
    rate = LIGHT.steering * (LIGHT.slope * (0.5 * share - LIGHT.threshold)) * offset / RADIUS**2
    assert abs(turn) == pytest.approx(rate * (times[-1] - times[0]), rel=0.25)


def lens(spot, disc, apart):
    """Share of a disc under an even spot, and the distance of its centre from the disc's."""
    x, y = np.meshgrid(np.linspace(-disc, disc, 801), np.linspace(-disc, disc, 801))
    inside = x**2 + y**2 < disc**2
    lit = inside & ((x - apart) ** 2 + y**2 < spot**2)
    return lit.sum() / inside.sum(), x[lit].mean()


def test_faults_halve_the_speed_and_mirror_the_turning(loop, lockstep_lab):
    lockstep_lab.set_faults(speed=0.5, mirror_turning=True)
    start = nearest(loop, (48.0, 48.0))
    times, places, directions, _ = loop.follow(start, 16, 0.6, RADIUS)
    assert turned(directions) < -0.1
    share, _ = lens(1.5 * RADIUS, RADIUS, RADIUS)
    expected = 0.5 * LIGHT.slope * (round(255 * 0.6) / 255 * share - LIGHT.threshold)
    assert speed(times, places) == pytest.approx(expected, rel=0.06)


def test_the_stage_moves_all_that_is_seen(loop, lockstep_lab):
    before, _ = loop.see()
    stage = VirtualStageConfig(address=lockstep_lab.address).build()
    stage.connect()
    stage.write(np.array([5.0, -3.0]))
    for _ in range(3):
        after, _ = loop.see()
    for place in before:
        moved = np.linalg.norm(after - place - [5.0, -3.0], axis=1)
        assert moved.min() < 0.1
    with pytest.raises(DeviceError, match="not within -100"):
        stage.write(np.array([101.0, 0.0]))
    stage.disconnect()
    for _ in range(3):
        home, _ = loop.see()
    assert all(np.linalg.norm(home - place, axis=1).min() < 0.1 for place in before)


def test_frames_that_were_dropped_are_gaps_in_the_numbers(loop, lockstep_lab):
    before = lockstep_lab.status()
    for _ in range(40):
        loop.see()
    after = lockstep_lab.status()
    numbers = np.array([shot.number for shot in loop.shots])
    assert (np.diff(numbers) >= 1).all()
    missing = after["number"] - before["number"] - 40
    assert missing == after["dropped"] - before["dropped"]
    assert 2 <= missing <= 25  # 0.2 of 50
    exposed = np.array([shot.exposed for shot in loop.shots])
    assert np.diff(exposed) == pytest.approx(PERIOD * np.diff(numbers), abs=1e-6)


def test_times_of_lockstep_agree_with_each_other(loop):
    loop.see()
    shot = loop.shots[-1]
    assert shot.received - shot.exposed == pytest.approx(0.01 / 2 + 0.01, abs=1e-6)


def test_a_frozen_camera_gives_no_new_number(loop, lockstep_lab):
    loop.see()
    lockstep_lab.set_faults(freeze=True)
    for _ in range(3):
        with pytest.raises(DeviceTimeoutError):
            loop.camera.newest(0.1)
    assert lockstep_lab.status()["number"] == loop.shots[-1].number
    lockstep_lab.set_faults(freeze=False)
    loop.see()
    assert loop.shots[-1].number > loop.shots[-2].number
    assert loop.shots[-1].exposed > loop.shots[-2].exposed + 2 * PERIOD


def test_blank_frames_show_no_colloids(loop, lockstep_lab):
    lockstep_lab.set_faults(blank=True)
    assert not len(loop.see()[0])
    lockstep_lab.set_faults(blank=False)
    assert len(loop.see()[0]) == 4


def test_the_light_turns_dark_by_itself(loop):
    loop.light.show(np.full(loop.light.spec.shape, 100, np.uint8))
    bright = [loop.see() and loop.shots[-1].frame.mean() for _ in range(40)]
    # Light of 100/255 adds 120 · 100/255 electrons to each pixel; the timeout is 0.5 s.
    assert bright[2] - bright[-1] == pytest.approx(120 * 100 / 255, rel=0.1)
    exposed = np.array([shot.exposed for shot in loop.shots])
    lit = exposed[np.array(bright) > bright[-1] + 20]
    assert 0.3 < lit[-1] - lit[0] < 0.55


def test_the_truth_is_what_the_frames_show(loop, lockstep_lab):
    found, heading = loop.see()
    truth = read_trajectory(lockstep_lab.truth)
    frame = np.flatnonzero(truth.observables["camera"] == loop.shots[-1].number)[-1]
    assert truth.observables["clock"][frame] == loop.shots[-1].exposed
    for place, director in zip(truth.position[frame], truth.director[frame], strict=True):
        index = np.argmin(np.linalg.norm(found - place, axis=1))
        assert found[index] == pytest.approx(place, abs=0.06)
        assert heading[index] @ director > np.cos(0.05)


def test_the_interlock_is_seen(lockstep_lab):
    interlock = VirtualInterlockConfig(lockstep_lab.address).build()
    interlock.connect()
    assert interlock.closed()
    lockstep_lab.set_faults(interlock_open=True)
    assert not interlock.closed()
    lockstep_lab.set_faults(interlock_open=False)
    interlock.disconnect()


def test_a_camera_is_lent_once_and_unknown_faults_are_refused(loop, lockstep_lab):
    with pytest.raises(DeviceError, match="in use by another"):
        devices(lockstep_lab)[0].connect()
    with pytest.raises(DeviceError, match="Unknown key 'sped'"):
        lockstep_lab.set_faults(sped=2.0)
