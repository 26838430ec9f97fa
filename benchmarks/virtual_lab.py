"""The virtual laboratory in real time: does it keep its camera's rate, and what does it cost?

    python benchmarks/virtual_lab.py [--seconds S] [--json FILE]

Every laboratory is driven as a loop would: a pattern of Gaussian spots follows every frame. The
rate is given beside the one that was asked for, and frames through Micro-Manager (pymmcore-plus)
beside the direct driver of the same laboratory. Late: time after a frame was due until it was here.
CPU: processor time of the sample's process over time by the clock, 1 being a core.
"""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from common import parser, report

from swarmctl.bridge.devices.contract import Camera, PatternOutput
from swarmctl.bridge.rig import read_rig
from swarmctl.bridge.virtual.lab import VirtualLab, virtual_lab
from swarmctl.bridge.virtual.sample_config import SampleConfig, bright_spots
from swarmctl.core.world import Box


def larger(config: SampleConfig, pixels: int, colloids: int) -> SampleConfig:
    """The same at another number of pixels and of colloids in view, as many per area."""
    camera, view = config.optics.camera, config.optics.view
    scale = pixels / camera.width
    side = config.world.box.size[0] * scale
    share = (pixels * view.pixel_size / side) ** 2
    species = replace(config.world.species[0], count=round(colloids / share))
    seen = replace(view, centre=(side / 2, side / 2))
    return replace(
        config,
        world=replace(config.world, box=Box(size=(side, side)), species=(species,)),
        optics=replace(
            config.optics, view=seen, camera=replace(camera, width=pixels, height=pixels)
        ),
        projector=replace(
            config.projector,
            width=pixels,
            height=pixels,
            view=replace(config.projector.view, centre=(side / 2, side / 2)),
        ),
    )


def patterns(shape: tuple[int, int], count: int = 8) -> list[Any]:
    """Some patterns of 30 spots."""
    random = np.random.default_rng(0)
    rows, columns = np.indices(shape, np.float32)
    result = []
    for _ in range(count):
        light = np.zeros(shape, np.float32)
        for x, y in random.uniform(0, min(shape), (30, 2)):
            light += np.exp(-2 * ((columns - x) ** 2 + (rows - y) ** 2) / 16.0**2)
        result.append((255 * light.clip(0, 1)).astype(np.uint8))
    return result


def processor_time(pid: int) -> float:
    """Processor time of a process so far, s (Linux)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def drive(lab: VirtualLab, rig: Path, seconds: float, name: str) -> dict[str, Any]:
    """Drive a laboratory by the devices of a rig file; return a row."""
    described = read_rig(rig)
    camera, light = described.camera.build(), described.outputs[0].driver.build()
    assert isinstance(camera, Camera)
    assert isinstance(light, PatternOutput)
    assert light.spec.shape is not None
    shown = patterns(light.spec.shape)
    timing = lab.config.timing
    camera.connect()
    light.connect()
    camera.start()
    camera.newest(10.0)
    left_out = lab.status()["left_out"]
    began, worked = time.monotonic(), processor_time(lab.pid)
    late, delay, frames = [], [], 0
    while time.monotonic() < began + seconds:
        shot = camera.newest(10.0)
        frames += 1
        due = shot.exposed + timing.exposure / 2 + timing.readout
        late.append(shot.received - due)
        told = time.monotonic()
        light.show(shown[frames % len(shown)])
        delay.append(time.monotonic() - told)
    span = time.monotonic() - began
    row = {
        "laboratory": name,
        "frames/s": frames / span,
        "share of asked": frames / span * timing.period,
        "left out": lab.status()["left_out"] - left_out,
        "late ms": 1e3 * float(np.median(late)),
        "late p99 ms": 1e3 * float(np.percentile(late, 99)),
        "shown ms": 1e3 * float(np.median(delay)),
        "shown p99 ms": 1e3 * float(np.percentile(delay, 99)),
        "CPU": (processor_time(lab.pid) - worked) / span,
    }
    camera.disconnect()
    light.disconnect()
    return row


def main() -> None:
    """Print the table."""
    arguments = parser(__doc__)
    arguments.add_argument("--seconds", type=float, default=20.0, help="per laboratory")
    options = arguments.parse_args()
    base = SampleConfig()
    fast = replace(base, timing=replace(base.timing, period=0.035, exposure=0.01))
    rows = []
    for name, config, through_micromanager in (
        ("Janus, 512², 28 colloids, 20 Hz", base, True),
        ("Janus, 512², 28 colloids, 28.6 Hz", fast, False),
        ("Janus, 1024², 50 colloids, 20 Hz", larger(base, 1024, 50), True),
        ("spots, 1024², 50 colloids, 20 Hz", larger(bright_spots(), 1024, 50), False),
    ):
        with virtual_lab(config) as lab:
            rows.append(drive(lab, lab.rig, options.seconds, name))
            if through_micromanager:
                row = drive(lab, lab.micromanager_rig, options.seconds, "… through Micro-Manager")
                row["direct / this"] = rows[-1]["frames/s"] / row["frames/s"]
                rows.append(row)
    report("virtual laboratory", rows, options.json)


if __name__ == "__main__":
    main()
