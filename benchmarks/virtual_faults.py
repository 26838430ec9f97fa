"""How soon faults of a virtual laboratory are found while an agent drives it, in real time.

    python benchmarks/virtual_faults.py [--repeats 5] [--quiet 3600] [--only "half the speed"]

The laboratory is calibrated once. Then an agent drives it again and again with random commands;
after ten seconds colloids swim at half the speed, or turn the other way, or light or frames come
later, so that all delays together are twice as long; and it is seen when the watch trips. `--quiet`
drives for so many seconds without a fault, with random commands and with a controller that gathers
the colloids in turn, and counts how often the watch trips all the same; to what is in the JSON file
it adds, unless `--fresh`.

Runs that the machine ended, by a frame or an order that came too late, are counted and left out.
Rows that are not run anew stay in the JSON file as they are.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from swarmctl.bridge.virtual.lab import VirtualLab, virtual_lab
from swarmctl.core.errors import SwarmctlError
from swarmctl.lab.calibrate import calibrate
from swarmctl.lab.calibrate_config import CalibrateConfig
from swarmctl.lab.configs import RunConfig
from swarmctl.lab.demo import demo_sample
from swarmctl.lab.run import RunResult, run
from swarmctl.training.experiment import load_experiment

OUT = Path(__file__).parents[1] / "docs" / "data" / "virtual-faults.json"
SCENARIO = "ChemotaxisContinuous-v0"
QUIET_TIME, DRIVE, STRETCH = 10.0, 45.0, 180.0
"""s: driving before a fault, driving with a fault at most, and one drive without any."""
QUIET_AGENTS = ("excite", "gradient-climber")
FOUND = ("the swarm moves as", "twin's error", "delay from a frame")
"""What the watch says; all other faults are those of this machine."""


class Injector:
    """Hears what a run says, and lets a fault happen after a while of driving."""

    def __init__(self, lab: VirtualLab, fault: dict[str, Any]) -> None:
        self.lab, self.fault = lab, fault
        self.began = self.injected = self.tripped = float("nan")

    def __call__(self, text: str) -> None:
        now = time.monotonic()
        if text.startswith("drive"):
            self.began = now if np.isnan(self.began) else self.began
            if self.fault and np.isnan(self.injected) and now - self.began > QUIET_TIME:
                self.lab.set_faults(**self.fault)
                self.injected = time.monotonic()
        elif text.startswith("fault"):
            self.tripped = now


def drive(
    lab: VirtualLab,
    fault: dict[str, Any],
    folder: Path,
    seed: int,
    seconds: float,
    agent: str = "excite",
) -> tuple[Injector, RunResult]:
    lab.set_faults(speed=1.0, mirror_turning=False, light_delay=1.0, frame_delay=1.0)
    injector = Injector(lab, fault)
    result = run(
        RunConfig(
            rig=lab.rig, agent=agent, twin=SCENARIO, operator="benchmark", seconds=seconds,
            view=False, images=False, seed=seed, deterministic=False, out=folder / "run",
            overwrite=True,
        ),
        say=injector,
    )  # fmt: skip
    print(f"   {result.decisions} decisions; {result.fault or 'no fault'}", flush=True)
    return injector, result


def found(text: str) -> bool:
    return any(part in text for part in FOUND)


def trials(
    lab: VirtualLab, name: str, fault: dict[str, Any], folder: Path, repeats: int
) -> dict[str, Any]:
    """Seconds from a fault until it is found, None where it is not; and runs that do not count."""
    times: list[float | None] = []
    other = 0
    for seed in range(repeats):
        try:
            injector, result = drive(lab, fault, folder, seed, DRIVE)
        except SwarmctlError as error:
            print(f"   not begun: {error}", flush=True)
            other += 1
            continue
        if np.isnan(injector.injected) or (result.fault and not found(result.fault)):
            other += 1
        else:
            times.append(injector.tripped - injector.injected if result.fault else None)
    shown = ", ".join("not" if t is None else f"{t:.1f} s" for t in times)
    print(f"{name}: found after {shown}; {other} do not count", flush=True)
    return {"found after": times, "do not count": other}


def quiet(lab: VirtualLab, folder: Path, told: dict[str, Any], interval: float) -> bool:
    """Drive without a fault, and add to what is told of that; False if it has no purpose."""
    try:
        agent = QUIET_AGENTS[told["drives"] % len(QUIET_AGENTS)]
        _, result = drive(lab, {}, folder, 1000 + told["drives"], STRETCH, agent)
    except SwarmctlError as error:
        print(f"   not begun: {error}", flush=True)
        told["other ends"].append(str(error))
        return len(told["other ends"]) <= told["drives"] + 3
    told["drives"] += 1
    told["seconds"] += result.decisions * interval
    if result.fault:
        told["false trips" if found(result.fault) else "other ends"].append(result.fault)
    return True


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--quiet", type=float, default=0.0, help="seconds without a fault")
    parser.add_argument("--fresh", action="store_true", help="forget quiet driving of before")
    parser.add_argument("--only", default="", help="one fault")
    options = parser.parse_args()
    scenario = load_experiment(SCENARIO).built()
    sample = demo_sample(scenario.world)
    table: dict[str, Any] = json.loads(OUT.read_text()) if OUT.exists() else {}
    with tempfile.TemporaryDirectory() as place, virtual_lab(sample, Path(place) / "lab") as lab:
        view, folder = sample.optics.view, Path(place)
        known = calibrate(
            CalibrateConfig(
                rig=lab.rig, operator="benchmark", radius=sample.world.species[0].radius,
                pixel_size=view.pixel_size, rotation=view.rotation,
            )
        ).calibration.delay  # fmt: skip
        parts = (known.frame, known.command, known.light, known.motion)
        delay = sum(part.median for part in parts if part is not None)
        table["delay"] = delay
        # Light and frames have a share of all delays; either alone is to double them all.
        faults: dict[str, dict[str, Any]] = {
            "half the speed": {"speed": 0.5},
            "mirrored turning": {"mirror_turning": True},
            "twice the delay, by light": {"light_delay": 1 + delay / sample.projector.delay},
            "twice the delay, by frames": {"frame_delay": 1 + delay / sample.timing.readout},
        }
        for name in [options.only] if options.only else faults:
            if options.repeats:
                table[name] = trials(lab, name, faults[name], folder, options.repeats)
                OUT.write_text(json.dumps(table, indent=1) + "\n")
        before: dict[str, Any] = {"seconds": 0.0, "drives": 0, "false trips": [], "other ends": []}
        if not options.fresh:
            before = table.get("none", before)
        end = before["seconds"] + options.quiet
        while before["seconds"] < end and quiet(lab, folder, before, scenario.control_interval):
            table["none"] = before
            OUT.write_text(json.dumps(table, indent=1) + "\n")
            print(f"quiet: {before}", flush=True)


if __name__ == "__main__":
    main()
