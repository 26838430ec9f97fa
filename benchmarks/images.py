"""Recording a camera: how long a loop stands still per frame, beside tifffile writing in the loop.

    python benchmarks/images.py [--frames N] [--rate HZ] [--folder FOLDER] [--json FILE]

Frames of 1024 x 1024 px of 16 bits come at a camera's rate. Blocks of frames go in turn to our
writer, which hands them to another process, and to `tifffile.TiffWriter` in the loop, in two ways,
so that the ratios are those of one run.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np
import tifffile
from common import parser, report

from swarmctl.records.images import ImageConfig, ImageStatus, ImageWriter

SIDE, BLOCK = 1024, 50
PEERS = {"pages": False, "series": True}
"""Ways of tifffile: page by page, which a kill leaves readable as ours; or as one series, of which
a kill leaves only the first page. The value is its argument `contiguous`."""


def main() -> None:
    options = parser(__doc__ or "")
    options.add_argument("--frames", type=int, default=1000, help="frames for each way")
    options.add_argument("--rate", type=float, default=50.0, help="of the camera, Hz")
    options.add_argument("--folder", type=Path, help="where to write; a temporary folder if none")
    arguments = options.parse_args()
    folder = Path(tempfile.mkdtemp(dir=arguments.folder))
    try:
        times, status = run(folder, arguments.frames, 1 / arguments.rate)
    finally:
        shutil.rmtree(folder)
    rows = []
    for name, share in (("median", 50), ("99th percentile", 99), ("largest", 100)):
        spent = {who: float(np.percentile(t, share)) * 1e3 for who, t in times.items()}
        row = {"time in the loop": name, **{f"{who} ms": value for who, value in spent.items()}}
        for who in PEERS:
            row[f"{who} / put"] = spent[who] / spent["put"]
        rows.append(row)
    title = (
        f"{arguments.frames} frames of {SIDE} x {SIDE} px at {arguments.rate:g} Hz for each, "
        f"{status.dropped} dropped"
    )
    report(title, rows, arguments.json)


def run(folder: Path, frames: int, interval: float) -> tuple[dict[str, np.ndarray], ImageStatus]:
    """Seconds of every call, by writer, and how our images stood at the end."""
    random = np.random.default_rng(0)
    pictures = random.integers(0, 4000, (4, SIDE, SIDE), np.uint16)
    config = ImageConfig(height=SIDE, width=SIDE, pixel_size=0.1)
    names = ("put", *PEERS)
    times: dict[str, list[float]] = {name: [] for name in names}
    with contextlib.ExitStack() as stack:
        images = stack.enter_context(ImageWriter(folder / "ours.ome.tif", config))
        peers = {
            name: stack.enter_context(tifffile.TiffWriter(folder / f"{name}.tif", bigtiff=True))
            for name in PEERS
        }
        due = time.perf_counter()
        for k in range(len(names) * frames):
            due += interval
            time.sleep(max(0.0, due - time.perf_counter()))
            picture = pictures[k % 4]
            name = names[k // BLOCK % len(names)]
            start = time.perf_counter()
            if name == "put":
                images.put(picture, k * interval, k)
            else:
                peers[name].write(picture, contiguous=PEERS[name], metadata=None)
            times[name].append(time.perf_counter() - start)
    return {name: np.array(values) for name, values in times.items()}, images.status()


if __name__ == "__main__":
    main()
