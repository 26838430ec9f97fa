"""The experiment of a recording: its scenario, on the engine that plays it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from swarmctl.core.config import parse_override
from swarmctl.core.errors import ConfigError
from swarmctl.engines.replay_engine import ReplayEngine
from swarmctl.envs.make import make_engine
from swarmctl.records.trajectory import segments
from swarmctl.training.engine_episodes import EngineEnv
from swarmctl.training.experiment import Experiment, load_experiment


def recorded_experiment(
    recording: Path, scenario: str, overrides: Iterable[str], **engine_keys: Any
) -> Experiment:
    """Return the experiment on the engine "replay".

    Args:
        recording: the folder of a run, or a file of its trajectory.
        scenario: scenario id or experiment file; "" for the one that the recording names.
        overrides: changed keys.
        engine_keys: further keys of the engine.

    Raises ConfigError if the recording does not say of which scenario it is or a changed key would
    change nothing, and errors as `load_experiment` and `read_trajectory`.
    """
    overrides = tuple(overrides)
    _check_heeded(recording, overrides)
    source: Any = scenario or segments(recording)[0].metadata.get("experiment")
    if not source:
        raise ConfigError(f"{recording}: does not say of which scenario it is; give a scenario.")
    tables = load_experiment(source, overrides).tables() if scenario else dict(source)
    tables["engine"] = {"name": "replay", "recording": str(recording), **engine_keys}
    return load_experiment(tables, () if scenario else overrides)


def _check_heeded(recording: Path, overrides: Iterable[str]) -> None:
    for text in overrides:
        path, _ = parse_override(text)
        if path[0] != "scenario" or path == ["scenario", "horizon"]:
            raise ConfigError(
                f"{recording}: --set {text} would change nothing: the engine is the recording, the "
                "horizon is its length, and nobody learns. Change other keys of the scenario."
            )


def replay_env(experiment: Experiment) -> EngineEnv:
    """Return the environment of such an experiment; its horizon is the length of the recording.

    Raises CapabilityError or ConfigError if scenario and recording do not fit.
    """
    scenario = experiment.scenario.build()
    engine = make_engine("replay", scenario, **vars(experiment.engine_config))
    assert isinstance(engine, ReplayEngine)
    return EngineEnv(dataclasses.replace(scenario, horizon=engine.decisions), engine)
