"""Control swarms of microscopic colloids, in simulation and on real microscopes, behind one
interface.

Public names are resolved when they are first used, so that `import swarmctl` is quick and needs no
JAX.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_PUBLIC = {
    "DemoConfig": "swarmctl.training.configs",
    "EvaluateConfig": "swarmctl.training.configs",
    "Experiment": "swarmctl.training.experiment",
    "RenderConfig": "swarmctl.training.configs",
    "Scenario": "swarmctl.envs.scenario",
    "SimulateConfig": "swarmctl.training.configs",
    "StudyConfig": "swarmctl.training.configs",
    "TrainConfig": "swarmctl.training.configs",
    "World": "swarmctl.core.world",
    "demo": "swarmctl.training.demo",
    "evaluate": "swarmctl.training.evaluate",
    "evaluate_agent": "swarmctl.training.evaluate",
    "from_sb3": "swarmctl.agents.sb3",
    "load_agent": "swarmctl.agents.saving",
    "load_experiment": "swarmctl.training.experiment",
    "make": "swarmctl.envs.make",
    "make_agent": "swarmctl.agents.options",
    "make_env": "swarmctl.envs.make",
    "make_parallel": "swarmctl.envs.make",
    "make_sb3": "swarmctl.envs.make",
    "make_scenario": "swarmctl.envs.make",
    "make_workers": "swarmctl.envs.make",
    "open_universe": "swarmctl.records.analysis",
    "read_trajectory": "swarmctl.records.trajectory",
    "record_episode": "swarmctl.training.evaluate",
    "render": "swarmctl.training.record",
    "save_agent": "swarmctl.agents.saving",
    "simulate": "swarmctl.training.simulate",
    "study": "swarmctl.training.study",
    "train": "swarmctl.training.train",
}

__all__ = ["__version__", *_PUBLIC]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(importlib.import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'swarmctl' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
