"""Experiments: from TOML with units to typed keys and back, and what is said about mistakes."""

import math
import tomllib

import pytest

from swarmctl.agents.deep.ppo import PPOConfig
from swarmctl.core import registry
from swarmctl.core.config import describe, dump_toml
from swarmctl.core.errors import ConfigError, UnitError, UnknownNameError
from swarmctl.envs.chemotaxis import ChemotaxisConfig
from swarmctl.training import configs
from swarmctl.training.experiment import (
    TrainingConfig,
    experiment_from_tables,
    load_experiment,
)

TEXT = """
[scenario]
name = "swarmctl/Chemotaxis-v0"
colloids = 5
radius = "1800 nm"
time_step = "2 ms"
speed = "0.12 mm/min"
turn_rate = "90 deg/s"
viscosity = "1 mPa*s"
box = ["0.2 mm", 150]
control_interval = "100 ms"

[engine]
name = "jax"

[agent]
name = "ppo"
hidden = [12, 8]
learning_rate = 1e-3

[training]
updates = 7
seeds = [3, 1]
goal = 2.5
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "experiment.toml"
    path.write_text(TEXT)
    return path


def test_a_file_with_units_becomes_typed_keys(file):
    experiment = load_experiment(file)
    scenario = experiment.scenario
    assert isinstance(scenario, ChemotaxisConfig)
    assert scenario.colloids == 5
    assert scenario.radius == pytest.approx(1.8)
    assert scenario.speed == pytest.approx(2.0)
    assert scenario.turn_rate == pytest.approx(math.pi / 2)
    assert scenario.viscosity == pytest.approx(1e-3)
    assert scenario.box == pytest.approx((200.0, 150.0))
    assert scenario.control_interval == pytest.approx(0.1)
    assert experiment.engine == "jax"
    assert experiment.agent == PPOConfig(hidden=(12, 8), learning_rate=1e-3)
    assert experiment.training == TrainingConfig(updates=7, seeds=(3, 1), goal=2.5)
    env = experiment.env()
    assert env.spec.engine.capacity == 5
    assert env.spec.engine.control_interval == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("scenario", "agent"),
    [(scenario, "ppo") for scenario in registry.scenarios.names()]
    + [("Chemotaxis-v0", agent) for agent in registry.agents.names()],
)
def test_every_experiment_comes_back_from_its_tables_and_from_toml(scenario, agent):
    tables = {"scenario": {"name": scenario, "temperature": "301.1 K"}, "agent": {"name": agent}}
    experiment = experiment_from_tables(tables)
    assert experiment_from_tables(experiment.tables()) == experiment
    text = dump_toml(experiment.tables())
    assert experiment_from_tables(tomllib.loads(text)) == experiment


def test_numbers_come_back_with_every_digit(file):
    awkward = 0.1 + 0.2
    experiment = load_experiment(
        file, [f"scenario.decay_length={awkward!r}", f"agent.clip={awkward!r}"]
    )
    again = experiment_from_tables(tomllib.loads(dump_toml(experiment.tables())))
    assert again.scenario.decay_length == awkward
    assert again.agent.clip == awkward


def test_an_experiment_from_an_id_a_file_a_run_or_tables_is_the_same(file, tmp_path):
    plain = load_experiment("Chemotaxis-v0")
    assert plain == load_experiment("swarmctl/Chemotaxis-v0") == experiment_from_tables({})
    written = load_experiment(file)
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.toml").write_text(dump_toml(written.tables()))
    assert load_experiment(run) == load_experiment(str(run)) == written
    assert load_experiment(tomllib.loads(TEXT)) == written


def test_overrides_are_laid_over_in_order_and_leave_the_rest(file):
    changed = load_experiment(
        file,
        [
            "scenario.radius=2 um",
            'scenario.boundary="hard"',
            "scenario.colloids=8",
            "scenario.colloids = 9",
            "agent.hidden=[4]",
            "agent.normalise=false",
            "training.goal=none",
        ],
    )
    assert changed.scenario.radius == 2.0
    assert changed.scenario.boundary == "hard"
    assert changed.scenario.colloids == 9
    assert changed.agent.hidden == (4,)
    assert changed.agent.normalise is False
    assert changed.training.goal is None
    assert changed.training.seeds == (3, 1)
    assert changed.scenario.speed == pytest.approx(2.0)


def _config_classes():
    verbs = [c for c in vars(configs).values() if isinstance(c, type) and c.__name__ != "Path"]
    verbs = [c for c in verbs if c.__name__.endswith("Config")]
    registered = [
        thing
        for kind in (registry.scenarios, registry.agents)
        for entry in kind
        if hasattr(thing := entry.load(), "__dataclass_fields__")
    ]
    return [*verbs, *registered, TrainingConfig]


@pytest.mark.parametrize("config", _config_classes(), ids=lambda config: config.__name__)
def test_every_key_is_documented(config):
    assert config.__doc__
    rows = list(describe(config))
    assert config.__doc__.strip().endswith(".")
    for name, kind, default, doc in rows:
        assert len(doc) > 5, name
        assert kind
        assert default != "required", name


def mistake(error, *overrides):
    with pytest.raises(error) as caught:
        load_experiment("Chemotaxis-v0", overrides)
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_unknown_names_are_answered_with_the_nearest():
    for override, nearest in (
        ("scenario.colloid=3", "'colloids'"),
        ("scenario.name=Chemotaxi-v0", "'Chemotaxis-v0'"),
        ("agent.learning_rat=1", "'learning_rate'"),
        ("agent.name=gradientclimber", "'gradient-climber'"),
        ("engine.name=jaxx", "'jax'"),
        ("engine.nam=jax", "'name'"),
        ("training.update=1", "'updates'"),
        ("trainings.updates=1", "'training'"),
    ):
        text = mistake(UnknownNameError, override)
        assert f"Did you mean {nearest}?" in text, text
        assert "Allowed: " in text
    with pytest.raises(UnknownNameError, match="Did you mean 'Chemotaxis-v0'"):
        load_experiment("Chemotaxis")


def test_wrong_values_name_the_key_and_what_is_expected():
    for override, error, *words in (
        ("scenario.radius=3 s", UnitError, "[scenario] radius", "'3 s'", "um"),
        ("scenario.radius=3 umm", UnitError, "radius", "'3 umm'"),
        ('scenario.radius="3"', UnitError, "radius", "has no unit"),
        ("scenario.radius=nan", UnitError, "radius", "NaN"),
        ("scenario.radius=[1]", UnitError, "radius", "not a quantity"),
        ("scenario.box=[1]", ConfigError, "two box lengths|2 or 3 lengths"),
        ("scenario.box=3", ConfigError, "box", "expected a list"),
        ("scenario.colloids=2.5", ConfigError, "colloids", "expected int, got 2.5"),
        ("scenario.colloids=true", ConfigError, "colloids", "expected int, got True"),
        ("scenario.rectified=1", ConfigError, "rectified", "expected bool"),
        ("scenario.boundary=soft", ConfigError, "boundary", "'soft'", "periodic"),
        ("scenario.radius=-1", ConfigError, "radius must be positive"),
        ("scenario.time_step=0.3", ConfigError, "time step"),
        ("scenario.horizon=0", ConfigError, "horizon must be at least 1"),
        ("agent.hidden=[]", ConfigError, "hidden needs at least one"),
        ("agent.swarms=31", ConfigError, "do not divide 31 swarms"),
        ("training.seeds=[1, 1]", ConfigError, "seeds must be different"),
        ("training.seeds=[]", ConfigError, "seeds must be different"),
        ("training.seeds=[-1]", ConfigError, "seeds must be different"),
        ("training.seeds=3", ConfigError, "training.seeds: expected a list, got 3"),
        ("training.updates=0", ConfigError, "updates and checkpoint_every must be at least 1"),
        ("training.stop_at_goal=true", ConfigError, "stop_at_goal needs a goal"),
        ("scenario=3", ConfigError, "[scenario] must be a table, got 3"),
        ("scenario.radius.big=3", ConfigError, "radius", "got {'big': 3}|not a quantity"),
        ("scenario.colloids", ConfigError, "expected key=value"),
        ("=3", ConfigError, "expected key=value"),
        ("updates=3", UnknownNameError, "Unknown section [updates]"),
    ):
        with pytest.raises(error) as caught:
            load_experiment("Chemotaxis-v0", [override]).env()
        text = str(caught.value)
        assert "\n" not in text
        for word in words:
            assert any(part in text for part in word.split("|")), (override, text)


def test_a_file_that_cannot_be_read_is_one_clear_error(tmp_path):
    broken = tmp_path / "broken.toml"
    broken.write_text("[scenario\n")
    with pytest.raises(ConfigError, match=r"broken.toml: cannot be read as TOML \(.*line 1"):
        load_experiment(broken)
    broken.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match=r"broken.toml: cannot be read as TOML"):
        load_experiment(broken)
    with pytest.raises(ConfigError, match=r"none.toml: no such experiment file"):
        load_experiment(tmp_path / "none.toml")
    (tmp_path / "folder.toml").mkdir()
    with pytest.raises(ConfigError, match=r"config.toml: no such experiment file"):
        load_experiment(tmp_path / "folder.toml")
