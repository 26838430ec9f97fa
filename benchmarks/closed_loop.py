"""From a simulation to hidden laboratories and back: what identification and training anew bring.

    python benchmarks/closed_loop.py [--labs 1 2 3] [--seconds 40]

For every hidden laboratory, which differs in speed, turning, diffusion, delay, drift, noise and in
where its light falls: it is calibrated as one would a real one; the policy that was trained on
defaults drives it; it is recorded under random commands; parameters and their uncertainty are
identified; a policy is trained anew, with every swarm drawing its numbers from those; that drives
the same laboratory. Both are told the same, and start from what is there. Everything takes its
real time: about five minutes a laboratory.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tomllib
from pathlib import Path
from typing import Any

import numpy as np

from swarmctl.bridge.virtual.lab import virtual_lab
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


def trained(tables: dict[str, Any], folder: Path, updates: int) -> Path:
    """A policy for an experiment; kept if it is there."""
    file = folder.with_suffix(".toml")
    tables = {**tables, "training": {"updates": updates, "seeds": [0]}}
    folder.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(dump_toml(tables))
    if not (folder / "policy").exists():
        train(TrainConfig(experiment=str(file), out=folder, progress=False, overwrite=True))
    return folder


def drive(rig: Path, policy: Path, out: Path, seconds: float) -> RunResult | str:
    """Let a policy drive; up to three tries, as one would at a microscope. A text if none began."""
    why = ""
    for _ in range(3):
        try:
            return run(
                RunConfig(
                    rig=rig, agent=str(policy), operator=OPERATOR, seconds=seconds, view=False,
                    out=out, overwrite=True,
                ),
                say=lambda text: None,
            )  # fmt: skip
        except SwarmctlError as error:
            why = str(error)
    return why


def row_of(result: RunResult | str) -> dict[str, Any]:
    if isinstance(result, str):
        return {"fault": result}
    per_second = result.reward / max(result.decisions, 1)
    return {
        "reward per decision": per_second,
        "first": result.first,
        "last": result.last,
        "decisions": result.decisions,
        "fault": result.fault,
        "probe": str(result.probe),
    }


def laboratory(number: int, base: Path, folder: Path, seconds: float, updates: int) -> Any:
    experiment = load_experiment(base)
    sample = demo_sample(experiment.built().world).drawn(number)
    shutil.rmtree(folder, ignore_errors=True)
    species = sample.world.species[0]
    with virtual_lab(sample, folder / "lab") as lab:
        view = sample.optics.view
        calibrate(
            CalibrateConfig(
                rig=lab.rig, operator=OPERATOR, radius=species.radius,
                pixel_size=view.pixel_size, rotation=view.rotation, mirror=view.mirror,
            ),
            say=lambda text: None,
        )  # fmt: skip
        before = drive(lab.rig, base, folder / "before", seconds)
        record(
            RecordConfig(
                rig=lab.rig, scenario=str(base), agent="excite", operator=OPERATOR,
                seconds=2 * seconds, out=folder / "record", overwrite=True,
            ),
            say=lambda text: None,
        )  # fmt: skip
        found = fit(
            FitConfig(recording=str(folder / "record"), out=folder / "fit", overwrite=True),
            say=lambda text: None,
        )
        ranges = tomllib.loads(found.randomise.read_text())
        tables = {**experiment.tables(), **ranges}
        mine = trained(tables, folder / "mine", updates)
        after = drive(lab.rig, mine, folder / "after", seconds)
    return {
        "identified": ranges,
        "before": row_of(before),
        "after": row_of(after),
        "before, probe": "" if isinstance(before, str) else str(before.probe),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--labs", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--seconds", type=float, default=40.0)
    parser.add_argument("--updates", type=int, default=60)
    parser.add_argument("--folder", type=Path, default=Path("build/closed-loop"))
    options = parser.parse_args()
    tables = load_experiment("Chemotaxis-v0").tables()
    base = trained(tables, options.folder / "defaults", options.updates)
    rows: dict[str, Any] = {}
    for number in options.labs:
        folder = options.folder / f"lab-{number}"
        try:
            rows[str(number)] = laboratory(number, base, folder, options.seconds, options.updates)
        except SwarmctlError as error:
            rows[str(number)] = {"failed": str(error)}
        print(f"laboratory {number}: {json.dumps(rows[str(number)], indent=1)}", flush=True)
        OUT.write_text(json.dumps({"seconds": options.seconds, "labs": rows}, indent=1) + "\n")
    gained = [
        row["after"]["reward per decision"] - row["before"]["reward per decision"]
        for row in rows.values()
        if "reward per decision" in row.get("after", {})
        and "reward per decision" in row.get("before", {})
    ]
    if gained:
        print(f"reward per decision, after less before: {np.round(gained, 4).tolist()}")


if __name__ == "__main__":
    main()
