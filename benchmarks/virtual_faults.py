"""How soon faults of a virtual laboratory are found while an agent drives it, in real time.

    python benchmarks/virtual_faults.py [--repeats 3]

The laboratory is calibrated once. Then an agent drives it again and again with random commands;
after ten seconds colloids swim at half the speed, or turn the other way, or light and frames are
later, so that all delays together are twice as long; and it is seen when the watch trips. It needs
an idle machine.
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
from swarmctl.lab.run import run
from swarmctl.training.experiment import load_experiment

OUT = Path(__file__).parents[1] / "docs" / "data" / "virtual-faults.json"
SCENARIO = "ChemotaxisContinuous-v0"
QUIET_TIME = 10.0
FAULTS: dict[str, dict[str, Any]] = {
    "none": {},
    "half the speed": {"speed": 0.5},
    "mirrored turning": {"mirror_turning": True},
    "twice the delay": {},
}


class Injector:
    """Hears what a run says, and lets a fault happen after a while of driving."""

    def __init__(self, lab: VirtualLab, fault: dict[str, Any]) -> None:
        self.lab, self.fault = lab, fault
        self.began = self.injected = self.tripped = float("nan")
        self.machine = False

    def __call__(self, text: str) -> None:
        now = time.monotonic()
        if text.startswith("drive"):
            self.began = now if np.isnan(self.began) else self.began
            if np.isnan(self.injected) and now - self.began > QUIET_TIME:
                self.lab.set_faults(**self.fault)
                self.injected = time.monotonic()
        elif text.startswith("fault"):
            # A frame that came too late is a fault of this machine, which found nothing.
            found = "the swarm moves as" in text or "twin's error" in text
            self.tripped = now if found else float("nan")
            self.machine = not found


def trial(lab: VirtualLab, fault: dict[str, Any], folder: Path, seed: int) -> Injector:
    lab.set_faults(speed=1.0, mirror_turning=False, delay=1.0)
    injector = Injector(lab, fault)
    result = run(
        RunConfig(
            rig=lab.rig, agent="excite", twin=SCENARIO, operator="benchmark", seconds=45.0,
            view=False, seed=seed, deterministic=False, out=folder / "run", overwrite=True,
        ),
        say=injector,
    )  # fmt: skip
    print(f"   {result.fault or 'no fault'}", flush=True)
    return injector


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", default="", help="one of: " + ", ".join(FAULTS))
    options = parser.parse_args()
    sample = demo_sample(load_experiment(SCENARIO).built().world)
    table: dict[str, Any] = {}
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
        # The laboratory can lengthen its own part of the delays only.
        own = sample.projector.delay + sample.timing.readout
        FAULTS["twice the delay"] = {"delay": 1 + delay / own}
        for name, fault in FAULTS.items():
            if options.only and name != options.only:
                continue
            times = []
            for seed in range(options.repeats):
                try:
                    found = trial(lab, fault, folder, seed)
                except SwarmctlError as error:
                    print(f"   not begun: {error}", flush=True)
                    continue
                if found.machine:
                    continue
                times.append(found.tripped - (found.injected if fault else found.began))
            shown = ", ".join("not" if np.isnan(t) else f"{t:.1f} s" for t in times)
            print(f"{name}: found after {shown}", flush=True)
            table[name] = [None if np.isnan(t) else t for t in times]
    known_before = json.loads(OUT.read_text())["found after"] if options.only else {}
    table = {**known_before, **table}
    OUT.write_text(json.dumps({"delay": delay, "found after": table}, indent=1) + "\n")


if __name__ == "__main__":
    main()
