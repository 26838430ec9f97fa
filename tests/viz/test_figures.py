import numpy as np
import pytest
from PIL import Image

from swarmctl.core.errors import ConfigError
from swarmctl.core.statistics import bootstrap_band, bootstrap_interval
from swarmctl.viz.curves import comparison, learning_curve
from swarmctl.viz.scene import Marker, Scene
from swarmctl.viz.still import still

AXES = {"xlabel": "environment steps", "ylabel": "reward"}


def picture(path):
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def test_the_bootstrap_interval_covers_the_mean_of_gaussian_samples():
    rng = np.random.default_rng(1)
    trials, hits = 600, 0
    for _ in range(trials):
        mean, low, high = bootstrap_interval(rng.normal(3.0, 2.0, 40), resamples=600)
        assert low < mean < high
        hits += low <= 3.0 <= high
    # A percentile interval of 40 values covers about 94 %; three standard errors on either side.
    assert hits / trials == pytest.approx(0.94, abs=0.03)


def test_the_bootstrap_interval_has_the_width_of_theory():
    values = np.random.default_rng(2).normal(size=400)
    mean, low, high = bootstrap_interval(values)
    error = values.std() / np.sqrt(len(values))
    assert mean == pytest.approx(values.mean())
    assert (high - low) / (2 * 1.96 * error) == pytest.approx(1.0, abs=0.03)
    assert bootstrap_interval(values) == (mean, low, high)
    assert bootstrap_interval(values, seed=1) != (mean, low, high)


def test_a_band_is_the_interval_of_every_column():
    values = np.random.default_rng(4).normal(size=(6, 70))
    band = bootstrap_band(values, resamples=200)
    for column in (0, 69):
        wanted = bootstrap_interval(values[:, column], resamples=200)
        np.testing.assert_allclose([part[column] for part in band], wanted)


def test_one_value_has_no_interval():
    mean, low, high = bootstrap_interval([2.0])
    assert mean == 2.0
    assert np.isnan([low, high]).all()


@pytest.mark.parametrize(
    ("values", "level", "message"),
    [
        ([], 0.95, "not empty"),
        ([1.0, np.nan], 0.95, "not finite"),
        ([1.0, 2.0], 1.0, "level"),
        ([[1.0]], 0.9, "expected values"),
    ],
)
def test_the_bootstrap_refuses(values, level, message):
    with pytest.raises(ConfigError, match=message):
        bootstrap_interval(values, level)


def test_a_learning_curve_is_written_in_all_formats(tmp_path):
    steps = np.linspace(0, 1e6, 11)
    curves = {
        "many seeds": (steps, np.random.default_rng(0).normal(size=(5, 11))),
        "one seed": (steps, np.zeros((1, 11))),
    }
    references = {"random": (0.0, -0.1, 0.1), "oracle": (1.0, np.nan, np.nan)}
    paths = learning_curve(
        tmp_path / "curve.png", curves, references, **AXES, title="title", also=("svg", "pdf")
    )
    assert [path.suffix for path in paths] == [".png", ".svg", ".pdf"]
    assert sorted(tmp_path.iterdir()) == sorted(paths)
    assert len(np.unique(picture(paths[0]).reshape(-1, 3), axis=0)) > 50


def test_the_same_numbers_give_the_same_picture(tmp_path):
    results = {"trained": (0.8, 0.7, 0.9), "random": (0.0, np.nan, np.nan)}
    for name in ("a.png", "b.png"):
        comparison(tmp_path / name, results, "reward", highlight="trained")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_curves_refuse_what_does_not_fit(tmp_path):
    target = tmp_path / "a.png"
    with pytest.raises(ConfigError, match=r"values of 'x': expected shape \[S, 3\], got \[2, 4\]"):
        learning_curve(target, {"x": (np.arange(3), np.zeros((2, 4)))}, **AXES)
    with pytest.raises(ConfigError, match="no curves"):
        learning_curve(target, {}, **AXES)
    with pytest.raises(ConfigError, match="highlight"):
        comparison(target, {"a": (1.0, 0.0, 2.0)}, "reward", highlight="b")
    with pytest.raises(ConfigError, match="format 'bmp'"):
        comparison(tmp_path / "a.bmp", {"a": (1.0, 0.0, 2.0)}, "reward")
    assert list(tmp_path.iterdir()) == []


def episode(dimension=2, steps=40, count=4):
    rng = np.random.default_rng(5)
    position = 20 + np.cumsum(rng.normal(size=(steps, count, dimension)), axis=0)
    director = rng.normal(size=(steps, count, dimension))
    scene = Scene(
        (40.0,) * dimension,
        (True,) * dimension,
        np.full(count, 1.5),
        field=lambda points: np.exp(-((points - 20) ** 2).sum(axis=1) / 200),
        markers=(Marker((20.0,) * dimension, "source"),),
        title="A title",
    )
    return scene, position, director, np.arange(steps) * 0.1


@pytest.mark.parametrize("dimension", [2, 3])
def test_a_still_is_written(tmp_path, dimension):
    scene, position, director, times = episode(dimension)
    metric = {"trained": np.linspace(9, 2, len(times)), "random": np.full(len(times), 9.0)}
    present = np.ones(position.shape[:2], bool)
    present[:10, 0] = present[-1, 1] = False
    paths = still(
        tmp_path / "still.png", scene, position, director, times, ["caption"], metric,
        present=present, also=("svg",),
    )  # fmt: skip
    assert sorted(tmp_path.iterdir()) == sorted(paths)
    assert picture(paths[0]).shape == (1035, 1800, 3)


def test_wrapped_and_unwrapped_trajectories_give_the_same_still(tmp_path):
    scene, position, director, times = episode()
    still(tmp_path / "a.png", scene, position, director[-1], times)
    still(tmp_path / "b.png", scene, np.mod(position, 40.0), director, times)
    difference = np.abs(picture(tmp_path / "a.png") - picture(tmp_path / "b.png"))
    assert (difference > 8).mean() < 1e-4


def test_a_still_refuses_what_does_not_fit(tmp_path):
    scene, position, director, times = episode()
    with pytest.raises(ConfigError, match="times must ascend"):
        still(tmp_path / "a.png", scene, position, director, times[::-1])
    with pytest.raises(ConfigError, match="position"):
        still(tmp_path / "a.png", scene, position[:, :2], director, times)
    with pytest.raises(ConfigError, match="metric 'trained'"):
        still(tmp_path / "a.png", scene, position, director, times, metric={"trained": times[1:]})
