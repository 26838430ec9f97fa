"""What an order costs: drawing 200 spots, the gate, the way there and back, beside plain ways.

python benchmarks/supervisor.py [--json FILE]

Drawing: into 1024² pixels, beside Pillow's filled ellipses (even spots) and beside the same formula
over the whole frame (Gaussian ones). The gate: 200 spots with all limits. The wire: an order of 200
spots packed and read, beside pickle, which could not be trusted. The way: an order sent until its
receipt is back, through the supervisor's process and a device that does nothing but write a line.
"""

from __future__ import annotations

import pickle
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from common import parser, report
from PIL import Image, ImageDraw

from swarmctl.bridge.devices.contract import Channel, OutputSpec
from swarmctl.bridge.orders import Order, Spots
from swarmctl.bridge.supervisor.gates import make_gate
from swarmctl.bridge.supervisor.limits import PatternLimits
from swarmctl.bridge.supervisor.messages import order_message, read_order
from swarmctl.bridge.supervisor.pattern_image import render_spots
from swarmctl.bridge.supervisor.wire import Unpacker, pack

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "bridge" / "supervisor"))
from conftest import Bench

SHAPE, COUNT, RADIUS = (1024, 1024), 200, 12.0
LIMITS = PatternLimits(1.0, 300.0, 1e3, 300, 50.0, 10.0, 0.9, 100.0, 100.0, 16)


def times(call: Callable[[], Any], count: int = 60) -> tuple[float, float]:
    """Return median and shortest time of calls, ms."""
    found = []
    for _ in range(count):
        start = time.perf_counter()
        call()
        found.append(1e3 * (time.perf_counter() - start))
    return statistics.median(found), min(found)


def whole_frame(spots: Spots) -> np.ndarray:
    """Draw Gaussian spots by their formula, each over the whole frame."""
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    pattern = np.zeros(SHAPE, np.uint8)
    for position, power in zip(spots.position, spots.power, strict=True):
        squared = (x - position[0]) ** 2 + (y - position[1]) ** 2
        light = 255 * power * np.exp(-2 * squared / RADIUS**2)
        np.maximum(pattern, light.astype(np.uint8), out=pattern)
    return pattern


def circles(spots: Spots) -> np.ndarray:
    """Draw even spots with Pillow; a later one covers those before."""
    pattern = Image.new("L", SHAPE)
    draw = ImageDraw.Draw(pattern)
    for (x, y), power in zip(spots.position, spots.power, strict=True):
        box = (x - RADIUS, y - RADIUS, x + RADIUS, y + RADIUS)
        draw.ellipse(box, fill=int(255 * power))
    return np.asarray(pattern)


def row(what: str, ours: tuple[float, float], peer: str, theirs: Any) -> dict[str, Any]:
    return {
        "what": what,
        "median (ms)": ours[0],
        "min (ms)": ours[1],
        "peer": peer or None,
        "peer, median (ms)": theirs and theirs[0],
        "ratio": theirs and ours[0] / theirs[0],
    }


def round_trip() -> tuple[float, float]:
    """Return median and shortest time from an order to its receipt, ms."""
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder))
        bench.start(supervisor='silence = "2 s"\nexpiry = "2 s"\nframe_periods = 40')
        found = []
        for _ in range(200):
            start = time.perf_counter()
            bench.client.send(bench.order())
            while not (receipts := bench.client.receipts()):
                bench.client.report()  # raises if the supervisor has gone
            found.append(1e3 * (time.perf_counter() - start))
            if not all(receipt.sent for receipt in receipts):
                raise SystemExit(f"an order was not sent: {bench.client.report().fault}")
            time.sleep(0.01)
        bench.client.close()
    return statistics.median(found), min(found)


def main() -> None:
    """Measure and print."""
    chosen = parser(__doc__.splitlines()[0]).parse_args()
    rng = np.random.default_rng(0)
    spots = Spots(
        rng.uniform(0, 1024, (COUNT, 2)),
        np.full(COUNT, RADIUS),
        rng.uniform(0.1, 1.0, COUNT),
        np.arange(COUNT),
    )
    even = Spots(spots.position, spots.radius, spots.power, spots.colloid, "even")
    order = Order(1, 1, 0.0, 0.0, 0.1, COUNT, {"light": spots})
    spec = OutputSpec("light", "pattern", (Channel("light", "mW", 0.0, 1.0, 0.0),), SHAPE)
    gate = make_gate(LIMITS, spec, 0.3, "limits")
    state: dict[str, Any] = {"now": 0.0, "ledger": gate.open(0.0)}

    def pass_gate() -> None:
        state["now"] += 0.02
        _, _, state["ledger"] = gate.send(spots, state["ledger"], state["now"])

    assert np.array_equal(render_spots(spots, SHAPE, 1.0), whole_frame(spots))
    rows = [
        row(
            "drawing 200 Gaussian spots",
            times(lambda: render_spots(spots, SHAPE, 1.0)),
            "formula over the whole frame",
            times(lambda: whole_frame(spots), 2),
        ),
        row(
            "drawing 200 even spots",
            times(lambda: render_spots(even, SHAPE, 1.0)),
            "Pillow ellipse",
            times(lambda: circles(even)),
        ),
        row("gate, 200 spots", times(pass_gate, 200), "", None),
        row(
            "order packed and read",
            times(lambda: read_order(Unpacker().feed(pack(order_message(order)))[0])),
            "pickle",
            times(lambda: pickle.loads(pickle.dumps(order))),
        ),
        row("order to receipt, two devices", round_trip(), "", None),
    ]
    report("What an order costs", rows, chosen.json)


if __name__ == "__main__":
    main()
