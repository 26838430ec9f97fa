"""Scenarios and agents in a file of the user's are found by name, and a run knows which file."""

from __future__ import annotations

import shutil
import tomllib
from pathlib import Path

import pytest

from swarmctl.agents.deep.policy import init_policy
from swarmctl.agents.saving import save_agent
from swarmctl.core import registry
from swarmctl.core.config import dump_toml
from swarmctl.core.errors import ConfigError, UnknownNameError
from swarmctl.envs.make import make_scenario, scenario_config
from swarmctl.training.about import list_names
from swarmctl.training.configs import EvaluateConfig, ListConfig
from swarmctl.training.evaluate import evaluate, find_agent
from swarmctl.training.experiment import load_experiment

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "own_scenario.py"
MORE = '''

from swarmctl.agents.classical.simple import ConstantConfig


@dataclasses.dataclass(frozen=True)
class SwimConfig(ConstantConfig):
    """Swims."""


class Loose(ScenarioConfig):
    """No dataclass."""

    id = "Loose-v0"

    def build(self):
        return None
'''


@pytest.fixture
def name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    shutil.copy(EXAMPLE, tmp_path / "my_file.py")
    with (tmp_path / "my_file.py").open("a") as file:
        file.write(MORE)
    monkeypatch.chdir(tmp_path)
    return "my_file.py:FindConfig"


def test_a_name_with_a_file_is_a_scenario_everywhere(name: str, tmp_path: Path) -> None:
    scenario = make_scenario(name, colloids=3)
    assert (scenario.id, scenario.world.capacity) == ("Find-v0", 3)
    (tmp_path / "e.toml").write_text(f'[scenario]\nname = "{name}"\ncolloids = 4\n')
    for source in (name, "e.toml"):
        config = load_experiment(source, ["scenario.radius=20 um"]).scenario
        assert config.radius == 20.0  # type: ignore[attr-defined]
    assert "distance at which the source is found" in list_names(ListConfig(name))


def test_a_run_keeps_path_and_checksum_and_is_built_from_them(name: str, tmp_path: Path) -> None:
    experiment = load_experiment(name, ["scenario.colloids=2"])
    tables = tomllib.loads(dump_toml(experiment.tables()))
    full = tmp_path / "my_file.py"
    assert tables["scenario"]["name"] == f"{full}:FindConfig"
    assert tables["scenario"]["sha256"] == registry.load_file(full).sha256
    assert load_experiment(tables) == experiment


def test_a_policy_is_evaluated_where_the_file_is(name: str, tmp_path: Path) -> None:
    import jax

    keys = ["scenario.colloids=2", "scenario.horizon=3"]
    experiment = load_experiment(name, keys)
    env = experiment.env()
    policy = init_policy(jax.random.key(0), env.spec, (4,), -1.0)
    save_agent(policy, tmp_path / "policy", experiment.tables())
    found = evaluate(EvaluateConfig(("policy", "my_file.py:SwimConfig"), episodes=2))
    assert set(found) == {"policy", "my_file.py:SwimConfig"}

    file = tmp_path / "my_file.py"
    file.write_text(file.read_text() + "\n# A remark.\n")
    with pytest.raises(ConfigError, match=r"my_file\.py has changed since the run was made"):
        evaluate(EvaluateConfig(("policy",)))
    now = load_experiment(experiment.tables(), ['scenario.sha256=""']).scenario
    assert now == scenario_config(name, {"colloids": 2, "horizon": 3})
    file.rename(tmp_path / "other.py")
    with pytest.raises(ConfigError, match=r"there is no file '.*my_file\.py'.*If it has moved"):
        evaluate(EvaluateConfig(("policy",)))


@pytest.mark.parametrize(
    ("thing", "error", "says"),
    [
        ("FindConfg", ConfigError, "Did you mean 'FindConfig'"),
        ("Find", ConfigError, "my_file.py:Find: is no class that inherits from ScenarioConfig"),
        ("SwimConfig", ConfigError, "is no class that inherits from ScenarioConfig"),
        ("Loose", ConfigError, "Loose must be a frozen dataclass"),
    ],
)
def test_what_is_no_scenario_is_refused(
    thing: str, error: type[Exception], says: str, name: str
) -> None:
    with pytest.raises(error, match=says):
        scenario_config(f"my_file.py:{thing}")


def test_agents_in_files_are_found_and_told_from_scenarios(name: str) -> None:
    env = load_experiment(name, ["scenario.colloids=2"]).env()
    assert type(find_agent("my_file.py:SwimConfig", env)).__name__ == "Constant"
    assert "my_file.py:SwimConfig" in registry.agents
    assert name not in registry.agents
    with pytest.raises(UnknownNameError):
        list_names(ListConfig("my_file.py:Neighbours"))
