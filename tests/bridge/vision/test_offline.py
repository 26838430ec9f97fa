"""One signature for all detectors and linkers; libraries of others raise no errors of their own."""

import dataclasses

import numpy as np
import pytest

from swarmctl.bridge.vision.detections import Detections
from swarmctl.bridge.vision.methods import detectors, linkers
from swarmctl.bridge.vision.offline import TrackpyLinkerConfig
from swarmctl.core.errors import FrameError, LinkingError, UnknownNameError


def built(registry, name, **keys):
    """What a name leads to; skips where its library is not installed."""
    if name in ("trackpy", "laptrack"):
        pytest.importorskip(name, reason=f'needs {name}: pip install "swarmctl[tracking]"')
    return registry[name].load()(**keys).build()


@pytest.mark.parametrize("entry", [*detectors, *linkers], ids=lambda entry: entry.name)
def test_names_lead_to_configurations(entry):
    config = entry.load()
    assert dataclasses.is_dataclass(config)
    assert config.kind == entry.name
    assert entry.summary.strip()


def test_unknown_names_are_refused():
    with pytest.raises(UnknownNameError, match="Did you mean 'spots'"):
        detectors["spot"]


@pytest.mark.parametrize(("name", "keys"), [("spots", {}), ("trackpy", {"minmass": 5000.0})])
def test_detectors_agree(name, keys, truth):
    detect = built(detectors, name, **keys)
    rms, recall, *_ = truth.score(detect, truth.optics(), 20, 20.0, 12.0, frames=3)
    assert recall > 0.99
    assert rms < 0.2
    assert isinstance(detect(np.full((64, 64), 9, np.uint8)), Detections)
    assert len(detect(np.full((64, 64), 9, np.uint8))) == 0
    with pytest.raises(FrameError, match="grey image"):
        detect(np.zeros((64, 64, 3), np.uint8))


@pytest.mark.parametrize("name", ["tracker", "trackpy", "laptrack"])
def test_linkers_agree(name):
    run = built(linkers, name)
    random = np.random.default_rng(0)
    start = np.stack(np.meshgrid(np.arange(5), np.arange(4)), -1).reshape(-1, 2) * 12.0
    drift = random.uniform(-0.2, 0.2, start.shape)
    places, colloids = [], []
    for number in range(20):
        order = random.permutation(20)
        if 8 <= number < 12:
            order = order[order != 7]
        places.append((start + drift * number)[order])
        colloids.append(order)
    identities = run(places, 0.1 * np.arange(20))
    names = {}
    for identity, colloid in zip(identities, colloids, strict=True):
        assert identity.dtype == np.int64
        for one, other in zip(identity, colloid, strict=True):
            assert names.setdefault(other, one) == one
    assert len(set(names.values())) == 20


@pytest.mark.parametrize("name", ["tracker", "trackpy", "laptrack"])
def test_frames_without_anyone_are_linked(name):
    run = built(linkers, name)
    places = [np.empty((0, 2)), np.array([[1.0, 2.0]]), np.empty((0, 2)), np.array([[1.1, 2.0]])]
    identities = run(places, [0.0, 0.1, 0.2, 0.3])
    assert [len(identity) for identity in identities] == [0, 1, 0, 1]
    assert identities[1][0] == identities[3][0]


@pytest.mark.parametrize("name", ["tracker", "trackpy", "laptrack"])
def test_bad_recordings_are_refused(name):
    run = built(linkers, name)
    with pytest.raises(FrameError, match="2 frames have 1 times"):
        run([np.zeros((1, 2))] * 2, [0.0])
    with pytest.raises(FrameError, match="not finite"):
        run([np.array([[np.nan, 0.0]])], [0.0])


def test_a_crowd_is_an_error_of_ours():
    pytest.importorskip("trackpy", reason='needs trackpy: pip install "swarmctl[tracking]"')
    random = np.random.default_rng(0)
    places = [random.uniform(0, 20, (400, 2)) for _ in range(3)]
    with pytest.raises(LinkingError, match="choose a reach below 5"):
        TrackpyLinkerConfig(reach=5.0, shortest=4.9).build()(places, [0.0, 0.1, 0.2])
