"""Identities are kept, estimates are as good as they say, and time is the true one."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial import cKDTree

from swarmctl.bridge.vision.detections import Detections
from swarmctl.bridge.vision.linking import Expected, link
from swarmctl.bridge.vision.spots import SpotDetectorConfig
from swarmctl.bridge.vision.swarm import swarm_state
from swarmctl.bridge.vision.tracker import NOBODY, Tracker, TrackerConfig
from swarmctl.core.errors import ConfigError, FrameError
from swarmctl.core.spec import EngineSpec
from swarmctl.optics.affine import Affine, ViewConfig

PLAIN = Affine(((1.0, 0.0), (0.0, 1.0)))


def tracker(view=PLAIN, **keys):
    return Tracker(TrackerConfig(**{"capacity": 16} | keys), view)


def seen_along(angle, position, error=0.02):
    """Detections in px with directions in the image."""
    direction = np.column_stack([np.cos(angle), np.sin(angle)])
    count = len(position)
    return Detections(
        np.asarray(position, float),
        np.ones(count),
        direction,
        np.full(count, error),
        np.ones(count),
    )


def swimmers(count, frames, interval, random, share=0.1, radius=1.5):
    """Places [frames,count,2] µm of active discs that push each other out of the way in a box."""
    side = np.sqrt(count * np.pi * radius**2 / share)
    place = np.empty((0, 2))
    while len(place) < count:
        at = random.uniform(0, side, (1, 2))
        if not len(place) or np.linalg.norm(place - at, axis=1).min() > 2 * radius:
            place = np.vstack([place, at])
    angle, result = random.uniform(-np.pi, np.pi, count), []
    for _ in range(frames):
        result.append(place)
        place = place + random.normal(0, np.sqrt(2 * 0.1 * interval), place.shape)
        place = place + 5 * interval * np.column_stack([np.cos(angle), np.sin(angle)])
        angle = angle + random.normal(0, np.sqrt(2 * interval / 3), count)
        outside = (place < 0) | (place > side)
        angle = np.where(outside[:, 0], np.pi - angle, angle)
        angle = np.where(outside[:, 1], -angle, angle)
        place = np.clip(place, 0, side)
        for _ in range(4):
            pairs = cKDTree(place).query_pairs(2 * radius, output_type="ndarray")
            apart = place[pairs[:, 1]] - place[pairs[:, 0]]
            length = np.linalg.norm(apart, axis=1, keepdims=True)
            push = (radius - length / 2) * apart / length
            np.add.at(place, pairs[:, 0], -push)
            np.add.at(place, pairs[:, 1], push)
    return np.array(result)


def test_identities_survive_five_missing_frames():
    random = np.random.default_rng(0)
    places = swimmers(80, 150, 0.05, random)
    follow = tracker(capacity=100)
    tracks, missing = follow.start(), np.zeros(80, int)
    names, swaps, sightings = np.full(80, NOBODY), 0, 0
    for number, place in enumerate(places):
        begins = (missing == 0) & (random.random(80) < 0.02) & (number > 2)
        missing = np.where(begins, 5, np.maximum(missing - 1, 0))
        found = random.permutation(np.flatnonzero(missing == 0))
        at = place[found] + random.normal(0, 0.03, (len(found), 2))
        tracks = follow.update(tracks, Detections.of_spots(at), 0.05 * number)
        slots = np.flatnonzero(tracks.seen)
        colloid = found[cKDTree(place[found]).query(tracks.position[slots])[1]]
        identity = tracks.identity[slots]
        swaps += np.sum((names[colloid] != identity) & np.isin(identity, names))
        names[colloid] = identity
        sightings += len(slots)
    assert sightings > 10_000
    assert swaps <= 1  # the goal is one in ten thousand sightings
    assert tracks.next_identity <= 80 + 4
    assert tracks.present.sum() == 80


def test_who_is_away_for_longer_gets_a_new_identity():
    follow = tracker(memory=3)
    for away, same in ((3, True), (4, False)):
        tracks = follow.start()
        for number in range(12):
            lost = 5 <= number < 5 + away
            found = Detections.of_spots(np.empty((0, 2)) if lost else [[1.0, 2.0]])
            tracks = follow.update(tracks, found, 0.1 * number)
            if number == 5:
                assert tracks.present[0]
                assert not tracks.seen[0]
        assert (tracks.identity[tracks.present] == [0]).all() == same
        assert tracks.present.sum() == 1


def test_estimates_are_as_good_as_their_covariance():
    # Motion by the filter's own model, at uneven intervals: squared errors over variances are 1.
    random = np.random.default_rng(1)
    config = TrackerConfig(capacity=400, speed=4.0, persistence=1.0, diffusion=0.2, gate=8.0)
    follow = Tracker(config, PLAIN)
    grid = np.stack(np.meshgrid(np.arange(20), np.arange(20)), -1).reshape(-1, 2) * 100.0
    place, velocity = grid.copy(), random.normal(0, 4 / np.sqrt(2), grid.shape)
    tracks, time = follow.start(), 0.0
    for _ in range(60):
        found = Detections.of_spots(place + random.normal(0, 0.04, place.shape))
        tracks = follow.update(tracks, found, time)
        interval = random.choice([0.02, 0.04, 0.1])
        last, moved = (place, velocity), interval / 50
        for _ in range(50):
            place = place + velocity * moved + random.normal(0, np.sqrt(0.4 * moved), place.shape)
            velocity = velocity * np.exp(-moved) + random.normal(
                0, np.sqrt(8 * (1 - np.exp(-2 * moved))), place.shape
            )
        time += interval
    slots = np.argsort(cKDTree(last[0]).query(tracks.position)[1])
    for estimate, true, column in (("position", last[0], 0), ("velocity", last[1], 2)):
        error = getattr(tracks, estimate)[slots] - true
        ratio = np.mean(error**2 / tracks.covariance[slots, column][:, None])
        assert ratio == pytest.approx(1, abs=0.15), estimate


def test_velocity_and_heading_come_from_motion():
    random = np.random.default_rng(2)
    follow = tracker(diffusion=0.01, speed=5.0)
    tracks = follow.start()
    velocity = np.array([[3.0, 4.0], [0.0, 0.0]])
    for number in range(40):
        place = np.array([[0.0, 0.0], [50.0, 0.0]]) + velocity * 0.05 * number
        found = Detections.of_spots(place + random.normal(0, 0.02, place.shape))
        tracks = follow.update(tracks, found, 0.05 * number)
    swims, rests = np.argsort(tracks.position[:2, 0])
    np.testing.assert_allclose(tracks.velocity[swims], [3, 4], atol=1.0)
    np.testing.assert_allclose(tracks.director[swims], [0.6, 0.8], atol=0.2)
    assert tracks.oriented[swims]
    assert not tracks.oriented[rests]
    np.testing.assert_allclose(np.linalg.norm(tracks.director, axis=1), 1)


def test_a_dropped_frame_is_a_longer_interval():
    follow = tracker(diffusion=0.0, persistence=1e3, localisation=0.01)
    tracks = follow.start()
    times = np.delete(np.arange(30) * 0.1, [7, 8, 15, 20])
    for time in times:
        tracks = follow.update(tracks, Detections.of_spots([[4.0 * time, 1.0]]), time)
        assert tracks.present.sum() == (time > 0)
    np.testing.assert_allclose(tracks.velocity[0], [4, 0], atol=0.02)
    assert tracks.interval == pytest.approx(0.1)
    assert tracks.next_identity == 1


@pytest.mark.parametrize("mirror", [False, True])
def test_orientation_and_turning_are_those_of_the_sample(mirror):
    view = ViewConfig(0.2, rotation=0.6, mirror=mirror).affine(256, 256)
    follow = tracker(view)
    tracks = follow.start()
    rate = 1.5  # counterclockwise in the sample, where y points up
    for number in range(60):
        angle = 0.3 + rate * 0.05 * number
        seen = view.direction_to_image([[np.cos(angle), np.sin(angle)]])
        seen_angle = np.arctan2(seen[:, 1], seen[:, 0])
        tracks = follow.update(
            tracks, seen_along(seen_angle, view.to_image([[1.0, 2.0]])), 0.05 * number
        )
    assert tracks.oriented[0]
    assert tracks.angular_velocity[0] == pytest.approx(rate, rel=0.02)
    np.testing.assert_allclose(tracks.director[0], [np.cos(angle), np.sin(angle)], atol=0.02)
    np.testing.assert_allclose(tracks.position[0], [1, 2], atol=1e-6)


def test_an_orientation_that_was_not_seen_for_long_is_not_one():
    follow = tracker(persistence=1.0, heading_error=0.5)
    tracks = follow.update(follow.start(), seen_along(np.zeros(1), [[5.0, 5.0]]), 0.0)
    blind = Detections.of_spots([[5.0, 5.0]])
    for number in range(1, 10):
        tracks = follow.update(tracks, blind, 0.05 * number)
        # Var θ grows by 2t/τ.
        assert tracks.oriented[0] == (0.02**2 + 2 * 0.05 * number <= 0.25)


def axes(angle, position, axial=True):
    found = seen_along(np.asarray(angle), position)
    return dataclasses.replace(found, axial=np.full(len(position), axial))


def test_an_axis_keeps_its_sign_from_frame_to_frame():
    # It turns by π in 40 frames, and either of its ends is reported by chance.
    random, follow = np.random.default_rng(5), tracker(persistence=1e3, speed=0.1)
    tracks, before = follow.start(), None
    for number in range(40):
        true = np.pi * number / 40
        shown = true + np.pi * random.integers(2)
        tracks = follow.update(tracks, axes([shown], [[3.0, 4.0]]), 0.1 * number)
        if before is not None:
            assert before @ tracks.director[0] > 0.9
        before = tracks.director[0]
    assert abs(np.sin(tracks.angle[0] - true)) < 0.1
    assert abs(tracks.angular_velocity[0]) == pytest.approx(np.pi / 4, rel=0.2)


@pytest.mark.parametrize("heading", [0.5, 2.0, -2.5])
def test_an_axis_points_along_the_motion(heading):
    follow = tracker(speed=5.0)
    swim, tracks = np.array([np.cos(heading), np.sin(heading)]), follow.start()
    for number in range(20):
        place = 5.0 * 0.1 * number * swim
        tracks = follow.update(tracks, axes([heading + np.pi], [place]), 0.1 * number)
    np.testing.assert_allclose(tracks.director[0], swim, atol=0.05)
    assert not tracks.sign_seen[0]


def test_a_sign_that_is_seen_once_decides():
    follow = tracker()
    tracks = follow.start()
    for number in range(3):
        tracks = follow.update(tracks, axes([1.0], [[0.0, 0.0]]), 0.1 * number)
    tracks = follow.update(tracks, axes([1.0 + np.pi], [[0.0, 0.0]], axial=False), 0.3)
    for number in range(4, 8):
        tracks = follow.update(tracks, axes([1.0], [[0.0, 0.0]]), 0.1 * number)
    assert tracks.sign_seen[0]
    np.testing.assert_allclose(tracks.director[0], [-np.cos(1.0), -np.sin(1.0)], atol=0.05)
    assert abs(tracks.angular_velocity[0]) < 0.1


def test_what_is_there_once_is_nobody():
    follow, random = tracker(), np.random.default_rng(3)
    tracks = follow.start()
    for number in range(30):
        places = np.vstack([[[10.0, 10.0]], random.uniform(100, 1e6, (3, 2))])
        tracks = follow.update(tracks, Detections.of_spots(places), 0.05 * number)
    assert tracks.next_identity == 1


def test_more_colloids_than_slots_are_counted():
    follow = tracker(capacity=3)
    found = Detections.of_spots(np.arange(10.0).reshape(5, 2) * 20)
    tracks = follow.update(follow.start(), found, 0.0)
    tracks = follow.update(tracks, found, 0.1)
    assert tracks.present.sum() == 3
    assert tracks.ignored == 2


def test_frames_without_anyone_are_tracked():
    follow = tracker()
    tracks = follow.update(follow.start(), Detections.of_spots(np.empty((0, 2))), 0.0)
    assert not tracks.present.any()
    assert tracks.interval == 0


@pytest.mark.parametrize("time", [1.0, 0.5, np.nan, np.inf])
def test_time_goes_on(time):
    follow = tracker()
    nothing = Detections.of_spots(np.empty((0, 2)))
    tracks = follow.update(follow.start(), nothing, 1.0)
    with pytest.raises(FrameError, match="cannot follow"):
        follow.update(tracks, nothing, time)


def test_tracks_are_not_changed_by_an_update():
    follow = tracker()
    first = follow.update(follow.start(), Detections.of_spots([[1.0, 1.0]]), 0.0)
    copies = {name: np.copy(value) for name, value in vars(first).items()}
    follow.update(first, Detections.of_spots([[1.1, 1.0], [30.0, 2.0]]), 0.1)
    for name, value in vars(first).items():
        np.testing.assert_array_equal(value, copies[name], err_msg=name)


def test_links_are_the_likeliest():
    # Two expected, two found, each nearest to the same one: the sum of squares decides.
    expected = Expected(
        np.array([[0.0, 0.0], [1.0, 0.0]]), np.full(2, 0.25), np.full(2, 3.0), np.zeros(2, bool)
    )
    track, spot = link(expected, np.array([[0.9, 0.0], [2.0, 0.0]]))
    assert dict(zip(track.tolist(), spot.tolist(), strict=True)) == {0: 0, 1: 1}
    # A lost one leaves the spot to the one that was seen just now.
    expected = Expected(
        np.array([[0.0, 0.0], [0.3, 0.0]]),
        np.array([0.5, 0.05]),
        np.full(2, 2.0),
        np.array([True, False]),
    )
    track, spot = link(expected, np.array([[0.1, 0.0]]))
    assert (track.tolist(), spot.tolist()) == ([1], [0])


def test_nothing_is_linked_beyond_its_reach():
    expected = Expected(
        np.array([[0.0, 0.0], [9.0, 9.0]]), np.ones(2), np.array([1.0, 3.0]), np.zeros(2, bool)
    )
    track, spot = link(expected, np.array([[1.1, 0.0], [9.0, 11.9]]))
    assert (track.tolist(), spot.tolist()) == ([1], [1])


def test_rendered_frames_become_tracks(truth):
    config = truth.optics()
    random = np.random.default_rng(5)
    places = swimmers(25, 60, 0.05, random, share=0.1)
    places -= places.mean(axis=(0, 1))
    detect = SpotDetectorConfig().build()
    follow = tracker(config.affine, capacity=40, localisation=0.02)
    tracks = follow.start()
    for number, place in enumerate(places):
        frame, _ = truth.render(config, config.affine.to_image(place), random, number)
        tracks = follow.update(tracks, detect(frame), 0.05 * number)
    assert tracks.next_identity == 25
    assert tracks.present.sum() == 25
    away, _ = cKDTree(places[-1]).query(tracks.position[tracks.present])
    assert np.sqrt(np.mean(away**2)) < 0.2 * 0.2  # a fifth of a pixel in µm


def test_tracks_are_a_swarm():
    spec = EngineSpec(
        name="microscope",
        capacity=4,
        dimension=2,
        dtype="float32",
        species=("swimmer",),
        species_of_slot=(0, 0, 0, 0),
        radius=(1.0,),
        speed_min=(0.0,),
        speed_max=(5.0,),
        turn_rate_max=(1.0,),
        box=(50.0, 50.0),
        periodic=(False, False),
        control_interval=0.1,
        capabilities=frozenset({"speed"}),
    )
    follow = tracker(capacity=4, confirm=1)
    found = seen_along(np.array([0.5, -2.0]), [[3.0, 4.0], [20.0, 30.0]])
    tracks = follow.update(follow.start(), found, 7.0)
    tracks = follow.update(tracks, found.take(np.array([0])), 7.1)
    state = swarm_state(tracks, spec, start=7.0, step=1)
    np.testing.assert_array_equal(state.present, [True, True, False, False])
    np.testing.assert_array_equal(state.identity, [0, 1, NOBODY, NOBODY])
    np.testing.assert_array_equal(state.oriented, [True, True, False, False])
    np.testing.assert_allclose(state.position[:2], found.position, atol=1e-3)
    np.testing.assert_allclose(state.director[:, 0], [np.cos(0.5), np.cos(2), 1, 1], atol=1e-3)
    np.testing.assert_allclose(jnp.linalg.norm(state.director, axis=1), 1, rtol=1e-6)
    assert state.position.dtype == jnp.float32
    assert float(state.time) == pytest.approx(0.1)
    assert float(state.interval) == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"capacity": 0}, "capacity"),
        ({"memory": -1}, "memory"),
        ({"reach": 0.0}, "reach"),
        ({"diffusion": -1.0}, "diffusion"),
        ({"persistence": np.nan}, "persistence"),
    ],
)
def test_settings_out_of_range_are_refused(keys, message):
    with pytest.raises(ConfigError, match=message):
        TrackerConfig(**keys)
