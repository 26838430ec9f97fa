"""Recording a camera: how long a loop stands still per frame, beside tifffile writing in the loop.

    python benchmarks/images.py [--frames N] [--rate HZ] [--folder FOLDER] [--json FILE]

Frames of 1024 x 1024 px of 16 bits come at a camera's rate. Blocks of frames go in turn to our
writer, which hands them to another process, and to a `tifffile.TiffWriter` in the loop, so that the
ratios are those of one run.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path

import numpy as np
import tifffile
from common import parser, report

from swarmctl.records.images import ImageConfig, ImageStatus, ImageWriter

SIDE, BLOCK = 1024, 50


def main() -> None:
    options = parser(__doc__ or "")
    options.add_argument("--frames", type=int, default=1000, help="frames for each of the two")
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
        ours, peer = (float(np.percentile(times[who], share)) * 1e3 for who in ("put", "tifffile"))
        rows.append(
            {"time in the loop": name, "put ms": ours, "tifffile ms": peer, "ratio": peer / ours}
        )
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
    times: dict[str, list[float]] = {"put": [], "tifffile": []}
    with (
        ImageWriter(folder / "ours.ome.tif", config) as images,
        tifffile.TiffWriter(folder / "peer.tif", bigtiff=True) as peer,
    ):
        due = time.perf_counter()
        for k in range(2 * frames):
            due += interval
            time.sleep(max(0.0, due - time.perf_counter()))
            picture = pictures[k % 4]
            who = "put" if k // BLOCK % 2 == 0 else "tifffile"
            start = time.perf_counter()
            if who == "put":
                images.put(picture, k * interval, k)
            else:
                peer.write(picture, contiguous=False, metadata=None)
            times[who].append(time.perf_counter() - start)
    return {who: np.array(values) for who, values in times.items()}, images.status()


if __name__ == "__main__":
    main()
