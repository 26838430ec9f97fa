"""From a simulation to hidden laboratories and back: what identification and training anew bring.

    python benchmarks/closed_loop.py [--labs 1 2 3 4] [--starts 2] [--seconds 30]

For every hidden laboratory, which differs in speed, turning, diffusion, delay, drift, noise and in
where its light falls: it is calibrated as one would a real one; it is recorded under random
commands; parameters and their uncertainty are identified; a policy is trained anew, with every
swarm drawing its numbers from those. Then the policy that was trained on defaults, the new one and
a controller by hand drive the same laboratory, each from the same samples of colloids: for each the
laboratory is started anew. Everything takes its real time: about nine minutes a laboratory.

Laboratories that are not run anew stay in the JSON file as they are.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import shutil
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from swarmctl.bridge.virtual.lab import virtual_lab
from swarmctl.bridge.virtual.sample_config import SampleConfig
from swarmctl.core.config import dump_toml
from swarmctl.core.errors import SwarmctlError
from swarmctl.lab.calibrate import calibrate
from swarmctl.lab.calibrate_config import CalibrateConfig
from swarmctl.lab.configs import RecordConfig, RunConfig
from swarmctl.lab.demo import demo_sample
from swarmctl.lab.fit import FitConfig, fit
from swarmctl.lab.record import record
from swarmctl.lab.run import RunResult, run
from swarmctl.training.configs import TrainConfig
from swarmctl.training.experiment import load_experiment
from swarmctl.training.train import train

OUT = Path(__file__).parents[1] / "docs" / "data" / "closed-loop.json"
OPERATOR = "benchmark"
BY_HAND = "gradient-climber"


def trained(tables: dict[str, Any], folder: Path, updates: int) -> Path:
    """A policy for an experiment; kept if it is there."""
    file = folder.with_suffix(".toml")
    tables = {**tables, "training": {"updates": updates, "seeds": [0]}}
    folder.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(dump_toml(tables))
    if not (folder / "policy").exists():
        train(TrainConfig(experiment=str(file), out=folder, progress=False, overwrite=True))
    return folder


def drive(
    sample: SampleConfig, known: Path, agent: str, twin: Path, out: Path, seconds: float
) -> dict[str, Any]:
    """Start a laboratory, take over its calibration, and let an agent drive it.

    Up to three tries, as one would at a microscope.
    """
    shutil.rmtree(out, ignore_errors=True)
    failures = []
    with virtual_lab(sample, out / "lab") as lab:
        for file in known.parent.glob("calibration*"):
            shutil.copy(file, lab.folder)
        for _ in range(3):
            try:
                result = run(
                    RunConfig(
                        rig=lab.rig, agent=agent, twin=str(twin), operator=OPERATOR,
                        seconds=seconds, view=False, out=out / "run", overwrite=True,
                    ),
                    say=lambda text: None,
                )  # fmt: skip
            except SwarmctlError as error:
                failures.append(str(error))
            else:
                return row_of(result) | {"not begun": failures}
    return {"not begun": failures}


def row_of(result: RunResult) -> dict[str, Any]:
    return {
        "reward per decision": result.reward / max(result.decisions, 1),
        "first": result.first,
        "last": result.last,
        "decisions": result.decisions,
        "fault": result.fault,
        "probe": str(result.probe),
    }


def laboratory(number: int, base: Path, folder: Path, options: argparse.Namespace) -> Any:
    experiment = load_experiment(base)
    sample = demo_sample(experiment.built().world).drawn(number)
    shutil.rmtree(folder, ignore_errors=True)
    species = sample.world.species[0]
    with virtual_lab(sample, folder / "lab") as lab:
        view = sample.optics.view
        known = calibrate(
            CalibrateConfig(
                rig=lab.rig, operator=OPERATOR, radius=species.radius,
                pixel_size=view.pixel_size, rotation=view.rotation, mirror=view.mirror,
            ),
            say=lambda text: None,
        )  # fmt: skip
        record(
            RecordConfig(
                rig=lab.rig, scenario=str(base), agent="excite", operator=OPERATOR,
                seconds=options.recorded, out=folder / "record", overwrite=True,
            ),
            say=lambda text: None,
        )  # fmt: skip
    found = fit(
        FitConfig(recording=str(folder / "record"), out=folder / "fit", overwrite=True),
        say=lambda text: None,
    )
    ranges = tomllib.loads(found.randomise.read_text())
    mine = trained({**experiment.tables(), **ranges}, folder / "mine", options.updates)
    agents = {"defaults": (str(base), base), "identified": (str(mine), mine)}
    agents["by hand"] = (BY_HAND, mine)
    rows: dict[str, Any] = {name: [] for name in agents}
    for start in range(options.starts):
        placed = dataclasses.replace(sample, seed=sample.seed + 1 + start)
        for name, (agent, twin) in agents.items():
            row = drive(
                placed, known.path, agent, twin, folder / f"{name}-{start}", options.seconds
            )
            rows[name].append(row)
            print(f"laboratory {number}, start {start}, {name}: {row}", flush=True)
    return {"ranges": ranges, **rows}


def reward(runs: list[dict[str, Any]]) -> float:
    """Mean reward per decision; nan if nothing was driven."""
    return float(np.mean([run.get("reward per decision", np.nan) for run in runs]))


def summary(rows: dict[str, Any]) -> dict[str, Any]:
    """Differences of the reward per decision over laboratories, with Student's 95 % intervals."""
    table = {}
    for one, other in (("identified", "defaults"), ("identified", "by hand")):
        gains = np.array(
            [reward(lab[one]) - reward(lab[other]) for lab in rows.values() if one in lab]
        )
        gains = gains[np.isfinite(gains)]
        if len(gains) > 1:
            half = stats.t.ppf(0.975, len(gains) - 1) * stats.sem(gains)
            mean = float(gains.mean())
            table[f"{one} less {other}"] = {
                "laboratories": len(gains), "mean": mean, "low": mean - half, "high": mean + half,
            }  # fmt: skip
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--labs", type=int, nargs="+", default=[1, 2, 3, 4])
    parser.add_argument("--starts", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--recorded", type=float, default=80.0)
    parser.add_argument("--updates", type=int, default=60)
    parser.add_argument("--folder", type=Path, default=Path("build/closed-loop"))
    options = parser.parse_args()
    tables = load_experiment("Chemotaxis-v0").tables()
    base = trained(tables, options.folder / "defaults", options.updates)
    rows: dict[str, Any] = json.loads(OUT.read_text())["labs"] if OUT.exists() else {}
    for number in options.labs:
        folder = options.folder / f"lab-{number}"
        try:
            rows[str(number)] = laboratory(number, base, folder, options)
        except SwarmctlError as error:
            rows[str(number)] = {"failed": str(error)}
            print(f"laboratory {number}: {error}", flush=True)
        told = {"seconds": options.seconds, "summary": summary(rows), "labs": rows}
        OUT.write_text(json.dumps(told, indent=1) + "\n")
        print(json.dumps(told["summary"], indent=1), flush=True)


if __name__ == "__main__":
    main()
