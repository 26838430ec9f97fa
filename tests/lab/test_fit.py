"""From a recorded file to a world that is simulated and ranges that are trained in."""

from __future__ import annotations

import dataclasses
import tomllib
from pathlib import Path

import numpy as np
import pytest

from swarmctl.core.config import to_dict
from swarmctl.core.errors import ConfigError, RecordError
from swarmctl.core.randomise import Lognormal, Normal
from swarmctl.core.world import Box, Species, World
from swarmctl.lab.fit import FitConfig, fit
from swarmctl.lab.identified import Identified, Quantity, SpeciesFit, load_identified
from swarmctl.records.trajectory import TrajectorySpec, TrajectoryWriter, channels_like
from swarmctl.training.experiment import load_experiment
from swarmctl.training.world_file import load_simulation

GAIN, TURN, DIFFUSION, ROTATION, DRIFT, ERROR = 0.8, -1.1, 0.2, 0.05, (0.4, -0.2), 0.05
FRAMES, COLLOIDS = 600, 12


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A minute of twelve swimmers at uneven intervals about 0.1 s, written as a laboratory does."""
    rng = np.random.default_rng(4)
    folder = tmp_path_factory.mktemp("recording")
    asked = {"speed": np.zeros(COLLOIDS, "f4"), "turn_rate": np.zeros(COLLOIDS, "f4")}
    world = World(Box((500.0, 500.0)), species=(Species("janus", COLLOIDS, 1.5),), time_step=5e-3)
    spec = TrajectorySpec(
        COLLOIDS,
        (500.0, 500.0),
        (False, False),
        commands=channels_like(asked),
        metadata={
            "simulation": {**to_dict(world), "run": {"time": 1.0}},
            "control_interval": 0.1,
        },
    )
    place, angle = rng.uniform(100, 400, (COLLOIDS, 2)), rng.uniform(-np.pi, np.pi, COLLOIDS)
    time = 0.0
    with TrajectoryWriter(folder, spec) as writer:
        for step in range(FRAMES):
            if step:
                interval = rng.uniform(0.07, 0.13)
                time += interval
                if step % 8 == 1:
                    asked["speed"] = rng.uniform(0, 3, COLLOIDS).astype("f4")
                    asked["turn_rate"] = rng.uniform(-1.5, 1.5, COLLOIDS).astype("f4")
                turned = TURN * asked["turn_rate"] * interval
                turned += rng.normal(size=COLLOIDS) * (2 * ROTATION * interval) ** 0.5
                middle = angle + turned / 2
                angle = angle + turned
                ahead = np.stack([np.cos(middle), np.sin(middle)], axis=1)
                place = place + GAIN * asked["speed"][:, None] * ahead * interval
                place += np.array(DRIFT) * interval
                place += rng.normal(size=place.shape) * (2 * DIFFUSION * interval) ** 0.5
            seen = angle + 0.02 * rng.normal(size=COLLOIDS)
            writer.write(
                {
                    "time": time,
                    "step": step,
                    "position": place + ERROR * rng.normal(size=place.shape),
                    "director": np.stack([np.cos(seen), np.sin(seen)], axis=1),
                    "applied": asked if step else None,
                    "requested": asked if step else None,
                }
            )
    return folder


def test_fit_leads_from_file_to_files(recording: Path, tmp_path: Path) -> None:
    """Uneven intervals and no delay: found within two half intervals, 4 standard errors."""
    said: list[str] = []
    done = fit(FitConfig(str(recording), tmp_path / "fit"), said.append)
    found = done.identified.species[0]
    assert found.name == "janus"
    truth = {
        "speed_gain": GAIN,
        "turn_gain": TURN,
        "diffusion": DIFFUSION,
        "rotational_diffusion": ROTATION,
        "drift_x": DRIFT[0],
        "drift_y": DRIFT[1],
        "position_noise": ERROR,
        "heading_noise": 0.02,
        "delay": 0.0,
        "turn_bias": 0.0,
    }
    for name, value in truth.items():
        q = found[name]
        assert q.value is not None
        assert q.low is not None
        assert q.high is not None
        assert abs(q.value - value) <= q.high - q.low, name
    assert "species janus: 12 colloids" in said[0]
    assert load_identified(done.path) == done.identified

    assert done.world is not None
    simulation = load_simulation(done.world)
    species = simulation.world.species[0]
    assert species.speed_gain == found["speed_gain"].value
    assert species.turn_gain == found["turn_gain"].value
    assert simulation.world.diffusion(species) == pytest.approx(found["diffusion"].value)
    assert simulation.run.interval == 0.1
    disturbances = simulation.world.disturbances
    assert disturbances is not None
    assert disturbances.drift is not None
    assert disturbances.drift.velocity == (found["drift_x"].value, found["drift_y"].value)

    tables = tomllib.loads(done.randomise.read_text())
    tables["randomise"]["species"][0]["name"] = ""
    experiment = load_experiment({"scenario": {"name": "Chemotaxis-v0"}, **tables})
    assert experiment.randomise is not None
    spread = experiment.randomise.species[0].speed_gain
    assert isinstance(spread, Normal)
    assert (spread.mean, spread.deviation) == (
        found["speed_gain"].value,
        found["speed_gain"].deviation,
    )


def test_nothing_is_overwritten_unasked(recording: Path, tmp_path: Path) -> None:
    (tmp_path / "world.toml").write_text("")
    with pytest.raises(ConfigError, match="exists already"):
        fit(FitConfig(str(recording), tmp_path), lambda text: None)
    with pytest.raises(ConfigError, match="give a recording"):
        fit(FitConfig(out=tmp_path / "new"))
    with pytest.raises(RecordError, match="trajectory"):
        fit(FitConfig(str(tmp_path / "none.h5md"), tmp_path / "new"))


def some(name: str, value: float, deviation: float) -> Quantity:
    return Quantity(name, "", value, value - 2 * deviation, value + 2 * deviation, deviation)


def test_what_species_share_is_weighted_by_precision() -> None:
    fits = [
        SpeciesFit(name, 10, 1.0, 0.1, quantities=(some("delay", delay, deviation),))
        for name, delay, deviation in (("a", 0.2, 0.01), ("b", 0.3, 0.02))
    ]
    delay = Identified(species=tuple(fits)).randomise().delay
    assert isinstance(delay, Normal)
    assert delay.mean == pytest.approx((0.2 * 4 + 0.3) / 5)
    assert delay.deviation == pytest.approx((1e4 + 2.5e3) ** -0.5)


def test_what_may_be_zero_stays_above_it() -> None:
    """A delay of 0.01 ± 0.02 s is drawn from a distribution whose 3σ point is the same."""
    found = SpeciesFit("a", 10, 1.0, 0.1, quantities=(some("delay", 0.01, 0.02),))
    delay = Identified(species=(found,)).randomise().delay
    assert isinstance(delay, Lognormal)
    assert delay.range[1] == pytest.approx(0.07)
    none = SpeciesFit("a", 10, 1.0, 0.1, quantities=(some("delay", -0.5, 0.01),))
    assert Identified(species=(none,)).randomise().delay == 0.0


def test_a_quantity_has_a_value_or_a_reason() -> None:
    with pytest.raises(ConfigError, match="value or a reason"):
        Quantity("delay")
    with pytest.raises(ConfigError, match="unknown quantity"):
        Quantity("weight", value=1.0)
    untold = Quantity("delay", reason="nothing was commanded")
    with pytest.raises(ConfigError, match="nothing was commanded"):
        untold.spread()
    fitted = SpeciesFit("a", 10, 1.0, 0.1, quantities=(untold,))
    with pytest.raises(ConfigError, match="has no 'speed_gain'"):
        fitted["speed_gain"]
    assert "not identified" in Identified(species=(fitted,)).describe()
    assert dataclasses.replace(fitted, name="b").name == "b"
